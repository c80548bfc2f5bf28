# SPDX-License-Identifier: GPL-2.0-or-later
"""--keep-failed: keep the first guest that missed an expectation, so that a user can examine it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from lab.core.outcome import Case, CaseRecord, Run
from lab.evidence.metadata import KnownLineRecord
from lab.run.protocols import GuestLike
from lab.specs.plan import Cell
from lab.verdicts.judge import judge_run


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptGuest:
    """A guest that keeps running, and the reason."""

    cell: Cell
    guest: GuestLike
    why: str


@dataclass(slots=True)
class GuestKeeper:
    """Keeps at most one guest of a campaign: more would use memory that is planned for other guests."""

    kept: KeptGuest | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def takes(self, cell: Cell, guest: GuestLike, run: Run, declared: Sequence[Case]) -> bool:
        """Take ownership of the guest if this run missed an expectation and no other guest is kept yet.

        Returns whether it did; the caller must then not close the guest.
        """
        unmet = missed(cell, run, declared)
        with self._lock:
            if self.kept or not unmet or guest.watch() is not None:
                return False
            first = unmet[0]
            self.kept = KeptGuest(
                cell=cell, guest=guest, why=f"{cell.name}: {first.label} {first.verdict}: {first.reason}"
            )
            return True


def missed(cell: Cell, run: Run, declared: Sequence[Case], *, within: bool = False) -> list[CaseRecord]:
    """Return the records of a run that missed their expectation; `within` is true for a suite."""
    known = [KnownLineRecord(line=harmless.line, reason=harmless.reason) for harmless in cell.kernel.console_known]
    records = judge_run(
        cell.topology.name, cell.kernel.name, run, declared, cell.kernel.provides, within=within, known=known
    )
    return [record for record in records if record.met is False]
