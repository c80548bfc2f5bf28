# SPDX-License-Identifier: GPL-2.0-or-later
"""The record of every attempt at a cell, and the fence: one attempt counts, the evidence of others is kept apart.

    attempts.jsonl            in the run's directory: {"cell", "attempt", "host", "became", "reason", "sha256"}
    cells/T/K/attempts/2-HOST the evidence of an attempt that does not count

A number is written down before the attempt is sent, and is never used twice for a cell, also after --resume. So
evidence that arrives late, from a host that was thought dead, belongs to a known attempt that does not count. The file
is not synced: every lab has a directory of its own in the store, so a number lost with a whole computer does no harm.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from lab.core.cache import explain_os_error
from lab.core.errors import InfraError
from lab.evidence.events import JOURNAL

FILE = "attempts.jsonl"
APART = "attempts"
MAX_RECORD = 64 << 20


class Became(StrEnum):
    """What became of an attempt."""

    PLACED = "placed"  # it was sent to a host
    LOST = "lost"  # its host was lost before it ended
    COUNTS = "counts"  # its evidence is the cell's
    APART = "apart"  # its evidence came and does not count; it is kept beside the cell's
    WITHOUT = "without"  # it ended without evidence; the reason says why


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAttempt:
    """A line of the record."""

    cell: str
    attempt: int
    host: str
    became: Became
    reason: str = ""
    sha256: str = ""


@dataclass(slots=True)
class Attempts:
    """The attempts of a run, by cell. Safe to use from any thread."""

    run: Path
    _last: dict[str, int] = field(default_factory=dict)
    _counting: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        for attempt in read(self.run):
            self._last[attempt.cell] = max(attempt.attempt, self._last.get(attempt.cell, 0))
            if attempt.became is Became.COUNTS:
                self._counting[attempt.cell] = attempt.attempt

    def begin(self, cell: str, host: str) -> int:
        """Return the number of a new attempt, which is in the file when this returns."""
        with self._lock:
            number = self._last.get(cell, 0) + 1
            self._last[cell] = number
            self._append(HostAttempt(cell=cell, attempt=number, host=host, became=Became.PLACED))
        return number

    def note(self, attempt: HostAttempt) -> None:
        """Record what became of an attempt."""
        with self._lock:
            if attempt.became is Became.COUNTS:
                self._counting[attempt.cell] = attempt.attempt
            self._append(attempt)

    def counts(self, cell: str) -> int | None:
        """Return the number of the attempt that counts for a cell; None if there is none yet."""
        return self._counting.get(cell)

    def _append(self, attempt: HostAttempt) -> None:
        path = self.run / FILE
        line = json.dumps({name: getattr(attempt, name) for name in attempt.__slots__}) + "\n"
        try:
            with path.open("a") as file:
                file.write(line)
        except OSError as error:
            raise explain_os_error(error, str(path)) from error


def read(run: Path) -> Iterator[HostAttempt]:
    """Yield the recorded attempts of a run; a torn last line is left out."""
    try:
        with (run / FILE).open("rb") as file:
            lines = file.read(MAX_RECORD).decode("utf-8", "replace").split("\n")
    except FileNotFoundError:
        return
    except OSError as error:
        raise explain_os_error(error, str(run / FILE)) from error
    for line in lines[:-1]:
        try:
            raw = json.loads(line)
            yield HostAttempt(**{**raw, "became": Became(raw["became"])})
        except (ValueError, TypeError, KeyError):
            raise InfraError(f"{run / FILE} is damaged: {line[:80]!r}") from None


def adopt(evidence: Path, cell: Path) -> None:
    """Make the files of an attempt those of the cell; the journal comes last, so that a cell is whole or not begun."""
    try:
        cell.mkdir(parents=True, exist_ok=True)
        files = sorted(evidence.iterdir(), key=lambda path: path.name == JOURNAL)
        for path in files:
            path.replace(cell / path.name)
        evidence.rmdir()
    except OSError as error:
        raise explain_os_error(error, str(cell)) from error


def keep_apart(evidence: Path, cell: Path, attempt: int, host: str) -> Path:
    """Keep the files of an attempt that does not count; return their directory."""
    target = cell / APART / f"{attempt}-{host}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            shutil.rmtree(target)
        evidence.rename(target)
    except OSError as error:
        raise explain_os_error(error, str(target)) from error
    return target
