# SPDX-License-Identifier: GPL-2.0-or-later
"""A host's side: what a lab asks of it (an offer, a build, a cell), each as bytes of JSON in and out.

A worker's process has one `WorkerHost`. It opens libvirt for the first cell and keeps it. A cell that nobody waits for
any more (its lab or the scheduler is gone) is ended with its guests; if the process itself is killed, the reaper ends
them.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lab.build import kernel, programs, rootfs
from lab.build.builder import Artifacts, Builder
from lab.cluster import offer, pack
from lab.cluster.engine import ANSWER
from lab.cluster.job import AttemptResult, BuildJob, BuildResult, CellJob, HostLoad, Ingredients, ProgramEntry
from lab.cluster.store import Store
from lab.core import paths, proc
from lab.core.cache import Cache, default_root, explain_os_error
from lab.core.errors import DiskFull, InfraError, LabError
from lab.core.outcome import Cause, CellResult, CellStatus
from lab.core.progress import Progress, silent
from lab.evidence import read
from lab.evidence.events import cell_path
from lab.evidence.write import CellDir
from lab.guests.factory import BootableCell, GuestFactory, open_factory
from lab.run import resume
from lab.run.cell import CellWork
from lab.run.first_killer import FirstKiller
from lab.run.protocols import BootableCellLike, CellState
from lab.specs.plan import Cell

WATCH_S = 0.5
TELL_S = 1.0
"""A cell's progress is reported at most once in so many seconds."""
MAX_BASE = 2 << 30


def topic(run: str) -> str:
    """Return the name under which hosts report the progress of a run's cells."""
    return f"pagelab-{run}"


@dataclass(slots=True, kw_only=True)
class EventScreen:
    """The screen of a cell on another host: its changes are sent to the lab that asked."""

    send: Callable[[str], object]
    attempt: int
    _sent: float = 0.0

    def building(self, cell: Cell, detail: str, done: float | None) -> None:
        """Send nothing: an attempt builds nothing."""

    def placed(self, cell: Cell, host: str) -> None:
        """Send nothing: whoever placed it knows."""

    def cell(self, cell: Cell, state: CellState, *, scenario: str = "", done: int = 0, total: int = 0) -> None:
        """Send that a cell boots or runs; the lab knows by itself when it is over."""
        if state in (CellState.BOOTING, CellState.RUNNING):
            self._send(cell, state, scenario, done, total)

    def progress(self, cell: Cell, scenario: str, done: int, total: int) -> None:
        """Send, now and then, how far a scenario is."""
        if time.monotonic() - self._sent >= TELL_S:
            self._send(cell, CellState.RUNNING, scenario, done, total)

    def _send(self, cell: Cell, state: CellState, scenario: str, done: int, total: int) -> None:
        self._sent = time.monotonic()
        shown = {"state": state.name, "scenario": scenario, "done": done, "total": total}
        self.send(json.dumps({"cell": cell.name, "attempt": self.attempt, **shown}))


@dataclass(slots=True, kw_only=True)
class RunningJob:
    """An attempt under way in this process."""

    run: str
    end_guests: Callable[[], None]
    stopping: threading.Event = field(default_factory=threading.Event)

    def stop(self) -> None:
        """End the attempt; what it has so far is its evidence."""
        if not self.stopping.is_set():
            self.stopping.set()
            self.end_guests()


@dataclass(slots=True, kw_only=True)
class WorkerHost:
    """This process as a host of a cluster."""

    name: str
    cache_root: Path
    store: str = ""
    """The URL under which this host reaches the store, if it is not the one that a job names."""
    guests: int | None = None
    """How many guests may run at once, if the user limits them."""
    jobs: dict[str, RunningJob] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)
    _factory: GuestFactory | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def offer(self) -> offer.Offer:
        """Measure what this host can do now."""
        measured = offer.measure(self.name, Cache(self.cache_root), guests=self.guests)
        if self._factory is None:
            return measured
        return measured.model_copy(update={"libvirt": self._factory.hypervisor.version()})

    def factory(self) -> GuestFactory:
        """Return the factory of this process, opened at the first call."""
        with self._lock:
            if self._factory is None:
                workshop = Builder(cache=Cache(self.cache_root), sources=paths.scenarios())
                self._factory = self._stack.enter_context(open_factory(workshop))
            return self._factory

    def stop(self, run: str | None = None) -> None:
        """End the attempts of a run, or all."""
        for job in tuple(self.jobs.values()):
            if run in (None, job.run):
                job.stop()

    def close(self) -> None:
        """End everything that this process started."""
        self.stop()
        proc.abort()
        if self._factory:
            self._factory.abort()
        self._stack.close()

    # Builds.

    def build(self, job: BuildJob) -> BuildResult:
        """Build what a cell needs, and store it."""
        with self._store(job) as store:
            try:
                cache = Cache(self.cache_root, store)
                builder = Builder(cache=cache, sources=paths.scenarios())
                return BuildResult(ingredients=ingredients(builder, job, silent, store))
            except LabError as error:
                return BuildResult(cause=error.cause, reason=str(error))

    # Cells.

    def run(self, job: CellJob, key: str, wanted: Callable[[], bool], send: Callable[[str], object]) -> AttemptResult:
        """Run one attempt and send its evidence to the store; `wanted` says whether somebody still waits for it."""
        load = os.getloadavg()[0]
        with self._scratch(job) as directory, self._store(job) as store:
            try:
                started = time.monotonic()
                bootable = self._fetched(job, store, directory)
                fetch_s = time.monotonic() - started
                running = RunningJob(run=job.run, end_guests=lambda: self.end_guests(job))
                with self._watched(key, running, wanted):
                    found = self._work(job, bootable, directory, running, EventScreen(send=send, attempt=job.attempt))
                run_s = time.monotonic() - started - fetch_s
                result = self._sent(job, found, directory, store)
            except (LabError, OSError) as error:
                return _without_evidence(error, load)
            send_s = time.monotonic() - started - fetch_s - run_s
        times = HostLoad(load=load, fetch_s=fetch_s, run_s=run_s, send_s=send_s)
        return result.model_copy(update={"load": times})

    def bootable(self, job: CellJob, cache: Cache) -> BootableCellLike:
        """Return what the guests of an attempt boot from, once its entries are in the cache."""
        parts, machine = job.ingredients, job.machine
        built = kernel.recorded(parts.built_from, cache)
        userland = rootfs.recorded(parts.rootfs.partition("/")[2], cache)
        if built is None or userland is None:
            raise InfraError(f"{job.cell.name}: its kernel or userland is not in the cache")
        found = {name: _path(cache, program) for name, program in parts.programs.items()}
        products = Artifacts(
            kernel=built,
            rootfs=userland,
            tests=programs.GuestTests(programs=found, key=""),
            probes=tuple(_path(cache, program) for program in parts.probes),
        )
        return BootableCell(name=_guest_prefix(job), topology=machine, products=products, factory=self.factory())

    def end_guests(self, job: CellJob) -> None:
        """End the guests of an attempt."""
        if self._factory:
            self._factory.hypervisor.end_named(f"{_guest_prefix(job)}-")

    def _fetched(self, job: CellJob, store: Store, directory: Path) -> BootableCellLike:
        """Bring what the attempt needs into the cache, and what an earlier lab left of the cell into its directory."""
        cache = Cache(self.cache_root, store)
        for entry in job.ingredients.entries:
            kind, _, key = entry.partition("/")
            if not cache.has(kind, key) and not store.has(kind, key):
                raise InfraError(f"{entry} is neither in the cache of {self.name} nor in the store {store.url}")
            if not cache.obtain(kind, key):
                raise DamagedArtefact(f"{entry} in the store {store.url} is damaged")
        if job.base:
            with store.temporary() as tar:
                store.download(job.base_name, tar, job.base)
                pack.unpack(tar, directory / cell_directory(job), limit=MAX_BASE)
        return self.bootable(job, cache)

    def _work(
        self, job: CellJob, bootable: BootableCellLike, directory: Path, running: RunningJob, screen: EventScreen
    ) -> CellResult:
        """Run the scenarios of the cell; whatever happens is evidence in the directory, which is read back."""
        cell, path = job.cell, directory / cell_directory(job)
        kept = resume.kept(_result(directory, cell)) if job.base else ()
        evidence = CellDir(path, synced=False)
        evidence.placed(host=job.host, attempt=job.attempt, load=os.getloadavg()[0])
        work = CellWork(
            cell=cell,
            fresh=job.fresh,
            built=bootable,
            evidence=evidence,
            cases=job.declared,
            screen=screen,
            stopping=running.stopping,
            kept=kept,
            keeper=_first_killer(job, running.stopping),
        )
        work.run()
        return _result(directory, cell)

    def _sent(self, job: CellJob, result: CellResult, directory: Path, store: Store) -> AttemptResult:
        """Send the evidence of an attempt; pack.TooLarge if there is more than the job allows."""
        sha256, size = store.send(directory / cell_directory(job), job.evidence, limit=job.max_evidence)
        return AttemptResult(
            status=result.status,
            cause=result.cause,
            reason=result.reason[:2000],
            sha256=sha256,
            size=size,
            accelerator=result.accelerator,
        )

    @contextmanager
    def _watched(self, key: str, running: RunningJob, wanted: Callable[[], bool]) -> Iterator[None]:
        """Stop an attempt that nobody waits for any more."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(WATCH_S):
                if not wanted():
                    running.stop()
                    return

        watcher = threading.Thread(target=watch, name=f"watch {key}", daemon=True)
        self.jobs[key] = running
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()
            self.jobs.pop(key, None)

    @contextmanager
    def _scratch(self, job: CellJob) -> Iterator[Path]:
        """The directory of an attempt, which is gone afterwards."""
        with Cache(self.cache_root).scratch("attempt") as scratch:
            path = scratch / cell_directory(job)
            try:
                path.mkdir(parents=True)
            except OSError as error:
                raise explain_os_error(error, str(path)) from error
            yield scratch

    @contextmanager
    def _store(self, job: BuildJob) -> Iterator[Store]:
        with Cache(self.cache_root).scratch("store") as scratch:
            yield Store(url=self.store or job.store, scratch=scratch)


class DamagedArtefact(InfraError):
    """An artefact of the store is not what was put there; whoever has it can store it again."""

    cause = Cause.DAMAGED


def cell_directory(job: CellJob) -> Path:
    """Return the directory of a cell's evidence, as it is below that of a run."""
    return cell_path(job.machine.name, job.kernel_spec.name, job.repeat)


def ingredients(
    builder: Builder, job: BuildJob, progress: Progress, store: Store, stored: set[str] | None = None
) -> Ingredients:
    """Build what a cell needs, or find it in the cache; see to it that the store has it.

    Entries that are `stored` as far as the caller knows are not looked up again; what is stored is added to them.
    """
    products = builder.make(job.machine, job.kernel_spec, progress)
    found = described(products, builder.cache)
    known = set[str]() if stored is None else stored
    for entry in found.entries:
        if entry not in known:
            kind, _, key = entry.partition("/")
            store.put(kind, key, builder.cache.path(kind, key))
            known.add(entry)
    return found


def described(products: Artifacts, cache: Cache) -> Ingredients:
    """Return artefacts of the cache as a job names them."""
    provenance = products.kernel.provenance.changed(userland=products.rootfs.key)
    found = {name: _entry(cache, path) for name, path in products.tests.programs.items()}
    return Ingredients(
        provenance=provenance.document(),
        kernel=f"{kernel.ENTRY}/{provenance.key}",
        rootfs=f"{rootfs.ENTRY}/{products.rootfs.key}",
        programs=found,
        probes=tuple(_entry(cache, path) for path in products.probes),
    )


def _entry(cache: Cache, path: Path) -> ProgramEntry:
    """The cache entry that has a program."""
    kind, key, file = path.relative_to(cache.root).parts
    return ProgramEntry(entry=f"{kind}/{key}", file=file)


def _first_killer(job: CellJob, stop: threading.Event) -> FirstKiller | None:
    """What ends a cell before its last scenario; None if nothing does."""
    rule = job.stop_rule
    return FirstKiller(unsound=frozenset(rule.unsound), suites=rule.suites, stop=stop) if rule else None


def _path(cache: Cache, program: ProgramEntry) -> Path:
    return cache.root / program.entry / program.file


def _guest_prefix(job: CellJob) -> str:
    """How the names of an attempt's guests begin: no other attempt has guests of these names."""
    return f"{job.machine.name}-{job.kernel_spec.name}-r{job.repeat}a{job.attempt}"


def _result(directory: Path, cell: Cell) -> CellResult:
    return read.cell_result(directory, cell.topology.name, cell.kernel.name, cell.repeat)


def _without_evidence(error: LabError | OSError, load: float) -> AttemptResult:
    """The result of an attempt whose evidence could not be kept or sent."""
    failure = error if isinstance(error, LabError) else explain_os_error(error, "an attempt's files")
    reason = str(failure)[:2000]
    if isinstance(failure, DiskFull):
        reason = f"disk full on the host: {reason}"
    return AttemptResult(
        status=CellStatus.BROKEN,
        cause=failure.cause,
        reason=reason,
        load=HostLoad(load=load),
    )


# What the engine calls, by name, in a worker's process.

_host: WorkerHost | None = None
_host_lock = threading.Lock()


def this_worker() -> WorkerHost:
    """Return the host of this process: the one that `lab worker` made, or one for a worker that Dask started."""
    global _host  # noqa: PLW0603
    with _host_lock:
        if _host is None:
            _host = WorkerHost(name=offer.host_name(), cache_root=default_root())
        return _host


def become(host: WorkerHost) -> None:
    """Make a host that of this process."""
    global _host  # noqa: PLW0603
    with _host_lock:
        _host = host


def measure(_document: bytes) -> bytes:
    """Return this host's offer."""
    return this_worker().offer().encode()


def build(document: bytes) -> bytes:
    """Carry out a build job."""
    return this_worker().build(BuildJob.decode(document)).encode()


def run_cell(document: bytes) -> bytes:
    """Carry out a cell job in a worker of the engine."""
    from distributed import get_worker

    job, worker = CellJob.decode(document), get_worker()
    key = str(worker.get_current_task())

    def wanted() -> bool:
        task = worker.state.tasks.get(key)
        return task is not None and task.state == "executing" and str(worker.status) == "Status.running"

    def send(message: str) -> None:
        worker.log_event(topic(job.run), message)

    answer = this_worker().run(job, key, wanted, send).encode()
    send(json.dumps({"key": key, ANSWER: answer.decode()}))
    return answer


def stop_run(run: str) -> None:
    """End the attempts of a run on this host."""
    this_worker().stop(run)
