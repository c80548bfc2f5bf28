# SPDX-License-Identifier: GPL-2.0-or-later
"""report.html: one file without outside references; the matrix, every case on every machine, and all their evidence.

What matters is in the document itself; the script beside it opens evidence and filters, and is the only one that the
page's Content-Security-Policy allows: its hash is in it. Guests' words reach the script as JSON, the document as text.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from lab.core.outcome import CaseRecord, CellResult, CellStatus, Delta
from lab.core.untrusted import one_line, printable
from lab.report import _data, _drawing
from lab.report import _words as words
from lab.verdicts.compare import Summary
from lab.verdicts.judge import cell_evidence

FILE = "report.html"
MAX_ENTRIES = 100
"""Of one kind in the document; the script has them all."""
MAX_DRAWN = 400
"""Machines that are drawn, and whose times are."""
_WORST = ("broken", "flaky", "leak", "hang", "crash", "no power", "fail")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tile:
    """A machine's scenario in the matrix: what changed, and per kernel how many records of which state."""

    topology: int
    scenario: int
    tone: str
    said: tuple[tuple[str, str], ...]
    bars: tuple[tuple[tuple[str, int], ...], ...]
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _HtmlFinding:
    """Records that say the same of several machines."""

    record: CaseRecord
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _BadGuest:
    """A guest that is not OK."""

    guest: CellResult
    evidence: str


def render(summary: Summary) -> str:
    """The page. Jinja escapes everything; control characters were spelled out before."""
    data, papers = _data.document(summary)
    script = Markup(_asset("page.js"))
    drawn = summary.topologies[:MAX_DRAWN]
    times, scenarios = _drawing.durations(summary, drawn)
    machines = _drawing.topologies(summary, drawn)
    return _template().render(
        **_verdict(summary),
        **_findings(summary),
        summary=summary,
        scenarios=_scenarios(summary),
        rows=_rows(summary),
        machines=[(machine, _drawing.about(machine), _drawing.machine(machine)) for machine in machines.values()],
        drawn=MAX_DRAWN,
        boots=_drawing.boots(summary, drawn),
        durations=times,
        timed=scenarios,
        style=Markup(_asset("page.css")),
        script=script,
        script_hash=b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=_data.embed(data),
        papers=_data.embed(papers),
    )


def _verdict(summary: Summary) -> dict[str, object]:
    """What was run, with what, and what came of it, in words."""
    metadata = summary.evidence.metadata
    return {
        "title": words.headline(summary),
        "started": one_line(metadata.started or "", 40),
        "about": one_line(metadata.campaign.description, 200),
        "repeats": words.repeats(summary),
        "host": words.flat(metadata.host),
        "version": one_line(metadata.pagelab or "?", 40),
        "builds": {topology: words.builds_of(summary, topology, summary.kernels) for topology in summary.topologies},
        "left_out": [(one_line(each.what), one_line(each.reason)) for each in metadata.skipped],
    }


# What matters.


def _findings(summary: Summary) -> dict[str, object]:
    every = summary.topologies
    bad = [guest for guest in summary.evidence.cells if guest.status is not CellStatus.OK]
    told = {place for place, guests in summary.repeats.items() if not any(guest.runs for guest in guests)}
    broken = [record for record in summary.broken if (record.topology, record.kernel) not in told]
    return {
        "regressed": words.by_places(summary.delta(Delta.REGRESSED), every),
        "fixed": words.by_places(summary.delta(Delta.FIXED), every),
        "not_met": _grouped(summary.not_met, every),
        "no_power": _grouped(summary.no_power, every),
        "broken": _grouped(broken, every),
        "skipped": Counter(record.reason for record in summary.skipped).most_common(MAX_ENTRIES),
        "bad": [
            _BadGuest(guest=each, evidence=printable("\n".join(cell_evidence(each)))) for each in bad[:MAX_ENTRIES]
        ],
        "most": MAX_ENTRIES,
    }


def _grouped(records: Iterable[CaseRecord], every: Sequence[str]) -> list[_HtmlFinding]:
    """The same words of the same case and kernel on several machines once."""
    groups: dict[tuple[str, ...], list[CaseRecord]] = {}
    for record in records:
        key = (record.kernel, record.label, record.verdict, record.expected.value, record.reason)
        groups.setdefault(key, []).append(record)
    return [
        _HtmlFinding(record=same[0], where=words.places((record.topology for record in same), every))
        for same in groups.values()
    ]


# The matrix.


def _scenarios(summary: Summary) -> tuple[str, ...]:
    """In the order of the cases that the script has."""
    declared = summary.evidence.metadata.cases
    return tuple(dict.fromkeys([*declared, *(record.scenario for record in summary.records)]))


def _rows(summary: Summary) -> list[tuple[str, list[tuple[str, str]], list[_Tile | None]]]:
    """Per machine its name, the guests of it that are not OK (kernel, status), and a tile per scenario."""
    scenarios, kernels = _scenarios(summary), summary.kernels
    states: dict[tuple[str, str, str], Counter[str]] = {}
    suites = summary.suites
    for record in summary.records:
        place = record.topology, record.scenario, record.kernel
        states.setdefault(place, Counter())[_data.state(record, suites)] += 1
    changes = Counter((delta.topology, delta.scenario, delta.delta) for delta in summary.changed)
    guests = words.by_topology(summary)
    rows = []
    for number, topology in enumerate(summary.topologies):
        tiles = [
            _tile(
                number,
                place,
                topology,
                scenario,
                [states.get((topology, scenario, k), Counter()) for k in kernels],
                {kind: changes[topology, scenario, kind] for kind in (Delta.FIXED, Delta.REGRESSED)},
            )
            for place, scenario in enumerate(scenarios)
        ]
        rows.append((topology, _badges(guests[topology]), tiles))
    return rows


def _badges(guests: Iterable[CellResult]) -> list[tuple[str, str]]:
    bad = Counter((guest.kernel, guest.status) for guest in guests if guest.status is not CellStatus.OK)
    return [
        (kernel, words.CELL_WORDS[status] + (f" ×{times}" if times > 1 else ""))
        for (kernel, status), times in bad.items()
    ]


def _tile(
    number: int,
    place: int,
    topology: str,
    scenario: str,
    counts: Sequence[Counter[str]],
    changed: dict[Delta, int],
) -> _Tile | None:
    """None where nothing of the scenario was asked of the machine."""
    total = sum(counts, Counter[str]())
    if not total:
        return None
    worst = next((state for state in _WORST if total[state]), "")
    unmet = sum(total[state] for state in _WORST if state != "broken")
    said = [("good", f"+{changed[Delta.FIXED]}")] if changed[Delta.FIXED] else []
    said += [("bad", f"−{changed[Delta.REGRESSED]}")] if changed[Delta.REGRESSED] else []
    said += [("bad", f"!{unmet}")] if unmet else []
    said += [("broken", f"?{total['broken']}")] if total["broken"] else []
    said += [("dim", "=" if any(each["pass"] for each in counts) else "skip")] if not said else []
    order = [(state, [each[state] for each in counts]) for state in _data.STATES if total[state]]
    words_ = "; ".join(f"{state} {'/'.join(map(str, numbers))}" for state, numbers in order)
    return _Tile(
        topology=number,
        scenario=place,
        tone="bad" if unmet else worst,
        said=tuple(said),
        bars=tuple(tuple((state, each[state]) for state in _data.STATES if each[state]) for each in counts),
        label=f"{scenario} on {topology}: {words_}",
    )


# The template.


@cache
def _asset(name: str) -> str:
    """A file beside this module that goes into the page as it is."""
    return files("lab.report").joinpath(name).read_text("utf-8")


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
