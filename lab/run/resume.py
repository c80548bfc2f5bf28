# SPDX-License-Identifier: GPL-2.0-or-later
"""Find what remains to be run of a scenario, a cell or a campaign, and check that the campaign is the same. Pure.

A cell is finished if its kernel did not boot, if the guest was not the machine asked for, or if each of its scenarios
has ended. Runs without evidence (never started, or damaged since) are repeated, with all later runs of their scenario.
Of a program that was running when the lab was stopped or killed, the results it had reported count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lab.core.outcome import Case, CellResult, CellStatus, End, Run
from lab.evidence.changes import first_difference
from lab.evidence.metadata import Metadata
from lab.formats import ktap
from lab.specs.plan import Selection
from lab.verdicts import case_marks

SCENARIO_ATTEMPTS = 6
"""How often a scenario is started: each attempt costs a boot, and more crashes and hangs would prove nothing new."""
KILLED = 128
"""From this exit status on, a shell reports a signal (128 + its number)."""


def not_reached(run: Run, asked: Sequence[Case]) -> list[Case]:
    """Return the cases without a result but the one that was running when the program crashed, hung or was killed.

    Empty if the program exited or was cut off for flooding. If the lab ended it, the case that was running is included.
    """
    if run.end in (End.FLOODED, End.NOT_RUN) or (run.end is End.EXITED and (run.status or 0) < KILLED):
        return []
    reported = {result.name for result in ktap.parse(run.ktap).results}
    missing = [case for case in asked if case.name not in reported]
    if run.end is End.INTERRUPTED or not missing:
        return missing
    culprit = case_marks.was_running(run, [case.name for case in missing])
    return [case for case in missing if case.name != culprit]


def left(runs: Sequence[Run], selection: Selection, declared: Sequence[Case]) -> list[Case]:
    """Return the cases of a scenario that remain after its `runs`, in their order; empty if no attempt remains."""
    asked = selection.asked_cases(declared)
    for run in runs:
        asked = not_reached(run, asked)
    return asked if attempts_left(runs) > 0 else []


def attempts_left(runs: Sequence[Run]) -> int:
    """Return how often a scenario may still be started after its `runs`; runs that the lab ended do not count."""
    return SCENARIO_ATTEMPTS - sum(run.end is not End.INTERRUPTED for run in runs)


def kept(cell: CellResult) -> tuple[Run, ...]:
    """Return the runs of a cell that count: the first attempts of each scenario, up to one that is not intact."""
    found: dict[str, list[Run]] = {}
    spoilt: set[str] = set()
    for run in cell.runs if cell.status in (CellStatus.OK, CellStatus.BROKEN) else ():
        attempts = found.setdefault(run.scenario, [])
        if run.damage or run.end is End.NOT_RUN or run.attempt != len(attempts) + 1:
            spoilt.add(run.scenario)
        if run.scenario not in spoilt:
            attempts.append(run)
    runs: list[Run] = []
    for attempts in found.values():
        runs += attempts
    return tuple(runs)


def finished(cell: CellResult, selections: Sequence[Selection], cases: Mapping[str, Sequence[Case]]) -> bool:
    """Return whether nothing remains to be done for a cell."""
    if cell.status is not CellStatus.OK:
        return cell.status is not CellStatus.BROKEN
    runs = kept(cell)
    for selection in selections:
        scenario_runs = [run for run in runs if run.scenario == selection.scenario]
        if left(scenario_runs, selection, cases[selection.scenario]):
            return False
    return True


# Check that the campaign is the same.

_MUST_AGREE = ("campaign", "topologies", "kernels", "cells", "repeat", "cases", "tests")
"""The keys of metadata.json that decide what is run."""


def difference(recorded: Metadata, now: Metadata) -> str:
    """Return the first difference of a campaign from a recorded one, `what: recorded X, now Y`; empty if none."""
    was, today = recorded.document(), now.document()
    found = (first_difference(key, was.get(key), today.get(key)) for key in _MUST_AGREE)
    return next(filter(None, found), "")
