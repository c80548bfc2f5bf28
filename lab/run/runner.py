# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a plan: builds in some threads, guests of finished builds in others, every exception turned into evidence.

Builds and guests share one budget of memory, CPUs and guests for each host (`lab/host/schedule.py`): what is ready
starts as soon as there is room for it. How a build or a cell is carried out on its host is up to the `place`: this
computer (lab/run/this_host.py) or the hosts of a cluster (lab/cluster).

Nothing is judged here. What happened is written to the run's directory; `lab/verdicts/judge.py` reads it from there.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Generic

from lab.core.errors import LabError, UsageError
from lab.core.outcome import Case, Cause, CellKey, CellStatus, Run
from lab.core.progress import Progress, silent
from lab.evidence.metadata import Metadata, Provenance
from lab.evidence.write import RunDir
from lab.host.estimate import Packing
from lab.host.schedule import Task
from lab.run.cell import asked_counts
from lab.run.gate import Gate, NoHost
from lab.run.program import INTERRUPTED
from lab.run.protocols import (
    Built,
    CellOrder,
    CellState,
    ForesightLike,
    HostGone,
    KeeperLike,
    PlaceLike,
    Screen,
    Unseen,
)
from lab.run.reuse import EvidenceStore
from lab.specs.plan import Build, Cell, Plan

WAKE_S = 0.2
"""Poll interval of the main thread; Ctrl-C is handled after at most this long."""
MAX_THREADS = 1024
"""Cells under way at once on all hosts: a thread waits for each."""
MAX_BUILDS = 3
"""How often a build is begun whose host is lost."""
BESIDE_NICE = 9
"""Niceness of a build beside another, in addition to that of every build."""


@dataclass(slots=True, kw_only=True)
class Runner(Generic[Built]):
    """One campaign on its way."""

    plan: Plan
    place: PlaceLike[Built]
    """Where builds and cells are carried out."""
    run_dir: RunDir
    metadata: Metadata
    """What metadata.json holds so far; the builds are added as they are made."""
    cases: Mapping[str, tuple[Case, ...]]
    screen: Screen
    packing: Packing
    to_build: Collection[Build] = ()
    """The kernels that the cache lacks: what builds takes its place in the budget."""
    incremental: Collection[Build] = ()
    """Those of them that compile little: one of another machine is built beside one of the same source and series."""
    builds: dict[CellKey, Provenance] = field(default_factory=dict)
    """Cell -> what its kernel was made of; a resumed run begins with what it recorded."""
    kept: Mapping[str, Sequence[Run]] = field(default_factory=dict)
    """Cell's name -> the runs of a killed lab that count."""
    keeper: KeeperLike | None = None
    reuse: EvidenceStore | None = None
    """The evidence of earlier runs, where it may be taken; None to start a guest for every cell."""
    foresight: ForesightLike | None = None
    """What is going to be confirmed, where that can be told; None to run the cells of the plan alone."""
    stopping: threading.Event = field(default_factory=threading.Event)
    _foreseen: dict[str, Future[Sequence[tuple[Cell, Built]]]] = field(default_factory=dict)
    """Cell's name -> the guests that start once its first guest was verified."""
    _begun: set[Build] = field(default_factory=set)
    """The builds in `incremental` that were begun."""
    _beside: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "beside"))
    """Builds them: one at a time beside the builder, which goes through the cells in their order."""
    _recording: threading.Lock = field(default_factory=threading.Lock)
    """Held while `builds` changes."""
    _writing: threading.Lock = field(default_factory=threading.Lock)
    _unwritten: bool = False
    """Whether `builds` has what metadata.json lacks."""

    def run(self) -> None:
        """Run every cell of the plan. On an interrupt the cells under way are ended and what they gave is kept."""
        groups = self._groups()
        with (
            ThreadPoolExecutor(max(1, min(MAX_THREADS, self.place.at_once, self._most_guests)), "cell") as pool,
            ThreadPoolExecutor(max(1, min(len(groups), self.place.builders)), "builder") as builders,
            self._beside,
        ):
            gate = Gate(self.place.turns, pool)
            self.place.open()
            building = [builders.submit(self._build_all, cells, gate) for cells in groups]
            try:
                while wait(building, timeout=WAKE_S).not_done:
                    self._give_up_homeless(gate)
                while not gate.wait_until_idle(WAKE_S):
                    self._give_up_homeless(gate)
            except BaseException:
                self.stopping.set()
                gate.close()
                self.place.abort()
                raise
            finally:
                self._write_builds()
        for future in (*building, *gate.futures):
            future.result()

    @property
    def _most_guests(self) -> int:
        """The cells of the plan and, where it is foreseen what is confirmed, as many more."""
        return len(self.plan.cells) * (2 if self.foresight else 1)

    def _groups(self) -> list[Sequence[Cell]]:
        """Return the cells whose kernels one thread builds in turn: those of one tree, which differ in their series."""
        if self.place.builders == 1:
            return [self.plan.cells]
        groups: dict[object, list[Cell]] = {}
        for cell in self.plan.cells:
            groups.setdefault(cell.build.tree, []).append(cell)
        return list(groups.values())

    def _give_up_homeless(self, gate: Gate) -> None:
        """End the tasks that no host can run, once the place has waited long enough for one that can."""
        for task, reason in self.place.hopeless(gate.homeless()):
            gate.give_up(task, reason)

    def _build_all(self, cells: Sequence[Cell], gate: Gate) -> None:
        """Build cell by cell in their order; a cell starts when what it needs is there and it has room."""
        for cell in cells:
            if self.stopping.is_set():
                return
            if self.place.turns.never(self.packing.demand(cell)):
                self._broken(cell, "the machine does not fit into the memory that there is", Cause.LAB)
            elif (built := self._built(cell, gate)) and not self._taken(cell, built, self.screen):
                foreseen = self._foreseen[cell.name] = Future()
                self._start(cell, built, gate, self.screen)
                self._foresee(cell, foreseen)

    def _start(self, cell: Cell, built: Built, gate: Gate, shown: Screen) -> None:
        """Start a cell as soon as it has room."""
        work = partial(self._cell, cell, built, gate, shown)
        gate.add(self.packing.task(cell), work, partial(self._homeless, cell))

    def _foresee(self, cell: Cell, foreseen: Future[Sequence[tuple[Cell, Built]]]) -> None:
        """Prepare the guests that will confirm what a cell changes; its own guest is starting, and waits for this."""
        prepared: Sequence[tuple[Cell, Built]] = ()
        try:
            cells = self.foresight.cells(cell, self.metadata) if self.foresight else ()
            prepared = [(one, self.place.prepare(one, silent, "")) for one in cells]
        except LabError:
            pass  # the guests of the plan say what is wrong
        finally:
            foreseen.set_result(prepared)

    def _confirm(self, cell: Cell, gate: Gate) -> None:
        """Start the guests that confirm what a cell changes, now that its own guest was verified, and saved."""
        if self.foresight is None or cell.name not in self._foreseen:
            return
        foreseen = self._foreseen.pop(cell.name).result()
        if not foreseen:
            return
        described = self.foresight.described([one for one, _ in foreseen])
        with self._recording:
            known = self.metadata.document().get("confirming", ())
            self.metadata = self.metadata.changed(confirming=[*known, *described])
            self._unwritten = True
        self._write_builds()
        for one, built in foreseen:
            if not self._taken(one, built, Unseen()):
                self._start(one, built, gate, Unseen())

    def _built(self, cell: Cell, gate: Gate) -> Built | None:
        """All that a cell needs; None when it cannot be had, which is on record then."""
        try:
            if cell.build in self.to_build:
                self._begin_beside(cell, gate)
                built = self._built_in_turn(cell, gate, f"build of {cell.name}")
            else:
                built = self._prepare(cell, "")
        except LabError as error:
            self._broken(cell, INTERRUPTED if self.stopping.is_set() else str(error), error.cause)
            return None
        self._remember(cell, built)
        self.screen.cell(cell, CellState.BUILT)
        return built

    def _begin_beside(self, cell: Cell, gate: Gate) -> None:
        """Begin to build the kernels that are built from the files of a cell's, for machines that come later.

        A build after an edit is one process for most of the time, so there is a CPU for another. What is long is not
        begun here: it would take CPUs from the first machine's kernel, whose verdict comes first.
        """
        if self.place.builders > 1 or cell.build not in self.incremental:
            return
        self._begun.add(cell.build)
        for other in self.plan.cells:
            build = other.build
            if build in self.incremental and build not in self._begun and build.kernel == cell.build.kernel:
                self._begun.add(build)
                self._beside.submit(self._build_beside, other, gate)

    def _build_beside(self, cell: Cell, gate: Gate) -> None:
        """Build a cell's kernel ahead of its turn, with what CPU time others leave."""
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BESIDE_NICE)
        with suppress(LabError):  # when the cell's turn comes, it is tried again, and that error is reported
            if not self.stopping.is_set():
                self._built_in_turn(cell, gate, f"build ahead of {cell.name}")

    def _built_in_turn(self, cell: Cell, gate: Gate, name: str) -> Built:
        """Build on a host that has room; on another one if that host is lost, MAX_BUILDS times in all.

        `name` is that of the task, which no other task of the run has.
        """
        plain = self.packing.build(name, cell.build)
        for left in reversed(range(MAX_BUILDS)):
            task, host = self.place.build_task(cell, plain), ""
            try:
                with gate.turn(task) as host:
                    return self._prepare(cell, host)
            except HostGone:
                if not left or self.stopping.is_set():
                    raise
                plain = replace(plain, avoids=plain.avoids | {host})
            except NoHost:
                if not left or task == plain:
                    raise
        raise AssertionError("a build neither ended nor failed")

    def _prepare(self, cell: Cell, host: str) -> Built:
        self.screen.cell(cell, CellState.BUILDING)
        return self.place.prepare(cell, self._building(cell), host)

    def _taken(self, cell: Cell, built: Built, shown: Screen) -> bool:
        """Whether a cell has the evidence of an earlier run."""
        if self.reuse is None or self.kept.get(cell.name):
            return False
        evidence = self.run_dir.cell(cell.topology.name, cell.kernel.name, cell.repeat)
        self._write_builds()
        if not self.reuse.take(cell, self.metadata, built.provenance, evidence):
            return False
        total = sum(asked_counts(cell, self.cases))
        shown.cell(cell, CellState.DONE, done=total, total=total)
        return True

    def _homeless(self, cell: Cell, reason: str) -> None:
        self._broken(cell, reason, Cause.LAB)

    def _remember(self, cell: Cell, built: Built) -> None:
        """Remember a build. What is on record stays: a run goes on with the kernels that it began with, or not."""
        now = built.provenance
        with self._recording:
            before = self.builds.get(cell.key)
            if before is None:
                self.builds[cell.key] = now
                self._unwritten = True
        if before is None:
            return
        if before.key != now.key:
            raise UsageError(f"{cell.key}: another kernel: recorded {before.key}, now {now.key}")

    def _write_builds(self) -> None:
        """Put the builds on record that are not yet. A cell waits for this, so that no evidence is without its build.

        One write serves all builds until then: a write for each would take a thousand cells a thousand times as long.
        """
        with self._writing:
            with self._recording:
                if not self._unwritten:
                    return
                self._unwritten = False
                builds = dict(self.builds)
            self.run_dir.write_metadata(self.metadata.changed(builds=builds))

    def _building(self, cell: Cell) -> Progress:
        def tell(detail: str, *, done: float | None = None) -> None:
            self.screen.building(cell, detail, done)

        return tell

    def _broken(self, cell: Cell, reason: str, cause: Cause) -> None:
        evidence = self.run_dir.cell(cell.topology.name, cell.kernel.name, cell.repeat)
        evidence.finish(CellStatus.BROKEN, reason, cause=Cause.INTERRUPTED if self.stopping.is_set() else cause)
        self.screen.cell(cell, CellState.BROKEN)

    def _cell(self, cell: Cell, built: Built, gate: Gate, shown: Screen, placed: Task) -> Task | None:
        """Run a cell on the host that it was placed on; return the task if it is to be placed again."""
        if self.stopping.is_set():
            return None
        self._write_builds()
        order = CellOrder(
            cell=cell.of_release(built.provenance.release),
            fresh=self.plan.spec.isolation == "fresh",
            built=built,
            evidence=self.run_dir.cell(cell.topology.name, cell.kernel.name, cell.repeat),
            cases=self.cases,
            screen=shown,
            stopping=self.stopping,
            kept=self.kept.get(cell.name, ()),
            keeper=self.keeper,
            verified=partial(self._confirm, cell, gate),
        )
        return self.place.run(order, placed)
