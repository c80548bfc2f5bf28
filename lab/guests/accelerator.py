# SPDX-License-Identifier: GPL-2.0-or-later
"""Chooses the accelerator of guests: KVM if it works on this host, else TCG.

That /dev/kvm can be opened does not suffice, because every guest may still hang. KVM counts as working if a guest
booted under it prints its ready line. The result is cached until the host reboots.
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
"""Seconds that a guest under KVM may take to its ready line before KVM counts as not working; it takes about one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """What runs a guest's instructions, and why it was chosen."""

    name: str
    """`tcg` or `kvm`, as QEMU calls them."""
    slowdown: float
    """The factor by which deadlines for real hardware are multiplied."""
    why: str
    """The reason for the choice, as shown to users."""


def patience() -> float:
    """Return the extra factor for all guest deadlines from $PAGELAB_PATIENCE (default 1; more on a busy host).

    UsageError if it is not a number in the allowed range.
    """
    text = os.environ.get("PAGELAB_PATIENCE", "1")
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not MIN_PATIENCE <= factor <= 1 / MIN_PATIENCE:
        raise UsageError(
            f"PAGELAB_PATIENCE: expected a number from {MIN_PATIENCE} to {1 / MIN_PATIENCE:g}, got {text!r}"
        )
    return factor


def tcg(arch: Arch, why: str) -> Accelerator:
    return Accelerator(name="tcg", slowdown=arch.tcg_slowdown * patience(), why=why)


def choose(arch: Arch, *, cache: Cache, try_kvm: Callable[[Accelerator], None]) -> Accelerator:
    """Return KVM if the host supports it and `try_kvm`, which boots a guest under it, succeeds; else TCG.

    `try_kvm` raises BootError, GuestLost or InfraError if the guest does not boot.
    """
    if reason := kvm_impossible(arch):
        return tcg(arch, reason)
    works, why = _remembered(arch, cache, try_kvm)
    return _kvm(why) if works else tcg(arch, why)


def kvm_impossible(arch: Arch) -> str:
    """Return why KVM cannot be tried for this architecture on this host; empty if it can."""
    if platform.machine() != arch.uname:
        return f"the host is {platform.machine()}"
    if not KVM_DEVICE.exists():
        return "no /dev/kvm"
    return "" if os.access(KVM_DEVICE, os.R_OK | os.W_OK) else "no permission for /dev/kvm"


def _kvm(why: str) -> Accelerator:
    return Accelerator(name="kvm", slowdown=KVM_SLOWDOWN * patience(), why=why)


def _remembered(arch: Arch, cache: Cache, try_kvm: Callable[[Accelerator], None]) -> tuple[bool, str]:
    """Return whether KVM works, and why; the probe runs once per boot of the host."""
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
    """Return the cached result of the probe since the host booted: whether KVM works, and why; None if not probed."""
    try:
        answer = json.loads(remembered_at(arch, cache).read_text())
        return bool(answer["works"]), str(answer["why"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remembered_at(arch: Arch, cache: Cache) -> Path:
    """Return the file that stores the probe's result for this boot of the host."""
    return cache.root / "accelerator" / f"{arch.name}-{digest(boot_id())}.json"
