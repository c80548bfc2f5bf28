# SPDX-License-Identifier: GPL-2.0-or-later
"""What metadata.json holds before anything is built."""

from __future__ import annotations

import json

from lab.run.campaign import describe
from tests.unit.fakes import CASES, a_plan


def test_metadata_is_json_and_complete() -> None:
    said = json.loads(json.dumps(describe(a_plan(["baseline", "patched"]), CASES).document()))
    assert said["cells"] == [
        {"topology": "machine", "kernel": "baseline"},
        {"topology": "machine", "kernel": "patched"},
    ]
    assert said["kernels"]["patched"]["provides"] == ["shm-expand"]
    assert [case["name"] for case in said["cases"]["demo"]] == ["guard", "grow", "last"]
    assert said["cases"]["demo"][1]["requires"] == ["shm-expand"]
