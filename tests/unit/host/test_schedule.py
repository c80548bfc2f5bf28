# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/host/schedule.py: never above the budget, everything runs, nothing large starves, the longest goes first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.host.schedule import PATIENCE, SHARED, Budget, Demand, Schedule, Stage, Task, makespan

BUDGET = Budget(memory=1000, cpus=2.0, guests=4)


def task(name: str, memory: int = 100, cpus: float = 1.0, seconds: float = 1.0, *, first: bool = False) -> Task:
    return Task(name=name, demand=Demand(memory=memory, cpus=cpus), seconds=seconds, first=first)


def names(started: tuple[Task, ...]) -> list[str]:
    return [each.name for each in started]


TASKS = st.lists(
    st.builds(
        lambda memory, halves, guests, seconds, first: Task(
            name="", demand=Demand(memory=memory, cpus=halves / 2, guests=guests), seconds=seconds, first=first
        ),
        st.integers(0, 1000),
        st.integers(0, 9),
        st.integers(0, 1),
        st.integers(0, 100).map(float),
        st.booleans(),
    ),
    max_size=30,
)


@given(TASKS, st.data())
def test_never_above_the_budget_and_all_done(tasks: list[Task], data: st.DataObject) -> None:
    """Tasks come and end in any order."""
    schedule = Schedule(BUDGET)
    coming = [Task(name=str(n), demand=t.demand, seconds=t.seconds, first=t.first) for n, t in enumerate(tasks)]
    running: list[str] = []
    ran: list[str] = []
    while coming or running:
        if coming and (not running or data.draw(st.booleans())):
            schedule.add(coming.pop())
        else:
            name = running.pop(data.draw(st.integers(0, len(running) - 1)))
            schedule.done(name)
        started = names(schedule.start())
        running += started
        ran += started
        used = schedule.used
        assert used.memory <= BUDGET.memory
        assert used.cpus <= BUDGET.cpus + SHARED + 1e-6
        assert used.guests <= BUDGET.guests
    assert sorted(ran) == sorted(str(number) for number in range(len(tasks)))


@given(st.integers(0, 50))
def test_a_large_task_does_not_starve(small: int) -> None:
    """Small ones keep coming, each ending only when the next has started; the large one still gets the host."""
    schedule = Schedule(BUDGET)
    schedule.add(task("before", memory=600))
    assert names(schedule.start()) == ["before"]
    schedule.add(task("large", memory=1000, seconds=100))
    running, passed = ["before"], 0
    for number in range(small):
        schedule.add(task(f"small-{number}"))
        started = names(schedule.start())
        passed += len(started)
        running += started
        if len(running) > 1:
            schedule.done(running.pop(0))
    assert passed <= PATIENCE
    for name in running:
        schedule.done(name)
        started = names(schedule.start())
        if started:
            break
    assert "large" in started


def test_the_longest_first_and_smaller_ones_fill_up() -> None:
    schedule = Schedule(BUDGET)
    for each in (task("short", seconds=1), task("long", 700, seconds=9), task("middle", 700, seconds=5)):
        schedule.add(each)
    assert names(schedule.start()) == ["long", "short"]
    schedule.done("long")
    assert names(schedule.start()) == ["middle"]


def test_a_build_goes_first() -> None:
    schedule = Schedule(Budget(memory=1000, cpus=1, guests=1))
    schedule.add(task("guest", 900, seconds=100))
    schedule.add(Task(name="build", demand=Demand(memory=500, cpus=0, guests=0), first=True))
    assert names(schedule.start()) == ["build"]


def test_more_cpus_than_there_are_is_slow_and_more_memory_is_an_error() -> None:
    schedule = Schedule(BUDGET)
    schedule.add(task("wide", cpus=64))
    assert names(schedule.start()) == ["wide"]
    assert schedule.used.cpus == BUDGET.cpus
    with pytest.raises(ValueError, match="needs more than the host has"):
        schedule.add(task("huge", memory=1001))
    with pytest.raises(ValueError, match="added twice"):
        schedule.add(task("wide"))


def test_makespan() -> None:
    pair = tuple(task(name, seconds=10) for name in "ab")
    assert makespan(BUDGET, []) == 0
    assert makespan(BUDGET, [Stage(build_s=0, tasks=pair)]) == 10
    assert makespan(BUDGET, [Stage(build_s=100, tasks=pair)]) == 110
    idle = tuple(task(name, seconds=10, cpus=0) for name in "ab")
    assert makespan(BUDGET, [Stage(build_s=100, tasks=idle), Stage(build_s=50, tasks=())]) == 150


@given(TASKS, st.lists(st.integers(0, 100), min_size=1, max_size=5))
def test_a_makespan_is_at_least_all_builds_and_at_most_everything_in_turn(tasks: list[Task], builds: list[int]) -> None:
    named = [Task(name=str(n), demand=t.demand, seconds=t.seconds, first=t.first) for n, t in enumerate(tasks)]
    stages = [Stage(build_s=s, tasks=tuple(named) if n == 0 else ()) for n, s in enumerate(builds)]
    spent = makespan(BUDGET, stages)
    one_by_one = sum(builds) + sum(each.seconds for each in named)
    busy = sum(builds) + sum(each.seconds * each.demand.cpus for each in named) / BUDGET.cpus
    assert sum(builds) <= spent <= max(one_by_one, busy) + 1e-6


@pytest.mark.parametrize(
    ("running", "next_one", "fits"),
    [(1.0, 1.0, True), (1.5, 1.5, True), (1.5, 2.0, False), (2.0, 0.5, False), (2.0, 0.0, True)],
)
def test_two_guests_share_a_cpu_rather_than_leave_one_idle(running: float, next_one: float, fits: bool) -> None:
    schedule = Schedule(BUDGET)
    schedule.add(task("running", cpus=running))
    schedule.start()
    schedule.add(task("next", cpus=next_one))
    assert bool(schedule.start()) is fits


def on_hosts(**hosts: list[str]) -> Schedule:
    """A schedule of hosts, each with what it offers."""
    schedule = Schedule()
    for name, offers in hosts.items():
        schedule.join(name, BUDGET, offers)
    return schedule


def needing(name: str, *needs: str, seconds: float = 1.0, prefers: str = "", avoids: str = "") -> Task:
    return Task(
        name=name,
        demand=Demand(memory=400, cpus=1.0),
        seconds=seconds,
        needs=frozenset(needs),
        prefers=frozenset(filter(None, [prefers])),
        avoids=frozenset(filter(None, [avoids])),
    )


def test_a_task_goes_only_where_it_can_run() -> None:
    schedule = on_hosts(a=["start arm64"], b=["start s390x"])
    for number in range(4):
        schedule.add(needing(str(number), "start s390x"))
    assert [each.host for each in schedule.start()] == ["b", "b"]
    assert schedule.start() == ()
    schedule.done("0")
    assert [(each.name, each.host) for each in schedule.start()] == [("2", "b")]


def test_a_host_that_joins_late_gets_work_at_once() -> None:
    schedule = on_hosts(a=["x"])
    for number in range(6):
        schedule.add(needing(str(number), "x"))
    assert len(schedule.start()) == 2
    schedule.join("late", BUDGET, ["x"])
    assert [each.host for each in schedule.start()] == ["late", "late"]


def test_a_host_that_left_gets_nothing_and_its_tasks_end_by_themselves() -> None:
    schedule = on_hosts(a=["x"])
    schedule.add(needing("one", "x"))
    schedule.start()
    schedule.add(needing("two", "x"))
    schedule.leave("a")
    assert schedule.start() == ()
    schedule.done("one")
    schedule.add(needing("one", "x", avoids="a"))
    schedule.join("a", BUDGET, ["x"])
    assert [each.name for each in schedule.start()] == ["two"], "it came back, but `one` was lost there"
    assert [each.name for each in schedule.homeless()] == ["one"]


def test_a_host_that_joins_again_keeps_what_it_runs() -> None:
    schedule = on_hosts(a=["x"])
    schedule.add(needing("one", "x"))
    schedule.add(needing("two", "x"))
    assert len(schedule.start()) == 2
    schedule.join("a", BUDGET, ["x"])
    schedule.add(needing("three", "x"))
    assert schedule.start() == ()
    schedule.done("one")
    assert names(schedule.start()) == ["three"]


def test_native_cells_prefer_their_host_and_take_another_rather_than_wait() -> None:
    schedule = on_hosts(a=["start arm64"], z=["start arm64", "kvm arm64"])
    for number in range(4):
        schedule.add(needing(str(number), "start arm64", prefers="kvm arm64"))
    assert [each.host for each in schedule.start()] == ["z", "z", "a", "a"]


def test_one_host_is_kept_free_for_a_large_task_and_the_others_go_on() -> None:
    schedule = on_hosts(a=[], b=[])
    for name in ("a1", "b1"):
        schedule.add(Task(name=name, demand=Demand(memory=300, cpus=0.5)))
    assert len(schedule.start()) == 2
    schedule.add(Task(name="large", demand=Demand(memory=1000, cpus=0.5), seconds=99))
    started: list[Task] = []
    for number in range(3 * PATIENCE):
        schedule.add(Task(name=str(number), demand=Demand(memory=300, cpus=0.5)))
        for each in schedule.start():
            started.append(each)
            if len(started) > 1:
                schedule.done(started[-2].name)
    kept = {"a", "b"} - {each.host for each in started[PATIENCE:]}
    assert len(kept) == 1
    schedule.done(f"{kept.pop()}1")
    assert "large" in names(schedule.start())


@given(TASKS, st.integers(1, 4), st.data())
def test_no_host_is_above_its_budget_and_all_is_done_while_hosts_come_and_go(
    tasks: list[Task], hosts: int, data: st.DataObject
) -> None:
    schedule = Schedule()
    here = {f"h{number}" for number in range(hosts)}
    for host in sorted(here):
        schedule.join(host, BUDGET)
    for number, each in enumerate(tasks):
        schedule.add(Task(name=str(number), demand=each.demand, seconds=each.seconds, first=each.first))
    running: list[Task] = list(schedule.start())
    ran = [each.name for each in running]
    while running:
        on: dict[str, list[Task]] = {}
        for each in running:
            on.setdefault(each.host, []).append(each)
        for group in on.values():
            assert sum(each.demand.memory for each in group) <= BUDGET.memory
            assert sum(each.demand.guests for each in group) <= BUDGET.guests
        if len(here) > 1 and data.draw(st.booleans()):
            host = data.draw(st.sampled_from(sorted(here)))
            here.remove(host)
            schedule.leave(host)
        ended = running.pop(data.draw(st.integers(0, len(running) - 1)))
        schedule.done(ended.name)
        started = schedule.start()
        assert {each.host for each in started} <= here
        running += started
        ran += [each.name for each in started]
    assert sorted(ran, key=int) == [str(number) for number in range(len(tasks))]


def test_a_host_that_comes_back_may_run_what_avoided_it() -> None:
    schedule = Schedule()
    schedule.add(Task(name="lost", demand=Demand(memory=1, cpus=1.0), avoids=frozenset({"a", "b"})))
    schedule.join("a", Budget(memory=10, cpus=1.0, guests=1))
    assert schedule.start() == ()
    schedule.forgive("a")
    (placed,) = schedule.start()
    assert (placed.host, placed.avoids) == ("a", frozenset({"b"}))
