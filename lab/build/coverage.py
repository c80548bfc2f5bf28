# SPDX-License-Identifier: GPL-2.0-or-later
"""Turn a guest's line counters and a kernel's `.gcno` files into counts by line: runs the tool `gcov`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lab.arch import Arch
from lab.build import toolchain
from lab.build.kernel import BuiltKernel
from lab.build.series import Series, changed_files
from lab.core import proc
from lab.core.cache import Cache
from lab.core.errors import InfraError
from lab.formats import gcov
from lab.formats.patches.patch import Lookup

GCOV_S = 120.0
FILES_AT_ONCE = 200
_BUILD_PATH = re.compile(r"^(?:\.\./)+")


def tool(arch: Arch) -> str:
    """Return the name of the gcov that belongs to the compiler of an architecture's kernels; InfraError without it."""
    chain = toolchain.for_kernels(arch)
    name = f"{chain.prefix}gcov"
    if chain.llvm or proc.which(name) is None:
        why = "clang writes other counters" if chain.llvm else f"no {name}"
        raise InfraError(f"cannot count lines on {arch.name}: {why}", hint="unset LLVM, or install gcc's package")
    return name


def counts(
    kernel: BuiltKernel, arch: Arch, cases: Mapping[str, Mapping[str, bytes]], cache: Cache
) -> dict[str, gcov.Counts]:
    """Return, for each case, source file -> line -> how often it ran.

    `cases` are counters as `gcov.split` gives them. Objects that the kernel does not have are left out.
    """
    if kernel.gcov is None:
        return {}
    found: dict[str, list[gcov.Counts]] = {case: [] for case in cases}
    with cache.scratch("gcov") as scratch:
        owners = {}
        for number, (case, counters) in enumerate(cases.items()):
            for path, data in counters.items():
                name = _object(path, kernel.gcov)
                if name is not None:
                    place = _place(kernel.gcov, name, scratch / str(number))
                    place.with_suffix(".gcda").write_bytes(data)
                    owners[str(place.with_suffix(".gcda").relative_to(scratch))] = case
        for file, read in _run(tool(arch), scratch, list(owners)):
            found[owners[file]].append(read)
    return {case: gcov.total(several) for case, several in found.items()}


def compiled(kernel: BuiltKernel, arch: Arch, cache: Cache) -> gcov.Counts:
    """Return source file -> line -> 0 for every line that the compiler made code for."""
    if kernel.gcov is None:
        return {}
    with cache.scratch("gcov") as scratch:
        names = [str(path.relative_to(kernel.gcov)) for path in sorted(kernel.gcov.rglob("*.gcno"))]
        for name in names:
            _place(kernel.gcov, name, scratch)
        return gcov.total(read for _, read in _run(tool(arch), scratch, names))


def _object(path: str, directory: Path) -> str | None:
    """The `.gcno` file, below a directory, that belongs to a path of counters in a guest; None if there is none."""
    parts = Path(path).with_suffix(".gcno").parts
    for start in range(1, len(parts)):
        name = Path(*parts[start:])
        if (directory / name).is_file():
            return str(name)
    return None


def _place(directory: Path, name: str, into: Path) -> Path:
    """A link to a `.gcno` file, where gcov looks for it beside the counters."""
    place = into / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(directory / name)
    return place


def _run(program: str, directory: Path, names: Sequence[str]) -> Iterator[tuple[str, gcov.Counts]]:
    """Each file of counters (or of notes: no line ran) with its counts, by the sources' paths in the kernel tree."""
    for batch in batched(names, FILES_AT_ONCE):
        argv = [program, "--json-format", "--stdout", *batch]
        printed = proc.run(argv, cwd=directory, timeout_s=GCOV_S, whole=True).output
        for name, found in gcov.parse(printed.encode()):
            yield name, {_BUILD_PATH.sub("", file): lines for file, lines in found.items()}


def batched(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Yield the names in groups of at most `size`."""
    for start in range(0, len(names), size):
        yield names[start : start + size]


def added_lines(series: Series, pristine: Lookup) -> dict[str, dict[int, str]]:
    """Return what a series adds or changes in C files and headers: file -> line of the patched tree, from 1 -> text."""
    found = {}
    for name, content in changed_files(series.patches, pristine).items():
        if content is None or not name.endswith((".c", ".h")):
            continue
        before = pristine(name)
        old = before.data.decode("utf-8", "replace").splitlines() if before else []
        new = content.data.decode("utf-8", "replace").splitlines()
        lines = _added(old, new)
        if lines:
            found[name] = lines
    return found


def _added(old: list[str], new: list[str]) -> dict[int, str]:
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    found = {}
    for kind, _, _, start, end in matcher.get_opcodes():
        if kind in ("replace", "insert"):
            found.update({number + 1: new[number] for number in range(start, end)})
    return found


_OBJECT = r"^\s*(?:obj|[\w-]+)-(?:\$\((CONFIG_\w+)\)|y|objs)\s*[:+]?=.*\b{name}\.o\b"


def symbol_of(name: str, tree: Path) -> str:
    """Return the Kconfig symbol that a C file of the tree is compiled with; empty if its Makefile names none."""
    path = tree / name
    makefile = path.parent / "Makefile"
    try:
        text = makefile.read_text("utf-8", "replace").replace("\\\n", " ")
    except OSError:
        return ""
    match = re.search(_OBJECT.format(name=re.escape(path.stem)), text, re.MULTILINE)
    return (match[1] or "").removeprefix("CONFIG_") if match else ""
