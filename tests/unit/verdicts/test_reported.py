# SPDX-License-Identifier: GPL-2.0-or-later
"""A report shows or does not, by what is on record; nothing that is unclear is healthy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from lab.core.outcome import Case, CaseRecord, Cause, CellKey, CellStatus, End, Outcome, Run, SeenEvidence
from lab.evidence.metadata import CaseSpec
from lab.verdicts.compare import cases_of, conclude
from lab.verdicts.judge import CONSOLE, judge_run
from tests.unit.fixtures.evidence import TOPOLOGIES
from tests.unit.fixtures.runs import report_ktap, reproduced

SIDES = {
    "shows": SeenEvidence(signal="BUS", prints=("*: a bus error",)),
    "healthy": SeenEvidence(exit=0, prints=("*: readable", "and more")),
}
BUS = ("| 4096: a bus error", "ended: signal BUS")
FINE = ("| 4096: readable", "| and more", "ended: exit 0")


def case(side: str) -> Case:
    return Case(scenario="report", name=side, sides=SIDES)


def record(side: str, lines: Sequence[str], result: str = "ok 1", **changes: object) -> CaseRecord:
    said = "".join(f"# {line}\n" for line in lines)
    run = Run(
        scenario="report",
        end=End.EXITED,
        status=0,
        ktap=f"KTAP version 1\n1..1\n{said}{result} {side}\n",
        cases=(side,),
    )
    declared = [case("shows"), case("healthy")]
    [found] = judge_run("machine", "baseline", replace(run, **changes), declared, frozenset())  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize(
    ("side", "lines", "outcome", "reason"),
    [
        ("shows", BUS, Outcome.PASS, "shows as reported: SIGBUS"),
        ("healthy", FINE, Outcome.PASS, "does not show, as reported: exit status 0"),
        ("shows", FINE, Outcome.FAIL, "does not show where it should: exit status 0"),
        ("healthy", BUS, Outcome.FAIL, "shows where it should not: SIGBUS"),
    ],
)
def test_four_answers(side: str, lines: Sequence[str], outcome: Outcome, reason: str) -> None:
    found = record(side, lines)
    assert (found.outcome, found.reason) == (outcome, reason)
    assert found.met is (outcome is Outcome.PASS)
    assert "4096: " in found.excerpt, "what the program printed is with the verdict"


@pytest.mark.parametrize("side", ["shows", "healthy"])
@pytest.mark.parametrize("status", [125, 126, 127])
def test_a_program_that_could_not_try_is_evidence_of_neither_side(side: str, status: int) -> None:
    found = record(side, ["| no huge pages", f"ended: exit {status}"])
    assert (found.outcome, found.cause) == (Outcome.BROKEN, Cause.SET_UP)
    assert found.reason == f"could not be tried: exit status {status}: no huge pages"


@pytest.mark.parametrize("side", ["shows", "healthy"])
@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["ended: exit 0"],
        ["| 4096: readable", "ended: exit 0"],
        ["| 4096: readable", "| and more"],
        ["| 4096: readable", "| and more", "| ended: exit 0"],
        [*FINE, "ended: exit 0"],
        ["| 4096: a bus error", "ended: exit 7"],
        ["| 4096: readable", "| and more", "ended: signal BUS"],
        ["| 4096: readable", "| and more", "ended: exit 0000"],
        ["| 4096: readable", "| and more", "ended: well"],
    ],
)
def test_what_is_neither_side_is_no_verdict(side: str, lines: Sequence[str]) -> None:
    assert record(side, lines).outcome is Outcome.BROKEN


@pytest.mark.parametrize("side", ["shows", "healthy"])
def test_a_program_that_did_not_end_hangs(side: str) -> None:
    assert record(side, ["| 4096: readable"], "not ok 1", status=1).outcome is not Outcome.PASS
    late = record(
        side, FINE, "not ok 1", status=1, ktap=f"KTAP version 1\n1..1\nnot ok 1 {side} # TIMEOUT after 10 s\n"
    )
    assert (late.outcome, late.met) == (Outcome.HANG, False)


def test_a_complaint_of_the_kernel_counts_beside_a_report_that_is_as_reported() -> None:
    complaint = "[    1.000000] BUG: kernel NULL pointer dereference, address: 0000000000000000\n"
    run = Run(
        scenario="report",
        end=End.EXITED,
        status=0,
        ktap=report_ktap(shows="ended: signal BUS", line="4096: a bus error"),
        console=complaint,
    )
    found = {each.case: each.outcome for each in judge_run("machine", "baseline", run, [case("shows")], frozenset())}
    assert found == {"shows": Outcome.PASS, CONSOLE: Outcome.CRASH}


def test_a_case_of_a_report_is_recorded_and_read_back() -> None:
    written = replace(case("shows"), places=frozenset({"machine/baseline"}))
    assert CaseSpec.model_validate(CaseSpec.of(written).document()).case("report") == written
    assert "sides" not in CaseSpec.of(Case(scenario="expand", name="a")).document()


def test_a_cell_has_the_side_that_names_it() -> None:
    metadata = reproduced().metadata
    declared = metadata.declared_cases()
    on_first = cases_of(metadata, CellKey(TOPOLOGIES[0], "baseline"), declared)
    on_second = cases_of(metadata, CellKey(TOPOLOGIES[1], "baseline"), declared)
    assert {name: [each.name for each in cases] for name, cases in on_first.items()} == {"grown-memory": ["shows"]}
    assert {name: [each.name for each in cases] for name, cases in on_second.items()} == {
        "grown-memory": ["healthy"],
        "my-report": ["healthy"],
    }


def test_a_run_of_reports() -> None:
    summary = conclude(reproduced())
    first, second = summary.reported
    assert (first.as_reported, first.state) == (True, "as reported")
    assert (second.as_reported, second.unmet, second.state) == (False, True, "not as reported")
    assert summary.exit_code == 1
    assert summary.changed == ()
    assert [record.label for record in summary.not_met] == ["my-report.healthy"]


def test_a_report_of_which_one_side_ran_is_reproduced_in_part() -> None:
    whole = reproduced()
    kept = [cell for cell in whole.metadata.cells if cell.topology == TOPOLOGIES[0]]
    half = replace(
        whole, cells=whole.cells[:1], metadata=whole.metadata.changed(cells=[each.document() for each in kept])
    )
    first, second = conclude(half).reported
    assert (first.as_reported, first.unmet) == (False, False)
    assert first.state == "in part: no machine of `healthy` was run"
    assert second.state == "in part: no machine of `shows` and `healthy` was run"


def test_a_machine_that_is_another_one_shows_nothing() -> None:
    bent = reproduced()
    wrong = replace(bent.cells[0], status=CellStatus.INVALID, runs=())
    first, _ = conclude(replace(bent, cells=(wrong, *bent.cells[1:]))).reported
    assert first.results[0].outcome is Outcome.BROKEN
    assert first.state == "not as reported"
