# SPDX-License-Identifier: GPL-2.0-or-later
"""Fetch the gcov counters that a program's cases have left in a guest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from lab.core.deadline import Deadline
from lab.core.errors import InfraError
from lab.core.outcome import End, Ended
from lab.evidence.events import MAX_FILE
from lab.formats import gcov

CHUNK = 2 << 20
"""Bytes of one transfer; a guest's output is bounded at twice that."""
TRANSFER_S = 60.0
"""For one chunk, on real hardware."""


class Runs(Protocol):
    """A guest in which a command can be run."""

    def run(
        self,
        command: str,
        *,
        deadline: Deadline,
        silence_s: float | None = None,
        on_stdout: Callable[[bytes], None] | None = None,
    ) -> Ended: ...


def fetch(guest: Runs, scale: float) -> bytes:
    """Return the counters of all cases so far, and remove them from the guest; empty if the guest does not answer.

    `scale` is how much slower than hardware the guest is. InfraError if there are more than a file of a run may have:
    a part of them would look like lines that did not run.
    """
    data = bytearray()
    while True:
        command = f"dd if={gcov.GUEST_FILE} bs={CHUNK} skip={len(data) // CHUNK} count=1 2>/dev/null"
        ended = guest.run(command, deadline=Deadline.after(TRANSFER_S, "fetching line counts", scale=scale))
        if ended.end is not End.EXITED:
            return bytes(data)
        data += ended.stdout
        if len(data) > MAX_FILE:
            raise InfraError(
                f"the guest keeps more than {MAX_FILE >> 20} MiB of line counts",
                hint="count with fewer tests at a time: --test",
            )
        if len(ended.stdout) < CHUNK:
            break
    guest.run(f"rm -f {gcov.GUEST_FILE}", deadline=Deadline.after(TRANSFER_S, "removing line counts", scale=scale))
    return bytes(data)
