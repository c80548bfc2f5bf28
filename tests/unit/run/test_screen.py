# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run looks like while it is under way, on a terminal and in a log."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest
from rich.console import Console

from lab.core.outcome import CellStatus
from lab.host.estimate import Outlook
from lab.run import screen
from lab.run.protocols import STATE_OF, CellState
from lab.run.screen import LiveScreen, Pace, PlainScreen
from lab.specs.plan import Cell
from tests.unit.fakes import a_plan
from tests.unit.fixtures.growth import FEW, GROWTH, calls


@pytest.fixture
def cells() -> tuple[Cell, ...]:
    return a_plan(["baseline", "patched"]).cells


def plain() -> tuple[PlainScreen, io.StringIO]:
    out = io.StringIO()
    return PlainScreen(Console(file=out, width=80)), out


def test_plain_lines_say_what_each_cell_does(cells: tuple[Cell, ...]) -> None:
    shown, out = plain()
    shown.cell(cells[0], CellState.BOOTING)
    shown.cell(cells[1], CellState.RUNNING, scenario="demo", done=1, total=2)
    first, second = out.getvalue().splitlines()
    assert first.endswith("machine/baseline: booting")
    assert second.endswith("machine/patched: demo 1/2")


def test_a_long_build_says_so_now_and_then(cells: tuple[Cell, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    shown, out = plain()
    for _ in range(100):
        shown.building(cells[0], "mm/shmem.o", 0.5)
    assert len(out.getvalue().splitlines()) == 1
    monkeypatch.setattr(screen, "PLAIN_EVERY_S", 0.0)
    shown.building(cells[0], "mm", 0.75)
    assert out.getvalue().splitlines()[-1].endswith("machine/baseline: building mm 75%")


def test_a_program_that_goes_on_says_so_now_and_then(cells: tuple[Cell, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    shown, out = plain()
    shown.cell(cells[0], CellState.RUNNING, scenario="demo", done=0, total=200)
    for done in range(100):
        shown.progress(cells[0], "demo", done, 200)
    assert len(out.getvalue().splitlines()) == 1
    monkeypatch.setattr(screen, "PLAIN_EVERY_S", 0.0)
    shown.progress(cells[0], "demo", 100, 200)
    assert out.getvalue().splitlines()[-1].endswith("machine/baseline: demo 100/200")


def test_the_live_table_has_a_row_per_cell_and_a_bar_for_the_build(cells: tuple[Cell, ...]) -> None:
    shown = LiveScreen(cells)
    shown.cell(cells[0], CellState.RUNNING, scenario="demo", done=1, total=2)
    shown.cell(cells[1], CellState.BUILDING)
    shown.building(cells[1], "mm", 0.5)
    out = io.StringIO()
    Console(file=out, width=80, force_terminal=False).print(shown)
    text = out.getvalue()
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "baseline" in text
    assert "1/2" in text
    assert "50%" in text
    assert " mm" in text
    shown.cell(cells[1], CellState.BOOTING)
    out = io.StringIO()
    Console(file=out, width=80).print(shown)
    assert "50%" not in out.getvalue()


def drawn(shown: LiveScreen, width: int = 80, height: int = 24) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, height=height, force_terminal=False).print(shown)
    return out.getvalue().splitlines()


def many(machines: int) -> tuple[Cell, ...]:
    """Cells of many machines with two kernels each."""
    alike = a_plan(["baseline", "patched"]).cells
    return tuple(
        replace(cell, topology=cell.topology.model_copy(update={"name": f"machine-{number:03}"}))
        for number in range(machines)
        for cell in alike
    )


def an_outlook(cells: Sequence[Cell], total_s: float, build_s: float = 0.0) -> Outlook:
    """Every cell takes ten seconds."""
    builds = {cells[0].build: build_s} if build_s else {}
    return Outlook(build_s=builds, cell_s={cell.name: 10.0 for cell in cells}, total_s=total_s, jobs=2)


def test_the_matrix_has_machines_down_and_kernels_across() -> None:
    cells = many(3)
    shown = LiveScreen(cells)
    shown.cell(cells[0], CellState.RUNNING, scenario="demo", done=1, total=2)
    shown.cell(cells[3], CellState.NO_BOOT)
    heading, first, second, third, last = drawn(shown)
    assert heading.split() == ["baseline", "patched"]
    assert first.split()[:3] == ["machine-000", "■■■···", "demo"]
    assert second.split() == ["machine-001", "·", "NO", "BOOT"]
    assert third.split() == ["machine-002", "·", "·"]
    assert last == "1 of 6 done, 0 s spent"


@pytest.mark.parametrize("width", [40, 80, 200])
def test_it_never_grows_beyond_the_terminal(width: int) -> None:
    cells = many(100)
    shown = LiveScreen(cells, an_outlook(cells, 1000.0, 60.0))
    for cell in cells[:50]:
        shown.cell(cell, CellState.DONE, done=9, total=9)
    shown.cell(cells[120], CellState.RUNNING, scenario="a_scenario_with_a_long_name", done=3, total=9)
    shown.cell(cells[199], CellState.BUILDING)
    shown.building(cells[199], "drivers/net/ethernet/somewhere/else.o", 0.5)
    lines = drawn(shown, width)
    assert len(lines) < 24
    assert max(map(len, lines)) <= width
    assert any("machine-060" in line for line in lines), "who works is seen"
    assert "and 25 machines done, " in "".join(lines)


def test_a_repeat_says_which_it_is() -> None:
    (one, *_), again = many(1), replace(many(1)[0], repeat=2)
    shown = LiveScreen((one, again))
    shown.cell(again, CellState.BOOTING)
    assert "2/2 booting" in drawn(shown)[1]


class Clock:
    """Time that goes on when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


def test_what_is_left_is_estimated_from_what_earlier_runs_took(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, cells = Clock(monkeypatch), many(5)
    pace = Pace(cells, an_outlook(cells, total_s=50.0))
    assert pace.left() == 50.0, "ten cells of ten seconds, two at once"
    clock.now += 5
    pace.cell(cells[0], CellState.RUNNING, 1, 2)
    assert pace.left() == pytest.approx(47.5), "too early to tell how fast it goes"
    clock.now += 20
    for cell in cells[:5]:
        pace.cell(cell, CellState.DONE, 2, 2)
    assert pace.left() == pytest.approx(25.0)
    assert pace.summary() == "5 of 10 guests done, 25 s spent, about 25 s left"


def test_the_estimate_follows_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, cells = Clock(monkeypatch), many(5)
    pace = Pace(cells, an_outlook(cells, total_s=50.0))
    clock.now += 75
    for cell in cells[:5]:
        pace.cell(cell, CellState.DONE, 2, 2)
    assert pace.left() == pytest.approx(75.0), "half took three times as long as expected"
    for cell in cells:
        pace.cell(cell, CellState.DONE, 2, 2)
    assert pace.left() == 0.0
    assert pace.summary() == "10 of 10 guests done, 75 s spent"


def test_a_build_is_work_too(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    cells = many(5)
    pace = Pace(cells, an_outlook(cells, total_s=150.0, build_s=100.0))
    pace.building(cells[0], 0.1)
    assert pace.left() == pytest.approx(150.0 * 0.95)
    pace.cell(cells[0], CellState.BOOTING, 0, 0)
    assert pace.left() == pytest.approx(15.0), "half of the work is done in no time: as fast as it is believed to be"


def test_in_a_log_the_end_of_a_cell_says_what_is_left() -> None:
    out, cells = io.StringIO(), many(5)
    shown = PlainScreen(Console(file=out, width=80), cells, an_outlook(cells, total_s=50.0))
    shown.cell(cells[0], CellState.BOOTING)
    shown.cell(cells[0], CellState.DONE, done=2, total=2)
    first, second = out.getvalue().splitlines()
    assert "left" not in first
    assert "1 of 10 guests done" in second
    assert "left)" in second


def test_nothing_is_said_of_time_where_nothing_is_known(cells: tuple[Cell, ...]) -> None:
    pace = Pace(cells)
    pace.cell(cells[0], CellState.BUILT, 0, 0)
    assert pace.summary() == "1 of 2 done, 0 s spent"


def test_what_a_compiler_prints_cannot_move_the_cursor(cells: tuple[Cell, ...]) -> None:
    shown, out = plain()
    shown.building(cells[0], "a\x1b[2Jb\nc\0d" + "x" * 1000, 0.5)
    (line,) = out.getvalue().splitlines()
    assert line.isprintable()
    assert len(line) < 150


@pytest.mark.parametrize("name", [*(state.value for state in CellState), *CellState.__members__])
def test_a_scenario_may_have_the_name_of_a_state(name: str) -> None:
    """guest_tests/done.c, waiting.c, INVALID.c: its guest is at work until it is done."""
    cells = many(1)
    shown = LiveScreen(cells)
    for cell in cells:
        shown.cell(cell, CellState.RUNNING, scenario=name, done=0, total=3)
        shown.progress(cell, name, 1, 3)
    _, row, last = drawn(shown, width=100)
    assert row.count(f"■■···· {name} 1/3 0 s") == 2
    assert last.startswith("0 of 2 done")
    out = io.StringIO()
    log = PlainScreen(Console(file=out, width=80), cells)
    log.cell(cells[0], CellState.RUNNING, scenario=name, done=0, total=3)
    assert out.getvalue().endswith(f"machine-000/baseline: {name} 0/3\n")


def test_every_status_of_a_cell_is_shown() -> None:
    assert set(STATE_OF) == set(CellStatus)
    assert not STATE_OF[CellStatus.OK].over
    assert all(STATE_OF[status].over for status in CellStatus if status is not CellStatus.OK)


@pytest.mark.parametrize("screen_of", ["plain", "live"])
def test_the_work_of_a_screen_does_not_grow_with_the_square_of_the_cells(screen_of: str) -> None:
    """A log without an estimate, and a matrix drawn once: every cell takes the same few calls."""

    def shown(machines: int) -> int:
        cells = many(machines)
        out = Console(file=io.StringIO(), width=80, height=24)
        screens: dict[str, PlainScreen | LiveScreen] = {"plain": PlainScreen(out, cells), "live": LiveScreen(cells)}

        def show() -> None:
            for cell in cells:
                screens[screen_of].cell(cell, CellState.BOOTING)
                screens[screen_of].cell(cell, CellState.RUNNING, scenario="demo", done=0, total=2)
                screens[screen_of].cell(cell, CellState.DONE, done=2, total=2)
            out.print(screens["live"])

        return calls(show)

    assert shown(2 * FEW) <= GROWTH * shown(FEW)
