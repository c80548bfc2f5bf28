# SPDX-License-Identifier: GPL-2.0-or-later
"""What the page's script works with: verdicts as small numbers, and the evidence behind them as text. Pure.

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
the first of them is opened. Of both lists there is only so much: the rest is in the files.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from markupsafe import Markup

from lab.core.outcome import CaseRecord, Cause, CellResult, CellStatus, Delta, Expected, Outcome
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
"""Texts there was no room for, after which no guest's files are read any more."""
MAX_RECORDS = 100_000
"""Of more, those that met their expectation are left out."""

COLUMNS = (
    *("topology", "kernel", "case", "state", "cause", "delta"),
    *("ms", "words", "attempt", "must_pass", "outcome"),
)
"""What the values of a record are, in their order: the page reads them by these names."""
STATES = ("pass", "must-fail", "known-fail", "skip", "fail", "no power", "crash", "hang", "leak", "flaky", "broken")
"""How a record is shown; from `fail` on it is something to look at."""
_STATES = {Outcome.SKIP: "skip", Outcome.CRASH: "crash", Outcome.HANG: "hang"}
_STATES |= {Outcome.LEAK: "leak", Outcome.FLAKY: "flaky", Outcome.BROKEN: "broken"}
LEFT_OUT = "(left out here, since there is so much of it)"


def state(record: CaseRecord, suites: Collection[str] = ()) -> str:
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
    """Texts, each once, printable, up to so many characters of them all."""

    def __init__(self, limit: int) -> None:
        self.texts: list[str] = [LEFT_OUT]
        self._places: dict[str, int] = {}
        self._left = limit
        self._refused = 0

    @property
    def full(self) -> bool:
        """Whether it is no use to bring more."""
        return self._refused > MAX_REFUSED

    def add(self, text: str) -> int:
        """The text's index; that of LEFT_OUT when there is no room for it."""
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
    said = json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    for char in "<>&":
        said = said.replace(char, f"\\u{ord(char):04x}")
    return Markup(said)


def document(summary: Summary) -> tuple[dict[str, Any], list[str]]:
    """What the script is given, and the papers that it is given later."""
    said, papers = Pool(MAX_WORDS), Pool(MAX_PAPERS)
    cases, given = _cases(summary), command_line(summary)
    places = {label: number for number, label in enumerate(cases)}
    data = {
        "kernels": summary.kernels,
        "topologies": summary.topologies,
        "cases": [[printable(scenario), printable(case), *about] for (scenario, case), about in cases.items()],
        "states": STATES,
        "outcomes": [outcome.value for outcome in Outcome],
        "causes": [cause.value for cause in Cause],
        "deltas": [delta.value for delta in Delta],
        "columns": COLUMNS,
        "records": _records(summary, places, said),
        "all": len(summary.records),
        "suites": sorted(summary.suites),
        "guests": _guests(summary, papers),
        "words": said.texts,
        "lab": {
            "run": given.run,
            "on": given.on,
            "machines": given.paths,
            "kernels": given.kernels,
            "rest": given.rest,
        },
    }
    return data, papers.texts


def _cases(summary: Summary) -> dict[tuple[str, str], tuple[str, list[str]]]:
    """(scenario, case) -> description and features: as they were declared, then what else there are records of."""
    declared, suites = summary.evidence.metadata.declared_cases(), summary.suites
    found = {
        (scenario, case.name): (printable(case.description), sorted(case.requires))
        for scenario, cases in declared.items()
        for case in cases
    }
    for record in summary.records:
        if (record.scenario, record.case) not in found:
            found[record.scenario, record.case] = (_undeclared(record, suites), [])
    order = {scenario: number for number, scenario in enumerate(dict.fromkeys(scenario for scenario, _ in found))}
    return dict(sorted(found.items(), key=lambda item: order[item[0][0]]))


def _undeclared(record: CaseRecord, suites: Collection[str]) -> str:
    if record.case in SYNTHETIC:
        return "of the scenario as a whole"
    within = record.scenario in suites and "/" in record.case
    return printable(f"printed by {test_of(record.case)}") if within else "not declared"


def _records(summary: Summary, cases: Mapping[tuple[str, str], int], said: Pool) -> list[list[int]]:
    topologies = {name: number for number, name in enumerate(summary.topologies)}
    kernels = {name: number for number, name in enumerate(summary.kernels)}
    states = {name: number for number, name in enumerate(STATES)}
    outcomes = {outcome: number for number, outcome in enumerate(Outcome)}
    causes = {cause: number for number, cause in enumerate(Cause)}
    kinds = {delta: number for number, delta in enumerate(Delta)}
    suites = summary.suites
    deltas = {
        (each.topology, each.kernel, each.scenario, each.case): kinds[each.delta]
        for each in summary.deltas()
        if each.delta is not Delta.SAME
    }
    few = len(summary.records) <= MAX_RECORDS
    shown = [record for record in summary.records if few or record.met is not True]
    shown.sort(key=lambda record: record.met is not False)  # room for their words before there is none
    return [
        [
            topologies[each.topology],
            kernels[each.kernel],
            cases[each.scenario, each.case],
            states[state(each, suites)],
            causes[each.cause],
            deltas.get((each.topology, each.kernel, each.scenario, each.case), kinds[Delta.SAME]),
            -1 if each.duration_s is None else round(each.duration_s * 1000),
            said.add(each.excerpt),
            each.attempt,
            int(each.expected is Expected.PASS),
            outcomes[each.outcome],
        ]
        for each in shown
    ]


# Guests.


def _guests(summary: Summary, papers: Pool) -> list[dict[str, Any]]:
    """Every guest with its files, in the order of the cells; those with something wrong come first to the room."""
    kernels = {name: number for number, name in enumerate(summary.kernels)}
    topologies = {name: number for number, name in enumerate(summary.topologies)}
    wrong = {(record.topology, record.kernel) for record in summary.records if record.met is False}
    cells = summary.evidence.cells
    order = sorted(cells, key=lambda cell: cell.status is CellStatus.OK and (cell.topology, cell.kernel) not in wrong)
    found = {id(cell): _guest(cell, papers) for cell in order}
    return [{"t": topologies[cell.topology], "k": kernels[cell.kernel], **found[id(cell)]} for cell in cells]


def _guest(cell: CellResult, papers: Pool) -> dict[str, Any]:
    files = {} if papers.full else cell.papers()
    taken = [f"QEMU took {cell.usage.peak >> 20} MiB"] if cell.usage else []
    marks = {name: _marks(name, text) for name, text in files.items() if name.endswith((".console", "console.log"))}
    return {
        "repeat": cell.repeat,
        "status": cell.status.value,
        "why": one_line("; ".join(filter(None, (cell.why, *map(str, cell.mismatches)))), 2000),
        "how": one_line("; ".join([*words.started([cell]), *taken]), 200),
        "papers": {name: papers.add(_readable(name, text)) for name, text in files.items()},
        "marks": {name: found for name, found in marks.items() if found},
    }


def _readable(name: str, text: str) -> str:
    """A file as a person wants it: the facts one to a line, of a configuration what is set."""
    if name == "facts.json":
        return _facts(text)
    if name == "config":
        return "".join(line for line in text.splitlines(keepends=True) if line.startswith("CONFIG_"))
    return text.replace("\r\n", "\n").replace("\0", "\ufffd")


def _facts(text: str) -> str:
    """The guest's lines out of facts.json; the file as it is when it is none of the lab's."""
    try:
        told = json.loads(text)["facts"]
        return "\n".join(line for line in told if isinstance(line, str))
    except (ValueError, KeyError, TypeError, RecursionError):
        return text


def _marks(name: str, text: str) -> list[tuple[int, int, str]]:
    """The kernel's reports on a console: line (from 1), how many lines, kind."""
    found = oops.scan(text, boots=1 if name == "console.log" else 0)
    return sorted((each.line, max(1, len(each.lines)), each.kind.value) for each in found)
