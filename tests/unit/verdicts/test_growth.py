# SPDX-License-Identifier: GPL-2.0-or-later
"""The work for a run grows with its cells and not with their square: calls are counted, no time is measured.

Names of machines count their comparisons, as a search through a tuple makes no other call.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from lab.core.outcome import CellResult, End, Run
from lab.evidence.metadata import Evidence
from lab.verdicts import designs, two_runs
from lab.verdicts.compare import Summary, conclude
from tests.unit.fixtures.evidence import cell, ktap, metadata, recorded

KERNELS = ("baseline", "one", "two")
FEW, TWICE = 20, 40
GROWTH = 2.2
"""How many times the calls twice the cells may take."""


class ComparedName(str):
    """A name whose comparisons are calls of Python functions, which are counted."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def evidence(machines: int, source: str) -> Evidence:
    """A run of many machines, in which the kernels differ and cost something."""
    names = [ComparedName(f"machine-{number}") for number in range(machines)]
    document = metadata(names, KERNELS)
    document["cases"] = {"costs": [{"name": name} for name in ("a", "b", "c")]}
    cells = tuple(_cell(name, kernel) for name in names for kernel in KERNELS)
    return Evidence(metadata=recorded(document), cells=cells, source=source)


def _cell(topology: str, kernel: str) -> CellResult:
    cost = "# cost a 100 ns (90-110 in 9 rounds)"
    last = "not ok c" if kernel == "one" else "ok c"
    run = Run(scenario="costs", end=End.EXITED, status=int(kernel == "one"), ktap=ktap([cost, "ok a", "ok b", last]))
    return cell(topology, kernel, runs=(run,))


def calls(work: Callable[[], object]) -> int:
    """How many functions are called, those of C included."""
    number = 0

    def count(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal number
        number += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return number


def of_everything(summary: Summary) -> object:
    """Ask for all that a report shows of a summary."""
    return summary.counts(), summary.not_met, summary.skipped_everywhere, [*summary.deltas()]


def work(name: str, machines: int) -> Callable[[], object]:
    """The work that is counted; what it needs is there before."""
    found = evidence(machines, "old")
    if name == "conclude":
        return lambda: conclude(found)
    first, second = conclude(found), conclude(evidence(machines, "new"))
    works: dict[str, Callable[[], object]] = {
        "summary": lambda: of_everything(first),
        "differences": lambda: designs.differences(first),
        "prices": lambda: designs.prices(first),
        "two runs": lambda: two_runs.compare(first, second),
    }
    return works[name]


@pytest.mark.parametrize("name", ["conclude", "summary", "differences", "prices", "two runs"])
def test_twice_the_cells_are_twice_the_work(name: str) -> None:
    few, twice = calls(work(name, FEW)), calls(work(name, TWICE))
    assert few > FEW, "nothing was counted"
    assert twice <= GROWTH * few


def test_the_work_is_done() -> None:
    summary = conclude(evidence(FEW, "old"))
    found = designs.differences(summary)
    assert found is not None
    assert [(row.case, len(row.topologies), row.everywhere) for row in found.rows] == [("c", FEW, True)]
    prices = designs.prices(summary)
    assert len(prices) == FEW
    assert all(cost is not None for price in prices["machine-0"] if price.case == "a" for cost in price.costs)


def test_a_search_through_all_cells_for_each_of_them_is_noticed() -> None:
    names = [ComparedName(f"machine-{number}") for number in range(TWICE)]

    def quadratic(some: list[ComparedName]) -> Callable[[], object]:
        return lambda: [name in some for name in some]

    assert calls(quadratic(names)) > GROWTH * calls(quadratic(names[:FEW]))
