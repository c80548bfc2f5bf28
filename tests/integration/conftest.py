# SPDX-License-Identifier: GPL-2.0-or-later
"""Real guests: the command `lab` as a user runs it, with the user's own cache, so that kernels are built once."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MACHINES = ("x86_64-4k-2node", "arm64-64k-2node")
BUILD_TIMEOUT_S = 3600
"""Kernels may have to be built first; pytest's own time-out for a test that boots is set beside it."""


@dataclass(frozen=True, slots=True)
class LabExit:
    """A finished `lab`."""

    status: int
    stdout: str
    stderr: str


def lab_command(*args: str) -> list[str]:
    return [sys.executable, "-m", "lab", *args]


def lab(*args: str, timeout_s: float = 300, cwd: Path = ROOT) -> LabExit:
    """Run `lab ARGS` to its end."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    done = subprocess.run(
        lab_command(*args), cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    return LabExit(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session", autouse=True)
def own_tmpdir(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Emulators inherit TMPDIR from their lab, so a worker of pytest knows those of its own labs by it."""
    os.environ["TMPDIR"] = str(tmp_path_factory.mktemp("tmp"))


def emulators(since: set[int]) -> set[int]:
    """Process ids of QEMU processes that a lab with our TMPDIR started and that were not there before."""
    ours = os.fsencode(f"TMPDIR={os.environ['TMPDIR']}")
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                arguments, environment = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
            except OSError:
                continue
            if b"qemu-system" in arguments.split(b"\0")[0] and ours in environment.split(b"\0"):
                found.add(int(entry.name))
    return found - since


def root_of(pid: int) -> Path:
    """The private directory below /tmp that an emulator's lab made for itself."""
    found = re.search(rb"/tmp/pagelab-[^/]+", (Path("/proc") / str(pid) / "cmdline").read_bytes())
    assert found
    return Path(found[0].decode())


@pytest.fixture
def no_emulator_left() -> Iterator[set[int]]:
    """Fails the test when a QEMU of the lab outlives it; yields those that were there before."""
    before = emulators(set())
    yield before
    until = time.monotonic() + 5
    while emulators(before) and time.monotonic() < until:
        time.sleep(0.1)
    left = emulators(before)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, f"QEMU processes left behind: {left}"


@dataclass(frozen=True, slots=True)
class CampaignRun:
    """A finished `lab run` and what it left."""

    done: LabExit
    path: Path
    results: dict[str, Any]

    def outcomes(self, topology: str, kernel: str) -> dict[str, str]:
        """`scenario.case` -> outcome on one cell."""
        return {
            f"{each['scenario']}.{each['case']}": each["outcome"]
            for each in self.results["records"]
            if (each["topology"], each["kernel"]) == (topology, kernel)
        }


def run_campaign(path: Path, *args: str, timeout_s: float = 600) -> CampaignRun:
    """`lab run ARGS -o PATH` and its results."""
    return finished(lab("run", *args, "-o", str(path), timeout_s=timeout_s), path)


def finished(done: LabExit, path: Path) -> CampaignRun:
    """A `lab run` that has ended, with the results that it left."""
    results = path / "results.json"
    return CampaignRun(done, path, json.loads(results.read_text()) if results.exists() else {})


def copy(campaign: CampaignRun, to: Path) -> Path:
    """A copy of the results of a run, for a test that changes them."""
    return Path(shutil.copytree(campaign.path, to, ignore=shutil.ignore_patterns(".lock")))


@pytest.fixture(scope="session")
def built() -> None:
    """Everything of the campaign quick is in the cache (minutes where it was not)."""
    done = lab("build", "quick", timeout_s=BUILD_TIMEOUT_S)
    assert done.status == 0, done.stderr[-4000:] + done.stdout[-4000:]


@pytest.fixture(scope="session")
def quick(built: None, tmp_path_factory: pytest.TempPathFactory) -> CampaignRun:
    """The campaign quick, run once for all tests of all of pytest's workers. They must not change it."""
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent
    done = place / "quick.json"
    with (place / "quick.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            run = run_campaign(place / "quick", "quick", timeout_s=900)
            done.write_text(json.dumps(asdict(run.done)))
    return finished(LabExit(**json.loads(done.read_text())), place / "quick")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whichever test of a guest comes first may have to build kernels."""
    for item in items:
        if Path(item.path).parent.name == "integration":
            item.add_marker(pytest.mark.timeout(BUILD_TIMEOUT_S))
