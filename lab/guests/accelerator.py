# SPDX-License-Identifier: GPL-2.0-or-later
"""Which accelerator runs a guest. KVM only where it *works*: a device that opens can still hang every guest.

What decides is a guest that boots under KVM and says its word; the answer is remembered until the host reboots.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.arch.record import Arch
from lab.core.cache import Cache, digest, write_atomic
from lab.core.errors import BootError, GuestLost, InfraError, UsageError
from lab.core.this_host import boot_id

KVM_DEVICE = Path("/dev/kvm")
KVM_SLOWDOWN = 2.0
MIN_PATIENCE = 0.01
PROBE_S = 8.0
"""How long a guest under KVM may take to its ready line before KVM counts as not working; it takes about one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """What runs a guest's instructions; `why` says what decided."""

    name: str
    """`tcg` or `kvm`, as QEMU calls them."""
    slowdown: float
    """Deadlines written for real hardware are multiplied by this."""
    why: str


def patience() -> float:
    """By what deadlines in guests are stretched besides: $PAGELAB_PATIENCE, above 1 for a host that is very busy."""
    said = os.environ.get("PAGELAB_PATIENCE", "1")
    try:
        factor = float(said)
    except ValueError:
        factor = 0.0
    if not MIN_PATIENCE <= factor <= 1 / MIN_PATIENCE:
        raise UsageError(
            f"PAGELAB_PATIENCE: expected a number from {MIN_PATIENCE} to {1 / MIN_PATIENCE:g}, got {said!r}"
        )
    return factor


def tcg(arch: Arch, why: str) -> Accelerator:
    return Accelerator(name="tcg", slowdown=arch.tcg_slowdown * patience(), why=why)


def choose(arch: Arch, *, cache: Cache, try_kvm: Callable[[Accelerator], None]) -> Accelerator:
    """KVM when the host can and `try_kvm`, which boots a guest with it, returns; TCG otherwise.

    `try_kvm` raises BootError, GuestLost or InfraError when the guest does not come up.
    """
    if reason := kvm_impossible(arch):
        return tcg(arch, reason)
    works, why = _remembered(arch, cache, try_kvm)
    return _kvm(why) if works else tcg(arch, why)


def kvm_impossible(arch: Arch) -> str:
    """Why KVM cannot be tried at all for this architecture on this host; empty when it can."""
    if platform.machine() != arch.uname:
        return f"the host is {platform.machine()}"
    if not KVM_DEVICE.exists():
        return "no /dev/kvm"
    return "" if os.access(KVM_DEVICE, os.R_OK | os.W_OK) else "no permission for /dev/kvm"


def _kvm(why: str) -> Accelerator:
    return Accelerator(name="kvm", slowdown=KVM_SLOWDOWN * patience(), why=why)


def _remembered(arch: Arch, cache: Cache, try_kvm: Callable[[Accelerator], None]) -> tuple[bool, str]:
    """The probe's answer, asked once per host boot."""
    path = remembered_at(arch, cache)
    with cache.lock(f"accelerator-{arch.name}"):
        if answer := known(arch, cache):
            return answer
        try:
            try_kvm(_kvm("being probed"))
            works, why = True, "a guest booted under KVM"
        except (BootError, GuestLost, InfraError) as error:
            works, why = False, f"KVM opens but does not work here: {error.message}"
        write_atomic(path, json.dumps({"works": works, "why": why}).encode())
    return works, why


def known(arch: Arch, cache: Cache) -> tuple[bool, str] | None:
    """What the probe of this boot of the host found: whether KVM works, and why; None when it was not asked yet."""
    try:
        answer = json.loads(remembered_at(arch, cache).read_text())
        return bool(answer["works"]), str(answer["why"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remembered_at(arch: Arch, cache: Cache) -> Path:
    """Where the answer for this boot of this host is kept."""
    return cache.root / "accelerator" / f"{arch.name}-{digest(boot_id())}.json"
