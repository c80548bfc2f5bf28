# SPDX-License-Identifier: GPL-2.0-or-later
"""Words that several reports share: names of sets of machines, counts, groups of cases, titles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from statistics import median

from lab.core.columns import SHARED
from lab.core.outcome import CaseRecord, CaseVerdict, CellKey, CellResult, CellStatus, Delta, Outcome
from lab.core.untrusted import one_line
from lab.evidence.metadata import Recorded
from lab.report._layout import Role, heading, wrap
from lab.verdicts.compare import CaseChange, CaseDelta, Summary
from lab.verdicts.reported import ReportResult
from lab.verdicts.suites import fails_as_before

CELL_WORDS = {
    CellStatus.OK: "OK",
    CellStatus.INVALID: "INVALID",
    CellStatus.NO_BOOT: "NO BOOT",
    CellStatus.BROKEN: "BROKEN",
}
MAX_HOST = 30
"""Characters of a host's name."""
MAX_TIMES = 4
"""More times than this are shown as a range."""
_OF_THEIR_OWN = (Outcome.LEAK, Outcome.FLAKY, Outcome.BROKEN)
"""Outcomes that a tally counts by their own name, whether or not an expectation was met."""
_TALLIED = ("pass", "must-fail", "known-fail", "skip", "NOT MET", "no verdict", *_OF_THEIR_OWN)
"""The words of a tally, most usual first."""


def count(number: int, word: str) -> str:
    """Return `1 case` or `2 cases`."""
    if number == 1:
        return f"1 {word}"
    return f"{number} {word}s"


def joined_sections(sections: Iterable[Sequence[str]]) -> str:
    """Return sections of lines with an empty line between them; those without a line are left out."""
    texts = map("\n".join, filter(None, sections))
    return "\n\n".join(texts) + "\n"


def labels(records: Iterable[CaseRecord | CaseDelta]) -> Iterator[tuple[str, str]]:
    """Yield the (scenario, case) of every record or delta."""
    for label in records:
        yield label.scenario, label.case


def cases_by_scenario(summary: Summary) -> dict[str, set[str]]:
    """Return each scenario of a run with the names of its cases that have a result."""
    cases: dict[str, set[str]] = {}
    for verdict in summary.tally:
        cases.setdefault(verdict.scenario, set()).add(verdict.case)
    return cases


def case_names(some: Sequence[CaseRecord], every: Mapping[str, set[str]]) -> list[str]:
    """Return the labels of some cases, each once; all cases of a scenario with several are `scenario.*`.

    `every`: see `cases_by_scenario`.
    """
    chosen: dict[str, dict[str, str]] = {}
    for record in some:
        chosen.setdefault(record.scenario, {})[record.case] = record.label
    names: list[str] = []
    for scenario, cases in chosen.items():
        if len(cases) > 1 and len(cases) == len(every[scenario]):
            names.append(f"{scenario}.*")
        else:
            names += cases.values()
    return names


def why_not_ok(cell: CellResult) -> str:
    """Return why a guest is not OK, and in what it is not the machine asked for."""
    return "; ".join(filter(None, (cell.why, *map(str, cell.mismatches))))


def never_ran(summary: Summary) -> set[tuple[str, str]]:
    """Return the cells (topology, kernel) of which no guest ran a scenario."""
    found: set[tuple[str, str]] = set()
    for place, guests in summary.repeats.items():
        if not any(guest.runs for guest in guests):
            found.add(place)
    return found


def places(some: Iterable[str], every: Sequence[str]) -> str:
    """Return `on both topologies`, `on all 5 topologies`, or the names."""
    names = list(filter(set(some).__contains__, every))
    if len(names) < len(every) or len(names) < 2:
        return f"on {', '.join(names)}"
    if len(names) == 2:
        return "on both topologies"
    return f"on all {len(names)} topologies"


def tally(verdicts: Mapping[CaseVerdict, int], suites: frozenset[str] = frozenset()) -> list[str]:
    """Return a cell's counts, most usual first: `40 pass`, `31 must-fail` (failed as it must), `2 skip`, ...

    What fails in a suite as on the kernel that is compared with (or on that kernel itself) is `known-fail`.
    """
    counts: Counter[str] = Counter()
    for verdict, number in verdicts.items():
        counts[_tally_word(verdict, suites)] += number
    return _counted(counts)


def _counted(counts: Mapping[str, int]) -> list[str]:
    """Return the words of a tally with their numbers, in the order in which they are shown."""
    return [f"{counts[word]} {word}" for word in _TALLIED if counts[word]] or ["nothing"]


def tally_places(summary: Summary) -> dict[CaseVerdict, int]:
    """Return the place in `_TALLIED` of the word under which a tally counts each verdict of a run."""
    return {verdict: _TALLIED.index(_tally_word(verdict, summary.suites)) for verdict in summary.tally}


@lru_cache(maxsize=SHARED)
def _counted_places(numbers: tuple[int, ...]) -> list[str]:
    """Return the words of a tally that has so many of each word."""
    return _counted(dict(zip(_TALLIED, numbers, strict=True)))


@lru_cache(maxsize=SHARED)
def _tally_word(record: CaseVerdict, suites: frozenset[str]) -> str:
    """Return the word under which a tally counts a record."""
    if fails_as_before(record, suites):
        return "known-fail"
    if record.met is True and record.outcome is Outcome.PASS:
        return "pass"
    if record.met is True:
        return "must-fail"
    if record.outcome in _OF_THEIR_OWN:
        return record.outcome.value
    if record.outcome is Outcome.SKIP:
        return "skip"
    return {False: "NOT MET", None: "no verdict"}[record.met]


def cell_text(summary: Summary, place: CellKey, tallied: Mapping[CaseVerdict, int]) -> list[str]:
    """Return what the matrix shows of a cell and its repeats, as short parts. `tallied`: see `tally_places`."""
    guests = summary.repeats[place]
    bad: Counter[CellStatus] = Counter()
    ran = False
    for guest in guests:
        if guest.status is not CellStatus.OK:
            bad[guest.status] += 1
        if guest.runs and guest.status in (CellStatus.OK, CellStatus.BROKEN):
            ran = True
    states: list[str] = []
    for status, number in bad.items():
        state = CELL_WORDS[status]
        if len(guests) > 1:
            state = f"{number} of {len(guests)} {state}"
        states.append(state)
    if ran:
        column = bytes(map(tallied.__getitem__, summary.of_cell(*place).verdicts))
        return [*states, *_counted_places(tuple(map(column.count, range(len(_TALLIED)))))]
    return states or ["nothing ran"]


def by_topology(summary: Summary) -> dict[str, list[CellResult]]:
    """Return topology -> all of its guests."""
    grouped: dict[str, list[CellResult]] = {}
    for cell in summary.evidence.cells:
        grouped.setdefault(cell.topology, []).append(cell)
    return grouped


def repeats(summary: Summary) -> int:
    """Return how often every cell was run."""
    return max(map(len, summary.repeats.values()), default=1)


def seconds(values: Sequence[float]) -> str:
    """Return `1.9/2.3` for a few times, `1.9-4.0` for many."""
    if len(values) > MAX_TIMES:
        return f"{min(values):.1f}-{max(values):.1f}"
    return "/".join(map("{:.1f}".format, values))


def started(guests: Iterable[CellResult]) -> list[str]:
    """Return how guests started: `tcg`, `on big, arm`, `booted in 1.9/2.3 s`, `6 guests restored in 0.4 s each`."""
    hosts: dict[str, None] = {}
    accelerators: dict[str, None] = {}
    boots: list[float] = []
    restores: list[float] = []
    kept = 0
    for guest in guests:
        if guest.origin:
            continue
        accelerators[guest.accelerator or "never started"] = None
        if guest.host:
            hosts[one_line(guest.host, MAX_HOST)] = None
        if guest.boot_s is not None:
            boots.append(guest.boot_s)
        restores += guest.restores_s
        kept += guest.saved_guest is not None
    if not accelerators:
        return ["no guest was started"]
    parts = [", ".join(accelerators)]
    if hosts:
        parts.append(f"on {', '.join(hosts)}")
    if boots:
        parts.append(f"booted in {seconds(boots)} s")
    if restores:
        parts.append(f"{count(len(restores), 'guest')} restored in {median(restores):.1f} s each")
    if kept:
        parts.append(f"{count(kept, 'cell')} begun from a saved guest")
    return parts


def by_places(deltas: Iterable[CaseDelta], every: Sequence[str]) -> dict[tuple[str, str], list[CaseDelta]]:
    """Return (kernel, where) -> the cases that changed on exactly those topologies, one delta per case."""
    same: dict[tuple[str, CaseChange], list[CaseDelta]] = {}
    for delta in deltas:
        same.setdefault((delta.kernel, delta.change), []).append(delta)
    first: dict[tuple[str, str], CaseDelta] = {}
    topologies: dict[tuple[str, str], list[str]] = {}
    for (kernel, change), alike in same.items():
        key = (kernel, change.label)
        first.setdefault(key, alike[0])
        topologies.setdefault(key, []).extend([delta.topology for delta in alike])
    grouped: dict[tuple[str, str], list[CaseDelta]] = {}
    for key, delta in first.items():
        grouped.setdefault((delta.kernel, places(topologies[key], every)), []).append(delta)
    return grouped


def by_scenario(labels: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return scenario -> its cases, each once, from (scenario, case) pairs."""
    grouped: dict[str, list[str]] = {}
    for scenario, case in labels:
        cases = grouped.setdefault(scenario, [])
        if case not in cases:
            cases.append(case)
    return grouped


def campaign(summary: Summary) -> str:
    return one_line(summary.evidence.metadata.campaign.name, 80)


def headline(summary: Summary) -> str:
    """Return the whole verdict on one line."""
    parts: list[str] = []
    if reports := summary.reported:
        parts.append(f"{sum(report.as_reported for report in reports)} of {count(len(reports), 'report')} as reported")
    elif len(summary.kernels) > 1:
        parts += [f"{_distinct(summary, Delta.FIXED)} fixed", f"{_distinct(summary, Delta.REGRESSED)} regressed"]
    parts.append(f"{len(summary.not_met) + len(summary.no_power) + len(summary.unproven)} not met")
    if summary.flaky:
        parts.append(f"{len(summary.flaky)} flaky")
    if summary.leaks:
        parts.append(count(len(summary.leaks), "leak"))
    cells = summary.evidence.cells
    bad = len(cells) - Counter(cell.status for cell in cells)[CellStatus.OK]
    if bad:
        what = "guest" if repeats(summary) > 1 else "cell"
        parts.append(f"{bad} of {count(len(cells), what)} without a verdict")
    elif summary.broken:
        parts.append(f"{len(summary.broken)} broken")
    return f"{campaign(summary)}: {', '.join(parts)}"


def _distinct(summary: Summary, kind: Delta) -> int:
    """Return how many cases have a delta, on however many topologies."""
    changes = {(delta.kernel, delta.change) for delta in summary.delta(kind)}
    return len({(kernel, change.label) for kernel, change in changes})


def flat(record: Recorded) -> str:
    """Return the scalars of a record of metadata.json on one line: `qemu 7.2.0, cores 2`."""
    facts: list[str] = []
    for key, value in record.document().items():
        if isinstance(value, str | int | float) and value != "":
            facts.append(f"{one_line(str(key), 40)} {one_line(str(value), 120)}")
    return ", ".join(facts)


def builds_of(summary: Summary, topology: str, kernels: Iterable[str]) -> list[str]:
    """Return `6.12.95` and `gcc ...`: the releases built for a topology, and their compilers, each once.

    Empty if nothing was built.
    """
    releases: dict[str, None] = {}
    compilers: dict[str, None] = {}
    for kernel in kernels:
        build = summary.evidence.metadata.build(topology, kernel)
        if build:
            releases[build.release or "?"] = None
            compilers[build.compiler or "?"] = None
    if not releases:
        return []
    return [one_line(", ".join(releases), 160), one_line(", ".join(compilers), 160)]


# The reports that a run reproduces.


def reports_title(summary: Summary) -> str:
    """Return how many of the reports are as reported."""
    reports = summary.reported
    as_reported = sum(report.as_reported for report in reports)
    return f"{as_reported} of {len(reports)} as reported"


def report_place(record: CaseRecord) -> str:
    """Return where a report was run, and what became of it there."""
    return f"{record.topology} with {record.kernel}: {record.verdict}: {record.reason}"


def report_facts(report: ReportResult) -> list[str]:
    """Return the lines on a report, its links first: what changed, and what became of it in each cell."""
    lines = [one_line(link, 400) for link in report.report.links]
    if report.report.what_changed:
        lines.append(f"changed: {one_line(report.report.what_changed, 400)}")
    return [*lines, *map(report_place, report.results)]


def report_lines(summary: Summary, width: int) -> list[str]:
    """Return the section as text; nothing if no report was run."""
    reports = summary.reported
    if not reports:
        return []
    found = heading(f"REPORTS: {reports_title(summary)}", width, _report_role(reports))
    for report in reports:
        found += wrap(f"{report.name}, {report.state}: {one_line(report.report.title, 400)}", width, "  ")
        for fact in report_facts(report):
            found += wrap(fact, width, "    ")
    return found


def _report_role(reports: Sequence[ReportResult]) -> Role:
    if any(report.unmet for report in reports):
        return Role.BAD
    if any(report.missing_sides for report in reports):
        return Role.NO_VERDICT
    return Role.GOOD
