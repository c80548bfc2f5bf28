# SPDX-License-Identifier: GPL-2.0-or-later
"""Ends the emulators of a lab that died, however it died.

libvirt's embedded driver has no autodestroy: a QEMU process outlives the lab that was killed. So every lab starts this
program first and holds the write end of a pipe to it; the kernel closes that end when the lab is gone. Then every
process whose command line names the lab's private root directory is killed and the directory is removed. With a daemon
the directory is the one that the lab's guests boot from.

Runs as a script of its own (`python -I -S reaper.py ROOT FD`): standard library only, nothing of the lab imported.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path

SETTLE_S = 2.0
"""How long to look again for an emulator that libvirt was starting while the lab died."""


def emulators(root: str) -> list[int]:
    """Process ids, other than ours, whose command line has the root directory in it."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            arguments = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if f"{root}/".encode() in arguments:
            found.append(int(entry.name))
    return found


def reap(root: str) -> None:
    """Kill what is left below `root`, look again until nothing new shows up, remove the directory."""
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
            except PermissionError:  # a system daemon's, which ends it itself
                return
        if not alive and (not Path(root, "starting").exists() or time.monotonic() > until):
            break
        time.sleep(0.05 if seen else 0.1)
    shutil.rmtree(root, ignore_errors=True)


def main() -> None:
    root, descriptor = sys.argv[1], int(sys.argv[2])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.read(descriptor, 1):  # nobody writes: this returns when the lab is gone
        pass
    reap(root)


if __name__ == "__main__":
    main()
