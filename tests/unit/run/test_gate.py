# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/run/gate.py: work starts when there is room for it, builds take theirs, closing ends it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest

from lab.host.schedule import Budget, Demand, Schedule, Task
from lab.run.gate import Gate, Turns

LONG_S = 60.0


def task(name: str, memory: int, *, guests: int = 1, first: bool = False) -> Task:
    return Task(name=name, demand=Demand(memory=memory, cpus=0.0, guests=guests), first=first)


def wait_for(event: threading.Event) -> None:
    event.wait(LONG_S)


@pytest.fixture
def gate() -> Iterator[Gate]:
    with ThreadPoolExecutor(8) as pool:
        made = Gate(Turns(Schedule(Budget(memory=100, cpus=1.0, guests=8))), pool)
        yield made
        made.close()


def test_work_waits_for_room_and_all_of_it_is_done(gate: Gate) -> None:
    lock, used, most, done = threading.Lock(), [0], [0], []

    def work(name: str, memory: int, _: Task) -> None:
        with lock:
            used[0] += memory
            most[0] = max(most[0], used[0])
        threading.Event().wait(0.002)
        with lock:
            used[0] -= memory
            done.append(name)

    for number in range(20):
        memory = 100 if number == 3 else 30
        gate.add(task(str(number), memory), partial(work, str(number), memory))
    assert gate.wait_until_idle(LONG_S)
    assert sorted(done, key=int) == [str(number) for number in range(20)]
    assert most[0] <= 100


def test_a_build_takes_its_place_in_the_budget(gate: Gate) -> None:
    ran = threading.Event()
    with gate.turn(task("build", 80, guests=0, first=True)):
        gate.add(task("guest", 50), lambda _: ran.set())
        assert not ran.wait(0.05), "no room beside the build"
    assert ran.wait(LONG_S)
    assert gate.wait_until_idle(LONG_S)


def test_a_build_waits_for_guests_to_end(gate: Gate) -> None:
    let_go, built = threading.Event(), threading.Event()
    gate.add(task("guest", 50), lambda _: wait_for(let_go))

    def build() -> None:
        with gate.turn(task("build", 80, guests=0, first=True)):
            built.set()

    builder = threading.Thread(target=build)
    builder.start()
    assert not built.wait(0.05)
    let_go.set()
    assert built.wait(LONG_S)
    builder.join(LONG_S)


def test_what_fails_gives_its_room_back(gate: Gate) -> None:
    def fail(_: Task) -> None:
        raise RuntimeError("broken")

    gate.add(task("bad", 100), fail)
    ran = threading.Event()
    gate.add(task("next", 100), lambda _: ran.set())
    assert ran.wait(LONG_S)
    assert gate.wait_until_idle(LONG_S)
    assert isinstance(gate.futures[0].exception(LONG_S), RuntimeError)


def test_closing_starts_nothing_more_and_lets_a_waiting_build_go(gate: Gate) -> None:
    let_go = threading.Event()
    gate.add(task("guest", 100), lambda _: wait_for(let_go))
    never = threading.Event()
    gate.add(task("other", 100), lambda _: never.set())
    through = threading.Event()

    def build() -> None:
        with gate.turn(task("build", 100, guests=0, first=True)):
            through.set()

    builder = threading.Thread(target=build)
    builder.start()
    gate.close()
    assert through.wait(LONG_S), "whoever waits in a thread learns that there is nothing to wait for"
    let_go.set()
    builder.join(LONG_S)
    assert not gate.wait_until_idle(0.05)
    assert not never.is_set()


def test_work_that_its_host_lost_is_placed_again_elsewhere() -> None:
    with ThreadPoolExecutor(2) as pool:
        gate = Gate(Turns(Schedule()), pool)
        ran: list[str] = []

        def work(placed: Task) -> Task | None:
            ran.append(placed.host)
            if placed.avoids:
                return None
            return replace(placed, host="", avoids=frozenset({placed.host}))

        gate.add(task("cell", 10), work)
        budget = Budget(memory=100, cpus=1.0, guests=1)
        gate.turns.update(lambda schedule: schedule.join("a", budget))
        gate.turns.update(lambda schedule: schedule.join("b", budget))
        assert gate.wait_until_idle(LONG_S)
        assert sorted(ran) == ["a", "b"]


def test_what_no_host_can_run_is_given_up_with_a_reason() -> None:
    with ThreadPoolExecutor(1) as pool:
        gate, reasons = Gate(Turns(Schedule()), pool), list[str]()
        gate.add(task("cell", 10), lambda _: None, reasons.append)
        assert not gate.wait_until_idle(0.01)
        (waiting,) = gate.homeless()
        gate.give_up(waiting, "no host offers it")
        assert gate.wait_until_idle(LONG_S)
        assert reasons == ["no host offers it"]


def test_two_runs_share_the_budget_of_a_host_and_each_knows_its_own_tasks() -> None:
    with ThreadPoolExecutor(4) as pool:
        turns = Turns(Schedule())
        one, two = Gate(turns, pool), Gate(turns, pool)
        let_go, second = threading.Event(), threading.Event()
        one.add(task("cell", 60), lambda _: wait_for(let_go))
        two.add(task("cell", 60), lambda _: second.set())
        assert len(one.homeless()) == len(two.homeless()) == 1
        turns.update(lambda schedule: schedule.join("a", Budget(memory=100, cpus=1.0, guests=8)))
        assert not second.wait(0.05), "no room beside the cell of the other run"
        let_go.set()
        assert second.wait(LONG_S)
        assert one.wait_until_idle(LONG_S)
        assert two.wait_until_idle(LONG_S)


def test_a_run_that_is_closed_leaves_the_room_to_the_other() -> None:
    with ThreadPoolExecutor(4) as pool:
        turns = Turns(Schedule())
        one, two = Gate(turns, pool), Gate(turns, pool)
        never, second = threading.Event(), threading.Event()
        one.add(task("cell", 60), lambda _: never.set())
        two.add(task("cell", 60), lambda _: second.set())
        one.close()
        turns.update(lambda schedule: schedule.join("a", Budget(memory=100, cpus=1.0, guests=8)))
        assert second.wait(LONG_S)
        assert not never.is_set()
