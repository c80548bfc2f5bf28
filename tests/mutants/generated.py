# SPDX-License-Identifier: GPL-2.0-or-later
"""Mutants that `lab mutate` generates from the lab's own series, and arguments for those that nobody can notice."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from lab.core.errors import LabError
from lab.verdicts.mutation import SURVIVORS, Fate, MutationReport
from tests.mutants.mutant import MACHINE
from tests.mutants.trial import ROOT, MutantDirectory, environment

SERIES = ("expand-fault", "expand-mremap", "expand-op", "dontexpand-dup")
EQUAL = Path(__file__).parent / "equal"


def command(series: str, place: MutantDirectory, minutes: float | None) -> list[str]:
    """Return the command that tries the generated mutants of a series, or goes on with them."""
    directory = place.directory / f"generated-{series}"
    words = [sys.executable, "-m", "lab", "mutate"]
    if (directory / "mutants.json").is_file():
        words += ["--resume", str(directory)]
    else:
        words += ["-k", series, "-t", MACHINE, "-o", str(directory)]
        for preset in place.presets:
            words += ["--config", preset]
    equal = EQUAL / f"{series}.json"
    if equal.is_file():
        words += ["--equal", str(equal)]
    if minutes is not None:
        words += ["--minutes", f"{minutes:g}"]
    return words


def attempt(series: str, place: MutantDirectory, minutes: float | None) -> MutationReport:
    """Try the generated mutants of a series, what is printed goes to the terminal; LabError if there is no report."""
    done = subprocess.run(command(series, place, minutes), cwd=ROOT, env=environment(), check=False)
    report = place.directory / f"generated-{series}" / "mutation.json"
    if done.returncode != 0 or not report.is_file():
        raise LabError(f"lab mutate -k {series} ended with status {done.returncode}")
    return MutationReport.model_validate_json(report.read_text())


def killed_and_survived(reports: Sequence[MutationReport]) -> tuple[int, int]:
    """Return how many generated mutants were killed, and how many survived without an argument."""
    results = [result for report in reports for result in report.results]
    killed = sum(result.fate is Fate.KILLED for result in results)
    survived = sum(result.fate in SURVIVORS and not result.argument for result in results)
    return killed, survived


def not_tried(reports: Sequence[MutationReport]) -> int:
    """Return how many generated mutants have no verdict yet."""
    missing = 0
    for report in reports:
        decided = sum(result.fate is not Fate.NO_VERDICT for result in report.results)
        missing += len(report.mutants) - decided
    return missing
