# SPDX-License-Identifier: GPL-2.0-or-later
"""results.json: every record, for programs to read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from statistics import median
from typing import Any

from lab.core.outcome import CaseRecord, CellResult, CellStatus, Cost, Mismatch, Origin, SavedState
from lab.report._patch import coverage
from lab.verdicts.compare import CaseDelta, Proof, Summary
from lab.verdicts.harmless import HarmlessComplaint
from lab.verdicts.judge import cause_of
from lab.verdicts.power import Unproven
from lab.verdicts.reported import ReportResult

_ENCODER = json.JSONEncoder(check_circular=False)
FILE = "results.json"
SCHEMA = 1


ROWS = 1000
"""So many lines are in one piece of the document."""


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
    lists = {
        "cells": map(_cell, summary.evidence.cells),
        "records": map(_record, summary.records),
        "deltas": map(_flat, summary.deltas()),
        "proofs": map(_flat, summary.proofs),
    }
    if summary.reported:
        lists["reports"] = map(_report, summary.reported)
    if summary.unproven:
        lists["no_power"] = map(_flat, summary.unproven)
    if summary.harmless:
        lists["harmless"] = map(_flat, summary.harmless)
    if summary.coverage:
        lists["coverage"] = map(coverage.document, summary.coverage)
    parts = [f' "{key}": {json.dumps(value)}' for key, value in head.items()]
    yield "{\n" + ",\n".join(parts)
    for key, values in lists.items():
        yield f',\n "{key}": '
        yield from _list(values)
    yield "\n}\n"


def _list(values: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a list with a line for each value, ROWS of them at a time."""
    rows = map(_ENCODER.encode, values)
    between = "[\n  "
    while some := list(islice(rows, ROWS)):
        yield between + ",\n  ".join(some)
        between = ",\n  "
    yield "[]" if between.startswith("[") else "\n ]"


def _flat(record: CaseRecord | CaseDelta | Proof | Mismatch | Cost | HarmlessComplaint | Unproven) -> dict[str, Any]:
    """Return the fields of a record that holds no other (dataclasses.asdict copies deeply: ten times as slow)."""
    return {name: getattr(record, name) for name in record.__slots__}


def _record(record: CaseRecord) -> dict[str, Any]:
    """Return a record. What its case saw and measured is left out if the case reports nothing of the kind.

    `by_host` is there only if the case depends on the host.
    """
    flat = {**_flat(record), "counts": dict(record.counts)}
    saw, cost = flat.pop("saw"), flat.pop("cost")
    del flat["host"]  # its cell has it
    by_host = flat.pop("by_host")
    if by_host:
        flat["by_host"] = dict(by_host)
    if saw:
        flat["saw"] = saw
    if cost:
        flat["cost"] = _flat(cost)
    return flat


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
        placed = {"host": cell.host, "host_attempt": cell.host_attempt, "host_load": cell.host_load}
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
