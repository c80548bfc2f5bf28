# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine as its description has it, with the evidence for each part. Pure."""

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
    """To every node, in the order of their numbers; empty when it is not known."""
    hugepages: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedMachine:
    """A described machine. Sizes in bytes; what is empty or None was not in the description."""

    arch: str
    """As `uname -m` or lscpu has it."""
    page_size: int | None = None
    cpus: int = 0
    threads: int = 1
    """Hardware threads per core."""
    memory: int = 0
    nodes: Mapping[int, DescribedNode] = field(default_factory=dict)
    """By their numbers, which may have gaps."""
    hugepages: Mapping[int, int] = field(default_factory=dict)
    """Size -> how many, over all nodes; what says nothing of nodes is here alone."""
    thp: str | None = None
    shmem_thp: str | None = None
    cmdline: tuple[str, ...] = ()
    model: str = ""
    virtual_bits: int = 0
    """Of an address; 0 if it is not known."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """/proc/cpuinfo, the first value of every key; `flags` and `Features` also from lscpu."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRow:
    """One line of the table of what was read."""

    what: str
    value: str
    where: str


@dataclass(slots=True, kw_only=True)
class Reading:
    """A machine as far as its description goes, with the evidence for it."""

    machine: DescribedMachine
    rows: list[EvidenceRow] = field(default_factory=list)
    nodes: list[EvidenceRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What was decoded, joined, guessed or left out, a sentence each."""
    problems: list[str] = field(default_factory=list)
    """Why no topology can be made of it."""
    hint: str = ""

    def lines(self) -> Iterator[str]:
        """The table of what was read, then the notes."""
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
        """What is a guess, a line each, for the topology's file."""
        guesses: list[str] = []
        for row in self.rows:
            if "guess" in row.where:
                guesses.append(f"Guessed: {row.what} {row.value} ({row.where}).")
        for note in self.notes:
            if "guess" in note:
                guesses.append(f"Guessed: {note}.")
        return guesses

    def check(self) -> DescribedMachine:
        """The machine; UsageError if something that it cannot do without is missing or cut off."""
        if self.problems:
            raise UsageError("; ".join(self.problems)[:1000], hint=self.hint or None)
        return self.machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the user states because the text does not."""

    arch: str = ""
    page_size: int | None = None
    machine: int | None = None
    """Which one of several machines in the text, counted from 1."""
    partial: bool = False
    """Take what is there for the whole machine."""
