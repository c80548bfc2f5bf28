# SPDX-License-Identifier: GPL-2.0-or-later
"""lab.build.edits.under_way: one thread works, the others follow it, whatever becomes of it."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from lab.build.edits.under_way import UnderWay
from lab.core.errors import BuildError, InfraError, LabError
from lab.core.progress import Progress, silent

PATIENCE_S = 20.0


class Told:
    """A Progress that keeps what it was told, and when it was first told something."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, float | None]] = []
        self.first = threading.Event()

    def __call__(self, detail: str, *, done: float | None = None) -> None:
        self.lines.append((detail, done))
        self.first.set()


class Pair:
    """A thread that works, until it is let go on, and one that asks for the same work meanwhile."""

    def __init__(self, pool: ThreadPoolExecutor, error: LabError | None = None) -> None:
        self.under_way, self.calls, self.told = UnderWay(), 0, Told()
        self.error, self.go_on, begun = error, threading.Event(), threading.Event()

        def act(tell: Progress) -> None:
            self.calls += 1
            tell("half", done=0.5)
            begun.set()
            assert self.go_on.wait(PATIENCE_S)
            if self.error and self.calls == 1:
                raise self.error

        self.first: Future[None] = pool.submit(self.under_way.do, "key", act, silent)
        assert begun.wait(PATIENCE_S)
        self.second: Future[None] = pool.submit(self.under_way.do, "key", act, self.told)
        assert self.told.first.wait(PATIENCE_S)


def test_who_asks_meanwhile_follows() -> None:
    with ThreadPoolExecutor(2) as pool:
        pair = Pair(pool)
        assert not pair.second.done()
        pair.go_on.set()
        pair.second.result(PATIENCE_S)
    assert (pair.calls, pair.told.lines) == (1, [("half", 0.5)])


def test_who_asks_afterwards_works_itself() -> None:
    under_way, told = UnderWay(), Told()
    for _ in range(2):
        under_way.do("key", lambda tell: tell("all", done=1.0), told)
    assert told.lines == [("all", 1.0)] * 2


def test_works_of_other_keys_are_others() -> None:
    with ThreadPoolExecutor(2) as pool:
        pair, calls = Pair(pool), []
        pair.under_way.do("other", lambda _: calls.append(1), silent)
        assert calls == [1]
        pair.go_on.set()


def test_a_kernel_that_does_not_build_does_so_for_all() -> None:
    with ThreadPoolExecutor(2) as pool:
        pair = Pair(pool, BuildError("no such struct"))
        pair.go_on.set()
        for future in (pair.first, pair.second):
            with pytest.raises(BuildError, match="no such struct"):
                future.result(PATIENCE_S)
    assert pair.calls == 1


def test_after_a_thread_that_was_stopped_the_next_one_works_itself() -> None:
    with ThreadPoolExecutor(2) as pool:
        pair = Pair(pool, InfraError("not wanted any more"))
        pair.go_on.set()
        with pytest.raises(InfraError):
            pair.first.result(PATIENCE_S)
        pair.second.result(PATIENCE_S)
    assert pair.calls == 2


def test_a_follower_may_leave() -> None:
    """A Progress that raises ends the work of the thread that it belongs to, and no other."""

    def leave(detail: str, *, done: float | None = None) -> None:
        raise InfraError(f"{detail} {done}")

    with ThreadPoolExecutor(2) as pool:
        pair = Pair(pool)
        with pytest.raises(InfraError, match=r"half 0\.5"):
            pair.under_way.do("key", lambda _: None, leave)
        pair.go_on.set()
        pair.first.result(PATIENCE_S)
