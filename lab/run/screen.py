# SPDX-License-Identifier: GPL-2.0-or-later
"""How a run looks while it is under way: a matrix that fills on a terminal, plain lines anywhere else.

Words say everything; colour only helps. Nothing is wider than the terminal or higher than it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lab.core.outcome import CellKey
from lab.host.estimate import Outlook, format_time
from lab.specs.plan import Build, Cell

REFRESH_HZ = 4
PLAIN_EVERY_S = 10.0
"""Without a terminal: how often a build or a program that goes on says so."""
TRUST_PACE = 0.1
"""From this share of the work on, how fast it went so far says how fast it goes on."""
MAX_CORRECTION = 5.0
FRAME_LINES = 5
"""Of a terminal, what is left to the heading, the build, the totals and the prompt."""
BAR = 6
_OVER = frozenset({"done", "INVALID", "NO_BOOT", "BROKEN"})
_STYLES = {"done": "green", "INVALID": "bold red", "NO_BOOT": "bold red", "BROKEN": "bold red"}
_WORDS = {"NO_BOOT": "NO BOOT", "waiting": "·"}


_PAINT = {
    r"(?m)^(REGRESSED|NOT MET|NO POWER|NO BOOT)\b.*$": "bold red",
    r"(?m)^(INVALID|BROKEN)\b.*$": "bold yellow",
    r"(?m)^FIXED\b.*$": "bold green",
    r"(?m)^exit 0:.*$": "bold green",
    r"(?m)^exit 1:.*$": "bold red",
    r"(?m)^exit 2:.*$": "bold yellow",
}


def painted(report: str) -> Text:
    """A text report with its headings in colour, where there is some."""
    text = Text(report)
    for pattern, style in _PAINT.items():
        text.highlight_regex(pattern, style)
    return text


def clean(text: str, width: int = 80) -> str:
    """One printable line of what may come from a compiler or a guest."""
    return "".join(char if char.isprintable() else " " for char in text)[:width]


@dataclass(slots=True)
class _State:
    """What one cell is doing, with its repeats one after the other."""

    doing: str = "waiting"
    done: int = 0
    total: int = 0
    repeat: int = 1
    since: float = field(default_factory=time.monotonic)

    @property
    def over(self) -> bool:
        return self.doing in _OVER

    @property
    def active(self) -> bool:
        return not self.over and self.doing not in ("waiting", "built")

    @property
    def share(self) -> float:
        """How much of its guest's work is done."""
        return 1.0 if self.over else self.done / self.total if self.total else 0.0


class Pace:
    """What of a plan is done, and how long the rest takes: from what earlier runs took, corrected by this one's pace.

    The estimate of the whole knows how many guests run at once; what is left of it is the share of the work left.
    """

    def __init__(self, cells: Sequence[Cell], expected: Outlook | None = None) -> None:
        self._cells = {cell.name: _State() for cell in cells}
        self._builds = {cell.name: cell.build for cell in cells}
        self._expected = expected
        self._build_done: dict[Build, float] = {}
        self._started = time.monotonic()

    def building(self, cell: Cell, done: float | None) -> None:
        self._build_done[cell.build] = max(done or 0.0, self._build_done.get(cell.build, 0.0))

    def cell(self, cell: Cell, doing: str, done: int, total: int) -> None:
        state = self._cells.setdefault(cell.name, _State())
        state.doing, state.done, state.total = doing, done, total or state.total
        if doing != "building":
            self._build_done[cell.build] = 1.0

    @property
    def finished(self) -> int:
        """Guests that are done; where none is to be booted, kernels that are built."""
        built = self._expected is None
        return sum(state.over or (built and state.doing == "built") for state in self._cells.values())

    @property
    def spent(self) -> float:
        return time.monotonic() - self._started

    def left(self) -> float | None:
        """Seconds; None where nothing is known."""
        if self._expected is None:
            return None
        work = [(self._expected.cell_s.get(name, 0.0), state.share) for name, state in self._cells.items()]
        work += [(seconds, self._build_done.get(build, 0.0)) for build, seconds in self._expected.build_s.items()]
        whole = sum(seconds for seconds, _ in work)
        if not whole:
            return None
        done = sum(seconds * share for seconds, share in work) / whole
        if done >= 1.0:
            return 0.0
        rest = self._expected.total_s * (1.0 - done)
        if done < TRUST_PACE:
            return rest
        return rest * min(MAX_CORRECTION, max(1 / MAX_CORRECTION, self.spent / (self._expected.total_s * done)))

    def said(self) -> str:
        """`3 of 18 guests done, 12 s spent, about 2 min left`."""
        left = self.left()
        rest = f", about {format_time(left)} left" if left is not None and self.finished < len(self._cells) else ""
        what = "guests done" if self._expected else "done"
        return f"{self.finished} of {len(self._cells)} {what}, {format_time(self.spent)} spent{rest}"


class PlainScreen:
    """One line per change, for logs and CI."""

    def __init__(self, console: Console, cells: Sequence[Cell] = (), expected: Outlook | None = None) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._told: dict[str, float] = {}
        self._pace = Pace(cells, expected)

    def building(self, cell: Cell, detail: str, done: float | None) -> None:
        with self._lock:
            self._pace.building(cell, done)
            if not self._due(cell):
                return
        self._say(cell, f"building {clean(detail)}" + (f" {done:.0%}" if done is not None else ""))

    def progress(self, cell: Cell, state: str, done: int, total: int) -> None:
        with self._lock:
            self._pace.cell(cell, state, done, total)
            if not self._due(cell):
                return
        self._say(cell, f"{state} {done}/{total}")

    def _due(self, cell: Cell) -> bool:
        """Whether what changes all the time is to be told again, which is taken for done."""
        now = time.monotonic()
        due = now - self._told.get(cell.name, 0.0) >= PLAIN_EVERY_S
        if due:
            self._told[cell.name] = now
        return due

    def cell(self, cell: Cell, state: str, *, done: int = 0, total: int = 0) -> None:
        with self._lock:
            self._pace.cell(cell, state, done, total)
            self._told[cell.name] = time.monotonic()
            rest = f" ({self._pace.said()})" if state in _OVER else ""
        self._say(cell, (f"{state} {done}/{total}" if total else state) + rest)

    def _say(self, cell: Cell, text: str) -> None:
        line = f"[{self._pace.spent:6.1f}s] {cell.name}: {text}"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class LiveScreen:
    """A matrix that fills: machines down, kernels across, the build under way below, then what is left."""

    def __init__(self, cells: Sequence[Cell], expected: Outlook | None = None) -> None:
        self._lock = threading.Lock()
        self._machines = tuple(dict.fromkeys(cell.topology.name for cell in cells))
        self._kernels = tuple(dict.fromkeys(cell.kernel.name for cell in cells))
        self._repeats = max((cell.repeat for cell in cells), default=1)
        self._states = {cell.key: _State() for cell in cells}
        self._build: tuple[CellKey, str, float | None, float] | None = None
        self._pace = Pace(cells, expected)

    def building(self, cell: Cell, detail: str, done: float | None) -> None:
        with self._lock:
            self._pace.building(cell, done)
            since = self._build[3] if self._build and self._build[0] == cell.key else time.monotonic()
            self._build = (cell.key, clean(detail, 40), done, since)

    def cell(self, cell: Cell, state: str, *, done: int = 0, total: int = 0) -> None:
        with self._lock:
            self._pace.cell(cell, state, done, total)
            shown = self._states[cell.key]
            if (state, cell.repeat) != (shown.doing, shown.repeat):
                shown.since = time.monotonic()
            shown.doing, shown.done, shown.total, shown.repeat = state, done, total, cell.repeat
            if state != "building" and self._build and self._build[0] == cell.key:
                self._build = None

    def progress(self, cell: Cell, state: str, done: int, total: int) -> None:
        self.cell(cell, state, done=done, total=total)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        now = time.monotonic()
        room = max(3, (options.height or console.height) - FRAME_LINES)
        with self._lock:
            shown, hidden = self._shown(room)
            yield self._matrix(shown, now, options.max_width)
            if hidden:
                yield Text(self._hidden(hidden), style="dim", no_wrap=True)
            if self._build:
                yield _build_line(self._build, now)
            yield Text(self._pace.said(), no_wrap=True, overflow="ellipsis")

    def _shown(self, room: int) -> tuple[list[str], list[str]]:
        """The machines that there is room for, those at work before those that wait and those that are done."""
        order = sorted(self._machines, key=lambda name: _urgency(self._of(name)))
        kept = set(order[:room])
        return [name for name in self._machines if name in kept], order[room:]

    def _of(self, machine: str) -> list[_State]:
        places = (self._states.get(CellKey(machine, kernel)) for kernel in self._kernels)
        return [state for state in places if state is not None]

    def _hidden(self, machines: Sequence[str]) -> str:
        done = sum(all(state.over for state in self._of(name)) for name in machines)
        parts = [f"{done} machines done"] if done else []
        parts += [f"{len(machines) - done} waiting"] if done < len(machines) else []
        return f"and {', '.join(parts)}"

    def _matrix(self, machines: Sequence[str], now: float, width: int) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        first = min(max((len(name) for name in self._machines), default=0), max(14, width // 3))
        room = (width - first - 2) // max(1, len(self._kernels)) - 2
        table.add_column("", no_wrap=True, min_width=first, max_width=first, overflow="ellipsis")
        for kernel in self._kernels:
            table.add_column(
                clean(kernel, max(6, room)), no_wrap=True, min_width=max(1, min(14, room)), overflow="ellipsis"
            )
        for machine in machines:
            states = [self._states.get(CellKey(machine, kernel)) for kernel in self._kernels]
            table.add_row(machine, *(_cell_text(state, now, room, self._repeats) for state in states))
        return table


def _urgency(states: Sequence[_State]) -> int:
    if any(state.active for state in states):
        return 0
    return 2 if all(state.over for state in states) else 1


def _cell_text(state: _State | None, now: float, room: int, repeats: int) -> Text:
    """`■■■■·· expand 3/9  12 s`, what there is room for of it."""
    if state is None:
        return Text("-", style="dim")
    parts = [f"{state.repeat}/{repeats}"] if repeats > 1 and state.doing != "waiting" else []
    parts += [_WORDS.get(state.doing, state.doing)]
    parts += [f"{state.done}/{state.total}"] if state.total else []
    spent = f"{now - state.since:.0f} s" if state.active else ""
    said = " ".join(parts)
    if state.total and room >= len(said) + BAR + 1:
        full = round(BAR * state.share)
        said = f"{'■' * full}{'·' * (BAR - full)} {said}"
    if spent and room >= len(said) + len(spent) + 1:
        said = f"{said} {spent}"
    return Text(said, style=_STYLES.get(state.doing, "dim" if not state.active else ""))


def _build_line(build: tuple[CellKey, str, float | None, float], now: float) -> Table:
    cell, detail, done, since = build
    line = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=1.0, completed=done or 0.0, pulse=done is None, width=16)
    share = f"{done:4.0%}" if done is not None else "    "
    for _ in range(5):
        line.add_column(no_wrap=True, overflow="ellipsis")
    line.add_row(Text("build"), bar, Text(f"{share} {now - since:.0f} s"), Text(str(cell)), Text(detail, style="dim"))
    return line


@contextmanager
def screen(
    console: Console, cells: Sequence[Cell], expected: Outlook | None = None
) -> Iterator[PlainScreen | LiveScreen]:
    """The screen that fits where the output goes; `expected` is what the time that is left is estimated from."""
    if not console.is_terminal:
        yield PlainScreen(console, cells, expected)
        return
    live = LiveScreen(cells, expected)
    with Live(live, console=console, refresh_per_second=REFRESH_HZ, transient=True):
        yield live
