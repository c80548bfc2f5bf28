# SPDX-License-Identifier: GPL-2.0-or-later
"""report.html: one file, no scripts, no outside references; the matrix, then every cell with its evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from lab.compare import Summary
from lab.judge import cell_evidence
from lab.outcome import CellResult, CellStatus, Delta, Outcome, Record
from lab.report import _words as words
from lab.untrusted import printable

FILE = "report.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class _GuestView:
    """One guest of a cell as the template shows it."""

    guest: CellResult
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _CellView:
    """A cell, with all its repeats, as the template shows it."""

    topology: str
    kernel: str
    anchor: str
    text: str
    colour: str
    how: str
    bad: tuple[_GuestView, ...]
    records: tuple[Record, ...]


def render(summary: Summary) -> str:
    """The page. Jinja escapes everything; control characters were spelled out before."""
    every = summary.topologies
    return _template().render(
        summary=summary,
        title=words.headline(summary),
        started=printable(str(summary.evidence.metadata.get("started", ""))),
        repeats=words.repeats(summary),
        host=words.flat(summary.evidence.metadata.get("host")),
        cells={place: _view(summary, place, guests) for place, guests in summary.repeats.items()},
        fixed=words.by_places(summary.delta(Delta.FIXED), every),
        regressed=words.by_places(summary.delta(Delta.REGRESSED), every),
    )


def _view(summary: Summary, place: tuple[str, str], guests: Sequence[CellResult]) -> _CellView:
    records = summary.of_cell(*place)
    return _CellView(
        topology=place[0],
        kernel=place[1],
        anchor="--".join(place),
        text=", ".join(words.cell_text(summary, place)),
        colour=_colour(guests, records),
        how=", ".join(words.started(guests)),
        bad=tuple(
            _GuestView(guest=guest, evidence=printable("\n".join(cell_evidence(guest))))
            for guest in guests
            if guest.status is not CellStatus.OK
        ),
        records=records,
    )


def _colour(guests: Sequence[CellResult], records: Sequence[Record]) -> str:
    states = {guest.status for guest in guests}
    if states != {CellStatus.OK}:
        return "bad" if CellStatus.NO_BOOT in states else "broken"
    if any(record.met is False and record.outcome is not Outcome.BROKEN for record in records):
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
