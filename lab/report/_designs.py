# SPDX-License-Identifier: GPL-2.0-or-later
"""The designs of a patch side by side, as text: row by row where they differ, and what each costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lab.report import _words as words
from lab.report._layout import LayoutLine, table, wrap
from lab.verdicts import designs
from lab.verdicts.compare import Summary
from lab.verdicts.designs import Differences, Price, Row

UNKNOWN = "?"
MANY = 8
"""Cases that do the same on the same machines, and of which more than so many are one row."""


def differ(summary: Summary, width: int) -> list[str]:
    """A line per case in which designs differ, then how many cases are alike; nothing without two designs."""
    found = designs.differences(summary)
    if not found:
        return []
    said = words.count(len({(row.scenario, row.case) for row in found.rows}), "case")
    lines = wrap(f"DESIGNS DIFFER in {said}", width)
    if found.rows:
        lines += table(summary.kernels, list(_lines(found.rows, summary)), width)
    return [*lines, *wrap(_rest(found), width)]


def _rest(found: Differences) -> str:
    said = f"alike in all designs: {words.count(found.alike, 'case')}"
    lost = f"not told on any machine, for want of evidence: {words.count(found.without_evidence, 'case')}"
    return f"{said}; {lost}" if found.without_evidence else said


def _lines(rows: Sequence[Row], summary: Summary) -> Iterator[LayoutLine]:
    """What few cases do, by scenario, a line each; then what many do, once, with their names."""
    groups: dict[tuple[designs.Cells, tuple[str, ...]], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.cells, row.topologies if not row.everywhere else ()), []).append(row)
    few = [row for same in groups.values() if len(same) <= MANY for row in same]
    for scenario in dict.fromkeys(row.scenario for row in few):
        yield LayoutLine(title=scenario)
        for row in (row for row in few if row.scenario == scenario):
            yield LayoutLine(title=row.case, cells=_shown(row.cells), indent="  ")
            yield from _where(row, summary)
    for same in (same for same in groups.values() if len(same) > MANY):
        yield LayoutLine(title=f"{len(same)} cases", cells=_shown(same[0].cells))
        yield from _where(same[0], summary)
        for scenario, cases in words.by_scenario((row.scenario, row.case) for row in same).items():
            yield LayoutLine(title=f"{scenario}: {' '.join(cases)}", indent="    ")


def _shown(cells: designs.Cells) -> list[str]:
    return [UNKNOWN if cell is None else cell for cell in cells]


def _where(row: Row, summary: Summary) -> Iterator[LayoutLine]:
    if not row.everywhere:
        yield LayoutLine(title=words.places(row.topologies, summary.topologies), indent="    ")


def cost(summary: Summary, width: int) -> list[str]:
    """A table for every machine on which something was measured."""
    lines: list[str] = []
    for topology, measured in designs.prices(summary).items():
        lines += ["", *_costs(topology, measured, summary, width)]
    return lines[1:]


def _costs(topology: str, measured: Sequence[Price], summary: Summary, width: int) -> list[str]:
    first, *others = summary.kernels
    unit = next(cost.unit for price in measured for cost in price.costs if cost)
    ratios = f"; the others as ratios to {first}, where that has it" if others else ""
    lines = wrap(f"COSTS on {topology}, in {_UNITS[unit]}, by the median of many rounds{ratios}", width)
    one = len({each.scenario for each in measured}) == 1
    rows = [LayoutLine(title=each.case if one else each.label, cells=_prices(each)) for each in measured]
    lines += table(summary.kernels, rows, width, right=True)
    apart = f"half of the rounds of a measurement are {designs.spread(measured):.1%} apart, at most"
    return [*lines, *wrap(apart, width)]


_UNITS = {"instructions": "instructions", "ns": "nanoseconds of the guest"}


def _prices(price: Price) -> list[str]:
    return [_price(price, number) for number in range(len(price.costs))]


def _price(price: Price, number: int) -> str:
    """`7840`, `x1.003`, or why there is no number."""
    own, ratio = price.costs[number], price.ratio(number)
    if own is None:
        return "-" if price.skipped[number] else "not measured"
    return f"{own.median}" if number == 0 or ratio is None else f"x{ratio:.3f}"
