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
"""More cases than this that do the same on the same machines are one row."""


def differ(summary: Summary, width: int) -> list[str]:
    """Return a line per case in which designs differ, then how many are alike; nothing without two designs."""
    differences = designs.differences(summary)
    if not differences:
        return []
    cases = words.count(len({(row.scenario, row.case) for row in differences.rows}), "case")
    lines = wrap(f"DESIGNS DIFFER in {cases}", width)
    if differences.rows:
        lines += table(summary.kernels, list(_lines(differences.rows, summary)), width)
    return [*lines, *wrap(_rest(differences), width)]


def _rest(differences: Differences) -> str:
    """Return how many cases are alike in all designs, and how many lack the evidence to tell."""
    parts = [f"alike in all designs: {words.count(differences.alike, 'case')}"]
    if differences.without_evidence:
        parts.append(
            f"not told on any machine, for want of evidence: {words.count(differences.without_evidence, 'case')}"
        )
    return "; ".join(parts)


def _lines(rows: Sequence[Row], summary: Summary) -> Iterator[LayoutLine]:
    """Yield what few cases do, by scenario, a line each; then what many do, once, with their names."""
    few: dict[str, list[Row]] = {}
    many: list[list[Row]] = []
    for same in _alike(rows):
        if len(same) > MANY:
            many.append(same)
            continue
        for row in same:
            few.setdefault(row.scenario, []).append(row)
    for scenario, its_rows in few.items():
        yield LayoutLine(title=scenario)
        for row in its_rows:
            yield LayoutLine(title=row.case, cells=_shown(row.cells), indent="  ")
            yield from _where(row, summary)
    for same in many:
        yield LayoutLine(title=f"{len(same)} cases", cells=_shown(same[0].cells))
        yield from _where(same[0], summary)
        names: list[tuple[str, str]] = []
        for row in same:
            names.append((row.scenario, row.case))
        for scenario, cases in words.by_scenario(names).items():
            yield LayoutLine(title=f"{scenario}: {' '.join(cases)}", indent="    ")


def _alike(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the rows in groups that do the same on the same machines."""
    groups: dict[tuple[designs.Cells, tuple[str, ...]], list[Row]] = {}
    for row in rows:
        topologies = row.topologies
        if row.everywhere:
            topologies = ()
        groups.setdefault((row.cells, topologies), []).append(row)
    return list(groups.values())


def _shown(cells: designs.Cells) -> list[str]:
    """Return the texts of cells; `UNKNOWN` where there is no evidence."""
    shown: list[str] = []
    for cell in cells:
        if cell is None:
            shown.append(UNKNOWN)
        else:
            shown.append(cell)
    return shown


def _where(row: Row, summary: Summary) -> Iterator[LayoutLine]:
    """Yield the names of the row's machines, unless the row is about all of them."""
    if not row.everywhere:
        yield LayoutLine(title=words.places(row.topologies, summary.topologies), indent="    ")


def cost(summary: Summary, width: int) -> list[str]:
    """Return a table for every machine on which something was measured."""
    lines: list[str] = []
    for topology, measured in designs.prices(summary).items():
        lines += ["", *_costs(topology, measured, summary, width)]
    return lines[1:]


def _costs(topology: str, measured: Sequence[Price], summary: Summary, width: int) -> list[str]:
    """Return the table of a machine: a row per measurement, a column per kernel."""
    first, *others = summary.kernels
    unit = next(cost.unit for price in measured for cost in price.costs if cost)
    ratios = ""
    if others:
        ratios = f"; the others as ratios to {first}, where that has it"
    lines = wrap(f"COSTS on {topology}, in {_UNITS[unit]}, by the median of many rounds{ratios}", width)
    one_scenario = len({measurement.scenario for measurement in measured}) == 1
    rows: list[LayoutLine] = []
    for measurement in measured:
        title = measurement.label
        if one_scenario:
            title = measurement.case
        rows.append(LayoutLine(title=title, cells=_prices(measurement)))
    lines += table(summary.kernels, rows, width, right=True)
    apart = f"half of the rounds of a measurement are {designs.spread(measured):.1%} apart, at most"
    return [*lines, *wrap(apart, width)]


_UNITS = {"instructions": "instructions", "ns": "nanoseconds of the guest"}


def _prices(price: Price) -> list[str]:
    """Return the text of every kernel's cost."""
    texts: list[str] = []
    for number in range(len(price.costs)):
        texts.append(_price(price, number))
    return texts


def _price(price: Price, number: int) -> str:
    """Return `7840`, `x1.003`, or why there is no number."""
    own, ratio = price.costs[number], price.ratio(number)
    if own is None and price.skipped[number]:
        return "-"
    if own is None:
        return "not measured"
    if number == 0 or ratio is None:
        return f"{own.median}"
    return f"x{ratio:.3f}"
