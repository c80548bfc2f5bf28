# SPDX-License-Identifier: GPL-2.0-or-later
"""Try a change again whenever it, its tree or its programs change, and compare each run with the one before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from lab.core.cache import digest
from lab.core.errors import LabError
from lab.core.outcome import CaseRecord, Outcome
from lab.verdicts.compare import Summary
from lab.workflows.change import Change

BELL = "\a"
CasePlace = tuple[str, str, str, str]
"""Machine, kernel, scenario and case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One run of the change, or the error that prevented it."""

    exit_code: int
    outcomes: dict[CasePlace, Outcome]

    @classmethod
    def of(cls, summary: Summary) -> Attempt:
        return cls(exit_code=summary.exit_code, outcomes={_case(record): record.outcome for record in summary.records})


def _case(record: CaseRecord) -> CasePlace:
    return record.topology, record.kernel, record.scenario, record.case


Event = set[tuple[object, str]]
"""What happened since the last event: the kind and the path of each change."""


def changes(paths: Sequence[Path]) -> Iterator[Event]:
    """Yield whenever a file or a directory, with all below it, has changed; waits in between, until Ctrl-C."""
    from watchfiles import DefaultFilter, watch

    for event in watch(*paths, watch_filter=DefaultFilter(ignore_dirs=()), raise_interrupt=True):
        yield set(event)


def attempts(
    read: Callable[[], Change],
    programs: Sequence[Path],
    run: Callable[[Change], Summary],
    report: Callable[[LabError], None],
    events: Iterable[Event],
) -> Iterator[Attempt]:
    """Yield the result of a run at once, and of another one after each event that changed anything.

    `read` returns the change as it is now, `programs` are files that are run with it. An error ends one attempt and is
    given to `report`.
    """
    last = ""
    edits = 0
    for event in chain([Event()], events):
        edits += any(".git" not in Path(path).parts for _, path in event)
        change: Change | LabError
        try:
            change = read()
            key = _key(change, programs, edits)
        except LabError as error:
            change, key = error, str(error)
        if key == last:
            continue
        last = key
        yield _attempt(change, run, report)


def _attempt(
    change: Change | LabError, run: Callable[[Change], Summary], report: Callable[[LabError], None]
) -> Attempt:
    """Return the result of a run, or the error that there was instead of a change, or that ended the run."""
    try:
        if isinstance(change, LabError):
            raise change
        return Attempt.of(run(change))
    except LabError as error:
        report(error)
        return Attempt(exit_code=error.exit_code, outcomes={})


def _key(change: Change, programs: Sequence[Path], edits: int) -> str:
    """Return a digest of all that a run of a change depends on and that a user may edit.

    A directory without commits is not read: after each of the `edits` below it, it counts as another one.
    """
    parts: list[str | bytes] = [change.base]
    if change.base.startswith("path:"):
        parts.append(str(edits))
    parts += [patch.data for patch in change.patches]
    parts += [path.read_bytes() for path in programs if path.is_file()]
    return digest(*parts)


def turned(before: Attempt, now: Attempt) -> list[str]:
    """Return a line for each case whose outcome differs between two attempts, and the bell if the verdict does."""
    lines = []
    for case, outcome in now.outcomes.items():
        earlier = before.outcomes.get(case)
        if earlier and earlier is not outcome:
            topology, kernel, scenario, name = case
            lines.append(f"{scenario}.{name} on {topology} / {kernel}: {earlier} -> {outcome}")
    if before.exit_code != now.exit_code:
        lines.append(f"exit status {before.exit_code} -> {now.exit_code}{BELL}")
    return lines or ["no case has another outcome than before"]
