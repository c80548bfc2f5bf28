# SPDX-License-Identifier: GPL-2.0-or-later
"""What is left to do of a scenario, a cell, a campaign; and whether it is still the same campaign. Pure.

A cell is finished when its kernel did not boot, when it was another machine, or when every one of its scenarios has
come to its end. Runs that say nothing (never started, or damaged since) are done again, with all that came after them
in their scenario. Of a program under way when the lab was stopped or killed, what it had told counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lab.core.outcome import Case, CellResult, CellStatus, End, Run
from lab.evidence.metadata import Metadata
from lab.formats import ktap
from lab.specs.plan import Selection
from lab.verdicts.changes import first_difference

SCENARIO_ATTEMPTS = 6
"""Each costs a boot; more crashes and hangs than this in one scenario need no further proof."""
KILLED = 128
"""From this exit status on, a shell reports a signal (128 + its number)."""


def not_reached(run: Run, asked: Sequence[Case]) -> list[Case]:
    """Return the cases after the one that was running when the program crashed, hung or was killed.

    Empty if the program exited or was cut off for flooding. If the lab ended it, the case that was running is included.
    """
    if run.end in (End.FLOODED, End.NOT_RUN) or (run.end is End.EXITED and (run.status or 0) < KILLED):
        return []
    told = {result.name for result in ktap.parse(run.ktap).results}
    missing = [case for case in asked if case.name not in told]
    return missing if run.end is End.INTERRUPTED else missing[1:]


def left(runs: Sequence[Run], selection: Selection, declared: Sequence[Case]) -> list[Case]:
    """The cases of a scenario that still have to be run after its `runs`, in their order; all of them after none."""
    asked = selection.asked_cases(declared)
    for run in runs:
        asked = not_reached(run, asked)
    return asked if attempts_left(runs) > 0 else []


def attempts_left(runs: Sequence[Run]) -> int:
    """How often a scenario may be started after its `runs`. Those that the lab ended itself prove nothing."""
    return SCENARIO_ATTEMPTS - sum(run.end is not End.INTERRUPTED for run in runs)


def kept(cell: CellResult) -> tuple[Run, ...]:
    """The runs of a cell that count: of every scenario the first attempts that are whole."""
    found: dict[str, list[Run]] = {}
    spoilt: set[str] = set()
    for run in cell.runs if cell.status in (CellStatus.OK, CellStatus.BROKEN) else ():
        attempts = found.setdefault(run.scenario, [])
        if run.damage or run.end is End.NOT_RUN or run.attempt != len(attempts) + 1:
            spoilt.add(run.scenario)
        if run.scenario not in spoilt:
            attempts.append(run)
    return tuple(run for attempts in found.values() for run in attempts)


def finished(cell: CellResult, selections: Sequence[Selection], cases: Mapping[str, Sequence[Case]]) -> bool:
    """Whether there is nothing left to do for a cell."""
    if cell.status is not CellStatus.OK:
        return cell.status is not CellStatus.BROKEN
    runs = kept(cell)
    return all(
        not left([run for run in runs if run.scenario == each.scenario], each, cases[each.scenario])
        for each in selections
    )


# Whether it is the same campaign still.

_MUST_AGREE = ("campaign", "topologies", "kernels", "cells", "repeat", "cases", "tests")
"""Of metadata.json: what decides what is run."""


def difference(recorded: Metadata, now: Metadata) -> str:
    """The first thing in which a campaign is not what a run recorded, `what: recorded X, now Y`; empty when it is."""
    was, today = recorded.document(), now.document()
    found = (first_difference(key, was.get(key), today.get(key)) for key in _MUST_AGREE)
    return next(filter(None, found), "")
