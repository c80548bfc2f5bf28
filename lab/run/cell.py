# SPDX-License-Identifier: GPL-2.0-or-later
"""The work on one cell: a verified guest, the scenarios in it, the next guest after a crash; all of it as evidence.

Nothing is judged here. What happened is written to the cell's directory; `lab/verdicts/judge.py` reads it from there.
"""

from __future__ import annotations

import json
import secrets
import shlex
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from lab.core.deadline import Deadline, pause
from lab.core.errors import BootError, GuestLost, LabError
from lab.core.outcome import BOOT_ATTEMPTS, Books, Case, Cause, CellStatus, End, Ended, Mismatch, Run, Usage
from lab.evidence.console import ConsoleLog
from lab.evidence.metadata import Provenance
from lab.evidence.write import CellDir
from lab.formats import oops
from lab.formats.kconfig import has_kasan
from lab.guests.accelerator import Accelerator
from lab.guests.guest import DIRECTORY, Description
from lab.run.program import Execution
from lab.run.resume import attempts_left, left, not_reached
from lab.specs.model import Kernel, Topology
from lab.specs.plan import Cell, Selection
from lab.verdicts import counters

INTERRUPTED = "the run was interrupted"
SCENARIO_MARGIN_S = 10.0
"""On real hardware: what a scenario program may take beyond its cases' own time-outs."""
SILENCE_MARGIN_S = 5.0
LEAK_LOOKS = 3
LEAK_PAUSE_S = 0.2
"""On real hardware: what seems to have leaked may only be waiting for RCU or a work queue, so it is looked at again."""
BOOKS_S = 30.0


class GuestLike(Protocol):
    """A booted guest, as far as the runner knows; `lab.guest.Guest` is the real one."""

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
    def describe(self) -> Description: ...
    def save(self) -> SnapshotLike: ...
    def usage(self) -> Usage | None: ...
    def close(self) -> None: ...


class SnapshotLike(Protocol):
    """A saved guest, as far as the runner knows; `lab.guest.Snapshot` is the real one."""

    @property
    def save_s(self) -> float: ...
    @property
    def size(self) -> int: ...
    def prepare(self) -> None: ...
    def restore(self) -> GuestLike: ...
    def discard(self) -> None: ...


class BootableCellLike(Protocol):
    """A cell with all that it boots from; `lab.factory.Ready` is the real one."""

    @property
    def programs(self) -> Mapping[str, Path]: ...
    @property
    def config(self) -> bytes: ...
    @property
    def provenance(self) -> Provenance: ...
    @property
    def no_save(self) -> str: ...
    def planned(self, console: Path) -> Description: ...
    def boot(self, console: Path) -> GuestLike: ...
    def verify(self, facts: str) -> tuple[Mismatch, ...]: ...


class KeeperLike(Protocol):
    """Who may want a guest for itself; `lab.keeper.Keeper` is the real one."""

    def takes(self, cell: Cell, guest: GuestLike, run: Run, declared: Sequence[Case]) -> bool: ...


class Screen(Protocol):
    """Where progress goes. Called from any thread."""

    def building(self, cell: Cell, detail: str, done: float | None) -> None: ...
    def cell(self, cell: Cell, state: str, *, done: int = 0, total: int = 0) -> None: ...
    def progress(self, cell: Cell, state: str, done: int, total: int) -> None: ...


@dataclass(slots=True, kw_only=True)
class CellWork:
    """One cell: its guest (or, after a crash, its next one) and the scenarios that run in it.

    The next guest is restored from the state in which the first one was saved, where that pays: saving costs a tenth of
    a boot, restoring a fifth. A guest is saved where a next one is certain (a fresh one for every scenario), or likely:
    not the first guest of a shared cell, which most often is the only one, but the one that follows a crash.
    """

    cell: Cell
    fresh: bool
    built: BootableCellLike
    evidence: CellDir
    cases: Mapping[str, tuple[Case, ...]]
    screen: Screen
    stopping: threading.Event
    kept: Sequence[Run] = ()
    """What a lab that was killed has left: it counts, and is not run again."""
    keeper: KeeperLike | None = None
    guest: GuestLike | None = None
    snapshot: SnapshotLike | None = None
    no_save: str = ""
    """Why guests of this cell are not saved (any more)."""
    starts: int = 0
    status: CellStatus | None = None

    def run(self) -> None:
        """Boot, verify, run; whatever goes wrong ends as a status of the cell."""
        try:
            self._scenarios()
        except BootError as error:
            if self.stopping.is_set():
                self._give_up(INTERRUPTED)
            else:
                self._settle(CellStatus.NO_BOOT, f"{error.message}\n{error.excerpt}")
        except LabError as error:
            self._give_up(INTERRUPTED if self.stopping.is_set() else str(error), error.cause)
        except Exception as error:
            self._give_up(f"defect of the lab: {type(error).__name__}: {error}")
            raise
        finally:
            self._drop_guest()
            self._drop_snapshot()

    def _settle(self, status: CellStatus, reason: str = "", mismatches: Sequence[Mismatch] = ()) -> None:
        """The cell's status is settled once: by its first boot, or by what kept that from happening."""
        if self.status is None:
            self.status = status
            self.evidence.finish(status, reason, mismatches)
            self.screen.cell(self.cell, status.value)

    def _give_up(self, reason: str, cause: Cause = Cause.LAB) -> None:
        """The last word on a cell whose rest cannot be run; what ran before still counts."""
        self.status = CellStatus.BROKEN
        self.evidence.finish(CellStatus.BROKEN, reason, cause=Cause.INTERRUPTED if self.stopping.is_set() else cause)
        self.screen.cell(self.cell, CellStatus.BROKEN.value)

    def _scenarios(self) -> None:
        scenarios = self.cell.scenarios
        for selection in scenarios:
            if not left(self._kept_of(selection), selection, self.cases[selection.scenario]):
                continue
            self._scenario(selection, last=selection is scenarios[-1])
            if self.status is not CellStatus.OK:
                return
        total = sum(len(each.asked_cases(self.cases[each.scenario])) for each in scenarios)
        self.screen.cell(self.cell, "done", done=total, total=total)

    def _scenario(self, selection: Selection, *, last: bool) -> None:
        """Run a scenario; cases that a crash or a hang kept from being reached run again in the next guest.

        Where another guest is certain to be wanted, it is restored in the background while this one works.
        """
        before = self._kept_of(selection)
        asked = left(before, selection, self.cases[selection.scenario])
        explicit = bool(selection.cases or before)
        for attempt in range(len(before) + 1, len(before) + attempts_left(before) + 1):
            if self.stopping.is_set():
                raise LabError(INTERRUPTED)
            if not self._ready_guest(selection.scenario, attempt):
                return
            assert self.guest is not None
            if self.snapshot and self.fresh and not last:
                self.snapshot.prepare()
            run = self._run(self.guest, selection.scenario, asked, attempt, explicit=explicit)
            if self.keeper and self.keeper.takes(self.cell, self.guest, run, self.cases[selection.scenario]):
                self._leave_guest()
            elif self.fresh or not _reusable(run):
                self._drop_guest()
            asked, explicit = not_reached(run, asked), True
            if not asked:
                return

    def _kept_of(self, selection: Selection) -> list[Run]:
        """The runs of a scenario that a lab before us made, and that count."""
        return [run for run in self.kept if run.scenario == selection.scenario]

    def _ready_guest(self, scenario: str, attempt: int) -> bool:
        """Have a verified guest; False when this scenario cannot be run, with the reason in the evidence."""
        if self.guest is not None:
            return True
        try:
            return self._restore() or self._boot_and_verify()
        except LabError as error:
            if self.status is not CellStatus.OK:
                raise
            self.evidence.run(Run(scenario=scenario, attempt=attempt, end=End.NOT_RUN, note=f"no guest: {error}"))
            return False

    def _boot_and_verify(self) -> bool:
        if self.status is None:
            self.screen.cell(self.cell, "booting")
        guest, facts = self._boot()
        self.guest = guest
        mismatches = self.built.verify(facts)
        if mismatches and self.status is CellStatus.OK:
            raise GuestLost(f"the next guest is another machine: {'; '.join(map(str, mismatches))}")
        if mismatches:
            self._settle(CellStatus.INVALID, "the guest is not the machine that was asked for", mismatches)
            return False
        guest.push({scenario.scenario: self.built.programs[scenario.scenario] for scenario in self.cell.scenarios})
        self._settle(CellStatus.OK)
        return self._saved(guest) or self._boot_and_verify()

    def _restore(self) -> bool:
        """Have the next guest from the saved state; False when there is none or it does not come to life."""
        if self.snapshot is None:
            return False
        try:
            guest = self.snapshot.restore()
        except LabError as error:
            if self.stopping.is_set():
                raise
            self._never_save(f"not restored: {error}")
            return False
        self.guest = guest
        self.starts += 1
        self._started(guest, "restore")
        return True

    def _saved(self, guest: GuestLike) -> bool:
        """Save a verified guest if that pays; False when it cannot be, after which it is not to be trusted."""
        again = len(self.cell.scenarios) > 1 if self.fresh else self.starts > 1
        if not again or self.no_save:
            return True
        if self.built.no_save:
            self._never_save(self.built.no_save)
            return True
        try:
            self.snapshot = guest.save()
        except LabError as error:
            if self.stopping.is_set():
                raise
            self._never_save(f"not saved: {error}")
            self._drop_guest()
            return False
        self.evidence.saved(save_s=round(self.snapshot.save_s, 3), size=self.snapshot.size)
        return True

    def _never_save(self, why: str) -> None:
        """From now on every guest of this cell boots. That is no verdict on anything, but it is on record."""
        self.no_save = why
        self._drop_snapshot()
        self.evidence.saved(note=why)

    def _started(self, guest: GuestLike, how: Literal["boot", "restore"]) -> None:
        self.evidence.boot(
            how=how,
            accelerator=guest.accelerator.name,
            boot_s=round(guest.boot_s, 3),
            login_s=round(guest.login_s, 3),
            attempt=self.starts,
        )

    def _boot(self) -> tuple[GuestLike, str]:
        """Boot, log in, read the facts; once more when the kernel came up but could not be talked to."""
        for attempt in range(1, BOOT_ATTEMPTS + 1):
            self._write_down(self.built.planned(self.evidence.console))
            self.starts += 1
            guest = None
            try:
                guest = self.built.boot(self.evidence.console)
                facts = guest.facts()
            except GuestLost:
                if guest is not None:
                    guest.close()
                if attempt == BOOT_ATTEMPTS:
                    raise
                continue
            self._write_down(guest.describe())
            self.evidence.write("facts.json", json.dumps({"facts": facts.splitlines()}, indent=1))
            self._started(guest, "boot")
            return guest, facts
        raise AssertionError("unreachable")

    def _write_down(self, described: Description) -> None:
        """The machine on paper: as planned before it starts (it may never come up), as it is once it runs."""
        self.evidence.write("domain.xml", described.domain_xml)
        self.evidence.write("qemu.args", "".join(f"{word}\n" for word in described.qemu_args))
        self.evidence.write("reproduce.sh", described.reproduce)
        self.evidence.write("config", self.built.config)

    def _run(self, guest: GuestLike, name: str, asked: Sequence[Case], attempt: int, *, explicit: bool) -> Run:
        """Run one program and write down what came of it."""
        scale = guest.accelerator.slowdown
        timeouts = [case.timeout_s for case in asked] or [SCENARIO_MARGIN_S]
        execution = Execution(
            scenario=name,
            attempt=attempt,
            names=tuple(case.name for case in asked) if explicit else (),
            asked=len(asked),
            mark=f"books-{secrets.token_hex(8)}",
            measured=self._measured,
            evidence=self.evidence,
            console=guest.console,
            tell=self._progress(name, asked),
        )
        program = command(self.cell.topology, self.cell.kernel, name, execution.names, guest.accelerator)
        ended = guest.run(
            counters.wrap(program, execution.mark),
            deadline=Deadline.after(sum(timeouts) + SCENARIO_MARGIN_S, name, scale=scale),
            silence_s=(max(timeouts) + SILENCE_MARGIN_S) * scale,
            on_stdout=execution,
        )
        if self.stopping.is_set():  # whatever just ended, we ended it: no evidence against anybody
            execution.checkpoint()
            raise LabError(INTERRUPTED)
        stdout, before, after = self._books(guest, *counters.split(ended.stdout, execution.mark))
        return execution.record(ended, stdout, before, after)

    def _progress(self, name: str, asked: Sequence[Case]) -> Callable[[int], None]:
        """What to call with the number of results that a program has told; of its cases the others were told before."""
        names = [each.scenario for each in self.cell.scenarios]
        counts = [len(each.asked_cases(self.cases[each.scenario])) for each in self.cell.scenarios]
        done, total = sum(counts[: names.index(name) + 1]) - len(asked), sum(counts)
        self.screen.cell(self.cell, name, done=done, total=total)
        return lambda told: self.screen.progress(self.cell, name, done + min(told, len(asked)), total)

    def _books(
        self, guest: GuestLike, stdout: bytes, before: Books | None, after: Books | None
    ) -> tuple[bytes, Books | None, Books | None]:
        """The books round a program with the machine's measures added; what is freed lazily gets time to come back."""
        before, after = self._measured(before), self._measured(after)
        for _ in range(LEAK_LOOKS):
            if before is None or after is None or not counters.leaks(before, after):
                break
            pause(LEAK_PAUSE_S * guest.accelerator.slowdown)
            again = guest.run(f"{{ {counters.READ}; }}", deadline=Deadline.after(BOOKS_S, "reading the guest's books"))
            if again.end is End.EXITED:
                after = self._measured(counters.parse(again.stdout))
        return stdout, before, after

    def _measured(self, read: Books | None) -> Books | None:
        machine = self.cell.topology
        measures = counters.measures(
            page_size=machine.page_size,
            cpus=machine.vcpus,
            memory=machine.total_memory,
            kasan=has_kasan(self.built.config),
        )
        return None if read is None else {**read, **measures}

    def _drop_guest(self) -> None:
        if guest := self._leave_guest():
            guest.close()

    def _leave_guest(self) -> GuestLike | None:
        """Have no guest any more, and write down what it took."""
        guest, self.guest = self.guest, None
        if guest and (usage := guest.usage()):
            self.evidence.usage(usage)
        return guest

    def _drop_snapshot(self) -> None:
        if self.snapshot is not None:
            self.snapshot.discard()
            self.snapshot = None


def command(topology: Topology, kernel: Kernel, name: str, cases: Sequence[str], accelerator: Accelerator) -> str:
    """The shell command that runs a scenario program in a guest as its contract wants it."""
    environment = {
        "LAB_FEATURES": " ".join(sorted(kernel.provides)),
        "LAB_TIMEOUT_SCALE": f"{accelerator.slowdown:g}",
        "LAB_LOAD": f"{1 if accelerator.name == 'tcg' else 4}",
        "LAB_CLOCK": topology.clock or ("none" if accelerator.name == "tcg" else "time"),
    }
    assigned = " ".join(f"{key}={shlex.quote(value)}" for key, value in environment.items())
    return f"cd /tmp && {assigned} {shlex.join([f'{DIRECTORY}/{name}', *cases])}"


def _reusable(run: Run) -> bool:
    """A guest is used again only when its program ended by itself, nothing hung and the kernel did not complain."""
    complaints = [finding for finding in oops.scan(run.console) if not finding.kind.provoked]
    leaky = run.before is not None and run.after is not None and counters.leaks(run.before, run.after)
    return run.end is End.EXITED and "# TIMEOUT" not in run.ktap and not complaints and not leaky
