# SPDX-License-Identifier: GPL-2.0-or-later
"""The place where a campaign runs without a cluster: builds and guests on this computer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lab.core.progress import Progress
from lab.host.schedule import Budget, Schedule, Task
from lab.run.cell import CellWork
from lab.run.protocols import BootableCellLike, CellOrder, GuestFactoryLike
from lab.specs.plan import Cell


@dataclass(slots=True, kw_only=True)
class ThisHost:
    """One host, whose guests are started by a factory of this process."""

    shop: GuestFactoryLike
    budget: Budget
    schedule: Schedule = field(init=False)
    builders: int = 1

    def __post_init__(self) -> None:
        self.schedule = Schedule(self.budget)

    @property
    def at_once(self) -> int:
        """How many cells may be under way at once."""
        return self.budget.guests

    def open(self, update: Callable[[Callable[[Schedule], None]], None]) -> None:
        """Follow nothing: the one host stays."""

    def hopeless(self, waiting: Sequence[Task]) -> Sequence[tuple[Task, str]]:  # noqa: ARG002
        """Return nothing: what does not fit here is refused when it is added."""
        return ()

    def prepare(self, cell: Cell, progress: Progress, host: str) -> BootableCellLike:  # noqa: ARG002
        """Build what a cell needs, or find it in the cache."""
        return self.shop.prepare(cell, progress)

    def run(self, order: CellOrder[BootableCellLike], placed: Task) -> None:  # noqa: ARG002
        """Run a cell in guests of this computer."""
        work = CellWork(
            cell=order.cell,
            fresh=order.fresh,
            built=order.built,
            evidence=order.evidence,
            cases=order.cases,
            screen=order.screen,
            stopping=order.stopping,
            kept=order.kept,
            keeper=order.keeper,
        )
        work.run()

    def abort(self) -> None:
        """End every guest and every compiler at once."""
        self.shop.abort()
