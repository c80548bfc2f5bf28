# SPDX-License-Identifier: GPL-2.0-or-later
"""How many guests run at once, and what metadata.json holds before anything is built."""

from __future__ import annotations

import json

from lab.campaign import GUEST_OVERHEAD, available_memory, describe, jobs_for
from tests.unit.test_runner import CASES, a_plan

GUEST = (256 << 20) + GUEST_OVERHEAD


def test_guests_at_once_are_bounded_by_cpus_cells_and_memory() -> None:
    planned = a_plan(["baseline", "patched"])
    assert jobs_for(planned, cpus=8, memory=100 * GUEST) == 2
    assert jobs_for(planned, cpus=1, memory=100 * GUEST) == 1
    assert jobs_for(planned, cpus=8, memory=GUEST) == 1
    assert jobs_for(planned, cpus=8, memory=0) == 1


def test_this_host_has_memory() -> None:
    assert available_memory() > 0


def test_metadata_is_json_and_complete() -> None:
    said = json.loads(json.dumps(describe(a_plan(["baseline", "patched"]), CASES)))
    assert said["cells"] == [
        {"topology": "machine", "kernel": "baseline"},
        {"topology": "machine", "kernel": "patched"},
    ]
    assert said["kernels"]["patched"]["provides"] == ["shm-expand"]
    assert [case["name"] for case in said["cases"]["demo"]] == ["guard", "grow", "last"]
    assert said["cases"]["demo"][1]["requires"] == ["shm-expand"]
