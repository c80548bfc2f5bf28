# SPDX-License-Identifier: GPL-2.0-or-later
"""Judge results of other projects' suites: name and explain them, and compare each case with the baseline's."""

from __future__ import annotations

import re
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain

from lab.core.outcome import CaseRecord, CaseVerdict, Cause, CellKey, Expected, Outcome, met
from lab.evidence.metadata import Metadata
from lab.formats.ktap import NO_VERDICT, NOTHING_PLANNED, KtapDocument, Result
from lab.specs.suite import MAX_NAME
from lab.verdicts import not_built

MAX_NAMED = 4


# Lines around the output of a test that have no information.
_NOISE = re.compile(r"|\[(?:PASS|FAIL|SKIP)\]|(?:SUMMARY|Totals):.*|-\S*")
_BEGINS = re.compile(r"(?:running|selftests:) \S.*")
"""The headings of run_vmtests.sh and run_kselftest.sh; the lines before them do not belong to the test."""
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_SKIP = re.compile(r"^.*?\b(?:SKIP|TCONF)\b[\s:]*")
_FAILED = re.compile(r"(?!\|).*\b(?:TFAIL|TBROK)\b")
"""A line in which LTP reports a failure. The lines of the lab's own driver begin with `| `."""


def nested(case: str, children: Iterable[Result]) -> Iterator[tuple[str, Result]]:
    """Yield the results that a test printed itself, of every depth, with the name of their case: `test/result`.

    A result is named by its name, or by its number if it has no name or shares it: a test may print the reason of a
    skip or a failure in place of the name. That name becomes the last line of its diagnostics then. What would have the
    name of an earlier result, as where a test runs several programs that count from 1, gets `(2)` behind it.
    """
    taken: Counter[str] = Counter()
    for label, result in _nested(case, children):
        taken[label] += 1
        yield (f"{label} ({taken[label]})" if taken[label] > 1 else label), result


def _nested(case: str, children: Iterable[Result]) -> Iterator[tuple[str, Result]]:
    results = list(children)
    counts = Counter(_plain(child.name) for child in results)
    for place, child in enumerate(results, start=1):
        name = _plain(child.name)
        own, result = name, child
        if not name or counts[name] > 1:
            own = str(child.number or place)
            if name:
                result = replace(child, diagnostics=(*child.diagnostics, name))
        yield f"{case}/{own}", result
        yield from _nested(f"{case}/{own}", child.children)


def adopted(document: KtapDocument) -> KtapDocument:
    """Return a suite's stream, with nested results that have no parent as results of the test that printed them.

    A test may run several programs, each with a document of its own at the same level. Results after the last test's
    stay orphans.
    """
    left = sorted(document.orphans, key=lambda orphan: orphan.line)
    results: list[Result] = []
    for result in document.results:
        count = bisect(left, result.line, key=lambda orphan: orphan.line)
        children = (*left[:count], *result.children)
        del left[:count]
        results.append(replace(result, children=children) if count else result)
    return replace(document, results=tuple(results), orphans=tuple(left))


def explained(result: Result) -> Result:
    """Return the result with its reason in front: the words of a skip, or the results within it that fail."""
    lines = _own_words(result)
    if result.ok and not result.directive and not result.children and (reason := _nothing_planned(lines)):
        return replace(result, directive="SKIP", reason=reason, diagnostics=lines)
    if result.directive == "SKIP" and not result.reason:
        return replace(result, reason=_skip_reason(result, lines), diagnostics=lines)
    if not result.ok and (heading := _failed_within(result) or _failed_line(lines)):
        lines = (heading, *(f"| {line}" for line in lines))
    return replace(result, diagnostics=lines)


def _nothing_planned(lines: Iterable[str]) -> str:
    """Return why a test planned no results (`1..0 # SKIP reason`); empty if it did not say that."""
    for line in lines:
        if line.startswith(NOTHING_PLANNED):
            return line.removeprefix(NOTHING_PLANNED)
    return ""


def _skip_reason(result: Result, lines: Sequence[str]) -> str:
    """Return why a test skips: the reason of the first result within it that skips, else its last line about it."""
    for child in result.children:
        if child.directive == "SKIP" and (reason := explained(child).reason):
            return reason
    last = about = ""
    for line in lines:
        if not line.startswith("|"):
            last = line
            if "SKIP" in line or "TCONF" in line:
                about = line
    return _SKIP.sub("", about or last)


def _failed_within(result: Result) -> str:
    """Return words for the results within a test that fail; empty if none does."""
    bad: list[str] = []
    for child in result.children:
        if not child.ok and child.directive not in NO_VERDICT:
            bad.append(_plain(child.name) or str(child.number))
    if not bad:
        return ""
    names = list(dict.fromkeys(bad))
    listed = ", ".join(names[:MAX_NAMED])
    if len(names) > MAX_NAMED:
        listed += ", ..."
    return f"{len(bad)} of {len(result.children)} results in it are not ok: {listed}"


def _failed_line(lines: Iterable[str]) -> str:
    """Return the first line in which LTP reports a failure; empty if there is none."""
    return next(filter(_FAILED.match, lines), "")


def _own_words(result: Result) -> tuple[str, ...]:
    """Return the lines of a test itself; if it printed none, what its runner put behind its name: `exit=137`."""
    lines = map(str.strip, result.diagnostics)
    own: list[str] = []
    for line in lines:
        if _BEGINS.fullmatch(line):
            own.clear()
        elif not _NOISE.fullmatch(line):
            own.append(line)
    _, _, appended = result.name.partition(" # ")
    return tuple(own or filter(None, [appended.strip()]))


def _plain(name: str) -> str:
    """Return a result's name without what changes from run to run: its exit status, addresses."""
    return re.sub(r"0x[0-9a-fA-F]{5,}", "0x…", name.partition(" # ")[0].strip())[:MAX_NAME]


SEVERITY = {Outcome.PASS: 0, Outcome.FAIL: 1, Outcome.LEAK: 2, Outcome.HANG: 3, Outcome.CRASH: 4}
"""How bad a verdict is; SKIP, FLAKY and BROKEN are not verdicts on a kernel."""


WORST_FIRST = tuple(Cause)
"""The causes of crashes and hangs are declared in this order."""


CaseTable = Mapping[tuple[str, str], CaseRecord]
"""Scenario and case -> its record on one kernel."""


def suites_of(metadata: Metadata) -> frozenset[str]:
    """Return the scenarios of a run that are suites."""
    return frozenset(metadata.suites)


def fails_as_before(record: CaseVerdict, suites: Collection[str]) -> bool:
    """Return whether a suite's case fails as on the kernel that it is compared with, or is on that kernel itself."""
    return record.scenario in suites and record.met is True and record.outcome is not Outcome.PASS


def test_of(case: str) -> str:
    """Return the test that prints a result; only whole tests can be run."""
    return case.partition("/")[0]


def measured(
    by_cell: Mapping[CellKey, Sequence[CaseRecord]], metadata: Metadata
) -> Mapping[CellKey, Sequence[CaseRecord]]:
    """Return the records with the expectations of suites: what the case did on the kernel that is compared with.

    That is the first kernel of the same source. Its own records are as expected, unless there is no evidence.
    """
    suites = suites_of(metadata)
    if not suites:
        return by_cell
    baselines = _baselines(by_cell, metadata)
    found: dict[CellKey, Sequence[CaseRecord]] = {}
    for cell, records in by_cell.items():
        baseline = baselines[cell.topology, metadata.kernel(cell.kernel).source]
        if baseline == cell:
            found[cell] = _of_suites(records, suites, _itself)
        else:
            compared = _compared(records, by_cell[baseline], suites)
            found[cell] = not_built.judged(compared, not_built.lost(cell, baseline, metadata), cell)
    return found


def _baselines(cells: Iterable[CellKey], metadata: Metadata) -> dict[tuple[str, str], CellKey]:
    """Return (topology, source) -> the cell of the first kernel of that source, in the order of the run's kernels."""
    order: dict[str, list[CellKey]] = {}
    for cell in cells:
        order.setdefault(cell.kernel, []).append(cell)
    found: dict[tuple[str, str], CellKey] = {}
    for cell in chain.from_iterable(order.values()):
        found.setdefault((cell.topology, metadata.kernel(cell.kernel).source), cell)
    return found


def _of_suites(
    records: Iterable[CaseRecord], suites: Collection[str], change: Callable[[CaseRecord], CaseRecord]
) -> tuple[CaseRecord, ...]:
    """Return the records with those of suites changed."""
    return tuple(change(record) if record.scenario in suites else record for record in records)


def _compared(
    records: Sequence[CaseRecord], before: Sequence[CaseRecord], suites: Collection[str]
) -> tuple[CaseRecord, ...]:
    """Return the records of a cell, compared with those of the same machine's baseline."""
    records = _renamed(records, before, suites)
    table = {(record.scenario, record.case): record for record in before}
    judged = _of_suites(records, suites, lambda record: _against(record, table))
    return (*judged, *_lost(records, [record for record in before if record.scenario in suites]))


def _renamed(records: Sequence[CaseRecord], before: Sequence[CaseRecord], suites: Collection[str]) -> list[CaseRecord]:
    """Return the records, with results that have a measured number in their name by their name on the other kernel.

    `18 extra pages` becomes `12 extra pages` if each kernel has just one such result that the other lacks.
    """
    here, there = _only_in(records, before, suites), _only_in(before, records, suites)
    names: dict[tuple[str, str], str] = {}
    for shape, record in here.items():
        if shape in there:
            names[record.scenario, record.case] = there[shape].case
    renamed: list[CaseRecord] = []
    for record in records:
        renamed.append(replace(record, case=names.get((record.scenario, record.case), record.case)))
    return renamed


def _only_in(
    records: Sequence[CaseRecord], others: Iterable[CaseRecord], suites: Collection[str]
) -> dict[tuple[str, str], CaseRecord]:
    """Return the results within tests that the others lack, by scenario and name without numbers, if that is unique.

    Results that have a number in place of a name are left out.
    """
    known = {(record.scenario, record.case) for record in others}
    found: dict[tuple[str, str], list[CaseRecord]] = {}
    for record in records:
        named = "/" in record.case and not record.case.rpartition("/")[2].isdigit()
        if record.scenario in suites and named and (record.scenario, record.case) not in known:
            found.setdefault((record.scenario, _NUMBER.sub("#", record.case)), []).append(record)
    unique: dict[tuple[str, str], CaseRecord] = {}
    for shape, alike in found.items():
        if len(alike) == 1:
            [unique[shape]] = alike
    return unique


def _itself(record: CaseRecord) -> CaseRecord:
    """Return a record of the kernel that others are compared with, with its own expectation."""
    if record.outcome is Outcome.BROKEN:
        return record
    if record.outcome not in SEVERITY:
        return replace(record, expected=Expected.PASS, met=None)
    if record.outcome is Outcome.PASS:
        return replace(record, expected=Expected.PASS, met=True)
    return replace(record, expected=Expected.FAIL, met=True)


def _against(record: CaseRecord, table: CaseTable) -> CaseRecord:
    """Return a record, judged by that of the same case in `table`, the records of the kernel compared with."""
    before = table.get((record.scenario, record.case))
    if record.outcome is Outcome.BROKEN or (before and before.outcome in (Outcome.PASS, Outcome.SKIP)):
        return record
    if before is None:
        if record.outcome is Outcome.PASS or _printed(record, table):
            return record
        return replace(record, met=None)
    if before.outcome not in SEVERITY:  # flaky, or without evidence: nothing to compare with
        return replace(record, met=None)
    if record.outcome is Outcome.PASS:
        return record
    as_before = met(record.outcome, Expected.PASS)
    if record.outcome in SEVERITY:
        as_before = _badness(record) <= _badness(before)
    return replace(record, expected=Expected.FAIL, met=as_before)


def _printed(record: CaseRecord, table: CaseTable) -> bool:
    """Return whether the other kernel's test ended, so that a result which it did not print is new."""
    test = table.get((record.scenario, test_of(record.case)))
    return test is None or test.outcome in (Outcome.PASS, Outcome.FAIL, Outcome.SKIP)


def _badness(record: CaseRecord) -> tuple[int, int]:
    """Return a key for comparison. Of two crashes the one with the graver cause is worse."""
    return SEVERITY[record.outcome], -WORST_FIRST.index(record.cause)


def _lost(records: Sequence[CaseRecord], before: Iterable[CaseRecord]) -> Iterator[CaseRecord]:
    """Yield a record for each result within a test that passed on the other kernel and is missing on this one."""
    outcomes = {(record.scenario, record.case): record for record in records}
    for gone in before:
        if gone.outcome is not Outcome.PASS or (gone.scenario, gone.case) in outcomes or "/" not in gone.case:
            continue
        test = outcomes.get((gone.scenario, test_of(gone.case)))
        if test is not None and test.outcome is not Outcome.BROKEN:
            yield replace(
                gone,
                kernel=test.kernel,
                outcome=Outcome.BROKEN,
                met=False,
                cause=Cause.NO_RESULT,
                counts=(),
                excerpt=f"no such result: its test ({test.outcome}) did not print it; PASS with {gone.kernel}",
            )
