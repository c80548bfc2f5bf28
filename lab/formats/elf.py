# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads what the lab needs of an ELF file: one section's bytes, and the GNU build id among its notes. Pure."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Byteorder = Literal["little", "big"]

_GNU_BUILD_ID = 3
_NOBITS = 8
_PT_INTERP = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """The sizes and places in a file header that depend on the width; offsets in bytes."""

    address: str
    segments_at: int
    sections_at: int
    segment_sizes: int
    section_sizes: int
    names_index: int


_NARROW = _Layout(address="I", segments_at=28, sections_at=32, segment_sizes=42, section_sizes=46, names_index=50)
_WIDE = _Layout(address="Q", segments_at=32, sections_at=40, segment_sizes=54, section_sizes=58, names_index=62)
_ORDERS = {1: "<", 2: ">"}
_WIDTHS = {1: _NARROW, 2: _WIDE}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Section:
    """A section header: the offset of its name in the table of names, and where its bytes are in the file."""

    name_at: int
    kind: int
    start: int
    size: int


def section(data: bytes | mmap.mmap, name: str) -> bytes:
    """Return the bytes of the section called `name`; ValueError if `data` is no ELF file or has no such section."""
    if not _is_elf(data):
        raise ValueError("not an ELF file")
    order, layout = _ORDERS[data[5]], _WIDTHS[data[4]]
    try:
        table = list(_sections(data, order, layout))
        (names_index,) = struct.unpack_from(f"{order}H", data, layout.names_index)
        names = _content(data, table[names_index])
        for header in table:
            if names[header.name_at : names.index(b"\0", header.name_at)] == name.encode():
                return _content(data, header)
    except (struct.error, IndexError, ValueError) as error:
        raise ValueError(f"damaged ELF file: {error}") from error
    raise ValueError(f"no section {name}")


def _is_elf(data: bytes | mmap.mmap) -> bool:
    return len(data) >= 20 and data[:4] == b"\x7fELF" and data[4] in _WIDTHS and data[5] in _ORDERS


def _content(data: bytes | mmap.mmap, header: _Section) -> bytes:
    """Return a section's bytes; none for a section that takes no room in the file."""
    if header.kind == _NOBITS:
        return b""
    return data[header.start : header.start + header.size]


def _sections(data: bytes | mmap.mmap, order: str, layout: _Layout) -> Iterator[_Section]:
    """Yield the section headers."""
    (table_at,) = struct.unpack_from(f"{order}{layout.address}", data, layout.sections_at)
    entry_size, count = struct.unpack_from(f"{order}HH", data, layout.section_sizes)
    shape = struct.Struct(f"{order}II{layout.address * 4}")
    for index in range(count):
        name_at, kind, _flags, _address, start, size = shape.unpack_from(data, table_at + index * entry_size)
        yield _Section(name_at=name_at, kind=kind, start=start, size=size)


def machine(data: bytes | mmap.mmap) -> tuple[int, int, int] | None:
    """Return a program's width, byte order and number of the machine; None if it is no ELF file."""
    if not _is_elf(data):
        return None
    (number,) = struct.unpack_from(f"{_ORDERS[data[5]]}H", data, 18)
    return data[4], data[5], number


def wants_loader(data: bytes | mmap.mmap) -> bool:
    """Whether a program is linked dynamically; ValueError if it is no ELF file or damaged."""
    if not _is_elf(data):
        raise ValueError("not an ELF file")
    order, layout = _ORDERS[data[5]], _WIDTHS[data[4]]
    try:
        (table_at,) = struct.unpack_from(f"{order}{layout.address}", data, layout.segments_at)
        entry_size, count = struct.unpack_from(f"{order}HH", data, layout.segment_sizes)
        for index in range(count):
            (kind,) = struct.unpack_from(f"{order}I", data, table_at + index * entry_size)
            if kind == _PT_INTERP:
                return True
    except struct.error as error:
        raise ValueError(f"damaged ELF file: {error}") from error
    return False


_ORDER_NAMES: dict[Byteorder, str] = {"little": "<", "big": ">"}


def build_id(notes: bytes, byteorder: Byteorder) -> str:
    """Return the hex digits of the GNU build id in ELF notes (/sys/kernel/notes, or the section .notes of a vmlinux).

    A note is: name size, content size, type (32 bits each, in the machine's byte order), then name and content, each
    padded to 4 bytes. ValueError if there is no such note, or only a part of one.
    """
    order, at = _ORDER_NAMES[byteorder], 0
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
