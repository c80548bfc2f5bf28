# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a plan: builds in one thread, guests of finished builds in others, every exception turned into evidence.

Nothing is judged here. What happened is written to the run's directory; `lab/judge.py` reads it from there.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Protocol

from lab.cellwork import INTERRUPTED, BuiltCell, CellWork, Screen
from lab.errors import LabError, UsageError
from lab.evidence import RunDir
from lab.outcome import Case, Cause, CellStatus, Run
from lab.plan import Cell, Plan
from lab.progress import Progress


class Shop(Protocol):
    """Builds what cells need; `lab.factory.Factory` is the real one."""

    def prepare(self, cell: Cell, progress: Progress) -> BuiltCell: ...
    def abort(self) -> None: ...


@dataclass(slots=True, kw_only=True)
class Runner:
    """One campaign on its way."""

    plan: Plan
    shop: Shop
    run_dir: RunDir
    metadata: Mapping[str, object]
    """What metadata.json holds so far; the builds are added as they are made."""
    cases: Mapping[str, tuple[Case, ...]]
    screen: Screen
    jobs: int
    builds: dict[str, Mapping[str, object]] = field(default_factory=dict)
    """`topology/kernel` -> what its kernel was made of; a resumed run begins with what it recorded."""
    kept: Mapping[str, Sequence[Run]] = field(default_factory=dict)
    """Cell's name -> the runs of a killed lab that count."""
    stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Run every cell of the plan. On an interrupt the cells under way are ended and what they gave is kept."""
        futures: list[Future[None]] = []
        with ThreadPoolExecutor(self.jobs, "cell") as pool, ThreadPoolExecutor(1, "builder") as builder:
            building = builder.submit(self._build_all, pool, futures)
            try:
                _join(building, futures)
            except BaseException:
                self.stopping.set()
                self.shop.abort()
                raise
        for future in (building, *futures):
            future.result()

    def _build_all(self, pool: ThreadPoolExecutor, futures: list[Future[None]]) -> None:
        """Build cell by cell in the plan's order; a cell starts as soon as what it needs is there."""
        for cell in self.plan.cells:
            if self.stopping.is_set():
                return
            self.screen.cell(cell, "building")
            try:
                built = self.shop.prepare(cell, self._building(cell))
            except LabError as error:
                self._broken(cell, INTERRUPTED if self.stopping.is_set() else str(error), error.cause)
                continue
            self._remember(cell, built)
            self.screen.cell(cell, "built")
            futures.append(pool.submit(self._cell, cell, built))

    def _remember(self, cell: Cell, built: BuiltCell) -> None:
        """Put a build on record. What is on record stays: a run goes on with the kernels that it began with, or not."""
        before, now = self.builds.get(cell.place), built.provenance
        if before is None:
            self.builds[cell.place] = now
            self.run_dir.write_metadata({**self.metadata, "builds": self.builds})
        elif before.get("key") != now.get("key"):
            raise UsageError(f"{cell.place}: another kernel: recorded {before.get('key')}, now {now.get('key')}")

    def _building(self, cell: Cell) -> Progress:
        def tell(detail: str, *, done: float | None = None) -> None:
            self.screen.building(cell, detail, done)

        return tell

    def _broken(self, cell: Cell, reason: str, cause: Cause) -> None:
        evidence = self.run_dir.cell(cell.topology.name, cell.kernel.name, cell.repeat)
        evidence.finish(CellStatus.BROKEN, reason, cause=Cause.INTERRUPTED if self.stopping.is_set() else cause)
        self.screen.cell(cell, "BROKEN")

    def _cell(self, cell: Cell, built: BuiltCell) -> None:
        if self.stopping.is_set():
            return
        evidence = self.run_dir.cell(cell.topology.name, cell.kernel.name, cell.repeat)
        work = CellWork(
            cell=cell,
            fresh=self.plan.spec.isolation == "fresh",
            built=built,
            evidence=evidence,
            cases=self.cases,
            screen=self.screen,
            stopping=self.stopping,
            kept=self.kept.get(cell.name, ()),
        )
        work.run()


def _join(building: Future[None], cells: Sequence[Future[None]]) -> None:
    """Wait for the builds, while which `cells` grows, then for all cells; waking up for signals."""
    while wait([building], timeout=0.2).not_done:
        pass
    while wait(cells, timeout=0.2).not_done:
        pass
