# SPDX-License-Identifier: GPL-2.0-or-later
"""Break the series and see it caught: some defects of `make mutants` must fail named cases on a real guest."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.core.cache import Cache, default_root
from lab.formats.patches import patch
from lab.verbs.places import open_library
from lab.workflows import mutation_task
from tests.integration.conftest import MACHINES, ROOT, CampaignRun, run_campaign
from tests.mutants.mutant import PROVIDES, Mutant, as_patch, original, write_kernel
from tests.mutants.table import MUTANTS

CHOSEN = [each for each in MUTANTS if each.name in ("no-accounting", "size-may-shrink", "no-policy")]


@pytest.mark.parametrize("mutant", CHOSEN, ids=lambda each: each.name)
def test_a_defect_of_the_series_is_caught(quick: CampaignRun, tmp_path: Path, mutant: Mutant) -> None:
    kernel = write_kernel(mutant, original(mutant.series, Cache(default_root())), tmp_path)
    which = ("-t", MACHINES[0], "-k", "baseline", "-k", str(kernel), "--test", mutant.kills[0])
    run = run_campaign(tmp_path / "run", "quick", *which, timeout_s=1800)
    assert run.done.status == 1, run.done.stdout[-3000:] + run.done.stderr[-3000:]
    not_met = [each for each in run.results["records"] if each["met"] is False]
    assert not_met
    assert {each["kernel"] for each in not_met} == {mutant.name}
    assert all(each["case"] in run.done.stdout for each in not_met)


@pytest.mark.parametrize("series", sorted(PROVIDES))
def test_every_edit_fits_its_series(built: None, series: str) -> None:
    if not (ROOT / "images" / "series" / series).is_dir():
        pytest.skip(f"no series {series}")
    base = original(series, Cache(default_root()))
    for each in MUTANTS:
        if each.series == series:
            assert patch.parse(as_patch(each, base.read).encode(), each.name)


@pytest.mark.parametrize("arguments", sorted((ROOT / "tests/mutants/equal").glob("*.json")), ids=lambda path: path.stem)
def test_every_argument_is_about_a_generated_mutant(built: None, arguments: Path) -> None:
    kernel = open_library().kernel(arguments.stem.removesuffix("-64k"))
    mutants = mutation_task.generate(kernel, Cache(default_root()))
    assert mutation_task.read_arguments([arguments], mutants)


def test_there_are_defects_to_catch() -> None:
    assert len(CHOSEN) == 3
