# SPDX-License-Identifier: GPL-2.0-or-later
"""A report of somebody's as a YAML file: a program, the machines on which it shows, and those on which it does not.

`Report` is the file; `ReportPlan` is the file with everything that its words name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from lab.core.errors import did_you_mean
from lab.core.outcome import HEALTHY, SHOWS, Case, CellKey, SeenEvidence
from lab.specs.model import Kernel, OneLine, Spec, Topology, Words

CANNOT_TELL = (125, 126, 127)
"""Exit statuses that are evidence of neither side: the program could not try, or the shell could not start it."""
MAX_TIMEOUT_S = 3600
SIGNALS = (
    *("HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "SEGV", "PIPE", "ALRM", "TERM", "SYS"),
    *("XCPU", "XFSZ", "USR1", "USR2"),
)
"""The signals that images/suite/suite.c has names for."""


def _link(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/]+/\S*", text):
        raise ValueError(f"expected an address such as https://bugs.example.org/1, got {text!r}")
    return text


def _some(links: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse an empty list; min_length would count a wrong entry as none."""
    if not links:
        raise ValueError("expected the address of the report, got an empty list")
    return links


def _signal(name: str) -> str:
    """Return `BUS` for SIGBUS, BUS or bus; ValueError for what no program is reported to end with."""
    known = name.upper().removeprefix("SIG")
    if known not in SIGNALS:
        raise ValueError(f"expected a signal such as SIGBUS, got {name!r}{did_you_mean(known, SIGNALS)}")
    return known


def _symbol(text: str) -> str:
    name = text.removeprefix("CONFIG_")
    if not re.fullmatch(r"[A-Z0-9][A-Za-z0-9_]*", name):
        raise ValueError(f"expected a symbol of Kconfig such as SWAP, got {text!r}")
    return name


def _exit(status: int) -> int:
    if status in CANNOT_TELL:
        raise ValueError(f"{status} means that the program could not try, so it cannot be what is seen")
    return status


ReportLink = Annotated[OneLine, AfterValidator(_link)]
Signal = Annotated[str, AfterValidator(_signal)]
Symbol = Annotated[OneLine, AfterValidator(_symbol)]
ExitStatus = Annotated[int, Field(ge=0, le=255, strict=True), AfterValidator(_exit)]
Names = Annotated[Words, Field(min_length=1)]


class Side(Spec):
    """What is seen on one side of a report, and the machines of this side."""

    topologies: Names
    exit: ExitStatus | None = None
    signal: Signal | None = None
    prints: Words = ()
    """Globs; each has to match a line that the program prints."""
    arguments: Words = ()

    @model_validator(mode="after")
    def _one_end(self) -> Side:
        if (self.exit is None) == (self.signal is None):
            raise ValueError("exit: expected how the program ends: either `exit` or `signal`, exactly one of the two")
        return self

    @property
    def seen(self) -> SeenEvidence:
        """Return what is to be seen, as a case carries it."""
        return SeenEvidence(exit=self.exit, signal=self.signal or "", prints=self.prints)


class Report(Spec):
    """A report. `name` is the file's stem."""

    name: str
    title: OneLine
    links: Annotated[tuple[ReportLink, ...], AfterValidator(_some)]
    program: OneLine | None = None
    """A C file, beside this one; NAME.c if it is not given."""
    kernels: Names = ("baseline",)
    """The kernels on which the report shows."""
    fixed_by: Words = ()
    """Kernels on which the machines of `shows` are healthy."""
    needs_config: tuple[Symbol, ...] = ()
    """Symbols, without CONFIG_, that the kernel must have as y: without one of them nothing is seen."""
    timeout_s: Annotated[int, Field(ge=1, le=MAX_TIMEOUT_S, strict=True)] = 10
    what_changed: OneLine | None = None
    """What was changed because of it, and where."""
    shows: Side
    healthy: Side

    @model_validator(mode="after")
    def _distinct(self) -> Report:
        if self.shows.seen == self.healthy.seen:
            raise ValueError("healthy: expected another exit, signal or words than `shows` has")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPlan:
    """A report with its program, machines and kernels."""

    report: Report
    path: Path
    program: Path
    shows: tuple[Topology, ...]
    healthy: tuple[Topology, ...]
    kernels: tuple[Kernel, ...]
    fixed_by: tuple[Kernel, ...] = ()

    @property
    def name(self) -> str:
        """The report's name, which is the scenario's."""
        return self.report.name

    @property
    def topologies(self) -> tuple[Topology, ...]:
        """Every machine of either side."""
        return (*self.shows, *self.healthy)

    def places(self, others: Sequence[str] = ()) -> Iterator[tuple[CellKey, str]]:
        """Yield the cells of the report, each with its side.

        `others` are kernels of the command line, of which the report says nothing: there the machine decides.
        """
        fixed = [kernel.name for kernel in self.fixed_by]
        kernels = [kernel.name for kernel in self.kernels if kernel.name not in fixed]
        kernels += [name for name in others if name not in kernels and name not in fixed]
        for kernel in kernels:
            for topology in self.shows:
                yield CellKey(topology.name, kernel), SHOWS
            for topology in self.healthy:
                yield CellKey(topology.name, kernel), HEALTHY
        for kernel in fixed:
            for topology in self.shows:
                yield CellKey(topology.name, kernel), HEALTHY

    def cases(self, sides: Mapping[CellKey, str]) -> tuple[Case, ...]:
        """Return a case for each side of which `sides`, cell -> side, has a cell."""
        evidence = {SHOWS: self.report.shows.seen, HEALTHY: self.report.healthy.seen}
        cases: list[Case] = []
        for side in (SHOWS, HEALTHY):
            places = frozenset(str(place) for place, of_side in sides.items() if of_side == side)
            if places:
                case = Case(
                    scenario=self.name,
                    name=side,
                    description=self.report.title,
                    timeout_s=float(self.report.timeout_s),
                    sides=evidence,
                    places=places,
                )
                cases.append(case)
        return tuple(cases)
