# SPDX-License-Identifier: GPL-2.0-or-later
"""Twice the input is about twice the work: for the plan, the evidence on disk, the schedule and the parsers.

Calls and bytes are counted, no time is measured. Verdicts, reports and the screen have such tests in their own rooms.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from lab.core.columns import RecordCodec
from lab.core.outcome import Outcome
from lab.evidence import read
from lab.formats import build_log, c_mutations, cpio, kconfig, ktap, oops
from lab.formats.patches import mail, patch
from lab.host.schedule import Budget, Demand, Schedule, Stage, Task, makespan
from lab.verdicts.compare import conclude_directory
from tests.benchmarks import synthetic
from tests.unit.fixtures.growth import FEW, GROWTH, TWICE, calls
from tests.unit.toy import diff

Parser = Callable[[str], object]


def test_plan() -> None:
    def planned(machines: int) -> int:
        return calls(lambda: synthetic.planned(machines))

    few, twice = planned(FEW), planned(TWICE)
    assert few > FEW
    assert twice <= GROWTH * few


# The evidence of a run on disk.


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Mapping[int, Path]:
    """Number of machines -> the directory of a run of so many, with two kernels each."""
    places: dict[int, Path] = {}
    for machines in (FEW, TWICE):
        places[machines] = tmp_path_factory.mktemp("run") / str(machines)
        synthetic.write(places[machines], machines)
    return places


WORKS: Mapping[str, Callable[[Path], object]] = {"read": read.load, "judged": conclude_directory}


def bytes_read(work: Callable[[], object]) -> int:
    """How many bytes this process reads from files in order to do the work."""

    def so_far() -> int:
        found = re.search(r"^rchar: (\d+)$", Path("/proc/self/io").read_text(), re.MULTILINE)
        assert found
        return int(found[1])

    before = so_far()
    work()
    return so_far() - before


@pytest.mark.parametrize("work", WORKS)
@pytest.mark.parametrize("count", [calls, bytes_read])
def test_evidence(runs: Mapping[int, Path], work: str, count: Callable[[Callable[[], object]], int]) -> None:
    for place in runs.values():
        WORKS[work](place)  # modules are imported, and each different line has been judged
    few = count(lambda: WORKS[work](runs[FEW]))
    twice = count(lambda: WORKS[work](runs[TWICE]))
    assert few > FEW * len(synthetic.KERNELS)
    assert twice <= GROWTH * few


def test_verdicts_are_shared_by_cells(runs: Mapping[int, Path]) -> None:
    """There are as many objects as different verdicts, not as many as records."""
    passed: dict[int, int] = {}
    for number, place in runs.items():
        summary = conclude_directory(place)
        different = {verdict for verdict in summary.tally if verdict.excerpt == "ok"}
        passed[number] = len(different)
        assert summary.tally.total() == len(summary.records)
    assert passed[TWICE] == passed[FEW]


def test_changes_are_shared_by_machines(runs: Mapping[int, Path]) -> None:
    """There are as many objects as different changes of a case, not as many as cases on machines."""
    different: dict[int, int] = {}
    for number, place in runs.items():
        changes = [change for machine in conclude_directory(place).changes for change in machine.changes]
        assert len(changes) == number * synthetic.SCENARIOS * synthetic.CASES
        changed = {change for change in changes if change.before is not Outcome.SKIP is not change.after}
        different[number] = len(changed)
    assert different[TWICE] == different[FEW] == synthetic.SCENARIOS * synthetic.CASES


def test_what_a_process_sends_of_cells(runs: Mapping[int, Path]) -> None:
    """Of each cell its numbers; a verdict is sent once, though a process sends a run in many parts."""
    sent: dict[int, int] = {}
    verdicts: dict[int, int] = {}
    for number, place in runs.items():
        summary, codec = conclude_directory(place), RecordCodec()
        packed = [codec.packed([records]) for records in summary.by_cell.values()]
        sent[number] = sum(len(pickle.dumps(part)) for part in packed)
        verdicts[number] = sum(len(part.fresh) for part in packed)
        assert verdicts[number] == len(summary.tally)
    assert sent[FEW] < sent[TWICE] <= GROWTH * sent[FEW]


# The schedule.


def tasks(number: int) -> list[Task]:
    """Tasks of a few sizes and lengths, as the guests of a campaign are."""
    made: list[Task] = []
    for each in range(number):
        demand = Demand(memory=100 * (1 + each % 3), cpus=0.5 + each % 2)
        made.append(Task(name=str(each), demand=demand, seconds=1.0 + each % 7))
    return made


BUDGET = Budget(memory=1000, cpus=2.0, guests=4)


def scheduled(number: int) -> None:
    """Start and end all tasks, one after the other as they started."""
    schedule, running = Schedule(BUDGET), list[str]()
    for task in tasks(number):
        schedule.add(task)
    while started := [*running, *(task.name for task in schedule.start())]:
        schedule.done(started[0])
        running = started[1:]


@pytest.mark.parametrize("work", ["schedule", "makespan"])
def test_schedule(work: str) -> None:
    def done(number: int) -> int:
        if work == "schedule":
            return calls(lambda: scheduled(number))
        return calls(lambda: makespan(BUDGET, [Stage(build_s=1.0, tasks=tuple(tasks(number)))]))

    few, twice = done(10 * FEW), done(10 * TWICE)
    assert few > 10 * FEW
    assert twice <= GROWTH * few


# The parsers.


def results(number: int) -> str:
    lines = [f"# duration_ms={each}\nnot ok {each} case_{each}\n" for each in range(1, number + 1)]
    return f"KTAP version 1\n1..{number}\n" + "".join(lines)


def nested(number: int) -> str:
    lines = [f"    ok {each} inner {each}\n" for each in range(1, number + 1)]
    return f"KTAP version 1\n1..1\n    KTAP version 1\n    1..{number}\n{''.join(lines)}ok 1 outer\n"


def console(number: int) -> str:
    report = "WARNING: CPU: 0 PID: 1 at mm/a.c:1 f+0x1/0x2\n[ 1.000000] Call Trace:\n[ 1.000000]  f+0x1/0x2\n"
    return "".join(f"[ 1.000000] an ordinary line {each}\n[ 1.000000] {report}" for each in range(number))


def changed(number: int) -> str:
    before = "".join(f"line {each}\n" for each in range(9 * number))
    return diff("mm/a.c", before, before.replace("5\n", "5, changed\n"))


def letters(number: int) -> str:
    text = ""
    for each in range(1, number + 1):
        head = f"From {'0' * 40} Mon Sep 17 00:00:00 2001\nFrom: A <a@b>\nSubject: [PATCH {each}/{number}] {each}\n"
        text += f"{head}\nWhy.\n---\n{changed(1)}-- \n2.39\n\n"
    return text


def source(number: int) -> str:
    return "".join(f"int f{each}(int a)\n{{\n\tif (a > 1)\n\t\treturn 2;\n\treturn a;\n}}\n" for each in range(number))


def mutated(text: str) -> object:
    return c_mutations.mutations(text.encode(), range(1, text.count("\n") + 1))


def columns(text: str) -> object:
    found = ktap.steady(text)
    assert found
    return [ktap.steady_result(lines) for lines in found.lines]


def archive(text: str) -> object:
    nodes = [cpio.file(f"name-{number}", line.encode()) for number, line in enumerate(text.split())]
    return list(cpio.read(cpio.archive(nodes)))


PARSERS: Mapping[str, tuple[Parser, Callable[[int], str]]] = {
    "ktap": (ktap.parse, results),
    "ktap, its columns": (columns, results),
    "ktap, nested": (ktap.parse, nested),
    "console": (oops.scan, console),
    "console behind a prefix": (oops.scan, lambda number: console(number).replace("[ 1.0", "own | [ 1.0")),
    "ktap behind a prefix": (ktap.parse, lambda number: re.sub(r"(?m)^", "own | ", results(number))),
    "configuration": (kconfig.parse_config, lambda number: "CONFIG_A=y\n# CONFIG_B is not set\n" * number),
    "fragment": (lambda text: kconfig.parse_fragment(text, "f"), lambda number: "CONFIG_A=y\n" * number),
    "output of make": (
        lambda text: build_log.failures(text.split("\n")),
        lambda number: "".join(f"a.c:1: error: no\nmake: *** [M:1: a{each}.o] Error 1\n" for each in range(number)),
    ),
    "mailbox": (lambda text: mail.patches(text.encode(), "series.mbox"), letters),
    "patch": (lambda text: patch.parse(text.encode(), "a.patch"), changed),
    "C source": (mutated, source),
    "archive": (archive, lambda number: "content " * number),
}


@pytest.mark.parametrize("name", PARSERS)
def test_parser(name: str) -> None:
    parse, text = PARSERS[name]
    few, twice = text(FEW), text(TWICE)
    parse(few)  # caches are filled
    spent, spent_on_twice = calls(lambda: parse(few)), calls(lambda: parse(twice))
    assert FEW < spent < spent_on_twice, "what is counted does not grow with the input, so that it cannot fail"
    assert spent_on_twice <= GROWTH * spent
