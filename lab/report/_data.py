# SPDX-License-Identifier: GPL-2.0-or-later
"""The data of the page's script: verdicts as small numbers, and the evidence behind them as text. Pure.

    {"kernels": [...], "topologies": [...], "cases": [[scenario, case, description, [feature it requires...]]...],
     "states": [...], "outcomes": [...], "causes": [...], "deltas": [...], "words": [text...],
     "columns": [what each value of a record is...],
     "records": [[topology, kernel, case, state, cause, delta, ms or -1, words, attempt, must pass,
                  outcome]...],
     "all": how many records there are, "suites": [scenario that is one...],
     "guests": [{"t", "k", "repeat", "status", "why", "how", "papers": {name: text},
                 "marks": {name: [[line, lines, kind]...]}}...],
     "lab": {"run": [word...], "on": option, "machines": {name: path}, "kernels": [word...], "rest": [word...]}}

Everything but names is an index into the lists beside it; `papers` are indexes into a second list, which is parsed when
the first of them is opened. Both lists are bounded; what is left out is in the run's files.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any, TypeVar

from markupsafe import Markup

from lab.core.columns import SHARED
from lab.core.outcome import CaseRecord, CaseVerdict, Cause, CellResult, CellStatus, Delta, Expected, Outcome
from lab.core.untrusted import one_line, printable
from lab.formats import oops
from lab.report import _words as words
from lab.report._command import command_line
from lab.verdicts.compare import Summary
from lab.verdicts.judge import SYNTHETIC
from lab.verdicts.suites import fails_as_before, test_of

MAX_WORDS = 8 << 20
MAX_PAPERS = 24 << 20
"""Characters of excerpts and of files that are embedded; guests in which something is wrong come first."""
MAX_REFUSED = 100
"""After so many texts for which there was no room, no guest's files are read any more."""
MAX_RECORDS = 100_000
"""If there are more, those that met their expectation are left out."""

COLUMNS = (
    *("topology", "kernel", "case", "state", "cause", "delta"),
    *("ms", "words", "attempt", "must_pass", "outcome"),
)
"""The names of a record's values, in their order, by which the page reads them."""
STATES = ("pass", "must-fail", "known-fail", "skip", "fail", "no power", "crash", "hang", "leak", "flaky", "broken")
"""How a record is shown. From `fail` on, it needs attention."""
_STATES = {Outcome.SKIP: "skip", Outcome.CRASH: "crash", Outcome.HANG: "hang"}
_STATES |= {Outcome.LEAK: "leak", Outcome.FLAKY: "flaky", Outcome.BROKEN: "broken"}
LEFT_OUT = "(left out here, since there is so much of it)"
_T = TypeVar("_T")


@lru_cache(maxsize=SHARED)
def state(record: CaseVerdict, suites: frozenset[str] = frozenset()) -> str:
    """The word of STATES for a record, given which scenarios are suites."""
    if fails_as_before(record, suites):
        return "known-fail"
    if record.met is None and record.outcome is not Outcome.PASS:
        return "skip"
    if record.outcome is Outcome.PASS:
        return "pass" if record.expected is Expected.PASS else "no power"
    if record.outcome is Outcome.FAIL:
        return "must-fail" if record.expected is Expected.FAIL else "fail"
    return _STATES[record.outcome]


class Pool:
    """Printable texts, each stored once, with at most `limit` characters in all."""

    def __init__(self, limit: int) -> None:
        self.texts: list[str] = [LEFT_OUT]
        self._places: dict[str, int] = {}
        self._left = limit
        self._refused = 0

    @property
    def full(self) -> bool:
        """Whether so many texts were refused that no more need to be read."""
        return self._refused > MAX_REFUSED

    def add(self, text: str) -> int:
        """Return the text's index; that of LEFT_OUT if there is no room for it."""
        if text not in self._places:
            shown = printable(text)
            if len(shown) > self._left:
                self._refused += 1
                return 0
            self._left -= len(shown)
            self._places[text] = len(self.texts)
            self.texts.append(shown)
        return self._places[text]


def embed(value: object) -> Markup:
    """JSON that cannot end the script element it stands in: ASCII without `<`, `>` and `&`."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)


def document(summary: Summary) -> tuple[dict[str, Any], list[str]]:
    """Return what the script gets at once, and the papers that it parses later."""
    excerpts, papers = Pool(MAX_WORDS), Pool(MAX_PAPERS)
    cases, given = _cases(summary), command_line(summary)
    listed: list[list[object]] = []
    for (scenario, case), about in cases.items():
        listed.append([printable(scenario), printable(case), *about])
    data = {
        "kernels": summary.kernels,
        "topologies": summary.topologies,
        "cases": listed,
        "states": STATES,
        "outcomes": list(Outcome),
        "causes": list(Cause),
        "deltas": list(Delta),
        "columns": COLUMNS,
        "records": _records(summary, numbered(cases), excerpts),
        "all": len(summary.records),
        "suites": sorted(summary.suites),
        "guests": _guests(summary, papers),
        "words": excerpts.texts,
        "lab": {
            "run": given.run,
            "on": given.on,
            "machines": given.paths,
            "kernels": given.kernels,
            "rest": given.rest,
        },
    }
    return data, papers.texts


def numbered(values: Iterable[_T]) -> dict[_T, int]:
    """Return value -> its index, by which the page's script refers to it."""
    return {value: number for number, value in enumerate(values)}


About = tuple[str, list[str]]
"""A case's description and the features that it requires."""


def _cases(summary: Summary) -> dict[tuple[str, str], About]:
    """Return (scenario, case) -> what the case is about; those of a scenario that were not declared come last."""
    by_scenario: dict[str, dict[str, About]] = {}
    for scenario, declared in summary.evidence.metadata.declared_cases().items():
        for case in declared:
            by_scenario.setdefault(scenario, {})[case.name] = (printable(case.description), sorted(case.requires))
    for verdict in summary.tally:
        known = by_scenario.setdefault(verdict.scenario, {})
        if verdict.case not in known:
            known[verdict.case] = (_undeclared(verdict, summary.suites), [])
    found: dict[tuple[str, str], About] = {}
    for scenario, cases in by_scenario.items():
        for name, about in cases.items():
            found[scenario, name] = about
    return found


def _undeclared(record: CaseVerdict, suites: Collection[str]) -> str:
    """Return the description of a case that its scenario does not declare."""
    if record.case in SYNTHETIC:
        return "of the scenario as a whole"
    if record.scenario in suites and "/" in record.case:
        return printable(f"printed by {test_of(record.case)}")
    return "not declared"


def _records(summary: Summary, cases: Mapping[tuple[str, str], int], excerpts: Pool) -> list[list[int]]:
    """Return the values of every record that is shown, in the order of `COLUMNS`."""
    topologies, kernels, states = numbered(summary.topologies), numbered(summary.kernels), numbered(STATES)
    outcomes, causes, kinds = numbered(Outcome), numbered(Cause), numbered(Delta)
    suites, same = summary.suites, kinds[Delta.SAME]
    deltas = {(delta.topology, delta.kernel, delta.scenario, delta.case): delta.delta for delta in summary.changed}
    rows: list[list[int]] = []
    for record in _shown(summary):
        milliseconds = -1
        if record.duration_s is not None:
            milliseconds = round(record.duration_s * 1000)
        delta = deltas.get((record.topology, record.kernel, record.scenario, record.case))
        row = [
            topologies[record.topology],
            kernels[record.kernel],
            cases[record.scenario, record.case],
            states[state(record, suites)],
            causes[record.cause],
            kinds[delta] if delta else same,
            milliseconds,
            excerpts.add(record.excerpt),
            record.attempt,
            int(record.expected is Expected.PASS),
            outcomes[record.outcome],
        ]
        rows.append(row)
    return rows


def _shown(summary: Summary) -> list[CaseRecord]:
    """Return the records that the page has: those not met first, so that there is room for their excerpts."""
    shown = list(summary.odd)
    if len(summary.records) <= MAX_RECORDS:
        shown = list(summary.records)
    shown.sort(key=lambda record: record.met is not False)
    return shown


# Guests.


def _guests(summary: Summary, papers: Pool) -> list[dict[str, Any]]:
    """Return every guest with its files, in the order of the cells.

    The files of guests in which something is wrong are added first, so that there is room for them.
    """
    kernels, topologies = numbered(summary.kernels), numbered(summary.topologies)
    wrong = {(record.topology, record.kernel) for record in summary.odd if record.met is False}
    well: list[int] = []
    order: list[int] = []
    cells = summary.evidence.cells
    for number, cell in enumerate(cells):
        if cell.status is CellStatus.OK and (cell.topology, cell.kernel) not in wrong:
            well.append(number)
        else:
            order.append(number)
    guests: dict[int, dict[str, Any]] = {}
    for number in (*order, *well):
        cell = cells[number]
        guests[number] = {"t": topologies[cell.topology], "k": kernels[cell.kernel], **_guest(cell, papers)}
    return [guests[number] for number in range(len(cells))]


def _guest(cell: CellResult, papers: Pool) -> dict[str, Any]:
    """Return a guest's state and its files, with the places of the kernel's reports in its consoles."""
    files: Mapping[str, str] = {}
    if not papers.full:
        files = cell.papers()
    numbers: dict[str, int] = {}
    marks: dict[str, list[tuple[int, int, str]]] = {}
    for name, text in files.items():
        numbers[name] = papers.add(_readable(name, text))
        if name.endswith((".console", "console.log")) and (found := _marks(name, text)):
            marks[name] = found
    how = words.started([cell])
    if cell.host:
        how.append(f"attempt {cell.host_attempt}, load {cell.host_load:.1f}")
        how.append(f"fetched in {cell.host_fetch_s:.1f} s, ran {cell.host_run_s:.1f} s")
    if cell.usage:
        how.append(f"QEMU took {cell.usage.peak >> 20} MiB")
    return {
        "repeat": cell.repeat,
        "status": cell.status.value,
        "why": one_line(words.why_not_ok(cell), 2000),
        "how": one_line("; ".join(how), 200),
        "papers": numbers,
        "marks": marks,
    }


def _readable(name: str, text: str) -> str:
    """Return a file as a person wants to read it: a fact per line, the options of a configuration that are set."""
    if name == "facts.json":
        return _facts(text)
    if name == "config":
        return "".join(filter(_is_set, text.splitlines(keepends=True)))
    return text.replace("\r\n", "\n").replace("\0", "\ufffd")


def _is_set(line: str) -> bool:
    return line.startswith("CONFIG_")


def _facts(text: str) -> str:
    """Return the guest's lines out of facts.json; the whole file if the lab did not write it."""
    try:
        facts = json.loads(text)["facts"]
        return "\n".join(line for line in facts if isinstance(line, str))
    except (ValueError, KeyError, TypeError, RecursionError):
        return text


def _marks(name: str, text: str) -> list[tuple[int, int, str]]:
    """Return the kernel's reports on a console: line (from 1), how many lines, kind."""
    complaints = oops.scan(text, boots=1 if name == "console.log" else 0)
    return sorted((finding.line, max(1, len(finding.lines)), finding.kind.value) for finding in complaints)
