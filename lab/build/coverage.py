# SPDX-License-Identifier: GPL-2.0-or-later
"""Turn a guest's line counters and a kernel's `.gcno` files into counts by line: runs the tool `gcov`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lab.arch.record import Arch
from lab.build import toolchain
from lab.build.kernel import BuiltKernel
from lab.core import proc
from lab.core.cache import Cache
from lab.core.errors import InfraError
from lab.formats import gcov

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
        try:
            counts_by_name = dict(gcov.parse(printed.encode()))
        except ValueError as error:
            raise InfraError(f"{program} printed something else than line counts: {error}") from None
        if different := counts_by_name.keys() ^ set(batch):
            raise InfraError(f"{program} printed the counts of other files than it was asked for: {min(different)}")
        for name, found in counts_by_name.items():
            yield name, {_BUILD_PATH.sub("", file): lines for file, lines in found.items()}


def batched(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Yield the names in groups of at most `size`."""
    for start in range(0, len(names), size):
        yield names[start : start + size]
