# SPDX-License-Identifier: GPL-2.0-or-later
"""Judge the output of a program and its console: a verdict per case; pure.

Every declared case starts as BROKEN, "no result line". Only a complete result line, or a named end of the program,
changes that:

    end of the program              the case that was running         the cases after it
    exited without all results      BROKEN no result line             BROKEN not reached
    killed by a signal              CRASH                             BROKEN not reached
    deadline, guest answers or not  HANG                              BROKEN not reached
    panic or reboot on the console  CRASH                             BROKEN not reached
    flood, connection lost, QEMU    BROKEN                            BROKEN not reached
    lost, SSH server out of memory  CRASH                             BROKEN not reached
    the lab was stopped             BROKEN                            BROKEN not reached
    not run                         BROKEN                            BROKEN
    files damaged since             BROKEN                            BROKEN

The case that was running is the first declared one without a result line. It is a later one if the guest ended and the
console has that one's beginning (case_marks.py): the results before it were lost, and these cases are BROKEN. If there
is none (every case was reported before the program ended badly) the verdict goes to a case of its own,
`<scenario>.run`, and so does every contradiction of the run as a whole: no plan, a plan for another number of cases, an
exit status that does not fit.
Complaints of the kernel on the console for which no case can be blamed go to `<scenario>.console`, those while the
guest booted to `<scenario>.booting` of its first program. Memory that was not freed goes to `<scenario>.leak`, unless a
case reports that it keeps some. These four exist only if something is wrong.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain, islice
from operator import attrgetter
from typing import Any

from lab.core.columns import SHARED, CellRecords, shared
from lab.core.outcome import (
    BOOT_ATTEMPTS,
    Case,
    CaseRecord,
    CaseVerdict,
    Cause,
    CellResult,
    CellStatus,
    Cost,
    End,
    Expected,
    Outcome,
    Run,
    met,
)
from lab.core.untrusted import excerpt, one_line
from lab.evidence.metadata import KnownLineRecord
from lab.formats import ktap, oops
from lab.formats.complaints import Kind
from lab.formats.ktap import Flaw
from lab.verdicts import case_marks, counters, harmless, reported, suites

RUN = "run"
CONSOLE = "console"
LEAK = "leak"
BOOT = "booting"
SYNTHETIC = frozenset({RUN, BOOT, CONSOLE, LEAK})
"""Cases that exist only where something is wrong."""
MAX_UNDECLARED = 20
MAX_EXCERPT_LINES = 60

_GRAVE = frozenset({Flaw.NO_PLAN, Flaw.PLAN_REPEATED, Flaw.VERSION_REPEATED, Flaw.OVERFLOW, Flaw.ORPHANS})
"""Flaws that put the whole run in doubt; the others are only worth a line, or have words of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finding:
    """What became of one case: the outcome, why in words, and the evidence."""

    outcome: Outcome
    cause: Cause
    reason: str
    evidence: tuple[str, ...] = ()
    saw: tuple[str, ...] = ()
    cost: Cost | None = None
    reports: tuple[oops.Finding, ...] = ()
    """The kernel's reports that this case is to blame for, so that no other record needs to name them."""


_PASSED = _Finding(outcome=Outcome.PASS, cause=Cause.PASSED, reason="ok")


def judge_cell(
    cell: CellResult,
    cases: Mapping[str, Sequence[Case]],
    provides: frozenset[str],
    suites: Collection[str] = (),
    known: Sequence[KnownLineRecord] = (),
) -> CellRecords:
    """Return one record per declared case of a cell, and the synthetic ones, settled over attempts, in declared order.

    `cases` maps a scenario to its declared cases. On a guest that is INVALID or did not boot nothing counts; on a
    BROKEN cell what ran before it broke still does. Of `suites` the results within a test's own output count too.
    """
    runs: dict[str, list[Run]] = {}
    if cell.status in (CellStatus.OK, CellStatus.BROKEN):
        for run in cell.runs:
            runs.setdefault(run.scenario, []).append(run)
    verdicts: list[CaseVerdict] = []
    durations: list[float] = []
    for scenario, declared in cases.items():
        attempts = runs.get(scenario, ())
        steady: _SteadyRun | None = None
        if len(attempts) == 1 and scenario not in suites:
            steady = _judge_steady(attempts[0], declared, provides)
        if steady is None:
            within = scenario in suites
            judged = _judge_attempts(cell, attempts, declared, provides, within=within, known=known)
            steady = judged.verdicts, judged.durations
        verdicts += steady[0]
        durations += steady[1]
    records = CellRecords(cell.key, verdicts, durations)
    return records.on_host(cell.host) if cell.host else records


def _judge_attempts(
    cell: CellResult,
    attempts: Sequence[Run],
    declared: Sequence[Case],
    provides: frozenset[str],
    *,
    within: bool,
    known: Sequence[KnownLineRecord],
) -> CellRecords:
    """Return the records of one scenario of a cell, settled over attempts."""
    judged: list[CaseRecord] = []
    for run in attempts:
        judged += judge_run(cell.topology, cell.kernel, run, declared, provides, within=within, known=known)
    names = {record.case for record in judged}
    lost = [case for case in declared if case.name not in names]
    if len(attempts) > 1:
        judged = list(settle(judged))
    if lost:
        judged += _never_ran(cell, lost, provides)
    return CellRecords.of(cell.key, judged)


# A run in which nothing is odd.


_SteadyRun = tuple[Sequence[CaseVerdict], Iterable[float]]
"""The verdicts of a run, and the seconds of each."""


def _judge_steady(run: Run, declared: Sequence[Case], provides: frozenset[str]) -> _SteadyRun | None:
    """Return what `judge_run` returns for a run in which nothing is odd, in a fraction of its time; None for any other.

    Nothing is odd if every case passed, failed or was skipped, and kernel, memory and exit status agree with that.
    """
    if run.end is not End.EXITED or run.cases or run.damage or run.boot_console or oops.scan(run.console):
        return None
    has_books = run.before is not None and run.after is not None
    if has_books and (counters.taint(run.before, run.after) or counters.leaks(run.before or {}, run.after or {})):
        return None
    columns = ktap.steady(run.ktap)
    if columns is None:
        return None
    verdicts = _steady_scenario(run, declared, provides).verdicts(columns.lines, run.status)
    return (verdicts, map(_seconds_of, columns.durations_ms)) if verdicts else None


@lru_cache(maxsize=1 << 14)
def _seconds_of(milliseconds: str) -> float:
    """Convert to seconds. Cached, since many records have the same short times."""
    return int(milliseconds) / 1000


_outcome_of = attrgetter("outcome")


class _SteadyScenario:
    """The verdicts on the cases of a scenario by the lines about each, as most cells share most of their lines."""

    def __init__(self, run: Run, declared: Sequence[Case], provides: frozenset[str]) -> None:
        self.declared = declared
        self.names = [case.name for case in declared]
        self.is_plain = len(set(self.names)) == len(declared) and not any(case.sides for case in declared)
        self.expected = [case.expected(provides) for case in declared]
        self.attempt = run.attempt
        self.judgement = _Judgement(Run(scenario=run.scenario, end=End.EXITED), ())
        self.known: list[dict[str, CaseVerdict]] = [{} for _ in declared]
        """For each case: what is said about it -> the verdict."""
        self.remembered = 0

    def verdicts(self, said: Sequence[str], status: int | None) -> list[CaseVerdict] | None:
        """Return a verdict for each declared case; None unless all passed, failed or were skipped, as the status says.

        `said` has the lines about each.
        """
        if not self.is_plain or len(said) != len(self.known):
            return None
        found = list(map(dict.get, self.known, said))
        if not all(found):
            for place, lines in enumerate(said):
                found[place] = found[place] or self._verdict(place, lines)
        verdicts = list(filter(None, found))
        if len(verdicts) != len(said):
            return None
        failed = Outcome.FAIL in map(_outcome_of, verdicts)
        return verdicts if status == int(failed) else None

    def _verdict(self, place: int, lines: str) -> CaseVerdict | None:
        """Return the verdict on a case by the lines about it; None unless it passed, failed or was skipped.

        It is that of `_Judgement`, so that there is one set of rules.
        """
        result = ktap.steady_result(lines)
        if not result or (result.number, result.name) != (place + 1, self.names[place]):
            return None
        finding = self.judgement.case([result])
        if finding.outcome not in (Outcome.PASS, Outcome.FAIL, Outcome.SKIP):
            return None
        scenario = self.judgement.run.scenario
        verdict = _shared_verdict(finding, scenario, result.name, self.expected[place], self.attempt)
        self._remember(place, lines, verdict)
        return verdict

    def _remember(self, place: int, lines: str, verdict: CaseVerdict) -> None:
        if self.remembered >= SHARED:
            self.remembered = 0
            for known in self.known:
                known.clear()
        self.remembered += 1
        self.known[place][lines] = verdict


_steady_scenarios: dict[tuple[str, int, frozenset[str], int], _SteadyScenario] = {}
MAX_STEADY = 1000


def _steady_scenario(run: Run, declared: Sequence[Case], provides: frozenset[str]) -> _SteadyScenario:
    """Return what is known of a scenario's lines on a kernel. The cells of a run share one tuple of declared cases."""
    key = (run.scenario, id(declared), provides, run.attempt)
    found = _steady_scenarios.get(key)
    if found is None:
        if len(_steady_scenarios) >= MAX_STEADY:
            _steady_scenarios.clear()
        found = _SteadyScenario(run, declared, provides)  # it holds the cases, so that no others get their id
        if isinstance(declared, tuple):
            _steady_scenarios[key] = found
    return found


def judge_run(
    topology: str,
    kernel: str,
    run: Run,
    declared: Sequence[Case],
    provides: frozenset[str],
    *,
    within: bool = False,
    known: Sequence[KnownLineRecord] = (),
) -> tuple[CaseRecord, ...]:
    """Return the records of one execution: one per case that it was to run, then those about the run as a whole.

    `within`: the cases are tests of a suite, whose own results are cases too. `known`: complaints that are harmless.
    """
    asked: dict[str, Case] = {}
    expected: dict[str, Expected] = {}
    for case in declared:
        if not run.cases or case.name in run.cases:
            asked[case.name] = case
            expected[case.name] = case.expected(provides)
    judged = _Judgement(run, list(asked.values()), within=within, known=known).judged()
    records: list[CaseRecord] = []
    for name, finding in judged.findings.items():
        record = _record(
            finding,
            topology=topology,
            kernel=kernel,
            scenario=run.scenario,
            case=name,
            expected=expected.get(name, Expected.PASS),
            attempt=run.attempt,
            duration_s=judged.duration_s.get(name),
        )
        records.append(record)
    return tuple(records)


def settle(records: Iterable[CaseRecord]) -> tuple[CaseRecord, ...]:
    """Return one record per case: of several attempts the first with a verdict that is not met, else the last verdict.

    An attempt with evidence is preferred to one without (BROKEN), and one that was reached to one that was not. A crash
    that did not happen again stays a crash.
    """
    attempts: dict[tuple[str, str, str, str], list[CaseRecord]] = {}
    for record in records:
        attempts.setdefault((record.topology, record.kernel, record.scenario, record.case), []).append(record)
    return tuple(map(_decisive, attempts.values()))


def _decisive(attempts: Sequence[CaseRecord]) -> CaseRecord:
    """Return the record that counts of several attempts at a case."""
    last_verdict: CaseRecord | None = None
    for record in attempts:
        if record.outcome is not Outcome.BROKEN:
            if record.met is False:
                return record
            last_verdict = record
    if last_verdict:
        return last_verdict
    for record in attempts:
        if record.cause is not Cause.NOT_REACHED:
            return record
    return attempts[0]


def agree(repeats: Sequence[Sequence[CaseRecord]], lost: Collection[int] = ()) -> tuple[CaseRecord, ...]:
    """Return one record per case of a cell that was run several times: FLAKY if its repeats do not agree.

    A repeat without evidence (BROKEN) is no disagreement: the case is BROKEN, unless the other repeats agree on a
    verdict that is not met. `lost` has the numbers of the repeats whose guest never ran anything. The states of those
    guests and the run's exit code show that; the verdicts come from the other repeats, if there are any.
    """
    usable: list[Sequence[CaseRecord]] = []
    for number, records in enumerate(repeats, start=1):
        usable.append(() if number in lost else records)
    if not any(usable):
        usable = list(repeats)
    tables = list(map(_Repeat.of, usable))
    by_scenario: dict[str, dict[tuple[str, str], None]] = {}
    for repeat in tables:
        for scenario, case in repeat.records:
            by_scenario.setdefault(scenario, {})[scenario, case] = None
    agreed: list[CaseRecord] = []
    for labels in by_scenario.values():
        for label in labels:
            agreed.append(_agreed(label, tables))
    return tuple(agreed)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Repeat:
    """The records of one guest of several of a cell."""

    records: Mapping[tuple[str, str], CaseRecord]
    """(scenario, case) -> record."""
    ran: frozenset[str]
    """The scenarios of which anything has a verdict."""
    host: str
    """The host of a cluster; empty if it is not known, or if there were several."""

    @classmethod
    def of(cls, records: Sequence[CaseRecord]) -> _Repeat:
        by_label: dict[tuple[str, str], CaseRecord] = {}
        ran: set[str] = set()
        hosts: set[str] = set()
        for record in records:
            by_label[record.scenario, record.case] = record
            hosts.add(record.host)
            if record.outcome is not Outcome.BROKEN:
                ran.add(record.scenario)
        host = hosts.pop() if len(hosts) == 1 else ""
        return cls(records=by_label, ran=frozenset(ran), host=host)

    def is_clean(self, label: tuple[str, str]) -> bool:
        """Whether a synthetic case has no record because nothing was wrong: its scenario ran."""
        scenario, case = label
        return case in SYNTHETIC and scenario in self.ran and label not in self.records


def _agreed(label: tuple[str, str], repeats: Sequence[_Repeat]) -> CaseRecord:
    """Return the record of one case over all repeats: the first with its outcome, or FLAKY if outcomes differ."""
    numbered: dict[int, CaseRecord] = {}
    counts: Counter[Outcome] = Counter()
    by_host: dict[str, set[Outcome]] = {}
    clean = 0
    for number, repeat in enumerate(repeats, start=1):
        record = repeat.records.get(label)
        if record:
            numbered[number] = record
            counts[record.outcome] += 1
            by_host.setdefault(repeat.host, set()).add(record.outcome)
        elif repeat.is_clean(label):
            clean += 1
            by_host.setdefault(repeat.host, set()).add(Outcome.PASS)
    if clean:
        counts[Outcome.PASS] += clean
    listed = tuple(counts.most_common())
    if len(counts.keys() - {Outcome.BROKEN}) > 1:
        return _flaky(numbered, listed, _depends_on_host(by_host))
    records = list(numbered.values())
    chosen = _representative(records)
    if len(by_host) > 1:
        chosen = replace(chosen, host="")
    if chosen.cost:
        return replace(chosen, counts=listed, cost=_middle(records))
    return replace(chosen, counts=listed)


def _representative(records: Sequence[CaseRecord]) -> CaseRecord:
    """Choose one of records that agree, except BROKEN ones: one that is not met, else one that is BROKEN, else any."""
    verdict = broken = None
    for record in records:
        if record.outcome is Outcome.BROKEN:
            broken = broken or record
        else:
            verdict = verdict or record
    if verdict and verdict.met is False:
        return verdict
    return broken or verdict or records[0]


def _middle(records: Iterable[CaseRecord]) -> Cost | None:
    """Return the median of what the repeats measured; None if their units differ, or nothing was measured."""
    costs: list[Cost] = []
    units: set[str] = set()
    for record in records:
        if record.cost:
            costs.append(record.cost)
            units.add(record.cost.unit)
    if len(units) != 1:
        return None
    costs.sort(key=lambda cost: cost.median)
    return costs[(len(costs) - 1) // 2]


def _depends_on_host(by_host: Mapping[str, Collection[Outcome]]) -> tuple[tuple[str, Outcome], ...]:
    """Return each host's outcome if every host has one, and not all the same; else nothing. BROKEN is no outcome."""
    found: dict[str, Outcome] = {}
    for host, outcomes in sorted(by_host.items()):
        verdicts = set(outcomes) - {Outcome.BROKEN}
        if not host or len(verdicts) > 1:
            return ()
        if verdicts:
            found[host] = verdicts.pop()
    return tuple(found.items()) if len(set(found.values())) > 1 else ()


def _said_by_host(by_host: Sequence[tuple[str, Outcome]]) -> str:
    """Return `by host: PASS on a, c, FAIL on b; `."""
    hosts: dict[Outcome, list[str]] = {}
    for host, outcome in by_host:
        hosts.setdefault(outcome, []).append(host)
    parts = [f"{outcome} on {', '.join(names)}" for outcome, names in hosts.items()]
    return f"by host: {', '.join(parts)}; " if parts else ""


def _flaky(
    numbered: Mapping[int, CaseRecord],
    counts: tuple[tuple[Outcome, int], ...],
    by_host: tuple[tuple[str, Outcome], ...],
) -> CaseRecord:
    """Return the record of a case whose repeats do not agree, with the first repeat of each outcome as evidence."""
    numbers = ", ".join(f"{number} {outcome}" for outcome, number in counts)
    lines = [f"{_said_by_host(by_host)}repeats do not agree: {numbers}"]
    first: dict[Outcome, int] = {}
    for number, record in numbered.items():
        first.setdefault(record.outcome, number)
    for outcome, number in first.items():
        record = numbered[number]
        where = f" on {record.host}" if record.host else ""
        lines += [f"{outcome} in repeat {number}{where}: {record.reason}", *record.excerpt.split("\n")[1:20]]
    return replace(
        next(iter(numbered.values())),
        outcome=Outcome.FLAKY,
        cause=Cause.FLAKY,
        met=False,
        counts=counts,
        excerpt=excerpt(lines, max_lines=MAX_EXCERPT_LINES),
        host="",
        by_host=by_host,
    )


def _never_ran(cell: CellResult, declared: Sequence[Case], provides: frozenset[str]) -> list[CaseRecord]:
    """Return the records of a scenario that was never started in this cell."""
    reason, cause = _why_never(cell), cause_of(cell)
    finding = _Finding(outcome=Outcome.BROKEN, cause=cause, reason=reason, evidence=cell_evidence(cell))
    records: list[CaseRecord] = []
    for case in declared:
        record = _record(
            finding,
            topology=cell.topology,
            kernel=cell.kernel,
            scenario=case.scenario,
            case=case.name,
            expected=case.expected(provides),
            attempt=1,
        )
        records.append(record)
    return records


def cause_of(cell: CellResult) -> Cause:
    """Return why cases of a cell could not be run."""
    known = {CellStatus.INVALID: Cause.INVALID, CellStatus.NO_BOOT: Cause.NO_BOOT, CellStatus.OK: Cause.INTERRUPTED}
    return known.get(cell.status, cell.cause)


def _why_never(cell: CellResult) -> str:
    why = "; ".join(map(str, cell.mismatches)) or cell.why
    state = {
        CellStatus.OK: "never started in this guest",
        CellStatus.INVALID: "not the machine that was asked for",
        CellStatus.NO_BOOT: "the kernel did not boot",
        CellStatus.BROKEN: "the lab failed",
    }[cell.status]
    return ": ".join(filter(None, ("not run", state, why)))


def cell_evidence(cell: CellResult) -> tuple[str, ...]:
    """Return evidence of a cell that is not OK: reports on its console, else the rest of its reason, else its end."""
    if reports := _reports(oops.scan(cell.console, boots=BOOT_ATTEMPTS)):
        return reports
    if lines := [line for line in cell.reason.split("\n")[1:] if line.strip()]:
        return tuple(lines[:MAX_EXCERPT_LINES])
    if cell.console.strip():
        return ("console ended with:", *oops.tail(cell.console))
    return ()


def _record(
    finding: _Finding,
    *,
    topology: str,
    kernel: str,
    scenario: str,
    case: str,
    expected: Expected,
    attempt: int,
    duration_s: float | None = None,
) -> CaseRecord:
    known = _known(finding, scenario, case, expected, attempt)
    return CaseRecord(topology=topology, kernel=kernel, duration_s=duration_s, **known)


def _shared_verdict(finding: _Finding, scenario: str, case: str, expected: Expected, attempt: int) -> CaseVerdict:
    """Return the verdict of a finding that all cells share."""
    return shared(CaseVerdict(**_known(finding, scenario, case, expected, attempt)))


def _known(finding: _Finding, scenario: str, case: str, expected: Expected, attempt: int) -> dict[str, Any]:
    """Return what a verdict and a record know of a case by a finding."""
    return {
        "scenario": scenario,
        "case": case,
        "outcome": finding.outcome,
        "expected": expected,
        "met": met(finding.outcome, expected),
        "attempt": attempt,
        "cause": finding.cause,
        "excerpt": _excerpt(finding.reason, finding.evidence),
        "saw": finding.saw,
        "cost": finding.cost,
    }


@lru_cache(maxsize=1 << 10)
def _excerpt(reason: str, evidence: tuple[str, ...]) -> str:
    """Return a record's excerpt. It is cached, since most records of a campaign share a few excerpts."""
    reason = one_line(reason, 400)
    others = [line for line in evidence if line.strip() not in ("", reason)]
    return excerpt([reason, *others], max_lines=MAX_EXCERPT_LINES)


@lru_cache(maxsize=1 << 14)
def _seconds(milliseconds: float) -> float:
    """Convert to seconds. Cached, since many records have the same short times and can share one number."""
    return milliseconds / 1000


_ENDS = {
    End.DEADLINE: (
        Outcome.HANG,
        Cause.TEST_HANG,
        "deadline: the program still ran {when} ({duration:.1f} s), in a guest that still answered",
    ),
    End.UNRESPONSIVE: (
        Outcome.HANG,
        Cause.KERNEL_HANG,
        "deadline: the guest did not answer any more {when} ({duration:.1f} s)",
    ),
    End.SIGNALLED: (Outcome.CRASH, Cause.SIGNAL, "the program was killed by SIG{signal} {when}"),
    End.FLOODED: (Outcome.BROKEN, Cause.FLOOD, "flood: the program wrote more than the lab keeps {when}"),
    End.LOST: (Outcome.BROKEN, Cause.SSH_LOST, "the SSH connection was lost {when}"),
    End.QEMU_DEAD: (Outcome.BROKEN, Cause.QEMU_DEAD, "the emulator's process ended {when}"),
    End.INTERRUPTED: (Outcome.BROKEN, Cause.INTERRUPTED, "the lab was stopped {when}"),
}


# Signals of one number on every architecture; the others go by their number.
_SIGNALS = {1: "HUP", 2: "INT", 3: "QUIT", 4: "ILL", 5: "TRAP", 6: "ABRT", 8: "FPE", 9: "KILL", 11: "SEGV", 15: "TERM"}


def _as_signalled(run: Run) -> Run:
    """Return a run whose exit status 128 + N, by which a shell reports signal N, is that signal again."""
    number = (run.status or 0) - 128
    if run.end is not End.EXITED or not 0 < number <= 64:
        return run
    return replace(run, end=End.SIGNALLED, status=None, signal=_SIGNALS.get(number, f"NAL {number}"))


CAUSE_OF: Mapping[Kind, Cause] = {
    Kind.PANIC: Cause.PANIC,
    Kind.REBOOT: Cause.REBOOT,
    Kind.OOPS: Cause.OOPS,
    Kind.BUG: Cause.BUG,
    Kind.KASAN: Cause.KASAN,
    Kind.UBSAN: Cause.UBSAN,
    Kind.LOCKDEP: Cause.LOCKDEP,
    Kind.HARD_LOCKUP: Cause.HARD_LOCKUP,
    Kind.SOFT_LOCKUP: Cause.SOFT_LOCKUP,
    Kind.RCU_STALL: Cause.RCU_STALL,
    Kind.HUNG_TASK: Cause.HUNG_TASK,
    Kind.WARNING: Cause.WARNING,
    Kind.FAULT_OOM: Cause.FAULT_OOM,
    Kind.OOM_KILL: Cause.OOM_KILL,
    Kind.CONTAINED_OOM: Cause.CONTAINED_OOM,
}
"""The cause of a verdict that a report of the kernel is."""


def _rank(report: oops.Finding) -> int:
    return suites.WORST_FIRST.index(CAUSE_OF[report.kind])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """What became of the cases of a run."""

    findings: Mapping[str, _Finding]
    duration_s: Mapping[str, float] = field(default_factory=dict)
    """The cases that report how long they took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unreported:
    """What became of the declared cases without a result line, and of RUN if the run ended badly after all of them."""

    findings: Mapping[str, _Finding] = field(default_factory=dict)
    has_victim: bool = False
    """Whether one of them is to blame for the kernel's death."""


class _Judgement:
    """One run against its declared cases."""

    def __init__(
        self, run: Run, declared: Collection[Case], *, within: bool = False, known: Sequence[KnownLineRecord] = ()
    ) -> None:
        self.within = within
        self.run = run = _as_signalled(run)
        self.declared = [case.name for case in declared]
        self.of_reports = {case.name: case for case in declared if case.sides}
        self.document = ktap.parse(run.ktap)
        if within:
            self.document = suites.adopted(self.document)
        self.has_harmless = False
        """Whether complaints were left out, which may have tainted the kernel."""
        self.victims: list[oops.Finding] = []
        """The OOM killer's reports."""
        self.reports: list[oops.Finding] = []
        """The reports that count against the kernel."""
        self.reports_of_boot = [
            report
            for report in oops.scan(run.boot_console, boots=BOOT_ATTEMPTS)
            if not report.kind.provoked and harmless.reason_of(report, known) is None
        ]
        """The same, of the guest's boot before its first program."""
        for report in oops.scan(run.console):
            if harmless.reason_of(report, known) is not None:
                self.has_harmless = True
                continue
            if report.kind in _OOM_KILLS:
                self.victims.append(report)
            if not report.kind.provoked:
                self.reports.append(report)

    def judged(self) -> _Judged:
        """Return declared cases in their order, then undeclared ones; then RUN, CONSOLE, BOOT and LEAK where needed."""
        if self.run.damage:
            return self._all_broken(Cause.DAMAGED, f"the evidence is damaged: {self.run.damage}")
        if self.run.end is End.NOT_RUN:
            return self._all_broken(Cause.NO_GUEST, f"not run: {self.run.note or 'no reason given'}")
        results: dict[str, list[ktap.Result]] = {}
        for result in self.document.results:
            results.setdefault(result.name, []).append(result)
        missing = [name for name in self.declared if name not in results]
        unreported = self._unreported(missing)
        findings: dict[str, _Finding] = {}
        for name in self.declared:
            if name in results:
                findings[name] = self.case(self._explained(results[name]))
            else:
                findings[name] = unreported.findings[name]
        if self.within:
            findings |= self._within_tests(results, missing)
        findings |= self._undeclared({name: results[name] for name in results if name not in findings})
        findings |= unreported.findings
        if RUN not in unreported.findings:
            findings |= self._contradictions(missing)
        if not unreported.has_victim:
            findings |= self._console(findings.values())
        findings |= self._boot()
        findings |= self._leak(findings)
        return _Judged(findings=findings, duration_s=self._durations(results))

    def _within_tests(
        self, results: Mapping[str, Sequence[ktap.Result]], missing: Sequence[str]
    ) -> dict[str, _Finding]:
        """Return what became of the results that the tests of a suite printed themselves."""
        findings: dict[str, _Finding] = {}
        for name in self.declared:
            for result in results.get(name, ())[:1]:
                findings |= self._nested(name, result.children)
        for name in missing[:1]:  # the test whose results came and its own did not
            findings |= self._nested(name, self.document.orphans)
        return findings

    def _nested(self, name: str, children: Sequence[ktap.Result]) -> dict[str, _Finding]:
        nested = suites.nested(name, children)
        return {label: self.case([suites.explained(child)]) for label, child in nested}

    def _explained(self, results: Sequence[ktap.Result]) -> Sequence[ktap.Result]:
        if not self.within:
            return results
        return list(map(suites.explained, results))

    def _durations(self, results: Mapping[str, Sequence[ktap.Result]]) -> dict[str, float]:
        """Return the times of declared cases that report one, on their only result line."""
        durations: dict[str, float] = {}
        for name in self.declared:
            lines = results.get(name, ())
            if len(lines) == 1 and (duration := lines[0].duration_ms) is not None:
                durations[name] = _seconds(duration)
        return durations

    def _all_broken(self, cause: Cause, reason: str) -> _Judged:
        broken = _Finding(outcome=Outcome.BROKEN, cause=cause, reason=reason)
        return _Judged(findings=dict.fromkeys(self.declared, broken))

    # Result lines.

    def case(self, results: Sequence[ktap.Result]) -> _Finding:
        """Return the verdict of a case from its result line."""
        first = results[0]
        plain = first.name not in self.of_reports and not first.diagnostics
        if first.ok and not first.directive and plain and len(results) == 1:
            return _PASSED
        if len(results) > 1:
            lines = ", then ".join(map(_as_printed, results[:4]))
            why = f"{len(results)} result lines for one case: {lines}"
            return _Finding(outcome=Outcome.BROKEN, cause=Cause.CONTRADICTION, reason=why)
        if first.ok and not first.directive and first.name in self.of_reports:
            outcome, cause, reason = reported.verdict(self.of_reports[first.name], first.diagnostics)
            return _Finding(outcome=outcome, cause=cause, reason=reason, evidence=first.diagnostics)
        saw, costs, evidence = _findings_in(first.diagnostics)
        outcome, cause, reason = _verdict(first, evidence)
        cost: Cost | None = None
        if outcome is Outcome.PASS:
            cost = _cost(costs, first.name)
        blamed: tuple[oops.Finding, ...] = ()
        if cause is Cause.SIGNAL:
            cause, blamed = self._killer(reason)
        if outcome in (Outcome.CRASH, Outcome.HANG):
            evidence = (*evidence, *_reports(self._beside(cause)))
        return _Finding(
            outcome=outcome, cause=cause, reason=reason, evidence=evidence, saw=saw, cost=cost, reports=blamed
        )

    def _killer(self, reason: str) -> tuple[Cause, tuple[oops.Finding, ...]]:
        """Return the cause of a deadly signal: a fault of the kernel, the OOM killer, or a process that sent it.

        With it come the OOM killer's reports that the case is to blame for.
        """
        for report in self.reports:
            if report.kind in _KILL_TASKS:
                return CAUSE_OF[report.kind], ()
        mine = tuple(report for report in self.victims if f"({self.run.scenario[:15]})" in report.title)
        if not mine or "signal=9 " not in reason:
            return Cause.SIGNAL, ()
        return CAUSE_OF[mine[0].kind], mine

    def _beside(self, cause: Cause) -> list[oops.Finding]:
        """Return the kernel's reports that may belong to a case: no kills of other processes by the OOM killer."""
        if cause in (Cause.OOM_KILL, Cause.CONTAINED_OOM):
            return self.victims
        return [report for report in self.reports if report.kind not in _OOM_KILLS]

    def _undeclared(self, results: Mapping[str, Sequence[ktap.Result]]) -> dict[str, _Finding]:
        """Return the results of undeclared cases, which another process or another program printed."""
        findings: dict[str, _Finding] = {}
        for name, (first, *_) in islice(results.items(), MAX_UNDECLARED):
            findings[one_line(name, 80) or "(no name)"] = _Finding(
                outcome=Outcome.BROKEN,
                cause=Cause.CONTRADICTION,
                reason=f"not declared: the program reports a case that its --list does not have: {_as_printed(first)}",
                evidence=first.diagnostics,
            )
        if len(results) > MAX_UNDECLARED:
            more = f"{len(results) - MAX_UNDECLARED} more results of cases that were not declared"
            findings["(more)"] = _Finding(outcome=Outcome.BROKEN, cause=Cause.CONTRADICTION, reason=more)
        return findings

    # Missing result lines.

    def _unreported(self, missing: Sequence[str]) -> _Unreported:
        """Return verdicts for declared cases without a result, or for RUN if the run ended badly after all results."""
        plan = self.document.plan
        if missing and plan and plan.skip is not None and plan.count == 0 and self._ended_well():
            why = plan.skip or "the program skipped all of its cases"
            skip = _Finding(outcome=Outcome.SKIP, cause=Cause.SKIPPED, reason=why)
            return _Unreported(findings=dict.fromkeys(missing, skip))
        if not missing and self._ended_well():
            return _Unreported()
        culprit = case_marks.was_running(self.run, missing) if missing else RUN
        blamed = self._culprit(culprit)
        findings = {culprit: blamed}
        cause, words = Cause.NO_RESULT, "its result was lost with the guest"
        for name in missing:
            if name == culprit:
                cause, words = Cause.NOT_REACHED, "not reached"
                continue
            reason = f"{words}: {culprit}: {blamed.reason}"
            findings[name] = _Finding(outcome=Outcome.BROKEN, cause=cause, reason=reason)
        has_victim = blamed.outcome is Outcome.CRASH and self._deadly() is not None
        return _Unreported(findings=findings, has_victim=has_victim)

    def _ended_well(self) -> bool:
        return self.run.end is End.EXITED and self.run.status in (0, 1) and not self._deadly()

    def _deadly(self) -> oops.Finding | None:
        """Return the first report of the kernel's death; None if it did not die."""
        for report in self.reports:
            if report.kind.deadly:
                return report
        return None

    def _culprit(self, culprit: str) -> _Finding:
        """Return the finding for the case that was running when the run ended, from how it ended."""
        outcome, cause, words = self._end(culprit)
        reports: tuple[oops.Finding, ...] = ()
        if cause is Cause.SIGNAL and self.run.signal == "KILL":
            cause, reports = self._killer("signal=9 ")
        return _Finding(outcome=outcome, cause=cause, reason=words, evidence=self._last_words(), reports=reports)

    def _end(self, culprit: str) -> tuple[Outcome, Cause, str]:
        """Return how the run ended: an outcome, its cause, and words for the case that was running."""
        run, dead = self.run, self._deadly()
        when = "after its last result" if culprit == RUN else self._while()
        note = f"; {run.note}" if run.note else ""
        if dead:
            words = f"the kernel died {when}: {dead}{self._before(dead)}{note}"
            return Outcome.CRASH, CAUSE_OF[dead.kind], words
        if run.end is End.PANIC:
            return Outcome.CRASH, Cause.PANIC, f"the kernel died {when}: panic{note}"
        if run.end is End.EXITED:
            return Outcome.BROKEN, Cause.NO_RESULT, f"{self._exit_words(culprit)}{note}"
        if run.end is End.LOST and (victim := self._killed_server()):
            words = f"the guest's SSH server fell to the OOM killer {when}: {victim}{note}"
            return Outcome.CRASH, Cause.OOM_KILL, words
        outcome, cause, words = _ENDS[run.end]
        return outcome, cause, words.format(when=when, signal=run.signal or "?", duration=run.duration_s) + note

    def _killed_server(self) -> oops.Finding | None:
        """Return the OOM killer's report that it killed the SSH server; None if it did not."""
        for victim in self.victims:
            if f"({SSH_SERVER})" in victim.title:
                return victim
        return None

    def _before(self, dead: oops.Finding) -> str:
        """Return words for the kernel's first complaint before it died; empty if there was none."""
        first = min(self.reports, key=lambda report: report.line)
        if first.line >= dead.line:
            return ""
        return f", after {first}"

    def _while(self) -> str:
        return "while this case ran" if self.document.plan else "before its plan line"

    def _exit_words(self, culprit: str) -> str:
        """Return words for a program that exited without all results, or with all of them and an impossible status."""
        document, status = self.document, self.run.status
        ended = "ended without an exit status" if status is None else f"exited with status {status}"
        if culprit == RUN:
            return f"every case has a result, but the program {ended}"
        if document.bail_out:
            return f"no result line: the program gave up: {document.bail_out.reason or 'no reason given'}"
        if not document.plan:
            return f"no result line: the program {ended} and printed no plan line"
        if document.has(Flaw.TRUNCATED):
            return f"no result line: the output breaks off in the middle of a line, and the program {ended}"
        return f"no result line: the program {ended} after {len(document.results)} of {document.plan.count} results"

    def _last_words(self) -> tuple[str, ...]:
        """Return the evidence of a bad end: the last lines of the case, of stderr and of the kernel."""
        stderr = [f"stderr: {line}" for line in self.run.stderr.splitlines()[-6:]]
        console = _reports(self.reports)
        late = self.run.end in (End.DEADLINE, End.UNRESPONSIVE)  # what is blocked was shown last
        if (late or not console) and self.run.end is not End.EXITED and self.run.console.strip():
            ended = oops.states(self.run.console) or oops.tail(self.run.console)
            console = (*console, "console ended with:", *ended)
        return (*self.document.trailing[-10:], *stderr, *console)

    # The run as a whole.

    def _contradictions(self, missing: Sequence[str]) -> dict[str, _Finding]:
        """Return RUN, BROKEN, if the stream contradicts itself, its exit status or what was declared."""
        grave = _GRAVE
        if self.within:
            grave = frozenset({Flaw.OVERFLOW})  # a suite's tests may nest their output in any way
        wrong: list[str] = []
        others: list[str] = []
        for defect in self.document.defects:
            if defect.flaw in grave:
                wrong.append(str(defect))
            elif defect.flaw not in _GRAVE:
                others.append(str(defect))
        wrong += self._wrong_plan()
        if self.run.end is End.EXITED and not missing:
            wrong += self._wrong_status()
        if not wrong:
            return {}
        evidence = (*wrong[1:], *others)
        return {RUN: _Finding(outcome=Outcome.BROKEN, cause=Cause.CONTRADICTION, reason=wrong[0], evidence=evidence)}

    def _wrong_plan(self) -> list[str]:
        plan, count = self.document.plan, len(self.declared)
        if not plan or plan.count == count or plan.skip is not None:
            return []
        return [f"the plan is for {plan.count} cases, {count} were {'asked for' if self.run.cases else 'declared'}"]

    def _wrong_status(self) -> list[str]:
        """Return a contradiction between the exit status and the result lines; empty if there is none."""
        failed = sum(not result.ok and result.directive not in ktap.NO_VERDICT for result in self.document.results)
        status = self.run.status
        if status == min(failed, 1) or not self._ended_well():
            return []  # a bad end without missing results is RUN's already
        return [f"exit status {status} does not fit the results: {failed} not ok"]

    def _console(self, cases: Iterable[_Finding]) -> dict[str, _Finding]:
        """Return CONSOLE for a complaint or a taint that no case is to blame for, or if there may have been one."""
        taint = counters.taint(self.run.before, self.run.after)
        blamed: set[oops.Finding] = set()
        for case in cases:
            blamed.update(case.reports)
        reports = [report for report in self.reports if report not in blamed]
        if not (reports or taint) or (self.has_harmless and not reports):
            return self._dropped()
        if not reports:
            reason = f"the kernel was tainted during {self.run.scenario} ({taint}), without a word on the console"
            finding = _Finding(outcome=Outcome.CRASH, cause=Cause.TAINT, reason=reason, evidence=self._tainted())
            return {CONSOLE: finding}
        # Of a suite the worst: a complaint that the kernel compared with has too must not hide another.
        first = reports[0]
        if self.within:
            first = min(reports, key=_rank)
        name = case_marks.at_line(self.run, first.line)
        during = f"{self.run.scenario}.{name}" if name else self.run.scenario
        return {CONSOLE: _complained(f"during {during}", first, reports, self._tainted())}

    def _dropped(self) -> dict[str, _Finding]:
        """Return CONSOLE, BROKEN, if messages of the kernel are not on the console."""
        lost = oops.dropped(self.run.console)
        if not lost:
            return {}
        reason = f"{lost} messages of the kernel did not reach the console; a complaint may be among them"
        return {CONSOLE: _Finding(outcome=Outcome.BROKEN, cause=Cause.FLOOD, reason=reason)}

    def _boot(self) -> dict[str, _Finding]:
        """Return BOOT, CRASH, if the kernel complained while the guest booted whose first program this is."""
        reports = self.reports_of_boot
        return {BOOT: _complained("while it booted", reports[0], reports)} if reports else {}

    def _tainted(self) -> tuple[str, ...]:
        """Return the lines of cases which report that the kernel was tainted while they ran."""
        found: list[str] = []
        for result in self.document.results:
            for line in result.diagnostics:
                if line.startswith("taint:"):
                    found.append(f"{one_line(result.name, 80)}: {line}")
        return tuple(found)

    def _leak(self, findings: Mapping[str, _Finding]) -> dict[str, _Finding]:
        """Return LEAK if memory was not freed and no case reports that it keeps some."""
        if self.run.before is None or self.run.after is None:
            return {}
        lost = counters.leaks(self.run.before, self.run.after)
        if not lost or any(finding.outcome is Outcome.LEAK for finding in findings.values()):
            return {}
        reason = f"left behind by {self.run.scenario}: {'; '.join(lost)}"
        moved: list[str] = []
        for name, was in self.run.before.items():
            moved.append(f"{name}: {was} -> {self.run.after.get(name)}")
        return {LEAK: _Finding(outcome=Outcome.LEAK, cause=Cause.LEAK, reason=reason, evidence=tuple(moved))}


SSH_SERVER = "dropbear"
_OOM_KILLS = (Kind.OOM_KILL, Kind.CONTAINED_OOM)
_KILL_TASKS = (Kind.KASAN, Kind.OOPS, Kind.BUG)
"""Reports after which the kernel ends the task that caused them."""
_NO_RESULT = {
    "TIMEOUT": (Outcome.HANG, Cause.TEST_HANG, "time-out of the case"),
    "CRASH": (Outcome.CRASH, Cause.SIGNAL, "killed"),
    "ERROR": (Outcome.BROKEN, Cause.SET_UP, "set-up failed"),
    "LEAK": (Outcome.LEAK, Cause.LEAK, "left behind"),
}


def _verdict(result: ktap.Result, said: Sequence[str]) -> tuple[Outcome, Cause, str]:
    """Return outcome, cause and words of one result line. `said`: its diagnostics that are no findings."""
    directive, reason = result.directive, result.reason
    if directive == "SKIP":
        return Outcome.SKIP, Cause.SKIPPED, reason or "no reason given"
    if directive in ktap.NO_VERDICT:
        return Outcome.SKIP, Cause.SKIPPED, f"{directive}: {reason}" if reason else directive
    if directive in _NO_RESULT:
        outcome, cause, words = _NO_RESULT[directive]
        if result.ok:
            return Outcome.BROKEN, Cause.CONTRADICTION, f"contradiction: {_as_printed(result)}"
        if directive == "TIMEOUT" and _UNKILLABLE.search(reason):
            cause = Cause.UNKILLABLE
        return outcome, cause, f"{words}: {reason}" if reason else words
    if result.ok:
        return Outcome.PASS, Cause.PASSED, "ok"
    return Outcome.FAIL, Cause.FAILED, _assertion(said) or "not ok"


_SAW = re.compile(r"saw((?: [A-Za-z][\w+=-]{0,31}){1,8})", re.ASCII)
_COST = re.compile(
    r"cost (?P<name>\w+) (?P<median>\d{1,15}) (?P<unit>instructions|ns)"
    r" \((?P<low>\d{1,15})-(?P<high>\d{1,15}) in (?P<rounds>\d{1,6}) rounds\)",
    re.ASCII,
)
"""Lines of lab.h and lab_cost.h."""


def _findings_in(diagnostics: Sequence[str]) -> tuple[tuple[str, ...], list[re.Match[str]], tuple[str, ...]]:
    """Return what a case saw, what it measured, and its other lines. If there are several `saw` lines, none counts."""
    saw: list[str] = []
    costs: list[re.Match[str]] = []
    others: list[str] = []
    for line in diagnostics:
        if match := _SAW.fullmatch(line):
            saw.append(match[1])
        elif measured := _COST.fullmatch(line):
            costs.append(measured)
        else:
            others.append(line)
    seen: tuple[str, ...] = ()
    if len(saw) == 1:
        seen = tuple(saw[0].split())
    return seen, costs, tuple(others)


def _cost(matches: Sequence[re.Match[str]], name: str) -> Cost | None:
    """Return what a case measured; None unless it is one line with its own name and plausible numbers."""
    if len(matches) != 1 or matches[0]["name"] != name:
        return None
    median, low, high, rounds = map(int, matches[0].group("median", "low", "high", "rounds"))
    if not 0 < low <= median <= high or not rounds:
        return None
    return Cost(median=median, low=low, high=high, rounds=rounds, unit=matches[0]["unit"])


_UNKILLABLE = re.compile(r"state=\S* unkillable\b")
"""lab.h's words for a process that its SIGKILL did not end."""


def _assertion(diagnostics: Sequence[str]) -> str:
    """Return the line that shows what failed: the first with a source line's number, else the harness's last."""
    own = [line for line in diagnostics if not line.startswith("|")]  # `| ` is what the case itself printed
    for line in own:
        if _SOURCE_LINE.search(line):
            return line
    return "".join(own[-1:])


_SOURCE_LINE = re.compile(r"\w\.[ch]:\d+")


def _as_printed(result: ktap.Result) -> str:
    """Return the result line in short, as the program printed it."""
    status = "ok" if result.ok else "not ok"
    line = f"{status} {one_line(result.name, 60)}"
    if result.directive:
        line = f"{line} # {result.directive} {one_line(result.reason, 60)}".rstrip()
    return line


def _complained(
    when: str, first: oops.Finding, reports: Sequence[oops.Finding], tainted: Sequence[str] = ()
) -> _Finding:
    """Return a CRASH for which no case is to blame: the report that names it, and all of them as evidence."""
    reason = f"the kernel complained {when}: {first}"
    if len(reports) > 1:
        reason += f" (in all: {_counted_kinds(reports)})"
    evidence = (*tainted, *_reports(reports))
    return _Finding(outcome=Outcome.CRASH, cause=CAUSE_OF[first.kind], reason=reason, evidence=evidence)


def _counted_kinds(reports: Iterable[oops.Finding]) -> str:
    """Return `2 warning, 1 KASAN`: how many reports there are of each kind."""
    kinds: Counter[str] = Counter()
    for report in reports:
        kinds[str(report.kind)] += 1
    return ", ".join(f"{count} {kind}" for kind, count in kinds.items())


def _reports(reports: Iterable[oops.Finding]) -> tuple[str, ...]:
    """Return the lines of the console's first reports, under a heading for each: the first is the likely cause."""
    first = sorted(reports, key=lambda report: report.line)[:4]
    return tuple(chain.from_iterable(map(_report_lines, first)))


def _report_lines(report: oops.Finding) -> tuple[str, ...]:
    """Return the lines of one report, after its stack by the functions that the guest's kernel names.

    The lines in the source are missing: they need debug information, with which no kernel is built here. System.map has
    no more symbols than the guest (KALLSYMS).
    """
    lines = [f"console, {report.kind}:"]
    if len(report.stack) > 1 and report.kind not in _OOM_KILLS:  # the stack of every OOM kill is the same
        lines.append(f"  stack: {' < '.join(report.stack)}")
    for line in report.lines:
        lines.append(f"  {line}")
    return tuple(lines)
