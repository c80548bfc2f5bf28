# SPDX-License-Identifier: GPL-2.0-or-later
"""The runner over a fake guest: how each way of ending, being lost or being another machine becomes a verdict."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from lab.core.errors import BootError, BuildError, DiskFull, GuestLost, InfraError, LabError, LibvirtError, UsageError
from lab.core.outcome import CellKey, End, Mismatch, Outcome, Run
from lab.core.progress import Progress
from lab.evidence.metadata import Provenance
from lab.evidence.read import load
from lab.evidence.write import RunDir
from lab.run import campaign
from lab.run.cell import reusable
from lab.run.runner import Runner
from lab.run.this_host import ThisHost
from lab.specs.model import CampaignSpec, Kernel, Topology
from lab.specs.plan import Cell, Selection, plan, repeated
from lab.verdicts.compare import Summary, conclude
from tests.unit.fakes import (
    BASE,
    BUILD,
    CASES,
    GOOD,
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

Play = Callable[..., Summary]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Run a campaign over scripted guests and give its summary, as `lab report` would."""

    def go(
        isolation: Literal["fresh", "shared"] = "shared",
        repeat: int = 1,
        kept: Mapping[str, Sequence[Run]] | None = None,
        builds: Mapping[CellKey, Provenance] | None = None,
        output: str = "run",
        **behaviours: list[Behaviour] | LabError,
    ) -> Summary:
        planned = a_plan(list(behaviours), isolation)
        built: dict[str, FakeCell | LabError] = {}
        for name, each in behaviours.items():
            provenance = BUILD.changed(series_sha256=name, build_id=name)
            built[name] = each if isinstance(each, LabError) else FakeCell(each, provenance=provenance)
        metadata = campaign.describe(planned, CASES).changed(repeat=repeat)
        run_dir = RunDir.create(tmp_path, "test", metadata, output=tmp_path / output)
        for name, runs in (kept or {}).items():
            for run in runs:
                topology, _, kernel = name.partition("/")
                run_dir.cell(topology, kernel).run(run)
        runner = Runner(
            plan=repeated(planned, repeat),
            place=ThisHost(shop=FakeFactory(built), budget=PACKING.budget),
            run_dir=run_dir,
            metadata=metadata,
            cases=CASES,
            screen=NoScreen(),
            packing=PACKING,
            kept=kept or {},
            builds=dict(builds or {}),
        )
        runner.run()
        for made in built.values():
            if isinstance(made, FakeCell):
                assert all(guest.closed for guest in made.guests)
                assert all(snapshot.discarded for snapshot in made.snapshots)
        return conclude(load(run_dir.path))

    return go


def outcomes(summary: Summary, kernel: str) -> dict[str, Outcome]:
    return {record.case: record.outcome for record in summary.records if record.kernel == kernel}


def reason(summary: Summary, case: str) -> str:
    return next(record.excerpt for record in summary.records if record.case == case)


GOOD_GUEST = [Behaviour(runs=[ended(GOOD)])]
BASE_GUEST = [Behaviour(runs=[ended(BASE, status=1)])]


def test_fixed(play: Play) -> None:
    summary = play(baseline=list(BASE_GUEST), patched=list(GOOD_GUEST))
    assert outcomes(summary, "baseline") == {"guard": Outcome.PASS, "grow": Outcome.FAIL, "last": Outcome.PASS}
    assert outcomes(summary, "patched") == dict.fromkeys(("guard", "grow", "last"), Outcome.PASS)
    assert summary.exit_code == 0


def test_a_case_without_power_fails_the_campaign(play: Play) -> None:
    summary = play(baseline=list(GOOD_GUEST), patched=list(GOOD_GUEST))
    assert summary.exit_code == 1
    assert [record.case for record in summary.no_power] == ["grow"]


def test_regression(play: Play) -> None:
    worse = ktap_stdout("not ok 1 guard", "ok 2 grow", "ok 3 last")
    summary = play(baseline=list(BASE_GUEST), patched=[Behaviour(runs=[ended(worse, status=1)])])
    assert summary.exit_code == 1
    assert [record.case for record in summary.not_met] == ["guard"]


def test_panic_in_the_middle_is_a_crash_and_the_rest_runs_in_the_next_guest(play: Play) -> None:
    first = Behaviour(runs=[ended(ktap_stdout("ok 1 guard"), End.PANIC, None)], console=[PANIC_CONSOLE])
    second = Behaviour(runs=[ended(ktap_stdout("ok 1 last", count=1))])
    summary = play(patched=[first, second])
    assert outcomes(summary, "patched") == {"guard": Outcome.PASS, "grow": Outcome.CRASH, "last": Outcome.PASS}
    assert "panic" in reason(summary, "grow").lower()
    assert "Fatal exception" in reason(summary, "grow")
    assert summary.exit_code == 1


def test_a_run_that_was_stopped_goes_on_behind_what_had_been_told(play: Play) -> None:
    told = Run(scenario="demo", end=End.INTERRUPTED, ktap=ktap_stdout("not ok 1 guard").decode())
    second = Behaviour(runs=[ended(ktap_stdout("ok 1 grow", "ok 2 last", count=2))])
    summary = play(patched=[second], kept={"machine/patched": [told]})
    assert outcomes(summary, "patched") == {"guard": Outcome.FAIL, "grow": Outcome.PASS, "last": Outcome.PASS}
    assert summary.exit_code == 1


def test_lost_connection_is_the_labs_trouble(play: Play) -> None:
    first = Behaviour(runs=[ended(ktap_stdout("ok 1 guard"), End.LOST, None, "EOFError")])
    summary = play(patched=[first, Behaviour(runs=[ended(ktap_stdout("ok 1 last", count=1))])])
    assert outcomes(summary, "patched")["grow"] is Outcome.BROKEN
    assert "SSH connection" in reason(summary, "grow")
    assert summary.exit_code == 2


def test_dead_emulator(play: Play) -> None:
    first = Behaviour(runs=[ended(ktap_stdout("ok 1 guard"), End.QEMU_DEAD, None)])
    summary = play(patched=[first, Behaviour(runs=[ended(ktap_stdout("ok 1 last", count=1))])])
    assert outcomes(summary, "patched")["grow"] is Outcome.BROKEN
    assert "emulator" in reason(summary, "grow")


def test_deadline_is_a_hang_of_the_case_that_ran(play: Play) -> None:
    first = Behaviour(runs=[ended(ktap_stdout("ok 1 guard"), End.DEADLINE, None, "silent for 15 s")])
    summary = play(patched=[first, Behaviour(runs=[ended(ktap_stdout("ok 1 last", count=1))])])
    assert outcomes(summary, "patched") == {"guard": Outcome.PASS, "grow": Outcome.HANG, "last": Outcome.PASS}
    assert "silent" in reason(summary, "grow")
    assert summary.exit_code == 1


def test_flood_is_cut_off(play: Play) -> None:
    summary = play(patched=[Behaviour(runs=[ended(ktap_stdout("ok 1 guard") + b"x" * 10000, End.FLOODED, None)])])
    assert outcomes(summary, "patched")["grow"] is Outcome.BROKEN
    assert "flood" in reason(summary, "grow")


def test_killed_by_a_signal(play: Play) -> None:
    first = Behaviour(runs=[ended(ktap_stdout("ok 1 guard"), status=139), ended(ktap_stdout("ok 1 last", count=1))])
    summary = play(patched=[first])
    assert outcomes(summary, "patched")["grow"] in (Outcome.CRASH, Outcome.BROKEN)
    assert summary.exit_code != 0


def test_missing_plan(play: Play) -> None:
    summary = play(patched=[Behaviour(runs=[ended(b"sh: not found\n", status=127)])])
    assert set(outcomes(summary, "patched").values()) == {Outcome.BROKEN}
    assert "no plan line" in reason(summary, "guard")
    assert summary.exit_code == 2


def test_plan_with_too_few_lines(play: Play) -> None:
    summary = play(patched=[Behaviour(runs=[ended(ktap_stdout("ok 1 guard", "ok 2 grow"))])])
    assert outcomes(summary, "patched")["last"] is Outcome.BROKEN
    assert "2 of 3" in reason(summary, "last")


def test_a_case_that_nobody_declared(play: Play) -> None:
    forged = ktap_stdout("ok 1 guard", "ok 2 grow", "ok 3 last", "ok 4 forged", count=4)
    summary = play(patched=[Behaviour(runs=[ended(forged)])])
    assert outcomes(summary, "patched")["forged"] is Outcome.BROKEN
    assert summary.exit_code == 2


def test_a_kernel_warning_under_a_green_run_is_not_green(play: Play) -> None:
    warning = (
        "[    5.000000] ------------[ cut here ]------------\n"
        "[    5.000000] WARNING: CPU: 1 PID: 77 at mm/shmem.c:1234 shmem_grow+0x10/0x20\n"
        "[    5.000000] ---[ end trace 0000000000000000 ]---\n"
    )
    summary = play(patched=[Behaviour(runs=[ended(GOOD)], console=[warning])])
    assert outcomes(summary, "patched")["console"] is Outcome.CRASH
    assert summary.exit_code == 1


def test_another_machine_is_invalid_and_nothing_runs(play: Play) -> None:
    liar = Behaviour(mismatches=(Mismatch(fact="page_size", asked="64K", got="4K"),))
    summary = play(baseline=list(BASE_GUEST), patched=[liar])
    assert set(outcomes(summary, "patched").values()) == {Outcome.BROKEN}
    assert "asked 64K, got 4K" in reason_of(summary, "patched", "grow")
    assert summary.exit_code == 2


def reason_of(summary: Summary, kernel: str, case: str) -> str:
    return next(each.excerpt for each in summary.records if (each.kernel, each.case) == (kernel, case))


def test_a_kernel_that_does_not_boot_is_a_finding(play: Play) -> None:
    dead = Behaviour(boot_error=BootError("machine: the kernel died", excerpt="VFS: unable to mount root"))
    summary = play(baseline=list(BASE_GUEST), patched=[dead])
    assert set(outcomes(summary, "patched").values()) == {Outcome.BROKEN}
    assert "unable to mount root" in reason_of(summary, "patched", "grow")
    assert summary.exit_code == 1
    cell = Path(summary.evidence.source) / "cells" / "machine" / "patched"
    assert all((cell / name).exists() for name in ("domain.xml", "reproduce.sh", "config", "console.log"))


def test_ssh_that_fails_once_is_tried_again(play: Play) -> None:
    deaf = Behaviour(facts_error=GuestLost("no answer"))
    summary = play(patched=[deaf, *GOOD_GUEST])
    assert outcomes(summary, "patched")["grow"] is Outcome.PASS
    assert summary.exit_code == 0


def test_ssh_that_fails_always_is_broken(play: Play) -> None:
    summary = play(patched=[Behaviour(facts_error=GuestLost("no answer")) for _ in range(2)])
    assert set(outcomes(summary, "patched").values()) == {Outcome.BROKEN}
    assert "no answer" in reason(summary, "grow")
    assert summary.exit_code == 2


def test_libvirt_that_refuses_is_broken(play: Play) -> None:
    summary = play(patched=[Behaviour(boot_error=InfraError("libvirt cannot start machine"))])
    assert summary.exit_code == 2
    assert "libvirt" in reason(summary, "grow")


def test_a_build_that_fails_breaks_its_cells_only(play: Play) -> None:
    failed = BuildError("make failed", excerpt="mm/shmem.c:7:1: error: expected ';'")
    summary = play(baseline=list(BASE_GUEST), patched=failed)
    assert outcomes(summary, "baseline")["grow"] is Outcome.FAIL
    assert set(outcomes(summary, "patched").values()) == {Outcome.BROKEN}
    assert "expected ';'" in reason_of(summary, "patched", "grow")
    assert summary.exit_code == 2


def test_setup_errors_and_skips_are_no_failures_of_the_kernel(play: Play) -> None:
    said = ktap_stdout("ok 1 guard # SKIP needs 2 nodes, has 1", "not ok 2 grow # ERROR mmap: ENOMEM", "ok 3 last")
    summary = play(patched=[Behaviour(runs=[ended(said, status=1)])])
    assert outcomes(summary, "patched") == {"guard": Outcome.SKIP, "grow": Outcome.BROKEN, "last": Outcome.PASS}
    assert summary.exit_code == 2


def test_a_crash_on_the_baseline_is_no_expected_failure(play: Play) -> None:
    said = ktap_stdout("ok 1 guard", "not ok 2 grow # CRASH signal=7 (SIGBUS)", "ok 3 last")
    summary = play(baseline=[Behaviour(runs=[ended(said, status=1)])], patched=list(GOOD_GUEST))
    assert outcomes(summary, "baseline")["grow"] is Outcome.CRASH
    assert summary.exit_code == 1


def test_a_hung_task_costs_the_guest(play: Play) -> None:
    stuck = ktap_stdout("ok 1 guard", "not ok 2 grow # TIMEOUT state=D after 5000 ms", "ok 3 last")
    summary = play("shared", patched=[Behaviour(runs=[ended(stuck, status=1)])])
    assert outcomes(summary, "patched")["grow"] is Outcome.HANG


def test_a_defect_of_the_lab_is_broken_and_is_raised(play: Play, tmp_path: Path) -> None:
    with pytest.raises(IndexError):
        play(patched=[Behaviour(runs=[])])
    summary = conclude(load(tmp_path / "run"))
    assert summary.exit_code == 2


def test_a_shared_guest_serves_several_runs(play: Play) -> None:
    lost = ended(ktap_stdout("ok 1 guard"), status=139)
    rest = ended(ktap_stdout("ok 1 last", count=1))
    shared = play("shared", patched=[Behaviour(runs=[lost, rest])])
    assert outcomes(shared, "patched")["last"] is Outcome.PASS


def test_a_fresh_guest_for_every_run(play: Play) -> None:
    lost = ended(ktap_stdout("ok 1 guard"), status=139)
    rest = ended(ktap_stdout("ok 1 last", count=1))
    fresh = play("fresh", patched=[Behaviour(runs=[lost]), Behaviour(runs=[rest])])
    assert outcomes(fresh, "patched")["last"] is Outcome.PASS


# Memory.


def test_what_comes_back_a_little_later_is_no_leak(play: Play) -> None:
    summary = play(patched=[Behaviour(runs=[ended(GOOD)], books=[1000, 9000, 9000, 1000])])
    assert summary.exit_code == 0
    (run,) = summary.evidence.cells[0].runs
    assert (run.before, run.after) == (
        {"Shmem": 1000, "page_kB": 4, "cpus": 1},
        {"Shmem": 1000, "page_kB": 4, "cpus": 1},
    )


def test_what_does_not_come_back_is_a_leak_and_costs_the_guest(play: Play) -> None:
    summary = play(patched=[Behaviour(runs=[ended(GOOD)], books=[1000, 9000, 9000, 9000, 9000])])
    assert outcomes(summary, "patched")["leak"] is Outcome.LEAK
    assert "Shmem +8000 kB" in reason(summary, "leak")
    assert summary.exit_code == 1
    assert not reusable(summary.evidence.cells[0].runs[0])


# Repeats, and runs that were killed.


def test_every_repeat_has_a_guest_of_its_own(play: Play) -> None:
    worse = ktap_stdout("ok 1 guard", "not ok 2 grow", "ok 3 last")
    guests = [Behaviour(runs=[ended(said, status=status)]) for said, status in ((GOOD, 0), (worse, 1), (GOOD, 0))]
    summary = play(repeat=3, patched=guests)
    assert outcomes(summary, "patched") == {"guard": Outcome.PASS, "grow": Outcome.FLAKY, "last": Outcome.PASS}
    assert "repeats do not agree: 2 PASS, 1 FAIL" in reason(summary, "grow")
    assert summary.exit_code == 1
    assert [cell.repeat for cell in summary.evidence.cells] == [1, 2, 3]


def test_a_case_that_is_flaky_on_one_kernel_is_not_fixed(play: Play) -> None:
    worse = ktap_stdout("ok 1 guard", "not ok 2 grow", "ok 3 last")
    patched = [Behaviour(runs=[ended(said, status=status)]) for said, status in ((GOOD, 0), (worse, 1))]
    summary = play(repeat=2, baseline=[*BASE_GUEST, *BASE_GUEST], patched=patched)
    assert {delta.case: delta.delta.value for delta in summary.deltas()}["grow"] == "no verdict"


def test_a_killed_run_goes_on_behind_what_counts(play: Play) -> None:
    """The lab died after the kernel had: the case that killed it is not run again, the one behind it is."""
    before = Run(scenario="demo", end=End.PANIC, ktap=ktap_stdout("ok 1 guard").decode(), console=PANIC_CONSOLE)
    guest = Behaviour(runs=[ended(ktap_stdout("ok 1 last", count=1))])
    summary = play(kept={"machine/patched": [before]}, patched=[guest])
    assert outcomes(summary, "patched") == {"guard": Outcome.PASS, "grow": Outcome.CRASH, "last": Outcome.PASS}
    assert [run.cases for run in summary.evidence.cells[0].runs] == [(), ("last",)]


def test_another_kernel_than_the_one_on_record_is_refused(play: Play) -> None:
    with pytest.raises(UsageError, match="machine/patched: another kernel: recorded old, now "):
        play(builds={CellKey("machine", "patched"): Provenance(key="old")}, patched=list(GOOD_GUEST))


def test_a_failure_of_the_lab_has_its_cause(play: Play) -> None:
    causes = {
        "disk-full": DiskFull("disk full while writing x"),
        "libvirt": LibvirtError("libvirt is gone"),
        "build": BuildError("make failed"),
    }
    for number, (cause, error) in enumerate(causes.items()):
        broken: LabError | list[Behaviour] = error if cause == "build" else [Behaviour(boot_error=error)]
        summary = play(output=f"run-{number}", patched=broken)
        assert {record.cause.value for record in summary.records} == {cause}


@dataclass
class Meeting:
    """A factory whose builds wait for one another, and end in an error; one that is asked for twice takes longer."""

    barrier: threading.Barrier
    met: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    twice: threading.Event = field(default_factory=threading.Event)
    overtaken: bool = False
    """Whether a cell's turn came while its kernel was still being built ahead of it."""

    def prepare(self, cell: Cell, _: Progress) -> FakeCell:
        name = cell.topology.name
        is_first = name not in self.asked
        self.asked.append(name)
        if not is_first:
            self.twice.set()
        else:
            with suppress(threading.BrokenBarrierError):
                self.barrier.wait(0.5)
                self.met.append(name)
                self.overtaken = name == "arm" and self.twice.wait(10)
        raise BuildError(f"no kernel for {name}")

    def abort(self) -> None:
        pass


@pytest.mark.parametrize("incremental", [True, False])
def test_a_small_build_is_begun_beside_one_of_the_same_files(tmp_path: Path, incremental: bool) -> None:
    made: list[Topology] = []
    for name, arch in (("pc", "x86_64"), ("arm", "arm64")):
        made.append(Topology.model_validate({"name": name, "arch": arch, "page_size": "4K", "memory": "256M"}))
    spec = CampaignSpec(name="test", topologies=("pc", "arm"), kernels=("patched",))
    planned = plan(spec, made, [Kernel(name="patched", source="tarball:x")], [Selection(scenario="demo")])
    metadata = campaign.describe(planned, CASES)
    run_dir = RunDir.create(tmp_path, "test", metadata, output=tmp_path / "run")
    shop = Meeting(threading.Barrier(2))
    runner = Runner(
        plan=planned,
        place=ThisHost(shop=shop, budget=PACKING.budget),
        run_dir=run_dir,
        metadata=metadata,
        cases=CASES,
        screen=NoScreen(),
        packing=PACKING,
        to_build=planned.builds,
        incremental=planned.builds if incremental else (),
    )
    runner.run()
    assert sorted(shop.met) == (["arm", "pc"] if incremental else [])
    assert shop.asked[-1] == "arm", "what was built ahead is asked for at its turn"
    assert shop.overtaken is incremental
    cells = load(run_dir.path).cells
    assert [cell.reason for cell in cells] == ["no kernel for pc", "no kernel for arm"]


def test_environment_of_the_program(play: Play, tmp_path: Path) -> None:
    built = FakeCell(list(GOOD_GUEST), provenance=BUILD)
    planned = a_plan(["patched"])
    metadata = campaign.describe(planned, CASES)
    run_dir = RunDir.create(tmp_path, "test", metadata, output=tmp_path / "run")
    Runner(
        plan=planned,
        place=ThisHost(shop=FakeFactory({"patched": built}), budget=PACKING.budget),
        run_dir=run_dir,
        metadata=metadata,
        cases=CASES,
        screen=NoScreen(),
        packing=PACKING,
    ).run()
    (command,) = built.commands
    assert "LAB_FEATURES=shm-expand" in command
    assert "LAB_TIMEOUT_SCALE=1" in command
    assert "LAB_CLOCK=none" in command, "time under TCG is no measure"
    assert " /lab/demo; " in command
