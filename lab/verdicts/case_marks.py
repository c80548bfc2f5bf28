# SPDX-License-Identifier: GPL-2.0-or-later
"""Which case was running, by the lines that a program prints on the console as each case begins. Pure.

The format of these lines is that of guest_tests/lab_mark.h. A case's result goes over the network, and is lost if the
kernel dies at the next case before it was sent; what the kernel prints is on the console in its order. A program can
print any such line. It can only change which of its own cases without a result is blamed for the end of its run.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from lab.core.outcome import End, Run
from lab.formats.oops import CASE_MARK

_MARK = re.compile(rf"\b{CASE_MARK}([^\s.]+)\.(\S+)")
_GUEST_ENDS = frozenset({End.PANIC, End.LOST, End.QEMU_DEAD, End.UNRESPONSIVE})
"""Ends that results on their way to the host do not survive."""


def begun(run: Run) -> list[tuple[int, str]]:
    """Return the cases of a run whose beginning is on the console: the line's number from 1, the case's name."""
    found: list[tuple[int, str]] = []
    if CASE_MARK not in run.console:
        return found
    for number, line in enumerate(run.console.split("\n"), start=1):
        mark = _MARK.search(line)
        if mark and mark[1] == run.scenario:
            found.append((number, mark[2]))
    return found


def was_running(run: Run, missing: Sequence[str]) -> str:
    """Return which of the cases without a result was running when the run ended badly; `missing` is not empty.

    It is the first of them, or a later one if the guest itself ended and the console has the later one's beginning.
    """
    if run.end in _GUEST_ENDS:
        for _, name in reversed(begun(run)):
            if name in missing:
                return name
    return missing[0]


def at_line(run: Run, line: int) -> str:
    """Return the case during which a line of the console was printed; empty if no case had begun."""
    return next((name for number, name in reversed(begun(run)) if number < line), "")
