# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads what the lab needs of an ELF file: one section's bytes, and the GNU build id among its notes. Pure."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from typing import Literal

Byteorder = Literal["little", "big"]

_GNU_BUILD_ID = 3
_NOBITS = 8
_PT_INTERP = 3


def section(data: bytes | mmap.mmap, name: str) -> bytes:
    """The bytes of the section called `name`; ValueError when `data` is no ELF file or has no such section."""
    if data[:4] != b"\x7fELF" or data[4] not in (1, 2) or data[5] not in (1, 2):
        raise ValueError("not an ELF file")
    order, wide = "<" if data[5] == 1 else ">", data[4] == 2
    try:
        table = list(_headers(data, order, wide))
        names_at, names_size = table[struct.unpack_from(f"{order}H", data, 62 if wide else 50)[0]][2:]
        names = data[names_at : names_at + names_size]
        for name_at, kind, start, size in table:
            if names[name_at : names.index(b"\0", name_at)] == name.encode():
                return b"" if kind == _NOBITS else data[start : start + size]
    except (struct.error, IndexError, ValueError) as error:
        raise ValueError(f"damaged ELF file: {error}") from error
    raise ValueError(f"no section {name}")


def _headers(data: bytes | mmap.mmap, order: str, wide: bool) -> Iterator[tuple[int, int, int, int]]:
    """Of every section header: offset of its name, type, offset in the file, size."""
    (table_at,) = struct.unpack_from(f"{order}{'Q' if wide else 'I'}", data, 40 if wide else 32)
    entry_size, count = struct.unpack_from(f"{order}HH", data, 58 if wide else 46)
    shape = struct.Struct(f"{order}II{'QQQQ' if wide else 'IIII'}")
    for index in range(count):
        name_at, kind, _flags, _address, start, size = shape.unpack_from(data, table_at + index * entry_size)
        yield name_at, kind, start, size


def machine(data: bytes | mmap.mmap) -> tuple[int, int, int] | None:
    """What processors a program is for: width, byte order and number of the machine; None for what is no ELF file."""
    if len(data) < 20 or data[:4] != b"\x7fELF" or data[4] not in (1, 2) or data[5] not in (1, 2):
        return None
    return data[4], data[5], struct.unpack_from("<H" if data[5] == 1 else ">H", data, 18)[0]


def wants_loader(data: bytes | mmap.mmap) -> bool:
    """Whether a program is linked dynamically; ValueError when it is damaged."""
    order, wide = "<" if data[5] == 1 else ">", data[4] == 2
    try:
        (table_at,) = struct.unpack_from(f"{order}{'Q' if wide else 'I'}", data, 32 if wide else 28)
        entry_size, count = struct.unpack_from(f"{order}HH", data, 54 if wide else 42)
        kinds = (struct.unpack_from(f"{order}I", data, table_at + index * entry_size)[0] for index in range(count))
        return _PT_INTERP in kinds
    except struct.error as error:
        raise ValueError(f"damaged ELF file: {error}") from error


def build_id(notes: bytes, byteorder: Byteorder) -> str:
    """Hex of the GNU build id in a blob of ELF notes (/sys/kernel/notes, or the section .notes of a vmlinux).

    A note is: name size, content size, type (32 bits each, in the machine's byte order), then name and content, each
    padded to 4 bytes. ValueError when there is no such note, or only a part of one.
    """
    order, at = "<" if byteorder == "little" else ">", 0
    while at + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from(f"{order}III", notes, at)
        content_at = at + 12 + _padded(name_size)
        owner, content = notes[at + 12 : at + 12 + name_size], notes[content_at : content_at + size]
        if kind == _GNU_BUILD_ID and owner == b"GNU\0" and size and len(content) == size:
            return content.hex()
        at = content_at + _padded(size)
    raise ValueError(f"no GNU build id in {len(notes)} bytes of notes")


def _padded(size: int) -> int:
    return (size + 3) & ~3
