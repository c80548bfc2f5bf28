# SPDX-License-Identifier: GPL-2.0-or-later
"""The interfaces that a campaign runs against: guests and snapshots, a cell that can boot, the place, the screen.

The real ones are in lab/guests, lab/run/this_host.py, lab/cluster and lab/run/screen.py, the fakes of the tests in
tests/unit/fakes.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from threading import Event
from typing import Any, Generic, Protocol, TypeVar

from lab.build.builder import Builder
from lab.core.deadline import Deadline
from lab.core.errors import InfraError
from lab.core.outcome import Case, CellStatus, End, Ended, Mismatch, Run, Usage
from lab.core.progress import Progress
from lab.evidence.console import ConsoleLog
from lab.evidence.metadata import Metadata, Provenance
from lab.evidence.write import CellDir, RunDir
from lab.guests.accelerator import Accelerator
from lab.guests.guest import Description
from lab.host.schedule import Task
from lab.run.gate import Turns
from lab.specs.plan import Cell


class GuestLike(Protocol):
    """A booted guest; `lab.guests.guest.Guest` is the real one."""

    @property
    def boot_s(self) -> float: ...
    @property
    def login_s(self) -> float: ...
    @property
    def accelerator(self) -> Accelerator: ...
    @property
    def console(self) -> ConsoleLog: ...
    def facts(self) -> str: ...
    def push(self, programs: Mapping[str, Path]) -> None: ...
    def run(
        self,
        command: str,
        *,
        deadline: Deadline,
        silence_s: float | None = None,
        on_stdout: Callable[[bytes], None] | None = None,
    ) -> Ended: ...
    def watch(self) -> End | None: ...
    def settle(self) -> None: ...
    def describe(self) -> Description: ...
    def save(self) -> SnapshotLike: ...
    def usage(self) -> Usage | None: ...
    def close(self) -> None: ...


class SnapshotLike(Protocol):
    """A saved guest; `lab.guests.guest.Snapshot` is the real one."""

    @property
    def save_s(self) -> float: ...
    @property
    def size(self) -> int: ...
    def prepare(self) -> None: ...
    def restore(self) -> GuestLike: ...
    def discard(self) -> None: ...


class RestoredLike(Protocol):
    """A guest that was restored from the cache; `lab.guests.factory.RestoredGuest` is the real one."""

    @property
    def guest(self) -> GuestLike: ...
    @property
    def facts(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def saved(self) -> str: ...


class BuiltLike(Protocol):
    """Everything that a cell boots from, wherever it is."""

    @property
    def provenance(self) -> Provenance: ...


Built = TypeVar("Built", bound=BuiltLike)


class BootableCellLike(BuiltLike, Protocol):
    """A cell with everything that it boots from; `lab.guests.factory.BootableCell` is the real one."""

    @property
    def programs(self) -> Mapping[str, Path]: ...
    @property
    def config(self) -> bytes: ...
    @property
    def no_save(self) -> str: ...
    @property
    def enter(self) -> tuple[str, ...]: ...
    def planned(self, console: Path) -> Description: ...
    def boot(self, console: Path) -> GuestLike: ...
    def restore(self, console: Path) -> RestoredLike | None: ...
    def keep(self, guest: Any, facts: str) -> None: ...
    def verify(self, facts: str) -> tuple[Mismatch, ...]: ...


class GuestFactoryLike(Protocol):
    """Builds what cells need; `lab.guests.factory.GuestFactory` is the real one."""

    def prepare(self, cell: Cell, progress: Progress) -> BootableCellLike: ...
    def abort(self) -> None: ...


class KeeperLike(Protocol):
    """Takes over guests that are to stay; `lab.run.keep_failed.GuestKeeper` is the real one."""

    def takes(self, cell: Cell, guest: GuestLike, run: Run, declared: Sequence[Case]) -> bool: ...


class CellState(Enum):
    """What a cell is doing, with the word that a screen shows for it.

    The scenario that a RUNNING cell is at is given beside its state: any of these words may be the name of a scenario.
    """

    WAITING = "waiting"
    BUILDING = "building"
    BUILT = "built"
    BOOTING = "booting"
    VERIFIED = "OK"
    RUNNING = "running"
    DONE = "done"
    INVALID = "INVALID"
    NO_BOOT = "NO BOOT"
    BROKEN = "BROKEN"

    @property
    def over(self) -> bool:
        """Whether nothing follows."""
        return self in (CellState.DONE, CellState.INVALID, CellState.NO_BOOT, CellState.BROKEN)

    @property
    def active(self) -> bool:
        """Whether a build or a guest is at work."""
        return not self.over and self not in (CellState.WAITING, CellState.BUILT)


STATE_OF = {
    CellStatus.OK: CellState.VERIFIED,
    CellStatus.INVALID: CellState.INVALID,
    CellStatus.NO_BOOT: CellState.NO_BOOT,
    CellStatus.BROKEN: CellState.BROKEN,
}
"""The state of a cell whose status has just been settled."""


class Screen(Protocol):
    """Where progress goes. Called from any thread."""

    def building(self, cell: Cell, detail: str, done: float | None) -> None:
        """Show how far the build of a cell's kernel is: what is compiled, and the share that is done."""

    def cell(self, cell: Cell, state: CellState, *, scenario: str = "", done: int = 0, total: int = 0) -> None:
        """Show a cell's new state; `scenario` is the name of the one that runs, `done` of `total` cases have ended."""

    def placed(self, cell: Cell, host: str) -> None:
        """Show which host of a cluster runs a cell."""

    def progress(self, cell: Cell, scenario: str, done: int, total: int) -> None:
        """Show that the scenario under way has reported further results."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellOrder(Generic[Built]):
    """A cell that is to be run, with everything that was decided about it."""

    cell: Cell
    fresh: bool
    """Every scenario gets a guest of its own."""
    built: Built
    """What the `prepare` of the same place returned for the cell."""
    evidence: CellDir
    cases: Mapping[str, tuple[Case, ...]]
    screen: Screen
    stopping: Event
    kept: Sequence[Run] = ()
    """The runs that a lab which was killed has completed: they count, and are not repeated."""
    keeper: KeeperLike | None = None
    verified: Callable[[], None] | None = None
    """Called once a guest on this computer has proved to be the machine that was asked for."""


class ForesightLike(Protocol):
    """Knows what is going to be confirmed; `lab.run.confirm.Foresight` is the real one."""

    def cells(self, cell: Cell, metadata: Metadata) -> Sequence[Cell]:
        """Return the guests that are going to confirm what a cell changes, as far as it can be told beforehand."""

    def described(self, cells: Sequence[Cell]) -> Sequence[Mapping[str, object]]:
        """Return what metadata.json says of such guests."""


class Unseen:
    """A screen that shows nothing: of guests that a plan does not have."""

    def building(self, cell: Cell, detail: str, done: float | None) -> None:
        pass

    def cell(self, cell: Cell, state: CellState, *, scenario: str = "", done: int = 0, total: int = 0) -> None:
        pass

    def placed(self, cell: Cell, host: str) -> None:
        pass

    def progress(self, cell: Cell, scenario: str, done: int, total: int) -> None:
        pass


class HostGone(InfraError):
    """The host that a build or an attempt was placed on is gone."""


class PlaceLike(Protocol[Built]):
    """Where builds and cells are carried out: this computer (lab/run/this_host.py) or a cluster (lab/cluster)."""

    @property
    def turns(self) -> Turns:
        """Its hosts, each with its budget, and what waits for them."""

    @property
    def at_once(self) -> int:
        """How many cells may be under way at once."""

    @property
    def builders(self) -> int:
        """How many kernel trees may be built at once."""

    def open(self) -> None:
        """Begin: tasks will be placed from now on."""

    def hopeless(self, waiting: Sequence[Task]) -> Sequence[tuple[Task, str]]:
        """Return those of the waiting tasks, none of which a present host can run, that are given up, and why."""

    def build_task(self, cell: Cell, task: Task) -> Task:
        """Return the task of a cell's build with what it needs of its host beyond a compiler."""

    def prepare(self, cell: Cell, progress: Progress, host: str) -> Built:
        """Build what a cell needs on a host, or find it; the empty name means wherever it is cheapest.

        HostGone if the host is lost meanwhile.
        """

    def run(self, order: CellOrder[Built], placed: Task) -> Task | None:
        """Run a cell on the host that its task was placed on. Return the task if it is to be placed again."""

    def abort(self) -> None:
        """End every guest and every compiler at once."""


class ElsewhereLike(Protocol):
    """Places for several runs: `lab.cluster.session.Session` on a cluster, `lab.run.this_host.ThisComputer` here."""

    @property
    def uri(self) -> str:
        """What metadata.json has as the connection."""

    def describe(self) -> Mapping[str, object]:
        """Return what metadata.json says of each host of a cluster, by its name."""

    def place(self, workshop: Builder, run_dir: RunDir) -> AbstractContextManager[PlaceLike[Any]]:
        """Return the hosts as the place of one run."""

    def abort(self) -> None:
        """End every guest of the runs under way."""
