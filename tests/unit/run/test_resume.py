# SPDX-License-Identifier: GPL-2.0-or-later
"""What is left to do of a run that was killed, and when it is another campaign by now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from lab.core.outcome import Case, CellStatus, End, Mismatch, Run
from lab.run import resume
from lab.specs.plan import Selection
from tests.unit.fixtures.evidence import cell, good_runs, ktap, metadata, recorded

CASES = tuple(Case(scenario="demo", name=name) for name in "abcd")
ALL = Selection(scenario="demo")


def run(*told: str, attempt: int = 1, end: End = End.EXITED, status: int | None = 0, **fields: Any) -> Run:
    return Run(
        scenario="demo", attempt=attempt, end=end, status=status, ktap=ktap(f"ok {name}" for name in told), **fields
    )


def names(cases: Sequence[Case]) -> str:
    return "".join(case.name for case in cases)


@pytest.mark.parametrize(
    ("runs", "left"),
    [
        ([], "abcd"),
        ([run(*"abcd")], ""),
        ([run(*"ab")], ""),  # it ended by itself: the rest has a verdict, BROKEN
        ([run("a", end=End.PANIC)], "cd"),
        ([run("a", status=139)], "cd"),
        ([run("a", end=End.UNRESPONSIVE)], "cd"),
        ([run("a", end=End.PANIC), run(attempt=2, end=End.DEADLINE)], "d"),
        ([run("a", end=End.PANIC), run("c", "d", attempt=2)], ""),
        ([run("a", end=End.FLOODED)], ""),
        ([run(attempt=number, end=End.PANIC) for number in range(1, 7)], ""),
        ([run("a", end=End.INTERRUPTED)], "bcd"),  # nobody knows what would have become of b
        ([run("a", end=End.INTERRUPTED), run("b", attempt=2, end=End.PANIC)], "d"),
        ([run("a", end=End.LOST, console="pagelab: run demo.b\npagelab: run demo.c\n")], "bd"),  # b's result was lost
        ([run("a", end=End.FLOODED, console="pagelab: run demo.c\n")], ""),
        ([run(attempt=number, end=End.INTERRUPTED) for number in range(1, 20)], "abcd"),
    ],
)
def test_what_is_left_of_a_scenario(runs: list[Run], left: str) -> None:
    assert names(resume.left(runs, ALL, CASES)) == left


def test_only_what_was_asked_for_is_left() -> None:
    assert names(resume.left([], Selection(scenario="demo", cases=("d", "b")), CASES)) == "bd"


def test_runs_that_say_nothing_are_done_again_with_all_behind_them() -> None:
    whole, torn = (
        run("a", end=End.PANIC),
        run("c", attempt=2, end=End.PANIC, damage="demo.2.ktap is not what was written"),
    )
    other = good_runs("baseline")
    found = cell(runs=(whole, torn, run("d", attempt=3), *other))
    assert resume.kept(found) == (whole, *other)
    assert resume.kept(cell(runs=(run(end=End.NOT_RUN), *other))) == other
    assert resume.kept(cell(runs=(run(attempt=2), *other))) == other, "the first attempt is missing"


def test_nothing_counts_of_a_machine_that_is_another() -> None:
    assert resume.kept(cell(status=CellStatus.INVALID, runs=(run(*"abcd"),))) == ()


@pytest.mark.parametrize(
    ("found", "finished"),
    [
        (cell(runs=(run(*"abcd"),)), True),
        (cell(runs=(run("a", end=End.LOST),)), False),
        (cell(runs=()), False),
        (cell(status=CellStatus.BROKEN, runs=(run(*"abcd"),)), False),
        (cell(status=CellStatus.NO_BOOT, runs=()), True),
        (cell(status=CellStatus.INVALID, runs=(), mismatches=(Mismatch(fact="f", asked="a", got="g"),)), True),
    ],
)
def test_when_a_cell_is_finished(found: Any, finished: bool) -> None:
    assert resume.finished(found, [ALL], {"demo": CASES}) is finished


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ((), None, ""),
        (("started",), "later", ""),
        (("host", "cpus"), 64, ""),
        (("campaign", "name"), "other", "campaign.name: recorded quick, now other"),
        (
            ("topologies", "arm64-64k-2node", "name"),
            "x",
            "topologies.arm64-64k-2node.name: recorded arm64-64k-2node, now x",
        ),
        (
            ("kernels", "expand-fault", "series"),
            None,
            "kernels.expand-fault.series: recorded expand-fault, now nothing",
        ),
        (("tests", "arm64"), "def", "tests.arm64: recorded abc, now def"),
        (("cases", "guard"), [], "cases.guard: recorded [{'name': 'memfd'"),
        (("repeat",), 3, "repeat: recorded 1, now 3"),
    ],
)
def test_another_campaign(path: tuple[str, ...], value: object, said: str) -> None:
    was, now = ({**metadata(), "tests": {"arm64": "abc"}, "repeat": 1} for _ in range(2))
    place: Any = now
    for key in path[:-1]:
        place = place[key]
    if path:
        place[path[-1]] = value
    found = resume.difference(recorded(was), recorded(now))
    assert found.startswith(said)
    assert bool(found) == bool(said)
    assert "\n" not in found
