# SPDX-License-Identifier: GPL-2.0-or-later
"""The version of an emulator, and what a topology that needs a later one asks of a host."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass

from lab.core import proc
from lab.specs.model import Topology

_RELEASE_OFFER = re.compile(r"(\S+) with QEMU (\S+)")


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
    return f"it needs QEMU {topology.qemu}, {topology.architecture.qemu} is {installed or 'of an unknown release'}"


def release_offer(arch: str, least: str) -> str:
    """Return what a host offers whose emulator of an architecture is at least of a release, such as 8.2."""
    return f"{arch} with QEMU {least}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOffers:
    """What a host offers. A release of an emulator offers every earlier one too."""

    words: frozenset[str]
    emulators: Mapping[str, str]
    """Architecture -> the version of its emulator."""

    def __contains__(self, need: object) -> bool:
        if asked := _RELEASE_OFFER.fullmatch(str(need)):
            arch, least = asked.groups()
            return release(self.emulators.get(arch, "")) >= release(least)
        return need in self.words
