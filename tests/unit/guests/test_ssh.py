# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/guests/ssh.py: a guest that does not answer is not waited for beyond the deadline; no guest needed."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any, cast

import paramiko

from lab.core.deadline import Deadline
from lab.core.outcome import End
from lab.guests.ssh import Connection, _feed


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


class Reader:
    """A command that reads `wanted` chunks of its input, then ends."""

    def __init__(self, wanted: int) -> None:
        self.wanted, self.read, self.at_end = wanted, b"", False

    def sendall(self, data: bytes) -> None:
        if not self.wanted:
            raise OSError("Socket is closed")
        self.wanted -= 1
        self.read += data

    def shutdown_write(self) -> None:
        self.at_end = True


def test_a_command_reads_a_file_of_this_host_to_its_end(tmp_path: Path) -> None:
    content = bytes(range(256)) * 1000
    (tmp_path / "input").write_bytes(content)
    reader = Reader(100)
    with (tmp_path / "input").open("rb") as file:
        _feed(cast(Any, reader), file.fileno())
    assert reader.read == content
    assert reader.at_end


def test_a_command_that_ends_without_reading_is_no_error(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"x")
    reader = Reader(0)
    _feed(cast(Any, reader), reading)
    assert not reader.at_end
    os.close(reading)
    os.close(writing)
