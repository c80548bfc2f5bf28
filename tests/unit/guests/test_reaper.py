# SPDX-License-Identifier: GPL-2.0-or-later
"""The reaper: kills what names the lab's root once the lab is gone, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from lab.guests import reaper

LAB = """
import subprocess, sys, os, time
root, script = sys.argv[1:]
reading, writing = os.pipe()
subprocess.Popen([sys.executable, "-I", "-S", script, root, str(reading)], pass_fds=(reading,), start_new_session=True)
os.close(reading)
print("ready", flush=True)
time.sleep(60)
"""


def _emulator(root: Path) -> subprocess.Popen[bytes]:
    """A process that looks like a QEMU of this root, in a session of its own."""
    return subprocess.Popen(["sh", "-c", "sleep 60; true", "qemu", f"file={root}/lib/key"], start_new_session=True)


def test_kills_what_names_the_root_when_the_lab_is_killed(tmp_path: Path) -> None:
    root, other = tmp_path / "pagelab-a", tmp_path / "pagelab-ab"
    root.mkdir()
    other.mkdir()
    ours, others = _emulator(root), _emulator(other)
    lab = subprocess.Popen([sys.executable, "-c", LAB, str(root), reaper.__file__], stdout=subprocess.PIPE)
    try:
        assert lab.stdout
        lab.stdout.readline()
        assert ours.poll() is None
        os.kill(lab.pid, signal.SIGKILL)
        started = time.monotonic()
        assert ours.wait(timeout=5) == -signal.SIGKILL
        while root.exists() and time.monotonic() - started < 5:
            time.sleep(0.02)
        assert not root.exists()
        assert time.monotonic() - started < 5
        assert others.poll() is None
    finally:
        for process in (ours, others, lab):
            process.kill()
            process.wait()
        if lab.stdout:
            lab.stdout.close()
