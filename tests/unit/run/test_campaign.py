# SPDX-License-Identifier: GPL-2.0-or-later
"""What metadata.json holds before anything is built, and what is checked before that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.build.builder import Builder
from lab.core.cache import Cache
from lab.core.errors import InfraError
from lab.host.estimate import packing
from lab.run.campaign import CampaignRequest, describe, open_run, reopen_run
from lab.specs.library import Library
from lab.specs.plan import Filters
from tests.unit.fakes import CASES, a_plan
from tests.unit.fixtures import evidence


def test_metadata_is_json_and_complete() -> None:
    said = json.loads(json.dumps(describe(a_plan(["baseline", "patched"]), CASES).document()))
    assert said["cells"] == [
        {"topology": "machine", "kernel": "baseline"},
        {"topology": "machine", "kernel": "patched"},
    ]
    assert said["kernels"]["patched"]["provides"] == ["shm-expand"]
    assert [case["name"] for case in said["cases"]["demo"]] == ["guard", "grow", "last"]
    assert said["cases"]["demo"][1]["requires"] == ["shm-expand"]


@pytest.fixture
def without_rsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that emulates everything and has every program but rsync; building is an error."""
    monkeypatch.setattr("lab.host.doctor.lacking", lambda *_: "")
    monkeypatch.setattr("lab.host.programs._present", lambda program, _: program != "rsync")
    monkeypatch.setattr(Builder, "of", None)


@pytest.mark.usefixtures("without_rsync")
@pytest.mark.parametrize("resumed", [False, True], ids=["run", "run --resume"])
def test_the_programs_of_suites_are_checked_before_anything_is_built(tmp_path: Path, resumed: bool) -> None:
    request = CampaignRequest(campaign="quick", filters=Filters(suites=("kselftest-mm",)))
    library, cache = Library.shipped(), Cache(tmp_path / "cache")
    run = evidence.write(tmp_path / "results", evidence.evidence(command=request.record().model_dump(mode="json")))
    with pytest.raises(InfraError, match="--suite kselftest needs rsync, which is not installed"):
        if resumed:
            reopen_run(run.path, library, cache, packing(cache))
        else:
            open_run(request, library, cache, packing(cache), tmp_path / "new")
    assert not (tmp_path / "new").exists()
