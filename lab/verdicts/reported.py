# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a report shows where it should and does not show where it should not, from how its program ended. Pure.

The case of a report has the name of the side that its machine is on. What the program did is compared with both sides:

    what the program did         on a machine of `shows`             on a healthy machine
    as on the machines of shows  PASS shows as reported              FAIL shows where it should not
    as on the healthy machines   FAIL does not show where it should  PASS does not show, as reported
    ended with 125, 126 or 127   BROKEN could not be tried           BROKEN could not be tried
    anything else                BROKEN neither side                 BROKEN neither side
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from lab.core.outcome import HEALTHY, SHOWS, Case, CaseRecord, Cause, Outcome, SeenEvidence
from lab.core.untrusted import one_line
from lab.evidence.metadata import Metadata, ReportRecord
from lab.specs.report import CANNOT_TELL

SAID = "| "
"""Before each line that the program printed."""
_ENDED = re.compile(r"ended: (?:exit (?P<exit>\d{1,3})|signal (?P<signal>\w{1,10}))", re.ASCII)
_WORDS = {
    (SHOWS, SHOWS): (Outcome.PASS, Cause.PASSED, "shows as reported"),
    (SHOWS, HEALTHY): (Outcome.FAIL, Cause.FAILED, "does not show where it should"),
    (HEALTHY, SHOWS): (Outcome.FAIL, Cause.FAILED, "shows where it should not"),
    (HEALTHY, HEALTHY): (Outcome.PASS, Cause.PASSED, "does not show, as reported"),
}
"""Side of the machine, side that was seen -> outcome, cause and words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    """How a program ended, and the lines that it printed."""

    exit: int | None
    signal: str
    lines: tuple[str, ...]

    def __str__(self) -> str:
        if self.signal:
            return f"SIG{self.signal}"
        return f"exit status {self.exit}"

    def differences(self, seen: SeenEvidence) -> list[str]:
        """Return in what this is not what is seen on a side; empty if it is."""
        differences: list[str] = []
        if self.signal != seen.signal or self.exit != seen.exit:
            differences.append(f"expected {_end(seen)}")
        for glob in seen.prints:
            if not any(fnmatchcase(line, glob) for line in self.lines):
                differences.append(f"printed nothing like {glob!r}")
        return differences


def _end(seen: SeenEvidence) -> str:
    if seen.signal:
        return f"SIG{seen.signal}"
    return f"exit status {seen.exit}"


def verdict(case: Case, diagnostics: Sequence[str]) -> tuple[Outcome, Cause, str]:
    """Return outcome, cause and words for a case of a report from the lines that the guest printed about it."""
    ended = _ended(diagnostics)
    if ended is None:
        return Outcome.BROKEN, Cause.CONTRADICTION, "the guest did not report how the program ended, once"
    if ended.exit in CANNOT_TELL:
        last = "".join(ended.lines[-1:]) or "it printed nothing"
        return Outcome.BROKEN, Cause.SET_UP, f"could not be tried: {ended}: {one_line(last, 200)}"
    differences = {side: ended.differences(seen) for side, seen in case.sides.items()}
    matching = [side for side, different in differences.items() if not different]
    if len(matching) == 1:
        outcome, cause, words = _WORDS[case.name, matching[0]]
        return outcome, cause, f"{words}: {ended}"
    if matching:
        return Outcome.BROKEN, Cause.CONTRADICTION, f"{ended}, which is what both sides of the report are"
    why = "; ".join(f"{side}: {', '.join(different)}" for side, different in differences.items())
    return Outcome.BROKEN, Cause.CONTRADICTION, f"neither side of the report: {ended}: {one_line(why, 300)}"


def _ended(diagnostics: Iterable[str]) -> _Ended | None:
    """Return how the program ended; None if the guest did not say so exactly once."""
    endings: list[re.Match[str]] = []
    lines: list[str] = []
    for line in diagnostics:
        if line.startswith(SAID):
            lines.append(line.removeprefix(SAID))
        elif match := _ENDED.fullmatch(line):
            endings.append(match)
    if len(endings) != 1:
        return None
    [ending] = endings
    status = int(ending["exit"]) if ending["exit"] is not None else None
    return _Ended(exit=status, signal=ending["signal"] or "", lines=tuple(lines))


# For the reports of a run.


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportResult:
    """A report and what became of it in a run."""

    name: str
    report: ReportRecord
    results: tuple[CaseRecord, ...]
    """A record for each cell, with the side as its case."""

    @property
    def unmet(self) -> bool:
        """Whether it is not as reported in some cell, or there is no evidence of one."""
        return any(result.met is not True for result in self.results)

    @property
    def missing_sides(self) -> tuple[str, ...]:
        """The sides of which no machine was run: without both of them nothing is reproduced."""
        sides = {result.case for result in self.results}
        return tuple(side for side in (SHOWS, HEALTHY) if side not in sides)

    @property
    def as_reported(self) -> bool:
        """Whether it shows where it should and does not show elsewhere, and both was tried."""
        return not self.unmet and not self.missing_sides

    @property
    def state(self) -> str:
        """Return in words whether it is as reported."""
        if self.unmet:
            return "not as reported"
        if self.missing_sides:
            return f"in part: no machine of {' and '.join(f'`{side}`' for side in self.missing_sides)} was run"
        return "as reported"


def results(metadata: Metadata, records: Iterable[CaseRecord]) -> tuple[ReportResult, ...]:
    """Return the reports of a run, in the order in which it recorded them."""
    if not metadata.reports:
        return ()
    by_name: dict[str, list[CaseRecord]] = {name: [] for name in metadata.reports}
    for record in records:
        if record.scenario in by_name:
            by_name[record.scenario].append(record)
    results_found: list[ReportResult] = []
    for name, report in metadata.reports.items():
        mine = sorted(by_name[name], key=lambda result: result.case != SHOWS)
        results_found.append(ReportResult(name=name, report=report, results=tuple(mine)))
    return tuple(results_found)
