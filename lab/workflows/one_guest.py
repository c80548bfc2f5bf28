# SPDX-License-Identifier: GPL-2.0-or-later
"""One guest for one purpose: a program pushed and run in it (`lab exec`), or a shell (`lab shell`)."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from lab.build import programs
from lab.core.deadline import Deadline
from lab.core.errors import GuestLost, InfraError
from lab.core.outcome import End
from lab.guests.factory import BootableCell, GuestFactory
from lab.guests.guest import DIRECTORY, Guest

MAX_OUTPUT = 1 << 30


def execute(factory: GuestFactory, ready: BootableCell, program: str, args: Sequence[str], *, timeout_s: float) -> int:
    """Run a program in a fresh guest, its output to ours as it comes; its exit status (128+N: killed by signal N).

    A file of that name here is pushed and run, a C file compiled for the guest first; anything else is a command of the
    guest. GuestLost when the program did not end by itself.
    """
    local = Path(program)
    if local.suffix == ".c" and local.is_file():
        local = programs.compile_one(ready.topology.architecture, local, factory.workshop.cache)
    with one_guest(factory, ready) as guest:
        if local.is_file():
            guest.push({local.name: local})
            program = f"{DIRECTORY}/{local.name}"
        ended = guest.run(
            shlex.join([program, *args]),
            deadline=Deadline.after(timeout_s, program, scale=guest.accelerator.slowdown),
            limit=MAX_OUTPUT,
            keep=False,
            on_stdout=lambda data: _pass_on(sys.stdout, data),
            on_stderr=lambda data: _pass_on(sys.stderr, data),
        )
        if ended.end is not End.EXITED or ended.status is None:
            last = "\n".join(guest.console.text(max(0, guest.console.size() - 2000)).splitlines()[-12:])
            raise GuestLost(f"{program}: {ended.end}{f', {ended.note}' if ended.note else ''}; console:\n{last}")
        return ended.status


def shell(factory: GuestFactory, ready: BootableCell) -> int:
    """An interactive shell in a fresh guest; its exit status."""
    with one_guest(factory, ready) as guest:
        return guest.connection.shell()


@contextmanager
def one_guest(factory: GuestFactory, ready: BootableCell) -> Iterator[Guest]:
    """A verified guest, ended afterwards."""
    guest = ready.boot(factory.scratch / "console.log")
    try:
        mismatches = ready.verify(guest.facts())
        if mismatches:
            raise InfraError(f"the guest is not the machine asked for: {'; '.join(map(str, mismatches))}")
        yield guest
    finally:
        guest.close()


def _pass_on(stream: TextIO, data: bytes) -> None:
    stream.buffer.write(data)
    stream.buffer.flush()
