# SPDX-License-Identifier: GPL-2.0-or-later
"""A root as a squashfs image, made by squashfs-tools, and whether a kernel can mount it with an overlay in memory."""

from __future__ import annotations

from pathlib import Path

from lab.build.roots.tree import RootTree
from lab.core import proc
from lab.core.cache import Cache
from lab.core.errors import InfraError
from lab.core.this_host import install_command
from lab.formats import cpio, kconfig

IMAGE_S = 1800.0
PROGRAM = "sqfstar"
NEEDED = {"SQUASHFS": "squashfs", "OVERLAY_FS": "overlay", "VIRTIO_BLK": "virtio_blk"}
"""What a kernel needs to mount a root: its symbol -> the module that has it where it is not built in."""
PACKING = "SQUASHFS_ZLIB"
LIST = "lib/modules/list"
"""The file of a kernel's part of the initramfs with the modules that are loaded."""


def write(tree: RootTree, path: Path, cache: Cache) -> int:
    """Write a root as an image: the same root gives the same bytes. Return the bytes of its files."""
    if proc.which(PROGRAM) is None:
        raise InfraError(f"--root needs {PROGRAM}, which is not installed", hint=install_command(["squashfs-tools"]))
    with cache.scratch("root-tar") as scratch:
        tar = scratch / "root.tar"
        size = tree.write_tar(tar)
        # gzip is what every kernel with squashfs unpacks.
        options = ("-comp", "gzip", "-no-progress", "-quiet", "-mkfs-time", "0", "-no-xattrs")
        script = 'tar=$1 && shift && exec "$@" < "$tar"'
        proc.run(["sh", "-c", script, "sh", str(tar), PROGRAM, *options, str(path)], timeout_s=IMAGE_S)
    return size


def lacking(config: bytes, modules: Path | None) -> tuple[str, ...]:
    """Return what a kernel lacks to mount a root, as CONFIG_ symbols; empty if it can."""
    values = kconfig.parse_config(config.decode("utf-8", "replace"))
    loaded = _loaded(modules)
    absent = []
    for symbol, module in NEEDED.items():
        if values.get(symbol) != "y" and module not in loaded:
            absent.append(f"CONFIG_{symbol}")
    if values.get(PACKING) != "y":
        absent.append(f"CONFIG_{PACKING}")
    return tuple(absent)


def _loaded(modules: Path | None) -> frozenset[str]:
    """Return the names of the modules that a kernel's guests load; none for a kernel without a part with modules."""
    if modules is None or not modules.stat().st_size:
        return frozenset()
    for node in cpio.read(modules.read_bytes()):
        if node.name == LIST:
            return frozenset(Path(line).stem for line in node.data.decode().splitlines())
    return frozenset()
