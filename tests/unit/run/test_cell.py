# SPDX-License-Identifier: GPL-2.0-or-later
"""Which guest a scenario gets: a booted one or a restored one, and what happens when saving or restoring fails."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from lab.core.errors import GuestLost, InfraError
from lab.core.outcome import Case, CaseRecord, Cause, CellResult, CellStatus, End, Mismatch, Outcome, SavedState
from lab.evidence.metadata import KnownLineRecord
from lab.evidence.read import load
from lab.evidence.write import CellDir, RunDir
from lab.run.cell import CellWork
from lab.verdicts import harmless
from lab.verdicts.judge import BOOT, judge_cell
from tests.unit.fakes import BUILD, Behaviour, FakeCell, FakeRestored, NoScreen, a_plan, ended, ktap_stdout
from tests.unit.fixtures.evidence import recorded

ONE = {name: (Case(scenario=name, name="only"),) for name in ("demo", "other", "third")}
PROGRAMS = {name: Path(f"/{name}") for name in ONE}
OK = ended(ktap_stdout("ok 1 only", count=1))
PANIC = ended(ktap_stdout(count=1), End.PANIC, None)


def good(**more: Any) -> Behaviour:
    return Behaviour(runs=[OK, OK, OK], **more)


class Worked:
    """A cell that has been worked on, and what it left."""

    def __init__(self, place: Path, isolation: Literal["fresh", "shared"], built: FakeCell) -> None:
        planned = a_plan(["patched"], isolation, tuple(ONE))
        (cell,) = planned.cells
        metadata = recorded({"cells": [{"topology": "machine", "kernel": "patched"}]})
        run = RunDir.create(place, "test", metadata, output=place / "r")
        evidence: CellDir = run.cell("machine", "patched")
        self.verified: list[tuple[int, int]] = []
        """How often a guest was saved for later labs, and got its programs, when the cell was told to be verified."""
        CellWork(
            cell=cell,
            fresh=isolation == "fresh",
            built=built,
            evidence=evidence,
            cases=ONE,
            screen=NoScreen(),
            stopping=threading.Event(),
            verified=lambda: self.verified.append((built.keeps, built.pushes)),
        ).run()
        lines = (evidence.path / "events.jsonl").read_text().splitlines()
        self.events: list[dict[str, Any]] = [json.loads(line) for line in lines]
        self.result: CellResult = load(run.path).cells[0]
        self.prepared = sum(snapshot.prepared for snapshot in built.snapshots)
        self.guests = built.guests
        assert all(guest.closed for guest in built.guests)
        assert all(snapshot.discarded for snapshot in built.snapshots)

    @property
    def story(self) -> list[str]:
        """What happened, an event a word: boot, restore, save, no-save, or the name of the scenario that ran."""
        words: dict[str, Callable[[dict[str, Any]], str]] = {
            "boot": lambda event: event["how"],
            "save": lambda event: "no-save" if event["note"] else "save",
            "run": lambda event: event["scenario"],
        }
        return [words[event["event"]](event) for event in self.events if event["event"] in words]

    @property
    def notes(self) -> str:
        return " ".join(event["note"] for event in self.events if event["event"] == "save")


Work = Callable[..., Worked]


@pytest.fixture
def work(tmp_path: Path) -> Work:
    def go(
        isolation: Literal["fresh", "shared"],
        *behaviours: Behaviour,
        no_save: str = "",
        kept: Sequence[FakeRestored] = (),
    ) -> Worked:
        built = FakeCell(list(behaviours), provenance=BUILD, programs=PROGRAMS, no_save=no_save, kept=[*kept])
        worked = Worked(tmp_path, isolation, built)
        assert not built.behaviours, "a guest that was expected never came"
        return worked

    return go


def test_fresh_boots_once_and_restores_for_every_further_scenario(work: Work) -> None:
    done = work("fresh", good(), good(), good())
    assert done.story == ["boot", "save", "demo", "restore", "other", "restore", "third"]
    assert done.result.status is CellStatus.OK
    assert done.result.boot_s == 0.5
    assert done.result.restores_s == (0.6, 0.6)
    assert done.prepared == 2, "the next guest is prepared while one works, but not behind the last scenario"


def test_a_cell_is_verified_once_when_a_guest_is_saved_and_before_it_has_programs(work: Work) -> None:
    """Guests that confirm what it fixes are started then."""
    assert work("fresh", good(), good(), good()).verified == [(1, 0)]


def test_a_first_guest_that_does_not_take_its_programs_decides_the_cell(work: Work) -> None:
    done = work("shared", Behaviour(runs=[], push_error=GuestLost("pushing demo failed")))
    assert done.verified == [(1, 0)]
    assert (done.result.status, done.story) == (CellStatus.BROKEN, ["boot"])
    assert "pushing demo failed" in done.result.reason


def test_shared_saves_nothing_while_all_is_well(work: Work) -> None:
    assert work("shared", good()).story == ["boot", "demo", "other", "third"]


def test_what_the_kernel_says_after_the_last_program_is_recorded_with_it(work: Work) -> None:
    """RCU's callbacks complain when the program has ended."""
    done = work("shared", good(console=["one\n", "two\n", "three\n"], last_console="BUG: late\n"))
    assert [run.console for run in done.result.runs] == ["one\n", "two\n", "three\nBUG: late\n"]
    assert [guest.settled for guest in done.guests] == [1]


def test_every_fresh_guest_has_a_last_program(work: Work) -> None:
    late = [Behaviour(runs=[OK], last_console="BUG: late\n") for _ in range(3)]
    done = work("fresh", *late)
    assert [run.console for run in done.result.runs] == ["BUG: late\n"] * 3
    assert [guest.settled for guest in done.guests] == [1, 1, 1]


def test_nothing_is_awaited_of_a_guest_that_is_gone(work: Work) -> None:
    done = work("fresh", Behaviour(runs=[PANIC]), good(), good())
    assert [guest.settled for guest in done.guests] == [0, 1, 1]


def test_shared_saves_the_guest_that_follows_a_crash(work: Work) -> None:
    crash = Behaviour(runs=[PANIC])
    done = work("shared", crash, crash, good())
    assert done.story == ["boot", "demo", "boot", "save", "other", "restore", "third"]
    assert done.prepared == 0, "whether another guest is wanted nobody knows"


def test_after_a_panic_a_fresh_cell_goes_on_in_a_restored_guest(work: Work) -> None:
    done = work("fresh", Behaviour(runs=[PANIC]), good(), good())
    assert done.story == ["boot", "save", "demo", "restore", "other", "restore", "third"]
    assert [run.end for run in done.result.runs] == [End.PANIC, End.EXITED, End.EXITED]


def test_an_emulator_that_cannot_save_boots_every_time(work: Work) -> None:
    done = work("fresh", good(), good(), good(), no_save="it dies")
    assert done.story == ["boot", "no-save", "demo", "boot", "other", "boot", "third"]
    assert done.notes == "it dies"
    assert done.result.status is CellStatus.OK


def test_a_guest_whose_saving_failed_is_not_used(work: Work) -> None:
    done = work("fresh", good(save_error=InfraError("disk full")), good(), good(), good())
    assert done.story == ["boot", "no-save", "boot", "demo", "boot", "other", "boot", "third"]
    assert "disk full" in done.notes
    assert done.result.status is CellStatus.OK


@pytest.mark.parametrize("error", [InfraError("libvirt refuses"), GuestLost("no answer")])
def test_a_guest_that_cannot_be_restored_is_booted_and_that_is_no_verdict(work: Work, error: Exception) -> None:
    done = work("fresh", good(), Behaviour(restore_error=error), good(), good())
    assert done.story == ["boot", "save", "demo", "no-save", "boot", "other", "boot", "third"]
    assert str(error) in done.notes
    assert done.result.status is CellStatus.OK
    assert {run.end for run in done.result.runs} == {End.EXITED}


def test_a_next_guest_that_is_another_machine_runs_nothing(work: Work) -> None:
    wrong = good(mismatches=(Mismatch(fact="page size", asked="4K", got="64K"),))
    done = work("shared", Behaviour(runs=[PANIC]), wrong, good())
    assert done.story == ["boot", "demo", "boot", "other", "boot", "save", "third"]
    assert [run.end for run in done.result.runs] == [End.PANIC, End.NOT_RUN, End.EXITED]
    assert "another machine: page size" in done.result.runs[1].note


def test_a_cell_begins_from_a_guest_that_an_earlier_lab_saved(work: Work) -> None:
    done = work("shared", good(), kept=[FakeRestored()])
    assert done.story == ["restore", "demo", "other", "third"]
    assert done.result.status is CellStatus.OK
    assert done.result.boot_s is None
    assert done.result.accelerator == "tcg"
    assert done.result.saved_guest == SavedState(key="0123456789abcdef", saved="2026-01-02T03:04:05Z")


def test_a_fresh_cell_that_begins_so_saves_the_guest_with_its_programs(work: Work) -> None:
    done = work("fresh", good(), good(), good(), kept=[FakeRestored()])
    assert done.story == ["restore", "save", "demo", "restore", "other", "restore", "third"]


def test_after_a_crash_the_cache_is_asked_again(work: Work) -> None:
    done = work("shared", Behaviour(runs=[PANIC]), good(), kept=[FakeRestored(), FakeRestored()])
    assert done.story == ["restore", "demo", "restore", "save", "other", "third"]


def test_a_saved_guest_that_is_another_machine_is_no_machine_of_the_cell(tmp_path: Path) -> None:
    built = FakeCell([good()], provenance=BUILD, programs=PROGRAMS, kept=[FakeRestored()])
    built.mismatches = (Mismatch(fact="page size", asked="4K", got="64K"),)
    done = Worked(tmp_path, "shared", built)
    assert done.result.status is CellStatus.INVALID
    assert done.story == ["restore"]


def test_a_guest_that_booted_is_kept_and_one_whose_saving_failed_is_not_used(tmp_path: Path) -> None:
    built = FakeCell([good(), good()], provenance=BUILD, programs=PROGRAMS, keep_error=InfraError("it died"))
    done = Worked(tmp_path, "shared", built)
    assert built.keeps == 1
    assert done.story == ["boot", "no-save", "boot", "save", "demo", "other", "third"]
    assert "not kept: it died" in done.notes
    assert done.result.status is CellStatus.OK


def test_the_paper_of_a_cell_is_that_of_the_boot(work: Work, tmp_path: Path) -> None:
    work("fresh", good(), good(), good())
    assert (tmp_path / "r/cells/machine/patched/qemu.args").read_text() == "qemu\n"


BOOT_WARNING = "[    0.100000] WARNING: CPU: 0 PID: 1 at init/own.c:12 own_initcall+0x1/0x2\n"


def boot_records(worked: Worked) -> dict[str, CaseRecord]:
    """The records of the kernel's complaints at boot, by scenario."""
    records = judge_cell(worked.result, ONE, frozenset())
    return {record.scenario: record for record in records if record.case == BOOT}


@pytest.mark.parametrize("kept", [False, True])
def test_a_complaint_at_boot_is_judged_before_the_first_scenario(work: Work, kept: bool) -> None:
    """Of a guest that was saved in the cache, too: what it had printed is on the console."""
    worked = work("shared", good(boot_console=BOOT_WARNING), kept=[FakeRestored()] if kept else [])
    assert [bool(run.boot_console) for run in worked.result.runs] == [True, False, False]
    (record,) = boot_records(worked).values()
    assert (record.scenario, record.outcome, record.cause) == ("demo", Outcome.CRASH, Cause.WARNING)
    assert record.reason.startswith("the kernel complained while it booted: ")
    assert "own_initcall" in record.reason


def test_each_guest_that_boots_is_judged(work: Work) -> None:
    crash = Behaviour(runs=[PANIC], boot_console="booting without a complaint\n")
    worked = work("shared", crash, good(boot_console=BOOT_WARNING), no_save="it cannot")
    assert [run.scenario for run in worked.result.runs if run.boot_console] == ["other"]


def test_what_is_known_to_be_harmless_is_so_at_boot(work: Work) -> None:
    worked = work("shared", good(boot_console=BOOT_WARNING))
    known = (KnownLineRecord(line="WARNING: * at init/own.c:*", reason="own"),)
    assert [record.case for record in judge_cell(worked.result, ONE, frozenset(), known=known)] == ["only"] * 3
    (found,) = harmless.complaints(worked.result, known)
    assert (found.scenario, found.count) == ("demo", 1)


def test_a_boot_without_a_complaint_is_not_read_again(work: Work) -> None:
    worked = work("shared", good(boot_console="[    0.100000] Kernel command line: quiet\n"))
    assert not any(run.boot_console for run in worked.result.runs)
    assert all("console_to" not in event for event in worked.events if event["event"] == "boot")


def test_what_is_printed_after_the_boot_belongs_to_the_first_program(work: Work) -> None:
    """A new guest's boot is no program's, whatever guest ran the last one."""
    crash = Behaviour(runs=[PANIC], boot_console="first boot\n", late_console="first late\n")
    worked = work(
        "shared", crash, good(boot_console="second boot\n", late_console="second late\n"), no_save="it cannot"
    )
    first, second, third = worked.result.runs
    assert (first.console, second.console, third.console) == ("first late\n", "second late\n", "")
