# SPDX-License-Identifier: GPL-2.0-or-later
"""Estimate a plan on this host: what it lacks, what is built already, how long it takes, what guests need."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from lab.build import kernel, toolchain
from lab.build.kernel import Past
from lab.core.cache import Cache
from lab.core.errors import InfraError
from lab.core.sizes import MIB
from lab.host import doctor, history
from lab.host.emulator import release_offer
from lab.host.history import History
from lab.host.schedule import Budget, Demand, Schedule, Stage, Task, makespan
from lab.specs.model import Topology
from lab.specs.plan import Build, Cell, Plan, in_order, possible

GUEST_OVERHEAD = 256 * MIB
"""Memory of an emulator beyond its guest's RAM (translated code, devices); measured 100-200 MiB."""
GUEST_CPUS = 1.0
"""CPUs of a guest whose machine never ran on this host: emulation is mostly one thread."""
BUILD_MEMORY = 512 * MIB
"""Memory of a compiler or linker of a kernel, per job; measured 100-350 MiB."""
MAX_GUESTS = 32
"""The most guests at once without -j: each is a thread, a directory and an SSH connection of the lab."""
MEMORY_SHARE = 0.9
"""Share of the available memory that guests may use; the rest is for the lab and for changes."""
RECENT = 5
FULL_S, INCREMENTAL_S = 240.0, 30.0
"""Seconds of a kernel build if none was ever measured here; taken on two cores, without ccache."""
FETCH_S = 30.0
"""Seconds for a kernel of a distribution to be fetched and unpacked: 29 s for Debian 12's linux-image-amd64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """The host's resources, and what each cell of a plan needs of them."""

    budget: Budget
    history: History
    counted: bool = False
    """Whether the user has set how many guests run at once: then their CPU use does not count."""
    hosts_offer: Sequence[Container[str]] | None = None
    """What each host of a cluster offers; None if guests run on this computer."""
    build_memory: int | None = None
    """Bytes that guests may use on the smallest host that builds; None if kernels are built on this computer."""

    def task(self, cell: Cell) -> Task:
        """Return a cell as a task for the schedule."""
        return Task(
            name=cell.name,
            demand=self.demand(cell),
            seconds=self.history.seconds(cell),
            needs=_needs(cell.topology),
            prefers=frozenset({kvm_offer(cell.build.arch)}),
        )

    def demand(self, cell: Cell) -> Demand:
        """Return what a cell needs.

        Memory: the guest's whole RAM plus the emulator's own, or what was measured, if more. CPU: what was measured,
        rounded to halves, at least one half: a few percent more must not leave a core idle.
        """
        known = self.history.machine(cell)
        cpus = max(0.5, round(known.cpus * 2) / 2) if known and known.cpus else GUEST_CPUS
        memory = max(cell.topology.footprint + GUEST_OVERHEAD, known.peak if known else 0)
        return Demand(memory=memory, cpus=0.0 if self.counted else cpus)

    def build(self, name: str, build: Build) -> Task:
        """Return a kernel build as a task. It runs a compiler per CPU, at a lower priority than guests."""
        memory = min(BUILD_MEMORY * toolchain.jobs(), self.build_memory or self.budget.memory)
        demand = Demand(memory=memory, cpus=0.0, guests=0)
        return Task(name=name, demand=demand, first=True, needs=frozenset({build_offer(build.arch)}))

    def at_once(self, cell: Cell, most: int, *, idle: bool = False) -> int:
        """Return how many guests like a cell's may run at once beside a build, at most `most` and at least one.

        Guests that are `idle` need their memory alone.
        """
        schedule = Schedule(self.budget)
        schedule.add(self.build("build", cell.build))
        task = self.task(cell)
        if idle:
            task = replace(task, demand=replace(task.demand, cpus=0.0))
        for number in range(most):
            schedule.add(replace(task, name=f"{task.name} {number}"))
        return max(1, len(schedule.start()) - 1)


def start_offer(arch: str) -> str:
    """Return what a host offers that can start guests of an architecture."""
    return f"start {arch}"


def host_offer(name: str) -> str:
    """Return what only the host of that name offers: for a task that must run there."""
    return f"host {name}"


def kvm_offer(arch: str) -> str:
    """Return what a host offers on which a guest of an architecture has booted with KVM."""
    return f"kvm {arch}"


def build_offer(arch: str) -> str:
    """Return what a host offers that can build kernels for an architecture."""
    return f"build {arch}"


def packing(cache: Cache, *, jobs: int | None = None, memory: int | None = None) -> Packing:
    """Return the resources of this host, or the user's limits: `jobs` guests at once, `memory` in bytes."""
    budget = Budget(
        memory=memory if memory is not None else int(doctor.available_memory() * MEMORY_SHARE),
        cpus=float(toolchain.jobs()),
        guests=jobs or MAX_GUESTS,
    )
    return Packing(budget=budget, history=history.load(cache), counted=jobs is not None)


def here(planned: Plan, packed: Packing) -> Plan:
    """Return the plan without the machines that this host cannot run; InfraError for one that was named."""
    lacking: dict[str, str] = {}
    for cell in planned.cells:
        if why := _lacking(cell.topology, packed):
            lacking[cell.topology.name] = why
            continue
        demand = packed.demand(cell)
        if packed.budget.never(demand):
            have = f"{packed.budget.memory // MIB} MiB"
            lacking[cell.topology.name] = f"needs {demand.memory // MIB} MiB of memory, there are {have} (--memory)"
    return possible(planned, lacking)


def _needs(topology: Topology) -> frozenset[str]:
    """Return what a host must offer to run a machine."""
    needs = {start_offer(topology.arch)}
    if topology.qemu:
        needs.add(release_offer(topology.arch, topology.qemu))
    return frozenset(needs)


def _lacking(topology: Topology, packed: Packing) -> str:
    """Return why a machine can run nowhere; empty if it can."""
    if packed.hosts_offer is None:
        return doctor.lacking_for(topology)
    needs, emulator = _needs(topology), topology.architecture.qemu
    if any(all(need in offers for need in needs) for offers in packed.hosts_offer):
        return ""
    if any(start_offer(topology.arch) in offers for offers in packed.hosts_offer):
        return f"it needs QEMU {topology.qemu}; no host of the cluster has {emulator} of that release"
    return f"no host of the cluster has {emulator}"


def ordered(planned: Plan, packed: Packing, cache: Cache) -> tuple[Plan, Outlook]:
    """Return the plan in the best order, and its estimate. Builds nothing, fetches nothing."""
    past = kernel.past_builds(cache)
    machines = {cell.build: cell.topology for cell in planned.cells}
    built = frozenset(build for build, machine in machines.items() if _is_built(build, machine, cache))
    cell_s = {cell.name: packed.history.seconds(cell) for cell in planned.cells}
    planned = in_order(planned, built, cell_s)
    build_s = _build_seconds(planned.builds, built, past)
    stages = [
        Stage(build_s=build_s.get(build, 0.0), tasks=tuple(map(packed.task, cells)))
        for build, cells in groupby(planned.cells, key=lambda cell: cell.build)
    ]
    return planned, Outlook(
        built=built,
        build_s=build_s,
        cell_s=cell_s,
        total_s=makespan(packed.budget, stages),
        jobs=_at_once(packed, planned.cells),
        guessed=sum(packed.history.machine(cell) is None for cell in planned.cells),
    )


def _at_once(packed: Packing, cells: Sequence[Cell]) -> int:
    """Return how many of the cells the budget allows at the same time, at most."""
    schedule = Schedule(packed.budget)
    for task in sorted(map(packed.task, cells), key=lambda task: (task.demand.cpus, task.demand.memory)):
        schedule.add(task)
    return len(schedule.start())


def _is_built(build: Build, machine: Topology, cache: Cache) -> bool:
    try:
        return kernel.is_built(build.kernel, machine, cache=cache)
    except InfraError:
        return False  # the build itself reports the missing tools


def _build_seconds(builds: Sequence[Build], built: Collection[Build], past: Sequence[Past]) -> dict[Build, float]:
    """Return the seconds of the builds that are not in the cache: the first of a tree is a full one."""
    seconds: dict[Build, float] = {}
    for number, build in enumerate(builds):
        if build not in built:
            full = build.tree not in {other.tree for other in builds[:number]}
            seconds[build] = FETCH_S if build.kernel.prebuilt else _typical(past, build.arch, full=full)
    return seconds


def _typical(past: Sequence[Past], arch: str, *, full: bool) -> float:
    """Return the median of the last builds of this kind: of the architecture, else of any."""
    alike = [build for build in past if build.full is full]
    own = [build.seconds for build in alike if build.arch == arch][-RECENT:]
    if seconds := own or [build.seconds for build in alike]:
        return statistics.median(seconds)
    return FULL_S if full else INCREMENTAL_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """The estimate of a plan. Seconds are what earlier runs on this host took, or a guess."""

    built: frozenset[Build] = frozenset()
    """Kernels that are in the cache."""
    build_s: Mapping[Build, float]
    """Seconds for each of the other kernels."""
    cell_s: Mapping[str, float]
    """Cell's name -> seconds."""
    total_s: float
    jobs: int
    """How many guests run at once, at most."""
    guessed: int = 0
    """How many cells have machines that never ran here."""


def format_time(seconds: float) -> str:
    """Return a duration as text: `45 s`, `12 min`, `2 h 05 min`."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"
