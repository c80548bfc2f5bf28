# SPDX-License-Identifier: GPL-2.0-or-later
"""The designs of a patch side by side: in which cases they differ, and what each costs, by one run's records. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lab.core.outcome import CaseRecord, Cause, Cost, Outcome
from lab.verdicts.compare import Summary, clean_consoles, tabulate
from lab.verdicts.judge import CONSOLE, LEAK, RUN

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
    """Where designs differ; None when there are no two of them."""
    if len(summary.designs) < 2:
        return None
    table = _cells(summary)
    rows = tuple(row for label, seen in table.items() for row in _rows(label, seen, summary))
    differ = {(row.scenario, row.case) for row in rows}
    told = {label for label, seen in table.items() if any(None not in _of(summary, each) for each in seen.values())}
    return Differences(rows=rows, alike=len(told - differ), untold=len(set(table) - told - differ))


def _cells(summary: Summary) -> Mapping[tuple[str, str], Mapping[str, Cells]]:
    """(scenario, case) -> machine -> what it did there."""
    found: dict[tuple[str, str], dict[str, Cells]] = {}
    for topology in summary.topologies:
        table = tabulate(record for kernel in summary.kernels for record in summary.of_cell(topology, kernel))
        clean = clean_consoles(table, summary.kernels)
        for label, records in table.items():
            words = {kernel: word(record) for kernel, record in records.items()}
            words |= dict.fromkeys(clean.get(label, ()), _WORDS[Outcome.PASS])
            found.setdefault(label, {})[topology] = tuple(words.get(kernel) for kernel in summary.kernels)
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


def _rows(label: tuple[str, str], seen: Mapping[str, Cells], summary: Summary) -> Iterator[Row]:
    """The rows of one case: machines on which it did the same are taken together."""
    telling = {topology: cells for topology, cells in seen.items() if _tells(_of(summary, cells))}
    for cells in dict.fromkeys(telling.values()):
        if len({each for each in _of(summary, cells) if each is not None}) > 1:
            yield Row(
                scenario=label[0],
                case=label[1],
                cells=cells,
                topologies=tuple(topology for topology, same in telling.items() if same == cells),
                everywhere=len(set(telling.values())) == 1,
            )


def _of(summary: Summary, cells: Cells) -> Cells:
    """The cells of the designs alone."""
    return tuple(cell for kernel, cell in zip(summary.kernels, cells, strict=True) if kernel in summary.designs)


def _tells(cells: Cells) -> bool:
    """Whether a machine has anything to say about designs: a case that all of them skip is none of its."""
    return any(cell not in (None, _WORDS[Outcome.SKIP]) for cell in cells)


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
    found = {topology: _prices(summary, topology) for topology in summary.topologies}
    return {topology: measured for topology, measured in found.items() if measured}


def _prices(summary: Summary, topology: str) -> tuple[Price, ...]:
    table = tabulate(record for kernel in summary.kernels for record in summary.of_cell(topology, kernel))
    counted = summary.evidence.metadata.topology(topology).clock == "instructions"
    unit = "instructions" if counted else "ns"
    rows = (
        Price(
            scenario=scenario,
            case=case,
            costs=tuple(_in_unit(seen.get(kernel), unit) for kernel in summary.kernels),
            skipped=tuple(_skipped(seen.get(kernel)) for kernel in summary.kernels),
        )
        for (scenario, case), seen in table.items()
        if case not in (RUN, CONSOLE, LEAK)
    )
    told = tuple(price for price in rows if not all(price.skipped))
    measuring = {price.scenario for price in told if any(price.costs)}
    return tuple(price for price in told if price.scenario in measuring)


def _in_unit(record: CaseRecord | None, unit: str) -> Cost | None:
    """A cost in the unit of the machine's clock: a guest that says another is not believed."""
    return record.cost if record and record.cost and record.cost.unit == unit else None


def _skipped(record: CaseRecord | None) -> bool:
    return record is not None and record.outcome is Outcome.SKIP


def spread(measured: Sequence[Price]) -> float:
    """How far apart half of the rounds of any operation are, at most, as a part of their median."""
    costs = [cost for price in measured for cost in price.costs if cost]
    return max(((cost.high - cost.low) / cost.median for cost in costs), default=0.0)
