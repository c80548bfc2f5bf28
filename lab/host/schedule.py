# SPDX-License-Identifier: GPL-2.0-or-later
"""Which of the tasks that wait may start, so that the host is full and never overcommitted. Pure: no clock, no threads.

Longest first; a task that does not fit lets smaller ones pass, but only so many: then everything waits for it, so that
a large machine cannot starve. A kernel build is a task too, and goes before guests: others wait for what it makes.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

PATIENCE = 4
"""How many smaller tasks may pass one that does not fit."""
SHARED = 1.0
"""By how many CPUs the demands of what runs may be more than there are. They are averages, and not of whole CPUs: a CPU
that nobody has costs more than one that two guests share. Memory is never shared."""
SLACK = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What a task takes while it runs. Memory in bytes; `cpus` is what it keeps busy, on the average."""

    memory: int
    cpus: float
    guests: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What there is to give."""

    memory: int
    cpus: float
    guests: int
    """How many guests may run at once, whatever they take."""

    def never(self, demand: Demand) -> bool:
        """Whether a task cannot run even alone. CPUs do not count: with fewer it is slower."""
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
    """Tasks that wait and tasks that run. The caller adds them, asks which to start, and says when one has ended."""

    budget: Budget
    _waiting: list[Task] = field(default_factory=list)
    _passed: dict[str, int] = field(default_factory=dict)
    _running: dict[str, Task] = field(default_factory=dict)

    @property
    def used(self) -> Demand:
        """What runs now takes together."""
        demands = [task.demand for task in self._running.values()]
        return Demand(
            memory=sum(each.memory for each in demands),
            cpus=sum(each.cpus for each in demands),
            guests=sum(each.guests for each in demands),
        )

    def add(self, task: Task) -> None:
        """A task that may run from now on; ValueError for one that never can, or whose name is taken."""
        if self.budget.never(task.demand):
            raise ValueError(f"{task.name}: more than there is")
        if task.name in self._running or task.name in self._passed:
            raise ValueError(f"{task.name}: there already")
        fewer = replace(task.demand, cpus=min(task.demand.cpus, self.budget.cpus))
        self._waiting.append(replace(task, demand=fewer))
        self._waiting.sort(key=lambda each: (not each.first, -each.seconds))  # stable: in the order of arrival else
        self._passed[task.name] = 0

    def start(self) -> tuple[Task, ...]:
        """The tasks to start now; they count as running from here on."""
        started = []
        while task := self._next():
            self._waiting.remove(task)
            del self._passed[task.name]
            self._running[task.name] = task
            started.append(task)
        return tuple(started)

    def done(self, name: str) -> None:
        """A running task has ended."""
        del self._running[name]

    def _next(self) -> Task | None:
        """The task to start next: one that was passed too often, or the first that fits."""
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
        used, wanted, budget = self.used, task.demand, self.budget
        return (
            used.memory + wanted.memory <= budget.memory
            and self._cpus_fit(used.cpus, wanted.cpus)
            and used.guests + wanted.guests <= budget.guests
        )

    def _cpus_fit(self, used: float, wanted: float) -> bool:
        """Whether there is a CPU that is not all in use, and not much more is wanted."""
        whole = self.budget.cpus
        return used + wanted <= whole + SLACK or (used < whole - SLACK and used + wanted <= whole + SHARED + SLACK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A build, in seconds, and the tasks that can run once it is done."""

    build_s: float
    tasks: tuple[Task, ...]


def makespan(budget: Budget, stages: Sequence[Stage]) -> float:
    """Seconds until all is done: builds one after the other, tasks beside them as the schedule has them.

    Builds take what CPU the guests leave, so the whole cannot be quicker than all the work on all the CPUs.
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
    """Let the task end that ends first, start others in its place; the time then."""
    now, name = heapq.heappop(ends)
    schedule.done(name)
    _start(schedule, ends, now)
    return now
