# SPDX-License-Identifier: GPL-2.0-or-later
"""One mutant's trial: built and run by the command `lab` as a user would, and what its results.json says of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.mutants.mutant import Mutant, Original, write_kernel

ROOT = Path(__file__).parents[2]
TRIAL_S = 1800
EVERYTHING = ("*",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a run showed of its one kernel: `scenario.case` -> outcome, of those that were not as expected."""

    wrong: Mapping[str, str]
    right: frozenset[str]
    trouble: str = ""
    """Why the run says nothing: it was not built, or the lab failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of a mutant. `killers` are `scenario.case (OUTCOME)`."""

    mutant: Mutant
    killers: tuple[str, ...]
    asked_all: bool
    """Whether the named cases did not see it, so that all were run."""
    seconds: float
    trouble: str = ""

    @property
    def word(self) -> str:
        if self.trouble:
            return "INVALID"
        if self.mutant.equal:
            return "NOT EQUAL" if self.killers else "equal"
        return "killed" if self.killers else "SURVIVED"

    @property
    def good(self) -> bool:
        return self.word in ("killed", "equal")


@dataclass(frozen=True, slots=True)
class MutantDirectory:
    """Where the runs of mutants go, and with which presets their kernels are built."""

    directory: Path
    presets: Sequence[str] = ()


def environment() -> dict[str, str]:
    """Return the environment in which `lab` runs from this tree."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}


def run(kernel: str, machine: str, tests: Sequence[str], name: str, place: MutantDirectory) -> Seen:
    """`lab run` of one kernel on one machine."""
    asked = [word for test in tests for word in ("--test", test)]
    asked += [word for preset in place.presets for word in ("--config", preset)]
    output = place.directory / name
    command = [sys.executable, "-m", "lab", "run", "quick", "-t", machine, "-k", kernel, *asked, "-j", "1"]
    done = subprocess.run(
        [*command, "-o", str(output)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TRIAL_S,
        check=False,
    )
    results = output / "results.json"
    if not results.exists():
        return Seen(wrong={}, right=frozenset(), trouble=(done.stderr or done.stdout).strip()[-500:])
    return seen(json.loads(results.read_text()))


def seen(results: Mapping[str, Any]) -> Seen:
    """A run's results. A kernel that does not boot is seen by `boot`; one that does not compile is no mutant at all."""
    failed = [cell for cell in results["cells"] if cell["status"] in ("BROKEN", "INVALID")]
    dead = [cell for cell in results["cells"] if cell["status"] == "NO_BOOT"]
    wrong = {label(each): each["outcome"] for each in results["records"] if each["met"] is False}
    told = {name: outcome for name, outcome in wrong.items() if outcome != "BROKEN"}
    return Seen(
        wrong={**told, "boot": "NO_BOOT"} if dead else told,
        right=frozenset(label(each) for each in results["records"] if each["met"]),
        trouble="; ".join(cell["reason"].partition("\n")[0] for cell in failed) if not told else "",
    )


def label(record: Mapping[str, Any]) -> str:
    return f"{record['scenario']}.{record['case']}"


def attempt(mutant: Mutant, base: Original, unsound: Collection[str], place: MutantDirectory) -> Verdict:
    """Build a mutant and run its cases; all others, too, if none of those sees it.

    `unsound` are cases that fail on the original as well: they see nothing.
    """
    started = time.monotonic()
    kernel = str(write_kernel(mutant, base, place.directory))
    first = run(kernel, mutant.machine, mutant.kills, mutant.name, place)
    found, asked_all = first, False
    if not first.trouble and not _killers(first, unsound):
        found, asked_all = run(kernel, mutant.machine, EVERYTHING, f"{mutant.name}-all", place), True
    return Verdict(
        mutant=mutant,
        killers=_killers(found, unsound),
        asked_all=asked_all,
        seconds=time.monotonic() - started,
        trouble=found.trouble,
    )


def _killers(found: Seen, unsound: Collection[str]) -> tuple[str, ...]:
    return tuple(f"{name} ({outcome})" for name, outcome in sorted(found.wrong.items()) if name not in unsound)
