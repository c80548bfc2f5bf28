# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run looks like while it is under way, on a terminal and in a log."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from lab import screen
from lab.plan import Cell
from lab.screen import LiveScreen, PlainScreen, clean
from tests.unit.test_runner import a_plan


@pytest.fixture
def cells() -> tuple[Cell, ...]:
    return a_plan(["baseline", "patched"]).cells


def plain() -> tuple[PlainScreen, io.StringIO]:
    out = io.StringIO()
    return PlainScreen(Console(file=out, width=80)), out


def test_plain_lines_say_what_each_cell_does(cells: tuple[Cell, ...]) -> None:
    shown, out = plain()
    shown.cell(cells[0], "booting")
    shown.cell(cells[1], "demo", done=1, total=2)
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


def test_the_live_table_has_a_row_per_cell_and_a_bar_for_the_build(cells: tuple[Cell, ...]) -> None:
    shown = LiveScreen(cells)
    shown.cell(cells[0], "demo", done=1, total=2)
    shown.cell(cells[1], "building")
    shown.building(cells[1], "mm", 0.5)
    out = io.StringIO()
    Console(file=out, width=80, force_terminal=False).print(shown)
    text = out.getvalue()
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "baseline" in text
    assert "1/2" in text
    assert "50%" in text
    assert " mm" in text
    shown.cell(cells[1], "booting")
    out = io.StringIO()
    Console(file=out, width=80).print(shown)
    assert "50%" not in out.getvalue()


def test_what_compilers_and_guests_say_cannot_move_the_cursor() -> None:
    assert clean("a\x1b[2Jb\nc\0d") == "a [2Jb c d"
    assert len(clean("x" * 1000)) == 80
