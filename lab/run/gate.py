# SPDX-License-Identifier: GPL-2.0-or-later
"""Lets builds and cells start when their host has room for them. Several runs may share the hosts and their budgets."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from lab.core.errors import InfraError
from lab.host.schedule import Demand, Schedule, Task


class NoHost(InfraError):
    """No host could run a task."""


Work = Callable[[Task], Task | None]
"""Does a task that was placed on a host; returns it if it is to be placed again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    """What is done about a task that waits: once it is placed, or when no host can ever run it."""

    start: Callable[[Task], object]
    give_up: Callable[[str], object]


@dataclass(slots=True)
class Turns:
    """A schedule, and what is done when a task's turn comes. Its methods may be called from any thread."""

    schedule: Schedule
    changed: threading.Condition = field(default_factory=threading.Condition)
    """Held while the schedule changes, notified afterwards."""
    _waiting: dict[str, _Waiting] = field(default_factory=dict)
    _runs: Iterator[int] = field(default_factory=itertools.count)

    def never(self, demand: Demand) -> bool:
        """Return whether no host of the schedule can ever have room for a demand."""
        return self.schedule.never(demand)

    def update(self, change: Callable[[Schedule], None]) -> None:
        """Change the hosts of the schedule, then start what fits."""
        with self.changed:
            change(self.schedule)
            self.start()

    def run(self) -> str:
        """Return what the names of the next run's tasks begin with: two runs may have cells of one name."""
        return f"{next(self._runs)}:"

    # The lock is held when these are called.

    def queue(self, task: Task, waiting: _Waiting) -> None:
        """Add a task that waits."""
        self._waiting[task.name] = waiting
        self.schedule.add(task)

    def withdraw(self, task: Task) -> _Waiting | None:
        """Remove a task that waits, and return what was to be done about it; None if it does not wait."""
        waiting = self._waiting.pop(task.name, None)
        if waiting:
            self.schedule.withdraw(task.name)
        return waiting

    def start(self) -> None:
        """Start what there is room for."""
        for task in self.schedule.start():
            self._waiting.pop(task.name).start(task)
        self.changed.notify_all()


@dataclass(slots=True)
class Gate:
    """The tasks of one run: each starts at its turn. The methods may be called from any thread."""

    turns: Turns
    pool: ThreadPoolExecutor
    futures: list[Future[None]] = field(default_factory=list)
    _prefix: str = field(init=False)
    _mine: dict[str, Task] = field(default_factory=dict)
    """The tasks that wait, by their name in the schedule."""
    _busy: int = 0
    _closed: bool = False

    def __post_init__(self) -> None:
        self._prefix = self.turns.run()

    def add(self, task: Task, work: Work, give_up: Callable[[str], object] | None = None) -> None:
        """Have `work` done in a thread of the pool as soon as there is room for the task on a host.

        `give_up` is called with the reason if no host can run it.
        """

        def in_pool(placed: Task) -> None:
            again = None
            try:
                again = work(placed)
            finally:
                self._done(placed, again, waiting)

        def start(placed: Task) -> None:
            self._mine.pop(placed.name, None)
            self.futures.append(self.pool.submit(in_pool, placed))

        waiting = _Waiting(start=start, give_up=give_up or _ignore)
        self._add(task, waiting)

    @contextmanager
    def turn(self, task: Task) -> Iterator[str]:
        """Wait in this thread until there is room for the task, hold it, and give the name of the host.

        After `close` there is no waiting. NoHost if no host can run it.
        """
        mine: list[Task] = []
        refused: list[str] = []

        def start(placed: Task) -> None:
            self._mine.pop(placed.name, None)
            mine.append(placed)

        self._add(task, _Waiting(start=start, give_up=refused.append))
        with self.turns.changed:
            self.turns.changed.wait_for(lambda: mine or refused or self._closed)
        if refused:
            raise NoHost(refused[0])
        try:
            yield mine[0].host if mine else ""
        finally:
            if mine:
                self._done(mine[0])

    def wait_until_idle(self, timeout_s: float) -> bool:
        """Whether nothing waits and nothing runs, after at most that many seconds."""
        with self.turns.changed:
            return self.turns.changed.wait_for(lambda: not self._busy, timeout_s)

    def close(self) -> None:
        """Start nothing more of this run: it is being interrupted."""
        with self.turns.changed:
            self._closed = True
            for task in self._mine.values():
                self.turns.withdraw(task)
            self.turns.start()

    def homeless(self) -> tuple[Task, ...]:
        """Return the waiting tasks of this run that none of the present hosts could ever run."""
        with self.turns.changed:
            return tuple(task for task in self.turns.schedule.homeless() if task.name in self._mine)

    def give_up(self, task: Task, reason: str) -> None:
        """Withdraw a task of `homeless` that still waits."""
        with self.turns.changed:
            waiting = self.turns.withdraw(task)
            if waiting is None:
                return
            del self._mine[task.name]
            self._busy -= 1
            waiting.give_up(reason)
            self.turns.changed.notify_all()

    def _add(self, task: Task, waiting: _Waiting) -> None:
        with self.turns.changed:
            self._queue(replace(task, name=f"{self._prefix}{task.name}"), waiting)
            self.turns.start()

    def _queue(self, task: Task, waiting: _Waiting) -> None:
        self._busy += 1
        if not self._closed:
            self._mine[task.name] = task
            self.turns.queue(task, waiting)

    def _done(self, task: Task, again: Task | None = None, waiting: _Waiting | None = None) -> None:
        """Give a task's room back; let it wait once more if it is to be placed again."""
        with self.turns.changed:
            self._busy -= 1
            self.turns.schedule.done(task.name)
            if again and waiting and not self._closed:
                self._queue(again, waiting)
            self.turns.start()


def _ignore(_reason: str) -> None:
    """Do nothing about a task that was withdrawn."""
