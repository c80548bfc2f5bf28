# SPDX-License-Identifier: GPL-2.0-or-later
"""Conclude from the verdicts of a run: deltas between kernels, the proof of the pair, the exit code. Pure."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain
from pathlib import Path, PurePath
from typing import NamedTuple

from lab.core.columns import SHARED, CellRecords, CellRuns, Counted, RecordCodec, RunRecords, Tally, count
from lab.core.outcome import (
    Case,
    CaseRecord,
    CaseVerdict,
    CellKey,
    CellResult,
    CellStatus,
    Delta,
    Expected,
    Outcome,
)
from lab.core.paths import is_prebuilt
from lab.core.workers import spread
from lab.evidence import read
from lab.evidence.metadata import CellRecord, Evidence, KernelRecord, Metadata, Provenance
from lab.specs.plan import is_for
from lab.verdicts import confirm, coverage, harmless, reported
from lab.verdicts.coverage import Coverage
from lab.verdicts.harmless import HarmlessComplaint
from lab.verdicts.judge import BOOT, CONSOLE, LEAK, agree, judge_cell
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

MANY_GUESTS, GUESTS_OF_A_PART = 400, 100
"""From how many guests on several processes read a run, and how many guests one of them reads at a time."""
MAX_PATCHES = 4
"""The patches of a series without a name that are named; of a longer series the number is given."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CaseChange:
    """What changed for a case between two kernels, on whatever machine. An outcome is None if there is no record."""

    scenario: str
    case: str
    before: Outcome | None
    after: Outcome | None
    delta: Delta

    @property
    def label(self) -> str:
        return f"{self.scenario}.{self.case}"


class CaseDelta(NamedTuple):
    """What changed for a case on a machine between the campaign's first kernel and another one."""

    topology: str
    baseline: str
    kernel: str
    change: CaseChange

    @property
    def scenario(self) -> str:
        return self.change.scenario

    @property
    def case(self) -> str:
        return self.change.case

    @property
    def before(self) -> Outcome | None:
        return self.change.before

    @property
    def after(self) -> Outcome | None:
        return self.change.after

    @property
    def delta(self) -> Delta:
        return self.change.delta

    @property
    def label(self) -> str:
        return self.change.label


class MachineChanges(NamedTuple):
    """What changed on one machine between the campaign's first kernel and the other ones, as two columns."""

    topology: str
    baseline: str
    kernels: Sequence[str]
    """Of each change the other kernel."""
    changes: Sequence[CaseChange]

    def deltas(self) -> Iterator[CaseDelta]:
        """Yield each change with its machine and kernels."""
        for kernel, change in zip(self.kernels, self.changes, strict=True):
            yield CaseDelta(self.topology, self.baseline, kernel, change)

    def differences(self) -> list[CaseDelta]:
        """Return the changes that are not `same`."""
        topology, baseline, kernels, changes = self
        columns = zip(kernels, changes, strict=True)
        same = Delta.SAME
        return [CaseDelta(topology, baseline, kernel, each) for kernel, each in columns if each.delta is not same]


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
    proofs: tuple[Proof, ...]
    exit_code: int
    sentence: str
    """The exit code in words."""
    by_cell: Mapping[CellKey, CellRecords]
    """Cell -> its records, its repeats taken together."""
    repeats: Mapping[CellKey, tuple[CellResult, ...]]
    """Cell -> its guests, one for each repeat."""
    odd: tuple[CaseRecord, ...]
    """The records except those that met their expectation: the few that most of a report is about."""
    confirmers: tuple[CellResult, ...] = ()
    """The guests that ran some cases again, to confirm them."""
    harmless: tuple[HarmlessComplaint, ...] = ()
    """Complaints that were judged as nothing, because the kernel's YAML lists them."""
    unproven: tuple[Unproven, ...] = ()
    """Features, suites and programs of which no case could fail: expectations that are not met."""
    coverage: tuple[Coverage, ...] = ()
    """Which changed lines ran, for each kernel with a series, of a run with --coverage."""

    @cached_property
    def records(self) -> RunRecords:
        """All records, cell by cell. What needs their verdicts only is faster with `tally`."""
        return RunRecords(self.by_cell.values())

    @cached_property
    def counted(self) -> Counted:
        """How many records have each verdict, in all and of each kernel."""
        return count(self.by_cell)

    @property
    def tally(self) -> Tally:
        """How many records have each verdict."""
        return self.counted.tally

    @property
    def tallies(self) -> Mapping[str, Tally]:
        """Kernel -> how many of its records have each verdict."""
        return self.counted.by_kernel

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
        for cell in (*self.evidence.cells, *self.confirmers):
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
        sentences: list[str] = []
        for kernel in self.kernels[1:]:
            if _as_it_is(metadata, self.kernels[0], kernel):
                sentences.append(_no_pair(metadata, self.kernels[0], kernel))
        return tuple(sentences)

    @cached_property
    def sentences(self) -> tuple[str, ...]:
        """What is known of the origin of the results, and of what the kernels differ in."""
        return (*self.origins, *(proof.sentence for proof in self.proofs), *self.no_pairs)

    def _with_outcome(self, outcome: Outcome) -> tuple[CaseRecord, ...]:
        return tuple(record for record in self.odd if record.outcome is outcome)

    @cached_property
    def known(self) -> tuple[CaseRecord, ...]:
        """Cases of suites that fail as they do on the kernel which is compared with, or on that kernel itself."""
        if not self.suites:
            return ()
        known = [verdict for verdict in self.tally if fails_as_before(verdict, self.suites)]
        return self.records.chosen(known)

    @cached_property
    def skipped_everywhere(self) -> tuple[CaseRecord, ...]:
        """A record of each case that every cell skipped."""
        left = {(record.scenario, record.case): record for record in self.skipped}
        for verdict in self.tally:
            if verdict.outcome is not Outcome.SKIP:
                left.pop((verdict.scenario, verdict.case), None)
        return tuple(left.values())

    def deltas(self) -> Iterator[CaseDelta]:
        """Yield the delta of every case. They are not kept: nearly all of them are `same`."""
        for machine in self.changes:
            yield from machine.deltas()

    @cached_property
    def changes(self) -> tuple[MachineChanges, ...]:
        """What changed for every case, machine by machine."""
        return tuple(changes(self.by_cell, self.evidence.metadata, self.kernels))

    @cached_property
    def changed(self) -> tuple[CaseDelta, ...]:
        """The deltas that are not `same`, of which there are very many."""
        found: list[CaseDelta] = []
        for machine in self.changes:
            found += machine.differences()
        return tuple(found)

    @cached_property
    def reported(self) -> tuple[ReportResult, ...]:
        """The reports that were run, each with what became of it."""
        return reported.results(self.evidence.metadata, self.records)

    def delta(self, kind: Delta) -> tuple[CaseDelta, ...]:
        deltas: Iterable[CaseDelta] = self.changed
        if kind is Delta.SAME:
            deltas = self.deltas()
        return tuple([delta for delta in deltas if delta.change.delta is kind])

    def of_cell(self, topology: str, kernel: str) -> CellRecords:
        key = CellKey(topology, kernel)
        return self.by_cell.get(key) or CellRecords(key, (), ())

    def counts(self) -> dict[str, int]:
        """Totals: every outcome, met and not met, every delta, every state of a cell."""
        outcomes, statuses = _outcomes(self.tally), _statuses(self.evidence.cells)
        expectations: Counter[bool | None] = Counter()
        for verdict, number in self.tally.items():
            expectations[verdict.met] += number
        changes: Counter[CaseChange] = Counter()
        for machine in self.changes:
            changes.update(machine.changes)
        deltas: Counter[Delta] = Counter()
        for change, number in changes.items():
            deltas[change.delta] += number
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


def _outcomes(tally: Tally) -> Counter[Outcome]:
    """Return how many records have each outcome."""
    outcomes: Counter[Outcome] = Counter()
    for verdict, number in tally.items():
        outcomes[verdict.outcome] += number
    return outcomes


def _statuses(cells: Iterable[CellResult]) -> Counter[CellStatus]:
    """Return how many guests have each status."""
    return Counter(cell.status for cell in cells)


def conclude(evidence: Evidence) -> Summary:
    """Judge every cell and compare the kernels. Everything that is shown is computed here."""
    return conclude_cells(evidence.metadata, evidence.cells, evidence.source)


def conclude_directory(directory: Path, *, on_all_cores: bool = False) -> Summary:
    """Judge the run in a directory, with the memory for the evidence of one cell at a time.

    `on_all_cores`: a large run is read and judged by several processes. The caller must have no threads.
    """
    metadata = read.read_metadata(directory)
    guests = read.guests_of(metadata)
    if not on_all_cores or len(guests) < MANY_GUESTS:
        return conclude_cells(metadata, read.cells(directory, guests), str(directory))
    judge = _Judge(metadata)
    parts = [guests[start : start + GUESTS_OF_A_PART] for start in range(0, len(guests), GUESTS_OF_A_PART)]

    def judged(part: Sequence[read.GuestKey]) -> list[_JudgedGuest]:
        return [judge.judged(cell) for cell in read.cells(directory, part)]

    judged_guests: list[_JudgedGuest] = []
    for some in spread(judged, parts, _GuestCodec()):
        judged_guests += some
    return _concluded(metadata, judged_guests, str(directory))


def conclude_cells(metadata: Metadata, cells: Iterable[CellResult], source: str = "") -> Summary:
    """Judge cells one after the other and compare the kernels; drop the output of each guest once it is judged.

    The records' excerpts have the lines that matter; the whole output of ten thousand cells would fill the memory. So
    the summary's own evidence is for reports only: it has no output of guests.
    """
    return _concluded(metadata, map(_Judge(metadata).judged, cells), source)


class _JudgedGuest(NamedTuple):
    """A guest without its output, and what became of its cases."""

    cell: CellResult
    records: CellRecords
    harmless: tuple[HarmlessComplaint, ...]


class _GuestCodec:
    """Sends what became of guests from one process to another."""

    def __init__(self) -> None:
        self._records = RecordCodec()

    def packed(self, guests: Sequence[_JudgedGuest]) -> bytes:
        """Return what is sent of some guests."""
        records = self._records.packed(guest.records for guest in guests)
        return pickle.dumps((records, [guest.cell for guest in guests], [guest.harmless for guest in guests]))

    def unpacked(self, sent: bytes) -> list[_JudgedGuest]:
        """Return the guests."""
        records, cells, harmless_complaints = pickle.loads(sent)
        columns = (cells, self._records.unpacked(records), harmless_complaints)
        return list(map(_JudgedGuest, *columns))


class _Judge:
    """What guests of a run are judged by."""

    def __init__(self, metadata: Metadata) -> None:
        self.metadata = metadata
        self.cases = metadata.declared_cases()
        self.suites = suites_of(metadata)
        self.confirming = confirm.confirming(metadata)

    def judged(self, cell: CellResult) -> _JudgedGuest:
        """Judge one guest: all that runs in its cell, or what it was to run again."""
        build = self.metadata.build(cell.topology, cell.kernel)
        release = build.release if build else ""
        known = harmless.of_release(self.metadata.kernel(cell.kernel).console_known, release)
        mine = cases_of(self.metadata, cell.key, self.cases)
        doubted = self.confirming.get((cell.topology, cell.kernel, cell.repeat))
        if doubted is not None:
            mine = confirm.only(mine, doubted)
        records = judge_cell(cell, mine, provides(self.metadata, cell.kernel), self.suites, known)
        return _JudgedGuest(cell=_quiet(cell), records=records, harmless=tuple(harmless.complaints(cell, known)))


def judged(metadata: Metadata, cell: CellResult) -> CellRecords:
    """Return what became of the cases of one guest."""
    return _Judge(metadata).judged(cell).records


def _concluded(metadata: Metadata, judged_guests: Iterable[_JudgedGuest], source: str) -> Summary:
    """Take the repeats of each cell together, and compare the kernels."""
    suites = suites_of(metadata)
    confirming = confirm.confirming(metadata)
    judged_repeats: dict[CellKey, list[CellRecords]] = {}
    again: dict[CellKey, list[CellRecords]] = {}
    judged: list[CellResult] = []
    confirmers: list[CellResult] = []
    left_out: list[HarmlessComplaint] = []
    for guest in judged_guests:
        cell = guest.cell
        left_out += guest.harmless
        if (cell.topology, cell.kernel, cell.repeat) in confirming:
            again.setdefault(cell.key, []).append(guest.records)
            confirmers.append(cell)
        else:
            judged_repeats.setdefault(cell.key, []).append(guest.records)
            judged.append(cell)
    guests = places(judged)
    by_cell = {place: _agreed(place, guests[place], repeats) for place, repeats in judged_repeats.items()}
    for place, runs in again.items():
        confirmed = confirm.applied(by_cell[place], runs, confirm.labels(confirming, place), suites)
        by_cell[place] = CellRecords.of(place, confirmed)
    by_cell = {place: CellRecords.of(place, records) for place, records in measured(by_cell, metadata).items()}
    return _summary(
        Evidence(metadata=metadata, cells=tuple(judged), source=source),
        by_cell,
        guests,
        confirmers=tuple(confirmers),
        harmless_complaints=tuple(left_out),
    )


def _agreed(place: CellKey, guests: Sequence[CellResult], repeats: Sequence[CellRecords]) -> CellRecords:
    """Return the records of a cell from those of its guests, one for each repeat."""
    if len(repeats) == 1:
        return repeats[0]
    lost: list[int] = []
    for number, guest in enumerate(guests, start=1):
        if guest.status is not CellStatus.OK and not guest.runs:
            lost.append(number)
    return CellRecords.of(place, agree(repeats, lost))


def _quiet(cell: CellResult) -> CellResult:
    """Return a cell without its guest's output while it ran programs; the end of a console that is not OK stays."""
    return cell.with_runs(CellRuns.of(cell.runs))


def _summary(
    evidence: Evidence,
    by_cell: Mapping[CellKey, CellRecords],
    guests: Mapping[CellKey, tuple[CellResult, ...]],
    *,
    confirmers: tuple[CellResult, ...],
    harmless_complaints: tuple[HarmlessComplaint, ...],
) -> Summary:
    counted = count(by_cell)
    tally = counted.tally
    odd = [verdict for verdict in tally if verdict.met is not True]
    proofs = prove(evidence.metadata)
    powerless = unproven(evidence.metadata, counted.by_kernel)
    exit_code, sentence = verdict(tally, evidence.cells, proofs, powerless)
    summary = Summary(
        evidence=evidence,
        proofs=proofs,
        exit_code=exit_code,
        sentence=sentence,
        by_cell=by_cell,
        repeats=guests,
        odd=RunRecords(by_cell.values()).chosen(odd),
        confirmers=confirmers,
        harmless=harmless_complaints,
        unproven=powerless,
        coverage=coverage.read_all(evidence.source) if evidence.source else (),
    )
    vars(summary)["counted"] = counted  # so that nothing is counted twice
    return summary


def places(cells: Iterable[CellResult]) -> dict[CellKey, tuple[CellResult, ...]]:
    """Return (topology, kernel) -> the guests of that cell, one for each repeat."""
    by_place: dict[CellKey, list[CellResult]] = {}
    for cell in cells:
        by_place.setdefault(cell.key, []).append(cell)
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


def changes(
    by_cell: Mapping[CellKey, CellRecords], metadata: Metadata, kernels: Sequence[str]
) -> Iterator[MachineChanges]:
    """Yield what changed on each machine between the first of `kernels` and each other one."""
    machines: dict[str, list[CellRecords]] = {}
    for key, records in by_cell.items():
        machines.setdefault(key.topology, []).append(records)
    own_names = metadata.suites or metadata.reports
    for topology, cells in machines.items():
        found: MachineChanges | None = None
        if not own_names and [cell.key.kernel for cell in cells] == list(kernels):
            found = _aligned_changes(topology, cells)
        if found is None:
            deltas = list(_deltas(topology, compared(chain.from_iterable(cells), metadata), kernels))
            columns = [delta.kernel for delta in deltas], [delta.change for delta in deltas]
            found = MachineChanges(topology, kernels[0], *columns)
        yield found


def _aligned_changes(topology: str, cells: Sequence[CellRecords]) -> MachineChanges | None:
    """Return what changed between the first cell and the others; None unless all have the same cases in one order."""
    baseline, *others = cells
    columns: list[list[CaseChange | None]] = []
    for cell in others:
        if len(cell) != len(baseline):
            return None
        columns.append(list(map(_change, baseline.verdicts, cell.verdicts)))
    side_by_side = list(filter(None, chain.from_iterable(zip(*columns, strict=True))))
    if len(side_by_side) != len(baseline) * len(others):
        return None
    kernels = _repeated(tuple(cell.key.kernel for cell in others), len(baseline))
    return MachineChanges(topology, baseline.key.kernel, kernels, side_by_side)


@lru_cache
def _repeated(kernels: tuple[str, ...], times: int) -> tuple[str, ...]:
    """Return the names of kernels so many times, one tuple for all machines."""
    return kernels * times


@lru_cache(maxsize=SHARED)
def _change(before: CaseVerdict, after: CaseVerdict) -> CaseChange | None:
    """Return the change between two verdicts; None if they are not of the same case."""
    if (before.scenario, before.case) != (after.scenario, after.case):
        return None
    return change_of(before.scenario, before.case, before.outcome, after.outcome)


@lru_cache(maxsize=SHARED)
def change_of(scenario: str, case: str, before: Outcome | None, after: Outcome | None) -> CaseChange:
    """Return the change of a case that all machines share."""
    return CaseChange(scenario=scenario, case=case, before=before, after=after, delta=delta_of(before, after))


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
            yield CaseDelta(topology, baseline, kernel, change_of(scenario, case, before, seen.get(kernel)))


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
    """Return the label of a boot, console or leak record -> the kernels on which its absence means a PASS.

    Such a record exists only when something is wrong, so its absence means a PASS if the scenario has a verdict.
    """
    ran: dict[str, set[str]] = {}
    for (scenario, _), records in table.items():
        for kernel, record in records.items():
            if record.outcome in SEVERITY:
                ran.setdefault(scenario, set()).add(kernel)
    found: dict[tuple[str, str], list[str]] = {}
    for (scenario, case), records in table.items():
        if case in (BOOT, CONSOLE, LEAK):
            clean = ran.get(scenario, set()) - records.keys()
            found[scenario, case] = list(filter(clean.__contains__, kernels))
    return found


# The exit code.


def verdict(
    tally: Tally,
    cells: Sequence[CellResult],
    proofs: Sequence[Proof],
    powerless: Sequence[Unproven] = (),
) -> tuple[int, str]:
    """Return the run's exit code and a sentence that explains it. A missed expectation outweighs missing evidence."""
    findings = len(powerless)
    for one, number in tally.items():
        findings += number * _is_finding(one)
    expectations = tally.total() + len(powerless)
    outcomes, statuses = _outcomes(tally), _statuses(cells)
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
    sentence = f"all {tally.total() - skipped} expectations met"
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


def _is_finding(record: CaseVerdict) -> bool:
    """Whether a record is evidence against a kernel (or a test), rather than against the lab."""
    return record.met is False and record.outcome is not Outcome.BROKEN


def _no_power(record: CaseVerdict) -> bool:
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
