# SPDX-License-Identifier: GPL-2.0-or-later
"""A plan on this host: what it cannot build or start, what is built already, how long it takes, what guests need."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from lab.arch import ARCHES
from lab.build import kernel, toolchain
from lab.build.kernel import Past
from lab.core.cache import Cache
from lab.core.errors import InfraError
from lab.host import doctor, history
from lab.host.history import History
from lab.host.schedule import Budget, Demand, Schedule, Stage, Task, makespan
from lab.specs.model import MIB, Topology
from lab.specs.plan import Build, Cell, Plan, in_order, possible

GUEST_OVERHEAD = 256 * MIB
"""What an emulator takes beyond its guest's RAM (translated code, devices), at least; measured 100-200 MiB."""
GUEST_CPUS = 1.0
"""What a guest keeps busy that never ran here: emulation is one thread, most of the time."""
BUILD_MEMORY = 512 * MIB
"""What a compiler or linker of a kernel takes at most, per job; measured 100-350 MiB."""
MAX_GUESTS = 32
"""At once, where -j does not say: each is a thread, a directory and an SSH connection of the lab's."""
MEMORY_SHARE = 0.9
"""Of the memory that is available: the rest is the lab's own and what moves."""
RECENT = 5
FULL_S, INCREMENTAL_S = 240.0, 30.0
"""A kernel where none was ever built: two cores, no ccache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """What there is, and what each cell of a plan takes of it."""

    budget: Budget
    history: History
    counted: bool = False
    """Whether the user has said how many guests run at once: then what CPU they take does not count."""

    def task(self, cell: Cell) -> Task:
        """A cell, as the schedule knows it."""
        return Task(name=cell.name, demand=self.demand(cell), seconds=self.history.seconds(cell))

    def demand(self, cell: Cell) -> Demand:
        """Memory: the guest's RAM, which it may touch to the last page, and the emulator's own, or what was measured.

        CPU: what was measured, in halves, at least one half; a few percent more or less are no reason to let a
        core idle.
        """
        known = self.history.machine(cell)
        cpus = max(0.5, round(known.cpus * 2) / 2) if known and known.cpus else GUEST_CPUS
        memory = max(cell.topology.footprint + GUEST_OVERHEAD, known.peak if known else 0)
        return Demand(memory=memory, cpus=0.0 if self.counted else cpus)

    def build(self, name: str) -> Task:
        """A kernel build. Its compilers are as many as there are CPUs, and get what CPU the guests leave."""
        memory = min(BUILD_MEMORY * toolchain.jobs(), self.budget.memory)
        return Task(name=name, demand=Demand(memory=memory, cpus=0.0, guests=0), first=True)


def packing(cache: Cache, *, jobs: int | None = None, memory: int | None = None) -> Packing:
    """What this host has to give, or what the user says: `jobs` guests at once, `memory` in bytes."""
    budget = Budget(
        memory=memory if memory is not None else int(doctor.available_memory() * MEMORY_SHARE),
        cpus=float(toolchain.jobs()),
        guests=jobs or MAX_GUESTS,
    )
    return Packing(budget=budget, history=history.load(cache), counted=jobs is not None)


def here(planned: Plan, packed: Packing) -> Plan:
    """The plan without the machines that this host cannot run; InfraError where one was asked for by name."""
    lacking = {name: why for name in planned.arches if (why := doctor.lacking(ARCHES[name]))}
    for cell in planned.cells:
        demand = packed.demand(cell)
        if packed.budget.never(demand):
            have = f"{packed.budget.memory // MIB} MiB"
            lacking[cell.topology.name] = f"needs {demand.memory // MIB} MiB of memory, there are {have} (--memory)"
    return possible(planned, lacking)


def look(planned: Plan, packed: Packing, cache: Cache) -> tuple[Plan, Outlook]:
    """The plan in the order in which it is best done, and what to expect of it. Builds nothing, fetches nothing."""
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
    """How many of the cells the budget lets run at the same time, at most."""
    schedule = Schedule(packed.budget)
    for task in sorted(map(packed.task, cells), key=lambda each: (each.demand.cpus, each.demand.memory)):
        schedule.add(task)
    return len(schedule.start())


def _is_built(build: Build, machine: Topology, cache: Cache) -> bool:
    try:
        return kernel.is_built(build.kernel, machine, cache=cache)
    except InfraError:
        return False  # no tools to build with: that is told when it is to be built


def _build_seconds(builds: Sequence[Build], built: Collection[Build], past: Sequence[Past]) -> dict[Build, float]:
    """How long the builds take that are not in the cache: the first of a tree is a full one."""
    found: dict[Build, float] = {}
    for number, build in enumerate(builds):
        if build not in built:
            full = build.tree not in {other.tree for other in builds[:number]}
            found[build] = _typical(past, build.arch, full=full)
    return found


def _typical(past: Sequence[Past], arch: str, *, full: bool) -> float:
    """The median of the last builds of this kind: of the architecture, else of any."""
    alike = [each for each in past if each.full is full]
    own = [each.seconds for each in alike if each.arch == arch][-RECENT:]
    return statistics.median(own or [each.seconds for each in alike] or [FULL_S if full else INCREMENTAL_S])


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What is known of a plan beforehand. Seconds are what earlier runs on this host took, or a guess."""

    built: frozenset[Build] = frozenset()
    """Kernels that the cache has."""
    build_s: Mapping[Build, float]
    """Of the others."""
    cell_s: Mapping[str, float]
    """Cell's name -> seconds."""
    total_s: float
    jobs: int
    """How many guests run at once, at most."""
    guessed: int = 0
    """How many cells are of machines that never ran here."""


def format_time(seconds: float) -> str:
    """A duration to read: `45 s`, `12 min`, `2 h 05 min`."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"
