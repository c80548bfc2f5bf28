# SPDX-License-Identifier: GPL-2.0-or-later
"""vm.py: whether a guest ended by its own doing or its emulator was killed, seen at once; no libvirt needed."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

libvirt = pytest.importorskip("libvirt")

from lab.guests import vm  # noqa: E402
from lab.guests.vm import Domain  # noqa: E402


class Handle:
    """libvirt's idea of a domain, which lags behind."""

    def __init__(self) -> None:
        self.said = libvirt.VIR_DOMAIN_RUNNING

    def state(self) -> tuple[int, int]:
        return self.said, 0


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """Something with a domain's name on its command line."""
    with subprocess.Popen(["sh", "-c", "sleep 60; exit", "guest=toy,debug=on"], start_new_session=True) as running:
        # exec closes the pipe that Popen waits for a moment before the new command line can be read.
        until = time.monotonic() + 10
        while not Path(f"/proc/{running.pid}/cmdline").read_bytes() and time.monotonic() < until:
            time.sleep(0.001)
        yield running
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)


def domain(process: subprocess.Popen[bytes], **changes: Any) -> Domain:
    return Domain(name="toy", handle=Handle(), pid=process.pid, **changes)


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def test_an_emulator_that_was_killed_is_seen_before_libvirt_sees_it(process: subprocess.Popen[bytes]) -> None:
    guest = domain(process)
    assert guest.alive()
    assert not guest.emulator_died()
    kill(process)
    assert not guest.alive()
    assert guest.emulator_died()


def test_a_guest_that_ended_itself_is_no_dead_emulator(process: subprocess.Popen[bytes]) -> None:
    guest = domain(process)
    guest.handle.said = libvirt.VIR_DOMAIN_SHUTDOWN
    kill(process)
    assert not guest.alive()
    assert not guest.emulator_died()


def test_libvirts_word_counts_where_there_is_no_process_to_see() -> None:
    failed: set[str] = set()
    guest = Domain(name="toy", handle=Handle(), pid=None, _failed=failed)
    assert not guest.emulator_died()
    failed.add("toy")
    assert guest.emulator_died()


def test_a_stopped_emulator_is_known(process: subprocess.Popen[bytes]) -> None:
    guest = domain(process)
    assert not guest.stopped()
    process.send_signal(signal.SIGSTOP)
    until = time.monotonic() + 10
    while not guest.stopped() and time.monotonic() < until:
        time.sleep(0.01)
    assert guest.stopped()
    assert guest.alive()


def test_registers_of_an_emulator_that_does_not_answer_are_not_waited_for(
    process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = threading.Event()

    def command(_handle: object, text: str, _flags: int) -> str:
        if not answer.wait(10):
            raise AssertionError("asked for ever")
        return text

    monkeypatch.setattr("libvirt_qemu.qemuMonitorCommand", command)
    monkeypatch.setattr(vm, "REGISTERS_S", 0.01)
    assert domain(process).registers() == ""
    answer.set()
    monkeypatch.setattr(vm, "REGISTERS_S", 10.0)
    assert domain(process).registers() == "info registers -a"


def test_registers_of_a_guest_that_has_ended_are_empty(
    process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def command(*_: object) -> str:
        raise libvirt.libvirtError("domain is not running")

    monkeypatch.setattr("libvirt_qemu.qemuMonitorCommand", command)
    assert domain(process).registers() == ""
