# SPDX-License-Identifier: GPL-2.0-or-later
"""Show the progress of a run: a matrix that fills on a terminal, plain lines elsewhere.

Colour repeats what the words say. The output never exceeds the terminal's width or height.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lab.core.outcome import CellKey
from lab.core.untrusted import one_line
from lab.host.estimate import Outlook, format_time
from lab.run.protocols import CellState
from lab.specs.plan import Build, Cell

REFRESH_HZ = 4
PLAIN_EVERY_S = 10.0
"""Seconds between two progress lines of one build or program, without a terminal."""
TRUST_PACE = 0.1
"""The share of the work after which the pace so far corrects the estimate."""
MAX_CORRECTION = 5.0
FRAME_LINES = 5
"""Terminal lines that the heading, the build, the totals and the prompt use."""
BAR = 6
MAX_HOST = 12
"""The most characters of a host's name in the matrix."""
MAX_WORDS = 80
"""The most characters of a compiler's message or a scenario's name."""
_STYLES = {
    CellState.DONE: "green",
    CellState.INVALID: "bold red",
    CellState.NO_BOOT: "bold red",
    CellState.BROKEN: "bold red",
}


@dataclass(slots=True)
class _Progress:
    """The progress of one cell, whose repeats run one after the other."""

    state: CellState = CellState.WAITING
    scenario: str = ""
    done: int = 0
    total: int = 0
    repeat: int = 1
    host: str = ""
    """The host of a cluster that runs it; empty for this host."""
    since: float = field(default_factory=time.monotonic)

    @property
    def share(self) -> float:
        """Return the share of its guest's work that is done."""
        if self.state.over:
            return 1.0
        return self.done / max(1, self.total)

    @property
    def words(self) -> str:
        """Return the name of the scenario that runs, else the state."""
        return _words(self.state, self.scenario)


def _words(state: CellState, scenario: str) -> str:
    if state is CellState.RUNNING and scenario:
        return one_line(scenario, MAX_WORDS)
    return state.value


class Pace:
    """How much of a plan is done, and how long the rest takes: estimated from earlier runs, corrected by the pace.

    The estimate of the whole plan accounts for guests that run at once; the rest takes its share of the remaining work.
    """

    def __init__(self, cells: Sequence[Cell], expected: Outlook | None = None) -> None:
        self._cells = {cell.name: _Progress() for cell in cells}
        self._expected = expected
        self._build_done: dict[Build, float] = {}
        self._started = time.monotonic()
        self._finished = 0

    def building(self, cell: Cell, done: float | None) -> None:
        """Record the progress of the build of a cell's kernel."""
        self._build_done[cell.build] = max(done or 0.0, self._build_done.get(cell.build, 0.0))

    def cell(self, cell: Cell, state: CellState, done: int, total: int) -> None:
        """Record a cell's state."""
        progress = self._cells.setdefault(cell.name, _Progress())
        self._finished -= self._counts(progress.state)
        progress.state, progress.done, progress.total = state, done, total or progress.total
        self._finished += self._counts(state)
        if state is not CellState.BUILDING:
            self._build_done[cell.build] = 1.0

    def _counts(self, state: CellState) -> bool:
        """Return whether a cell in this state is finished; if no guests are booted, whether its kernel is built."""
        return state.over or (self._expected is None and state is CellState.BUILT)

    @property
    def finished(self) -> int:
        """Return the number of finished guests; if no guests are booted, of built kernels."""
        return self._finished

    @property
    def spent(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self._started

    def left(self) -> float | None:
        """Return the seconds that the rest will take; None if there is no estimate."""
        if self._expected is None:
            return None
        whole = done = 0.0
        for name, progress in self._cells.items():
            seconds = self._expected.cell_s.get(name, 0.0)
            whole += seconds
            done += seconds * progress.share
        for build, seconds in self._expected.build_s.items():
            whole += seconds
            done += seconds * self._build_done.get(build, 0.0)
        if not whole:
            return None
        return self._rest(self._expected.total_s, done / whole)

    def _rest(self, total_s: float, done: float) -> float:
        """Return the seconds that the rest will take, given the estimate of the whole and the share that is done."""
        if done >= 1.0:
            return 0.0
        rest = total_s * (1.0 - done)
        if done < TRUST_PACE:
            return rest
        return rest * min(MAX_CORRECTION, max(1 / MAX_CORRECTION, self.spent / (total_s * done)))

    def summary(self) -> str:
        """Return `3 of 18 guests done, 12 s spent, about 2 min left`."""
        what = "guests done" if self._expected else "done"
        parts = [f"{self.finished} of {len(self._cells)} {what}", f"{format_time(self.spent)} spent"]
        left = self.left()
        if left is not None and self.finished < len(self._cells):
            parts.append(f"about {format_time(left)} left")
        return ", ".join(parts)


class PlainScreen:
    """One line per change, for logs and CI."""

    def __init__(self, console: Console, cells: Sequence[Cell] = (), expected: Outlook | None = None) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._printed_at: dict[str, float] = {}
        self._pace = Pace(cells, expected)

    def building(self, cell: Cell, detail: str, done: float | None) -> None:
        """Print the progress of a build, at most every PLAIN_EVERY_S."""
        with self._lock:
            self._pace.building(cell, done)
            if not self._due(cell):
                return
        parts = ["building", one_line(detail, MAX_WORDS)]
        if done is not None:
            parts.append(f"{done:.0%}")
        self._print(cell, " ".join(parts))

    def placed(self, cell: Cell, host: str) -> None:
        """Print which host runs a cell."""
        self._print(cell, f"on {host}")

    def progress(self, cell: Cell, scenario: str, done: int, total: int) -> None:
        """Print the progress of a scenario, at most every PLAIN_EVERY_S."""
        with self._lock:
            self._pace.cell(cell, CellState.RUNNING, done, total)
            if not self._due(cell):
                return
        self._print(cell, f"{_words(CellState.RUNNING, scenario)} {done}/{total}")

    def _due(self, cell: Cell) -> bool:
        """Return True at most once every PLAIN_EVERY_S per cell; the caller must print when it is."""
        now = time.monotonic()
        due = now - self._printed_at.get(cell.name, 0.0) >= PLAIN_EVERY_S
        if due:
            self._printed_at[cell.name] = now
        return due

    def cell(self, cell: Cell, state: CellState, *, scenario: str = "", done: int = 0, total: int = 0) -> None:
        """Print a cell's new state; after the end of a cell, also how much of the plan remains."""
        parts = [_words(state, scenario)]
        if total:
            parts.append(f"{done}/{total}")
        with self._lock:
            self._pace.cell(cell, state, done, total)
            self._printed_at[cell.name] = time.monotonic()
            if state.over:
                parts.append(f"({self._pace.summary()})")
        self._print(cell, " ".join(parts))

    def _print(self, cell: Cell, text: str) -> None:
        line = f"[{self._pace.spent:6.1f}s] {cell.name}: {text}"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _BuildProgress:
    """The build that is running."""

    place: CellKey
    detail: str
    done: float | None
    since: float


class LiveScreen:
    """A matrix that fills: a row per machine, a column per kernel; below it the running build, then the totals."""

    def __init__(self, cells: Sequence[Cell], expected: Outlook | None = None) -> None:
        self._lock = threading.Lock()
        self._machines = tuple(dict.fromkeys(cell.topology.name for cell in cells))
        self._kernels = tuple(dict.fromkeys(cell.kernel.name for cell in cells))
        self._repeats = max((cell.repeat for cell in cells), default=1)
        self._cells = {cell.key: _Progress() for cell in cells}
        self._build: _BuildProgress | None = None
        self._pace = Pace(cells, expected)

    def building(self, cell: Cell, detail: str, done: float | None) -> None:
        """Show the progress of a build."""
        with self._lock:
            self._pace.building(cell, done)
            since = time.monotonic()
            if self._builds(cell) and self._build:
                since = self._build.since
            self._build = _BuildProgress(place=cell.key, detail=one_line(detail, 40), done=done, since=since)

    def cell(self, cell: Cell, state: CellState, *, scenario: str = "", done: int = 0, total: int = 0) -> None:
        """Show a cell's new state."""
        with self._lock:
            self._pace.cell(cell, state, done, total)
            shown = self._cells[cell.key]
            if (state, scenario, cell.repeat) != (shown.state, shown.scenario, shown.repeat):
                shown.since = time.monotonic()
            shown.state, shown.scenario, shown.done, shown.total = state, scenario, done, total
            shown.repeat = cell.repeat
            if state is not CellState.BUILDING and self._builds(cell):
                self._build = None

    def placed(self, cell: Cell, host: str) -> None:
        """Show which host runs a cell."""
        with self._lock:
            self._cells[cell.key].host = host

    def progress(self, cell: Cell, scenario: str, done: int, total: int) -> None:
        """Show the progress of a scenario."""
        self.cell(cell, CellState.RUNNING, scenario=scenario, done=done, total=total)

    def _builds(self, cell: Cell) -> bool:
        return self._build is not None and self._build.place == cell.key

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        now = time.monotonic()
        room = max(3, (options.height or console.height) - FRAME_LINES)
        with self._lock:
            shown, hidden = self._choose(room)
            yield self._matrix(shown, now, options.max_width)
            if hidden:
                yield Text(self._hidden_line(hidden), style="dim", no_wrap=True)
            if self._build:
                yield _build_line(self._build, now)
            yield Text(self._pace.summary(), no_wrap=True, overflow="ellipsis")

    def _choose(self, room: int) -> tuple[list[str], list[str]]:
        """Return the machines to show, and to hide if room is short: those at work first, then waiting, then done."""
        order = sorted(self._machines, key=lambda name: _urgency(self._row(name)))
        kept = set(order[:room])
        return [name for name in self._machines if name in kept], order[room:]

    def _row(self, machine: str) -> list[_Progress]:
        row = []
        for kernel in self._kernels:
            if progress := self._cells.get(CellKey(machine, kernel)):
                row.append(progress)
        return row

    def _hidden_line(self, machines: Sequence[str]) -> str:
        done = sum(_urgency(self._row(name)) == DONE for name in machines)
        parts = []
        if done:
            parts.append(f"{done} machines done")
        if done < len(machines):
            parts.append(f"{len(machines) - done} waiting")
        return f"and {', '.join(parts)}"

    def _matrix(self, machines: Sequence[str], now: float, width: int) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        first = min(max(map(len, self._machines), default=0), max(14, width // 3))
        room = (width - first - 2) // max(1, len(self._kernels)) - 2
        table.add_column("", no_wrap=True, min_width=first, max_width=first, overflow="ellipsis")
        for kernel in self._kernels:
            heading = one_line(kernel, max(6, room))
            table.add_column(heading, no_wrap=True, min_width=max(1, min(14, room)), overflow="ellipsis")
        for machine in machines:
            entry = partial(self._entry, machine, now, room)
            table.add_row(machine, *map(entry, self._kernels))
        return table

    def _entry(self, machine: str, now: float, room: int, kernel: str) -> Text:
        progress = self._cells.get(CellKey(machine, kernel))
        if progress is None:
            return Text("-", style="dim")
        return _entry_text(progress, now, room, self._repeats)


AT_WORK, WAITING, DONE = range(3)
"""The order in which machines are shown if there is no room for all."""


def _urgency(row: Sequence[_Progress]) -> int:
    if any(progress.state.active for progress in row):
        return AT_WORK
    if all(progress.state.over for progress in row):
        return DONE
    return WAITING


def _entry_text(progress: _Progress, now: float, room: int, repeats: int) -> Text:
    """Return a text such as `■■■■·· expand 3/9  12 s`, shortened to the available width."""
    if progress.state is CellState.WAITING:
        return Text("·", style="dim")
    parts = [progress.words]
    if repeats > 1:
        parts.insert(0, f"{progress.repeat}/{repeats}")
    if progress.host:
        parts.insert(0, f"{one_line(progress.host, MAX_HOST)}:")
    if progress.total:
        parts.append(f"{progress.done}/{progress.total}")
    text = " ".join(parts)
    if progress.total and room >= len(text) + BAR + 1:
        full = round(BAR * progress.share)
        text = f"{'■' * full}{'·' * (BAR - full)} {text}"
    if not progress.state.active:
        return Text(text, style=_STYLES.get(progress.state, "dim"))
    spent = f"{now - progress.since:.0f} s"
    if room >= len(text) + len(spent) + 1:
        text = f"{text} {spent}"
    return Text(text)


def _build_line(build: _BuildProgress, now: float) -> Table:
    line = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=1.0, completed=build.done or 0.0, pulse=build.done is None, width=16)
    share = "    "
    if build.done is not None:
        share = f"{build.done:4.0%}"
    for _ in range(5):
        line.add_column(no_wrap=True, overflow="ellipsis")
    spent = Text(f"{share} {now - build.since:.0f} s")
    line.add_row(Text("build"), bar, spent, Text(str(build.place)), Text(build.detail, style="dim"))
    return line


@contextmanager
def screen(
    console: Console, cells: Sequence[Cell], expected: Outlook | None = None
) -> Iterator[PlainScreen | LiveScreen]:
    """Show progress: on a terminal as a matrix, elsewhere as lines; the remaining time is estimated from `expected`."""
    if not console.is_terminal:
        yield PlainScreen(console, cells, expected)
        return
    live = LiveScreen(cells, expected)
    with Live(live, console=console, refresh_per_second=REFRESH_HZ, transient=True):
        yield live
