# SPDX-License-Identifier: GPL-2.0-or-later
"""The records of a described machine, and of the evidence for each part. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from lab.core.errors import UsageError
from lab.core.untrusted import one_line


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedNode:
    """One NUMA node. Memory in bytes; `hugepages` maps a size in bytes to how many are reserved."""

    cpus: tuple[int, ...] = ()
    memory: int = 0
    distance: tuple[int, ...] = ()
    """The distance to every node, in the order of their numbers; empty if unknown."""
    hugepages: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedMachine:
    """A described machine. Sizes in bytes; a field is empty or None if the description does not state it."""

    arch: str
    """The name that `uname -m` or lscpu prints."""
    page_size: int | None = None
    cpus: int = 0
    threads: int = 1
    """Hardware threads per core."""
    memory: int = 0
    nodes: Mapping[int, DescribedNode] = field(default_factory=dict)
    """Number -> node; the numbers may have gaps."""
    hugepages: Mapping[int, int] = field(default_factory=dict)
    """Size -> count over all nodes; counts that the description does not give per node are only here."""
    thp: str | None = None
    shmem_thp: str | None = None
    cmdline: tuple[str, ...] = ()
    model: str = ""
    virtual_bits: int = 0
    """Bits of a virtual address; 0 if unknown."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """The first value of each key of /proc/cpuinfo; `flags` and `Features` also from lscpu."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRow:
    """A row of the table of what was read."""

    what: str
    value: str
    where: str


@dataclass(slots=True, kw_only=True)
class Reading:
    """A machine, complete or not, with the evidence for each part."""

    machine: DescribedMachine
    rows: list[EvidenceRow] = field(default_factory=list)
    nodes: list[EvidenceRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """A sentence for each thing that was decoded, joined, guessed or left out."""
    problems: list[str] = field(default_factory=list)
    """The reasons why no topology can be made of it; empty if one can."""
    hint: str = ""

    def lines(self) -> Iterator[str]:
        """Yield the lines of the table of what was read, then the notes."""
        width = max((len(row.what) for row in self.rows), default=0)
        for row in self.rows:
            yield f"  {row.what:{width}}  {row.value:34}  {row.where}".rstrip()
        if self.nodes:
            yield f"  {'node':4}  {'CPUs':40}  {'memory':>10}  distances"
        for row in self.nodes:
            yield f"  {row.what:>4}  {row.value}  {row.where}"
        for note in self.notes:
            yield f"  note: {one_line(note, 200)}"

    def guesses(self) -> list[str]:
        """Return a line for each guess, as the topology's file lists them."""
        guesses: list[str] = []
        for row in self.rows:
            if "guess" in row.where:
                guesses.append(f"Guessed: {row.what} {row.value} ({row.where}).")
        for note in self.notes:
            if "guess" in note:
                guesses.append(f"Guessed: {note}.")
        return guesses

    def check(self) -> DescribedMachine:
        """Return the machine; UsageError if a required part is missing or cut off."""
        if self.problems:
            raise UsageError("; ".join(self.problems)[:1000], hint=self.hint or None)
        return self.machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the user states on the command line because the text does not."""

    arch: str = ""
    page_size: int | None = None
    machine: int | None = None
    """The number of the machine to use if the text has several, from 1."""
    partial: bool = False
    """Use an incomplete description as the whole machine."""
