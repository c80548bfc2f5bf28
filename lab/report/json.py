# SPDX-License-Identifier: GPL-2.0-or-later
"""results.json: every record, for programs to read."""

from __future__ import annotations

import json
from dataclasses import fields
from statistics import median
from typing import Any

from lab.compare import CaseDelta, Proof, Summary
from lab.judge import cause_of
from lab.outcome import CellResult, CellStatus, Mismatch, Record

FILE = "results.json"
SCHEMA = 1


def render(summary: Summary) -> str:
    """The document that the README describes as schema 1."""
    metadata = summary.evidence.metadata
    document = {
        "schema": SCHEMA,
        "pagelab": metadata.get("pagelab"),
        "started": metadata.get("started"),
        "campaign": metadata.get("campaign"),
        "exit_code": summary.exit_code,
        "sentence": summary.sentence,
        "counts": summary.counts(),
        "repeat": metadata.get("repeat", 1),
        "cells": [_cell(cell) for cell in summary.evidence.cells],
        "records": [{**_flat(record), "counts": dict(record.counts)} for record in summary.records],
        "deltas": [_flat(delta) for delta in summary.deltas],
        "proofs": [_flat(proof) for proof in summary.proofs],
    }
    return json.dumps(document, indent=1, ensure_ascii=True) + "\n"


def _flat(record: Record | CaseDelta | Proof | Mismatch) -> dict[str, Any]:
    """The fields of a record that holds no other (dataclasses.asdict would copy deeply, ten times as slow)."""
    return {field.name: getattr(record, field.name) for field in fields(record)}


def _cell(cell: CellResult) -> dict[str, Any]:
    return {
        "topology": cell.topology,
        "kernel": cell.kernel,
        "repeat": cell.repeat,
        "status": cell.status,
        "cause": None if cell.status is CellStatus.OK else cause_of(cell),
        "accelerator": cell.accelerator,
        "boot_s": cell.boot_s,
        "restores": len(cell.restores_s),
        "restore_s": round(median(cell.restores_s), 3) if cell.restores_s else None,
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
