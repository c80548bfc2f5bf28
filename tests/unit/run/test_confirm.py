# SPDX-License-Identifier: GPL-2.0-or-later
"""lab.run.confirm: what seems fixed or regressed runs again on both kernels, and is FLAKY where the runs disagree."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lab.core.errors import BootError, InputError
from lab.core.outcome import CaseRecord, CellKey, Delta, Outcome
from lab.evidence.read import load
from lab.evidence.write import RunDir
from lab.report import registry as report
from lab.run import campaign, confirm
from lab.run.campaign import OpenRun
from lab.run.confirm import Foresight
from lab.run.runner import Runner
from lab.run.this_host import ThisHost
from lab.specs.plan import repeated
from lab.verdicts.compare import Summary, conclude, conclude_directory
from tests.unit.fakes import (
    BASE,
    BUILD,
    CASES,
    PACKING,
    PANIC_CONSOLE,
    Behaviour,
    FakeCell,
    FakeFactory,
    NoScreen,
    a_plan,
    ended,
    ktap_stdout,
)

BROKE = ktap_stdout("not ok 1 guard", "ok 2 grow", "ok 3 last")
AGAIN_BASE = ktap_stdout("ok 1 guard", "not ok 2 grow", count=2)
AGAIN_BROKE = ktap_stdout("not ok 1 guard", "ok 2 grow", count=2)
AGAIN_WELL = ktap_stdout("ok 1 guard", "ok 2 grow", count=2)


class Lab:
    """A run of two kernels whose guests are scripted, and what it confirms."""

    def __init__(
        self,
        place: Path,
        baseline: list[Behaviour],
        patched: list[Behaviour],
        repeat: int = 1,
        *,
        foreseen: bool = False,
    ) -> None:
        self.cells = {"baseline": FakeCell(baseline), "patched": FakeCell(patched)}
        for name, each in self.cells.items():
            each.provenance = BUILD.changed(series_sha256=name, build_id=name)
        planned = a_plan(["baseline", "patched"])
        metadata = campaign.describe(planned, CASES).changed(repeat=repeat)
        run_dir = RunDir.create(place, "test", metadata, output=place / "run")
        self.opened = OpenRun(plan=repeated(planned, repeat), run_dir=run_dir, metadata=metadata, cases=CASES)
        if not foreseen:
            self.run(self.opened)
            return
        first, second = ([cell for cell in planned.cells if cell.kernel.name == name] for name in self.cells)
        self.run(replace(self.opened, plan=replace(planned, cells=tuple(first))))
        self.run(replace(self.opened, plan=replace(planned, cells=tuple(second))), Foresight(opened=self.opened))

    def run(self, opened: OpenRun, foresight: Foresight | None = None) -> None:
        Runner(
            plan=opened.plan,
            place=ThisHost(shop=FakeFactory(self.cells), budget=PACKING.budget),
            run_dir=opened.run_dir,
            metadata=opened.metadata,
            cases=CASES,
            screen=NoScreen(),
            packing=PACKING,
            builds=dict(opened.metadata.builds),
            foresight=foresight,
        ).run()

    def confirmed(self, times: int = 1) -> Summary:
        again = confirm.again(self.opened, conclude_directory(self.opened.path), times)
        if again:
            self.run(again)
        assert all(not cell.behaviours for cell in self.cells.values()), "guests that nobody booted"
        return conclude(load(self.opened.path))


def guest(stdout: bytes, console: str = "") -> Behaviour:
    return Behaviour(runs=[ended(stdout, status=int(b"not ok" in stdout))], console=[console])


def record(summary: Summary, kernel: str, case: str) -> CaseRecord:
    (found,) = (each for each in summary.records if (each.kernel, each.case) == (kernel, case))
    return found


def delta(summary: Summary, case: str) -> Delta:
    return next((each.delta for each in summary.changed if each.case == case), Delta.SAME)


def test_a_real_regression_is_one_after_one_more_run(tmp_path: Path) -> None:
    lab = Lab(tmp_path, [guest(BASE), guest(AGAIN_BASE)], [guest(BROKE), guest(AGAIN_BROKE)])
    found = lab.confirmed()
    assert (delta(found, "guard"), delta(found, "grow")) == (Delta.REGRESSED, Delta.FIXED)
    assert record(found, "patched", "guard").counts == ((Outcome.FAIL, 2),)
    assert record(found, "patched", "last").counts == ()
    assert found.exit_code == 1


def test_only_the_cases_in_doubt_run_again(tmp_path: Path) -> None:
    lab = Lab(tmp_path, [guest(BASE), guest(AGAIN_BASE)], [guest(BROKE), guest(AGAIN_BROKE)])
    lab.confirmed()
    assert "guard grow" in lab.cells["patched"].commands[-1]
    assert "last" not in lab.cells["patched"].commands[-1]


def test_what_fails_once_only_is_flaky_with_its_counts(tmp_path: Path) -> None:
    lab = Lab(tmp_path, [guest(BASE), guest(AGAIN_BASE)], [guest(BROKE), guest(AGAIN_WELL)])
    found = lab.confirmed()
    flaky = record(found, "patched", "guard")
    assert (flaky.outcome, dict(flaky.counts)) == (Outcome.FLAKY, {Outcome.FAIL: 1, Outcome.PASS: 1})
    assert (delta(found, "guard"), delta(found, "grow")) == (Delta.NO_VERDICT, Delta.FIXED)


def test_a_baseline_that_fails_once_makes_no_fix(tmp_path: Path) -> None:
    failed = ktap_stdout("ok 1 guard", "not ok 2 grow", "not ok 3 last")
    again = ktap_stdout("not ok 1 grow", "ok 2 last", count=2)
    patched = ktap_stdout("ok 1 guard", "ok 2 grow", "ok 3 last")
    well = ktap_stdout("ok 1 grow", "ok 2 last", count=2)
    found = Lab(tmp_path, [guest(failed), guest(again)], [guest(patched), guest(well)]).confirmed()
    assert record(found, "baseline", "last").outcome is Outcome.FLAKY
    assert delta(found, "last") is Delta.NO_VERDICT


def test_more_runs_are_counted(tmp_path: Path) -> None:
    well = [guest(AGAIN_BROKE), guest(AGAIN_WELL), guest(AGAIN_BROKE)]
    lab = Lab(tmp_path, [guest(BASE), *(guest(AGAIN_BASE) for _ in range(3))], [guest(BROKE), *well])
    assert dict(record(lab.confirmed(3), "patched", "guard").counts) == {Outcome.FAIL: 3, Outcome.PASS: 1}


def test_nothing_runs_again_where_nothing_changed_or_nobody_asks(tmp_path: Path) -> None:
    lab = Lab(tmp_path, [guest(BASE)], [guest(BASE)])
    assert confirm.again(lab.opened, conclude_directory(lab.opened.path), 1) is None
    other = Lab(tmp_path / "2", [guest(BASE)], [guest(BROKE)])
    assert confirm.again(other.opened, conclude_directory(other.opened.path), 0) is None


def test_a_console_in_doubt_runs_the_whole_scenario_again(tmp_path: Path) -> None:
    warning = "[    3.100000] WARNING: CPU: 0 PID: 1 at mm/shmem.c:12 f+0x1/0x2\n"
    warning += "[    3.200000] ---[ end trace 0000000000000000 ]---\n"
    lab = Lab(tmp_path, [guest(BASE), guest(BASE)], [guest(BASE, warning), guest(BASE)])
    found = lab.confirmed()
    assert record(found, "patched", "console").outcome is Outcome.FLAKY


def test_a_guest_that_is_lost_confirms_nothing(tmp_path: Path) -> None:
    lost = Behaviour(runs=[ended(b"")], console=[PANIC_CONSOLE])
    lab = Lab(tmp_path, [guest(BASE), guest(AGAIN_BASE)], [guest(BROKE), lost])
    assert record(lab.confirmed(), "patched", "grow").outcome is not Outcome.PASS


def test_reports_are_those_of_the_first_runs_and_of_counts(tmp_path: Path) -> None:
    lab = Lab(tmp_path, [guest(BASE), guest(AGAIN_BASE)], [guest(BROKE), guest(AGAIN_WELL)])
    found = lab.confirmed()
    assert {place: len(guests) for place, guests in found.repeats.items()} == {
        CellKey("machine", "baseline"): 1,
        CellKey("machine", "patched"): 1,
    }
    assert "--repeat" not in report.render(found, "text")
    report.write(lab.opened.path, found)
    assert json.loads((lab.opened.path / "metadata.json").read_text())["confirming"][0]["repeat"] == 2


def test_the_repeats_that_were_asked_for_come_first(tmp_path: Path) -> None:
    twice = [guest(BASE), guest(BASE), guest(AGAIN_BASE)]
    lab = Lab(tmp_path, twice, [guest(BROKE), guest(BROKE), guest(AGAIN_BROKE)], repeat=2)
    found = lab.confirmed()
    assert record(found, "patched", "guard").outcome is Outcome.FAIL
    assert delta(found, "guard") is Delta.REGRESSED


GROW_BASE = ktap_stdout("not ok 1 grow", count=1)
GROW_WELL = ktap_stdout("ok 1 grow", count=1)
WELL = ktap_stdout("ok 1 guard", "ok 2 grow", "ok 3 last")


def test_what_the_baseline_lacks_is_confirmed_while_the_first_guest_runs(tmp_path: Path) -> None:
    lab = Lab(tmp_path, [guest(BASE), guest(GROW_BASE)], [guest(WELL), guest(GROW_WELL)], foreseen=True)
    first = conclude_directory(lab.opened.path)
    assert confirm.again(lab.opened, first, 1) is None, "nothing is left to confirm"
    assert delta(first, "grow") is Delta.FIXED
    assert record(first, "patched", "grow").counts == ((Outcome.PASS, 2),)
    assert record(first, "baseline", "grow").counts == ((Outcome.FAIL, 2),)
    assert record(first, "patched", "guard").counts == (), "it ran once"
    assert {(cell.kernel.name, cell.repeat) for cell in confirm.on_record(lab.opened, first.evidence.metadata)} == {
        ("baseline", 2),
        ("patched", 2),
    }


def test_what_nobody_foresaw_is_confirmed_afterwards(tmp_path: Path) -> None:
    again = [guest(ktap_stdout("ok 1 guard", count=1)), guest(ktap_stdout("not ok 1 guard", count=1))]
    lab = Lab(
        tmp_path, [guest(BASE), guest(GROW_BASE), again[0]], [guest(BROKE), guest(GROW_WELL), again[1]], foreseen=True
    )
    found = lab.confirmed()
    assert (delta(found, "guard"), delta(found, "grow")) == (Delta.REGRESSED, Delta.FIXED)
    assert record(found, "patched", "guard").counts == ((Outcome.FAIL, 2),)
    assert {guest.repeat for guest in found.confirmers} == {2, 3}


def test_a_case_that_was_foreseen_in_vain_is_not_fixed(tmp_path: Path) -> None:
    lab = Lab(tmp_path, [guest(BASE), guest(GROW_BASE)], [guest(BASE), guest(GROW_BASE)], foreseen=True)
    found = lab.confirmed()
    assert delta(found, "grow") is Delta.SAME
    assert record(found, "patched", "grow").outcome is Outcome.FAIL


def test_a_fix_that_shows_once_is_flaky_though_it_was_foreseen(tmp_path: Path) -> None:
    lab = Lab(tmp_path, [guest(BASE), guest(GROW_BASE)], [guest(WELL), guest(GROW_BASE)], foreseen=True)
    assert record(lab.confirmed(), "patched", "grow").outcome is Outcome.FLAKY


def test_nothing_is_foreseen_where_the_patched_kernel_does_not_start(tmp_path: Path) -> None:
    dead = Behaviour(boot_error=BootError("no ready line"))
    lab = Lab(tmp_path, [guest(BASE)], [dead], foreseen=True)
    assert load(lab.opened.path).metadata.confirming == ()
    assert lab.confirmed().exit_code == 1


def test_nothing_is_foreseen_before_the_baseline_has_run(tmp_path: Path) -> None:
    lab = Lab(tmp_path, [guest(BASE)], [guest(WELL)])
    (patched,) = (cell for cell in lab.opened.plan.cells if cell.kernel.name == "patched")
    (baseline,) = (cell for cell in lab.opened.plan.cells if cell.kernel.name == "baseline")
    foresight = Foresight(opened=lab.opened)
    metadata = load(lab.opened.path).metadata
    assert len(foresight.cells(patched, metadata)) == 2
    assert foresight.cells(baseline, metadata) == ()
    (lab.opened.path / "cells/machine/baseline/events.jsonl").write_text("")
    assert foresight.cells(patched, metadata) == ()


@pytest.mark.parametrize("odd", [{"repeat": 1}, {"topology": "../x"}, {"cases": [["demo"]]}])
def test_damaged_metadata_is_refused(tmp_path: Path, odd: dict[str, object]) -> None:
    lab = Lab(tmp_path, [guest(BASE), guest(AGAIN_BASE)], [guest(BROKE), guest(AGAIN_BROKE)])
    lab.confirmed()
    metadata = load(lab.opened.path).metadata
    damaged = {**metadata.document(), "confirming": [{**metadata.confirming[0].document(), **odd}]}
    (lab.opened.path / "metadata.json").write_text(json.dumps(damaged))
    with pytest.raises(InputError, match=r"confirming\.0"):
        load(lab.opened.path)
