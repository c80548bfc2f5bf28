# SPDX-License-Identifier: GPL-2.0-or-later
"""One execution of a scenario program: how far it has come, and what it has told, which is put on record now and then.

A suite may run for an hour in one program. What it told until the lab was stopped or killed need not be run again.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from lab.core.outcome import Books, End, Ended, Run
from lab.evidence.console import ConsoleLog
from lab.evidence.events import MAX_STDERR
from lab.evidence.write import CellDir
from lab.verdicts import counters

CHECKPOINT_S = 60.0
"""How much of a program's work a lab that is killed may lose."""
# A whole line, of the program itself: what a test of a suite nests is indented or a comment.
_RESULT = re.compile(rb"^(?:not )?ok [^\n]*\n", re.MULTILINE)


@dataclass(slots=True, kw_only=True)
class Execution:
    """What is known of it while it goes on. Given to `Guest.run` as `on_stdout`."""

    scenario: str
    attempt: int
    names: tuple[str, ...]
    """The cases that were asked for by name; empty for all."""
    asked: int
    """How many cases are to tell a result."""
    mark: str
    """What is before and after the guest's books (`books.wrap`)."""
    measured: Callable[[Books | None], Books | None]
    """Adds the machine's measures to books that were read."""
    evidence: CellDir
    console: ConsoleLog
    tell: Callable[[int], None]
    """Called with the number of results so far, whenever there are more."""
    told: int = 0
    _said: bytearray = field(default_factory=bytearray)
    _scanned: int = 0
    _kept: int = 0
    """How many of the results are on record."""
    _started: float = field(default_factory=time.monotonic)
    _kept_at: float = field(default_factory=time.monotonic)
    _console_from: int = field(init=False)

    def __post_init__(self) -> None:
        self._console_from = self.console.size()

    def __call__(self, data: bytes) -> None:
        """Take what the program has just written."""
        self._said += data
        before = self.told
        self.told += len(_RESULT.findall(self._said, self._scanned))
        self._scanned = self._said.rfind(b"\n") + 1
        if self.told != before:
            self.tell(self.told)
        if time.monotonic() - self._kept_at >= CHECKPOINT_S:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Put on record what has been told so far, unless it is there already, or is all: then the end decides."""
        self._kept_at = time.monotonic()
        if not self._kept < self.told < self.asked:
            return
        self._kept = self.told
        stdout, before, _ = counters.split(bytes(self._said), self.mark)
        spent = self._kept_at - self._started
        so_far = Ended(end=End.INTERRUPTED, status=None, stdout=stdout, stderr=b"", duration_s=spent)
        self.record(so_far, stdout, self.measured(before), None)

    def record(self, ended: Ended, stdout: bytes, before: Books | None, after: Books | None) -> Run:
        """Put on record how it ended; the run as it will be judged."""
        end = self.console.size()
        run = Run(
            scenario=self.scenario,
            attempt=self.attempt,
            end=ended.end,
            status=ended.status,
            duration_s=round(ended.duration_s, 3),
            ktap=stdout.decode("utf-8", "replace"),
            stderr=ended.stderr[:MAX_STDERR].decode("utf-8", "replace"),
            console=self.console.text(self._console_from, end),
            note=ended.note,
            cases=self.names,
            before=before,
            after=after,
        )
        self.evidence.run(run, console_from=self._console_from, console_to=end)
        return run
