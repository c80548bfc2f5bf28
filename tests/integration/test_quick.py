# SPDX-License-Identifier: GPL-2.0-or-later
"""The main job: two machines, two kernels, one verdict, and all of its evidence."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.integration.conftest import MACHINES, CampaignRun, lab

EVIDENCE = ("console.log", "facts.json", "domain.xml", "config", "qemu.args", "reproduce.sh", "events.jsonl")


def test_every_expectation_is_met(quick: CampaignRun) -> None:
    assert quick.done.status == 0, quick.done.stdout[-6000:] + quick.done.stderr[-2000:]


@pytest.mark.parametrize("machine", MACHINES)
def test_expansion_is_fixed_and_guards_are_the_same(quick: CampaignRun, machine: str) -> None:
    baseline = quick.outcomes(machine, "baseline")
    patched = quick.outcomes(machine, "expand-fault")
    assert baseline.keys() == patched.keys()
    fixed = {case for case in baseline if (baseline[case], patched[case]) == ("FAIL", "PASS")}
    assert len([case for case in fixed if case.startswith("expand.")]) >= 12
    guards = {case for case in baseline if case.startswith("guards.")}
    assert guards
    assert all(baseline[case] == patched[case] for case in guards)
    assert not [case for case in baseline if (baseline[case], patched[case]) == ("PASS", "FAIL")]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("kernel", ["baseline", "expand-fault"])
def test_evidence_is_on_disk(quick: CampaignRun, machine: str, kernel: str) -> None:
    cell = quick.path / "cells" / machine / kernel
    missing = [name for name in EVIDENCE if not (cell / name).stat().st_size]
    assert not missing
    assert list(cell.glob("*.ktap"))
    assert "pagelab: ready" in (cell / "console.log").read_text(errors="replace")


def test_reports_can_be_derived_again(quick: CampaignRun) -> None:
    again = lab("report", str(quick.path), "--format", "json")
    assert again.status == quick.done.status
    assert json.loads(again.stdout)["records"] == quick.results["records"]
    junit = ET.parse(quick.path / "junit.xml").getroot()
    assert len(list(junit.iter("testcase"))) >= len(quick.results["records"])
    text = (quick.path / "report.txt").read_text()
    assert all(machine in text for machine in MACHINES)


def test_metadata_proves_that_kernels_differ_in_the_series_alone(quick: CampaignRun) -> None:
    builds = json.loads((quick.path / "metadata.json").read_text())["builds"]
    for machine in MACHINES:
        baseline, patched = builds[f"{machine}/baseline"], builds[f"{machine}/expand-fault"]
        for fact in ("source_sha256", "config_sha256", "compiler", "release"):
            assert baseline[fact] == patched[fact]
        assert baseline["series_sha256"] != patched["series_sha256"]
        assert baseline["build_id"] != patched["build_id"]


def test_a_killed_program_and_a_panic_have_their_own_words(built: None, tmp_path: Path) -> None:
    crash = lab("exec", "-t", MACHINES[1], "-k", "baseline", "--", "sh", "-c", "kill -SEGV $$")
    assert crash.status == 139
    panic = lab("exec", "-t", MACHINES[1], "-k", "baseline", "--", "sh", "-c", "echo c > /proc/sysrq-trigger")
    assert panic.status == 125
    assert "panic" in panic.stderr
