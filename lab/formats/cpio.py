# SPDX-License-Identifier: GPL-2.0-or-later
"""newc cpio archives, the format of an initramfs: written (the same nodes give the same bytes), and read again."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

MAGIC = b"070701"
TRAILER = "TRAILER!!!"
BLOCK = 512
"""Archives are padded to this, so that another may follow: the kernel looks for one at multiples of four."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CpioNode:
    """One file of an archive. `mode` holds type and permissions, as in stat; the owner is root unless given."""

    name: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)
    """Major and minor number of a device node."""
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    """Seconds since 1970; 0 keeps an archive of what is generated independent of when that was."""


def file(name: str, data: bytes, permissions: int = 0o644) -> CpioNode:
    return CpioNode(name=name, mode=stat.S_IFREG | permissions, data=data)


def directory(name: str, permissions: int = 0o755) -> CpioNode:
    return CpioNode(name=name, mode=stat.S_IFDIR | permissions)


def symlink(name: str, target: str) -> CpioNode:
    return CpioNode(name=name, mode=stat.S_IFLNK | 0o777, data=target.encode())


def character_device(name: str, major: int, minor: int, permissions: int = 0o600) -> CpioNode:
    return CpioNode(name=name, mode=stat.S_IFCHR | permissions, device=(major, minor))


def archive(nodes: Iterable[CpioNode]) -> bytes:
    """The archive of `nodes`, sorted, with the directories that they need (mode 755 unless given), padded to BLOCK.

    ValueError for a name that is absolute, not in its plain form, or given twice.
    """
    by_name: dict[str, CpioNode] = {}
    for node in nodes:
        if node.name in by_name:
            raise ValueError(f"{node.name!r} twice in one archive")
        by_name[_checked(node.name)] = node
    for name in _parents(by_name):
        by_name.setdefault(name, directory(name))
    members = [member(number, by_name[name]) for number, name in enumerate(sorted(by_name), start=1)]
    members.append(end())
    return _padded(b"".join(members), BLOCK)


def read(data: bytes) -> Iterator[CpioNode]:
    """The nodes of an archive of ours; ValueError for anything else."""
    at = 0
    while True:
        if data[at : at + 6] != MAGIC:
            raise ValueError("no newc archive")
        fields = [int(data[at + 6 + 8 * index : at + 14 + 8 * index], 16) for index in range(13)]
        start = at + 110
        name = data[start : start + fields[11] - 1].decode("utf-8", "surrogateescape")
        start += fields[11] + -(start - at + fields[11]) % 4
        if name == TRAILER:
            return
        yield CpioNode(
            name=name,
            mode=fields[1],
            data=data[start : start + fields[6]],
            device=(fields[9], fields[10]),
            mtime=fields[5],
        )
        at = start + fields[6] + -fields[6] % 4


def _checked(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or str(path) != name or name in ("", ".", TRAILER):
        raise ValueError(f"{name!r} cannot be a name in an archive: expected a plain relative path")
    return name


def _parents(by_name: Mapping[str, CpioNode]) -> set[str]:
    return {str(parent) for name in by_name for parent in PurePosixPath(name).parents} - {"."}


def member(number: int, node: CpioNode) -> bytes:
    """Header of thirteen 8-digit hex fields, name with its NUL, data; each padded to four bytes."""
    name = node.name.encode("utf-8", "surrogateescape") + b"\0"
    fields = (
        number,  # inode: nodes with the same number and nlink > 1 would be hard links
        node.mode,
        node.uid,
        node.gid,
        2 if stat.S_ISDIR(node.mode) else 1,  # nlink
        node.mtime,
        len(node.data),
        0,  # device that held the file
        0,
        *node.device,
        len(name),
        0,  # checksum: only in the other magic's format
    )
    header = MAGIC + b"".join(b"%08X" % field for field in fields)
    return _padded(header + name, 4) + _padded(node.data, 4)


def end() -> bytes:
    """Return the member that ends an archive."""
    return member(0, CpioNode(name=TRAILER, mode=0))


def _padded(data: bytes, multiple: int) -> bytes:
    return data + b"\0" * (-len(data) % multiple)
