# SPDX-License-Identifier: GPL-2.0-or-later
"""What a program told until its lab was stopped or killed: counted while it comes, and on record before it ends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Event
from unittest.mock import Mock

import pytest

from lab.core.outcome import Case, CellStatus, End, Ended, Run
from lab.evidence.console import ConsoleLog
from lab.evidence.read import load
from lab.evidence.write import RunDir
from lab.run import program, resume
from lab.run.program import Execution, ProgramRunner
from lab.specs.plan import Selection
from tests.unit.fixtures.evidence import recorded

CASES = tuple(Case(scenario="demo", name=name) for name in "abc")
BOOKS = b"\nMARK\nShmem: 4\nMARK\n"


class Going:
    """An execution on a disk, and what it said of its progress."""

    def __init__(self, place: Path) -> None:
        metadata = {
            "cells": [{"topology": "machine", "kernel": "patched"}],
            "cases": {"demo": [{"name": case.name} for case in CASES]},
        }
        self.place = place / "run"
        cell = RunDir.create(place, "test", recorded(metadata), output=self.place).cell("machine", "patched")
        cell.finish(CellStatus.OK)
        cell.console.write_text("booting\n")
        self.progress: list[int] = []
        self.at = Execution(
            scenario="demo",
            attempt=1,
            names=(),
            asked=len(CASES),
            mark="MARK",
            measured=lambda books: books,
            evidence=cell,
            console=ConsoleLog(cell.console),
            show=self.progress.append,
            console_from=cell.console.stat().st_size,
        )
        self.cell = cell
        self.at(BOOKS + b"KTAP version 1\n1..3\n")

    @property
    def runs(self) -> Sequence[Run]:
        return load(self.place).cells[0].runs


@pytest.fixture
def going(tmp_path: Path) -> Going:
    return Going(tmp_path)


def test_results_are_counted_line_by_line_however_they_come(going: Going) -> None:
    for piece in (b"# ok 7 comment\n  ok 1 nes", b"ted\nok 1 a", b"\nnot ok 2 b # late\no", b"k 3 c\n"):
        going.at(piece)
    assert going.progress == [2, 3]


def test_what_was_told_is_on_record_before_the_end(going: Going, monkeypatch: pytest.MonkeyPatch) -> None:
    going.at(b"ok 1 a\n")
    assert not going.runs, "a minute has not passed"
    monkeypatch.setattr(program, "CHECKPOINT_S", 0.0)
    going.at(b"# of b\n")
    (run,) = going.runs
    assert (run.end, run.ktap, run.before) == (End.INTERRUPTED, "KTAP version 1\n1..3\nok 1 a\n# of b\n", {"Shmem": 4})
    left = resume.left([run], Selection(scenario="demo"), CASES)
    assert [case.name for case in left] == ["b", "c"]
    assert not resume.finished(load(going.place).cells[0], [Selection(scenario="demo")], {"demo": CASES})


def test_the_last_word_on_an_attempt_counts(going: Going) -> None:
    for line in (b"ok 1 a\n", b"not ok 2 b\n"):
        going.at(line)
        going.at.checkpoint()
    assert [run.ktap.count("ok ") for run in going.runs] == [2]
    assert not going.runs[0].damage


def test_nothing_new_and_nothing_left_are_not_put_on_record(going: Going) -> None:
    journal = going.place / "cells/machine/patched/events.jsonl"
    before = journal.read_bytes()
    going.at.checkpoint()
    going.at(b"ok 1 a\nok 2 b\nok 3 c\n")
    going.at.checkpoint()
    assert journal.read_bytes() == before, "how it ended is what matters now"


def test_a_complaint_between_two_programs_belongs_to_the_second(going: Going, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workqueues and RCU complain late."""
    console = going.cell.console

    guest = Mock(console=ConsoleLog(console), accelerator=Mock(slowdown=1.0))

    def run(said: str, console_from: int) -> str:
        ends = Ended(end=End.EXITED, status=0, stdout=b"KTAP version 1\n1..1\nok 1 a\n", stderr=b"", duration_s=0.1)

        def program_says(*_: object, **__: object) -> Ended:
            _append(console, said)
            return ends

        guest.run.side_effect = program_says
        show = going.progress.append
        return runner.run(
            guest, "demo", CASES[:1], 1, explicit=False, final=False, show=show, console_from=console_from
        ).console

    monkeypatch.setattr(program, "command", lambda *_, **__: "true")
    runner = ProgramRunner(
        topology=Mock(architecture=Mock(bits=64)),
        kernel=Mock(coverage=False),
        config=b"",
        evidence=going.cell,
        stopping=Event(),
    )
    assert run("during\n", console.stat().st_size) == "during\n"
    _append(console, "BUG: late\n")
    assert run("during\n", runner.console_to) == "BUG: late\nduring\n"


def _append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)
