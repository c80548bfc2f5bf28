# SPDX-License-Identifier: GPL-2.0-or-later
"""Which lines of a patch ran, where, and by which cases. coverage-KERNEL.json of a run is this model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from lab.core.errors import InputError
from lab.core.validation import first_invalid


class _CoverageModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PatchedLine(_CoverageModel):
    """One line that a patch adds or changes, by its number in the patched file, from 1."""

    file: str
    line: int
    text: str
    compiled: tuple[str, ...] = ()
    """The machines on which the compiler made code for it."""
    ran: Mapping[str, tuple[str, ...]] = {}
    """Machine -> the cases (`scenario.case`) that ran it."""
    times: int = 0
    """How often it ran, on all machines together."""

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"


class UncompiledFile(_CoverageModel):
    """A file of the patch that no machine's configuration compiles."""

    file: str
    symbol: str = ""
    """The Kconfig symbol that it wants, without CONFIG_; empty if its Makefile names none."""


class Coverage(_CoverageModel):
    """The coverage of a patch."""

    schema_: int = 1
    kernel: str
    machines: tuple[str, ...]
    lines: tuple[PatchedLine, ...]
    """Every added or changed line of C files and headers, those without code too."""
    uncompiled: tuple[UncompiledFile, ...] = ()
    diffs: Mapping[str, str] = {}
    """File -> what the series changes in it, as a unified diff."""

    @property
    def code(self) -> tuple[PatchedLine, ...]:
        """The lines that have code on some machine."""
        return tuple(line for line in self.lines if line.compiled)

    @property
    def missed(self) -> tuple[PatchedLine, ...]:
        """The lines with code that ran nowhere."""
        return tuple(line for line in self.code if not line.ran)

    def cases(self, file: str, line: int) -> frozenset[str]:
        """Return the cases that ran a line, on any machine; empty if none did."""
        found: set[str] = set()
        for changed in self.lines:
            if (changed.file, changed.line) == (file, line):
                for cases in changed.ran.values():
                    found.update(cases)
        return frozenset(found)

    def summary(self) -> str:
        """Return one line: `coverage: 41 of 43 changed lines ran; not: mm/shmem.c:3167, :3170`."""
        head = f"coverage: {len(self.code) - len(self.missed)} of {len(self.code)} changed lines ran"
        if not self.missed:
            return head
        return f"{head}; not: {', '.join(ranges(self.missed))}"


def ranges(lines: Iterable[PatchedLine]) -> Iterator[str]:
    """Yield `file:first-last` for each run of lines that follow each other; the file's name stands at its first."""
    by_file = groupby(sorted(lines, key=lambda line: (line.file, line.line)), key=lambda line: line.file)
    for file, several in by_file:
        name = file
        for first, last in _runs([line.line for line in several]):
            numbers = str(first)
            if last != first:
                numbers = f"{first}-{last}"
            yield f"{name}:{numbers}"
            name = ""


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    first = last = numbers[0]
    for number in numbers[1:]:
        if number != last + 1:
            yield first, last
            first = number
        last = number
    yield first, last


Lines = Mapping[str, Mapping[int, int]]
"""Source file -> line -> how often it ran."""


def of(
    kernel: str,
    added: Mapping[str, Mapping[int, str]],
    compiled: Mapping[str, Lines],
    counted: Mapping[str, Mapping[str, Lines]],
    symbols: Mapping[str, str],
    diffs: Mapping[str, str],
) -> Coverage:
    """Put together what was compiled and what ran.

    `added` is file -> line -> text; `compiled` machine -> lines with code; `counted` machine -> case -> counts;
    `symbols` file -> the Kconfig symbol that it is compiled with; `diffs` file -> its unified diff.
    """
    lines: list[PatchedLine] = []
    for file, texts in added.items():
        own = []
        for number, text in texts.items():
            where = tuple(machine for machine, found in compiled.items() if number in found.get(file, {}))
            own.append(_line(file, number, text, where, counted))
        lines += _begun(own)
    nowhere = []
    for file in added:
        if file.endswith(".c") and not any(file in found for found in compiled.values()):
            nowhere.append(UncompiledFile(file=file, symbol=symbols.get(file, "")))
    return Coverage(
        kernel=kernel, machines=tuple(compiled), lines=tuple(lines), uncompiled=tuple(nowhere), diffs=dict(diffs)
    )


def _line(
    file: str, number: int, text: str, compiled: tuple[str, ...], counted: Mapping[str, Mapping[str, Lines]]
) -> PatchedLine:
    ran: dict[str, tuple[str, ...]] = {}
    times = 0
    for machine, by_case in counted.items():
        cases = []
        for case, found in by_case.items():
            if count := found.get(file, {}).get(number):
                cases.append(case)
                times += count
        if cases:
            ran[machine] = tuple(cases)
    return PatchedLine(file=file, line=number, text=text, compiled=compiled, ran=ran, times=times)


def _begun(lines: Sequence[PatchedLine]) -> list[PatchedLine]:
    """Return a file's lines; one that only begins what ran, a statement or a function, ran as often as its next line.

    The compiler may count a function that it has put into its callers there, all but its first lines.
    """
    found: list[PatchedLine] = []
    for line in reversed(lines):
        after = _next(line, found)
        if line.compiled and not line.ran and after and _OPEN.search(line.text):
            line = line.model_copy(update={"ran": after.ran, "times": after.times})  # noqa: PLW2901
        found.append(line)
    return found[::-1]


_OPEN = re.compile(r"[^;}:/\\\s]\s*$")
"""The end of a line after which a statement, or the head of a block, goes on."""
_NO_CODE = re.compile(r"\s*(?:\{?|/?\*.*)\s*$")


def _next(line: PatchedLine, behind: Sequence[PatchedLine]) -> PatchedLine | None:
    """Return the next line with code; `behind` are those behind it, the nearest last. None if other text is between."""
    number = line.line
    for after in reversed(behind):
        number += 1
        if after.line != number:
            return None
        if after.compiled:
            return after
        if not _NO_CODE.match(after.text):
            return None
    return None


DIRECTORY = "coverage"
"""Below a run's directory: the run of the counting kernels, and what came of it."""


def file_of(kernel: str) -> str:
    """Return the name of the file with the coverage of a kernel's series, in the directory of the counting run."""
    return f"coverage-{kernel}.json"


def read_all(directory: str) -> tuple[Coverage, ...]:
    """Return what a run with --coverage has found, kernel by kernel; InputError if a file of it is damaged."""
    found = []
    for path in sorted((Path(directory) / DIRECTORY).glob(file_of("*"))):
        try:
            found.append(Coverage.model_validate_json(path.read_bytes()))
        except ValidationError as error:
            key, why = first_invalid(error)
            raise InputError(path, None, key or None, why) from None
    return tuple(found)
