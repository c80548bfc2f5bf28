# SPDX-License-Identifier: GPL-2.0-or-later
"""The work for a run grows with its cells and not with their square: calls are counted, no time is measured.

Names of machines count their comparisons, as a search through a tuple makes no other call.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lab.verdicts import designs, two_runs
from lab.verdicts.compare import Summary, conclude
from tests.unit.fixtures.growth import FEW, GROWTH, TWICE, ComparedName, calls, evidence


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
