# SPDX-License-Identifier: GPL-2.0-or-later
"""report.html: one file without outside references; the matrix, every case on every machine, and all their evidence.

What matters is in the document itself; the script beside it opens evidence and filters, and is the only one that the
page's Content-Security-Policy allows: its hash is in it. Guests' words reach the script as JSON, the document as text.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from lab.core.outcome import CaseRecord, CellResult, CellStatus, Delta
from lab.core.untrusted import one_line, printable
from lab.report import _data, _drawing
from lab.report import _words as words
from lab.report._patch import coverage
from lab.verdicts.compare import Summary
from lab.verdicts.judge import cell_evidence
from lab.verdicts.policies import policy_tables

FILE = "report.html"
MAX_ENTRIES = 100
"""Of one kind in the document; the script has them all."""
MAX_DRAWN = 400
"""Machines that are drawn, and whose times are."""
_UNMET = ("flaky", "leak", "hang", "crash", "no power", "fail")
"""The states of records that did not meet what was expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tile:
    """A machine's scenario in the matrix: what changed, and per kernel how many records of which state."""

    topology: int
    scenario: int
    tone: str
    parts: tuple[tuple[str, str], ...]
    bars: tuple[tuple[tuple[str, int], ...], ...]
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _HtmlFinding:
    """Records that are alike on several machines."""

    record: CaseRecord
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _BadGuest:
    """A guest that is not OK."""

    guest: CellResult
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Covered:
    """The coverage of one kernel's series."""

    kernel: str
    machines: Sequence[str]
    lines: Sequence[str]
    files: Mapping[str, Sequence[coverage.DiffRow]]


def render(summary: Summary) -> str:
    """Return the page. Jinja escapes all of it; control characters were spelled out before."""
    data, papers = _data.document(summary)
    script = Markup(asset("page.js"))
    drawn = summary.topologies[:MAX_DRAWN]
    times, scenarios = _drawing.durations(summary, drawn)
    machines = []
    for machine in _drawing.topologies(summary, drawn).values():
        machines.append((machine, _drawing.about(machine), _drawing.machine(machine)))
    return template("page.html.j2").render(
        **_verdict(summary),
        **_findings(summary),
        summary=summary,
        scenarios=_scenarios(summary),
        rows=_rows(summary),
        policies=policy_tables(summary),
        machines=machines,
        covered=_covered(summary),
        drawn=MAX_DRAWN,
        boots=_drawing.boots(summary, drawn),
        durations=times,
        timed=scenarios,
        style=Markup(asset("page.css")),
        script=script,
        script_hash=b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=_data.embed(data),
        papers=_data.embed(papers),
    )


def _verdict(summary: Summary) -> dict[str, object]:
    """Return what was run, with what, and the result, in words."""
    metadata = summary.evidence.metadata
    builds: dict[str, list[str]] = {}
    for topology in summary.topologies:
        builds[topology] = words.builds_of(summary, topology, summary.kernels)
    left_out: list[tuple[str, str]] = []
    for skipped in metadata.skipped:
        left_out.append((one_line(skipped.what), one_line(skipped.reason)))
    return {
        "title": words.headline(summary),
        "started": one_line(metadata.started or "", 40),
        "about": one_line(metadata.campaign.description, 200),
        "repeats": words.repeats(summary),
        "host": words.flat(metadata.host),
        "version": one_line(metadata.pagelab or "?", 40),
        "builds": builds,
        "left_out": left_out,
    }


# What matters.


def _findings(summary: Summary) -> dict[str, object]:
    """Return what changed, what is not met, what was skipped, and the guests and records without a verdict."""
    every = summary.topologies
    return {
        "reports": summary.reported,
        "reports_title": words.reports_title(summary),
        "report_place": words.report_place,
        "regressed": words.by_places(summary.delta(Delta.REGRESSED), every),
        "fixed": words.by_places(summary.delta(Delta.FIXED), every),
        "not_met": _grouped(summary.not_met, every),
        "no_power": _grouped(summary.no_power, every),
        "unproven": summary.unproven,
        "broken": _grouped(_broken(summary), every),
        "skipped": Counter(record.reason for record in summary.skipped).most_common(MAX_ENTRIES),
        "bad": _bad_guests(summary),
        "most": MAX_ENTRIES,
    }


def _broken(summary: Summary) -> list[CaseRecord]:
    """Return the records without evidence of the cells of which some guest ran a scenario."""
    never_ran = words.never_ran(summary)
    return [record for record in summary.broken if (record.topology, record.kernel) not in never_ran]


def _bad_guests(summary: Summary) -> list[_BadGuest]:
    """Return the first `MAX_ENTRIES` guests that are not OK, with their evidence."""
    bad: list[_BadGuest] = []
    for guest in summary.evidence.cells:
        if guest.status is not CellStatus.OK and len(bad) < MAX_ENTRIES:
            bad.append(_BadGuest(guest=guest, evidence=printable("\n".join(cell_evidence(guest)))))
    return bad


def _grouped(records: Iterable[CaseRecord], every: Sequence[str]) -> list[_HtmlFinding]:
    """Return the records; those of a case and kernel that are alike on several machines are one finding."""
    groups: dict[tuple[str, ...], list[CaseRecord]] = {}
    for record in records:
        key = (record.kernel, record.label, record.verdict, record.expected.value, record.reason)
        groups.setdefault(key, []).append(record)
    findings: list[_HtmlFinding] = []
    for same in groups.values():
        where = words.places((record.topology for record in same), every)
        findings.append(_HtmlFinding(record=same[0], where=where))
    return findings


def _covered(summary: Summary) -> list[_Covered]:
    """Return the patch of each kernel, line by line with its counts, of a run that counted them."""
    found: list[_Covered] = []
    for covered in summary.coverage:
        files = {file: list(coverage.diff_rows(covered, file)) for file in covered.diffs}
        lines = coverage.head(covered, width=200, indent="")
        found.append(_Covered(kernel=covered.kernel, machines=covered.machines, lines=lines, files=files))
    return found


# The matrix.


def _scenarios(summary: Summary) -> tuple[str, ...]:
    """Return the scenarios in the order of the cases that the script has."""
    declared = summary.evidence.metadata.cases
    return tuple(dict.fromkeys([*declared, *(verdict.scenario for verdict in summary.tally)]))


def _rows(summary: Summary) -> list[tuple[str, list[tuple[str, str]], list[_Tile | None]]]:
    """Return per machine its name, the guests of it that are not OK (kernel, status), and a tile per scenario."""
    scenarios, kernels = _scenarios(summary), summary.kernels
    states: dict[tuple[str, str, str], Counter[str]] = {}
    suites = summary.suites
    for (topology, kernel), records in summary.by_cell.items():
        for verdict in records.verdicts:
            place = topology, verdict.scenario, kernel
            states.setdefault(place, Counter())[_data.state(verdict, suites)] += 1
    changes = Counter((delta.topology, delta.scenario, delta.delta) for delta in summary.changed)
    guests = words.by_topology(summary)
    rows = []
    for number, topology in enumerate(summary.topologies):
        tiles = []
        for place_of_scenario, scenario in enumerate(scenarios):
            counts = [states.get((topology, scenario, kernel), Counter()) for kernel in kernels]
            changed = {
                Delta.FIXED: changes[topology, scenario, Delta.FIXED],
                Delta.REGRESSED: changes[topology, scenario, Delta.REGRESSED],
            }
            tiles.append(_tile(number, place_of_scenario, topology, scenario, counts, changed))
        rows.append((topology, _badges(guests[topology]), tiles))
    return rows


def _badges(guests: Iterable[CellResult]) -> list[tuple[str, str]]:
    """Return the kernel and status of the guests that are not OK; several of a kind are one badge."""
    bad: Counter[tuple[str, CellStatus]] = Counter()
    for guest in guests:
        if guest.status is not CellStatus.OK:
            bad[guest.kernel, guest.status] += 1
    badges: list[tuple[str, str]] = []
    for (kernel, status), times in bad.items():
        badge = words.CELL_WORDS[status]
        if times > 1:
            badge += f" ×{times}"
        badges.append((kernel, badge))
    return badges


def _tile(
    number: int,
    place: int,
    topology: str,
    scenario: str,
    counts: Sequence[Counter[str]],
    changed: dict[Delta, int],
) -> _Tile | None:
    """Return the tile of a scenario on a machine; None if the machine had no case of the scenario."""
    total = sum(counts, Counter[str]())
    if not total:
        return None
    unmet = 0
    for state in _UNMET:
        unmet += total[state]
    tone = ""
    if unmet:
        tone = "bad"
    elif total["broken"]:
        tone = "broken"
    numbers: list[str] = []
    for state in _data.STATES:
        if total[state]:
            numbers.append(f"{state} {'/'.join(str(count[state]) for count in counts)}")
    return _Tile(
        topology=number,
        scenario=place,
        tone=tone,
        parts=tuple(_tile_words(total, unmet, changed)),
        bars=tuple(map(_bar, counts)),
        label=f"{scenario} on {topology}: {'; '.join(numbers)}",
    )


def _tile_words(total: Counter[str], unmet: int, changed: dict[Delta, int]) -> list[tuple[str, str]]:
    """Return the tone and text of what a tile reports: `+fixed`, `−regressed`, `!unmet`, `?broken`; or `=`, `skip`."""
    parts: list[tuple[str, str]] = []
    if changed[Delta.FIXED]:
        parts.append(("good", f"+{changed[Delta.FIXED]}"))
    if changed[Delta.REGRESSED]:
        parts.append(("bad", f"−{changed[Delta.REGRESSED]}"))
    if unmet:
        parts.append(("bad", f"!{unmet}"))
    if total["broken"]:
        parts.append(("broken", f"?{total['broken']}"))
    if parts:
        return parts
    if total["pass"]:
        return [("dim", "=")]
    return [("dim", "skip")]


def _bar(count: Counter[str]) -> tuple[tuple[str, int], ...]:
    """Return the states that occur, and how often."""
    return tuple((state, count[state]) for state in _data.STATES if count[state])


# The template.


@cache
def asset(name: str) -> str:
    """Return a file beside this module that goes into a page as it is."""
    return files("lab.report").joinpath(name).read_text("utf-8")


@cache
def template(name: str) -> Template:
    """Return a template beside this module. It escapes what it is given."""
    environment = Environment(
        loader=PackageLoader("lab", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["printable"] = printable
    return environment.get_template(name)
