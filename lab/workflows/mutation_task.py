# SPDX-License-Identifier: GPL-2.0-or-later
"""What a mutation is to do and what it has done, as files of its directory; the mutants of a kernel's series."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict, ValidationError

from lab.build.patched import neighbours, patched_content, patched_files, unified
from lab.core.cache import Cache, write_atomic
from lab.core.errors import InputError, UsageError, did_you_mean
from lab.core.validation import first_invalid
from lab.formats import c_mutations
from lab.specs.model import Kernel, Topology
from lab.verdicts.mutation import NOT_EQUAL, SURVIVORS, Fate, MutantResult, MutantSpec, carried, says_equal

MUTANTS, RESULTS = "mutants.json", "results.jsonl"


class MutationTask(BaseModel):
    """mutants.json: what is mutated, where it runs, and every mutant."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_: int = 1
    kernel: Kernel
    topology: Topology
    tests: tuple[str, ...]
    suites: tuple[str, ...] = ()
    """What runs in place of the lab's scenarios, as in --suite."""
    programs: tuple[str, ...] = ()
    """The user's own scenarios, absolute paths of C files."""
    functions: tuple[str, ...] = ()
    """The functions whose lines are mutated, `[FILE:]NAME`; empty for the lines that the series adds."""
    mutants: tuple[MutantSpec, ...]


def generate(kernel: Kernel, cache: Cache, functions: Sequence[str] = ()) -> tuple[MutantSpec, ...]:
    """Return the mutants of the lines that a kernel's series adds, or of all lines of functions, `[FILE:]NAME`.

    UsageError if that is no code or no such function, InfraError if the kernel's source is not here.
    """
    mutants: list[MutantSpec] = []
    wanted = _functions(kernel, cache, functions) if functions else _added(kernel, cache)
    for name, (content, lines) in wanted.items():
        for mutation in c_mutations.mutations(content, lines):
            mutants.append(_mutant(len(mutants) + 1, name, content, mutation))
    if not mutants:
        what = f"{', '.join(functions)}: has" if functions else f"{kernel.series}: adds"
        raise UsageError(f"{what} no line of C that could be mutated")
    return tuple(mutants)


_Lines = dict[str, tuple[bytes, Collection[int]]]
"""File -> its content, and those of its lines that are mutated."""


def _added(kernel: Kernel, cache: Cache) -> _Lines:
    return {name: (file.content, file.added.keys()) for name, file in patched_files(kernel, cache).items()}


def _functions(kernel: Kernel, cache: Cache, functions: Sequence[str]) -> _Lines:
    """Return the lines of functions, which a glob may name, in a named file or in any file that the series changes."""
    changed = patched_files(kernel, cache) if kernel.series else {}
    named = {name for word in functions if (name := _file_of(word))}
    contents = patched_content(kernel, cache, sorted(named | changed.keys()))
    places = {name: c_mutations.functions(content) for name, content in contents.items()}
    found: dict[str, set[int]] = {}
    for word in functions:
        file, pattern = _file_of(word), word.rpartition(":")[2]
        if file and file not in contents:
            nearest = did_you_mean(file, [*contents, *neighbours(kernel, cache, file)])
            raise UsageError(f"--function {word}: the kernel has no file {file}{nearest}")
        searched = {file: places[file]} if file else {name: places[name] for name in changed}
        matching = [
            (name, lines)
            for name, defined in searched.items()
            for function, lines in defined.items()
            if fnmatchcase(function, pattern)
        ]
        if not matching:
            known = [function for defined in searched.values() for function in defined]
            raise UsageError(
                f"--function {word}: no function of {file or 'the files that the series changes'}"
                f"{did_you_mean(pattern, known)}",
                hint="" if file else "name its file: --function mm/mremap.c:move_vma",
            )
        for name, (first, last) in matching:
            found.setdefault(name, set()).update(range(first, last + 1))
    return {name: (contents[name], lines) for name, lines in found.items()}


def _file_of(function: str) -> str:
    """Return the file of `[FILE:]NAME`; UsageError unless it can be a C file of the kernel's tree."""
    file = function.rpartition(":")[0]
    path = PurePosixPath(file)
    if file and (path.is_absolute() or ".." in path.parts or path.suffix not in (".c", ".h")):
        raise UsageError(
            f"--function {function}: expected a C file of the kernel's tree, such as mm/mremap.c, got {file!r}"
        )
    return file


def _mutant(number: int, file: str, before: bytes, mutation: c_mutations.Mutation) -> MutantSpec:
    return MutantSpec(
        name=f"m{number:03}-{mutation.operator}",
        file=file,
        line=mutation.line,
        function=mutation.function,
        operator=mutation.operator,
        what=mutation.what,
        diff=unified(file, before, mutation.apply(before)),
    )


def open_task(directory: Path, task: MutationTask, results: Iterable[MutantResult] = ()) -> None:
    """Make the directory of a mutation, with results that are known; UsageError if there is something in it."""
    if directory.exists() and any(directory.iterdir()):
        raise UsageError(f"{directory} exists and is not empty", hint="choose another directory, or use --resume")
    directory.mkdir(parents=True, exist_ok=True)
    write_atomic(directory / MUTANTS, (task.model_dump_json(indent=1) + "\n").encode())
    add_results(directory, *results)


def carry(earlier: Path, task: MutationTask) -> tuple[MutantResult, ...]:
    """Return what an earlier mutation says of the mutants of a task; UsageError if none of them is the same."""
    before = read_task(earlier)
    same_kernel = before.kernel == task.kernel and before.topology == task.topology
    found = carried(
        task.mutants, before.mutants, read_results(earlier), earlier.name or str(earlier), same_kernel=same_kernel
    )
    if not found:
        raise UsageError(f"--survivors {earlier}: it has none of these {len(task.mutants)} mutants")
    return found


def read_task(directory: Path) -> MutationTask:
    """Return what a mutation is to do; InputError if the directory is none of a mutation."""
    path = directory / MUTANTS
    try:
        return MutationTask.model_validate_json(path.read_text())
    except OSError as error:
        raise InputError(
            path, None, None, f"cannot be read: {error.strerror}; expected the directory of a mutation"
        ) from None
    except ValidationError as error:
        key, why = first_invalid(error)
        raise InputError(path, None, key or None, why) from None


def read_results(directory: Path) -> tuple[MutantResult, ...]:
    """Return the results so far, the last of each mutant; a line that a killed lab left torn is ignored."""
    try:
        lines = (directory / RESULTS).read_text("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return ()
    results: dict[str, MutantResult] = {}
    for line in lines:
        try:
            result = MutantResult.model_validate_json(line)
        except ValidationError:
            continue
        results[result.name] = result
    return tuple(results.values())


def add_results(directory: Path, *results: MutantResult) -> None:
    """Append results of mutants."""
    with (directory / RESULTS).open("a") as file:
        file.writelines(result.model_dump_json() + "\n" for result in results)


def undecided(
    mutants: Iterable[MutantSpec], results: Iterable[MutantResult], arguments: Mapping[str, str] = MappingProxyType({})
) -> list[MutantSpec]:
    """Return the mutants that have no result yet, or only a failure of the lab, which is tried again.

    Those that survived an earlier mutation are tried again, too, and come first; but not those whose change, by
    `arguments`, makes an equal kernel.
    """
    mutants, decided, survived = list(mutants), set(), set()
    for result in results:
        if result.earlier and result.fate in SURVIVORS:
            survived.add(result.name)
        elif result.fate is not Fate.NO_VERDICT:
            decided.add(result.name)
    equal = {mutant.name for mutant in mutants if says_equal(arguments.get(mutant.change, ""))}
    waiting = [mutant for mutant in mutants if mutant.name not in decided | (survived & equal)]
    return sorted(waiting, key=lambda mutant: mutant.name not in survived)


def argued(
    mutants: Iterable[MutantSpec], results: Iterable[MutantResult], arguments: Mapping[str, str]
) -> tuple[MutantResult, ...]:
    """Return the results, the survivors among them with the argument that a file has for their change."""
    change_of = {mutant.name: mutant.change for mutant in mutants}
    found = []
    for result in results:
        argument = arguments.get(change_of.get(result.name, ""), "")
        if argument and result.fate in SURVIVORS:
            found.append(result.model_copy(update={"argument": argument}))
        else:
            found.append(result)
    return tuple(found)


def read_arguments(paths: Iterable[Path], mutants: Iterable[MutantSpec]) -> dict[str, str]:
    """Return the arguments of several files; of two for one change the later one."""
    known = {mutant.change for mutant in mutants}
    arguments: dict[str, str] = {}
    for path in paths:
        arguments |= _arguments_of(path, known)
    return arguments


def _arguments_of(path: Path, known: Collection[str]) -> dict[str, str]:
    """Return the arguments of a file, a JSON object: `FILE FUNCTION: BEFORE -> AFTER` to the reason.

    InputError for another document, for a change that no mutant makes, and for `not equal` in another form, which would
    count as equal.
    """
    try:
        raw = json.loads(path.read_text())
    except OSError as error:
        raise InputError(path, None, None, f"cannot be read: {error.strerror}") from None
    except json.JSONDecodeError as error:
        raise InputError(path, error.lineno, None, "expected a JSON object") from None
    if not isinstance(raw, dict) or not all(isinstance(value, str) and value for value in raw.values()):
        raise InputError(path, None, None, "expected a JSON object of texts")
    for change, reason in raw.items():
        if change not in known:
            raise InputError(path, None, change, f"no mutant makes this change{did_you_mean(change, known)}")
        means_defect = reason.strip().lower().startswith(NOT_EQUAL.rstrip(": "))
        if means_defect and not (reason.startswith(NOT_EQUAL) and reason.removeprefix(NOT_EQUAL).strip()):
            raise InputError(path, None, change, f"expected {NOT_EQUAL!r} and a reason, got {reason!r}")
    return raw
