# SPDX-License-Identifier: GPL-2.0-or-later
"""Kills the emulators of a lab process after that process has ended, even by SIGKILL.

libvirt's embedded driver has no autodestroy: a QEMU process outlives a lab that was killed. Therefore every lab starts
this program first and holds the write end of a pipe to it, which the kernel closes when the lab ends. The reaper then
kills every process whose command line contains the lab's private root directory, and removes the directory. With a
daemon the directory is the one that the lab's guests boot from.

This file runs as a separate script (`python -I -S reaper.py ROOT FD`): it uses the standard library only and imports
nothing of the lab.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path

SETTLE_S = 2.0
"""Seconds during which to look again for an emulator that libvirt was starting when the lab died."""


def emulators(root: str) -> list[int]:
    """Return the ids of the processes, other than this one, whose command line contains the root directory."""
    processes = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            arguments = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if f"{root}/".encode() in arguments:
            processes.append(int(entry.name))
    return processes


def reap(root: str) -> None:
    """Kill the emulators that use `root`, look again until there are none, and remove the directory."""
    until = time.monotonic() + SETTLE_S
    seen = False
    while True:
        alive = emulators(root)
        for pid in alive:
            seen = True
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            except PermissionError:  # the emulator belongs to a system daemon, which ends it by itself
                return
        if not alive and (not Path(root, "starting").exists() or time.monotonic() > until):
            break
        time.sleep(0.05 if seen else 0.1)
    shutil.rmtree(root, ignore_errors=True)


def main() -> None:
    root, descriptor = sys.argv[1], int(sys.argv[2])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.read(descriptor, 1):  # nothing is ever written: read returns at end of file, when the lab has ended
        pass
    reap(root)


if __name__ == "__main__":
    main()
