# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/guests/ssh.py: a guest that does not answer is not waited for beyond the deadline; no guest needed."""

from __future__ import annotations

import threading
import time
from typing import Any

import paramiko

from lab.core.deadline import Deadline
from lab.core.outcome import End
from lab.guests.ssh import Connection


class Mute:
    """A connection whose other side takes everything and answers nothing: its sshd was stopped."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def open_session(self, timeout: float) -> Any:
        return self

    def exec_command(self, command: str) -> None:
        assert self.closed.wait(30), "waited for ever"
        raise paramiko.SSHException("Channel closed.")

    def close(self) -> None:
        self.closed.set()


def test_a_request_without_an_answer_ends_at_the_deadline() -> None:
    started = time.monotonic()
    ended = Connection(Mute()).run("true", deadline=Deadline.after(1.0, "test"), limit=100)  # type: ignore[arg-type]
    assert ended.end is End.DEADLINE
    assert time.monotonic() - started < 15
