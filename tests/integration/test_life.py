# SPDX-License-Identifier: GPL-2.0-or-later
"""What outlives the lab (nothing), what does not fit (INVALID), and programs run by hand."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration.conftest import MACHINES, ROOT, CampaignRun, emulators, lab, lab_command, root_of, run_campaign

KERNEL = ("-k", "baseline")


@pytest.mark.parametrize("machine", MACHINES)
def test_exec_returns_output_and_status(built: None, no_emulator_left: set[int], machine: str) -> None:
    done = lab("exec", "-t", machine, *KERNEL, "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.status, done.stdout, done.stderr) == (7, "out\n", "err\n")


def test_exec_pushes_a_file_of_ours(built: None, tmp_path: Path) -> None:
    program = tmp_path / "hello"
    program.write_text('#!/bin/sh\necho "$1" from $(uname -m)\n')
    program.chmod(0o755)
    done = lab("exec", "-t", MACHINES[1], *KERNEL, "--", str(program), "a b")
    assert (done.status, done.stdout) == (0, "a b from aarch64\n")


def test_exec_says_124_when_the_program_takes_too_long(built: None) -> None:
    done = lab("exec", "-t", MACHINES[0], *KERNEL, "--timeout", "0.1", "--", "sleep", "100")
    assert done.status == 124
    assert "not done within" in done.stderr


def test_exec_says_125_when_the_lab_failed(built: None, tmp_path: Path) -> None:
    done = lab("exec", "-t", MACHINES[0], *KERNEL, "--connect", f"test:///{tmp_path}/none", "--", "true")
    assert done.status == 125


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_emulator_survives_and_results_are_readable(
    built: None, tmp_path: Path, no_emulator_left: set[int], number: signal.Signals
) -> None:
    output = tmp_path / "run"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    # A shell's background jobs, CI's perhaps, ignore SIGINT and hand that down.
    running = subprocess.Popen(
        ["env", "--default-signal=INT", *lab_command("run", "quick", "-o", str(output))],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 120
    # Of a program that has verdicts on every machine: the first one, costs, skips them all where time is emulated.
    while not list(output.glob("cells/*/*/dontexpand.ktap")) and time.monotonic() < until and running.poll() is None:
        time.sleep(0.05)
    roots = {root_of(pid) for pid in emulators(no_emulator_left)}
    assert roots
    running.send_signal(number)
    status = running.wait(timeout=30)
    until = time.monotonic() + 5
    while (emulators(no_emulator_left) or any(map(Path.exists, roots))) and time.monotonic() < until:
        time.sleep(0.05)
    assert not emulators(no_emulator_left)
    assert not any(map(Path.exists, roots))
    if number != signal.SIGKILL:
        assert status == 130
    report = lab("report", str(output), "--format", "json")
    assert report.status in (1, 2), report.stderr
    outcomes = {record["outcome"] for record in json.loads(report.stdout)["records"]}
    assert {"PASS", "BROKEN"} <= outcomes, "what ran has its verdict, what did not is BROKEN"


TWICE = """
from lab.core.cache import Cache, default_root
from lab.guests.vm import hypervisor

cache = Cache(default_root())
for _ in range(2):
    with cache.scratch("twice") as scratch, hypervisor(cache, scratch) as opened:
        print(opened.root)
"""


def test_a_process_may_have_one_hypervisor_after_the_other() -> None:
    """As each step of a bisection has."""
    command = [*lab_command()[:1], "-c", TWICE]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    first, second = done.stdout.split()
    assert first == second, done.stderr
    until = time.monotonic() + 10
    while Path(first).exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert not Path(first).exists()


def test_a_guest_that_is_another_machine_is_invalid(built: None, tmp_path: Path) -> None:
    text = (ROOT / "topologies" / f"{MACHINES[1]}.yaml").read_text()
    topology = tmp_path / "liar.yaml"
    topology.write_text(text + 'qemu_args: ["-append", "console=ttyAMA0 panic=-1 maxcpus=2"]\n')
    run = run_campaign(tmp_path / "run", "quick", "-t", str(topology), *KERNEL, "--test", "guards")
    assert run.done.status == 2
    (cell,) = run.results["cells"]
    assert cell["status"] == "INVALID"
    assert "CPUs" in {each["fact"] for each in cell["mismatches"]}
    assert not list((run.path / "cells").glob("*/*/*.ktap"))
    assert {each["outcome"] for each in run.results["records"]} == {"BROKEN"}


def test_a_second_run_builds_nothing_and_sees_the_same(quick: CampaignRun, tmp_path: Path) -> None:
    started = time.monotonic()
    run = run_campaign(tmp_path / "run", "quick", "--test", "expand")
    assert run.done.status == 0
    assert time.monotonic() - started < 60
    for machine in MACHINES:
        for kernel in ("baseline", "expand-fault"):
            before, again = quick.outcomes(machine, kernel), run.outcomes(machine, kernel)
            assert again == {case: outcome for case, outcome in before.items() if case.startswith("expand.")}


def test_a_fresh_guest_for_every_scenario(built: None, tmp_path: Path) -> None:
    campaign = tmp_path / "apart.yaml"
    campaign.write_text(
        f"topologies: [{MACHINES[1]}]\nkernels: [expand-fault]\nscenarios: [guards, expand.a0*, limits.c0*]\n"
        "isolation: fresh\n"
    )
    run = run_campaign(tmp_path / "run", str(campaign))
    assert run.done.status == 0, run.done.stdout[-3000:] + run.done.stderr[-2000:]
    (journal,) = run.path.glob("cells/*/*/events.jsonl")
    assert journal.read_text().count('"event": "boot"') == 3


def test_a_case_that_nobody_has_is_refused(built: None, tmp_path: Path) -> None:
    done = lab("run", "quick", "--test", "expand.a01_grow_tuoch", "-o", str(tmp_path / "run"))
    assert done.status == 64
    assert "did you mean 'a01_grow_touch'?" in done.stderr
    assert not (tmp_path / "run").exists()
