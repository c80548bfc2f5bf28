# SPDX-License-Identifier: GPL-2.0-or-later
"""tests/bare_host.py: every verb and kind of suite is tried, and what a bare host prints is judged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from lab.cli import main
from lab.host.needs import NEEDS, SUITE
from tests.bare_host import PAIR, TRIALS, Trial, fault

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("verb", main.commands)
def test_every_verb_is_tried(verb: str) -> None:
    assert any(f"lab {verb} " in f"{trial.line} " for trial in TRIALS)


@pytest.mark.parametrize("kind", [what for what in NEEDS if what.startswith(SUITE)])
def test_every_kind_of_suite_is_tried(kind: str) -> None:
    assert any(kind in trial.line for trial in TRIALS)


def test_a_pair_is_some_of_the_trials() -> None:
    assert set(PAIR) < {trial.line for trial in TRIALS}


def test_continuous_integration_runs_on_both_hosts() -> None:
    workflow = yaml.safe_load((REPOSITORY / ".github/workflows/tests.yml").read_text())
    hosts = workflow["jobs"]["tests"]["strategy"]["matrix"]["include"]
    assert {host["host"]: host["run"] for host in hosts} == {"debian-12": ".ci/run", "debian-13": ".ci/second-host"}
    assert all(os.access(REPOSITORY / host["run"], os.X_OK) for host in hosts)
    assert "--release trixie --pair" in (REPOSITORY / ".ci/second-host").read_text()


@pytest.mark.parametrize(
    ("status", "printed", "wrong"),
    [
        (0, "lab 1.0", ""),
        (2, "lab 1.0", "exit status 2, expected 0"),
        (0, "nothing", "does not print 'lab'"),
        (0, "lab 1.0\nlab: rsync: No such file or directory\n", "prints 'lab: rsync: No such file or directory'"),
        (0, "lab\nReloading system message bus config...Failed to connect: No such file or directory\n", ""),
        (1, "Traceback (most recent call last):", "prints 'Traceback (most recent call last):'"),
    ],
)
def test_what_is_wrong_is_named(status: int, printed: str, wrong: str) -> None:
    assert fault(Trial(line="lab --version", text="lab"), status, printed) == wrong
