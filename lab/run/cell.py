# SPDX-License-Identifier: GPL-2.0-or-later
"""Run the scenarios of one cell one after the other in verified guests, and record everything as evidence.

Nothing is judged here. The evidence is written to the cell's directory, where `lab/verdicts/judge.py` reads it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from lab.core.errors import BootError, LabError
from lab.core.outcome import Case, Cause, CellStatus, End, Mismatch, Run
from lab.evidence.write import CellDir
from lab.formats import oops
from lab.run.cell_guests import CellGuests, WrongMachine
from lab.run.program import INTERRUPTED, ProgramRunner
from lab.run.protocols import STATE_OF, BootableCellLike, CellState, GuestLike, KeeperLike, Screen
from lab.run.resume import attempts_left, left, not_reached
from lab.specs.plan import Cell, Selection
from lab.verdicts import counters


@dataclass(slots=True, kw_only=True)
class CellWork:
    """One cell: the scenarios that run in its guests, and its final status."""

    cell: Cell
    fresh: bool
    built: BootableCellLike
    evidence: CellDir
    cases: Mapping[str, tuple[Case, ...]]
    screen: Screen
    stopping: threading.Event
    kept: Sequence[Run] = ()
    """The runs that a killed lab completed; they count, and are not repeated."""
    keeper: KeeperLike | None = None
    verified: Callable[[], None] | None = None
    """Called once the cell's first guest was verified and saved; its programs are copied to it after that."""
    status: CellStatus | None = None
    _guests: CellGuests = field(init=False)
    _programs: ProgramRunner = field(init=False)

    def __post_init__(self) -> None:
        self._guests = CellGuests(
            cell=self.cell,
            fresh=self.fresh,
            built=self.built,
            evidence=self.evidence,
            stopping=self.stopping,
            booting=self._show_first_boot,
            verified=self._tell_verified,
            provided=lambda: self._settle(CellStatus.OK),
        )
        self._programs = ProgramRunner(
            topology=self.cell.topology,
            kernel=self.cell.kernel,
            config=self.built.config,
            evidence=self.evidence,
            stopping=self.stopping,
            enter=self.built.enter,
        )

    def run(self) -> None:
        """Boot, verify and run; every failure becomes a status of the cell."""
        try:
            self._run_scenarios()
        except BootError as error:
            if self.stopping.is_set():
                self._give_up(INTERRUPTED)
            else:
                self._settle(CellStatus.NO_BOOT, f"{error.message}\n{error.excerpt}")
        except WrongMachine as error:
            self._settle(CellStatus.INVALID, "the guest is not the machine that was asked for", error.mismatches)
        except LabError as error:
            if self.stopping.is_set():
                self._give_up(INTERRUPTED)
            else:
                self._give_up(str(error), error.cause)
        except Exception as error:
            self._give_up(f"defect of the lab: {type(error).__name__}: {error}")
            raise
        finally:
            self._guests.close()

    def _show_first_boot(self) -> None:
        if self.status is None:
            self.screen.cell(self.cell, CellState.BOOTING)

    def _settle(self, status: CellStatus, reason: str = "", mismatches: Sequence[Mismatch] = ()) -> None:
        """Record the cell's status, once: its first boot decides it, or whatever prevented that boot."""
        if self.status is None:
            self.status = status
            self.evidence.finish(status, reason, mismatches)
            self.screen.cell(self.cell, STATE_OF[status])

    def _tell_verified(self) -> None:
        if self.status is None and self.verified:
            self.verified()

    def _give_up(self, reason: str, cause: Cause = Cause.LAB) -> None:
        """Record that the rest of the cell cannot be run; what ran before still counts."""
        self.status = CellStatus.BROKEN
        if self.stopping.is_set():
            cause = Cause.INTERRUPTED
        self.evidence.finish(CellStatus.BROKEN, reason, cause=cause)
        self.screen.cell(self.cell, CellState.BROKEN)

    def _run_scenarios(self) -> None:
        scenarios = self.cell.scenarios
        for selection in scenarios:
            if left(self._earlier_runs(selection), selection, self.cases[selection.scenario]):
                self._run_scenario(selection, last=selection is scenarios[-1])
        total = sum(asked_counts(self.cell, self.cases))
        self.screen.cell(self.cell, CellState.DONE, done=total, total=total)

    def _run_scenario(self, selection: Selection, *, last: bool) -> None:
        """Run a scenario; cases that were not reached because of a crash or a hang run again in the next guest.

        Where another guest is certain to be needed, it is restored in the background while this one works.
        """
        scenario, before = selection.scenario, self._earlier_runs(selection)
        declared = self.cases[scenario]
        asked = left(before, selection, declared)
        explicit = bool(selection.cases or before)
        for attempt in range(len(before) + 1, len(before) + attempts_left(before) + 1):
            if self.stopping.is_set():
                raise LabError(INTERRUPTED)
            guest = self._guest_for(scenario, attempt)
            if guest is None:
                return
            if not last:
                self._guests.prepare_next()
            show = self._progress(scenario, asked)
            run = self._programs.run(
                guest,
                scenario,
                asked,
                attempt,
                explicit=explicit,
                final=last or self.fresh,
                show=show,
                console_from=self._guests.judged,
            )
            self._guests.judged = self._programs.console_to
            if self.keeper and self.keeper.takes(self.cell, guest, run, declared):
                self._guests.release()
            elif self.fresh or not reusable(run):
                self._guests.drop()
            asked, explicit = not_reached(run, asked), True
            if not asked:
                return

    def _earlier_runs(self, selection: Selection) -> list[Run]:
        """Return the runs of a scenario that a killed lab has completed."""
        return [run for run in self.kept if run.scenario == selection.scenario]

    def _guest_for(self, scenario: str, attempt: int) -> GuestLike | None:
        """Return a verified guest; None if a later guest cannot be had, with the reason in the evidence.

        A failure of the first guest is raised: it decides the status of the cell.
        """
        try:
            return self._guests.provide()
        except LabError as error:
            if self.status is not CellStatus.OK:
                raise
            self.evidence.run(Run(scenario=scenario, attempt=attempt, end=End.NOT_RUN, note=f"no guest: {error}"))
            return None

    def _progress(self, scenario: str, asked: Sequence[Case]) -> Callable[[int], None]:
        """Show that a scenario starts; return a function to call with the number of results that it has reported.

        Cases that are not requested now have reported in an earlier run.
        """
        names = [selection.scenario for selection in self.cell.scenarios]
        counts = asked_counts(self.cell, self.cases)
        done, total = sum(counts[: names.index(scenario) + 1]) - len(asked), sum(counts)
        self.screen.cell(self.cell, CellState.RUNNING, scenario=scenario, done=done, total=total)
        return lambda results: self.screen.progress(self.cell, scenario, done + min(results, len(asked)), total)


def asked_counts(cell: Cell, cases: Mapping[str, Sequence[Case]]) -> list[int]:
    """Return the number of requested cases of each scenario of a cell."""
    return [len(selection.asked_cases(cases[selection.scenario])) for selection in cell.scenarios]


def reusable(run: Run) -> bool:
    """Return whether a guest may run another scenario: the program exited by itself, nothing hung, leaked or oopsed."""
    if run.end is not End.EXITED or "# TIMEOUT" in run.ktap:
        return False
    if run.before is not None and run.after is not None and counters.leaks(run.before, run.after):
        return False
    return all(finding.kind.provoked for finding in oops.scan(run.console))
