# SPDX-License-Identifier: GPL-2.0-or-later
"""The version of an emulator, and what a topology that needs a later one asks of a host."""

from __future__ import annotations

import functools
import re

from lab.core import proc
from lab.specs.model import Topology

_MAJORS = range(5, 30)
_MINORS = range(3)
"""QEMU has three releases a year, .0 to .2."""


@functools.cache
def version(program: str) -> str:
    """Return the version of an emulator, such as `7.2.22 (Debian 1:7.2+dfsg-7)`."""
    printed = proc.run([program, "--version"], timeout_s=60, check=False).output
    return printed.partition("\n")[0].removeprefix("QEMU emulator version ")


def release(text: str) -> tuple[int, int]:
    """Return major and minor number of a version; (0, 0) if it has none."""
    numbers = re.match(r"(\d+)\.(\d+)", text)
    if not numbers:
        return 0, 0
    return int(numbers[1]), int(numbers[2])


def too_old(topology: Topology, installed: str) -> str:
    """Return why an emulator of this version cannot run a machine; empty if it can."""
    if not topology.qemu or release(installed) >= release(topology.qemu):
        return ""
    return f"it needs QEMU {topology.qemu}, {topology.architecture.qemu} is {installed}"


def release_offer(arch: str, least: str) -> str:
    """Return what a host offers whose emulator of an architecture is at least of a release, such as 8.2."""
    major, minor = release(least)
    return f"{arch} with QEMU {major}.{minor}"


def release_offers(arch: str, installed: str) -> set[str]:
    """Return what a host offers for all releases up to the one of its emulator."""
    found = {release_offer(arch, installed)}
    for major in _MAJORS:
        for minor in _MINORS:
            if (major, minor) <= release(installed):
                found.add(release_offer(arch, f"{major}.{minor}"))
    return found
