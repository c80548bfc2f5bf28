# SPDX-License-Identifier: GPL-2.0-or-later
"""Break the series and see it caught: each deliberate defect below must fail a named case on a real guest."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.integration.conftest import MACHINES, ROOT, Campaign, run_campaign

SERIES = ROOT / "images" / "series" / "expand-fault"
MUTANTS = Path(__file__).parent / "mutants"


def broken_kernel(directory: Path, mutant: Path) -> Path:
    """A kernel YAML whose series is expand-fault with one defect on top."""
    (version,) = SERIES.iterdir()
    series = directory / "series"
    series.mkdir()
    for patch in version.glob("*.patch"):
        shutil.copy(patch, series)
    shutil.copy(mutant, series / "9999-defect.patch")
    kernel = directory / "defect.yaml"
    kernel.write_text("source: debian:linux-source-6.12\nseries: ./series\nprovides: [shm-expand]\n")
    return kernel


@pytest.mark.parametrize("mutant", sorted(MUTANTS.glob("*.patch")), ids=lambda path: path.stem)
def test_a_defect_of_the_series_is_caught(quick: Campaign, tmp_path: Path, mutant: Path) -> None:
    kernel = broken_kernel(tmp_path, mutant)
    run = run_campaign(
        tmp_path / "run", "quick", "-t", MACHINES[0], "-k", "baseline", "-k", str(kernel), timeout_s=1800
    )
    assert run.done.status == 1, run.done.stdout[-3000:] + run.done.stderr[-3000:]
    not_met = [each for each in run.results["records"] if each["met"] is False]
    assert not_met
    assert {each["kernel"] for each in not_met} == {"defect"}
    assert all(each["case"] in run.done.stdout for each in not_met)


def test_there_are_defects_to_catch() -> None:
    assert {path.stem for path in MUTANTS.glob("*.patch")} >= {"no-accounting", "no-size-check", "no-policy"}
