# SPDX-License-Identifier: GPL-2.0-or-later
"""How a run looks while it is under way: a live table on a terminal, plain lines anywhere else."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lab.plan import Cell

REFRESH_HZ = 4
PLAIN_EVERY_S = 10.0
"""Without a terminal: how often a build that goes on says so."""
_STYLES = {"done": "green", "OK": "cyan", "INVALID": "bold red", "NO_BOOT": "bold red", "BROKEN": "bold red"}


def clean(text: str, width: int = 80) -> str:
    """One printable line of what may come from a compiler or a guest."""
    return "".join(char if char.isprintable() else " " for char in text)[:width]


@dataclass(slots=True)
class _Row:
    """What one cell is doing."""

    state: str = "waiting"
    done: int = 0
    total: int = 0
    since: float = field(default_factory=time.monotonic)


class PlainScreen:
    """One line per change, for logs and CI."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._told: dict[str, float] = {}
        self._started = time.monotonic()

    def building(self, cell: Cell, detail: str, done: float | None) -> None:
        now = time.monotonic()
        with self._lock:
            if now - self._told.get(cell.name, 0.0) < PLAIN_EVERY_S:
                return
            self._told[cell.name] = now
        self._say(cell, f"building {clean(detail)}" + (f" {done:.0%}" if done is not None else ""))

    def cell(self, cell: Cell, state: str, *, done: int = 0, total: int = 0) -> None:
        self._say(cell, f"{state} {done}/{total}" if total else state)

    def _say(self, cell: Cell, text: str) -> None:
        elapsed = time.monotonic() - self._started
        self._console.print(f"[{elapsed:6.1f}s] {cell.name}: {text}", markup=False, highlight=False, soft_wrap=True)


class LiveScreen:
    """A table with a row per cell and a bar for the build under way."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._lock = threading.Lock()
        self._rows = {cell.place: _Row() for cell in cells}
        self._build: tuple[str, str, float | None, float] | None = None
        self._started = time.monotonic()

    def building(self, cell: Cell, detail: str, done: float | None) -> None:
        with self._lock:
            since = self._build[3] if self._build and self._build[0] == cell.name else time.monotonic()
            self._build = (cell.name, clean(detail, 40), done, since)

    def cell(self, cell: Cell, state: str, *, done: int = 0, total: int = 0) -> None:
        with self._lock:
            row = self._rows[cell.place]
            state = state if cell.repeat == 1 else f"{cell.repeat}: {state}"
            if state != row.state:
                row.since = time.monotonic()
            row.state, row.done, row.total = state, done, total
            if state != "building" and self._build and self._build[0] == cell.name:
                self._build = None

    def __rich__(self) -> RenderableType:
        now = time.monotonic()
        with self._lock:
            table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
            for heading in ("machine", "kernel", "doing", "scenarios", "time"):
                table.add_column(heading, style="" if heading != "time" else "dim")
            for name, row in self._rows.items():
                topology, _, kernel = name.partition("/")
                state = Text(row.state, style=_STYLES.get(row.state, "dim" if row.state == "waiting" else ""))
                counted = f"{row.done}/{row.total}" if row.total else ""
                spent = "" if row.state in ("waiting", "done") else f"{now - row.since:.0f} s"
                table.add_row(topology, kernel, state, counted, spent)
            parts: list[RenderableType] = [table]
            if self._build:
                parts.append(_build_line(self._build, now))
            parts.append(Text(f"{now - self._started:.0f} s", style="dim"))
        return Group(*parts)


def _build_line(build: tuple[str, str, float | None, float], now: float) -> RenderableType:
    name, detail, done, since = build
    line = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=1.0, completed=done or 0.0, pulse=done is None, width=24)
    share = f"{done:4.0%}" if done is not None else "    "
    line.add_row(Text("build"), bar, Text(share), Text(f"{now - since:.0f} s"), Text(name), Text(detail, style="dim"))
    return line


@contextmanager
def screen(console: Console, cells: Sequence[Cell]) -> Iterator[PlainScreen | LiveScreen]:
    """The screen that fits where the output goes."""
    if not console.is_terminal:
        yield PlainScreen(console)
        return
    live = LiveScreen(cells)
    with Live(live, console=console, refresh_per_second=REFRESH_HZ, transient=True):
        yield live
