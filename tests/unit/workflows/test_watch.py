# SPDX-License-Identifier: GPL-2.0-or-later
"""lab.workflows.watch: a change is tried again when it changed, and only then; uncommitted changes are a change."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lab.core.errors import BuildError, UsageError
from lab.core.outcome import CaseRecord, Expected, Outcome
from lab.formats.patches.mail import MailedPatch, MailedSeries
from lab.verdicts.compare import Summary
from lab.workflows import watch
from lab.workflows.change import UNCOMMITTED, Change, check, read
from lab.workflows.watch import Attempt, Event
from tests.unit.toy import Toy, git


def change(data: bytes, base: str = "git:/tree@1") -> Change:
    return Change(name="x", base=base, series=MailedSeries(patches=(MailedPatch(name="x", data=data),)))


def summary(outcome: Outcome, exit_code: int) -> Summary:
    record = CaseRecord(
        topology="machine",
        kernel="patched",
        scenario="demo",
        case="grow",
        outcome=outcome,
        expected=Expected.PASS,
        met=outcome is Outcome.PASS,
    )
    return cast(Summary, SimpleNamespace(records=(record,), exit_code=exit_code))


class Session:
    """A sequence of edits; what was run and reported."""

    def __init__(self, states: list[Change | Exception], results: list[Summary | Exception]) -> None:
        self.states, self.results = states, results
        self.ran: list[bytes] = []
        self.errors: list[str] = []

    def attempts(self, events: list[Event], programs: list[Path] | None = None) -> list[Attempt]:
        return list(watch.attempts(self._read, programs or [], self._run, self._report, events))

    def _read(self) -> Change:
        state = self.states.pop(0)
        if isinstance(state, Exception):
            raise state
        return state

    def _run(self, found: Change) -> Summary:
        self.ran.append(found.patches[0].data)
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    def _report(self, error: Exception) -> None:
        self.errors.append(str(error))


def edited(path: str) -> Event:
    return {(1, path)}


def test_it_runs_at_once_and_again_after_a_change_alone() -> None:
    session = Session(
        [change(b"one"), change(b"one"), change(b"two")], [summary(Outcome.FAIL, 1), summary(Outcome.PASS, 0)]
    )
    first, second = session.attempts([edited("/tree/a.swp"), edited("/tree/mm/a.c")])
    assert session.ran == [b"one", b"two"]
    assert watch.turned(first, second) == [
        "demo.grow on machine / patched: FAIL -> PASS",
        "exit status 1 -> 0" + watch.BELL,
    ]
    assert watch.turned(first, first) == ["no case has another outcome than before"]


def test_a_tree_without_commits_is_tried_after_every_edit_outside_of_git() -> None:
    state = change(b"one", base="path:/tree")
    session = Session([state] * 3, [summary(Outcome.PASS, 0)] * 2)
    assert len(session.attempts([edited("/tree/.git/index"), edited("/tree/mm/a.c")])) == 2


def test_an_edited_program_is_tried(tmp_path: Path) -> None:
    program = tmp_path / "test.c"
    program.write_text("one")

    def events() -> Iterator[Event]:
        yield edited(str(program))
        program.write_text("two")
        yield edited(str(program))

    session = Session([change(b"one")] * 3, [summary(Outcome.PASS, 0)] * 2)
    assert len(session.attempts(cast(Any, events()), [program])) == 2


def test_an_error_is_reported_once_and_the_next_edit_is_tried() -> None:
    session = Session(
        [UsageError("no such commit"), UsageError("no such commit"), change(b"one"), change(b"two")],
        [BuildError("does not compile"), summary(Outcome.PASS, 0)],
    )
    found = session.attempts([edited("/tree/a"), edited("/tree/a"), edited("/tree/a")])
    assert session.errors == ["no such commit", "does not compile"]
    assert [attempt.exit_code for attempt in found] == [64, BuildError("x").exit_code, 0]


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    toy = Toy.make(tmp_path)
    git(toy.tree, "init", "--quiet", "--initial-branch=main")
    git(toy.tree, "add", "--all")
    git(toy.tree, "commit", "--quiet", "--message", "begin")
    return toy


def test_uncommitted_changes_are_a_patch_on_the_last_commit(toy: Toy) -> None:
    (toy.tree / "mm/count").write_text("edited\n")
    git(toy.tree, "add", "mm/count")
    (toy.tree / "mm/count").write_text("edited again\n")
    (toy.tree / "mm/new").write_text("new\n")
    found = read(UNCOMMITTED, toy.tree)
    check(found, toy.tree)
    assert found.base == f"git:{toy.tree}@{git(toy.tree, 'rev-parse', 'HEAD')}"
    assert b"+edited again\n" in found.patches[0].data
    assert "mm/new; `git add -N FILE` adds one" in found.series.notes[0]
    git(toy.tree, "add", "--intent-to-add", "mm/new")
    again = read(UNCOMMITTED, toy.tree)
    assert b"+new\n" in again.patches[0].data
    assert not again.series.notes


def test_nothing_uncommitted_is_an_error(toy: Toy) -> None:
    with pytest.raises(UsageError, match="has no uncommitted changes"):
        read(UNCOMMITTED, toy.tree)


def test_changes_below_a_directory_are_seen(tmp_path: Path) -> None:
    (tmp_path / "mm").mkdir()
    timer = threading.Timer(1.0, (tmp_path / "mm/a.c").write_text, args=("x",))
    timer.start()
    event = next(watch.changes([tmp_path]))
    timer.join()
    assert any(path.endswith("mm/a.c") for _, path in event)
