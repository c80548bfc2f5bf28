# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/verbs/running.py: a run is reported however it ends, and a kept guest is offered until `end`."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import click
import pytest

from lab.core.errors import InfraError
from lab.run import campaign
from lab.verbs import running

OPENED = cast(Any, SimpleNamespace(path="results/x"))
SUMMARY = SimpleNamespace(exit_code=1)


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happens, in its order; nothing is run."""
    happened: list[str] = []

    def report_run(_opened: object) -> object:
        happened.append("report")
        return SUMMARY

    monkeypatch.setattr(running, "report_run", report_run)
    monkeypatch.setattr(running, "keep_evidence", lambda *_: None)
    monkeypatch.setattr(running, "offer_guest", lambda factory, kept: happened.append("offer"))
    return happened


def execute_with(monkeypatch: pytest.MonkeyPatch, body: Callable[[Any], None]) -> None:
    def execute(*_: object, afterwards: Any, **__: object) -> tuple[str, ...]:
        body(afterwards)
        return ()

    monkeypatch.setattr(campaign, "execute", execute)


def test_a_run_is_reported_and_its_verdicts_returned(events: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    execute_with(monkeypatch, lambda afterwards: events.append(f"execute {afterwards}"))
    assert running.finish(OPENED, cast(Any, None), None) is cast(Any, SUMMARY)
    assert events == ["execute None", "report"]


def test_what_reports_need_is_loaded_while_the_run_works(events: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = threading.Event()
    monkeypatch.setattr("lab.report.registry.files", loaded.set)
    execute_with(monkeypatch, lambda _: events.append(f"loaded: {loaded.wait(20)}"))
    running.finish(OPENED, cast(Any, None), None)
    assert events == ["loaded: True", "report"]


def test_a_kept_guest_is_offered_behind_the_only_report(events: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    execute_with(monkeypatch, lambda afterwards: afterwards(None, None))
    assert running.finish(OPENED, cast(Any, None), None, keep=True) is cast(Any, SUMMARY)
    assert events == ["report", "offer"]


def test_an_interrupted_run_is_reported_and_ends_with_130(
    events: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_afterwards: object) -> None:
        raise KeyboardInterrupt

    aborted = []
    monkeypatch.setattr("lab.core.proc.abort", lambda: aborted.append(True))
    execute_with(monkeypatch, interrupted)
    with pytest.raises(click.exceptions.Exit) as caught:
        running.finish(OPENED, cast(Any, None), None)
    assert caught.value.exit_code == 130
    assert events == ["report"]
    assert aborted == [True]
    assert capsys.readouterr().err == "lab: interrupted; the results so far are saved\n"


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], int]]:
    """Puts bytes into stdin, which ends behind them; returns its descriptor."""
    opened = []

    def put(text: bytes) -> int:
        reader, writer = os.pipe()
        os.write(writer, text)
        os.close(writer)
        opened.append(reader)
        monkeypatch.setattr("sys.stdin", SimpleNamespace(fileno=lambda: reader))
        return reader

    yield put
    for descriptor in opened:
        os.close(descriptor)


def test_a_line_is_read_and_not_a_byte_more(typed: Callable[[bytes], int]) -> None:
    reader = typed(b" shell \nexit\n")
    assert running.typed_line() == "shell"
    assert os.read(reader, 100) == b"exit\n"


@pytest.mark.parametrize(("text", "line"), [(b"", None), (b"\n", ""), (b"end", "end"), (b"\xff\n", "\ufffd")])
def test_the_end_of_stdin_is_no_line(typed: Callable[[bytes], int], text: bytes, line: str | None) -> None:
    typed(text)
    assert running.typed_line() == line


def test_actions_are_carried_out_until_the_answer_is_end(
    typed: Callable[[bytes], int], capsys: pytest.CaptureFixture[str]
) -> None:
    done = []

    def fail() -> None:
        done.append("gdb")
        raise InfraError("no gdb", hint="install it")

    typed(b"shell\nunknown\n\ngdb\nshell\nend\nshell\n")
    running.answer_until_end({"shell": lambda: done.append("shell"), "gdb": fail})
    assert done == ["shell", "gdb", "shell"]
    printed = capsys.readouterr().err
    assert printed.count("lab: shell, gdb or end? ") == 6
    assert "lab: no gdb (install it)\n" in printed


def test_nobody_is_asked_when_stdin_has_ended(typed: Callable[[bytes], int]) -> None:
    typed(b"")
    running.answer_until_end({"shell": lambda: pytest.fail("nobody asked for it")})
