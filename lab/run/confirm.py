# SPDX-License-Identifier: GPL-2.0-or-later
"""Run again what seems fixed or regressed, on both kernels and in new guests, before it is called so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from lab.core.outcome import CaseRecord, Cause, CellKey, CellStatus, Delta, Expected, Outcome
from lab.evidence import read
from lab.evidence.metadata import Metadata
from lab.run.campaign import OpenRun
from lab.specs.plan import Cell, Selection
from lab.verdicts.compare import CaseDelta, Summary, judged
from lab.verdicts.confirm import Label, confirming, labels
from lab.verdicts.judge import SYNTHETIC
from lab.verdicts.suites import test_of


def suspects(changed: Iterable[CaseDelta], records: Iterable[CaseRecord]) -> dict[CellKey, set[Label]]:
    """Return the cases that seem fixed or regressed, for both kernels of each comparison.

    A program that does not build is left out: another run builds nothing else.
    """
    not_built = {(record.topology, record.scenario, record.case) for record in records if record.cause is Cause.BUILD}
    found: defaultdict[CellKey, set[Label]] = defaultdict(set)
    for delta in changed:
        seems = delta.delta in (Delta.FIXED, Delta.REGRESSED)
        if seems and (delta.topology, delta.scenario, delta.case) not in not_built:
            label = (delta.scenario, delta.case)
            found[CellKey(delta.topology, delta.baseline)].add(label)
            found[CellKey(delta.topology, delta.kernel)].add(label)
    return found


def again(opened: OpenRun, summary: Summary, times: int) -> OpenRun | None:
    """Return what is to run to confirm a summary, in the same directory; None if nothing is in doubt.

    What seems fixed or regressed is in doubt, unless a guest that was foreseen has confirmed it.
    """
    doubted = suspects(summary.changed, summary.odd) if times else {}
    metadata = read.read_metadata(opened.path)
    guests = confirming(metadata)
    for place, cases in doubted.items():
        cases.difference_update(labels(guests, place))
    last = max([metadata.repeat, *(repeat for _, _, repeat in guests)])
    cells = tuple(_cells(opened, doubted, range(last + 1, last + 1 + times)))
    if not cells:
        return None
    known = metadata.document().get("confirming", ())
    metadata = metadata.changed(confirming=[*known, *_described(cells, doubted)])
    opened.run_dir.write_metadata(metadata)
    plan = replace(opened.plan, cells=cells, builds=tuple(dict.fromkeys(cell.build for cell in cells)))
    return replace(opened, plan=plan, metadata=metadata, kept={})


def _described(cells: Iterable[Cell], doubted: Mapping[CellKey, set[Label]]) -> list[dict[str, object]]:
    """Return what metadata.json says of guests that confirm cases."""
    described: list[dict[str, object]] = []
    for cell in cells:
        place = {"topology": cell.topology.name, "kernel": cell.kernel.name, "repeat": cell.repeat}
        described.append({**place, "cases": sorted(doubted[cell.key])})
    return described


def on_record(opened: OpenRun, metadata: Metadata) -> Iterator[Cell]:
    """Yield the guests of a run that confirmed cases, by its metadata."""
    for (topology, kernel, repeat), cases in confirming(metadata).items():
        place = CellKey(topology, kernel)
        yield from _cells(opened, {place: set(cases)}, range(repeat, repeat + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Foresight:
    """What a patch is going to fix, as far as the baseline tells: the cases that fail there for want of a feature.

    So guests may confirm them while the patched kernel's first guest still runs its cases. Whatever else seems fixed
    or regressed then is confirmed afterwards, and so is what another baseline says.
    """

    opened: OpenRun

    def cells(self, cell: Cell, metadata: Metadata) -> tuple[Cell, ...]:
        """Return the two guests that will confirm what a cell of a pair fixes; none if the baseline has not run yet."""
        kernels = tuple(dict.fromkeys(one.kernel.name for one in self.opened.plan.cells))
        if len(kernels) != 2 or cell.kernel.name != kernels[1] or cell.repeat > 1 or metadata.repeat > 1:
            return ()
        guest = read.cell_result(self.opened.path, cell.topology.name, kernels[0], 1)
        if guest.status is not CellStatus.OK:
            return ()
        requires = {
            (scenario, case.name): case.requires for scenario, cases in self.opened.cases.items() for case in cases
        }
        failing: set[Label] = set()
        for record in judged(metadata, guest):
            label = (record.scenario, record.case)
            wanted = requires.get(label, ())
            fits = not cell.kernel.provides or cell.kernel.provides.issuperset(wanted)
            if record.outcome is Outcome.FAIL and record.expected is Expected.FAIL and wanted and fits:
                failing.add(label)
        places = [CellKey(cell.topology.name, kernel) for kernel in kernels]
        return tuple(_cells(self.opened, dict.fromkeys(places, failing), range(2, 3)))

    def described(self, cells: Iterable[Cell]) -> list[dict[str, object]]:
        """Return what metadata.json says of such guests."""
        cells = tuple(cells)
        doubted: dict[CellKey, set[Label]] = {}
        for cell in cells:
            doubted[cell.key] = {(selection.scenario, case) for selection in cell.scenarios for case in selection.cases}
        return _described(cells, doubted)


def _cells(opened: OpenRun, doubted: Mapping[CellKey, set[Label]], repeats: range) -> Iterator[Cell]:
    """Yield the guests that run the cases in doubt; those that a run went on with have no cell here, and stay."""
    for repeat in repeats:
        for cell in opened.plan.cells:
            selections = tuple(_selections(cell, doubted.get(cell.key, set()), opened))
            if selections and cell.repeat == 1:
                yield replace(cell, repeat=repeat, scenarios=selections)


def _selections(cell: Cell, doubted: Iterable[Label], opened: OpenRun) -> Iterator[Selection]:
    """Yield what a guest runs of each scenario: the cases in doubt, or all it ran if its console or leaks are."""
    wanted: defaultdict[str, set[str]] = defaultdict(set)
    for scenario, case in doubted:
        wanted[scenario] |= {case, test_of(case)}
    for selection in cell.scenarios:
        tests = wanted[selection.scenario]
        if tests & SYNTHETIC:
            yield selection
        elif tests:
            names = tuple(case.name for case in opened.cases[selection.scenario] if case.name in tests)
            yield replace(selection, cases=names)
