# SPDX-License-Identifier: GPL-2.0-or-later
"""Complaints that a kernel's YAML lists as harmless: left out of the verdict, in every report."""

from __future__ import annotations

import json

import pytest

from lab.core.outcome import CaseRecord, Cause, End, Outcome, Run
from lab.evidence.metadata import Evidence, KnownLineRecord
from lab.report import registry as report
from lab.verdicts import judge
from lab.verdicts.compare import conclude
from tests.unit.fixtures import evidence as fixture

WARNING = "[    1.000000] WARNING: CPU: 0 PID: 80 at drivers/own/probe.c:12 own_probe+0x1/0x2\n"
PANIC = "[    1.000000] Kernel panic - not syncing: own end\n"
KNOWN = (KnownLineRecord(line="WARNING: * at drivers/own/probe.c:*", reason="no firmware"),)


KTAP = "KTAP version 1\n1..0 # SKIP none\n"


def judged(console: str, known: tuple[KnownLineRecord, ...], taint: int = 0) -> dict[str, CaseRecord]:
    before, after = {"tainted": 0}, {"tainted": taint}
    run = Run(scenario="own", end=End.EXITED, status=0, ktap=KTAP, console=console, before=before, after=after)
    return {record.case: record for record in judge.judge_run("machine", "kernel", run, (), frozenset(), known=known)}


def test_a_listed_complaint_is_judged_as_nothing() -> None:
    assert judged(WARNING, ())["console"].cause is Cause.WARNING
    assert judged(WARNING, KNOWN) == {}


@pytest.mark.parametrize("console", [WARNING.replace("probe.c", "other.c"), WARNING.replace("WARNING", "BUG"), PANIC])
def test_any_other_complaint_counts(console: str) -> None:
    known = (*KNOWN, KnownLineRecord(line="Kernel panic*", reason="a panic is never harmless"))
    (record,) = judged(WARNING + console, known).values()
    assert record.outcome is Outcome.CRASH
    assert record.cause is not Cause.WARNING or "other.c" in record.reason


@pytest.mark.parametrize(("release", "harmless"), [("6.1.0-own", 1), ("6.12.0-own", 0), ("", 0)])
def test_an_entry_can_hold_for_one_release(release: str, harmless: int) -> None:
    document = fixture.metadata(fixture.TOPOLOGIES[:1], fixture.KERNELS[1:])
    (kernel,) = fixture.KERNELS[1:]
    document["kernels"][kernel]["console_known"] = [{**KNOWN[0].document(), "release": "6.1.*"}]
    for build in document["builds"].values():
        build["release"] = release
    run = Run(scenario="expand", end=End.EXITED, status=0, console=WARNING)
    cells = (fixture.cell(kernel=kernel, runs=(run,)),)
    summary = conclude(Evidence(metadata=fixture.recorded(document), cells=cells))
    assert len(summary.harmless) == harmless


def test_it_explains_the_taint_that_it_left() -> None:
    assert judged(WARNING, KNOWN, taint=512) == {}
    assert judged("", KNOWN, taint=512)["console"].cause is Cause.TAINT


def test_reports_show_it_with_its_reason() -> None:
    document = fixture.metadata(fixture.TOPOLOGIES[:1], fixture.KERNELS[1:])
    (kernel,) = fixture.KERNELS[1:]
    document["kernels"][kernel]["console_known"] = [each.document() for each in KNOWN]
    run = Run(scenario="expand", end=End.EXITED, status=0, console=WARNING * 2)
    cells = (fixture.cell(kernel=kernel, runs=(run,)),)
    summary = conclude(Evidence(metadata=fixture.recorded(document), cells=cells))
    (found,) = summary.harmless
    assert (found.count, found.reason, found.scenario) == (2, "no firmware", "expand")
    text = report.render(summary, "text")
    assert "KNOWN AND HARMLESS" in text
    assert "2 times" in text
    assert "(no firmware)" in " ".join(text.split())
    assert json.loads(report.render(summary, "json"))["harmless"][0]["title"].endswith("own_probe+0x1/0x2")
