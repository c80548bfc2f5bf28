# SPDX-License-Identifier: GPL-2.0-or-later
"""What a topology that needs a later one asks of a host."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lab.core.qemu_version import release
from lab.specs.model import Topology

_RELEASE_OFFER = re.compile(r"(\S+) with QEMU (\S+)")


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
