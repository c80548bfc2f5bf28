# SPDX-License-Identifier: GPL-2.0-or-later
"""A run as KernelCI's common database takes it (KCIDB's I/O schema 5): checkouts, builds and tests.

    a kernel of the run -> a checkout: its source with its series, as a patch set
    a kernel on a machine -> a build
    a record -> a test `pagelab.SCENARIO.CASE` (`.RESULT` within a test of a suite), a guest -> a test `pagelab.boot`

A test's status is about the kernel: a case that fails, as it must on a kernel without the feature, is a FAIL there;
what was expected is in `misc`. `kcidb-io` validates it; it is submitted under an origin of one's own.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from lab.core.outcome import CaseRecord, Cause, CellKey, CellResult, CellStatus, Outcome
from lab.core.untrusted import one_line, printable
from lab.evidence.metadata import Metadata, Provenance
from lab.report import _words as words
from lab.verdicts.compare import Summary
from lab.verdicts.judge import cause_of

FILE = None
ORIGIN = "pagelab"
VERSION = {"major": 5, "minor": 0}
MAX_EXCERPT = 16384

_STATUS = {Outcome.PASS: "PASS", Outcome.SKIP: "SKIP"}
_OWN_FAULT = frozenset({Cause.SET_UP, Cause.NO_RESULT, Cause.CONTRADICTION, Cause.FLOOD})
"""Causes of BROKEN that are the test's fault; the others mean that it did not run or that its result was lost."""
_BOOT = {CellStatus.OK: "PASS", CellStatus.NO_BOOT: "FAIL", CellStatus.INVALID: "MISS", CellStatus.BROKEN: "MISS"}


def render(summary: Summary) -> str:
    """Return the document: ASCII, without null, every object with its parent."""
    run = _run_id(summary.evidence.metadata)
    checkouts: list[dict[str, Any]] = []
    for kernel in summary.kernels:
        checkouts.append(_checkout(summary, run, kernel))
    builds: list[dict[str, Any]] = []
    for topology, kernel in summary.repeats:
        builds.append(_build(summary, run, topology, kernel))
    document = {
        "version": VERSION,
        "checkouts": checkouts,
        "builds": builds,
        "tests": _tests(summary, run),
    }
    return json.dumps(document, indent=1, ensure_ascii=True) + "\n"


def _tests(summary: Summary, run: str) -> list[dict[str, Any]]:
    """Return the boots of all guests, then the tests of all records."""
    tests: list[dict[str, Any]] = []
    for cell in summary.evidence.cells:
        tests.append(_boot(run, cell))
    for record in summary.records:
        tests.append(_test(summary, run, record))
    return tests


def _run_id(metadata: Metadata) -> str:
    """Return an id that is the same for the same run, and differs for any other."""
    return hashlib.sha256(json.dumps(metadata.document(), sort_keys=True, default=str).encode()).hexdigest()[:16]


def _id(run: str, *parts: object) -> str:
    return f"{ORIGIN}:{'/'.join([run, *map(_unique, map(str, parts))])}"


def _unique(text: str) -> str:
    """Return a part of an id. Different texts stay different when characters that an id cannot have are replaced."""
    word = _word(text)
    if word == text:
        return word
    return f"{word}-{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:8]}"


def _word(text: str) -> str:
    """Return a part of a path: a name without the characters that have a meaning in paths."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", one_line(text, 100)) or "_"


def _known(**values: object) -> dict[str, Any]:
    """Return the values that are known: the format has no null, and a missing key means unknown."""
    return {key: value for key, value in values.items() if value is not None}


# Checkouts and builds.


def _checkout(summary: Summary, run: str, kernel: str) -> dict[str, Any]:
    spec = summary.evidence.metadata.kernel(kernel)
    builds = (summary.evidence.metadata.build(topology, kernel) for topology in summary.topologies)
    built = next(filter(None, builds), None)
    release: str | None = None
    patchset: str | None = None
    if built:
        patchset = _patchset(built)
    if built and built.release:
        release = one_line(built.release, 100)
    return _known(
        id=_id(run, kernel),
        origin=ORIGIN,
        tree_name=one_line(spec.source or "unknown", 200),
        git_commit_name=release,
        patchset_hash=patchset,
        comment=one_line(f"{kernel}: {spec.description or words.campaign(summary)}", 400),
        valid=bool(built) or None,
        misc={"series": spec.series, "provides": list(spec.provides)},
    )


def _patchset(build: Provenance) -> str | None:
    """Return KCIDB's hash of a patch set, made from the patches' hashes, a line each; empty if there are no patches."""
    if not build.patches and build.series_sha256:
        return None
    if not build.patches:
        return ""
    return hashlib.sha256("".join(f"{patch.sha256}\n" for patch in build.patches).encode()).hexdigest()


def _build(summary: Summary, run: str, topology: str, kernel: str) -> dict[str, Any]:
    metadata = summary.evidence.metadata
    built = metadata.build(topology, kernel)
    arch = metadata.topology(topology).arch
    build = built or Provenance()
    compiler: str | None = None
    if build.compiler:
        compiler = one_line(build.compiler, 200)
    status = "MISS"
    if built:
        status = "PASS"
    elif any(cell.cause is Cause.BUILD for cell in summary.repeats[CellKey(topology, kernel)]):
        status = "FAIL"
    return _known(
        id=_id(run, kernel, topology),
        checkout_id=_id(run, kernel),
        origin=ORIGIN,
        architecture=arch if re.fullmatch("[a-z0-9_]+", arch) else None,
        compiler=compiler,
        config_name=f"pagelab {topology}",
        duration=build.build_s,
        status=status,
        misc=_known(
            key=build.key or None,
            build_id=build.build_id or None,
            config_sha256=build.config_sha256 or None,
            series_sha256=build.series_sha256,
            source_sha256=build.source_sha256 or None,
        ),
    )


# Tests.


def _boot(run: str, cell: CellResult) -> dict[str, Any]:
    """Return the test of whether a guest became ready."""
    cause: str | None = None
    if cell.status is not CellStatus.OK:
        cause = cause_of(cell).value
    return _known(
        id=_id(run, cell.kernel, cell.topology, "boot", cell.repeat),
        build_id=_id(run, cell.kernel, cell.topology),
        origin=ORIGIN,
        path=f"{ORIGIN}.boot",
        environment={"comment": one_line(f"{cell.topology}, {cell.accelerator or 'never started'}", 200)},
        status=_BOOT[cell.status],
        duration=cell.boot_s,
        log_excerpt=printable("\n".join([cell.reason, *map(str, cell.mismatches)]))[:MAX_EXCERPT] or None,
        misc=_known(status=cell.status.value, cause=cause),
    )


def _test(summary: Summary, run: str, record: CaseRecord) -> dict[str, Any]:
    guests = summary.repeats[CellKey(record.topology, record.kernel)]
    accelerators = dict.fromkeys(guest.accelerator for guest in guests if guest.accelerator)
    judged = {"outcome": record.outcome.value, "cause": record.cause.value, "expected": record.expected.value}
    return _known(
        id=_id(run, record.kernel, record.topology, record.scenario, record.case),
        build_id=_id(run, record.kernel, record.topology),
        origin=ORIGIN,
        path=".".join([ORIGIN, _word(record.scenario), *map(_word, record.case.split("/"))]),
        environment={"comment": one_line(", ".join([record.topology, *accelerators]), 200)},
        status=_status(record),
        duration=record.duration_s,
        log_excerpt=record.excerpt[:MAX_EXCERPT],
        misc={**judged, **_known(met=record.met), "attempt": record.attempt, "reason": record.reason},
    )


def _status(record: CaseRecord) -> str:
    """Return KCIDB's word for the outcome of a record."""
    if record.outcome is Outcome.BROKEN and record.cause in _OWN_FAULT:
        return "ERROR"
    if record.outcome is Outcome.BROKEN:
        return "MISS"
    return _STATUS.get(record.outcome, "FAIL")
