# SPDX-License-Identifier: GPL-2.0-or-later
"""Fakes for a cluster: artefacts of a few bytes, a host whose guests only sleep, and hosts in threads of one process.

Store, jobs, evidence, the fence, the schedule and the runner are real. `python -m tests.cluster_fakes ROLE`
is a scheduler, a worker with such a host, or a lab that runs such cells on them.
"""

from __future__ import annotations

import json
import secrets
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from lab.build import programs
from lab.build.builder import Artifacts, Builder
from lab.build.kernel import ENTRY as KERNEL
from lab.build.kernel import BuiltKernel
from lab.build.rootfs import ENTRY as ROOTFS
from lab.build.rootfs import Rootfs
from lab.build.rootfs import recorded as rootfs_recorded
from lab.cluster import engine, worker
from lab.cluster.engine import HostLost
from lab.cluster.job import BuildJob, CellJob
from lab.cluster.members import Members
from lab.cluster.offer import ArchOffer, Offer, lab_hash
from lab.cluster.place import ClusterPlace, opened
from lab.cluster.store import Store
from lab.cluster.worker import WorkerHost
from lab.core import paths
from lab.core.cache import Cache, digest
from lab.core.deadline import Deadline, pause
from lab.core.errors import DiskFull, LabError
from lab.core.outcome import CellStatus, Ended
from lab.core.progress import Progress
from lab.core.sizes import GIB
from lab.evidence import read
from lab.evidence.metadata import Metadata, Provenance
from lab.evidence.write import RunDir
from lab.host.estimate import Packing
from lab.host.history import History
from lab.host.schedule import Budget
from lab.run import campaign
from lab.run.protocols import BootableCellLike
from lab.run.runner import Runner
from lab.specs.model import CampaignSpec, Kernel, Topology
from lab.specs.plan import Cell, Plan, Selection, build_of, plan
from lab.verdicts.compare import conclude
from tests.unit.fakes import BUILD, CASES, GOOD, Behaviour, FakeCell, FakeGuest, NoScreen, ended

GUESTS = 4
PACKING = Packing(budget=Budget(memory=64 * GIB, cpus=32.0, guests=64), history=History())
POLL_S = 0.02


def machines(count: int, kernels: Sequence[str] = ("patched",)) -> Plan:
    """A plan of so many machines, each with these kernels and one scenario."""
    topologies = []
    for number in range(count):
        facts = {"name": f"m{number:04}", "arch": "x86_64", "page_size": "4K", "memory": "256M"}
        topologies.append(Topology.model_validate(facts))
    known = {
        "baseline": Kernel(name="baseline", source="tarball:x"),
        "patched": Kernel(name="patched", source="tarball:x", series="s", provides=frozenset({"shm-expand"})),
    }
    names = tuple(topology.name for topology in topologies)
    spec = CampaignSpec(name="cluster", topologies=names, kernels=tuple(kernels), isolation="shared")
    return plan(spec, topologies, [known[name] for name in kernels], [Selection(scenario="demo")])


def shipped(cells: int, kernels: Sequence[str] = ("baseline", "patched")) -> Plan:
    """A plan whose kernels other hosts can build too: their source and series come with the lab."""
    planned = machines(cells, kernels)
    found = []
    for cell in planned.cells:
        series = "expand-fault" if cell.kernel.name == "patched" else None
        kernel = cell.kernel.model_copy(update={"source": "debian:linux-source-6.12", "series": series})
        found.append(replace(cell, kernel=kernel, build=build_of(cell.topology, kernel)))
    return replace(planned, cells=tuple(found))


def artefacts(cache: Cache, kernel_name: str) -> Artifacts:
    """A kernel, a userland and a program of a few bytes, as entries of the cache."""
    key = digest("fake", kernel_name)

    def make_kernel(entry: Path) -> None:
        for name in ("image", "config", "notes", "System.map", "build.log"):
            (entry / name).write_text(f"{kernel_name} {name}\n")
        (entry / "build.json").write_text(json.dumps({"image": "image"}))

    def make_rootfs(entry: Path) -> None:
        for name in ("initrd", "host_key.pub", "notes"):
            (entry / name).write_text("")

    def make_program(entry: Path) -> None:
        (entry / "demo").write_bytes(b"\x7fELF")

    root = cache.entry(KERNEL, key, make_kernel)
    userland = cache.entry(ROOTFS, digest("rootfs"), make_rootfs)
    program = cache.entry("program", digest("demo"), make_program)
    found = {name: "" for name in Provenance.model_fields if name not in ("refused", "userland")}
    facts = {**found, **BUILD.document(), "key": key, "patches": (), "config_changes": (), "fixes": ()}
    facts |= {"build_s": 1.0, "cpu_s": 1.0, "full_build": True, "series_sha256": kernel_name, "build_id": kernel_name}
    built = BuiltKernel(
        image=root / "image",
        config=root / "config",
        notes=root / "notes",
        system_map=root / "System.map",
        log=root / "build.log",
        provenance=Provenance.model_validate(facts),
    )
    loaded = rootfs_recorded(userland.name, cache)
    assert isinstance(loaded, Rootfs)
    tests = programs.GuestTests(programs={"demo": program / "demo", "later": program / "demo"}, key="")
    return Artifacts(kernel=built, rootfs=loaded, tests=tests)


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeBuilder:
    """Builds such artefacts; stands for `lab.build.builder.Builder`."""

    cache: Cache
    sources: tuple[Path, ...] = ()
    kernels: Mapping[object, object] = field(default_factory=dict)
    suites: None = None
    seconds: float = 0.0
    made: list[str] = field(default_factory=list)

    def make(self, topology: Topology, kernel: Kernel, progress: Progress) -> Artifacts:
        for step in range(round(self.seconds / POLL_S)):
            progress(f"step {step}", done=step * POLL_S / self.seconds)
            pause(POLL_S)
        self.made.append(kernel.name)
        return artefacts(self.cache, kernel.name)


@dataclass
class SleepingGuest(FakeGuest):
    """A guest whose program takes a while; it ends at once when it is told to."""

    seconds: float = 0.0
    ended_early: threading.Event = field(default_factory=threading.Event)
    stdout: bytes = GOOD

    def run(
        self,
        command: str,
        *,
        deadline: Deadline,
        silence_s: float | None = None,
        on_stdout: Callable[[bytes], None] | None = None,
    ) -> Ended:
        self.ended_early.wait(self.seconds)
        return replace(ended(self.stdout), duration_s=self.seconds)


@dataclass
class SleepingCell(FakeCell):
    """A cell of such guests."""

    seconds: float = 0.0
    ended_early: threading.Event = field(default_factory=threading.Event)
    stdout: bytes = GOOD
    flood: int = 0
    """Bytes that its console has."""

    def boot(self, console: Path) -> FakeGuest:
        booted = super().boot(console)
        if self.flood:
            with console.open("ab") as file:
                file.write(b"x" * 99 + b"\n" * (self.flood // 100))
                file.truncate(self.flood)
        behaviour, log = booted.behaviour, booted.console
        ended_early, stdout = self.ended_early, self.stdout
        return SleepingGuest(behaviour, log, self, seconds=self.seconds, ended_early=ended_early, stdout=stdout)


@dataclass(slots=True, kw_only=True)
class FakeHost(WorkerHost):
    """A host whose guests only sleep."""

    seconds: float = 0.0
    offered_lab: str = ""
    clock_s: float = 0.0
    """How far its clock is off."""
    flood: int = 0
    stdout: bytes = GOOD
    """What every program prints."""
    disk_full: bool = False
    builds: bool = False
    """Whether it has a compiler."""
    build_s: float = 0.0
    builders: list[FakeBuilder] = field(default_factory=list)
    cells: dict[tuple[str, int], SleepingCell] = field(default_factory=dict)

    def offer(self) -> Offer:
        return Offer(
            name=self.name,
            lab=self.offered_lab or lab_hash(),
            version="0",
            machine="x86_64",
            kernel="6",
            cpus=GUESTS,
            memory=16 * GIB,
            guests=self.guests or GUESTS,
            disk=100 * GIB,
            load=0.0,
            time=time.time() + self.clock_s,
            arches={"x86_64": ArchOffer(emulator="7.2", build=self.builds)},
            work=self.at_work(),
        )

    def bootable(self, job: CellJob, cache: Cache) -> BootableCellLike:
        if self.disk_full:
            raise DiskFull("disk full while writing the evidence")
        programs = {selection.scenario: Path("/demo") for selection in job.selections}
        cell = SleepingCell(
            [Behaviour(runs=[ended(self.stdout)])] * 9,
            programs=programs,
            seconds=self.seconds,
            flood=self.flood,
            stdout=self.stdout,
        )
        self.cells[job.label, job.attempt] = cell
        return cell

    def end_guests(self, job: CellJob) -> None:
        if cell := self.cells.get((job.label, job.attempt)):
            cell.ended_early.set()

    def builder(self, cache: Cache) -> Builder:
        self.builders.append(made := FakeBuilder(cache=cache, seconds=self.build_s))
        return cast(Builder, made)


# Hosts in threads.


@dataclass(slots=True, kw_only=True)
class ThreadRemote:
    """A task of a host in this process."""

    address: str
    thread: threading.Thread
    answer: list[bytes | BaseException]

    def result(self, alive: Callable[[str], bool]) -> bytes:
        """Return the answer. One that is not fetched before the host leaves is lost, as a scheduler loses it."""
        while True:
            if not alive(self.address):
                raise HostLost("the host left the cluster")
            if self.answer:
                break
            pause(POLL_S)
        found = self.answer[0]
        if isinstance(found, BaseException):
            raise found
        return found


@dataclass(slots=True, kw_only=True)
class ThreadConnection:
    """Hosts of this process by address; stands for `lab.cluster.engine.SchedulerClient`."""

    hosts: dict[str, FakeHost]
    address: str = "tls://fake:1"
    names: dict[str, str] = field(default_factory=dict)
    """Address -> what the scheduler calls a worker, where that is not the host's own name."""
    heard: list[Callable[[Mapping[str, Any]], None]] = field(default_factory=list)

    def members(self) -> dict[str, str]:
        return {address: self.names.get(address, host.name) for address, host in self.hosts.items()}

    def alive(self, address: str) -> bool:
        return address in self.hosts

    def submit(self, function: Callable[[bytes], bytes], document: bytes, address: str, key: str) -> ThreadRemote:
        if address not in self.hosts:
            raise HostLost("the host left the cluster")
        host, answer = self.hosts[address], list[bytes | BaseException]()

        def work() -> None:
            try:
                answer.append(self._carry_out(function, host, document, key))
            except BaseException as error:
                answer.append(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return ThreadRemote(address=address, thread=thread, answer=answer)

    def _carry_out(self, function: Callable[[bytes], bytes], host: FakeHost, document: bytes, key: str) -> bytes:
        if function is worker.measure:
            return host.offer().encode()
        if function is worker.build:
            return host.build(BuildJob.decode(document), key, lambda: True, self._say).encode()
        job = CellJob.decode(document)
        return host.run(job, key, lambda: True, self._say).encode()

    def _say(self, message: str) -> None:
        for each in self.heard:
            each(json.loads(message))

    def tell(self, function: Callable[..., Any], word: str) -> None:
        for host in tuple(self.hosts.values()):
            host.stop(word)

    def follow(self, topic: str, heard: Callable[[Mapping[str, Any]], None]) -> None:
        self.heard.append(heard)

    def unfollow(self, topic: str) -> None:
        pass


NO_HOST_S = 15.0


def be_scheduler(address: str, certs: str, lost_s: str) -> None:
    """Run a scheduler until it is killed."""
    with engine.scheduler(address, Path(certs), lost_s=float(lost_s)):
        threading.Event().wait()


def be_worker(address: str, name: str, certs: str, cache: str, seconds: str, lost_s: str, *options: str) -> None:
    """Be a worker whose guests only sleep.

    `options`: `--lab HASH`, `--clock SECONDS`, `--disk-full`, `--builds SECONDS`.
    """
    given = dict(zip(options, (*options[1:], ""), strict=False))
    host = FakeHost(
        name=name,
        cache_root=Path(cache),
        seconds=float(seconds),
        offered_lab=given.get("--lab", ""),
        clock_s=float(given.get("--clock", 0)),
        disk_full="--disk-full" in given,
        builds="--builds" in given,
        build_s=float(given.get("--builds", 0)),
        say=print_line,
    )
    worker.become(host)
    scratch = Path(cache) / "dask"
    scratch.mkdir(parents=True, exist_ok=True)
    engine.serve_worker(address, name, Path(certs), scratch, host.stop, lost_s=float(lost_s))


def be_lab(address: str, certs: str, directory: str, cells: str, lost_s: str, hosts: str, *options: str) -> int:
    """Run a campaign of so many cells, and return its exit status.

    `resume` goes on with one, `small` takes little evidence, `builds` has the kernels built on the hosts.
    """
    path, planned = Path(directory), machines(int(cells))
    if "builds" in options:
        planned = shipped(int(cells), ("patched",))
    metadata = campaign.describe(planned, CASES)
    run_dir = RunDir(path / "run")
    if "resume" in options:
        found = {cell.topology: cell for cell in read.load(run_dir.path).cells}
        left = [cell for cell in planned.cells if found[cell.topology.name].status is not CellStatus.OK]
        planned = replace(planned, cells=tuple(left))
    else:
        run_dir = RunDir.create(path, "test", metadata, output=run_dir.path)
    with engine.connected(address, Path(certs), lost_s=float(lost_s)) as connection:
        Deadline.after(60, "the hosts to join").wait_for(lambda: len(connection.members()) >= int(hosts))
        small, builds = "small" in options, "builds" in options
        run_cells(connection, planned, run_dir, metadata, small=small, builds=builds)
    return conclude(read.load(run_dir.path)).exit_code


def print_line(line: str) -> None:
    print(line, flush=True)


@dataclass(slots=True)
class PrintingScreen(NoScreen):
    """Prints the first progress of each build."""

    shown: set[str] = field(default_factory=set)

    def building(self, cell: Cell, detail: str, done: float | None) -> None:
        line = f"build of {cell.name} {detail}"
        if detail.startswith("on ") and line not in self.shown:
            self.shown.add(line)
            print_line(line)


def run_cells(
    connection: engine.SchedulerClient,
    planned: Plan,
    run_dir: RunDir,
    metadata: Metadata,
    *,
    small: bool = False,
    builds: bool = False,
) -> None:
    """Run cells on the workers of a scheduler; with `builds`, this computer has no room for a compiler."""
    note, path = print_line, run_dir.path.parent
    members = Members(connection=connection, note=note, client=Budget(memory=0 if builds else GIB, cpus=1.0, guests=0))
    place = ClusterPlace(
        members=members,
        store=Store(url=str(path / "store"), scratch=path / "tmp", warn=note),
        builder=cast(Builder, FakeBuilder(cache=Cache(path / "cache-lab"), sources=paths.scenarios())),
        run_dir=run_dir,
        run_name=f"run.{secrets.token_hex(4)}",
        note=note,
        max_evidence=10 if small else 1 << 20,
        no_host_s=NO_HOST_S,
    )
    with members.followed(), opened(place):
        runner: Runner[Any] = Runner(
            plan=planned,
            place=place,
            run_dir=run_dir,
            metadata=metadata,
            cases=CASES,
            screen=PrintingScreen(),
            packing=PACKING,
            to_build={cell.build for cell in planned.cells if builds},
        )
        runner.run()


ROLES: Mapping[str, Callable[..., int | None]] = {"scheduler": be_scheduler, "worker": be_worker, "lab": be_lab}

if __name__ == "__main__":
    role, *words = sys.argv[1:]
    try:
        sys.exit(ROLES[role](*words))
    except LabError as error:
        print(error, flush=True)
        sys.exit(error.exit_code)
