# SPDX-License-Identifier: GPL-2.0-or-later
"""The place where a campaign runs without a cluster: builds and guests on this computer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from lab.build.builder import Builder
from lab.core.progress import Progress
from lab.evidence.write import RunDir
from lab.guests.factory import GuestFactory
from lab.host.schedule import Budget, Schedule, Task
from lab.run.cell import CellWork
from lab.run.gate import Turns
from lab.run.protocols import BootableCellLike, CellOrder, GuestFactoryLike
from lab.specs.plan import Cell


@dataclass(slots=True, kw_only=True)
class ThisHost:
    """One host, whose guests are started by a factory of this process."""

    shop: GuestFactoryLike
    budget: Budget
    turns: Turns = field(init=False)
    builders: int = 1

    def __post_init__(self) -> None:
        self.turns = Turns(Schedule(self.budget))

    @property
    def at_once(self) -> int:
        """How many cells may be under way at once."""
        return self.budget.guests

    def open(self) -> None:
        """Follow nothing: the one host stays."""

    def hopeless(self, waiting: Sequence[Task]) -> Sequence[tuple[Task, str]]:  # noqa: ARG002
        """Return nothing: what does not fit here is refused when it is added."""
        return ()

    def build_task(self, cell: Cell, task: Task) -> Task:  # noqa: ARG002
        """Return the task as it is: there is one host."""
        return task

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
            verified=order.verified,
        )
        work.run()

    def abort(self) -> None:
        """End every guest and every compiler at once."""
        self.shop.abort()


@dataclass(frozen=True, slots=True, kw_only=True)
class ThisComputer:
    """This computer as the place of several runs, whose guests one factory starts."""

    factory: GuestFactory
    budget: Budget

    @property
    def uri(self) -> str:
        """Return the libvirt connection."""
        return self.factory.hypervisor.uri

    def describe(self) -> Mapping[str, object]:
        """Return nothing: there are no other hosts."""
        return {}

    @contextmanager
    def place(self, workshop: Builder, run_dir: RunDir) -> Iterator[ThisHost]:  # noqa: ARG002
        """The place of one run; the factory has a builder of its own."""
        yield ThisHost(shop=self.factory, budget=self.budget)

    def abort(self) -> None:
        """End every guest and every compiler at once."""
        self.factory.abort()
