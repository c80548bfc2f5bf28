# SPDX-License-Identifier: GPL-2.0-or-later
"""Facts about the computer that the lab runs on: which boot it is, and how its user runs a command as root."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path


def boot_id() -> str:
    """Return the kernel's random id of the current boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def as_root(command: Sequence[str], *, uid: int | None = None) -> str:
    """Return a command that needs root as the user `uid` (default: the current one) has to type it."""
    if uid is None:
        uid = os.getuid()
    prefix = ["sudo"] if uid else []
    return shlex.join([*prefix, *command])


def install_command(packages: Iterable[str], *, uid: int | None = None) -> str:
    """Return the command that installs Debian packages, each named once."""
    return as_root(["apt-get", "install", "--no-install-recommends", *dict.fromkeys(packages)], uid=uid)
