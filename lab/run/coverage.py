# SPDX-License-Identifier: GPL-2.0-or-later
"""Fetch the gcov counters that a program's cases have left in a guest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from lab.core.deadline import Deadline
from lab.core.outcome import End, Ended
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

    `scale` is how much slower than hardware the guest is.
    """
    data = bytearray()
    while len(data) < gcov.MAX_COUNTERS:
        command = f"dd if={gcov.GUEST_FILE} bs={CHUNK} skip={len(data) // CHUNK} count=1 2>/dev/null"
        ended = guest.run(command, deadline=Deadline.after(TRANSFER_S, "fetching line counts", scale=scale))
        if ended.end is not End.EXITED:
            return bytes(data)
        data += ended.stdout
        if len(ended.stdout) < CHUNK:
            break
    guest.run(f"rm -f {gcov.GUEST_FILE}", deadline=Deadline.after(TRANSFER_S, "removing line counts", scale=scale))
    return bytes(data)
