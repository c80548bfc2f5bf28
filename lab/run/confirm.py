# SPDX-License-Identifier: GPL-2.0-or-later
"""Run again what seems fixed or regressed, on both kernels and in new guests, before it is called so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from lab.core.outcome import CaseRecord, Cause, CellKey, Delta
from lab.evidence import read
from lab.run.campaign import OpenRun
from lab.specs.plan import Cell, Selection
from lab.verdicts.compare import CaseDelta, Summary
from lab.verdicts.confirm import Label
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
    """Return what is to run to confirm a summary, in the same directory; None if nothing seems fixed or regressed."""
    doubted = suspects(summary.changed, summary.odd) if times else {}
    last = opened.metadata.repeat
    cells = tuple(_cells(opened, doubted, range(last + 1, last + 1 + times)))
    if not cells:
        return None
    described = []
    for cell in cells:
        place = {"topology": cell.topology.name, "kernel": cell.kernel.name, "repeat": cell.repeat}
        described.append({**place, "cases": sorted(doubted[cell.key])})
    metadata = read.read_metadata(opened.path).changed(confirming=described)
    opened.run_dir.write_metadata(metadata)
    plan = replace(opened.plan, cells=cells, builds=tuple(dict.fromkeys(cell.build for cell in cells)))
    return replace(opened, plan=plan, metadata=metadata, kept={})


def _cells(opened: OpenRun, doubted: Mapping[CellKey, set[Label]], repeats: range) -> Iterator[Cell]:
    """Yield the guests that run the cases in doubt; those that a run went on with have no cell here, and stay."""
    for repeat in repeats:
        for cell in opened.plan.cells:
            selections = tuple(_selections(cell, doubted.get(cell.key, set()), opened))
            if selections and cell.repeat == 1:
                yield replace(cell, repeat=repeat, scenarios=selections)


def _selections(cell: Cell, labels: Iterable[Label], opened: OpenRun) -> Iterator[Selection]:
    """Yield what a guest runs of each scenario: the cases in doubt, or all it ran if its console or leaks are."""
    wanted: defaultdict[str, set[str]] = defaultdict(set)
    for scenario, case in labels:
        wanted[scenario] |= {case, test_of(case)}
    for selection in cell.scenarios:
        tests = wanted[selection.scenario]
        if tests & SYNTHETIC:
            yield selection
        elif tests:
            names = tuple(case.name for case in opened.cases[selection.scenario] if case.name in tests)
            yield replace(selection, cases=names)
