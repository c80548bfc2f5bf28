# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutants of a patch: small defects in the lines that it adds, each built, booted and put to the tests.

The directory of a mutation, which `--resume` goes on with:

    mutants.json            what there is to do: kernel, machine, tests, every mutant with its diff
    results.jsonl           one line for each mutant that is done
    original/               the run of the patched kernel itself: which cases pass on it
    coverage/               the run of the same kernel with gcov: which case runs which line
    mutants/NAME/           defect.patch, and the runs of the mutant: covering/ first, others/ if that did not kill it
    mutation.*              the report: json, txt, html and mail
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lab.build import kernel as kernels
from lab.build.builder import Builder
from lab.build.kernel import BuiltKernel
from lab.core.cache import Cache
from lab.core.errors import BuildError, InfraError, InputError, LabError, UsageError
from lab.core.outcome import CaseRecord, CellStatus, Expected, Outcome, met
from lab.core.progress import Progress
from lab.evidence.metadata import CommandRecord
from lab.host.estimate import Packing
from lab.run.campaign import OpenRun, open_plan
from lab.run.first_killer import FirstKiller, kills
from lab.run.protocols import CellState, ElsewhereLike, KeeperLike, PlaceLike
from lab.run.runner import Runner
from lab.specs import suite
from lab.specs.library import Library
from lab.specs.model import JOINT, CampaignSpec, Kernel
from lab.specs.plan import Cell, Plan, Selection, narrow_tests, plan, resolve_cases
from lab.verdicts.compare import Summary, conclude_directory
from lab.verdicts.coverage import DIRECTORY, Coverage, read_all
from lab.verdicts.mutation import Fate, MutantResult, MutantSpec, MutationReport, fair_order
from lab.workflows import coverage
from lab.workflows.mutation_task import MutationTask, add_results, argued, read_results, undecided

ORIGINAL = "original"
MAX_KILLERS = 5
MAX_GUESTS = 8
"""Mutants in guests at once; one kernel is built at a time, so more would wait for it."""
MAX_CLUSTER_GUESTS = 64
"""The same for a cluster, whose guests take nothing from the builds."""
LONG, LONG_S = 2, 30.0
"""A mutant that is in guests for longer than so many times what all tests take, and than so many seconds, most often
hangs and waits for a deadline: another one may start beside it."""
WAIT_S = 1.0
"""How long to wait for a mutant to end before it is asked again whether another one may start."""

Tell = Callable[[str], None]


class _NoScreen:
    """Progress of one mutant is not shown; the workflow prints a line when it is done."""

    def building(self, cell: Cell, detail: str, done: float | None) -> None: ...
    def placed(self, cell: Cell, host: str) -> None: ...

    def cell(self, cell: Cell, state: CellState, *, scenario: str = "", done: int = 0, total: int = 0) -> None: ...

    def progress(self, cell: Cell, scenario: str, done: int, total: int) -> None: ...


class _StopEvent(threading.Event):
    """Set for one run when it is decided, and for all runs when the mutation is interrupted."""

    def __init__(self, everything: threading.Event) -> None:
        super().__init__()
        self._everything = everything

    def is_set(self) -> bool:
        return super().is_set() or self._everything.is_set()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What the runs of the patched kernel itself showed, before any mutant is tried."""

    sound: frozenset[str]
    """The cases that meet their expectation, `scenario.case`."""
    unsound: frozenset[str]
    covered: Coverage | None
    case_s: Mapping[str, float]
    """Scenario -> the seconds of one of its cases, on average."""

    def covering(self, mutant: MutantSpec) -> frozenset[str]:
        """Return the sound cases that run a mutant's line, and results within such tests; empty without coverage."""
        if not self.covered:
            return frozenset()
        cases = self.covered.cases(mutant.file, mutant.line)
        return frozenset(label for label in self.sound if label in cases or _test(label) in cases)


@dataclass(slots=True, kw_only=True)
class _Guests:
    """The mutants that are in guests."""

    pool: ThreadPoolExecutor
    at_once: int
    """How many may run at once, without those that take long."""
    most: int
    """How many may run in all."""
    long_s: float
    """Seconds in guests after which a mutant is not counted in `at_once`."""
    running: dict[Future[MutantResult], float] = field(default_factory=dict)
    """Each with the time of its start."""

    def have_room(self) -> bool:
        """Return whether one more may start."""
        now = time.monotonic()
        recent = sum(now - started <= self.long_s for started in self.running.values())
        return recent < self.at_once and len(self.running) < self.most

    def start(self, work: Callable[..., MutantResult], *arguments: object) -> None:
        self.running[self.pool.submit(work, *arguments)] = time.monotonic()

    def done(self) -> list[MutantResult]:
        """Return the results of those that have ended, after waiting for one at most WAIT_S."""
        ended, _ = wait(self.running, timeout=WAIT_S, return_when=FIRST_COMPLETED)
        for future in ended:
            del self.running[future]
        return [future.result() for future in ended]


@dataclass(slots=True, kw_only=True)
class Mutate:
    """One mutation on its way."""

    directory: Path
    task: MutationTask
    library: Library
    builder: Builder
    """What guests are built with; it has the suites of the task."""
    guests: ElsewhereLike
    """Where the guests run: on this computer, or on the hosts of a cluster. Kernels are built here in either case."""
    packing: Packing
    tell: Tell
    minutes: float | None = None
    arguments: Mapping[str, str] = field(default_factory=dict)
    """What a survivor changes (`MutantSpec.change`) -> why no test can notice it."""
    with_coverage: bool = True
    max_guests: int = MAX_GUESTS
    stopping: threading.Event = field(default_factory=threading.Event)
    _started: float = field(default_factory=time.monotonic)
    _finished: float = 0.0
    """When the last result was recorded, or the first mutant begun."""

    @property
    def cache(self) -> Cache:
        return self.builder.cache

    def run(self) -> MutationReport:
        """Try every mutant that has no result yet, until all have one or the time is over; return the report."""
        known = self._known()
        original = kernels.build(self.task.kernel, self.task.topology, cache=self.cache)
        waiting = undecided(fair_order(self.task.mutants), read_results(self.directory), self.arguments)
        total, sound = len(self.task.mutants), len(known.sound)
        self.tell(f"{total} mutants, {len(waiting)} to try, {sound} cases as expected without them")
        cell = self._planned(self.task.kernel, self._selections()).cells[0]
        at_once = self.packing.at_once(cell, self.max_guests)
        most = self.packing.at_once(cell, self.max_guests, idle=True)
        with ThreadPoolExecutor(most, "mutant") as pool:
            try:
                guests = _Guests(pool=pool, at_once=at_once, most=most, long_s=self._long_s())
                self._try_all(guests, waiting, original, known)
            except BaseException:  # inside the pool's block, whose end waits for the guests
                self.stopping.set()
                self.guests.abort()
                raise
        return self.report()

    def _long_s(self) -> float:
        """Return the seconds in guests after which a mutant does not keep another one from starting."""
        return max(LONG_S, LONG * (_tests_s(self.directory / ORIGINAL) or 0.0))

    def _try_all(
        self,
        guests: _Guests,
        waiting: Sequence[MutantSpec],
        original: BuiltKernel,
        known: _Known,
    ) -> None:
        """Build one mutant after the other, while those that are built run in guests."""
        self._finished = time.monotonic()
        for mutant in waiting:
            if self._over():
                break
            built = self._without_guest(mutant, known.covered) or self._built(mutant, original)
            if isinstance(built, MutantResult):
                self._finish(mutant, built)
                continue
            while not guests.have_room():
                self._collect(guests)
            kernel, build_s = built
            guests.start(self._tried, mutant, kernel, build_s, known)
        while guests.running:
            self._collect(guests)

    def report(self) -> MutationReport:
        """Return what is known so far."""
        return MutationReport(
            kernel=self.task.kernel.name,
            machine=self.task.topology.name,
            mutants=self.task.mutants,
            results=argued(self.task.mutants, read_results(self.directory), self.arguments),
            tests_s=_tests_s(self.directory / ORIGINAL),
            counting_s=_tests_s(self.directory / DIRECTORY),
        )

    def _over(self) -> bool:
        return self.minutes is not None and time.monotonic() - self._started > self.minutes * 60

    def _collect(self, guests: _Guests) -> None:
        """Record the mutants that are done, after waiting a little for one."""
        by_name = {mutant.name: mutant for mutant in self.task.mutants}
        for result in guests.done():
            self._finish(by_name[result.name], result)

    def _finish(self, mutant: MutantSpec, result: MutantResult) -> None:
        """Append a result to results.jsonl, and print it."""
        now = time.monotonic()
        add_results(self.directory, result.model_copy(update={"elapsed_s": round(now - self._finished, 1)}))
        self._finished = now
        by = ", ".join(result.by[:2]) or result.why
        self.tell(f"{result.fate}: {mutant.place} {mutant.function}: {mutant.what} [{result.seconds:.0f} s] {by}")

    # What is known before any mutant is built.

    def _known(self) -> _Known:
        """Run all tests on the patched kernel, and on the same kernel with gcov; InfraError if no case passes."""
        summary = self._run_or_reuse(ORIGINAL, self.task.kernel, self._selections())
        labels = frozenset(record.label for record in summary.records)
        suites = self._suite_names()
        unsound = unmet(summary, suites)
        covered = None
        if self.with_coverage and not self.task.functions:  # lines are counted in what the series adds
            covered, again = self._coverage()
            unsound |= unmet(again, suites)
        if labels <= unsound:
            raise InfraError(f"no case passes on {self.task.kernel.name} itself: {summary.sentence}")
        return _Known(sound=labels - unsound, unsound=unsound, covered=covered, case_s=_seconds_of_cases(summary))

    def _coverage(self) -> tuple[Coverage, Summary]:
        """Run all tests on the patched kernel with gcov; return which case runs which line, and the verdicts."""
        counting = self.task.kernel.model_copy(update={"coverage": True})
        summary = self._run_or_reuse(DIRECTORY, counting, self._selections())
        if found := coverage_of(self.directory, self.task):
            return found, summary
        machine = self.task.topology
        found = coverage.collect(self.directory / DIRECTORY, counting, {machine.name: machine}, self.cache)
        self.tell(found.summary())
        return found, summary

    def _selections(self) -> tuple[Selection, ...]:
        if self.task.suites:
            names = [suite.parse(word).name for word in self.task.suites]
            return narrow_tests(self.task.tests, [Selection(scenario=name) for name in names])
        return self.library.select_scenarios(self.task.tests or ("*",))

    # One mutant.

    def _without_guest(self, mutant: MutantSpec, covered: Coverage | None) -> MutantResult | None:
        """Return the fate of a mutant that coverage decides; None if it must be built."""
        if covered is None or not mutant.function or not mutant.file.endswith(".c"):
            return None
        code = [line for line in covered.code if line.file == mutant.file]
        if not code:
            return MutantResult(name=mutant.name, fate=Fate.NOT_COMPILED)
        here = [line for line in code if line.line == mutant.line]
        if here and not here[0].ran:
            return MutantResult(name=mutant.name, fate=Fate.NOT_RUN)
        return None

    def _built(self, mutant: MutantSpec, original: BuiltKernel) -> MutantResult | tuple[Kernel, float]:
        """Build a mutant's kernel; return it with the seconds that took, or the fate that the build decides."""
        started = time.monotonic()
        place = self.directory / "mutants" / mutant.name
        place.mkdir(parents=True, exist_ok=True)
        patch = place / "defect.patch"
        patch.write_text(f"{mutant.what}\n\n{mutant.diff}")
        stacked = JOINT.join(filter(None, (self.task.kernel.series, str(patch.absolute()))))
        kernel = self.task.kernel.model_copy(update={"series": stacked})
        try:
            built = kernels.build(kernel, self.task.topology, cache=self.cache)
        except BuildError as error:
            first_line = (error.excerpt.strip().splitlines() or [error.message])[0]
            spent = round(time.monotonic() - started, 1)
            return MutantResult(name=mutant.name, fate=Fate.NOT_BUILT, seconds=spent, why=first_line)
        except (UsageError, InputError) as error:
            return MutantResult(name=mutant.name, fate=Fate.NO_VERDICT, why=str(error))
        spent = round(time.monotonic() - started, 1)
        if built.provenance.build_id == original.provenance.build_id:
            return MutantResult(name=mutant.name, fate=Fate.EQUAL, seconds=spent)
        return kernel, spent

    def _tried(self, mutant: MutantSpec, kernel: Kernel, build_s: float, known: _Known) -> MutantResult:
        """Run the cases that cover a mutant's line, then the others, until one notices it."""
        started = time.monotonic()
        cases = 0
        result = MutantResult(name=mutant.name, fate=Fate.NO_VERDICT, why="no case was left to run")
        covering = known.covering(mutant)
        for name, labels in (("covering", covering), ("others", known.sound - covering)):
            selections = self._narrowed(labels, known)
            if not selections:  # synthetic records alone
                continue
            try:
                summary = self._run_or_reuse(f"mutants/{mutant.name}/{name}", kernel, selections, known.unsound)
            except LabError as error:
                return MutantResult(name=mutant.name, fate=Fate.NO_VERDICT, why=str(error))
            cases += sum(record.outcome is not Outcome.BROKEN for record in summary.records)
            seconds = round(build_s + time.monotonic() - started, 1)
            result = MutantResult(name=mutant.name, fate=Fate.SURVIVED, seconds=seconds, cases=cases)
            by, trouble = killers(summary, known.unsound, self._suite_names())
            if by:
                return result.model_copy(update={"fate": Fate.KILLED, "by": by[:MAX_KILLERS]})
            if trouble:
                return result.model_copy(update={"fate": Fate.NO_VERDICT, "why": trouble})
        return result

    def _narrowed(self, labels: Collection[str], known: _Known) -> tuple[Selection, ...]:
        """The selections of some cases that ran on the original, each `scenario.case`, the shortest scenario first.

        Synthetic records of a scenario are not cases. A test of a suite runs if a result within it is among the cases.
        """
        tests = {_test(label) for label in labels}
        found: list[tuple[float, Selection]] = []
        for selection in self._selections():
            cases = []
            for case in self.builder.cases()[selection.scenario]:
                if f"{selection.scenario}.{case.name}" in tests:
                    cases.append(case.name)
            if cases:
                seconds = known.case_s.get(selection.scenario, 0.0) * len(cases)
                found.append((seconds, Selection(scenario=selection.scenario, cases=tuple(cases))))
        found.sort(key=lambda mutant: mutant[0])
        return tuple(selection for _, selection in found)

    def _run_or_reuse(
        self, name: str, kernel: Kernel, selections: Sequence[Selection], unsound: Collection[str] | None = None
    ) -> Summary:
        """Return the verdicts of a run of one kernel; a run that is on disk is not made again unless the lab failed.

        The run ends at the first record that misses its expectation and is not `unsound`; with None it runs to its end.
        """
        directory = self.directory / name
        done = directory / "done"
        if done.is_file():
            return conclude_directory(directory)
        shutil.rmtree(directory, ignore_errors=True)
        stop = _StopEvent(self.stopping)
        keeper = None
        if unsound is not None:
            keeper = FirstKiller(unsound=unsound, suites=self._suite_names(), stop=stop)
        self._execute(directory, kernel, selections, stop, keeper)
        if self.stopping.is_set():
            raise LabError("the mutation was interrupted")
        summary = conclude_directory(directory)
        if all(cell.status is not CellStatus.BROKEN for cell in summary.evidence.cells):
            done.touch()
        return summary

    def _suite_names(self) -> tuple[str, ...]:
        return tuple(suite.parse(word).name for word in self.task.suites)

    def _planned(self, kernel: Kernel, selections: Sequence[Selection]) -> Plan:
        """The plan of one kernel in one guest."""
        spec = CampaignSpec(
            name="mutate",
            topologies=(self.task.topology.name,),
            kernels=(kernel.name,),
            scenarios=tuple(selection.scenario for selection in selections),
            isolation="shared",
        )
        planned = plan(spec, [self.task.topology], [kernel], selections, named=[self.task.topology.name])
        names = {name: [case.name for case in cases] for name, cases in self.builder.cases().items()}
        return replace(resolve_cases(planned, names), sources=self.library.scenario_sources)

    def _execute(
        self,
        directory: Path,
        kernel: Kernel,
        selections: Sequence[Selection],
        stop: threading.Event,
        keeper: KeeperLike | None,
    ) -> None:
        resolved = self._planned(kernel, selections)
        declared = self.builder.cases()
        cases = {}
        for selection in resolved.cells[0].scenarios:
            cases[selection.scenario] = tuple(selection.asked_cases(declared[selection.scenario]))
        command = CommandRecord(verb="mutate", options={"--resume": (str(self.directory),)})
        directory.parent.mkdir(parents=True, exist_ok=True)
        opened = open_plan(resolved, cases, directory, command=command, suites=self.builder.suites)
        with self.guests.place(self.builder, opened.run_dir) as place:
            self._runner(opened, resolved, place, stop, keeper).run()

    def _runner(
        self, opened: OpenRun, planned: Plan, place: PlaceLike[Any], stop: threading.Event, keeper: KeeperLike | None
    ) -> Runner[Any]:
        metadata = opened.metadata.changed(connection=self.guests.uri)
        if hosts := self.guests.describe():
            metadata = metadata.changed(hosts=hosts)
        return Runner(
            plan=planned,
            place=place,
            run_dir=opened.run_dir,
            metadata=metadata,
            cases=opened.cases,
            screen=_NoScreen(),
            packing=self.packing,
            keeper=keeper,
            stopping=stop,
        )


def coverage_of(directory: Path, task: MutationTask) -> Coverage | None:
    """Return which case runs which line, as far as a mutation has counted; None if it has not."""
    for coverage_read in read_all(str(directory)):
        if coverage_read.kernel == task.kernel.name:
            return coverage_read
    return None


def builder(task: MutationTask, library: Library, cache: Cache, progress: Progress) -> Builder:
    """Return what builds a mutation's guests, after building its suites."""
    if not task.suites:
        return Builder(cache=cache, sources=library.scenario_sources)
    suites = tuple(suite.parse(word) for word in task.suites)
    selections = [Selection(scenario=each.name) for each in suites]
    spec = CampaignSpec(
        name="mutate",
        topologies=(task.topology.name,),
        kernels=(task.kernel.name,),
        scenarios=tuple(each.name for each in suites),
    )
    planned = plan(spec, [task.topology], [task.kernel], selections, named=[task.topology.name])
    return Builder.of(replace(planned, sources=library.scenario_sources, suites=suites), cache, progress)


def _tests_s(directory: Path) -> float | None:
    """How long the programs of a run took; None if there is no such run."""
    if not directory.is_dir():
        return None
    evidence = conclude_directory(directory).evidence
    return round(sum(run.duration_s for cell in evidence.cells for run in cell.runs), 1)


def _seconds_of_cases(summary: Summary) -> dict[str, float]:
    """Scenario -> the seconds of one of its cases, on average."""
    found = {}
    for cell in summary.evidence.cells:
        for run in cell.runs:
            count = sum(record.scenario == run.scenario for record in summary.records)
            found[run.scenario] = run.duration_s / max(1, count)
    return found


def unmet(summary: Summary, suites: Collection[str] = ()) -> frozenset[str]:
    """Return the records, `scenario.case`, that did not meet their expectation, or have none: they can kill nothing.

    A complaint on the console and a leak have a record only where there is one, so those of the patched kernel itself
    are among them. Tests of `suites` are expected to pass.
    """
    return frozenset(record.label for record in summary.records if not _expected_to_pass(record, suites).met)


def killers(summary: Summary, unsound: Collection[str], suites: Collection[str] = ()) -> tuple[tuple[str, ...], str]:
    """Return what noticed a mutant in a run, and why the run says nothing (empty if it does say something).

    A record kills that does not meet its expectation and is not one of `unsound`, which did not on the patched kernel
    either. A kernel that does not boot is noticed by booting it; one that is not the machine which the patched kernel
    was, by verifying it.
    """
    found = []
    for record in summary.records:
        if kills(_expected_to_pass(record, suites), unsound):
            found.append(f"{record.label} ({record.outcome})")
    for cell in summary.evidence.cells:
        if cell.status is CellStatus.NO_BOOT:
            found.append("boot (NO_BOOT)")
        elif cell.status is CellStatus.INVALID:
            found.append(f"verification (INVALID): {cell.why}")
    trouble = ""
    if not found and summary.broken:
        trouble = summary.broken[0].reason
    bad = [cell for cell in summary.evidence.cells if cell.status is CellStatus.BROKEN]
    if not found and bad:
        trouble = f"{bad[0].status}: {bad[0].why}"
    return tuple(found), trouble


def _expected_to_pass(record: CaseRecord, suites: Collection[str]) -> CaseRecord:
    """Return a record with the expectation that counts here.

    In a run of one kernel a suite's results are as expected, whatever they are (`lab.verdicts.suites.measured`): there
    is no kernel to compare with. A mutant is compared with the patched kernel, on which the result passed.
    """
    if record.scenario not in suites:
        return record
    return replace(record, expected=Expected.PASS, met=met(record.outcome, Expected.PASS))


def _test(label: str) -> str:
    """Return the label of the test that prints a result of a suite; a case of a scenario is its own."""
    return label.partition("/")[0]
