# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutants of a patch: small defects in the lines that it adds, each built, booted and put to the tests.

The directory of a mutation, which `--resume` goes on with:

    mutants.json            what there is to do: kernel, machine, tests, every mutant with its diff
    results.jsonl           one line for each mutant that is done
    original/               the run of the patched kernel itself: which cases pass on it
    coverage/               the run of the same kernel with gcov: which case runs which line
    mutants/NAME/           defect.patch, and the runs of the mutant: covering/ first, others/ if that did not kill it
    mutate.json mutate.txt  the report
"""

from __future__ import annotations

import difflib
import json
import shutil
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from lab.build import kernel as kernels
from lab.build.builder import Builder
from lab.build.kernel import BuiltKernel
from lab.build.patched import patched_files
from lab.core.cache import Cache, write_atomic
from lab.core.errors import BuildError, InfraError, InputError, LabError, UsageError, did_you_mean
from lab.core.outcome import Case, CellStatus, Outcome
from lab.core.validation import first_invalid
from lab.evidence.metadata import CommandRecord
from lab.formats import c_mutations
from lab.guests.factory import GuestFactory
from lab.host.estimate import Packing
from lab.run.campaign import OpenRun, open_plan
from lab.run.protocols import BootableCellLike, CellState
from lab.run.runner import Runner
from lab.run.this_host import ThisHost
from lab.specs.library import Library
from lab.specs.model import JOINT, CampaignSpec, Kernel, Topology
from lab.specs.plan import Cell, Plan, Selection, plan, resolve_cases
from lab.verdicts.compare import Summary, conclude_directory
from lab.verdicts.coverage import Coverage
from lab.verdicts.mutation import SURVIVORS, Fate, MutantResult, MutantSpec, MutationReport, counted, fair_order, score
from lab.workflows import coverage

MUTANTS, RESULTS, REPORT = "mutants.json", "results.jsonl", "mutate.json"
CONTEXT_LINES = 3
MAX_KILLERS = 5
MAX_GUESTS = 8
"""Mutants in guests at once; one kernel is built at a time, so more would wait for it."""

Tell = Callable[[str], None]


class MutationTask(BaseModel):
    """mutants.json: what is mutated, where it runs, and every mutant."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_: int = 1
    kernel: Kernel
    topology: Topology
    tests: tuple[str, ...]
    programs: tuple[str, ...] = ()
    """The user's own scenarios, absolute paths of C files."""
    mutants: tuple[MutantSpec, ...]


def generate(kernel: Kernel, cache: Cache) -> tuple[MutantSpec, ...]:
    """Return the mutants of a kernel's series; UsageError if it adds no code, InfraError if its source is not here."""
    mutants: list[MutantSpec] = []
    for name, file in patched_files(kernel, cache).items():
        for mutation in c_mutations.mutations(file.content, file.added):
            mutants.append(_mutant(len(mutants) + 1, name, file.content, mutation))
    if not mutants:
        raise UsageError(f"{kernel.series}: adds no line of C that could be mutated")
    return tuple(mutants)


def _mutant(number: int, file: str, before: bytes, mutation: c_mutations.Mutation) -> MutantSpec:
    old = before.decode("utf-8", "surrogateescape").splitlines(keepends=True)
    new = mutation.apply(before).decode("utf-8", "surrogateescape").splitlines(keepends=True)
    lines = difflib.unified_diff(old, new, f"a/{file}", f"b/{file}", n=CONTEXT_LINES)
    return MutantSpec(
        name=f"m{number:03}-{mutation.operator}",
        file=file,
        line=mutation.line,
        function=mutation.function,
        operator=mutation.operator,
        what=mutation.what,
        diff="".join(lines).encode("utf-8", "surrogateescape").decode("utf-8", "replace"),
    )


class _NoScreen:
    """Progress of one mutant is not shown; the workflow prints a line when it is done."""

    def building(self, cell: Cell, detail: str, done: float | None) -> None: ...

    def cell(self, cell: Cell, state: CellState, *, scenario: str = "", done: int = 0, total: int = 0) -> None: ...

    def progress(self, cell: Cell, scenario: str, done: int, total: int) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What the runs of the patched kernel itself showed, before any mutant is tried."""

    sound: frozenset[str]
    """The cases that meet their expectation, `scenario.case`."""
    unsound: frozenset[str]
    covered: Coverage | None

    def covering(self, mutant: MutantSpec) -> frozenset[str]:
        """Return the sound cases that run a mutant's line; empty without coverage."""
        return self.covered.cases(mutant.file, mutant.line) & self.sound if self.covered else frozenset()


@dataclass(slots=True, kw_only=True)
class Mutate:
    """One mutation on its way."""

    directory: Path
    task: MutationTask
    library: Library
    cache: Cache
    factory: GuestFactory
    packing: Packing
    tell: Tell
    minutes: float | None = None
    arguments: Mapping[str, str] = field(default_factory=dict)
    """What a survivor changes (`MutantSpec.change`) -> why no test can notice it."""
    with_coverage: bool = True
    stopping: threading.Event = field(default_factory=threading.Event)
    _cases: Mapping[str, tuple[Case, ...]] = field(default_factory=dict)
    _started: float = field(default_factory=time.monotonic)

    def run(self) -> MutationReport:
        """Try every mutant that has no result yet, until all have one or the time is over; return the report."""
        self._cases = Builder(cache=self.cache, sources=self.library.scenario_sources).cases()
        original_summary = self._run_or_reuse("original", self.task.kernel, self._selections())
        unsound = unmet(original_summary)
        sound = frozenset(record.label for record in original_summary.records) - unsound
        if not sound:
            raise InfraError(f"no case passes on {self.task.kernel.name} itself: {original_summary.sentence}")
        covered = self._coverage() if self.with_coverage else None
        original = kernels.build(self.task.kernel, self.task.topology, cache=self.cache)
        waiting = undecided(fair_order(self.task.mutants), read_results(self.directory))
        self.tell(
            f"{len(self.task.mutants)} mutants, {len(waiting)} to try, {len(sound)} cases as expected without them"
        )
        at_once = self.packing.at_once(self._planned(self.task.kernel, self._selections()).cells[0], MAX_GUESTS)
        with ThreadPoolExecutor(at_once, "mutant") as pool:
            try:
                known = _Known(sound=sound, unsound=unsound, covered=covered)
                self._try_all(pool, at_once, waiting, original, known)
            except BaseException:  # inside the pool's block, whose end waits for the guests
                self.stopping.set()
                self.factory.abort()
                raise
        return self.report()

    def _try_all(
        self,
        pool: ThreadPoolExecutor,
        at_once: int,
        waiting: Sequence[MutantSpec],
        original: BuiltKernel,
        known: _Known,
    ) -> None:
        """Build one mutant after the other, while those that are built run in guests."""
        running: set[Future[MutantResult]] = set()
        for mutant in waiting:
            if self._over():
                break
            built = self._without_guest(mutant, known.covered) or self._built(mutant, original)
            if isinstance(built, MutantResult):
                self._finish(mutant, built)
                continue
            while len(running) >= at_once:
                running = self._collect(running)
            kernel, build_s = built
            running.add(pool.submit(self._tried, mutant, kernel, build_s, known))
        while running:
            running = self._collect(running)

    def report(self) -> MutationReport:
        """Return what is known so far."""
        return MutationReport(
            kernel=self.task.kernel.name,
            machine=self.task.topology.name,
            mutants=self.task.mutants,
            results=argued(self.task.mutants, read_results(self.directory), self.arguments),
        )

    def _over(self) -> bool:
        return self.minutes is not None and time.monotonic() - self._started > self.minutes * 60

    def _collect(self, running: set[Future[MutantResult]]) -> set[Future[MutantResult]]:
        """Record the mutants that are done, waiting for one at least; return the others."""
        done, others = wait(running, return_when=FIRST_COMPLETED)
        by_name = {mutant.name: mutant for mutant in self.task.mutants}
        for future in done:
            result = future.result()
            self._finish(by_name[result.name], result)
        return others

    def _finish(self, mutant: MutantSpec, result: MutantResult) -> None:
        """Append a result to results.jsonl, and print it."""
        with (self.directory / RESULTS).open("a") as file:
            file.write(result.model_dump_json() + "\n")
        by = ", ".join(result.by[:2]) or result.why
        self.tell(f"{result.fate}: {mutant.place} {mutant.function}: {mutant.what} [{result.seconds:.0f} s] {by}")

    # What is known before any mutant is built.

    def _coverage(self) -> Coverage:
        """Run all tests on the patched kernel with gcov; return which case runs which line."""
        counting = self.task.kernel.model_copy(update={"name": "with-gcov", "coverage": True})
        path = self.directory / "coverage" / coverage.file_of(counting.name)
        if path.is_file():
            return Coverage.model_validate_json(path.read_text())
        self._run_or_reuse("coverage", counting, self._selections())
        found = coverage.collect(
            self.directory / "coverage", counting, {self.task.topology.name: self.task.topology}, self.cache
        )
        self.tell(found.summary())
        return found

    def _selections(self) -> tuple[Selection, ...]:
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
        stacked = f"{self.task.kernel.series}{JOINT}{patch.absolute()}"
        kernel = self.task.kernel.model_copy(update={"name": mutant.name, "series": stacked})
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
            if not labels:
                continue
            try:
                summary = self._run_or_reuse(f"mutants/{mutant.name}/{name}", kernel, self._narrowed(labels))
            except LabError as error:
                return MutantResult(name=mutant.name, fate=Fate.NO_VERDICT, why=str(error))
            cases += len(summary.records)
            seconds = round(build_s + time.monotonic() - started, 1)
            result = MutantResult(name=mutant.name, fate=Fate.SURVIVED, seconds=seconds, cases=cases)
            by, trouble = killers(summary, known.unsound)
            if by:
                return result.model_copy(update={"fate": Fate.KILLED, "by": by[:MAX_KILLERS]})
            if trouble:
                return result.model_copy(update={"fate": Fate.NO_VERDICT, "why": trouble})
        return result

    def _narrowed(self, labels: Collection[str]) -> tuple[Selection, ...]:
        """The selections of some cases, each `scenario.case`; synthetic records of a scenario are not cases."""
        found = []
        for selection in self._selections():
            cases = []
            for case in selection.asked_cases(self._cases[selection.scenario]):
                if f"{selection.scenario}.{case.name}" in labels:
                    cases.append(case.name)
            if cases:
                found.append(Selection(scenario=selection.scenario, cases=tuple(cases)))
        return tuple(found)

    def _run_or_reuse(self, name: str, kernel: Kernel, selections: Sequence[Selection]) -> Summary:
        """Return the verdicts of a run of one kernel; a run that is on disk is not made again unless the lab failed."""
        directory = self.directory / name
        done = directory / "done"
        if done.is_file():
            return conclude_directory(directory)
        shutil.rmtree(directory, ignore_errors=True)
        self._execute(directory, kernel, selections)
        if self.stopping.is_set():
            raise LabError("the mutation was interrupted")
        summary = conclude_directory(directory)
        if all(cell.status is not CellStatus.BROKEN for cell in summary.evidence.cells):
            done.touch()
        return summary

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
        names = {name: [case.name for case in cases] for name, cases in self._cases.items()}
        return replace(resolve_cases(planned, names), sources=self.library.scenario_sources)

    def _execute(self, directory: Path, kernel: Kernel, selections: Sequence[Selection]) -> None:
        resolved = self._planned(kernel, selections)
        cases = {}
        for selection in resolved.cells[0].scenarios:
            cases[selection.scenario] = tuple(selection.asked_cases(self._cases[selection.scenario]))
        command = CommandRecord(verb="mutate", options={"--resume": (str(self.directory),)})
        directory.parent.mkdir(parents=True, exist_ok=True)
        opened = open_plan(resolved, cases, directory, command=command)
        self._runner(opened, resolved).run()

    def _runner(self, opened: OpenRun, planned: Plan) -> Runner[BootableCellLike]:
        metadata = opened.metadata.changed(connection=self.factory.hypervisor.uri)
        return Runner(
            plan=planned,
            place=ThisHost(shop=self.factory, budget=self.packing.budget),
            run_dir=opened.run_dir,
            metadata=metadata,
            cases=opened.cases,
            screen=_NoScreen(),
            packing=self.packing,
            stopping=self.stopping,
        )


def unmet(summary: Summary) -> frozenset[str]:
    """Return the records, `scenario.case`, that did not meet their expectation, or have none: they can kill nothing.

    A complaint on the console and a leak have a record only where there is one, so those of the patched kernel itself
    are among them.
    """
    return frozenset(record.label for record in summary.records if not record.met)


def killers(summary: Summary, unsound: Collection[str]) -> tuple[tuple[str, ...], str]:
    """Return what noticed a mutant in a run, and why the run says nothing (empty if it does say something).

    A record kills that does not meet its expectation and is not one of `unsound`, which did not on the patched kernel
    either. A kernel that does not boot is noticed by booting it; one that is not the machine which the patched kernel
    was, by verifying it.
    """
    found = []
    for record in summary.records:
        if record.met is False and record.outcome is not Outcome.BROKEN and record.label not in unsound:
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


def open_task(directory: Path, task: MutationTask) -> None:
    """Make the directory of a mutation; UsageError if there is something in it."""
    if directory.exists() and any(directory.iterdir()):
        raise UsageError(f"{directory} exists and is not empty", hint="choose another directory, or use --resume")
    directory.mkdir(parents=True, exist_ok=True)
    write_atomic(directory / MUTANTS, (task.model_dump_json(indent=1) + "\n").encode())


def read_task(directory: Path) -> MutationTask:
    """Return what a mutation is to do; InputError if the directory is none of a mutation."""
    path = directory / MUTANTS
    try:
        return MutationTask.model_validate_json(path.read_text())
    except OSError as error:
        raise InputError(
            path, None, None, f"cannot be read: {error.strerror}; expected the directory of a mutation"
        ) from None
    except ValidationError as error:
        key, why = first_invalid(error)
        raise InputError(path, None, key or None, why) from None


def read_results(directory: Path) -> tuple[MutantResult, ...]:
    """Return the results so far, the last of each mutant; a line that a killed lab left torn is ignored."""
    try:
        lines = (directory / RESULTS).read_text("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return ()
    found: dict[str, MutantResult] = {}
    for line in lines:
        try:
            result = MutantResult.model_validate_json(line)
        except ValidationError:
            continue
        found[result.name] = result
    return tuple(found.values())


def undecided(mutants: Iterable[MutantSpec], results: Iterable[MutantResult]) -> list[MutantSpec]:
    """Return the mutants that have no result yet, or only a failure of the lab, which is tried again."""
    decided = {result.name for result in results if result.fate is not Fate.NO_VERDICT}
    return [mutant for mutant in mutants if mutant.name not in decided]


def argued(
    mutants: Iterable[MutantSpec], results: Iterable[MutantResult], arguments: Mapping[str, str]
) -> tuple[MutantResult, ...]:
    """Return the results, the survivors among them with the argument that a file has for their change."""
    change_of = {mutant.name: mutant.change for mutant in mutants}
    found = []
    for result in results:
        argument = arguments.get(change_of.get(result.name, ""), "")
        if argument and result.fate in SURVIVORS:
            found.append(result.model_copy(update={"argument": argument}))
        else:
            found.append(result)
    return tuple(found)


def read_arguments(path: Path, mutants: Iterable[MutantSpec]) -> dict[str, str]:
    """Return the arguments of a file, a JSON object: `FILE FUNCTION: BEFORE -> AFTER` to the reason.

    InputError for another document, and for a change that no mutant makes.
    """
    try:
        raw = json.loads(path.read_text())
    except OSError as error:
        raise InputError(path, None, None, f"cannot be read: {error.strerror}") from None
    except json.JSONDecodeError as error:
        raise InputError(path, error.lineno, None, "expected a JSON object") from None
    if not isinstance(raw, dict) or not all(isinstance(value, str) and value for value in raw.values()):
        raise InputError(path, None, None, "expected a JSON object of texts")
    known = {mutant.change for mutant in mutants}
    for change in raw:
        if change not in known:
            raise InputError(path, None, change, f"no mutant makes this change{did_you_mean(change, known)}")
    return raw


def write_report(directory: Path, report: MutationReport) -> str:
    """Write mutate.json and mutate.txt, and return the text."""
    text = "\n".join(render(report)) + "\n"
    write_atomic(directory / REPORT, (report.model_dump_json(indent=1) + "\n").encode())
    write_atomic(directory / "mutate.txt", text.encode())
    return text


def render(report: MutationReport) -> Iterable[str]:
    """Yield the lines of the report: the score, per function and in all, and every survivor with its diff."""
    yield f"mutants of {report.kernel} on {report.machine}: {len(report.mutants)}: {counted(report.results)}"
    yield f"score: {_percent(report.score)} of those that are killed or survive"
    yield ""
    yield "BY FUNCTION"
    for function, results in report.by_function().items():
        yield f"  {_percent(score(results)):>5}  {function}: {counted(results)}"
    survivors = report.survivors()
    if survivors:
        yield ""
        yield f"SURVIVORS: {len(survivors)}"
    for mutant, result in survivors:
        yield ""
        yield f"{mutant.place} in {mutant.function or 'a macro'}: {mutant.operator} ({result.fate})"
        if result.argument:
            yield f"  equal: {result.argument}"
        for line in mutant.diff.splitlines():
            if line.startswith(("-", "+")) and not line.startswith(("---", "+++")):
                yield f"    {line}"
    seconds = sorted(result.seconds for result in report.results if result.seconds)
    if seconds:
        yield ""
        yield f"median {seconds[len(seconds) // 2]:.0f} s for each mutant that was built"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"
