# SPDX-License-Identifier: GPL-2.0-or-later
"""What a host offers to a cluster, as it was measured there; and what follows for the schedule."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import shutil
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from lab import __version__
from lab.build import toolchain
from lab.cluster.job import JsonDocument
from lab.core import paths, proc, qemu_version
from lab.core.cache import Cache
from lab.core.sizes import GIB
from lab.guests import accelerator
from lab.host import doctor
from lab.host.emulator import HostOffers
from lab.host.estimate import MAX_GUESTS, MEMORY_SHARE, build_offer, kvm_offer, start_offer
from lab.host.schedule import Budget
from lab.specs.arches import ARCHES

DISK_LEAST = 1 * GIB
"""Bytes that must be free for a host to be given cells: kernels, programs and the evidence of some guests."""
CLOCK_S = 60.0
"""A clock that is further off than this is reported."""


class ArchOffer(JsonDocument):
    """What a host can do for one architecture."""

    emulator: str
    """Its version."""
    kvm: bool = False
    """A guest has booted here with KVM since the host's boot."""
    why: str = ""
    """What decided about KVM."""
    build: bool = False
    """There is a compiler for it."""


class HostWork(JsonDocument):
    """What a worker does, and has done since it was started."""

    since: float
    """When it was started, by its clock: seconds since the epoch."""
    doing: tuple[str, ...] = ()
    """The attempts and builds under way, each with its seconds so far."""
    ended: Mapping[str, int] = Field(default_factory=dict)
    """Status -> how many attempts ended with it."""
    builds: int = 0
    run_s: float = 0.0
    """How long the guests of all attempts ran."""


class Offer(JsonDocument):
    """A host, measured by itself."""

    name: str
    lab: str
    """The hash of its lab."""
    version: str
    machine: str
    kernel: str
    cpus: int
    memory: int
    """Bytes that are available."""
    guests: int
    disk: int
    """Bytes that are free in the cache's file system."""
    load: float
    time: float
    """Its clock, seconds since the epoch."""
    libvirt: str = ""
    arches: dict[str, ArchOffer]
    work: HostWork | None = None

    @property
    def can_build(self) -> bool:
        """Whether it has a compiler for some architecture."""
        return any(arch.build for arch in self.arches.values())

    @property
    def budget(self) -> Budget:
        """What guests and compilers may use there."""
        return Budget(memory=int(self.memory * MEMORY_SHARE), cpus=float(self.cpus), guests=self.guests)

    @property
    def offers(self) -> HostOffers:
        """What tasks can need of it."""
        found: set[str] = set()
        for name, arch in self.arches.items():
            found.add(start_offer(name))
            if arch.kvm:
                found.add(kvm_offer(name))
            if arch.build:
                found.add(build_offer(name))
        emulators = {name: arch.emulator for name, arch in self.arches.items()}
        return HostOffers(words=frozenset(found), emulators=emulators)

    def refused(self) -> str:
        """Why it is given nothing; empty if it is given cells."""
        if self.lab != lab_hash():
            return f"another lab: {self.version} {self.lab}, this is {__version__} {lab_hash()}"
        if self.disk < DISK_LEAST:
            return f"{self.disk / GIB:.1f} GiB of disk are free, {DISK_LEAST / GIB:.0f} GiB are needed"
        if not self.arches:
            return "it can start guests of no architecture: `lab doctor` there says why"
        return ""

    def remarks(self, now: float | None = None) -> list[str]:
        """What should be known about it, and keeps nothing from running."""
        off = self.time - (time.time() if now is None else now)
        if abs(off) > CLOCK_S:
            return [f"its clock is {off:+.0f} s off"]
        return []


def measure(name: str, cache: Cache, *, guests: int | None = None) -> Offer:
    """Return what this host can do: what the doctor finds, and what guests have proved since the host's boot."""
    arches = {}
    for arch in ARCHES.values():
        if proc.which(arch.qemu):
            known = accelerator.known(arch, cache)
            why = accelerator.kvm_impossible(arch) or "no guest has booted with KVM here yet"
            arches[arch.name] = ArchOffer(
                emulator=qemu_version.installed(arch.qemu),
                kvm=bool(known and known[0]),
                why=known[1] if known else why,
                build=not doctor.lacking(arch),
            )
    return Offer(
        name=name,
        lab=lab_hash(),
        version=__version__,
        machine=platform.machine(),
        kernel=platform.release(),
        cpus=toolchain.jobs(),
        memory=doctor.available_memory(),
        guests=guests or MAX_GUESTS,
        disk=_free(cache.root),
        load=os.getloadavg()[0],
        time=time.time(),
        arches=arches,
    )


@functools.cache
def lab_hash() -> str:
    """Return a hash of this lab: its sources, and what it builds into guests. Hosts with another are given nothing."""
    state = hashlib.sha256(__version__.encode())
    package = Path(__file__).parents[1]
    files = [*package.rglob("*.py"), *(paths.images() / "rootfs").rglob("*")]
    for path in sorted(files):
        if path.is_file():
            state.update(path.name.encode() + b"\0" + path.read_bytes())
    return state.hexdigest()[:12]


def host_name() -> str:
    """Return the name of this host, as it is unless the user gives it another."""
    return socket.gethostname().partition(".")[0] or "host"


def _free(path: Path) -> int:
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free
