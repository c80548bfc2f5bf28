# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest in which an expectation was not met first stays as it is, for whoever wants to look into it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from lab.core.outcome import Case, Run
from lab.run.cell import GuestLike
from lab.specs.plan import Cell
from lab.verdicts.judge import judge_run


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptGuest:
    """A guest that goes on, and why."""

    cell: Cell
    guest: GuestLike
    why: str


@dataclass(slots=True)
class GuestKeeper:
    """Keeps one guest of a campaign: more would take the memory that is planned for others."""

    kept: KeptGuest | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def takes(self, cell: Cell, guest: GuestLike, run: Run, declared: Sequence[Case]) -> bool:
        """Whether the guest is kept from now on, and so is nobody else's any more."""
        records = judge_run(cell.topology.name, cell.kernel.name, run, declared, cell.kernel.provides)
        unmet = [record for record in records if record.met is False]
        with self._lock:
            if self.kept or not unmet or guest.watch() is not None:
                return False
            first = unmet[0]
            self.kept = KeptGuest(
                cell=cell, guest=guest, why=f"{cell.name}: {first.label} {first.verdict}: {first.reason}"
            )
            return True
