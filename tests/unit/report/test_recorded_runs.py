# SPDX-License-Identifier: GPL-2.0-or-later
"""Recorded runs of an earlier version of the lab read as they did, and their documents are the same byte for byte.

In tests/golden/runs: `limits` is a run of two kernels on a machine, without the files that no document is made from;
`failures` has a panic, a guest that is another machine, a kernel that does not boot, and a cell that the lab broke.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.evidence import read
from lab.evidence.metadata import Metadata
from lab.evidence.write import RunDir
from lab.report import registry as report
from lab.verdicts.compare import Summary, conclude, conclude_directory

RUNS = Path(__file__).parents[2] / "golden" / "runs"
NAMES = ("limits", "failures")
DOCUMENTS = {"json": "results.json", "junit": "junit.xml", "kcidb": "kcidb.json"}


def concluded(name: str, monkeypatch: pytest.MonkeyPatch) -> Summary:
    monkeypatch.chdir(RUNS)
    return conclude_directory(Path(name))


@pytest.mark.parametrize("form", DOCUMENTS)
@pytest.mark.parametrize("name", NAMES)
def test_the_documents_of_a_recorded_run_are_the_same(name: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = report.render(concluded(name, monkeypatch), form)
    assert written == (RUNS / name / DOCUMENTS[form]).read_text("utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_reading_cell_by_cell_comes_to_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one_by_one = concluded(name, monkeypatch)
    assert one_by_one.records == conclude(read.load(Path(name))).records
    assert len(one_by_one.records) >= 12


@pytest.mark.parametrize("name", NAMES)
def test_the_metadata_of_a_recorded_run_is_written_as_it_was(name: str, tmp_path: Path) -> None:
    RunDir(tmp_path).write_metadata(read.read_metadata(RUNS / name))
    assert (tmp_path / "metadata.json").read_bytes() == (RUNS / name / "metadata.json").read_bytes()


def test_a_record_has_types_and_keeps_keys_of_other_versions() -> None:
    document = {
        "schema": 1,
        "cells": [{"topology": "pc", "kernel": "patched"}],
        "builds": {"pc/patched": {"key": "k", "of_a_later_version": [1, 2.0, None]}},
        "of_an_older_version": {"a": 1},
    }
    metadata = Metadata.model_validate(document)
    build = metadata.build("pc", "patched")
    assert build is not None
    assert (build.key, build.compiler, build.patches) == ("k", "", ())
    assert metadata.build("pc", "baseline") is None
    assert metadata.document() == document
    assert list(metadata.changed(resumed=["now"], pagelab="1").document()) == [*document, "resumed", "pagelab"]
