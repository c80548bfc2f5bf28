# SPDX-License-Identifier: GPL-2.0-or-later
"""Choose which waiting tasks may start, so that the host is busy but not overcommitted. Pure: no clock, no threads.

The longest task starts first. If it does not fit, up to PATIENCE smaller ones may start before it; then all wait for
it, so that a large machine cannot starve. Kernel builds are tasks too and start before guests.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

PATIENCE = 4
"""How many smaller tasks may start before one that does not fit."""
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
    """How many guests may run at once, whatever they use."""

    def never(self, demand: Demand) -> bool:
        """Whether a task cannot run even alone. CPUs do not count: with fewer it is only slower."""
        return demand.memory > self.memory or demand.guests > self.guests


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Something to run. `seconds` is how long it is expected to take; `first` puts it before all that are not."""

    name: str
    demand: Demand
    seconds: float = 0.0
    first: bool = False


@dataclass(slots=True)
class Schedule:
    """Waiting and running tasks. The caller adds them, starts those that `start` returns, and calls `done` for each."""

    budget: Budget
    _waiting: list[Task] = field(default_factory=list)
    _passed: dict[str, int] = field(default_factory=dict)
    _running: dict[str, Task] = field(default_factory=dict)

    @property
    def used(self) -> Demand:
        """The total demand of the running tasks."""
        demands = [task.demand for task in self._running.values()]
        return Demand(
            memory=sum(demand.memory for demand in demands),
            cpus=sum(demand.cpus for demand in demands),
            guests=sum(demand.guests for demand in demands),
        )

    def add(self, task: Task) -> None:
        """Add a waiting task; ValueError if it can never run, or its name is taken."""
        if self.budget.never(task.demand):
            raise ValueError(f"{task.name}: needs more than the host has")
        if task.name in self._running or task.name in self._passed:
            raise ValueError(f"{task.name}: added twice")
        fewer = replace(task.demand, cpus=min(task.demand.cpus, self.budget.cpus))
        self._waiting.append(replace(task, demand=fewer))
        # The sort is stable: equal ones stay in the order of arrival.
        self._waiting.sort(key=lambda waiting: (not waiting.first, -waiting.seconds))
        self._passed[task.name] = 0

    def start(self) -> tuple[Task, ...]:
        """Return the tasks to start now; they count as running from here on."""
        started = []
        while task := self._next():
            self._waiting.remove(task)
            del self._passed[task.name]
            self._running[task.name] = task
            started.append(task)
        return tuple(started)

    def done(self, name: str) -> None:
        """Remove a running task that has ended."""
        del self._running[name]

    def _next(self) -> Task | None:
        """Return the task to start next: one that was passed too often, or the first that fits; None if none fits."""
        overdue = [task for task in self._waiting if self._passed[task.name] >= PATIENCE]
        if overdue:
            return overdue[0] if self._fits(overdue[0]) else None
        for index, task in enumerate(self._waiting):
            if self._fits(task):
                for other in self._waiting[:index]:
                    self._passed[other.name] += 1
                return task
        return None

    def _fits(self, task: Task) -> bool:
        used, demand, budget = self.used, task.demand, self.budget
        return (
            used.memory + demand.memory <= budget.memory
            and self._cpus_fit(used.cpus, demand.cpus)
            and used.guests + demand.guests <= budget.guests
        )

    def _cpus_fit(self, used: float, wanted: float) -> bool:
        """Whether a CPU is free, at least in part, and the demand exceeds the CPUs by at most SHARED."""
        whole = self.budget.cpus
        return used + wanted <= whole + SLACK or (used < whole - SLACK and used + wanted <= whole + SHARED + SLACK)


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
