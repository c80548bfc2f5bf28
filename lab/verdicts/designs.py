# SPDX-License-Identifier: GPL-2.0-or-later
"""Compare the designs of a patch by one run's records: in which cases they differ, and what each costs. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lab.core.outcome import CaseRecord, Cause, Cost, Outcome
from lab.verdicts.compare import Summary, clean_consoles, table_of
from lab.verdicts.judge import SYNTHETIC

Cells = tuple[str | None, ...]
"""What a case did on every kernel, in words; None where there is no evidence."""

_WORDS = {Outcome.PASS: "pass", Outcome.FAIL: "fail", Outcome.SKIP: "skip", Outcome.HANG: "hang"}
_WORDS |= {Outcome.LEAK: "leak", Outcome.FLAKY: "flaky", Outcome.CRASH: "crash"}
_GOT = re.compile(r"\bgot (SIG[A-Z]{2,7}|E[A-Z0-9]{2,12})\b")
_SIGNAL = re.compile(r"\((SIG[A-Z]{2,7})\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A case in which two designs differ, on the machines where it did the same."""

    scenario: str
    case: str
    cells: Cells
    """Of every kernel of the run, in its order."""
    topologies: tuple[str, ...]
    everywhere: bool
    """Whether that is so on every machine that can tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """The cases in which the designs differ, and how many other cases there are."""

    rows: tuple[Row, ...]
    alike: int
    """The number of cases in which no two designs differ, and all designs have evidence on one machine at least."""
    without_evidence: int
    """The number of cases for which no machine has evidence of all designs."""


def differences(summary: Summary) -> Differences | None:
    """Return where designs differ; None if there are not two of them."""
    if len(summary.designs) < 2:
        return None
    rows: list[Row] = []
    alike = unknown = 0
    for label, machines in _side_by_side(summary).items():
        differing = list(_rows(label, machines))
        rows += differing
        if differing:
            continue
        if any(seen.complete for seen in machines.values()):
            alike += 1
        else:
            unknown += 1
    return Differences(rows=tuple(rows), alike=alike, without_evidence=unknown)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What a case did on one machine."""

    kernels: Cells
    """On every kernel of the run."""
    designs: Cells
    """On the designs alone."""

    @property
    def complete(self) -> bool:
        """Whether there is evidence for every design."""
        return None not in self.designs

    @property
    def comparable(self) -> bool:
        """Whether a design did anything but skip the case."""
        return any(did not in (None, _WORDS[Outcome.SKIP]) for did in self.designs)

    @property
    def differs(self) -> bool:
        return len(set(self.designs) - {None}) > 1


def _side_by_side(summary: Summary) -> Mapping[tuple[str, str], Mapping[str, _Seen]]:
    """Return (scenario, case) -> machine -> what the case did there."""
    found: dict[tuple[str, str], dict[str, _Seen]] = {}
    for topology in summary.topologies:
        table = table_of(summary, topology)
        clean = clean_consoles(table, summary.kernels)
        for label, records in table.items():
            words = {kernel: word(record) for kernel, record in records.items()}
            words |= dict.fromkeys(clean.get(label, ()), _WORDS[Outcome.PASS])
            found.setdefault(label, {})[topology] = _Seen(
                kernels=tuple(map(words.get, summary.kernels)), designs=tuple(map(words.get, summary.designs))
            )
    return found


def word(record: CaseRecord) -> str | None:
    """Return what a case did, in a few words: `pass`, `pass: ENOMEM`, `fail: SIGBUS`; None without evidence."""
    outcome = _WORDS.get(record.outcome)
    if record.outcome is Outcome.PASS and record.saw:
        return f"{outcome}: {' '.join(record.saw)}"
    if record.outcome is Outcome.FAIL and (got := _GOT.search(record.reason)):
        return f"{outcome}: {got[1]}"
    if record.outcome is Outcome.CRASH:
        if record.cause is Cause.SIGNAL and (signal := _SIGNAL.search(record.reason)):
            return f"{outcome}: {signal[1]}"
        return f"{outcome}: {record.cause}"
    return outcome


def _rows(label: tuple[str, str], machines: Mapping[str, _Seen]) -> Iterator[Row]:
    """Yield the rows of one case: machines on which it did the same share a row."""
    scenario, case = label
    alike: dict[Cells, list[str]] = {}
    differing: list[Cells] = []
    for topology, seen in machines.items():
        if not seen.comparable:
            continue
        if seen.kernels not in alike and seen.differs:
            differing.append(seen.kernels)
        alike.setdefault(seen.kernels, []).append(topology)
    for cells in differing:
        yield Row(
            scenario=scenario,
            case=case,
            cells=cells,
            topologies=tuple(alike[cells]),
            everywhere=len(alike) == 1,
        )


# Costs.


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The cost of one operation on every kernel of a machine; None if it was not measured."""

    scenario: str
    case: str
    costs: tuple[Cost | None, ...]
    skipped: tuple[bool, ...]
    """Where the case does not make sense, so that there is nothing to be measured."""

    @property
    def label(self) -> str:
        return f"{self.scenario}.{self.case}"

    @property
    def base(self) -> Cost | None:
        """The cost on the first kernel, to which the others are ratios."""
        return self.costs[0]

    def ratio(self, number: int) -> float | None:
        """Return the ratio of a kernel to the first one; None if either was not measured, or in another unit."""
        own = self.costs[number]
        if not own or not self.base or own.unit != self.base.unit:
            return None
        return own.median / self.base.median


def prices(summary: Summary) -> Mapping[str, tuple[Price, ...]]:
    """Return machine -> what was measured there, without the machines on which nothing was measured.

    A program that measures does so in all its cases: a case without a measurement has a row too, whatever its outcome.
    """
    by_topology: dict[str, tuple[Price, ...]] = {}
    topologies = summary.topologies
    if not any(verdict.cost for verdict in summary.tally):
        topologies = ()
    for topology in topologies:
        if measured := _prices(summary, topology):
            by_topology[topology] = measured
    return by_topology


def _prices(summary: Summary, topology: str) -> tuple[Price, ...]:
    """Return what a machine measured, with all cases of the scenarios that measured anything."""
    clock = summary.evidence.metadata.topology(topology).clock
    unit = "instructions" if clock == "instructions" else "ns"
    prices_found: list[Price] = []
    for (scenario, case), records in table_of(summary, topology).items():
        if case in SYNTHETIC:
            continue
        by_kernel = [records.get(kernel) for kernel in summary.kernels]
        costs = tuple(_in_unit(record, unit) for record in by_kernel)
        price = Price(scenario=scenario, case=case, costs=costs, skipped=tuple(map(_skipped, by_kernel)))
        if not all(price.skipped):
            prices_found.append(price)
    measuring = {price.scenario for price in prices_found if any(price.costs)}
    return tuple(price for price in prices_found if price.scenario in measuring)


def _in_unit(record: CaseRecord | None, unit: str) -> Cost | None:
    """Return a record's cost; None if it is not in the unit of the machine's clock."""
    if record and record.cost and record.cost.unit == unit:
        return record.cost
    return None


def _skipped(record: CaseRecord | None) -> bool:
    return record is not None and record.outcome is Outcome.SKIP


def spread(measured: Sequence[Price]) -> float:
    """Return the largest spread of any operation: the interquartile range of its rounds, divided by their median."""
    largest = 0.0
    for price in measured:
        for cost in filter(None, price.costs):
            largest = max(largest, (cost.high - cost.low) / cost.median)
    return largest
