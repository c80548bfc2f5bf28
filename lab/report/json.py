# SPDX-License-Identifier: GPL-2.0-or-later
"""results.json: every record, for programs to read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, islice, repeat
from math import isnan
from statistics import median
from typing import Any

from lab.core.columns import SHARED
from lab.core.outcome import CaseVerdict, CellResult, CellStatus, Cost, Mismatch, Origin, SavedState
from lab.report._patch import coverage
from lab.verdicts.compare import CaseChange, Proof, Summary
from lab.verdicts.harmless import HarmlessComplaint
from lab.verdicts.judge import cause_of
from lab.verdicts.power import Unproven
from lab.verdicts.reported import ReportResult

_ENCODER = json.JSONEncoder(check_circular=False)
FILE = "results.json"
SCHEMA = 1


ROWS = 50
"""So many rows are in one piece of the document: each is a line, or all lines of a cell or a machine."""
BETWEEN = ",\n  "
"""What stands between two lines of a list."""


def render(summary: Summary) -> str:
    """The document that the README describes as schema 1; a line for each cell, record, delta and proof."""
    return "".join(pieces(summary))


def pieces(summary: Summary) -> Iterator[str]:
    """Yield the document in pieces: a million records are text of 400 MB, which need not be in memory at once."""
    metadata = summary.evidence.metadata
    head: dict[str, Any] = {
        "schema": SCHEMA,
        "pagelab": metadata.pagelab,
        "started": metadata.started,
        "campaign": metadata.campaign.document() or None,
        "exit_code": summary.exit_code,
        "sentence": summary.sentence,
        "counts": summary.counts(),
        "repeat": metadata.repeat,
    }
    if metadata.suites:
        head["suites"] = {name: suite.document() for name, suite in metadata.suites.items()}
    if summary.no_pairs:
        head["no_pairs"] = list(summary.no_pairs)
    lists: dict[str, Iterator[str]] = {
        "cells": map(_ENCODER.encode, map(_cell, summary.evidence.cells)),
        "records": _record_rows(summary),
        "deltas": _delta_rows(summary),
        "proofs": map(_ENCODER.encode, map(_flat, summary.proofs)),
    }
    if summary.confirmers:
        lists["confirming"] = map(_ENCODER.encode, map(_cell, summary.confirmers))
    if summary.reported:
        lists["reports"] = map(_ENCODER.encode, map(_report, summary.reported))
    if summary.unproven:
        lists["no_power"] = map(_ENCODER.encode, map(_flat, summary.unproven))
    if summary.harmless:
        lists["harmless"] = map(_ENCODER.encode, map(_flat, summary.harmless))
    if summary.coverage:
        lists["coverage"] = map(_ENCODER.encode, map(coverage.document, summary.coverage))
    parts = [f' "{key}": {json.dumps(value)}' for key, value in head.items()]
    yield "{\n" + ",\n".join(parts)
    for key, values in lists.items():
        yield f',\n "{key}": '
        yield from _list(values)
    yield "\n}\n"


def _list(rows: Iterator[str]) -> Iterator[str]:
    """Yield a list with a line for each of its encoded values, ROWS of them at a time."""
    between = "[\n  "
    while some := list(islice(rows, ROWS)):
        yield between + BETWEEN.join(some)
        between = BETWEEN
    yield "[]" if between.startswith("[") else "\n ]"


def _flat(record: Proof | Mismatch | Cost | HarmlessComplaint | Unproven) -> dict[str, Any]:
    """Return the fields of a record that holds no other (dataclasses.asdict copies deeply: ten times as slow)."""
    return {name: getattr(record, name) for name in record.__slots__}


# Records and deltas: a million rows that differ in their places and times. What several share is encoded once.


def _record_rows(summary: Summary) -> Iterator[str]:
    """Yield the records of each cell that has some, encoded."""
    for (topology, kernel), records in summary.by_cell.items():
        if records:
            place = f'{{"topology": {json.dumps(topology)}, "kernel": {json.dumps(kernel)}, '
            before, after = zip(*map(_verdict, records.verdicts), strict=True)
            between = chain([place], repeat(f"{BETWEEN}{place}"))
            rows = zip(between, before, _seconds(records.durations), after, strict=False)
            yield "".join(chain.from_iterable(rows))


def _seconds(durations: Sequence[float]) -> Iterable[str]:
    if isnan(sum(durations)):  # what is not a number is not equal to itself, so that no cache finds it again
        return ["null" if isnan(duration) else repr(duration) for duration in durations]
    return map(_number, durations)


_number = lru_cache(maxsize=SHARED)(repr)


@lru_cache(maxsize=SHARED)
def _verdict(verdict: CaseVerdict) -> tuple[str, str]:
    """Return what stands in a record before and after its duration.

    What its case saw and measured is left out if the case reports nothing of the kind. `by_host` is there only if the
    case depends on the host, and the host itself is in the cell.
    """
    before = {
        "scenario": verdict.scenario,
        "case": verdict.case,
        "outcome": verdict.outcome,
        "expected": verdict.expected,
        "met": verdict.met,
    }
    after: dict[str, Any] = {
        "attempt": verdict.attempt,
        "cause": verdict.cause,
        "counts": dict(verdict.counts),
        "excerpt": verdict.excerpt,
    }
    if verdict.by_host:
        after["by_host"] = dict(verdict.by_host)
    if verdict.saw:
        after["saw"] = verdict.saw
    if verdict.cost:
        after["cost"] = _flat(verdict.cost)
    return f'{_inner(before)}, "duration_s": ', f", {_inner(after)}}}"


def _delta_rows(summary: Summary) -> Iterator[str]:
    """Yield the deltas of each machine that has some, encoded."""
    for machine in summary.changes:
        if machine.changes:
            place = f'{{"topology": {json.dumps(machine.topology)}, '
            deltas = map(_delta, repeat(machine.baseline), machine.kernels, machine.changes)
            yield place + f"{BETWEEN}{place}".join(deltas)


@lru_cache(maxsize=SHARED)
def _delta(baseline: str, kernel: str, change: CaseChange) -> str:
    """Return a delta without its machine."""
    delta = {
        "scenario": change.scenario,
        "case": change.case,
        "baseline": baseline,
        "kernel": kernel,
        "before": change.before,
        "after": change.after,
        "delta": change.delta,
    }
    return f"{_inner(delta)}}}"


def _inner(value: Mapping[str, object]) -> str:
    """Return an object as JSON, without its braces."""
    return _ENCODER.encode(value)[1:-1]


def _origin(origin: Origin | None) -> dict[str, Any]:
    """The run that a cell's evidence was taken from; nothing if the guest belongs to this run."""
    return {"evidence_of": {"run": origin.run, "started": origin.started}} if origin else {}


def _report(result: ReportResult) -> dict[str, Any]:
    """A report; its records are those of the scenario of its name."""
    return {
        "name": result.name,
        "title": result.report.title,
        "links": list(result.report.links),
        "what_changed": result.report.what_changed,
        "as_reported": result.as_reported,
        "state": result.state,
    }


def _saved_guest(state: SavedState | None) -> dict[str, Any]:
    """The state in the cache that a cell's first guest was restored from; nothing if it booted."""
    if state is None:
        return {}
    return {"saved_guest": {"key": state.key, "saved": state.saved}}


def _cell(cell: CellResult) -> dict[str, Any]:
    """A cell; its host is there only if it ran on one of a cluster."""
    placed: dict[str, Any] = {}
    if cell.host:
        times = {"host_load": cell.host_load, "host_fetch_s": cell.host_fetch_s, "host_run_s": cell.host_run_s}
        placed = {"host": cell.host, "host_attempt": cell.host_attempt, **times}
    return {
        **placed,
        "topology": cell.topology,
        "kernel": cell.kernel,
        "repeat": cell.repeat,
        "status": cell.status,
        "cause": None if cell.status is CellStatus.OK else cause_of(cell),
        "accelerator": cell.accelerator,
        "boot_s": cell.boot_s,
        "restores": len(cell.restores_s),
        "restore_s": round(median(cell.restores_s), 3) if cell.restores_s else None,
        **_saved_guest(cell.saved_guest),
        **_origin(cell.origin),
        "reason": cell.reason,
        "mismatches": [_flat(mismatch) for mismatch in cell.mismatches],
        "runs": [
            {
                "scenario": run.scenario,
                "attempt": run.attempt,
                "end": run.end,
                "status": run.status,
                "signal": run.signal,
                "duration_s": run.duration_s,
                "note": run.note,
                "before": run.before,
                "after": run.after,
            }
            for run in cell.runs
        ],
    }
