# SPDX-License-Identifier: GPL-2.0-or-later
"""End the run of a mutant behind the first scenario that notices it: more would cost time and show nothing new."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from lab.core.outcome import Case, CaseRecord, Outcome, Run
from lab.run.keep_failed import missed
from lab.run.protocols import GuestLike
from lab.specs.plan import Cell


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstKiller:
    """Ends a mutant's run behind the first scenario that notices it. It keeps no guest."""

    unsound: Collection[str]
    """The records, `scenario.case`, that missed their expectation on the kernel without the defect, too."""
    suites: Collection[str]
    stop: threading.Event

    def takes(self, cell: Cell, guest: GuestLike, run: Run, declared: Sequence[Case]) -> bool:
        """Return False: the guest is not kept."""
        del guest
        records = missed(cell, run, declared, within=run.scenario in self.suites)
        if any(kills(record, self.unsound) for record in records):
            self.stop.set()
        return False


def kills(record: CaseRecord, unsound: Collection[str]) -> bool:
    """Whether a record notices a mutant."""
    return record.met is False and record.outcome is not Outcome.BROKEN and record.label not in unsound
