# SPDX-License-Identifier: GPL-2.0-or-later
"""Conclude from the verdicts of a run: deltas between kernels, the proof of the pair, the exit code. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path, PurePath

from lab.core.outcome import Case, CaseRecord, CellKey, CellResult, CellStatus, Delta, Expected, Outcome, Run
from lab.core.paths import is_prebuilt
from lab.evidence import read
from lab.evidence.metadata import CellRecord, Evidence, KernelRecord, Metadata, Provenance
from lab.specs.plan import is_for
from lab.verdicts import confirm, coverage, harmless, reported
from lab.verdicts.coverage import Coverage
from lab.verdicts.harmless import HarmlessComplaint
from lab.verdicts.judge import CONSOLE, LEAK, agree, judge_cell
from lab.verdicts.power import Unproven, unproven
from lab.verdicts.reported import ReportResult
from lab.verdicts.suites import SEVERITY, fails_as_before, measured, suites_of

EXIT_MET, EXIT_NOT_MET, EXIT_INCOMPLETE = 0, 1, 2

SAME_BUILD = {"source": "source", "config_sha256": "configuration", "compiler": "compiler"}
"""What two builds of a pair must agree on: field of `Provenance` -> its name in a sentence."""

DIFFERENT_BUILD = {
    "source_sha256": "source",
    "release": "release",
    "config_sha256": "configuration",
    "compiler": "compiler",
}
"""What is named of two kernels of which one was not built here: field of `Provenance` -> its name in a sentence."""

MAX_PATCHES = 4
"""The patches of a series without a name that are named; of a longer series the number is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseDelta:
    """One case on the campaign's first kernel and on another one. An outcome is None if there is no record."""

    topology: str
    scenario: str
    case: str
    baseline: str
    kernel: str
    before: Outcome | None
    after: Outcome | None
    delta: Delta

    @property
    def label(self) -> str:
        return f"{self.scenario}.{self.case}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Whether two kernels differ in the series alone. `differences` is empty and `sound` true when they do."""

    baseline: str
    kernel: str
    sound: bool
    sentence: str
    differences: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Everything that reports show, computed from the evidence. Properties that walk over it are computed once."""

    evidence: Evidence
    records: tuple[CaseRecord, ...]
    changed: tuple[CaseDelta, ...]
    """The deltas that are not `same`, of which there are very many."""
    proofs: tuple[Proof, ...]
    exit_code: int
    sentence: str
    """The exit code in words."""
    by_cell: Mapping[CellKey, tuple[CaseRecord, ...]]
    """Cell -> its records, its repeats taken together."""
    repeats: Mapping[CellKey, tuple[CellResult, ...]]
    """Cell -> its guests, one for each repeat."""
    odd: tuple[CaseRecord, ...]
    """The records except those that met their expectation: the few that most of a report is about."""
    harmless: tuple[HarmlessComplaint, ...] = ()
    """Complaints that were judged as nothing, because the kernel's YAML lists them."""
    unproven: tuple[Unproven, ...] = ()
    """Features, suites and programs of which no case could fail: expectations that are not met."""
    coverage: tuple[Coverage, ...] = ()
    """Which changed lines ran, for each kernel with a series, of a run with --coverage."""

    @cached_property
    def topologies(self) -> tuple[str, ...]:
        return topologies_of(self.evidence.cells)

    @cached_property
    def kernels(self) -> tuple[str, ...]:
        return kernels_of(self.evidence.cells)

    @cached_property
    def designs(self) -> tuple[str, ...]:
        """The kernels that have a series: what is compared with each other, beside the baseline."""
        return tuple(kernel for kernel in self.kernels if self.evidence.metadata.kernel(kernel).series)

    @cached_property
    def origins(self) -> tuple[str, ...]:
        """Sentences that name the earlier runs whose evidence stands for guests of this one."""
        found = []
        for cell in self.evidence.cells:
            if cell.origin:
                found.append(f"{cell.name}: no guest was started; this is the evidence of {cell.origin}.")
        return tuple(found)

    @cached_property
    def suites(self) -> frozenset[str]:
        """The scenarios that are suites."""
        return suites_of(self.evidence.metadata)

    @cached_property
    def no_power(self) -> tuple[CaseRecord, ...]:
        """Cases that had to fail and passed: they cannot tell the kernels apart."""
        return tuple(filter(_no_power, self.odd))

    @cached_property
    def not_met(self) -> tuple[CaseRecord, ...]:
        """Unmet expectations that are findings about a kernel, except the cases without power."""
        return tuple(record for record in self.odd if _is_finding(record) and not _no_power(record))

    @cached_property
    def broken(self) -> tuple[CaseRecord, ...]:
        return self._with_outcome(Outcome.BROKEN)

    @cached_property
    def flaky(self) -> tuple[CaseRecord, ...]:
        return self._with_outcome(Outcome.FLAKY)

    @cached_property
    def leaks(self) -> tuple[CaseRecord, ...]:
        return self._with_outcome(Outcome.LEAK)

    @cached_property
    def skipped(self) -> tuple[CaseRecord, ...]:
        return self._with_outcome(Outcome.SKIP)

    @cached_property
    def no_pairs(self) -> tuple[str, ...]:
        """Sentences on kernels that were not built here: what they and the first kernel differ in proves no patch."""
        metadata = self.evidence.metadata
        others = filter(lambda kernel: _as_it_is(metadata, self.kernels[0], kernel), self.kernels[1:])
        return tuple(_no_pair(metadata, self.kernels[0], kernel) for kernel in others)

    def _with_outcome(self, outcome: Outcome) -> tuple[CaseRecord, ...]:
        return tuple(record for record in self.odd if record.outcome is outcome)

    @cached_property
    def known(self) -> tuple[CaseRecord, ...]:
        """Cases of suites that fail as they do on the kernel which is compared with, or on that kernel itself."""
        if not self.suites:
            return ()
        return tuple(record for record in self.records if fails_as_before(record, self.suites))

    @cached_property
    def skipped_everywhere(self) -> tuple[str, ...]:
        """Labels of cases that every cell skipped."""
        left = {(record.scenario, record.case): record.label for record in self.skipped}
        for record in self.records:
            if record.outcome is not Outcome.SKIP and left.pop((record.scenario, record.case), "") and not left:
                break
        return tuple(left.values())

    def deltas(self) -> Iterator[CaseDelta]:
        """Compute the delta of every case. They are not kept: nearly all of them are `same`."""
        return deltas(compared(self.records, self.evidence.metadata), self.kernels)

    @cached_property
    def reported(self) -> tuple[ReportResult, ...]:
        """The reports that were run, each with what became of it."""
        return reported.results(self.evidence.metadata, self.records)

    def delta(self, kind: Delta) -> tuple[CaseDelta, ...]:
        deltas: Iterable[CaseDelta] = self.changed
        if kind is Delta.SAME:
            deltas = self.deltas()
        return tuple(delta for delta in deltas if delta.delta is kind)

    def of_cell(self, topology: str, kernel: str) -> tuple[CaseRecord, ...]:
        return self.by_cell.get(CellKey(topology, kernel), ())

    def counts(self) -> dict[str, int]:
        """Totals: every outcome, met and not met, every delta, every state of a cell."""
        outcomes, statuses = _outcomes(self.records), _statuses(self.evidence.cells)
        expectations = Counter(record.met for record in self.records)
        deltas = Counter(delta.delta for delta in self.deltas())
        counts = {"records": len(self.records)}
        for outcome in Outcome:
            counts[outcome.value] = outcomes[outcome]
        counts |= {"met": expectations[True], "not met": expectations[False], "no power": len(self.no_power)}
        counts["no power"] += len(self.unproven)
        for delta in Delta:
            counts[delta.value] = deltas[delta]
        for status in CellStatus:
            counts[f"cells {status.value}"] = statuses[status]
        return counts


def topologies_of(cells: Iterable[CellResult | CellRecord]) -> tuple[str, ...]:
    """Return the machines of some cells, each once, in their order."""
    return tuple(dict.fromkeys(cell.topology for cell in cells))


def kernels_of(cells: Iterable[CellResult | CellRecord]) -> tuple[str, ...]:
    """Return the kernels of some cells, each once, in their order."""
    return tuple(dict.fromkeys(cell.kernel for cell in cells))


def _outcomes(records: Iterable[CaseRecord]) -> Counter[Outcome]:
    """Return how many records have each outcome."""
    return Counter(record.outcome for record in records)


def _statuses(cells: Iterable[CellResult]) -> Counter[CellStatus]:
    """Return how many guests have each status."""
    return Counter(cell.status for cell in cells)


def conclude(evidence: Evidence) -> Summary:
    """Judge every cell and compare the kernels. Everything that is shown is computed here."""
    return conclude_cells(evidence.metadata, evidence.cells, evidence.source)


def conclude_directory(directory: Path) -> Summary:
    """Judge the run in a directory, with the memory for the evidence of one cell at a time."""
    metadata, cells = read.stream(directory)
    return conclude_cells(metadata, cells, str(directory))


def conclude_cells(metadata: Metadata, cells: Iterable[CellResult], source: str = "") -> Summary:
    """Judge cells one after the other and compare the kernels; drop the output of each guest once it is judged.

    The records' excerpts have the lines that matter; the whole output of ten thousand cells would fill the memory. So
    the summary's own evidence is for reports only: it has no output of guests.
    """
    cases, suites = metadata.declared_cases(), suites_of(metadata)
    confirming = confirm.confirming(metadata)
    judged_repeats: dict[CellKey, list[tuple[CaseRecord, ...]]] = {}
    again: dict[CellKey, list[tuple[CaseRecord, ...]]] = {}
    judged: list[CellResult] = []
    left_out: list[HarmlessComplaint] = []
    for cell in cells:
        known = metadata.kernel(cell.kernel).console_known
        left_out += harmless.complaints(cell, known)
        mine = cases_of(metadata, CellKey(cell.topology, cell.kernel), cases)
        doubted = confirming.get((cell.topology, cell.kernel, cell.repeat))
        if doubted is not None:
            only = confirm.only(mine, doubted)
            found = judge_cell(cell, only, provides(metadata, cell.kernel), suites, known)
            again.setdefault(CellKey(cell.topology, cell.kernel), []).append(found)
            continue
        records = judge_cell(cell, mine, provides(metadata, cell.kernel), suites, known)
        judged_repeats.setdefault(CellKey(cell.topology, cell.kernel), []).append(records)
        judged.append(_quiet(cell))
    guests = places(judged)
    by_cell = {place: _agreed(guests[place], repeats) for place, repeats in judged_repeats.items()}
    for place, runs in again.items():
        by_cell[place] = confirm.applied(by_cell[place], runs, confirm.labels(confirming, place), suites)
    by_cell = measured(by_cell, metadata)
    concluded = _summary(Evidence(metadata=metadata, cells=tuple(judged), source=source), by_cell, guests)
    covered = coverage.read_all(source) if source else ()
    return replace(concluded, harmless=tuple(left_out), coverage=covered)


def _agreed(guests: Sequence[CellResult], repeats: Sequence[tuple[CaseRecord, ...]]) -> tuple[CaseRecord, ...]:
    """Return the records of a cell from those of its guests, one for each repeat."""
    if len(repeats) == 1:
        return repeats[0]
    lost: list[int] = []
    for number, guest in enumerate(guests, start=1):
        if guest.status is not CellStatus.OK and not guest.runs:
            lost.append(number)
    return agree(repeats, lost)


def _quiet(cell: CellResult) -> CellResult:
    """Return a cell without its guest's output while it ran programs; the end of a console that is not OK stays."""
    runs: list[Run] = []
    for run in cell.runs:
        runs.append(replace(run, ktap="", stderr="", console=""))
    return replace(cell, runs=tuple(runs))


def _summary(
    evidence: Evidence,
    by_cell: Mapping[CellKey, tuple[CaseRecord, ...]],
    guests: Mapping[CellKey, tuple[CellResult, ...]],
) -> Summary:
    records = tuple(chain.from_iterable(by_cell.values()))
    proofs = prove(evidence.metadata)
    powerless = unproven(evidence.metadata, by_cell)
    exit_code, sentence = verdict(records, evidence.cells, proofs, powerless)
    order = kernels_of(evidence.cells)
    paired = compared(records, evidence.metadata)
    return Summary(
        evidence=evidence,
        records=records,
        changed=tuple(delta for delta in deltas(paired, order) if delta.delta is not Delta.SAME),
        proofs=proofs,
        exit_code=exit_code,
        sentence=sentence,
        by_cell=by_cell,
        repeats=guests,
        odd=tuple(record for record in records if record.met is not True),
        unproven=powerless,
    )


def places(cells: Iterable[CellResult]) -> dict[CellKey, tuple[CellResult, ...]]:
    """Return (topology, kernel) -> the guests of that cell, one for each repeat."""
    by_place: dict[CellKey, list[CellResult]] = {}
    for cell in cells:
        by_place.setdefault(CellKey(cell.topology, cell.kernel), []).append(cell)
    return {place: tuple(same) for place, same in by_place.items()}


def cases_of(
    metadata: Metadata, cell: CellKey, cases: Mapping[str, tuple[Case, ...]]
) -> Mapping[str, tuple[Case, ...]]:
    """Of all declared cases those that run in a cell: those that its machine is for, or that name the cell."""
    scenarios = metadata.topology(cell.topology).scenarios
    found: dict[str, tuple[Case, ...]] = {}
    for name, declared in cases.items():
        if name in metadata.reports:
            if mine := tuple(case for case in declared if str(cell) in case.places):
                found[name] = mine
        elif is_for(scenarios, name):
            found[name] = declared
    return found


def provides(metadata: Metadata, kernel: str) -> frozenset[str]:
    """Return the features of a kernel of the run."""
    return frozenset(metadata.kernel(kernel).provides)


# Deltas.


def compared(records: Iterable[CaseRecord], metadata: Metadata) -> Iterator[CaseRecord]:
    """Yield the records that are compared between kernels: not those of reports, each of which expects its own."""
    for record in records:
        if record.scenario not in metadata.reports:
            yield record


def deltas(records: Iterable[CaseRecord], kernels: Sequence[str]) -> Iterator[CaseDelta]:
    """Yield the delta of every case of every topology between the first of `kernels` and each other one."""
    by_topology: dict[str, list[CaseRecord]] = {}
    for record in records:
        by_topology.setdefault(record.topology, []).append(record)
    for topology, mine in by_topology.items():
        yield from _deltas(topology, mine, kernels)


def _deltas(topology: str, records: Iterable[CaseRecord], kernels: Sequence[str]) -> Iterator[CaseDelta]:
    baseline, *others = kernels
    table = tabulate(records)
    clean = clean_consoles(table, kernels)
    for label, found in table.items():
        scenario, case = label
        seen = {kernel: record.outcome for kernel, record in found.items()}
        seen |= dict.fromkeys(clean.get(label, ()), Outcome.PASS)
        before = seen.get(baseline)
        for kernel in others:
            if before is None and kernel not in seen:
                continue
            yield CaseDelta(
                topology=topology,
                scenario=scenario,
                case=case,
                baseline=baseline,
                kernel=kernel,
                before=before,
                after=seen.get(kernel),
                delta=delta_of(before, seen.get(kernel)),
            )


def delta_of(before: Outcome | None, after: Outcome | None) -> Delta:
    """Return what changed between two outcomes. One that is less bad but still bad is no fix: `same`."""
    if before not in SEVERITY or after not in SEVERITY:
        return Delta.NO_VERDICT
    if after is before:
        return Delta.SAME
    if after is Outcome.PASS:
        return Delta.FIXED
    return Delta.REGRESSED if SEVERITY[after] > SEVERITY[before] else Delta.SAME


Table = Mapping[tuple[str, str], Mapping[str, CaseRecord]]
"""(scenario, case) -> kernel -> what became of it, on one machine."""


def tabulate(records: Iterable[CaseRecord]) -> Table:
    """Return the records of one machine, side by side."""
    table: dict[tuple[str, str], dict[str, CaseRecord]] = {}
    for record in records:
        table.setdefault((record.scenario, record.case), {})[record.kernel] = record
    return table


def table_of(summary: Summary, topology: str) -> Table:
    """Return the records of one machine of a run, side by side."""
    records: list[CaseRecord] = []
    for kernel in summary.kernels:
        records += summary.of_cell(topology, kernel)
    return tabulate(records)


def clean_consoles(table: Table, kernels: Sequence[str]) -> Mapping[tuple[str, str], list[str]]:
    """Return the label of a console or leak record -> the kernels on which its absence means a PASS.

    Such a record exists only when something is wrong, so its absence means a PASS if the scenario has a verdict.
    """
    ran: dict[str, set[str]] = {}
    for (scenario, _), records in table.items():
        for kernel, record in records.items():
            if record.outcome in SEVERITY:
                ran.setdefault(scenario, set()).add(kernel)
    found: dict[tuple[str, str], list[str]] = {}
    for (scenario, case), records in table.items():
        if case in (CONSOLE, LEAK):
            clean = ran.get(scenario, set()) - records.keys()
            found[scenario, case] = list(filter(clean.__contains__, kernels))
    return found


# The exit code.


def verdict(
    records: Sequence[CaseRecord],
    cells: Sequence[CellResult],
    proofs: Sequence[Proof],
    powerless: Sequence[Unproven] = (),
) -> tuple[int, str]:
    """Return the run's exit code and a sentence that explains it. A missed expectation outweighs missing evidence."""
    findings = sum(map(_is_finding, records)) + len(powerless)
    expectations = len(records) + len(powerless)
    outcomes, statuses = _outcomes(records), _statuses(cells)
    no_boot = statuses[CellStatus.NO_BOOT]
    missing = _missing(outcomes, statuses, proofs)
    if findings or no_boot:
        parts = []
        if findings:
            parts.append(f"{findings} of {expectations} expectations not met")
        if no_boot:
            parts.append(f"{_count(no_boot, 'kernel')} did not boot")
        return EXIT_NOT_MET, "; ".join([*parts, *missing])
    if missing:
        return EXIT_INCOMPLETE, "incomplete: " + "; ".join(missing)
    skipped = outcomes[Outcome.SKIP]
    sentence = f"all {len(records) - skipped} expectations met"
    if skipped:
        sentence += f", {skipped} skipped"
    return EXIT_MET, sentence


def _missing(outcomes: Counter[Outcome], statuses: Counter[CellStatus], proofs: Sequence[Proof]) -> list[str]:
    """Return the reasons why the run is incomplete, each a phrase."""
    records = outcomes.total()
    unsound = Counter(proof.sound for proof in proofs)[False]
    parts: list[str] = []
    if not records:
        parts.append("there is no record at all")
    elif outcomes[Outcome.SKIP] == records:
        parts.append("every case was skipped")
    if invalid := statuses[CellStatus.INVALID]:
        parts.append(f"{_count(invalid, 'guest')} not the machine asked for")
    if failed := statuses[CellStatus.BROKEN]:
        parts.append(f"{_count(failed, 'cell')} failed in the lab")
    if broken := outcomes[Outcome.BROKEN]:
        parts.append(f"{_count(broken, 'case')} without evidence")
    if unsound:
        parts.append(f"{_count(unsound, 'pair')} of kernels not proven to differ in the series alone")
    return parts


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _is_finding(record: CaseRecord) -> bool:
    """Whether a record is evidence against a kernel (or a test), rather than against the lab."""
    return record.met is False and record.outcome is not Outcome.BROKEN


def _no_power(record: CaseRecord) -> bool:
    return record.expected is Expected.FAIL and record.outcome is Outcome.PASS


# The proof.


def prove(metadata: Metadata) -> tuple[Proof, ...]:
    """Return for each kernel after the first whether its builds differ from the first one's in the series alone.

    Kernels whose YAML asks for another source or configuration are no pair, and nothing is claimed of them.
    """
    order = kernels_of(metadata.cells)
    if len(order) < 2:
        return ()
    baseline, *others = order
    proofs: list[Proof] = []
    for kernel in others:
        if _as_it_is(metadata, baseline, kernel):
            continue
        if _comparable(metadata.kernel(baseline), metadata.kernel(kernel)):
            proofs.append(_prove_pair(metadata, baseline, kernel))
    return tuple(proofs)


def _comparable(baseline: KernelRecord, kernel: KernelRecord) -> bool:
    return baseline.source == kernel.source and baseline.config == kernel.config


def _prove_pair(metadata: Metadata, baseline: str, kernel: str) -> Proof:
    cells = {cell.key for cell in metadata.cells}
    pairs: list[str] = []
    for topology in topologies_of(metadata.cells):
        if {CellKey(topology, baseline), CellKey(topology, kernel)} <= cells:
            pairs.append(topology)
    wrong, unchanged = [], []
    for topology in pairs:
        first, second = metadata.build(topology, baseline), metadata.build(topology, kernel)
        for difference in _differences(first, second):
            wrong.append(f"{topology}: {difference}")
        if first and second and _is_same_kernel(first, second):
            unchanged.append(topology)
            if metadata.kernel(kernel).provides:  # what is not there cannot provide anything
                wrong.append(f"{topology}: both are the same kernel, build id {first.build_id}")
    names = f"{baseline} and {kernel}"
    if wrong:
        sentence = f"{names} are not proven to differ in the series alone: {'; '.join(wrong)}"
        return Proof(baseline=baseline, kernel=kernel, sound=False, sentence=sentence, differences=tuple(wrong))
    sentence = _sentence(names, series_words(metadata, kernel), len(pairs))
    if unchanged:
        sentence += f" On {', '.join(unchanged)} it changes nothing: both are the same kernel there (build id)."
    return Proof(baseline=baseline, kernel=kernel, sound=True, sentence=sentence)


def _as_it_is(metadata: Metadata, *kernels: str) -> bool:
    """Whether one of some kernels was not built here but existed already."""
    return any(is_prebuilt(metadata.kernel(kernel).source or "") for kernel in kernels)


def _no_pair(metadata: Metadata, baseline: str, kernel: str) -> str:
    """Return a sentence on what two kernels differ in, of which one was not built here."""
    names = f"{baseline} and {kernel}"
    differ: dict[str, None] = {}
    for topology in topologies_of(metadata.cells):
        first, second = metadata.build(topology, baseline), metadata.build(topology, kernel)
        if not first or not second:
            continue
        if first.build_id and first.build_id == second.build_id:
            return f"{names} are the same kernel on {topology} (build id): a test that differs there shows no patch."
        for key, name in DIFFERENT_BUILD.items():
            if getattr(first, key) != getattr(second, key):
                differ[name] = None
    what = f" They differ in {', '.join(differ)}." if differ else ""
    there = [name for name in (baseline, kernel) if _as_it_is(metadata, name)]
    verb = "was" if len(there) == 1 else "were"
    return f"{' and '.join(there)} {verb} not built here.{what} What {names} do differently is no proof about a patch."


def _is_same_kernel(first: Provenance, second: Provenance) -> bool:
    """Whether two builds of different sources came out as the same kernel."""
    return first.series_sha256 != second.series_sha256 and bool(first.build_id) and first.build_id == second.build_id


def _sentence(names: str, series: str, topologies: int) -> str:
    where = {1: "on the one topology", 2: "on both topologies"}.get(topologies, f"on all {topologies} topologies")
    what = series or "their series"
    return f"{names} differ in {what} and in nothing else: same source, configuration and compiler {where}."


def series_words(metadata: Metadata, kernel: str) -> str:
    """Return words for a kernel's series: its name, or its patches if it is a path; empty if there is no series."""
    series = metadata.kernel(kernel).series
    if not series:
        return ""
    if "/" not in series:
        return f"the series {series}"
    for build in metadata.builds_of(kernel):
        if len(build.patches) > MAX_PATCHES:
            return f"{len(build.patches)} patches"
        if build.patches:
            return ", ".join(patch.name for patch in build.patches)
    return f"the series {PurePath(series).name}"


def _differences(baseline: Provenance | None, kernel: Provenance | None) -> list[str]:
    """Return in what the two builds differ beside the series; empty if the pair is sound."""
    if not baseline:
        return ["there is no record of the first build"]
    if not kernel:
        return ["there is no record of the second build"]
    found = []
    for key, name in SAME_BUILD.items():
        one, other = getattr(baseline, key), getattr(kernel, key)
        if not one or one != other:
            found.append(f"{name}: {one or 'unknown'} and {other or 'unknown'}")
    return found
