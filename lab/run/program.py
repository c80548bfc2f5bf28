# SPDX-License-Identifier: GPL-2.0-or-later
"""Run a scenario program in a guest: its command, its deadline, its results as they arrive, its record.

A suite may run for an hour in one program. Results are recorded every CHECKPOINT_S, so that cases which had reported
when the lab was stopped or killed need not run again.
"""

from __future__ import annotations

import re
import secrets
import shlex
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lab.core.deadline import Deadline, pause
from lab.core.errors import LabError
from lab.core.outcome import Books, Case, End, Ended, Run
from lab.evidence.console import ConsoleLog
from lab.evidence.events import MAX_STDERR, gcov_file
from lab.evidence.write import CellDir
from lab.formats import gcov
from lab.formats.kconfig import has_kasan
from lab.guests.accelerator import Accelerator
from lab.guests.guest import DIRECTORY
from lab.run import coverage
from lab.run.protocols import GuestLike
from lab.specs.model import Kernel, Topology
from lab.verdicts import counters

INTERRUPTED = "the run was interrupted"
SCENARIO_MARGIN_S = 10.0
"""Seconds on real hardware that a scenario program may take beyond its cases' own time-outs."""
SILENCE_MARGIN_S = 5.0
LEAK_CHECKS = 3
LEAK_PAUSE_S = 0.2
"""Seconds on real hardware before leak counters are read again: memory may only be waiting for RCU or a work queue."""
COUNTERS_S = 30.0
BOOT = 256 << 10
"""Bytes of the console in which a kernel prints how large a unit of per-CPU memory is."""

CHECKPOINT_S = 60.0
"""Seconds of a program's work that are lost at most if the lab is killed."""
# A whole line of the program itself: results nested by a test of a suite are indented or comments.
_RESULT = re.compile(rb"^(?:not )?ok [^\n]*\n", re.MULTILINE)


@dataclass(slots=True, kw_only=True)
class Execution:
    """The state of a program while it runs; passed to `GuestLike.run` as `on_stdout`."""

    scenario: str
    attempt: int
    names: tuple[str, ...]
    """The cases that were requested by name; empty for all."""
    asked: int
    """The number of cases that have to report a result."""
    mark: str
    """The line before and after the guest's memory counters (`counters.wrap`)."""
    measured: Callable[[Books | None], Books | None]
    """Adds the measures of the machine to the counters; None stays None."""
    evidence: CellDir
    console: ConsoleLog
    show: Callable[[int], None]
    """Called with the number of results so far, whenever there are more."""
    console_from: int
    """The offset at which the program's part of the console begins."""
    results: int = 0
    _stdout: bytearray = field(default_factory=bytearray)
    _scanned: int = 0
    console_to: int = 0
    """The offset at which the recorded part of the console ends."""
    _recorded: int = 0
    """The number of results that are recorded."""
    _started: float = field(default_factory=time.monotonic)
    _recorded_at: float = field(default_factory=time.monotonic)

    def __call__(self, data: bytes) -> None:
        """Process what the program has just written to its stdout."""
        self._stdout += data
        before = self.results
        self.results += len(_RESULT.findall(self._stdout, self._scanned))
        self._scanned = self._stdout.rfind(b"\n") + 1
        if self.results != before:
            self.show(self.results)
        if time.monotonic() - self._recorded_at >= CHECKPOINT_S:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Record new results, unless all have arrived: then `record` does it when the program ends."""
        self._recorded_at = time.monotonic()
        if not self._recorded < self.results < self.asked:
            return
        self._recorded = self.results
        stdout, before, _ = counters.split(bytes(self._stdout), self.mark)
        spent = self._recorded_at - self._started
        so_far = Ended(end=End.INTERRUPTED, status=None, stdout=stdout, stderr=b"", duration_s=spent)
        self.record(so_far, stdout, self.measured(before), None)

    def record(self, ended: Ended, stdout: bytes, before: Books | None, after: Books | None) -> Run:
        """Record how the program ended, and return the run as it will be judged."""
        end = self.console.size()
        run = Run(
            scenario=self.scenario,
            attempt=self.attempt,
            end=ended.end,
            status=ended.status,
            duration_s=round(ended.duration_s, 3),
            ktap=stdout.decode("utf-8", "replace"),
            stderr=ended.stderr[:MAX_STDERR].decode("utf-8", "replace"),
            console=self.console.text(self.console_from, end),
            note=ended.note,
            cases=self.names,
            before=before,
            after=after,
        )
        self.evidence.run(run, console_from=self.console_from, console_to=end)
        self.console_to = end
        return run


@dataclass(slots=True, kw_only=True)
class ProgramRunner:
    """Runs scenario programs of one cell and records their output and how they ended."""

    topology: Topology
    kernel: Kernel
    config: bytes
    """The complete .config of the kernel."""
    evidence: CellDir
    stopping: threading.Event
    enter: tuple[str, ...] = ()
    """Words in front of a program that run it in the guest's root; empty without one."""
    console_to: int = field(default=0, init=False)
    """The offset in the console up to which the last program is judged."""
    _percpu_chunk: int = field(default=0, init=False)
    """Bytes of the maps of a chunk of per-CPU memory, by what the kernel printed when it booted."""

    def run(
        self,
        guest: GuestLike,
        scenario: str,
        asked: Sequence[Case],
        attempt: int,
        *,
        explicit: bool,
        final: bool,
        show: Callable[[int], None],
        console_from: int,
    ) -> Run:
        """Run one program and return its record; LabError if the lab was stopped meanwhile.

        `explicit` passes the names of the cases on the command line; otherwise the program runs all that it has.
        `console_from` is the offset in the console up to which it was judged before: what the kernel says between two
        programs belongs to the second. Of a `final` one, which no other follows in this guest, the record waits for
        what the kernel says afterwards.
        """
        self._percpu_chunk = counters.percpu_chunk(guest.console.text(0, BOOT), self.topology.architecture.bits // 8)
        scale = guest.accelerator.slowdown
        timeouts = [case.timeout_s for case in asked] or [SCENARIO_MARGIN_S]
        names = tuple(case.name for case in asked)
        execution = Execution(
            scenario=scenario,
            attempt=attempt,
            names=names if explicit else (),
            asked=len(asked),
            mark=f"books-{secrets.token_hex(8)}",
            measured=self._measured,
            evidence=self.evidence,
            console=guest.console,
            show=show,
            console_from=console_from,
        )
        program = command(self.topology, self.kernel, scenario, execution.names, guest.accelerator, enter=self.enter)
        ended = guest.run(
            counters.wrap(program, execution.mark),
            deadline=Deadline.after(sum(timeouts) + SCENARIO_MARGIN_S, scenario, scale=scale),
            silence_s=(max(timeouts) + SILENCE_MARGIN_S) * scale,
            on_stdout=execution,
        )
        if self.stopping.is_set():  # the lab ended the program: how it ended is no evidence about the kernel
            execution.checkpoint()
            raise LabError(INTERRUPTED)
        if self.kernel.coverage:
            self.evidence.write(gcov_file(scenario, attempt), coverage.fetch(guest, scale))
        if final and ended.end is End.EXITED:
            guest.settle()
        stdout, before, after = counters.split(ended.stdout, execution.mark)
        before, after = self._measured(before), self._measured(after)
        run = execution.record(ended, stdout, before, self._settled(guest, before, after))
        self.console_to = execution.console_to
        return run

    def _settled(self, guest: GuestLike, before: Books | None, after: Books | None) -> Books | None:
        """Return the counters after a program; if they show a leak, read them again after a pause."""
        for _ in range(LEAK_CHECKS):
            if before is None or after is None or not counters.leaks(before, after):
                break
            pause(LEAK_PAUSE_S * guest.accelerator.slowdown)
            deadline = Deadline.after(COUNTERS_S, "reading the guest's memory counters")
            again = guest.run(f"{{ {counters.READ}; }}", deadline=deadline)
            if again.end is End.EXITED:
                after = self._measured(counters.parse(again.stdout))
        return after

    def _measured(self, read: Books | None) -> Books | None:
        """Return counters with the measures of the machine added; None if there are no counters."""
        if read is None:
            return None
        measures = counters.measures(
            page_size=self.topology.page_size,
            cpus=self.topology.vcpus,
            memory=self.topology.total_memory,
            kasan=has_kasan(self.config),
            percpu_chunk=self._percpu_chunk,
        )
        return {**read, **measures}


def command(
    topology: Topology,
    kernel: Kernel,
    name: str,
    cases: Sequence[str],
    accelerator: Accelerator,
    *,
    enter: Sequence[str] = (),
) -> str:
    """Return the shell command that runs a scenario program in a guest, with the environment of its contract."""
    load, clock = "4", "time"
    if accelerator.name == "tcg":
        load, clock = "1", "none"
    environment = {
        "LAB_FEATURES": " ".join(sorted(kernel.provides)),
        "LAB_TIMEOUT_SCALE": f"{accelerator.slowdown:g}",
        "LAB_LOAD": load,
        "LAB_CLOCK": topology.clock or clock,
    }
    if kernel.coverage:
        environment["LAB_GCOV"] = gcov.GUEST_FILE
    assigned = " ".join(f"{key}={shlex.quote(value)}" for key, value in environment.items())
    return f"cd /tmp && {assigned} {shlex.join([*enter, f'{DIRECTORY}/{name}', *cases])}"
