# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel reports about its memory: `Mem-Info:` when none is left, and the ranges of /proc/iomem."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from lab.core.sizes import KIB
from lab.formats.machine.paste.pasted import Line
from lab.formats.machine.statements import MAX_NODE, Statement

_BEGIN = re.compile(r"(?:^|.*\s)Mem-Info:$")
_ZONE = re.compile(
    r"\bNode (\d{1,4}) (?:DMA|DMA32|Normal|HighMem|Movable) free:\d{1,15}kB .{1,300}\bpresent:(\d{1,15})kB"
)
_POOL = re.compile(r"\bNode (\d{1,4}) hugepages_total=(\d{1,10}) .{1,80}hugepages_size=(\d{1,10})kB")
_RAM = re.compile(r"([0-9a-f]{8,16})-([0-9a-f]{8,16}) : System RAM(?: \(\w{1,20}\))?")


@dataclass(slots=True)
class _Report:
    """The sums of one report."""

    block: int = 0
    memory: dict[int, int] = field(default_factory=dict)
    lines: dict[int, int] = field(default_factory=dict)
    found: list[Statement] = field(default_factory=list)

    def statements(self) -> Iterator[Statement]:
        """State the sums."""
        yield from self.found
        for node, amount in self.memory.items():
            yield self.of_node("memory", amount, self.lines[node], node)

    def of_node(self, key: str, value: int, line: int, node: int) -> Statement:
        return Statement(key=key, value=value, line=line, source="Mem-Info", node=node, block=self.block)


def read(lines: Sequence[Line]) -> Iterator[Statement]:
    """The memory of each node in every report, and the memory of the machine in /proc/iomem."""
    report = _Report()
    for line in lines:
        if _BEGIN.fullmatch(line.text):
            yield from report.statements()
            report = _Report(block=report.block + 1)
        elif (match := _ZONE.search(line.text)) and int(match[1]) < MAX_NODE:
            node = int(match[1])
            report.lines.setdefault(node, line.number)
            report.memory[node] = report.memory.get(node, 0) + int(match[2]) * KIB
        elif (match := _POOL.search(line.text)) and int(match[1]) < MAX_NODE:
            key = f"hugepages {int(match[3]) * KIB}"
            report.found.append(report.of_node(key, int(match[2]), line.number, int(match[1])))
    yield from report.statements()
    yield from _system_ram(lines)


def _system_ram(lines: Sequence[Line]) -> Iterator[Statement]:
    """The sum of the ranges of /proc/iomem, which are all 0 for who may not see them."""
    total, first = 0, 0
    for line in lines:
        if match := _RAM.fullmatch(line.text):
            length = int(match[2], 16) - int(match[1], 16)
            total += length + 1 if length > 0 else 0
            first = first or line.number
    if total:
        yield Statement(key="memory", value=total, line=first, source="/proc/iomem")
