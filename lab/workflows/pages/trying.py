# SPDX-License-Identifier: GPL-2.0-or-later
"""Run a program on the machines of `lab pages`, one guest each, and trace a run that ended otherwise."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lab.build import programs
from lab.core import paths
from lab.core.cache import Cache
from lab.core.deadline import Deadline
from lab.core.errors import BootError, InfraError, LabError, UsageError
from lab.core.outcome import End
from lab.core.progress import Progress, silent
from lab.guests.factory import BootableCell, GuestFactory
from lab.guests.guest import DIRECTORY, Guest
from lab.specs.model import Kernel, Topology
from lab.workflows.one_guest import Workload, guest_with
from lab.workflows.pages import machines, outcomes
from lab.workflows.pages.machines import Machines
from lab.workflows.pages.outcomes import Compared, Death, MachineRun, PagesAnswer, ProgramEnd, Verdict

TRACE = "/run/pagetrace"
MAX_TRACE = 256 << 10
TRACED_S = 3.0
"""How much longer a program may take under ptrace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked of `lab pages`."""

    load: Workload
    kernels: tuple[Kernel, ...]
    """For each machine the first that has pages of its size."""
    timeout_s: float
    trace: bool = True
    build: bool = False
    output: bool = True
    """Whether output counts, and not only how the program ends."""


def answer(
    factory: GuestFactory,
    chosen: Machines,
    wanted: Wanted,
    *,
    looked: Sequence[str] = (),
    report: Callable[[MachineRun], None],
    progress: Progress = silent,
) -> PagesAnswer:
    """Run the program on the control and on every other machine, and compare. `report` gets each machine's runs."""
    trial = _Trial(factory=factory, wanted=wanted, progress=progress)
    control = trial.on(chosen.control, None)
    report(control)
    compared: list[Compared] = []
    for topology in chosen.others:
        run = trial.on(topology, control)
        report(run)
        compared.append(outcomes.compare(control, run, output=wanted.output))
    return PagesAnswer(
        command=(*wanted.load.environment, *wanted.load.words),
        arch=chosen.control.arch,
        kernel=", ".join(kernel.name for kernel in wanted.kernels),
        control=control,
        compared=tuple(compared),
        looked=tuple(looked),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    factory: GuestFactory
    wanted: Wanted
    progress: Progress

    def on(self, topology: Topology, control: MachineRun | None) -> MachineRun:
        """Return what the program does on a machine; a machine that could not be had says why."""
        run = MachineRun(topology=topology.name, page_size=topology.page_size, nodes=len(topology.numa) or 1)
        try:
            ready = self._ready(topology)
            with guest_with(self.factory, ready, self.wanted.load, self.progress) as (guest, words):
                return self._in_guest(guest, ready, words, run, control)
        except BootError as error:
            return replace(run, not_tried=f"the kernel did not boot: {error.message}")
        except LabError as error:
            return replace(run, not_tried=str(error).partition("\n")[0])

    def _ready(self, topology: Topology) -> BootableCell:
        """Return the machine with the first kernel that has its page size; LabError if none has, or none is built."""
        refused: LabError | None = None
        for kernel in self.wanted.kernels:
            why = machines.not_built(kernel, topology, self.factory.workshop.cache)
            if why and not self.wanted.build:
                refused = refused or InfraError(why)
                continue
            try:
                return self.factory.ready(topology, kernel, self.progress)
            except UsageError as error:
                refused = refused or error
        raise refused or InfraError("no kernel")

    def _in_guest(
        self, guest: Guest, ready: BootableCell, words: Sequence[str], run: MachineRun, control: MachineRun | None
    ) -> MachineRun:
        """Run it once, and once more where that tells what is steady: on the control, and where something differs."""
        command = shlex.join(words)
        run = replace(run, attempts=(self._attempt(guest, command),))
        if control is not None and outcomes.compare(control, run, output=self.wanted.output).verdict is Verdict.SAME:
            return run
        if run.attempts[0].status is None:
            return run
        run = replace(run, attempts=(*run.attempts, self._attempt(guest, command)))
        if control is None or not self.wanted.trace or not run.attempts[0].status:
            return run
        if {attempt.ended for attempt in run.attempts} & {attempt.ended for attempt in control.attempts}:
            return run
        return replace(run, death=self._traced(guest, ready, command))

    def _attempt(self, guest: Guest, command: str, factor: float = 1.0) -> ProgramEnd:
        seconds = self.wanted.timeout_s * factor
        deadline = Deadline.after(seconds, self.wanted.load.words[0], scale=guest.accelerator.slowdown)
        ended = guest.run(command, deadline=deadline)
        end = ""
        status = ended.status
        if ended.end is not End.EXITED:
            end, status = ", ".join(filter(None, (str(ended.end), ended.note))), None
        return ProgramEnd(
            status=status, end=end, stdout=ended.stdout, stderr=ended.stderr, seconds=round(ended.duration_s, 2)
        )

    def _traced(self, guest: Guest, ready: BootableCell, command: str) -> Death:
        """Run it again under ptrace, and return what that saw."""
        tracer = tracer_of(ready, self.factory.workshop.cache)
        guest.push({tracer.name: tracer})
        self._attempt(guest, f"{DIRECTORY}/{tracer.name} {TRACE} {command} < /dev/null > /dev/null 2>&1", TRACED_S)
        deadline = Deadline.after(5.0, "reading the trace", scale=guest.accelerator.slowdown)
        said = guest.run(f"cat {TRACE}", deadline=deadline, limit=MAX_TRACE)
        return outcomes.parse_trace(said.stdout.decode("utf-8", "replace"))


def tracer_of(ready: BootableCell, cache: Cache) -> Path:
    """Return the tracer, compiled for the machine's architecture."""
    source = paths.images() / "probes" / "pagetrace.c"
    return programs.compile_one(ready.topology.architecture, source, cache)
