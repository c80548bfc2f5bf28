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
from functools import partial
from pathlib import Path

from lab.build import kernel, programs, rootfs
from lab.build.builder import Artifacts, Builder
from lab.cluster import offer, pack
from lab.cluster.engine import ANSWER
from lab.cluster.job import AttemptResult, BuildJob, BuildResult, CellJob, HostLoad, Ingredients, ProgramEntry
from lab.cluster.offer import HostWork
from lab.cluster.store import Store
from lab.core import paths, proc
from lab.core.cache import Cache, default_root, explain_os_error
from lab.core.errors import DiskFull, InfraError, LabError
from lab.core.outcome import Cause, CellResult, CellStatus
from lab.core.progress import Progress
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
MAX_DETAIL = 200
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
class BuildProgress:
    """The progress of a build on another host. It ends the build, in the thread that carries it out, when told to."""

    send: Callable[[str], object]
    order: str
    stopping: threading.Event
    _thread: int = field(default_factory=threading.get_ident)
    _sent: float = 0.0

    def __call__(self, detail: str, *, done: float | None = None) -> None:
        """Send, now and then, how far the build is; InfraError if nobody waits for it any more."""
        if self.stopping.is_set() and threading.get_ident() == self._thread:
            raise InfraError("the build was ended: nobody waits for it")
        if time.monotonic() - self._sent >= TELL_S:
            self._sent = time.monotonic()
            self.send(json.dumps({"build": self.order, "detail": detail[:MAX_DETAIL], "done": done}))


@dataclass(slots=True, kw_only=True)
class RunningJob:
    """An attempt or a build under way in this process."""

    run: str
    what: str
    end_guests: Callable[[], None]
    stopping: threading.Event = field(default_factory=threading.Event)
    since: float = field(default_factory=time.monotonic)

    def stop(self) -> None:
        """End the attempt; what it has so far is its evidence."""
        if not self.stopping.is_set():
            self.stopping.set()
            self.end_guests()


@dataclass(slots=True)
class Stopwatch:
    """Measures what follows one after the other."""

    _since: float = field(default_factory=time.monotonic)

    def lap(self) -> float:
        """Return the seconds since the last lap."""
        before, self._since = self._since, time.monotonic()
        return self._since - before


@dataclass(slots=True, kw_only=True)
class WorkerHost:
    """This process as a host of a cluster."""

    name: str
    cache_root: Path
    store: str = ""
    """The URL under which this host reaches the store, if it is not the one that a job names."""
    guests: int | None = None
    """How many guests may run at once, if the user limits them."""
    say: Callable[[str], object] = lambda _: None
    """Called with a line for the user of this host."""
    jobs: dict[str, RunningJob] = field(default_factory=dict)
    work: HostWork = field(default_factory=lambda: HostWork(since=time.time()))
    """What it has done so far; what it does now is in `jobs`."""
    _stack: ExitStack = field(default_factory=ExitStack)
    _factory: GuestFactory | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def offer(self) -> offer.Offer:
        """Measure what this host can do now."""
        measured = offer.measure(self.name, Cache(self.cache_root), guests=self.guests)
        libvirt = self._factory.hypervisor.version() if self._factory else ""
        return measured.model_copy(update={"libvirt": libvirt, "work": self.at_work()})

    def at_work(self) -> HostWork:
        """Return what it has done, and does now."""
        now = time.monotonic()
        doing = tuple(f"{job.what} for {now - job.since:.0f} s" for job in tuple(self.jobs.values()))
        return self.work.model_copy(update={"doing": doing})

    def factory(self) -> GuestFactory:
        """Return the factory of this process, opened at the first call."""
        with self._lock:
            if self._factory is None:
                workshop = self.builder(Cache(self.cache_root))
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

    def build(self, job: BuildJob, key: str, wanted: Callable[[], bool], send: Callable[[str], object]) -> BuildResult:
        """Build what a cell needs, and store it; the build ends when nobody waits for it any more."""
        what = f"build of {job.machine.name}/{job.kernel_spec.name}"
        running = RunningJob(run=job.run, what=what, end_guests=lambda: None)
        self.say(f"{job.run}: {what}")
        began = time.monotonic()
        with self._store(job) as store, self._watched(key, running, wanted):
            progress = BuildProgress(send=send, order=job.order, stopping=running.stopping)
            try:
                result = BuildResult(ingredients=self._built(job, store, progress))
            except LabError as error:
                result = BuildResult(cause=error.cause, reason=str(error))
        with self._lock:
            self.work = self.work.model_copy(update={"builds": self.work.builds + 1})
        self.say(f"{job.run}: {what}: {result.reason or 'stored'}, after {time.monotonic() - began:.0f} s")
        return result

    def _built(self, job: BuildJob, store: Store, progress: Progress) -> Ingredients:
        return ingredients(self.builder(Cache(self.cache_root, store)), job, progress, store)

    def builder(self, cache: Cache) -> Builder:
        """Return what builds from the lab's own files."""
        return Builder(cache=cache, sources=paths.scenarios())

    # Cells.

    def run(self, job: CellJob, key: str, wanted: Callable[[], bool], send: Callable[[str], object]) -> AttemptResult:
        """Run one attempt and send its evidence to the store; `wanted` says whether somebody still waits for it."""
        what = f"{job.cell.name} attempt {job.attempt}"
        running = RunningJob(run=job.run, what=what, end_guests=lambda: self.end_guests(job))
        screen = EventScreen(send=send, attempt=job.attempt)
        try:
            with self._scratch(job) as directory, self._store(job) as store, self._watched(key, running, wanted):
                result = self._attempt(job, store, directory, running, screen)
        except (LabError, OSError, MemoryError) as error:
            result = _without_evidence(error)
        self._count(result)
        self.say(f"{job.run}: {what}: {result.summary}")
        return result

    def _attempt(
        self, job: CellJob, store: Store, directory: Path, running: RunningJob, screen: EventScreen
    ) -> AttemptResult:
        """Fetch what an attempt needs, carry it out, and send its evidence."""
        clock = Stopwatch()
        load = os.getloadavg()[0]
        bootable = self._fetched(job, store, directory)
        fetch_s = clock.lap()
        evidence = CellDir(directory / cell_directory(job), synced=False)
        placed = partial(evidence.placed, host=job.host, attempt=job.attempt, load=load, fetch_s=fetch_s)
        placed()
        self._work(job, bootable, directory, running, screen, evidence)
        run_s = clock.lap()
        placed(run_s=run_s)
        result = self._sent(job, _result(directory, job.cell), directory, store)
        times = HostLoad(load=load, fetch_s=fetch_s, run_s=run_s, send_s=clock.lap())
        return result.model_copy(update={"load": times})

    def _count(self, result: AttemptResult) -> None:
        """Add an attempt to what this host has done."""
        with self._lock:
            ended = dict(self.work.ended)
            ended[result.status.value] = ended.get(result.status.value, 0) + 1
            run_s = self.work.run_s + result.load.run_s
            self.work = self.work.model_copy(update={"ended": ended, "run_s": run_s})

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
        self,
        job: CellJob,
        bootable: BootableCellLike,
        directory: Path,
        running: RunningJob,
        screen: EventScreen,
        evidence: CellDir,
    ) -> None:
        """Run the scenarios of the cell; whatever happens is evidence in its directory."""
        cell = job.cell
        kept = resume.kept(_result(directory, cell)) if job.base else ()
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


def _without_evidence(error: LabError | OSError | MemoryError) -> AttemptResult:
    """The result of an attempt whose evidence could not be kept or sent."""
    if isinstance(error, MemoryError):
        return AttemptResult(status=CellStatus.BROKEN, cause=Cause.LAB, reason="out of memory on the host")
    failure = error if isinstance(error, LabError) else explain_os_error(error, "an attempt's files")
    reason = str(failure)[:2000]
    if isinstance(failure, DiskFull):
        reason = f"disk full on the host: {reason}"
    return AttemptResult(status=CellStatus.BROKEN, cause=failure.cause, reason=reason)


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
    """Return this host's offer. It has as many guests as the engine runs tasks there, if Dask started the worker."""
    from distributed import get_worker

    found = this_worker().offer()
    threads = int(get_worker().state.nthreads)
    return found.model_copy(update={"guests": min(found.guests, threads)}).encode()


def build(document: bytes) -> bytes:
    """Carry out a build job in a worker of the engine."""
    job = BuildJob.decode(document)
    return _answered(job, lambda task: this_worker().build(job, task.key, task.wanted, task.send).encode())


def run_cell(document: bytes) -> bytes:
    """Carry out a cell job in a worker of the engine."""
    job = CellJob.decode(document)
    return _answered(job, lambda task: this_worker().run(job, task.key, task.wanted, task.send).encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """A task of the engine that is under way in this thread."""

    key: str
    wanted: Callable[[], bool]
    """Whether somebody still waits for it."""
    send: Callable[[str], object]
    """Reports to the lab that asked."""


def _answered(job: BuildJob, carry_out: Callable[[_Task], bytes]) -> bytes:
    """Carry out a job, and send the answer as an event too."""
    from distributed import get_worker

    worker = get_worker()
    key = str(worker.get_current_task())

    def wanted() -> bool:
        task = worker.state.tasks.get(key)
        return task is not None and task.state == "executing" and str(worker.status) == "Status.running"

    def send(message: str) -> None:
        worker.log_event(topic(job.run), message)

    answer = carry_out(_Task(key=key, wanted=wanted, send=send))
    send(json.dumps({"key": key, ANSWER: answer.decode()}))
    return answer


def stop_run(run: str) -> None:
    """End the attempts of a run on this host."""
    this_worker().stop(run)
