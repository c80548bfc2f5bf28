# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether KVM works on this host, proved by a guest that boots with it: a device that opens proves nothing."""

from __future__ import annotations

import platform
from collections.abc import Iterator

from lab.arch.record import Arch
from lab.build import kernel, rootfs
from lab.build.builder import Artifacts
from lab.build.programs import GuestTests
from lab.cluster.worker import WorkerHost
from lab.core.cache import Cache
from lab.core.errors import LabError
from lab.guests import accelerator
from lab.guests.factory import BootableCell
from lab.specs.arches import ARCHES
from lab.specs.model import Topology

MEMORY = 256 << 20


def prove_kvm(host: WorkerHost) -> Iterator[str]:
    """Boot a guest with KVM for each architecture of this host that could, and yield a line on what it showed.

    A guest needs a kernel and a userland, of the cache. Without them the first cell proves it.
    """
    cache = Cache(host.cache_root)
    for arch in ARCHES.values():
        if arch.uname != platform.machine():
            continue
        if reason := accelerator.kvm_impossible(arch):
            yield f"{arch.name}: emulated: {reason}"
        elif known := accelerator.known(arch, cache):
            yield f"{arch.name}: {known[1]}"
        elif bootable_cell := _bootable(arch, host, cache):
            yield f"{arch.name}: {_proved(bootable_cell)}"
        else:
            yield f"{arch.name}: the first guest will show whether KVM works"


def _proved(cell: BootableCell) -> str:
    """Start the probing guest; return what it showed."""
    try:
        return cell.factory.accelerator_of(cell).why
    except LabError as error:
        return f"KVM could not be probed: {error}"


def _bootable(arch: Arch, host: WorkerHost, cache: Cache) -> BootableCell | None:
    """A kernel and a userland for an architecture; None if the cache has no kernel, or the userland does not build."""
    built = kernel.newest(arch, cache)
    if built is None:
        return None
    try:
        userland = rootfs.build(arch, cache=cache)
    except LabError:
        return None
    topology = Topology(name="probe", arch=arch.name, page_size=min(arch.page_sizes), memory=MEMORY)
    products = Artifacts(kernel=built, rootfs=userland, tests=GuestTests(programs={}, key=""))
    return BootableCell(name="probe", topology=topology, products=products, factory=host.factory())
