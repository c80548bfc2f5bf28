# SPDX-License-Identifier: GPL-2.0-or-later
"""Compile the scenario programs for a guest, and list their cases."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from lab.arch.record import Arch
from lab.build import step, toolchain
from lab.build.toolchain import Toolchain
from lab.core import paths, proc
from lab.core.cache import Cache, digest
from lab.core.errors import BuildError, InfraError, LabError, UsageError
from lab.core.outcome import Case
from lab.core.progress import Progress, silent
from lab.specs.arches import ARCHES

CFLAGS = (
    "-std=gnu11",
    "-O2",
    "-Wall",
    "-Wextra",
    # ppc64le, s390x and mips64 have u64 = unsigned long in the kernel's headers without it, and %llu then warns.
    "-D__SANE_USERSPACE_TYPES__",
)
LDFLAGS = ("-static", "-s", "-lm")
COMPILE_S = 300.0
LIST_S = 30.0
DEFAULT_TIMEOUT_S = 10.0
MAX_TIMEOUT_S = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NoCase:
    """A row of the scenario table that a program cannot test, or not completely, and the reason."""

    row: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestTests:
    """Scenario name -> static program, for one architecture."""

    programs: Mapping[str, Path]
    key: str


def build(
    arch: Arch, *, cache: Cache, progress: Progress = silent, sources: Sequence[Path] | None = None
) -> GuestTests:
    """Compile every `*.c` of `sources`: directories, the lab's own and the user's, and single files.

    Of two files with one name the first is used. BuildError with the compiler's messages.
    """
    chain, directories = toolchain.find(arch), _directories(sources)
    programs: dict[str, Path] = {}
    for source in directories:
        programs = {**_build_set(chain, source, cache, progress).programs, **programs}
    return GuestTests(programs=MappingProxyType(programs), key=_key(chain, directories))


def keys_of(arch: Arch, sources: Sequence[Path]) -> Mapping[str, str]:
    """Return scenario name -> a key of its program: compiler, flags, its source, every header that it may include.

    Builds nothing; InfraError if there is no compiler.
    """
    chain = toolchain.find(arch)
    files: dict[str, Path] = {}
    for source in sources:
        for file in _scenarios(source):
            files.setdefault(file.stem, file)
    return {name: _files_key(chain, [file, *_headers(file.parent)]) for name, file in sorted(files.items())}


def _directories(sources: Sequence[Path] | None) -> Sequence[Path]:
    return paths.scenarios() if sources is None else sources


def _key(chain: Toolchain, directories: Sequence[Path]) -> str:
    keys = [_set_key(chain, source) for source in directories]
    return keys[0] if len(keys) == 1 else digest(*keys)


def _build_set(chain: Toolchain, source: Path, cache: Cache, progress: Progress) -> GuestTests:
    """Return the programs of one directory, or of one file: an entry of the cache."""
    files = _scenarios(source)
    key = _set_key(chain, source)

    def make(entry: Path) -> None:
        with ThreadPoolExecutor(toolchain.jobs()) as pool:
            for name in pool.map(lambda file: _compile(chain, file, _includes(file.parent), entry), files):
                progress(f"guest tests: {name}")

    entry = cache.entry("guest-tests", key, make)
    return GuestTests(programs=MappingProxyType({file.stem: entry / file.stem for file in files}), key=key)


def _includes(directory: Path) -> tuple[Path, ...]:
    """Return where a program's headers are searched: beside it, then beside lab.h."""
    return tuple(dict.fromkeys((directory.resolve(), paths.guest_tests())))


def compile_one(arch: Arch, source: Path, cache: Cache) -> Path:
    """Compile a C file, the user's own or a helper of the lab's, to a static program.

    It may include `lab.h` and headers beside it.
    """
    chain = toolchain.find(arch)
    includes = _includes(source.resolve().parent)
    if source.resolve().is_relative_to(paths.images()):
        key = _files_key(chain, [source, *_headers(source.resolve().parent)])
    else:
        chain.require(f"program of {source.name} for {arch.name}")
        # Which headers it includes is unknown, so the key is made from the preprocessor's output.
        whole = _gcc([chain.cc, *CFLAGS, *_include(includes), "-E", "-P", source.name], source)
        key = digest(chain.key, source.stem, *CFLAGS, *LDFLAGS, whole)

    def make(entry: Path) -> None:
        chain.require(f"program of {source.name} for {arch.name} ({key})")
        _compile(chain, source, includes, entry)

    return cache.entry("program", key, make) / source.stem


def cases(sources: Sequence[Path], cache: Cache) -> Mapping[str, tuple[Case, ...]]:
    """Return scenario name -> the cases that its program declares (`--list`, run natively); BuildError if one fails."""
    listings = _listings(sources, cache)
    return MappingProxyType({name: parse_cases(name, listing) for name, listing in listings.items()})


def known_cases(sources: Sequence[Path], cache: Cache) -> Mapping[str, tuple[Case, ...]]:
    """Return what `cases` does if the cache has it, else nothing: no program is compiled and none runs."""
    try:
        built = cache.has("cases", _key(toolchain.find(_host_arch()), _directories(sources)))
    except LabError:
        return {}
    return cases(sources, cache) if built else {}


def no_cases(sources: Sequence[Path], cache: Cache) -> Mapping[str, tuple[NoCase, ...]]:
    """Return scenario name -> the rows that its program declares without a case; as `cases`."""
    listings = _listings(sources, cache)
    return MappingProxyType({name: parse_no_cases(name, listing) for name, listing in listings.items()})


def _listings(sources: Sequence[Path], cache: Cache) -> Mapping[str, str]:
    """Return scenario name -> what its program prints for `--list`."""
    host = _host_arch()
    tests = build(host, cache=cache, sources=sources)

    def make(entry: Path) -> None:
        for name, program in tests.programs.items():
            (entry / name).write_text(_listing(name, program))

    entry = cache.entry("cases", tests.key, make)
    return {name: (entry / name).read_text() for name in tests.programs}


def parse_cases(scenario: str, listing: str) -> tuple[Case, ...]:
    """Parse what a program printed for `--list`: a JSON object per line. Unknown keys are ignored.

    BuildError, naming the program, for a line that is no such object, a name given twice, or no case at all.
    """
    cases = [_parse_case(scenario, entry) for entry in _objects(scenario, listing) if "no_case" not in entry]
    counts = Counter(case.name for case in cases)
    if twice := sorted(name for name, count in counts.items() if count > 1):
        raise BuildError(f"{scenario} --list: cases named twice: {', '.join(twice)}")
    if not cases:
        raise BuildError(f"{scenario} --list: no cases")
    return tuple(cases)


def parse_no_cases(scenario: str, listing: str) -> tuple[NoCase, ...]:
    """Parse the other lines of `--list`: `{"no_case": ROW, "description": WHY}`."""
    rows = []
    for entry in _objects(scenario, listing):
        if "no_case" not in entry:
            continue
        row, reason = entry["no_case"], entry.get("description")
        if not isinstance(row, str) or not row or not isinstance(reason, str) or not reason:
            raise _wrong(scenario, "no_case: expected a row, and a description of why", entry)
        rows.append(NoCase(row=row, reason=reason))
    return tuple(rows)


def _wrong(scenario: str, why: str, entry: object) -> BuildError:
    return BuildError(
        f"{scenario} --list: {why}", excerpt=(entry if isinstance(entry, str) else json.dumps(entry))[:500]
    )


def _objects(scenario: str, listing: str) -> Iterator[Mapping[str, object]]:
    for line in filter(str.strip, listing.splitlines()):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _wrong(scenario, f"not JSON: {error}", line) from error
        if not isinstance(entry, dict):
            raise _wrong(scenario, "expected a JSON object per line", line)
        yield entry


def _parse_case(scenario: str, entry: Mapping[str, object]) -> Case:
    name, requires = entry.get("name"), entry.get("requires", [])
    description, timeout_s = entry.get("description", ""), entry.get("timeout_s", DEFAULT_TIMEOUT_S)
    if not isinstance(name, str) or not name or any(letter.isspace() for letter in name):
        raise _wrong(scenario, "name: expected a word", entry)
    if not isinstance(requires, list) or not all(isinstance(word, str) and word for word in requires):
        raise _wrong(scenario, "requires: expected a list of features", entry)
    if not isinstance(description, str):
        raise _wrong(scenario, "description: expected a string", entry)
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float) or not 0 < timeout_s <= MAX_TIMEOUT_S:
        raise _wrong(scenario, f"timeout_s: expected seconds above zero, at most {MAX_TIMEOUT_S:g}", entry)
    return Case(
        scenario=scenario,
        name=name,
        requires=frozenset(requires),
        description=description,
        timeout_s=float(timeout_s),
    )


def _listing(name: str, program: Path) -> str:
    try:
        return proc.run([str(program), "--list"], timeout_s=LIST_S, whole=True).output
    except proc.ProcError as error:
        raise BuildError(f"{name} --list: {error.message}", excerpt=error.output[-2000:]) from error


def _scenarios(source: Path) -> list[Path]:
    """Return the C files of a directory, or the one file."""
    if files := [source] if source.is_file() else sorted(source.glob("*.c")):
        return files
    raise UsageError(f"no scenario (*.c) in {source}", hint="PAGELAB_SCENARIOS names directories of C files")


def _set_key(chain: Toolchain, source: Path) -> str:
    """Return a key of sources and headers, by name and content, compiler and flags."""
    files = {*_scenarios(source), *_headers(source if source.is_dir() else source.parent)}
    return _files_key(chain, sorted(files))


def _headers(directory: Path) -> list[Path]:
    """Return the headers that a program in this directory may include."""
    headers: list[Path] = []
    for place in _includes(directory):
        headers += sorted(place.glob("*.h"))
    return headers


def _files_key(chain: Toolchain, files: Iterable[Path]) -> str:
    contents: list[str | bytes] = []
    for path in files:
        contents += [path.name, path.read_bytes()]
    return digest(chain.prefix, chain.key, " ".join((*CFLAGS, *LDFLAGS)), *contents)


def _host_arch() -> Arch:
    for arch in ARCHES.values():
        if toolchain.is_native(arch):
            return arch
    raise InfraError("the lab does not support this host's own architecture", hint="add a file to lab/arch")


def _compile(chain: Toolchain, source: Path, includes: Sequence[Path], to: Path) -> str:
    """Compile and link one file into `to / stem` and return the stem. ccache handles only the first step."""
    program = to / source.stem
    object_file = program.with_suffix(".o")
    _gcc([*chain.cached_cc, *CFLAGS, *_include(includes), "-c", "-o", str(object_file), source.name], source)
    _gcc([chain.cc, "-o", str(program), str(object_file), *LDFLAGS, *chain.ldflags], source)
    object_file.unlink()
    return source.stem


def _include(directories: Sequence[Path]) -> list[str]:
    return [f"-I{directory.resolve()}" for directory in directories]


def _gcc(argv: Sequence[str], source: Path) -> str:
    """Run the compiler in the directory of the source, so that its messages have short names; return its output."""
    directory = source.resolve().parent
    failure = f"{source.name} did not compile"
    return "\n".join(step.run(argv, cwd=directory, failure=failure, timeout_s=COMPILE_S, repeatable=True))
