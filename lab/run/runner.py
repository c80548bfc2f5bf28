# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a plan: builds in one thread, guests of finished builds in others, every exception turned into evidence.

Builds and guests share one budget of memory, CPUs and guests at once (`lab/host/schedule.py`): what is ready starts as
soon as there is room for it.

Nothing is judged here. What happened is written to the run's directory; `lab/verdicts/judge.py` reads it from there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial

from lab.core.errors import LabError, UsageError
from lab.core.outcome import Case, Cause, CellKey, CellStatus, Run
from lab.core.progress import Progress
from lab.evidence.metadata import Metadata, Provenance
from lab.evidence.write import RunDir
from lab.host.estimate import Packing
from lab.host.schedule import Schedule, Task
from lab.run.cell import CellWork
from lab.run.program import INTERRUPTED
from lab.run.protocols import BootableCellLike, CellState, GuestFactoryLike, KeeperLike, Screen
from lab.specs.plan import Build, Cell, Plan

WAKE_S = 0.2
"""Poll interval of the main thread; Ctrl-C is handled after at most this long."""


@dataclass(slots=True, kw_only=True)
class Runner:
    """One campaign on its way."""

    plan: Plan
    shop: GuestFactoryLike
    run_dir: RunDir
    metadata: Metadata
    """What metadata.json holds so far; the builds are added as they are made."""
    cases: Mapping[str, tuple[Case, ...]]
    screen: Screen
    packing: Packing
    to_build: Collection[Build] = ()
    """The kernels that the cache lacks: what builds takes its place in the budget."""
    builds: dict[CellKey, Provenance] = field(default_factory=dict)
    """Cell -> what its kernel was made of; a resumed run begins with what it recorded."""
    kept: Mapping[str, Sequence[Run]] = field(default_factory=dict)
    """Cell's name -> the runs of a killed lab that count."""
    keeper: KeeperLike | None = None
    stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Run every cell of the plan. On an interrupt the cells under way are ended and what they gave is kept."""
        at_once = max(1, min(self.packing.budget.guests, len(self.plan.cells)))
        with ThreadPoolExecutor(at_once, "cell") as pool, ThreadPoolExecutor(1, "builder") as builder:
            gate = Gate(Schedule(self.packing.budget), pool)
            building = builder.submit(self._build_all, gate)
            try:
                while wait([building], timeout=WAKE_S).not_done:
                    pass
                while not gate.wait_until_idle(WAKE_S):
                    pass
            except BaseException:
                self.stopping.set()
                gate.close()
                self.shop.abort()
                raise
        for future in (building, *gate.futures):
            future.result()

    def _build_all(self, gate: Gate) -> None:
        """Build cell by cell in the plan's order; a cell starts when what it needs is there and it has room."""
        for cell in self.plan.cells:
            if self.stopping.is_set():
                return
            task = self.packing.task(cell)
            if self.packing.budget.never(task.demand):
                self._broken(cell, "the machine does not fit into the memory that there is", Cause.LAB)
            elif built := self._built(cell, gate):
                gate.add(task, partial(self._cell, cell, built))

    def _built(self, cell: Cell, gate: Gate) -> BootableCellLike | None:
        """All that a cell needs; None when it cannot be had, which is on record then."""
        with gate.turn(self.packing.build(f"build of {cell.name}")) if cell.build in self.to_build else nullcontext():
            self.screen.cell(cell, CellState.BUILDING)
            try:
                built = self.shop.prepare(cell, self._building(cell))
            except LabError as error:
                self._broken(cell, INTERRUPTED if self.stopping.is_set() else str(error), error.cause)
                return None
        self._remember(cell, built)
        self.screen.cell(cell, CellState.BUILT)
        return built

    def _remember(self, cell: Cell, built: BootableCellLike) -> None:
        """Put a build on record. What is on record stays: a run goes on with the kernels that it began with, or not."""
        before, now = self.builds.get(cell.key), built.provenance
        if before is None:
            self.builds[cell.key] = now
            self.run_dir.write_metadata(self.metadata.changed(builds=self.builds))
        elif before.key != now.key:
            raise UsageError(f"{cell.key}: another kernel: recorded {before.key}, now {now.key}")

    def _building(self, cell: Cell) -> Progress:
        def tell(detail: str, *, done: float | None = None) -> None:
            self.screen.building(cell, detail, done)

        return tell

    def _broken(self, cell: Cell, reason: str, cause: Cause) -> None:
        evidence = self.run_dir.cell(cell.topology.name, cell.kernel.name, cell.repeat)
        evidence.finish(CellStatus.BROKEN, reason, cause=Cause.INTERRUPTED if self.stopping.is_set() else cause)
        self.screen.cell(cell, CellState.BROKEN)

    def _cell(self, cell: Cell, built: BootableCellLike) -> None:
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
            keeper=self.keeper,
        )
        work.run()


@dataclass(slots=True)
class Gate:
    """Lets through what the schedule lets start. Its methods may be called from any thread."""

    schedule: Schedule
    pool: ThreadPoolExecutor
    futures: list[Future[None]] = field(default_factory=list)
    _starts: dict[str, Callable[[], object]] = field(default_factory=dict)
    _busy: int = 0
    _closed: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def add(self, task: Task, work: Callable[[], None]) -> None:
        """Have `work` done in a thread of the pool as soon as there is room for the task."""

        def in_pool() -> None:
            try:
                work()
            finally:
                self._done(task)

        self._add(task, lambda: self.futures.append(self.pool.submit(in_pool)))

    @contextmanager
    def turn(self, task: Task) -> Iterator[None]:
        """Wait in this thread until there is room for the task, and hold it; after `close` there is no waiting."""
        mine = threading.Event()
        self._add(task, mine.set)
        with self._changed:
            self._changed.wait_for(lambda: mine.is_set() or self._closed)
        try:
            yield
        finally:
            if mine.is_set():
                self._done(task)

    def wait_until_idle(self, timeout_s: float) -> bool:
        """Whether nothing waits and nothing runs, after at most that many seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._busy, timeout_s)

    def close(self) -> None:
        """Start nothing more: the lab is being interrupted."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _add(self, task: Task, start: Callable[[], object]) -> None:
        with self._changed:
            self._starts[task.name] = start
            self._busy += 1
            self.schedule.add(task)
            self._start()

    def _done(self, task: Task) -> None:
        with self._changed:
            self._busy -= 1
            self.schedule.done(task.name)
            self._start()

    def _start(self) -> None:
        for task in () if self._closed else self.schedule.start():
            self._starts.pop(task.name)()
        self._changed.notify_all()
