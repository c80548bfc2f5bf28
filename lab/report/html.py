# SPDX-License-Identifier: GPL-2.0-or-later
"""report.html: one file, no scripts, no outside references; the matrix, then every cell with its evidence."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from lab.compare import Summary
from lab.judge import cell_evidence
from lab.outcome import CellResult, CellStatus, Delta, Record
from lab.report import _words as words
from lab.untrusted import printable

FILE = "report.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class _CellView:
    """A cell as the template shows it."""

    cell: CellResult
    anchor: str
    text: str
    colour: str
    records: tuple[Record, ...]
    evidence: str


def render(summary: Summary) -> str:
    """The page. Jinja escapes everything; control characters were spelled out before."""
    cells = {(cell.topology, cell.kernel): _view(summary, cell) for cell in summary.evidence.cells}
    every = summary.topologies
    return _template().render(
        summary=summary,
        title=words.headline(summary),
        started=printable(str(summary.evidence.metadata.get("started", ""))),
        host=words.flat(summary.evidence.metadata.get("host")),
        cells=cells,
        fixed=words.by_places(summary.delta(Delta.FIXED), every),
        regressed=words.by_places(summary.delta(Delta.REGRESSED), every),
    )


def _view(summary: Summary, cell: CellResult) -> _CellView:
    records = summary.of_cell(cell.topology, cell.kernel)
    return _CellView(
        cell=cell,
        anchor=f"{cell.topology}--{cell.kernel}",
        text=", ".join(words.cell_text(summary, cell)),
        colour=_colour(cell, records),
        records=records,
        evidence=printable("\n".join(cell_evidence(cell))),
    )


def _colour(cell: CellResult, records: tuple[Record, ...]) -> str:
    if cell.status is not CellStatus.OK:
        return "bad" if cell.status is CellStatus.NO_BOOT else "broken"
    if any(record.met is False and record.outcome.value != "BROKEN" for record in records):
        return "bad"
    return "broken" if any(record.met is False for record in records) or not records else "good"


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("lab", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["printable"] = printable
    return environment.get_template("page.html.j2")
