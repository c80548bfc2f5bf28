# SPDX-License-Identifier: GPL-2.0-or-later
"""Two runs against each other: what differs, what cannot be compared, and how it is told."""

from __future__ import annotations

from typing import Any

import pytest

from lab.core.errors import UsageError
from lab.core.outcome import Delta, End, Run
from lab.evidence.metadata import Evidence
from lab.report import registry as report
from lab.report import text
from lab.verdicts import two_runs
from lab.verdicts.compare import conclude
from tests.unit.fixtures.evidence import KERNELS, TOPOLOGIES, cell, evidence, good_runs, ktap, metadata, recorded


def named(what: Evidence, source: str) -> Evidence:
    return Evidence(metadata=what.metadata, cells=what.cells, source=source)


def compared(first: Evidence, second: Evidence) -> two_runs.Comparison:
    return two_runs.compare(conclude(named(first, "old")), conclude(named(second, "new")))


def guard(line: str, *more: str, **fields: Any) -> Evidence:
    """A run in which one cell's `guard.memfd` says something else."""
    expand, _ = good_runs(KERNELS[1])
    status = 1 if line.startswith("not") else 0
    run = Run(scenario="guard", end=End.EXITED, status=status, ktap=ktap([line, "ok sysv", *more]), **fields)
    return evidence(cell(runs=(expand, run)))


def test_the_same() -> None:
    found = compared(evidence(), evidence())
    assert (found.exit_code, found.changed, found.notes) == (0, (), ())
    assert report.versus(found) == (
        "from old to new: 0 regressed, 0 fixed, 24 the same\n\n"
        "exit 0: all 24 outcomes are the same in the 4 cells of both runs\n"
    )


@pytest.mark.parametrize(
    ("before", "after", "delta", "title"),
    [
        ("ok memfd", "not ok memfd", Delta.REGRESSED, "REGRESSED with expand-fault on x86_64-4k-2node, PASS -> FAIL"),
        ("not ok memfd", "ok memfd", Delta.FIXED, "FIXED with expand-fault on x86_64-4k-2node, FAIL -> PASS"),
        ("ok memfd", "ok memfd # SKIP no", Delta.NO_VERDICT, "NEITHER BETTER NOR WORSE with expand-fault on"),
        ("not ok memfd # CRASH signal=9", "not ok memfd", Delta.SAME, "CRASH -> FAIL: 1 case"),
    ],
)
def test_a_difference(before: str, after: str, delta: Delta, title: str) -> None:
    found = compared(guard(before), guard(after))
    assert found.exit_code == 1
    ((changed),) = found.changed
    assert (changed.label, changed.delta) == ("guard.memfd", delta)
    said = report.versus(found)
    assert title in said
    assert "guard: memfd" in said
    assert "exit 1: 1 of 24 outcomes differ" in said


def test_a_kernel_that_complains_in_one_run_alone() -> None:
    """`guard.console` is there only where something is wrong."""
    warning = "[    1.000000] WARNING: CPU: 0 PID: 1 at mm/shmem.c:1 x+0x1/0x2\n"
    found = compared(evidence(), guard("ok memfd", console=warning))
    assert [(each.label, each.delta) for each in found.changed] == [("guard.console", Delta.REGRESSED)]


def test_what_only_one_run_has_is_a_note() -> None:
    smaller = evidence(without=[(TOPOLOGIES[1], KERNELS[0])], cases={"guard": metadata()["cases"]["guard"]})
    found = compared(evidence(), smaller)
    assert found.exit_code == 0
    assert found.notes[0].startswith("only in old: 12 outcomes of expand.grow_move ")
    assert "only in old: arm64-64k-2node / baseline" in found.notes


def test_other_kernels_and_tests_are_noted() -> None:
    changed = metadata()
    changed["builds"][f"{TOPOLOGIES[0]}/{KERNELS[1]}"]["series_sha256"] = "v2"
    first = evidence(tests={"x86_64": "a"})
    found = compared(first, evidence(builds=changed["builds"], tests={"x86_64": "b"}))
    assert found.notes == (
        "x86_64-4k-2node/expand-fault: another kernel: its series differs",
        "a case may have changed its meaning: tests.x86_64: recorded a, now b",
    )
    assert found.exit_code == 0


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (Evidence(metadata=recorded(metadata()), cells=()), "old and new have no cell in common"),
        (evidence(cases={"other": [{"name": "x"}]}), "old and new have no case in common"),
        (
            evidence(topologies={**metadata()["topologies"], TOPOLOGIES[0]: {"name": TOPOLOGIES[0], "vcpus": 8}}),
            "not of the same machine: topology x86_64-4k-2node.vcpus: recorded nothing, now 8",
        ),
    ],
)
def test_what_cannot_be_compared(second: Evidence, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        compared(evidence(), second)


def test_lines_are_not_too_long() -> None:
    said = report.versus(compared(guard("ok memfd"), guard("not ok memfd # CRASH signal=11")))
    assert max(map(len, said.split("\n"))) <= text.WIDTH
