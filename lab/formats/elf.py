# SPDX-License-Identifier: GPL-2.0-or-later
"""Tell for which machine an ELF file is by its first 20 bytes, and read the GNU build id in ELF notes. Pure.

What takes more of a file than that is read by pyelftools, in elf_program.py.
"""

from __future__ import annotations

import struct
from typing import Literal

Byteorder = Literal["little", "big"]

_GNU_BUILD_ID = 3
_ORDERS = {1: "<", 2: ">"}
_WIDTHS = (1, 2)
_ORDER_NAMES: dict[Byteorder, str] = {"little": "<", "big": ">"}


def machine(data: bytes) -> tuple[int, int, int] | None:
    """Return a program's width, byte order and number of the machine; None if it is no ELF file."""
    if len(data) < 20 or data[:4] != b"\x7fELF" or data[4] not in _WIDTHS or data[5] not in _ORDERS:
        return None
    (number,) = struct.unpack_from(f"{_ORDERS[data[5]]}H", data, 18)
    return data[4], data[5], number


def described(header: tuple[int, int, int]) -> str:
    """Return the width, byte order and number of a machine in words."""
    width, order, number = header
    bits = {1: "32 bit", 2: "64 bit"}[width]
    byteorder = {1: "little-endian", 2: "big-endian"}[order]
    return f"{bits}, {byteorder}, ELF machine {number}"


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
