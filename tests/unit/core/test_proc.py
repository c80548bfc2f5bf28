# SPDX-License-Identifier: GPL-2.0-or-later
"""The door for processes: ends, time-outs, output, and children that die with the lab."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lab.core import proc
from lab.core.errors import InfraError


def test_output_and_status() -> None:
    done = proc.run(["sh", "-c", "echo out; echo err >&2; exit 3"], check=False)
    assert (done.status, done.output) == (3, "out\nerr")


def test_failure_prints_a_command_that_can_be_pasted(tmp_path: Path) -> None:
    with pytest.raises(proc.ProcError) as caught:
        proc.run(["sh", "-c", "echo it broke; exit 2"], cwd=tmp_path)
    assert "exit status 2: it broke" in str(caught.value)
    assert f"cd {tmp_path} && sh -c 'echo it broke; exit 2'" in str(caught.value)


def test_a_signal_has_its_name() -> None:
    with pytest.raises(proc.ProcError, match="killed by SIGTERM"):
        proc.run(["sh", "-c", "kill -TERM $$"])


def test_time_out_ends_the_whole_family(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    started = time.monotonic()
    with pytest.raises(proc.ProcError, match="not done within"):
        proc.run(["sh", "-c", f"sleep 60 & echo $! > {pid_file}; wait"], timeout_s=0.3)
    assert time.monotonic() - started < 5
    _gone(int(pid_file.read_text()))


def test_stdin_is_closed_unless_given() -> None:
    assert proc.run(["cat"]).output == ""
    assert proc.run(["cat"], input=b"abc" * 100_000, whole=True).output == "abc" * 100_000


def test_only_the_last_lines_are_kept_but_all_are_told() -> None:
    told: list[str] = []
    done = proc.run(["seq", "1000"], on_line=told.append)
    assert len(told) == 1000
    assert done.output.splitlines() == [str(n) for n in range(1001 - proc.KEEP_LINES, 1001)]


def test_missing_program() -> None:
    with pytest.raises(InfraError, match="no such program"):
        proc.run(["no-such-program-here"])


def test_environment_is_small_and_english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSS_COMPILE", "surprise-")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    said = proc.run(["env"], env={"ARCH": "x86"}, whole=True).output.splitlines()
    assert "ARCH=x86" in said
    assert "LC_ALL=C.UTF-8" in said
    assert not [line for line in said if line.startswith("CROSS_COMPILE")]


def test_children_die_when_the_lab_is_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = f"from lab.core import proc; proc.run(['sh', '-c', 'echo $$ > {pid_file}; exec sleep 60'])"
    lab = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[3])
    try:
        until = time.monotonic() + 10
        while not (pid_file.exists() and pid_file.read_text().strip()) and time.monotonic() < until:
            time.sleep(0.02)
        os.kill(lab.pid, signal.SIGKILL)
    finally:
        lab.wait()
    _gone(int(pid_file.read_text()))


def test_abort_ends_what_runs_and_starts_no_more() -> None:
    errors: list[str] = []

    def run(argv: list[str]) -> None:
        try:
            proc.run(argv)
        except InfraError as error:
            errors.append(str(error))

    thread = threading.Thread(target=run, args=(["sleep", "60"],))
    thread.start()
    while not proc.children.running:
        time.sleep(0.01)
    try:
        proc.abort()
        thread.join(5)
        run(["true"])
    finally:
        proc.children.reset()
    ended, refused = errors
    assert "killed by SIGKILL" in ended
    assert "interrupted" in refused
    assert proc.run(["true"]).status == 0


def _gone(pid: int) -> None:
    """Wait until a process has ended; fails when it does not."""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state == "Z":
            return
        time.sleep(0.02)
    pytest.fail(f"process {pid} is still alive")
