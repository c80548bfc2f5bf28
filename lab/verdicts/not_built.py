# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs of a suite that the baseline's tree builds and another kernel's does not: each is a regression; pure.

A program that was not built is a test that skips, with the compiler's words as its reason. Where the baseline has it,
the patch took it away: its cases FAIL, and one is added for a program that no case is named after.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from lab.core.outcome import CaseRecord, Cause, CellKey, Expected, Outcome
from lab.evidence.metadata import Metadata
from lab.specs.suite import file_name

Programs = Mapping[str, Mapping[str, str]]
"""Suite -> program -> why it was not built."""
_MARK = "not built:"


def lost(cell: CellKey, baseline: CellKey, metadata: Metadata) -> Programs:
    """Return the programs that were built for the baseline and not for a cell."""
    arch = metadata.topology(cell.topology).arch
    found = {}
    for suite, record in metadata.suites.items():
        before = record.not_built.get(f"{arch}/{baseline.kernel}")
        now = record.not_built.get(f"{arch}/{cell.kernel}")
        if before is None or not now:
            continue
        gone = {program: why for program, why in now.items() if program not in before}
        if gone:
            found[suite] = gone
    return found


def judged(records: Sequence[CaseRecord], programs: Programs, cell: CellKey) -> tuple[CaseRecord, ...]:
    """Return a cell's records with those of programs that were not built as failures."""
    if not programs:
        return tuple(records)
    records_found: list[CaseRecord] = []
    named: dict[tuple[str, str], str] = {}
    for record in records:
        program = _program(record, programs.get(record.scenario, {}))
        if program:
            named[record.scenario, record.case] = program
            records_found.append(_failed(record, program, programs[record.scenario][program]))
        else:
            records_found.append(record)
    kept = [record for record in records_found if not _silent(record, named)]
    return (*kept, *_unnamed(programs, named, cell))


def _program(record: CaseRecord, programs: Mapping[str, str]) -> str:
    """Return the program of a case that was skipped since it was not built; empty if it is no such case."""
    if record.outcome is not Outcome.SKIP:
        return ""
    for program, why in programs.items():
        has_reason = _MARK in record.reason and _words(why) in _words(record.reason)
        if has_reason or record.case == file_name(program):
            return program
    return ""


def _words(text: str) -> str:
    """Return a reason as the stand-in of a program prints it, which has no quotes."""
    return " ".join(text.replace("'", "").replace("\\", "").split())


def _failed(record: CaseRecord, program: str, why: str) -> CaseRecord:
    reason = f"{program} does not build with {record.kernel}, as it does for the kernel compared with: {why}"
    return replace(
        record, outcome=Outcome.FAIL, expected=Expected.PASS, met=False, cause=Cause.BUILD, counts=(), excerpt=reason
    )


def _silent(record: CaseRecord, named: Mapping[tuple[str, str], str]) -> bool:
    """Whether a record says only that a test which was not built printed no results."""
    test = record.case.partition("/")[0]
    return record.cause is Cause.NO_RESULT and test != record.case and (record.scenario, test) in named


def _unnamed(programs: Programs, named: Mapping[tuple[str, str], str], cell: CellKey) -> Iterable[CaseRecord]:
    """Yield a record for each program that no case is named after."""
    for suite, programs_of_suite in programs.items():
        known = {program for (scenario, _), program in named.items() if scenario == suite}
        for program, why in programs_of_suite.items():
            if program not in known:
                blank = CaseRecord(
                    topology=cell.topology,
                    kernel=cell.kernel,
                    scenario=suite,
                    case=file_name(program),
                    outcome=Outcome.FAIL,
                    expected=Expected.PASS,
                    met=False,
                )
                yield _failed(blank, program, why)
