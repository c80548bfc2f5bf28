# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines of the kernel's log that show the size of a page without stating it as such.

Dentry cache hash table entries: 4194304 (order: 9, 33554432 bytes, vmalloc)     2^9 pages are so many bytes
swapper pgtable: 64k pages, 52-bit VAs, pgdp=0000000090a40000                    of arm64 and riscv, in an oops
LE PAGE_SIZE=64K MMU=Radix SMP NR_CPUS=2048 NUMA pSeries                         of powerpc, in an oops
Page orders: linear mapping = 24, virtual = 16, io = 16, vmemmap = 24            of powerpc
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lab.core.sizes import KIB
from lab.formats.machine.paste.pasted import Line
from lab.formats.machine.statements import Statement, Value, in_blocks

_HASH_TABLE = re.compile(r"hash table entries: \d{1,12} \(order: (-?\d{1,2}), (\d{3,13}) bytes")
_PAGE_TABLE = re.compile(r"pgtable: (\d{1,3})[kK] page(?:s|size), (\d{2})-bit VAs")
_POWER_OOPS = re.compile(r"\b[LB]E PAGE_SIZE=(\d{1,3})K(?: MMU=(\w{4,8}))?\b")
_POWER_ORDERS = re.compile(r"Page orders: linear mapping = \d{1,2}, virtual = (\d{2}),")
_LEAST, _MOST = 4 * KIB, 256 * KIB


def read(lines: Sequence[Line]) -> Iterator[Statement]:
    """The sizes of pages that the lines show, each once."""
    yield from in_blocks([_hints(lines)])


def _hints(lines: Sequence[Line]) -> Iterator[Statement]:
    stated = set[tuple[str, Value]]()
    for line in lines:
        for key, value in _of_line(line.text[:1000]):
            sized = key != "page_size" or (isinstance(value, int) and _LEAST <= value <= _MOST)
            if sized and (key, value) not in stated:
                stated.add((key, value))
                yield Statement(key=key, value=value, line=line.number, source="dmesg")


def _of_line(text: str) -> Iterator[tuple[str, Value]]:
    """(key, value) of what a line shows."""
    if match := _HASH_TABLE.search(text):
        yield "page_size", 1 << max(0, int(match[2]).bit_length() - 1 - int(match[1]))
    elif match := _PAGE_TABLE.search(text):
        yield "page_size", int(match[1]) * KIB
        yield "virtual_bits", int(match[2])
    elif match := _POWER_ORDERS.search(text):
        yield "page_size", 1 << int(match[1])
    elif match := _POWER_OOPS.search(text):
        yield "page_size", int(match[1]) * KIB
        if match[2]:
            yield "fact MMU", match[2]
