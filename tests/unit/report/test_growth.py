# SPDX-License-Identifier: GPL-2.0-or-later
"""The work for a report grows with the cells of a run and not with their square: calls are counted."""

from __future__ import annotations

import pytest

from lab.report import registry as report
from lab.report import text
from lab.verdicts.compare import conclude
from tests.unit.fixtures.growth import FEW, GROWTH, TWICE, calls, evidence


def counted(form: str, machines: int) -> int:
    summary = conclude(evidence(machines, "old"))
    if form == "terminal":
        return calls(lambda: report.for_terminal(summary, text.WIDTH))
    return calls(lambda: report.render(summary, form))


@pytest.mark.parametrize("form", [*report.formats(), "terminal"])
def test_twice_the_cells_are_twice_the_work(form: str) -> None:
    few, twice = counted(form, FEW), counted(form, TWICE)
    assert few > FEW, "nothing was counted"
    assert twice <= GROWTH * few
