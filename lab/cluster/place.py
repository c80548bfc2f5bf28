# SPDX-License-Identifier: GPL-2.0-or-later
"""The hosts of a cluster as the place of a run: sends builds and attempts, takes evidence back, replaces lost hosts."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lab.build.builder import Builder
from lab.cluster import pack, worker
from lab.cluster.attempts import Attempts, Became, HostAttempt, adopt, keep_apart
from lab.cluster.engine import HostLost
from lab.cluster.job import (
    AttemptResult,
    BuildJob,
    BuildResult,
    CellJob,
    Ingredients,
    SelectionDocument,
    StopRule,
    cases_document,
    cell_label,
)
from lab.cluster.members import CLIENT, ConnectionLike, Members
from lab.cluster.offer import lab_hash
from lab.cluster.store import EVIDENCE, Store
from lab.core import paths, proc
from lab.core.cache import file_digest
from lab.core.errors import InfraError, LabError
from lab.core.outcome import Cause, CellStatus
from lab.core.progress import Progress
from lab.core.sizes import MIB
from lab.evidence.events import JOURNAL
from lab.evidence.metadata import Provenance
from lab.evidence.write import RunDir
from lab.host.estimate import host_offer
from lab.host.schedule import Task
from lab.run.first_killer import FirstKiller
from lab.run.gate import Turns
from lab.run.protocols import CellOrder, CellState, Screen
from lab.specs.plan import Build, Cell

MAX_ATTEMPTS = 3
MAX_EVIDENCE = 512 * MIB
NO_HOST_S = 60.0
"""How long a cell waits for a host that can run it."""
HOST_FAULTS = frozenset({Cause.DISK_FULL, Cause.LIBVIRT, Cause.DAMAGED, Cause.LAB, Cause.QEMU_DEAD})
"""Why a cell is BROKEN that may be well on another host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteBuilt:
    """What a cell boots from, as entries of the store."""

    ingredients: Ingredients

    @property
    def provenance(self) -> Provenance:
        return self.ingredients.built_from


@dataclass(slots=True, kw_only=True)
class ClusterPlace:
    """The hosts of a cluster as the place of one run. Methods may be called from any thread."""

    members: Members
    store: Store
    builder: Builder
    run_dir: RunDir
    run_name: str
    """Names the run on the hosts and in the store."""
    note: Callable[[str], object]
    """Called with a line for the user."""
    max_evidence: int = MAX_EVIDENCE
    no_host_s: float = NO_HOST_S
    attempts: Attempts = field(init=False)
    _orders: dict[tuple[str, int], CellOrder[RemoteBuilt]] = field(default_factory=dict)
    _tried: dict[str, int] = field(default_factory=dict)
    _builds: dict[str, tuple[str, Progress]] = field(default_factory=dict)
    """Build under way on another host -> that host, and where its progress is shown."""
    _aborted: threading.Event = field(default_factory=threading.Event)
    _fetched_of: set[tuple[str, int]] = field(default_factory=set)
    """Cell and number of the attempts whose evidence was fetched."""
    _homeless: dict[str, float] = field(default_factory=dict)
    _trees: dict[object, str] = field(default_factory=dict)
    """Kernel tree -> the host that built of it: the kernels of a pair are built by one compiler."""
    _stored: set[str] = field(default_factory=set)
    """KIND/KEY of the entries that this run has found in the store: a look into it may take a while."""
    _declared: dict[str, tuple[dict[str, Any], ...]] = field(default_factory=dict)
    """Scenario -> its cases as jobs have them."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.attempts = Attempts(self.run_dir.path)

    @property
    def connection(self) -> ConnectionLike:
        return self.members.connection

    @property
    def turns(self) -> Turns:
        """The hosts with their budgets, which all runs share."""
        return self.members.turns

    @property
    def at_once(self) -> int:
        """How many cells may be under way: hosts that join later count too, so there is no bound here."""
        return 1 << 20

    @property
    def builders(self) -> int:
        """How many trees may be built at once: one on each host that can build, and one here."""
        return 1 + sum(offer.can_build for offer in self.members.usable().values())

    def open(self) -> None:
        """Show what the hosts report from now on."""
        self.connection.follow(worker.topic(self.run_name), self._heard)

    def hopeless(self, waiting: Sequence[Task]) -> Sequence[tuple[Task, str]]:
        """Return the tasks that no host could run for `no_host_s` seconds."""
        now = time.monotonic()
        names = {task.name for task in waiting}
        for name in set(self._homeless) - names:
            del self._homeless[name]
        found = []
        for task in waiting:
            since = self._homeless.setdefault(task.name, now)
            if now - since >= self.no_host_s:
                found.append((task, self._why_homeless(task)))
        return found

    def _why_homeless(self, task: Task) -> str:
        needs = ", ".join(sorted(task.needs)) or "nothing special"
        tried = f"; it was lost or failed on {', '.join(sorted(task.avoids))}" if task.avoids else ""
        hosts = ", ".join(sorted(self.members.present())) or "none"
        return f"no host could run it for {self.no_host_s:.0f} s: needs {needs}{tried}; hosts: {hosts}"

    def _heard(self, event: Mapping[str, Any]) -> None:
        """Show what a host reports of an attempt; what comes of another attempt is not shown."""
        if build := self._builds.get(str(event.get("build"))):
            host, progress = build
            progress(f"on {host}: {event.get('detail')}", done=event.get("done"))
            return
        with self._lock:
            order = self._orders.get((str(event.get("cell")), int(event.get("attempt", 0))))
        if order is None:
            return
        state = CellState.__members__.get(str(event.get("state")))
        if state and not state.over:
            counted = {"done": int(event.get("done", 0)), "total": int(event.get("total", 0))}
            order.screen.cell(order.cell, state, scenario=str(event.get("scenario", "")), **counted)

    # Builds.

    def prepare(self, cell: Cell, progress: Progress, host: str) -> RemoteBuilt:
        """Build what a cell needs on a host and have it in the store; a source that only this computer has, here."""
        order = f"{cell_label(cell.name)}/{time.monotonic_ns()}"
        job = BuildJob(run=self.run_name, lab=lab_hash(), store=self.store.url, order=order, **_specs(cell))
        if host in ("", CLIENT):
            found = worker.ingredients(self.builder, job, progress, self.store, self._stored)
        else:
            self._trees[cell.build.tree] = host
            found = self._built_on(host, job, progress)
        return RemoteBuilt(ingredients=found)

    def build_task(self, cell: Cell, task: Task) -> Task:
        """Return the task of a build, bound to a host if it must be that one.

        That is this computer for a source of its own, and the host that has built of the same tree before.
        """
        if not self._portable(cell.build):
            memory = min(task.demand.memory, self.members.client.memory)
            needs = frozenset({host_offer(CLIENT)})
            return replace(task, needs=needs, demand=replace(task.demand, memory=memory))
        before = self._trees.get(cell.build.tree, "")
        if self.members.get(before) is None:
            return task
        return replace(task, needs=task.needs | {host_offer(before)})

    def _built_on(self, host: str, job: BuildJob, progress: Progress) -> Ingredients:
        """Have a host build and store what a cell needs; HostLost if it is lost meanwhile."""
        member = self.members.get(host)
        if member is None:
            raise HostLost(f"host {host} left the cluster")

        def waiting(address: str) -> bool:
            return not self._aborted.is_set() and self.connection.alive(address)

        progress(f"on {host}")
        self._builds[job.order] = host, progress
        key = f"{self.run_name}/build/{job.order}"
        try:
            answer = self.connection.submit(worker.build, job.encode(), member.address, key).result(waiting)
        except HostLost as error:
            self._trees = {tree: name for tree, name in self._trees.items() if name != host}
            if not self._aborted.is_set():
                self.note(f"build on {host}: {error}")
            raise
        finally:
            del self._builds[job.order]
        built = BuildResult.decode(answer)
        if built.ingredients is None:
            raise _BuildElsewhere(f"on {host}: {built.reason}", built.cause)
        return built.ingredients

    def _portable(self, build: Build) -> bool:
        """Whether another host has all that a kernel and its programs are built from: what the lab itself ships."""
        kernel = build.kernel
        shipped = kernel.series is None or (paths.images() / "series" / kernel.series).is_dir()
        fragments = not any("/" in name for name in build.fragments)
        own = self.builder.suites is None and not self.builder.kernels and self.builder.sources == paths.scenarios()
        return kernel.source.startswith("debian:") and shipped and fragments and own

    # Cells.

    def run(self, order: CellOrder[RemoteBuilt], placed: Task) -> Task | None:
        """Run one attempt at a cell on a host, and take its evidence; the task again if it is to run elsewhere."""
        cell, host = order.cell, placed.host
        number = self.attempts.begin(cell.name, host)
        with self._lock:
            self._orders[cell.name, number] = order
            self._tried[cell.name] = self._tried.get(cell.name, 0) + 1
        order.screen.placed(cell, host)
        try:
            job = self._job(order, number, host)
            result = self._result(job, host)
        except HostLost as error:
            reason = f"host {host} was lost: {error}"
            self._noted(cell, number, host, Became.LOST, reason)
            return self._elsewhere(order, placed, reason, Cause.LAB)
        except LabError as error:
            self._noted(cell, number, host, Became.WITHOUT, str(error))
            return self._elsewhere(order, placed, f"host {host}: {error}", error.cause)
        finally:
            with self._lock:
                del self._orders[cell.name, number]
        return self._taken(order, placed, job, result)

    def _result(self, job: CellJob, host: str) -> AttemptResult:
        member = self.members.get(host)
        if member is None:
            raise HostLost("the host left the cluster")
        key = f"{self.run_name}/{job.label}/{job.attempt}"
        remote = self.connection.submit(worker.run_cell, job.encode(), member.address, key)
        return AttemptResult.decode(remote.result(self.connection.alive))

    def _taken(self, order: CellOrder[RemoteBuilt], placed: Task, job: CellJob, result: AttemptResult) -> Task | None:
        """Take the evidence of an attempt that ended; another attempt if the fault was the host's."""
        cell, host = order.cell, placed.host
        host_fault = result.status is CellStatus.BROKEN and result.cause in HOST_FAULTS
        if not result.sha256:
            self._noted(cell, job.attempt, host, Became.WITHOUT, result.reason)
            if result.cause is Cause.DAMAGED:
                self._store_again(job.ingredients)
            return self._elsewhere(order, placed, f"host {host}: {result.reason}", result.cause)
        try:
            evidence = self._fetched(job, result)
        except LabError as error:
            self._noted(cell, job.attempt, host, Became.WITHOUT, str(error))
            return self._elsewhere(order, placed, f"evidence of host {host}: {error}", Cause.DAMAGED)
        self._fetched_of.add((cell.name, job.attempt))
        if host_fault and self._more(order) and not order.stopping.is_set():
            keep_apart(evidence, order.evidence.path, job.attempt, host)
            self._noted(cell, job.attempt, host, Became.APART, result.reason, result.sha256)
            self.store.remove_evidence(self.run_name, job.evidence.rpartition("/")[2])
            return self._elsewhere(order, placed, result.reason, result.cause)
        adopt(evidence, order.evidence.path)
        self._noted(cell, job.attempt, host, Became.COUNTS, sha256=result.sha256)
        self.store.remove_evidence(self.run_name, job.evidence.rpartition("/")[2])
        _show_end(order.screen, order, result.status)
        return None

    def _fetched(self, job: CellJob, result: AttemptResult) -> Path:
        """Get the evidence of an attempt out of the store, into a directory beside the cell's own files."""
        target = self.run_dir.path / "cells" / f".{job.label}.attempt-{job.attempt}"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        limit = 2 * self.max_evidence
        self.store.receive(job.evidence, target, sha256=result.sha256, size=result.size, limit=limit)
        return target

    def _elsewhere(self, order: CellOrder[RemoteBuilt], placed: Task, reason: str, cause: Cause) -> Task | None:
        """Return the task to be placed on another host; after MAX_ATTEMPTS, record the cell as BROKEN."""
        first_line = reason.partition("\n")[0]
        if order.stopping.is_set():
            self._broken(order, "the lab was interrupted", Cause.INTERRUPTED)
            return None
        if not self._more(order):
            tries = self._tried[order.cell.name]
            self._broken(order, f"{tries} attempts failed; the last: {first_line}", cause)
            return None
        self.note(f"{order.cell.name}: {first_line}; it is placed again")
        order.screen.cell(order.cell, CellState.WAITING)
        avoids = placed.avoids | {placed.host}
        if cause is Cause.DAMAGED:  # of the store, not of the host
            avoids = placed.avoids
        return replace(placed, avoids=avoids, host="")

    def _more(self, order: CellOrder[RemoteBuilt]) -> bool:
        return self._tried[order.cell.name] < MAX_ATTEMPTS

    def _broken(self, order: CellOrder[RemoteBuilt], reason: str, cause: Cause) -> None:
        order.evidence.finish(CellStatus.BROKEN, reason, cause=cause)
        order.screen.cell(order.cell, CellState.BROKEN)

    def _job(self, order: CellOrder[RemoteBuilt], number: int, host: str) -> CellJob:
        cell = order.cell
        selections = []
        for selection in cell.scenarios:
            selections.append(SelectionDocument(scenario=selection.scenario, cases=selection.cases))
        built = order.built.ingredients
        wanted = {selection.scenario: built.programs[selection.scenario] for selection in cell.scenarios}
        job = CellJob(
            run=self.run_name,
            lab=lab_hash(),
            store=self.store.url,
            attempt=number,
            host=host,
            repeat=cell.repeat,
            fresh=order.fresh,
            selections=tuple(selections),
            stop_rule=_stop_rule(order),
            cases=self._cases(order),
            ingredients=built.model_copy(update={"programs": wanted}),
            max_evidence=self.max_evidence,
            **_specs(cell),
        )
        return job.model_copy(update={"base": self._base(order, job)})

    def _cases(self, order: CellOrder[RemoteBuilt]) -> dict[str, tuple[dict[str, Any], ...]]:
        """Scenario of a cell -> its cases as a job has them."""
        found = {}
        for selection in order.cell.scenarios:
            name = selection.scenario
            if name not in self._declared:
                self._declared[name] = cases_document(order.cases[name])
            found[name] = self._declared[name]
        return found

    def _base(self, order: CellOrder[RemoteBuilt], job: CellJob) -> str:
        """Send what a killed lab left of a cell; return its SHA-256, empty if nothing of it counts."""
        if not order.kept:
            return ""
        with self.store.temporary() as tar:
            pack.pack(order.evidence.path, tar, limit=worker.MAX_BASE)
            self.store.upload(tar, job.base_name)
            return file_digest(tar)

    def _store_again(self, needed: Ingredients) -> None:
        """Store the entries that this computer has once more, since the store's are damaged."""
        cache = self.builder.cache
        for entry in needed.entries:
            kind, _, key = entry.partition("/")
            if cache.has(kind, key):
                self.store.put(kind, key, cache.path(kind, key), again=True)

    def _noted(self, cell: Cell, number: int, host: str, became: Became, reason: str = "", sha256: str = "") -> None:
        attempt = HostAttempt(
            cell=cell.name, attempt=number, host=host, became=became, reason=reason[:2000], sha256=sha256
        )
        self.attempts.note(attempt)

    # The end.

    def abort(self) -> None:
        """End the attempts of this run on every host; their evidence so far is still taken."""
        self._aborted.set()
        proc.abort()
        self.connection.tell(worker.stop_run, self.run_name)

    def close(self) -> None:
        """Keep what came of attempts that do not count."""
        self.connection.unfollow(worker.topic(self.run_name))
        with suppress(InfraError):
            self.take_late_evidence()

    def take_late_evidence(self) -> None:
        """Keep the evidence apart that hosts stored after they were thought lost."""
        cells = {cell_label(order): order for order in self._tried}
        for name in self.store.evidence(self.run_name):
            label, _, rest = name.removesuffix(".tar").rpartition(".attempt-")
            if label in cells and rest.isdigit():
                if (cells[label], int(rest)) not in self._fetched_of:
                    self._keep_late(cells[label], int(rest), name)
            elif name.endswith(".base.tar"):
                self.store.remove_evidence(self.run_name, name)

    def _keep_late(self, cell: str, number: int, name: str) -> None:
        topology, kernel, *repeat = cell.split("/")
        times = int(repeat[0].removeprefix("repeat-")) if repeat else 1
        evidence = self.run_dir.cell(topology, kernel, times)
        target = self.run_dir.path / "cells" / f".{name}"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        with self.store.temporary() as tar:
            self.store.download(f"{EVIDENCE}/{self.run_name}/{name}", tar)
            sha256 = file_digest(tar)
            try:
                pack.unpack(tar, target, limit=2 * self.max_evidence)
            except InfraError as error:
                self.note(f"{cell}: late evidence of attempt {number} is unusable: {error}")
        host = _host_of(target)
        keep_apart(target, evidence.path, number, host)
        reason = "it came after its host was thought lost"
        self.attempts.note(
            HostAttempt(cell=cell, attempt=number, host=host, became=Became.APART, reason=reason, sha256=sha256)
        )
        self.note(f"{cell}: attempt {number} on {host} ended late; attempt {self.attempts.counts(cell)} counts")
        self.store.remove_evidence(self.run_name, name)


class _BuildElsewhere(InfraError):
    """A build failed on another host, with the cause that it had there."""

    def __init__(self, reason: str, cause: Cause) -> None:
        super().__init__(reason)
        self.cause = cause  # type: ignore[misc]


@contextmanager
def opened(place: ClusterPlace) -> Iterator[ClusterPlace]:
    """Close the place afterwards; UsageError if no host can be given anything."""
    place.members.require()
    try:
        yield place
    finally:
        place.close()


def _specs(cell: Cell) -> dict[str, Any]:
    """The machine and the kernel of a cell as JSON."""
    topology = cell.topology.model_dump(mode="json")
    return {"topology": topology, "kernel": cell.kernel.model_dump(mode="json")}


def _stop_rule(order: CellOrder[RemoteBuilt]) -> StopRule | None:
    """What ends a cell before its last scenario, as a job has it; None if nothing does."""
    keeper = order.keeper
    if not isinstance(keeper, FirstKiller):
        return None
    return StopRule(unsound=tuple(sorted(keeper.unsound)), suites=tuple(keeper.suites))


def _show_end(screen: Screen, order: CellOrder[RemoteBuilt], status: CellStatus) -> None:
    states = {
        CellStatus.OK: CellState.DONE,
        CellStatus.INVALID: CellState.INVALID,
        CellStatus.NO_BOOT: CellState.NO_BOOT,
        CellStatus.BROKEN: CellState.BROKEN,
    }
    total = sum(len(selection.asked_cases(order.cases[selection.scenario])) for selection in order.cell.scenarios)
    screen.cell(order.cell, states[status], done=total, total=total)


def _host_of(evidence: Path) -> str:
    """The host that an attempt's own journal names; `unknown` if it cannot be read."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        first = (evidence / JOURNAL).read_bytes().partition(b"\n")[0]
        name = str(json.loads(first)["host"])
        if name.replace("-", "").replace("_", "").replace(".", "").isalnum():
            return name[:63]
    return "unknown"
