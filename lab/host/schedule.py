# SPDX-License-Identifier: GPL-2.0-or-later
"""Choose which waiting tasks may start and on which host, so that hosts are busy but not overcommitted.

The longest task starts first. If it fits on no host, up to PATIENCE smaller ones may start before it; then a host is
kept free for it, so that a large machine cannot starve. Kernel builds are tasks too and start before guests. Each host
has a budget of its own; a lab without a cluster has one host. Pure: no clock, no threads.
"""

from __future__ import annotations

import bisect
import heapq
import itertools
from collections.abc import Collection, Container, Sequence
from dataclasses import dataclass, field, replace

PATIENCE = 4
"""The most smaller tasks that may start before a task that does not fit."""
SHARED = 1.0
"""How many CPUs may be over-committed. Demands are averages, and an idle CPU costs more than a shared one. Memory is
never over-committed."""
SLACK = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What a task uses while it runs. Memory in bytes; `cpus` is an average."""

    memory: int
    cpus: float
    guests: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The resources for all tasks."""

    memory: int
    cpus: float
    guests: int
    """The most guests that may run at once, regardless of their demand."""

    def never(self, demand: Demand) -> bool:
        """Return whether a task cannot run even alone. Too few CPUs only make it slower, so they do not count."""
        return demand.memory > self.memory or demand.guests > self.guests


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A build or guest to run. `seconds` is its expected duration; tasks with `first` start before all others."""

    name: str
    demand: Demand
    seconds: float = 0.0
    first: bool = False
    needs: frozenset[str] = frozenset()
    """What a host must offer, such as `start arm64`; a host that names no offers can run everything."""
    prefers: frozenset[str] = frozenset()
    """What makes a host the better choice, such as `kvm arm64`."""
    avoids: frozenset[str] = frozenset()
    """Names of hosts that must not run it."""
    host: str = ""
    """The host that runs it, once it has started; empty for this computer."""

    @property
    def shape(self) -> Shape:
        """Return what decides where it fits. Waiting tasks of one shape start in their order."""
        return self.demand, self.first, self.needs, self.prefers, self.avoids


Shape = tuple[Demand, bool, frozenset[str], frozenset[str], frozenset[str]]
_Place = tuple[bool, float, int]
"""The sort key of a waiting task: `first` tasks, then the longest, then the earliest."""


@dataclass(slots=True, kw_only=True)
class _HostLoad:
    """A host of the schedule, and the tasks that run on it."""

    name: str
    budget: Budget
    offers: Container[str] | None
    """None if it can run everything."""
    running: dict[str, Task] = field(default_factory=dict)
    memory: int = 0
    cpus: float = 0.0
    guests: int = 0

    def count(self) -> None:
        """Update the sum of its tasks' demands."""
        demands = [task.demand for task in self.running.values()]
        self.memory = sum(demand.memory for demand in demands)
        self.cpus = sum(demand.cpus for demand in demands)
        self.guests = sum(demand.guests for demand in demands)

    def could_run(self, task: Task) -> bool:
        """Return whether it could run the task if nothing else ran."""
        offered = self.offers is None or all(need in self.offers for need in task.needs)
        return offered and self.name not in task.avoids and not self.budget.never(task.demand)

    def fits(self, task: Task) -> bool:
        """Return whether there is room for the task now."""
        demand, budget = task.demand, self.budget
        return (
            self.memory + demand.memory <= budget.memory
            and self.guests + demand.guests <= budget.guests
            and self._cpus_fit(min(demand.cpus, budget.cpus))
            and self.could_run(task)
        )

    def _cpus_fit(self, wanted: float) -> bool:
        """Return whether a CPU is free, at least in part, and the demand exceeds the CPUs by at most SHARED."""
        used, whole = self.cpus, self.budget.cpus
        return used + wanted <= whole + SLACK or (used < whole - SLACK and used + wanted <= whole + SHARED + SLACK)

    def order(self, task: Task) -> tuple[int, float, int, str]:
        """Return a sort key: hosts that the task prefers come first, then those with the least load."""
        preferred = sum(self.offers is not None and word in self.offers for word in task.prefers)
        return -preferred, self.cpus - self.budget.cpus, self.memory - self.budget.memory, self.name


@dataclass(slots=True)
class Schedule:
    """Waiting and running tasks. The caller adds them, starts those that `start` returns, and calls `done` for each.

    With a `budget` it has one host, this computer. Without one, hosts join and leave.
    """

    budget: Budget | None = None
    _hosts: dict[str, _HostLoad] = field(default_factory=dict)
    _queues: dict[Shape, list[tuple[_Place, Task]]] = field(default_factory=dict)
    """Shape -> its waiting tasks in their order."""
    _passed: dict[Shape, int] = field(default_factory=dict)
    """Shape -> how many tasks started before the first of its tasks, which had come later."""
    _names: set[str] = field(default_factory=set)
    _where: dict[str, _HostLoad] = field(default_factory=dict)
    """Name of a running task -> its host."""
    _arrival: itertools.count[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        if self.budget:
            self.join("", self.budget)

    @property
    def used(self) -> Demand:
        """Return the total demand of the running tasks."""
        hosts = {id(host): host for host in (*self._hosts.values(), *self._where.values())}.values()
        return Demand(
            memory=sum(host.memory for host in hosts),
            cpus=sum(host.cpus for host in hosts),
            guests=sum(host.guests for host in hosts),
        )

    @property
    def hosts(self) -> tuple[str, ...]:
        """Return the names of the hosts that accept tasks."""
        return tuple(self._hosts)

    def running_on(self, host: str) -> tuple[str, ...]:
        """Return the names of the tasks that run on a host."""
        usage = self._hosts.get(host)
        return tuple(usage.running) if usage else ()

    def join(self, host: str, budget: Budget, offers: Container[str] | None = None) -> None:
        """Add a host; one of this name that is there already is replaced, and keeps what runs on it."""
        before = self._hosts.get(host)
        self._hosts[host] = joined = _HostLoad(name=host, budget=budget, offers=offers)
        for task in before.running.values() if before else ():
            joined.running[task.name] = task
            self._where[task.name] = joined
        joined.count()

    def leave(self, host: str) -> None:
        """Start nothing more on a host. What runs there is still running until `done` is called for it."""
        self._hosts.pop(host, None)

    def forgive(self, host: str) -> None:
        """Let waiting tasks run again on a host that they avoid: it has come back as another worker."""
        for queue in tuple(self._queues.values()):
            for _, task in tuple(queue):
                if host in task.avoids:
                    self.withdraw(task.name)
                    self.add(replace(task, avoids=task.avoids - {host}))

    def never(self, demand: Demand) -> bool:
        """Return whether no host of this schedule can ever have room for a demand; False while hosts may still join."""
        return self.budget is not None and self.budget.never(demand)

    def homeless(self) -> tuple[Task, ...]:
        """Return the waiting tasks that none of the present hosts could ever run."""
        found: list[Task] = []
        for queue in self._queues.values():
            if not any(host.could_run(queue[0][1]) for host in self._hosts.values()):
                found += [task for _, task in queue]
        return tuple(found)

    def add(self, task: Task) -> None:
        """Add a waiting task; ValueError if it can never run, or its name is taken."""
        if self.never(task.demand):
            raise ValueError(f"{task.name}: needs more than the host has")
        if task.name in self._names:
            raise ValueError(f"{task.name}: added twice")
        self._names.add(task.name)
        # Equal tasks stay in the order of arrival.
        place = (not task.first, -task.seconds, next(self._arrival))
        bisect.insort(self._queues.setdefault(task.shape, []), (place, task), key=_place_of)

    def withdraw(self, name: str) -> None:
        """Remove a waiting task."""
        for shape, queue in tuple(self._queues.items()):
            self._queues[shape] = [entry for entry in queue if entry[1].name != name]
            if not self._queues[shape]:
                del self._queues[shape]
        self._names.discard(name)

    def start(self) -> tuple[Task, ...]:
        """Return the tasks to start now, each with its host; they count as running from here on."""
        started = []
        full: set[Shape] = set()
        while task := self._next(full):
            started.append(task)
        return tuple(started)

    def done(self, name: str) -> None:
        """Remove a running task that has ended."""
        host = self._where.pop(name)
        del host.running[name]
        host.count()
        self._names.discard(name)

    def _next(self, full: set[Shape]) -> Task | None:
        """Start the next task and return it with its host; None if none fits. `full` collects the shapes without room.

        Tasks that were passed too often come first, and the host that they wait for is kept free for them.
        """
        heads = sorted((queue[0][0], shape) for shape, queue in self._queues.items())
        heads.sort(key=lambda head: self._passed.get(head[1], 0) < PATIENCE)
        open_hosts = dict(self._hosts)
        for number, (_, shape) in enumerate(heads):
            task = self._queues[shape][0][1]
            overdue = self._passed.get(shape, 0) >= PATIENCE
            if shape not in full or overdue:
                if host := _best(task, open_hosts.values()):
                    for _, passed in heads[:number]:
                        self._passed[passed] = self._passed.get(passed, 0) + 1
                    return self._place(task, host)
                full.add(shape)
            if overdue:
                _keep_one_free(task, open_hosts)
        return None

    def _place(self, task: Task, host: _HostLoad) -> Task:
        queue = self._queues[task.shape]
        queue.pop(0)
        if not queue:
            del self._queues[task.shape]
        self._passed.pop(task.shape, None)
        fewer = replace(task.demand, cpus=min(task.demand.cpus, host.budget.cpus))
        placed = replace(task, demand=fewer, host=host.name)
        host.running[task.name] = placed
        host.count()
        self._where[task.name] = host
        return placed


def _place_of(entry: tuple[_Place, Task]) -> _Place:
    return entry[0]


def _best(task: Task, hosts: Collection[_HostLoad]) -> _HostLoad | None:
    """Return the best host that has room for a task; None if none has."""
    fitting = [host for host in hosts if host.fits(task)]
    return min(fitting, key=lambda host: host.order(task), default=None)


def _keep_one_free(task: Task, hosts: dict[str, _HostLoad]) -> None:
    """Remove from `hosts` the one that, by its load, will have room for a task soonest."""
    able = [host for host in hosts.values() if host.could_run(task)]
    if able:
        soonest = min(able, key=lambda host: (host.memory / max(1, host.budget.memory), host.order(task)))
        del hosts[soonest.name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A build, in seconds, and the tasks that can run once it is done."""

    build_s: float
    tasks: tuple[Task, ...]


def makespan(budget: Budget, stages: Sequence[Stage]) -> float:
    """Return the seconds until everything has ended: builds one after the other, tasks beside them as scheduled.

    Builds use the CPUs that guests leave, so the total is at least all the work divided by all the CPUs.
    """
    schedule, now, built_at, ends = Schedule(budget), 0.0, 0.0, list[tuple[float, str]]()
    for stage in stages:
        built_at += stage.build_s
        while ends and ends[0][0] <= built_at:
            now = _end_one(schedule, ends)
        now = max(now, built_at)
        for task in stage.tasks:
            schedule.add(task)
        _start(schedule, ends, now)
    while ends:
        now = _end_one(schedule, ends)
    work = sum(stage.build_s * budget.cpus + sum(map(_work, stage.tasks)) for stage in stages)
    return max(now, built_at, work / budget.cpus)


def _work(task: Task) -> float:
    return task.seconds * task.demand.cpus


def _start(schedule: Schedule, ends: list[tuple[float, str]], now: float) -> None:
    for task in schedule.start():
        heapq.heappush(ends, (now + task.seconds, task.name))


def _end_one(schedule: Schedule, ends: list[tuple[float, str]]) -> float:
    """End the task that ends first, start others in its place, and return the time."""
    now, name = heapq.heappop(ends)
    schedule.done(name)
    _start(schedule, ends, now)
    return now
