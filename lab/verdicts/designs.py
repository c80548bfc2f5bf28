# SPDX-License-Identifier: GPL-2.0-or-later
"""The designs of a patch side by side: in which cases they differ, and what each costs, by one run's records. Pure."""

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
    """Where the designs differ, and how many cases there are besides."""

    rows: tuple[Row, ...]
    alike: int
    """Cases in which no two designs differ on any machine, and all are known on one at least."""
    untold: int
    """Cases that no machine can tell, for want of evidence."""


def differences(summary: Summary) -> Differences | None:
    """Where designs differ; None if there are not two of them."""
    if len(summary.designs) < 2:
        return None
    rows: list[Row] = []
    alike = unknown = 0
    for label, machines in _side_by_side(summary).items():
        differing = list(_rows(label, machines))
        rows += differing
        if differing:
            continue
        if any(None not in seen.designs for seen in machines.values()):
            alike += 1
        else:
            unknown += 1
    return Differences(rows=tuple(rows), alike=alike, untold=unknown)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What a case did on one machine."""

    kernels: Cells
    """On every kernel of the run."""
    designs: Cells
    """On the designs alone."""

    @property
    def telling(self) -> bool:
        """Whether the machine has anything to say about designs, which it has not if all of them skip the case."""
        return any(did not in (None, _WORDS[Outcome.SKIP]) for did in self.designs)

    @property
    def differs(self) -> bool:
        return len(set(self.designs) - {None}) > 1


def _side_by_side(summary: Summary) -> Mapping[tuple[str, str], Mapping[str, _Seen]]:
    """(scenario, case) -> machine -> what the case did there."""
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
    """What a case did, in a few words: `pass`, `pass: ENOMEM`, `fail: SIGBUS`; None where there is no evidence."""
    said = _WORDS.get(record.outcome)
    if record.outcome is Outcome.PASS and record.saw:
        return f"{said}: {' '.join(record.saw)}"
    if record.outcome is Outcome.FAIL and (got := _GOT.search(record.reason)):
        return f"{said}: {got[1]}"
    if record.outcome is Outcome.CRASH:
        signal = _SIGNAL.search(record.reason) if record.cause is Cause.SIGNAL else None
        return f"{said}: {signal[1] if signal else record.cause}"
    return said


def _rows(label: tuple[str, str], machines: Mapping[str, _Seen]) -> Iterator[Row]:
    """The rows of one case: machines on which it did the same are one row."""
    scenario, case = label
    alike: dict[Cells, list[str]] = {}
    differing: list[Cells] = []
    for topology, seen in machines.items():
        if not seen.telling:
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
    """What one operation takes on every kernel of a machine; None where it was not measured."""

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
        """What the others are ratios of: the first kernel's."""
        return self.costs[0]

    def ratio(self, number: int) -> float | None:
        """Of a kernel to the first one; None where either was not measured, or in another unit."""
        own = self.costs[number]
        if not own or not self.base or own.unit != self.base.unit:
            return None
        return own.median / self.base.median


def prices(summary: Summary) -> Mapping[str, tuple[Price, ...]]:
    """Machine -> what was measured there; machines on which nothing was are left out.

    A program that measures does so in all its cases: where one did not, that is said, whatever its outcome was.
    """
    found: dict[str, tuple[Price, ...]] = {}
    for topology in summary.topologies:
        if measured := _prices(summary, topology):
            found[topology] = measured
    return found


def _prices(summary: Summary, topology: str) -> tuple[Price, ...]:
    """What a machine measured, by scenarios that measured anything."""
    counted = summary.evidence.metadata.topology(topology).clock == "instructions"
    unit = "instructions" if counted else "ns"
    found: list[Price] = []
    for (scenario, case), records in table_of(summary, topology).items():
        if case in SYNTHETIC:
            continue
        by_kernel = [records.get(kernel) for kernel in summary.kernels]
        costs = tuple(_in_unit(record, unit) for record in by_kernel)
        price = Price(scenario=scenario, case=case, costs=costs, skipped=tuple(map(_skipped, by_kernel)))
        if not all(price.skipped):
            found.append(price)
    measuring = {price.scenario for price in found if any(price.costs)}
    return tuple(price for price in found if price.scenario in measuring)


def _in_unit(record: CaseRecord | None, unit: str) -> Cost | None:
    """A cost in the unit of the machine's clock: a guest that says another is not believed."""
    return record.cost if record and record.cost and record.cost.unit == unit else None


def _skipped(record: CaseRecord | None) -> bool:
    return record is not None and record.outcome is Outcome.SKIP


def spread(measured: Sequence[Price]) -> float:
    """How far apart half of the rounds of any operation are, at most, as a part of their median."""
    costs = [cost for price in measured for cost in price.costs if cost]
    spreads = [(cost.high - cost.low) / cost.median for cost in costs]
    return max(spreads, default=0.0)
