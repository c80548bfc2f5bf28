# SPDX-License-Identifier: GPL-2.0-or-later
"""Compare two runs of the lab: the same case on the same machine with the kernel of the same name. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.core.errors import UsageError
from lab.core.outcome import CellKey, Outcome
from lab.evidence.changes import first_difference
from lab.evidence.metadata import Provenance, Recorded
from lab.verdicts.compare import SAME_BUILD, CaseDelta, Summary, change_of
from lab.verdicts.judge import SYNTHETIC


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The differences between two runs, and their possible causes."""

    first: Summary
    second: Summary
    common: tuple[CellKey, ...]
    deltas: tuple[CaseDelta, ...]
    """Every case that both runs have; `baseline` and `kernel` both name the kernel."""
    notes: tuple[str, ...]
    """What else differs, in words: cells and cases that only one run has, kernels, tests, accelerators."""

    @property
    def changed(self) -> tuple[CaseDelta, ...]:
        """Cases whose outcomes differ, also where that is neither better nor worse."""
        return tuple(delta for delta in self.deltas if delta.before is not delta.after)

    @property
    def exit_code(self) -> int:
        return 1 if self.changed else 0


def compare(first: Summary, second: Summary) -> Comparison:
    """Compare two runs; UsageError if they have no case in common, or if machines of one name differ."""
    common = tuple(place for place in first.repeats if place in second.repeats)
    if not common:
        raise UsageError(
            f"{first.evidence.source} and {second.evidence.source} have no cell in common",
            hint="a cell is a topology and a kernel, by name",
        )
    _same_machines(first, second, common)
    every: list[CaseDelta] = []
    for place in common:
        every += _deltas(place, first, second)
    if not (both := tuple(delta for delta in every if delta.before and delta.after)):
        raise UsageError(f"{first.evidence.source} and {second.evidence.source} have no case in common")
    return Comparison(
        first=first,
        second=second,
        common=common,
        deltas=both,
        notes=(*_only_in_one(every, first, second), *_notes(first, second, common)),
    )


def _same_machines(first: Summary, second: Summary, common: tuple[CellKey, ...]) -> None:
    was, now = first.evidence.metadata.topologies, second.evidence.metadata.topologies
    for topology in dict.fromkeys(topology for topology, _ in common):
        one, two = _document(was.get(topology)), _document(now.get(topology))
        if other := first_difference(f"topology {topology}", one, two):
            raise UsageError(f"the runs are not of the same machine: {other}")


def _document(record: Recorded | None) -> dict[str, Any] | None:
    if record is None:
        return None
    return record.document()


def _deltas(cell: CellKey, first: Summary, second: Summary) -> Iterator[CaseDelta]:
    """Yield the delta of every case of a cell that either run has."""
    was, now = _Outcomes.of(first, cell), _Outcomes.of(second, cell)
    for scenario, case in dict.fromkeys((*was.known, *now.known)):
        before, after = was.outcome(scenario, case), now.outcome(scenario, case)
        yield CaseDelta(cell.topology, cell.kernel, cell.kernel, change_of(scenario, case, before, after))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcomes:
    """The outcomes of one cell of a run."""

    known: Mapping[tuple[str, str], Outcome]
    """(scenario, case) -> outcome."""
    ran: frozenset[str]
    """The scenarios of which anything has a verdict."""

    @classmethod
    def of(cls, summary: Summary, cell: CellKey) -> _Outcomes:
        verdicts = summary.of_cell(*cell).verdicts
        known = {(verdict.scenario, verdict.case): verdict.outcome for verdict in verdicts}
        ran = frozenset(scenario for (scenario, _), outcome in known.items() if outcome is not Outcome.BROKEN)
        return cls(known=known, ran=ran)

    def outcome(self, scenario: str, case: str) -> Outcome | None:
        """A case's outcome; PASS for a synthetic case without a record whose scenario ran, None if there is none."""
        record = self.known.get((scenario, case))
        if record is None and case in SYNTHETIC and scenario in self.ran:
            return Outcome.PASS
        return record


def _only_in_one(deltas: Sequence[CaseDelta], first: Summary, second: Summary) -> Iterator[str]:
    """Yield a note for each run that has cases which the other lacks."""
    in_first: list[str] = []
    in_second: list[str] = []
    for delta in deltas:
        if delta.after is None:
            in_first.append(delta.label)
        if delta.before is None:
            in_second.append(delta.label)
    for summary, only in ((first, in_first), (second, in_second)):
        if only:
            yield f"only in {summary.evidence.source}: {len(only)} outcomes of {' '.join(dict.fromkeys(only))}"


def _notes(first: Summary, second: Summary, common: tuple[CellKey, ...]) -> Iterator[str]:
    """Yield a note for whatever else differs: cells that only one run has, kernels, tests, repeats, accelerators."""
    shared = frozenset(common)
    for summary in (first, second):
        for cell in summary.repeats:
            if cell not in shared:
                yield f"only in {summary.evidence.source}: {cell.topology} / {cell.kernel}"
    was, now = first.evidence.metadata, second.evidence.metadata
    for place in common:
        yield from _other_build(place, was.build(*place), now.build(*place))
    if other := first_difference("tests", was.tests, now.tests):
        yield f"a case may have changed its meaning: {other}"
    if other := first_difference("repeat", was.repeat, now.repeat):
        yield other
    for place in common:
        one, two = _accelerators(first, place), _accelerators(second, place)
        if one != two:
            yield f"{place}: accelerator: {one or 'none'} and {two or 'none'}"


def _accelerators(summary: Summary, cell: CellKey) -> str:
    return ", ".join(sorted({guest.accelerator for guest in summary.repeats[cell]}))


def _other_build(cell: CellKey, was: Provenance | None, now: Provenance | None) -> Iterator[str]:
    """Yield a note if a cell's kernels were not built from the same, with the names of what differs."""
    names = {**SAME_BUILD, "series_sha256": "series", "release": "release"}
    found: list[str] = []
    for field, name in names.items():
        if getattr(was, field, None) != getattr(now, field, None):
            found.append(name)
    if found:
        verb = "differs" if len(found) == 1 else "differ"
        yield f"{cell}: another kernel: its {', '.join(found)} {verb}"
