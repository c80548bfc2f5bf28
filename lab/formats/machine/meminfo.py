# SPDX-License-Identifier: GPL-2.0-or-later
"""Amounts of memory: /proc/meminfo, `numastat -m`, `free`, /proc/zoneinfo's nodes and pools of huge pages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from lab.core.sizes import KIB, MIB
from lab.formats.machine.paste.shell_session import Section
from lab.formats.machine.statements import DAMAGE, MAX_NODE, NOTE, Statement, in_blocks, size

_MEMINFO = re.compile(
    r"(?:/proc/meminfo:)?(MemTotal|HugePages_Total|Hugepagesize|Hugetlb):\s+(\d{1,15})((?:[.,]\d{1,3})?)(\s*[kMG]i?B)?"
)
_HEAD = re.compile(r"(?:\S+\s+)?Node\s+\d{1,4}(?:\s+Node\s+\d{1,4})*(?:\s+Total)?|Total")
_RULER = re.compile(r"-+(?:\s+-+)*")
_COUNTERS = re.compile(r"node\d{1,4}(?:\s+node\d{1,4})*")
"""Above the counters of a plain numastat."""
_HITS = re.compile(r"numa_hit(?:\s+\d{1,20})+")
_NODE = re.compile(r"Node\s+(\d{1,4})")
_MORE = re.compile(r"\d{1,12}(?:\.\d{1,2})?(?:\s+\d{1,12}(?:\.\d{1,2})?)*")
_TOTAL = re.compile(r"MemTotal\s+(\d{1,12}(?:\.\d{1,2})?(?:\s+\d{1,12}(?:\.\d{1,2})?)*)")
_FREE_WORDS = "Mem|Speicher|Mémoire|Memoria|Memória|Pamięć|Память|Пам.ять|Minne|Bellek|内存|記憶體|メモリ"
_FREE = re.compile(rf"(?:{_FREE_WORDS})\.?:\s+(\d{{1,15}}(?:[.,]\d{{1,3}}){{0,4}})\s?([KMGTkmgt]?i?)B?(?:\s.*)?")
_FREE_UNIT = re.compile(r"free\s.*-\S*([bkmgh])|free\s.*--(?:(bytes|kibi|mebi|gibi|human))")
LEAST = 512 << 10
"""kB: of less memory than this nobody pastes `free` without a unit, it is in MB or GB."""
_ZONE = re.compile(r"Node\s+(\d{1,4}), zone\s+\w+.*")
_PRESENT = re.compile(r"present\s+(\d{1,12})")
_VMSTAT = re.compile(r"(\d{1,15}) K total memory")
_GROUPS = re.compile(r"\d{1,3}(?:[.,]\d{3}){1,4}")
_POOL_HEAD = re.compile(r"Size\s+Minimum\s+Current\s+Maximum\s+Default")
_POOL = re.compile(r"(\d{4,12})\s+\d{1,9}\s+(\d{1,9})\s+\d{1,9}(?:\s+\*)?")


def read(parts: Sequence[Section]) -> Iterator[Statement]:
    """Everything that the text states about amounts of memory."""
    yield from in_blocks(_section(section, block) for block, section in enumerate(parts))


def _section(section: Section, block: int) -> Iterator[Statement]:
    yield from _numastat(section, block)
    pools = False
    command = section.command
    for line in section.lines:
        text = line.text
        if _FREE_UNIT.search(text):
            command = text
        if match := _MEMINFO.match(text):
            yield from _meminfo(match, line.number, block)
        elif match := _FREE.fullmatch(text):
            yield from _free(match, command, line.number, block)
        elif match := _VMSTAT.fullmatch(text):
            memory = int(match[1]) * KIB
            yield Statement(key="memory", value=memory, line=line.number, source="vmstat -s", block=block)
        elif _POOL_HEAD.fullmatch(text):
            pools = True
        elif pools and (match := _POOL.fullmatch(text)):
            value, key = int(match[2]), f"hugepages {int(match[1])}"
            yield Statement(key=key, value=value, line=line.number, source="hugeadm", block=block)
    yield from _zones(section, block)


def _zones(section: Section, block: int) -> Iterator[Statement]:
    """The nodes of /proc/zoneinfo and /proc/buddyinfo, and how many pages the first one counts on each."""
    pages: dict[int, int] = {}
    lines: dict[int, int] = {}
    zones: list[int] = []
    node = -1
    for line in section.lines:
        if match := _ZONE.fullmatch(line.text):
            node = int(match[1])
            zones.append(0)
            lines.setdefault(node, line.number)
            yield Statement(key="seen", value=node, line=line.number, source="zones", block=block)
        elif 0 <= node < MAX_NODE and (match := _PRESENT.fullmatch(line.text)):
            pages[node] = pages.get(node, 0) + int(match[1])
            zones[-1] += 1
    if pages and set(zones) != {1}:
        text = "zones of nodes are cut off: one has no size, or two"
        yield Statement(key=DAMAGE, value=text, line=min(lines.values()), source="zones", block=block)
    for node, count in pages.items():
        yield Statement(key="pages", value=count, line=lines[node], source="zones", node=node, block=block)


def _meminfo(match: re.Match[str], line: int, block: int) -> Iterator[Statement]:
    name, number = match[1], int(match[2])
    source = "/proc/meminfo"
    if name == "MemTotal":
        unit = (match[4] or "kB").strip()
        yield Statement(key="memory", value=size(match[2] + match[3], unit), line=line, source=source, block=block)
    elif name == "HugePages_Total":
        yield Statement(key="hugepages default", value=number, line=line, source=source, block=block)
    elif name == "Hugepagesize":
        yield Statement(key="hugepage_size", value=number * KIB, line=line, source=source, block=block)


@dataclass(slots=True)
class _Table:
    """A table of numastat -m that is being read."""

    nodes: list[int] = field(default_factory=list)
    total: bool = False
    """Whether a column has the sums."""
    tables: int = 0
    totals: int = 0
    """Tables so far, and those with such a column: the last one of an output always has it."""
    in_head: bool = False
    values: list[str] = field(default_factory=list)
    line: int = 0

    def head(self, text: str) -> None:
        """Take the names of columns; those of a second line in a row are the rest of the first."""
        if not self.in_head:
            self.nodes, self.total, self.values = [], False, []
        self.in_head = True
        self.nodes += [int(number) for number in _NODE.findall(text)]
        self.total = self.total or "Total" in text

    @property
    def due(self) -> int:
        """How many numbers a row still lacks."""
        return len(self.nodes) + self.total - len(self.values)


def _numastat(section: Section, block: int) -> Iterator[Statement]:
    """`numastat -m`, maybe wrapped, and the nodes of a plain numastat."""
    table = _Table()
    counted: tuple[int, ...] = ()
    for line in section.lines:
        text = line.text
        if _HEAD.fullmatch(text):
            yield from _row_of(table, block)
            table.head(text)
        elif _COUNTERS.fullmatch(text):
            counted = tuple(int(word.removeprefix("node")) for word in text.split())
        elif counted and _HITS.fullmatch(text):
            for node in counted:
                yield Statement(key="seen", value=node, line=line.number, source="numastat", block=block)
        elif table.nodes and (match := _TOTAL.fullmatch(text)):
            table.values, table.line, table.in_head = match[1].split(), line.number, False
        elif table.values and table.due > 0 and _MORE.fullmatch(text):
            table.values += text.split()
        elif text and not _RULER.fullmatch(text):
            yield from _row_of(table, block)
            table.in_head = False
    yield from _row_of(table, block)
    if table.tables and not table.totals:
        text = "numastat is cut off: its last column, the total, is not there"
        yield Statement(key=DAMAGE, value=text, line=table.line, source="numastat -m", block=block)


def _row_of(table: _Table, block: int) -> Iterator[Statement]:
    """The memory of the nodes in a row that is whole."""
    values, table.values = table.values, []
    source, line = "numastat -m", table.line
    if not values:
        return
    if len(values) != len(table.nodes) + table.total:
        text = f"the row MemTotal of numastat has {len(values)} numbers for {len(table.nodes) + table.total} columns"
        yield Statement(key=DAMAGE, value=text, line=line, source=source, block=block)
        return
    table.tables += 1
    table.totals += table.total
    for node, value in zip(table.nodes, values, strict=False):
        if node < MAX_NODE:
            amount = int(float(value) * MIB)
            yield Statement(key="memory", value=amount, line=line, source=source, node=node, block=block)


def _free(match: re.Match[str], command: str, line: int, block: int) -> Iterator[Statement]:
    """The total of `free`, whose unit is printed, or is an option of the command; kB without one."""
    number, unit = match[1], match[2]
    if not unit:
        if _GROUPS.fullmatch(number):
            number = re.sub(r"\D", "", number)
        option = _FREE_UNIT.search(command)
        if option is None and int(re.sub(r"\D", "", number)) < LEAST:
            text = "free has no unit and a number too small for kB: left out; `free -m` above it would say the unit"
            yield Statement(key=NOTE, value=text, line=line, source="free", block=block)
            return
        letter = "k" if option is None else (option[1] or option[2])[0]
        unit = letter.replace("b", "").replace("h", "")
    amount = size(number, unit)
    yield Statement(key="memory", value=amount, line=line, source="free", block=block, guess="free rounds it")
