# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel's System.map: the function at an address, and an ELF file for debuggers, with symbols alone. Pure.

The ELF machine number and flags are copied from another ELF file for the same machine.
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

_LINE = re.compile(r"^([0-9a-f]{8,16}) ([A-Za-z]) (\S+)$", re.MULTILINE)
_TEXT = frozenset("tTwWi")
_EXEC, _FUNC, _OBJECT, _GLOBAL = 2, 2, 1, 1
_NOBITS, _SYMTAB, _STRTAB = 8, 2, 3
_ALLOC_EXEC = 0x6
_NAMES = b"\0.text\0.symtab\0.strtab\0.shstrtab\0"


@dataclass(frozen=True, slots=True)
class _Symbol:
    address: int
    size: int
    is_text: bool
    name: bytes


@dataclass(frozen=True, slots=True)
class _Shape:
    """Layout of structures: word size and byte order."""

    order: str
    wide: bool

    @property
    def header_size(self) -> int:
        return 64 if self.wide else 52

    def pack(self, wide: str, narrow: str, *values: int) -> bytes:
        return struct.pack(self.order + (wide if self.wide else narrow), *values)

    def section(self, name: int, kind: int, flags: int, address: int, at: int, size: int, *rest: int) -> bytes:
        """A section header; `rest` is link, info, alignment, size of an entry."""
        link, info, align, entry = rest or (0, 0, 1, 0)
        return self.pack("IIQQQQIIQQ", "IIIIIIIIII", name, kind, flags, address, at, size, link, info, align, entry)

    def symbol(self, name: int, symbol: _Symbol) -> bytes:
        info = _GLOBAL << 4 | (_FUNC if symbol.is_text else _OBJECT)
        if self.wide:
            return struct.pack(f"{self.order}IBBHQQ", name, info, 0, 1, symbol.address, symbol.size)
        return struct.pack(f"{self.order}IIIBBH", name, symbol.address, symbol.size, info, 0, 1)


def elf_of(system_map: str, like: bytes) -> bytes:
    """Return the ELF file; ValueError if the map has no symbols or `like` is no ELF file."""
    if like[:4] != b"\x7fELF" or len(like) < 64:
        raise ValueError("not an ELF file")
    shape = _Shape("<" if like[5] == 1 else ">", like[4] == 2)
    symbols = _symbols(system_map)
    if not symbols:
        raise ValueError("no symbols in the System.map")
    names = [symbol.name for symbol in symbols]
    strings = b"\0" + b"\0".join(names) + b"\0"
    offsets = _offsets(names)
    table = shape.symbol(0, _Symbol(0, 0, False, b""))[:0] + bytes(24 if shape.wide else 16)
    table += b"".join(shape.symbol(at, symbol) for at, symbol in zip(offsets, symbols, strict=True))
    return _file(shape, like, symbols, table, strings)


def functions_at(system_map: str, addresses: Sequence[int]) -> list[str]:
    """Return `function+0xOFFSET` for each address of a kernel, the address itself where no function is."""
    symbols = _symbols(system_map)
    places = []
    for address in addresses:
        place = f"{address:#x}"
        if before := bisect_right(symbols, address, key=lambda symbol: symbol.address):
            symbol = symbols[before - 1]
            if symbol.is_text and address < symbol.address + symbol.size:
                place = f"{symbol.name.decode()}+{address - symbol.address:#x}"
        places.append(place)
    return places


def _symbols(system_map: str) -> list[_Symbol]:
    """Return the symbols by address; each one's size is the distance to the next one, at most 1 MiB."""
    symbols = [(int(address, 16), kind, name.encode()) for address, kind, name in _LINE.findall(system_map)]
    symbols = sorted(symbol for symbol in symbols if symbol[1] not in "aA" and symbol[0])
    ends = [after[0] for _, after in pairwise(symbols)] + [symbols[-1][0]] if symbols else []
    return [
        _Symbol(address, min(end - address, 1 << 20), kind in _TEXT, name)
        for (address, kind, name), end in zip(symbols, ends, strict=True)
    ]


def _offsets(names: Sequence[bytes]) -> list[int]:
    found, at = [], 1
    for name in names:
        found.append(at)
        at += len(name) + 1
    return found


def _file(shape: _Shape, like: bytes, symbols: Sequence[_Symbol], table: bytes, strings: bytes) -> bytes:
    """Return the file: header, symbols, their names, names of sections, section headers."""
    first, last = symbols[0].address, symbols[-1].address
    table_at = shape.header_size
    strings_at = table_at + len(table)
    names_at = strings_at + len(strings)
    headers_at = (names_at + len(_NAMES) + 7) & ~7
    machine = struct.unpack_from(f"{shape.order}H", like, 18)[0]
    flags = struct.unpack_from(f"{shape.order}I", like, 48 if shape.wide else 36)[0]
    sizes = (shape.header_size, 0, 0, 64 if shape.wide else 40, 5, 4)
    numbers = (_EXEC, machine, 1, 0, 0, headers_at, flags, *sizes)
    header = like[:16] + shape.pack("HHIQQQIHHHHHH", "HHIIIIIHHHHHH", *numbers)
    entry = 24 if shape.wide else 16
    sections = [
        shape.section(0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
        shape.section(1, _NOBITS, _ALLOC_EXEC, first, table_at, last - first + 1),
        shape.section(7, _SYMTAB, 0, 0, table_at, len(table), 3, 1, 8, entry),
        shape.section(15, _STRTAB, 0, 0, strings_at, len(strings)),
        shape.section(23, _STRTAB, 0, 0, names_at, len(_NAMES)),
    ]
    body = header + table + strings + _NAMES
    return body + bytes(headers_at - len(body)) + b"".join(sections)
