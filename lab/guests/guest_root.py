# SPDX-License-Identifier: GPL-2.0-or-later
"""A root in a guest: the disk or the archive that it comes on, how the guest mounts it, how a program is run in it.

The image is a read-only disk, and an overlay in the guest's memory takes what is written. A kernel or a machine that
cannot have that gets the root in its initramfs. The guest's own userland and its sshd stay beside it.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab.arch.record import Arch
from lab.build import programs
from lab.build.kernel import BuiltKernel
from lab.core import paths
from lab.core.cache import Cache
from lab.core.deadline import Deadline
from lab.core.errors import UsageError
from lab.guests.guest import DIRECTORY, Guest, stdout_of
from lab.specs.model import Topology

if TYPE_CHECKING:
    from lab.build.roots.root import BuiltRoot, Copied

ENTER = "enter"
AT = f"/{paths.GUEST_ROOT}"
"""Where the root is mounted in the guest."""
COPIES = "copies.tar"
SPARE = 160 << 20
"""Memory of a machine beside the files of a root: the kernel, and what a program uses."""
MOUNT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestRoot:
    """A root as the guests of one cell get it: on a disk, or in their initramfs."""

    enter: Path
    """The program that mounts the root and runs others in it."""
    disk: Path | None
    archives: tuple[Path, ...]
    """Parts of the initramfs: the root where it is on no disk, and copies of the host's files."""
    copies: bool
    note: str
    """Why the root is not on a disk; empty if it is."""


def fit(
    root: BuiltRoot, topology: Topology, kernel: BuiltKernel, cache: Cache, copied: Path | None = None
) -> GuestRoot:
    """Return a root for guests of a machine with a kernel; `copied` is an archive of `copies_of`.

    UsageError if it has to be in the machine's memory and is too large for it.
    """
    arch = topology.architecture
    archives, disk = [], None
    if note := _no_disk(arch, kernel):
        check_memory(topology, root.size)
        archives.append(root.archive())
    else:
        disk = root.image
    if copied is not None:
        archives.append(copied)
    enter = programs.compile_one(arch, paths.images() / "probes" / f"{ENTER}.c", cache)
    return GuestRoot(enter=enter, disk=disk, archives=tuple(archives), copies=copied is not None, note=note)


def _no_disk(arch: Arch, kernel: BuiltKernel) -> str:
    """Return why guests of a kernel cannot have the root on a disk; empty if they can."""
    if not arch.disk_device:
        return f"{arch.name} has no disk for it"
    from lab.build.roots import image

    absent = image.lacking(kernel.config.read_bytes(), kernel.modules)
    if absent:
        return f"the kernel has no {', '.join(absent)}"
    return ""


def check_memory(topology: Topology, size: int) -> None:
    """Raise UsageError if a machine has too little memory for files in its initramfs, which are there twice at boot."""
    wanted = 2 * size + SPARE
    if size and wanted > topology.total_memory:
        raise UsageError(
            f"{topology.name} has {topology.total_memory >> 20} MiB of memory; with {size >> 20} MiB of files it takes "
            f"{wanted >> 20}",
            hint="copy its YAML file, give it more memory, and name the copy: -t ./FILE.yaml",
        )


def copies_of(copies: Sequence[Copied], into: Path, topology: Topology) -> Path:
    """Write an archive with a tar of copies of the host's files, for guests with a root."""
    from lab.build.roots.root import write_copies

    size = write_copies(copies, into, tar_name=COPIES)
    check_memory(topology, size)
    return into


def mount(guest: Guest, root: GuestRoot) -> None:
    """Mount the root of a guest that has booted, and put the copies into it; GuestLost if that fails."""
    guest.push({ENTER: root.enter})
    words = [f"{DIRECTORY}/{ENTER} --mount {AT}"]
    if root.copies:
        words.append(f"{in_root(('tar', '-x', '-f', '-'), '/', own=True)} < /{COPIES}")
        words.append(f"rm /{COPIES}")
    deadline = Deadline.after(MOUNT_S, "mounting the root", scale=guest.accelerator.slowdown)
    stdout_of(guest.run(" && ".join(words), deadline=deadline), deadline.what)


def in_root(words: Sequence[str], directory: str = "", *, own: bool = False) -> str:
    """Return the shell command that runs a program in the mounted root, in a directory, "" for the user's home.

    `own`: the program is a command of the guest's own userland.
    """
    return shlex.join([*entering(directory, own=own), *words])


def entering(directory: str = "", *, own: bool = False) -> tuple[str, ...]:
    """Return the words in front of a program that is to run in the mounted root."""
    option = ("--own",) if own else ()
    return (f"{DIRECTORY}/{ENTER}", *option, AT, directory or "-")
