# SPDX-License-Identifier: GPL-2.0-or-later
"""What lsmem prints: ranges of memory, in a table, with -J as JSON and with -P as pairs, and their sum."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lab.formats.machine.paste.pasted import Line
from lab.formats.machine.statements import DAMAGE, MAX_NODE, NOTE, Statement, size

SOURCE = "lsmem"
_HEAD = re.compile(r"RANGE(?:\s+[A-Z-]+)*\s+NODE(?:\s+[A-Z-]+)*")
_RANGE = re.compile(r"0x([0-9a-f]{1,16})-0x([0-9a-f]{1,16})")
_SUM = re.compile(r"Total online memory:\s+(\d{1,6}(?:[.,]\d{1,3})?)\s?([KMGT]).*")
LEAST_SHARE = 0.97
"""Of the sum, which lsmem rounds to one digit."""
_PAIR = re.compile(r"\b(RANGE|STATE|NODE)=\"([^\"]{0,60})\"")
_MEMBER = re.compile(r"\"(range|state|node)\" ?: ?\"?([\w-]{1,60})\"?|(\})")


@dataclass(slots=True)
class _Ranges:
    """The sums over the ranges of one output."""

    block: int = 0
    sizes: dict[int, int] = field(default_factory=dict)
    lines: dict[int, int] = field(default_factory=dict)
    ranges: set[str] = field(default_factory=set)
    """Those so far: one that comes again is of another output."""
    notes: list[Statement] = field(default_factory=list)
    total: int = 0
    """The sum that lsmem prints; 0 before it comes."""

    def add(self, row: Mapping[str, str], span: re.Match[str], line: int) -> None:
        """Add a range to its node."""
        if not row["node"].isdecimal() or len(row["node"]) > 5 or int(row["node"]) >= MAX_NODE:
            return
        node = int(row["node"])
        self.ranges.add(span[0])
        if row.get("state", "online") != "online":
            text = f"memory of node {node} that is offline is left out"
            self.notes.append(Statement(key=NOTE, value=text, line=line, source=SOURCE, block=self.block))
            return
        self.lines.setdefault(node, line)
        self.sizes[node] = self.sizes.get(node, 0) + int(span[2], 16) - int(span[1], 16) + 1

    def statements(self) -> Iterator[Statement]:
        """State the sums."""
        yield from self.notes
        for node, amount in self.sizes.items():
            line = self.lines[node]
            yield Statement(key="memory", value=amount, line=line, source=SOURCE, node=node, block=self.block)
        known = sum(self.sizes.values())
        if known and known < self.total * LEAST_SHARE:
            text = f"ranges of lsmem are cut off: they have {known >> 20} MiB of {self.total >> 20} MiB"
            line = min(self.lines.values())
            yield Statement(key=DAMAGE, value=text, line=line, source=SOURCE, block=self.block)


def read(lines: Sequence[Line]) -> Iterator[Statement]:
    """Everything that the lines state in the words of lsmem; offline memory is noted and left out."""
    made = _Ranges()
    for line, row in _rows(lines):
        if "sum" in row:
            number, unit = row["sum"].split()
            made.total = size(number, unit)
            yield Statement(key="memory", value=made.total, line=line, source=SOURCE, block=made.block)
            continue
        span = _RANGE.fullmatch(row.get("range", ""))
        if span is None or "node" not in row:
            continue
        if span[0] in made.ranges:
            yield from made.statements()
            made = _Ranges(block=made.block + 1)
        made.add(row, span, line)
    yield from made.statements()


def _rows(lines: Sequence[Line]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, column -> value) of each range, in any of the forms; `sum` is the column of the total."""
    names: list[str] = []
    held: dict[str, str] = {}
    for line in lines:
        words = line.text.split()
        if _HEAD.fullmatch(line.text):
            names = [word.lower() for word in words]
        elif names and len(words) == len(names) and words[0].startswith("0x"):
            yield line.number, dict(zip(names, words, strict=True))
        elif match := _SUM.fullmatch(line.text):
            yield line.number, {"sum": f"{match[1]} {match[2]}"}
        elif pairs := _PAIR.findall(line.text):
            yield line.number, {name.lower(): value for name, value in pairs}
        else:
            for member in _MEMBER.finditer(line.text):
                if member[3] or member[1] in held:
                    yield line.number, held
                    held = {}
                if member[1]:
                    held[member[1]] = member[2]
