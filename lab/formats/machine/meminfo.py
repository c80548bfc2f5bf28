# SPDX-License-Identifier: GPL-2.0-or-later
"""Amounts of memory: /proc/meminfo, `numastat -m`, `free`, /proc/zoneinfo's nodes and pools of huge pages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lab.core.sizes import KIB, MIB
from lab.formats.machine.shell_session import Section
from lab.formats.machine.statements import MAX_NODE, NOTE, Statement, size

_MEMINFO = re.compile(r"(?:/proc/meminfo:)?(MemTotal|HugePages_Total|Hugepagesize|Hugetlb):\s+(\d{1,15})(\s*[kMG]B)?")
_HEAD = re.compile(r"(?:\S+\s+)?Node\s+\d{1,4}(?:\s+Node\s+\d{1,4})*(?:\s+Total)?")
_NODE = re.compile(r"Node\s+(\d{1,4})")
_TOTAL = re.compile(r"MemTotal\s+(\d{1,12}(?:\.\d{1,2})?(?:\s+\d{1,12}(?:\.\d{1,2})?)*)")
_FREE_WORDS = "Mem|Speicher|Mémoire|Memoria|Memória|Pamięć|Память|Пам.ять|Minne|Bellek|内存|記憶體|メモリ"
_FREE = re.compile(rf"(?:{_FREE_WORDS})\.?:\s+(\d{{1,15}}(?:[.,]\d{{1,3}})?)\s?([KMGTkmgt]?i?)B?(?:\s.*)?")
_FREE_UNIT = re.compile(r"free\s.*-\S*([bkmgh])|free\s.*--(?:(bytes|kibi|mebi|gibi|human))")
_ZONE = re.compile(r"Node\s+(\d{1,4}), zone\s+\w+.*")
_PRESENT = re.compile(r"present\s+(\d{1,12})")
_BLOCKS_HEAD = re.compile(r"RANGE(?:\s+[A-Z-]+)*\s+NODE(?:\s+[A-Z-]+)*")
_BLOCKS = re.compile(r"0x([0-9a-f]{1,16})-0x([0-9a-f]{1,16})(?:\s+\S+)+")
_RANGE = re.compile(r"Total online memory:\s+(\d{1,6}(?:\.\d{1,3})?)\s?([KMGT])")
_POOL_HEAD = re.compile(r"Size\s+Minimum\s+Current\s+Maximum\s+Default")
_POOL = re.compile(r"(\d{4,12})\s+\d{1,9}\s+(\d{1,9})\s+\d{1,9}(?:\s+\*)?")


def read(parts: Sequence[Section]) -> Iterator[Statement]:
    """Everything that the text states about amounts of memory."""
    for block, section in enumerate(parts):
        yield from _section(section, block)


def _section(section: Section, block: int) -> Iterator[Statement]:
    nodes: list[int] = []
    pools = False
    for line in section.lines:
        text = line.text
        if match := _MEMINFO.match(text):
            yield from _meminfo(match, line.number, block)
        elif _HEAD.fullmatch(text):
            nodes = [int(number) for number in _NODE.findall(text)]
        elif nodes and (match := _TOTAL.fullmatch(text)):
            yield from _numastat(nodes, match[1].split(), line.number, block)
        elif match := _FREE.fullmatch(text):
            yield from _free(match, section.command, line.number, block)
        elif match := _RANGE.match(text):
            yield Statement(key="memory", value=size(match[1], match[2]), line=line.number, source="lsmem", block=block)
        elif _POOL_HEAD.fullmatch(text):
            pools = True
        elif pools and (match := _POOL.fullmatch(text)):
            value, key = int(match[2]), f"hugepages {int(match[1])}"
            yield Statement(key=key, value=value, line=line.number, source="hugeadm", block=block)
    yield from _zones(section, block)
    yield from _memory_blocks(section, block)


def _zones(section: Section, block: int) -> Iterator[Statement]:
    """The nodes of /proc/zoneinfo and /proc/buddyinfo, and how many pages the first one counts on each."""
    pages: dict[int, int] = {}
    lines: dict[int, int] = {}
    node = -1
    for line in section.lines:
        if match := _ZONE.fullmatch(line.text):
            node = int(match[1])
            lines.setdefault(node, line.number)
            yield Statement(key="seen", value=node, line=line.number, source="zones", block=block)
        elif 0 <= node < MAX_NODE and (match := _PRESENT.fullmatch(line.text)):
            pages[node] = pages.get(node, 0) + int(match[1])
    for node, count in pages.items():
        yield Statement(key="pages", value=count, line=lines[node], source="zones", node=node, block=block)


def _memory_blocks(section: Section, block: int) -> Iterator[Statement]:
    """The ranges of `lsmem -o RANGE,STATE,NODE` that are online, added up for each node."""
    names: list[str] = []
    sizes: dict[int, int] = {}
    lines: dict[int, int] = {}
    for line in section.lines:
        words = line.text.split()
        if _BLOCKS_HEAD.fullmatch(line.text):
            names = words
        elif len(words) == len(names) and (match := _BLOCKS.fullmatch(line.text)):
            row = dict(zip(names, words, strict=True))
            if not row["NODE"].isdecimal() or int(row["NODE"][:5]) >= MAX_NODE:
                continue
            node = int(row["NODE"])
            if row.get("STATE", "online") != "online":
                text = f"memory of node {node} that is offline is left out"
                yield Statement(key=NOTE, value=text, line=line.number, source="lsmem", block=block)
                continue
            lines.setdefault(node, line.number)
            sizes[node] = sizes.get(node, 0) + int(match[2], 16) - int(match[1], 16) + 1
    for node, amount in sizes.items():
        yield Statement(key="memory", value=amount, line=lines[node], source="lsmem", node=node, block=block)


def _meminfo(match: re.Match[str], line: int, block: int) -> Iterator[Statement]:
    name, number = match[1], int(match[2])
    source = "/proc/meminfo"
    if name == "MemTotal":
        unit = (match[3] or "kB").strip()
        yield Statement(key="memory", value=size(match[2], unit), line=line, source=source, block=block)
    elif name == "HugePages_Total":
        yield Statement(key="hugepages default", value=number, line=line, source=source, block=block)
    elif name == "Hugepagesize":
        yield Statement(key="hugepage_size", value=number * KIB, line=line, source=source, block=block)


def _numastat(nodes: Sequence[int], values: Sequence[str], line: int, block: int) -> Iterator[Statement]:
    for node, value in zip(nodes, values, strict=False):
        if node < MAX_NODE:
            amount = int(float(value) * MIB)
            yield Statement(key="memory", value=amount, line=line, source="numastat -m", node=node, block=block)


def _free(match: re.Match[str], command: str, line: int, block: int) -> Iterator[Statement]:
    """The total of `free`, whose unit is printed, or is an option of the command; kB without one."""
    unit = match[2]
    if not unit:
        option = _FREE_UNIT.match(command)
        letter = "k" if option is None else (option[1] or option[2])[0]
        unit = letter.replace("b", "").replace("h", "")
    amount = size(match[1], unit)
    yield Statement(key="memory", value=amount, line=line, source="free", block=block, guess="free rounds it")
