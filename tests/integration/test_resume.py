# SPDX-License-Identifier: GPL-2.0-or-later
"""Campaigns that are killed and go on, cells that are run several times, and runs that are compared."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest

from tests.faults.resume import torment
from tests.integration.conftest import MACHINES, CampaignRun, copy, lab, run_campaign

SMALL = ("quick", "-t", MACHINES[1], "--test", "guards", "--test", "expand.a0*", "--test", "limits.c0*")


@pytest.fixture(scope="module")
def twice(built: None, tmp_path_factory: pytest.TempPathFactory) -> CampaignRun:
    """A small campaign, each of its cells twice."""
    return run_campaign(tmp_path_factory.mktemp("twice") / "run", *SMALL, "--repeat", "2")


def test_a_campaign_that_is_killed_again_and_again_comes_to_the_same(built: None, tmp_path: Path) -> None:
    said: list[str] = []
    found = torment(SMALL, tmp_path, kills=3, chance=random.Random(5), say=said.append)
    assert found.kills >= 3
    assert found.wrong == [], said


def test_repeats_have_guests_and_evidence_of_their_own(twice: CampaignRun) -> None:
    assert twice.done.status == 0, twice.done.stdout[-3000:]
    assert "every cell 2 times" in twice.done.stdout
    for kernel in ("baseline", "expand-fault"):
        cell = twice.path / "cells" / MACHINES[1] / kernel
        for place in (cell, cell / "repeat-2"):
            assert (place / "events.jsonl").read_text().count('"event": "boot"') == 1
            assert (place / "guards.ktap").exists()
            assert "pagelab: ready" in (place / "console.log").read_text(errors="replace")
    assert {each["repeat"] for each in twice.results["cells"]} == {1, 2}
    assert {sum(each["counts"].values()) for each in twice.results["records"]} == {2}


def test_a_finished_run_is_resumed_without_a_guest(twice: CampaignRun) -> None:
    before = (twice.path / "results.json").read_bytes()
    done = lab("run", "--resume", str(twice.path), timeout_s=30)
    assert done.status == 0
    assert (twice.path / "results.json").read_bytes() == before
    assert "booting" not in done.stdout


def test_damaged_evidence_is_seen_and_made_again(twice: CampaignRun, tmp_path: Path) -> None:
    run = copy(twice, tmp_path / "run")
    cells = run / "cells" / MACHINES[1]
    ktap, journal = cells / "baseline/repeat-2/guards.ktap", cells / "expand-fault/events.jsonl"
    ktap.write_bytes(ktap.read_bytes()[:-20])
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join([*lines[:2], lines[2][:80] + "\n", *lines[3:]]))
    broken = lab("report", str(run), "--format", "json")
    assert broken.status == 2
    found = json.loads(broken.stdout)
    assert {each["cause"] for each in found["records"] if each["outcome"] == "BROKEN"} == {"damaged"}
    done = lab("run", "--resume", str(run))
    assert done.status == 0, done.stdout[-3000:]
    assert lab("compare", str(twice.path), str(run)).status == 0
    assert {path: path.read_text().count('"event": "boot"') for path in cells.rglob("events.jsonl")} == {
        cells / "baseline/events.jsonl": 1,
        cells / "baseline/repeat-2/events.jsonl": 2,
        journal: 2,
        cells / "expand-fault/repeat-2/events.jsonl": 1,
    }


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("vcpus", f"topologies.{MACHINES[1]}.vcpus: recorded 99, now 4"),
        ("key", "not the same kernel any more"),
        ("arm64", "tests.arm64: recorded 99"),
    ],
)
def test_what_has_changed_since_is_not_gone_on_with(twice: CampaignRun, tmp_path: Path, key: str, words: str) -> None:
    run = copy(twice, tmp_path / "run")
    metadata = json.loads((run / "metadata.json").read_text())
    places = {
        "vcpus": metadata["topologies"][MACHINES[1]],
        "key": metadata["builds"][f"{MACHINES[1]}/expand-fault"],
        "arm64": metadata["tests"],
    }
    places[key][key] = 99 if key == "vcpus" else "99"
    (run / "metadata.json").write_text(json.dumps(metadata))
    done = lab("run", "--resume", str(run))
    assert (done.status, len(done.stderr.splitlines())) == (64, 1)
    assert words in done.stderr


def test_a_case_that_does_not_agree_with_itself_is_flaky(twice: CampaignRun, tmp_path: Path) -> None:
    run = copy(twice, tmp_path / "run")
    other = run / "cells" / MACHINES[1]
    shutil.rmtree(other / "expand-fault/repeat-2")
    shutil.copytree(other / "baseline/repeat-2", other / "expand-fault/repeat-2")
    done = lab("report", str(run))
    assert done.status == 1
    assert "expand.a01_grow_touch: FLAKY, expected PASS" in done.stdout
    assert "repeats do not agree: 1 PASS, 1 FAIL" in done.stdout
    assert "FIXED" not in done.stdout
    compared = lab("compare", str(twice.path), str(run))
    assert compared.status == 1
    assert "PASS -> FLAKY" in compared.stdout
