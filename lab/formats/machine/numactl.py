# SPDX-License-Identifier: GPL-2.0-or-later
"""What `numactl --hardware` prints, also wrapped, with `--cpu-compress`, cut off, or its distances alone.

available: 2 nodes (0-1)
node 0 cpus: 0 1 2 3              or: 0-3 (4)
node 0 size: 64307 MB
node distances:
node   0   1
  0:  10  12
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lab.formats.machine.cpu_list import is_ascending, parse_cpu_list
from lab.formats.machine.paste.pasted import Line
from lab.formats.machine.statements import (
    DAMAGE,
    MAX_NODE,
    MAX_NUMBERS,
    MAX_STATEMENTS,
    NOTE,
    Statement,
    Value,
    amount,
    is_ellipsis,
    is_numbers,
    numbers,
    runs_of_numbers,
    size,
    square,
)

SOURCE = "numactl -H"
TABLE = (-1, "distances")
"""Instead of a node and what is stated of it: the table, of which one output has one."""
_AVAILABLE = re.compile(r"available:\s*(\d{1,4})\s+nodes?\s*(?:\(([\d,\s-]*)\))?.*", re.IGNORECASE)
_NONE = re.compile(r"No NUMA (?:support )?available on this system", re.IGNORECASE)
_NODE = re.compile(r"node\s{0,4}(\d{1,4})\s{1,4}(cpus?|size)\s{0,4}:(.*)", re.IGNORECASE)
_SIZE = re.compile(r"\s*(\d{1,12}(?:\.\d{1,3})?)\s*([kMGT])i?B\b.*", re.IGNORECASE)
_FREE = re.compile(r"node\s{0,4}\d{1,4}\s{1,4}free\s{0,4}:.*", re.IGNORECASE)
_DISTANCES = re.compile(r"node distances?\s*:", re.IGNORECASE)
_COLUMNS = re.compile(r"node((?:\s+\d{1,4})+)\s*((?:\.{3})?)", re.IGNORECASE)
_ROW = re.compile(r"(?:node\s*)?(\d{1,4})\s*:\s*(\d{1,3}(?:\s+\d{1,3})*)\s*((?:\.{3})?.*)", re.IGNORECASE)
_LABELLED = re.compile(r"(\d{1,4})(?:: *| +)(\d{1,3}(?: +\d{1,3})*)")
_CONTINUED = re.compile(r"[\d\s,()-]+")
_SHOWN = re.compile(r"(physcpubind|nodebind|membind):\s*(\d{1,4}(?:\s+\d{1,4})*)")
_REMARK = re.compile(r"(?<!\s)\s+(?:(?:#|//|--|<[-=]+|\u2190|;)\s*\S.*|\((?=[^()]*[^\W\d])[^()]*\))\s*$")
"""What a person wrote behind a line: `# the fast node`, `<- local`, `(8 cores)`; `(8)` is numactl's own."""
_LAST_NUMBERS = re.compile(r"(?:(\d{1,5}) +)?\b(\d{1,5})$")
_FIRST_NUMBER = re.compile(r"\s*(\d+)")


def read(lines: Sequence[Line]) -> list[Statement]:
    """Everything that the lines state in the words of numactl."""
    reader = _NumactlReader()
    for line in lines:
        reader.take(line)
    reader.end()
    return reader.found


class _NumactlReader:
    """The state between the lines: an unfinished list of CPUs, or the table of distances."""

    def __init__(self) -> None:
        self.found: list[Statement] = []
        self.block = 0
        self.node = -1
        self.parts: list[str] = []
        self.line = 0
        self.stated: set[tuple[int, str]] = set()
        self.columns: list[int] = []
        self.columns_line = 0
        self.rows: dict[int, list[int]] = {}
        self.row_lines: dict[int, int] = {}
        self.in_table = False
        self.announced = 0
        """The line that announces the distances, until their table comes."""
        self.room = MAX_NUMBERS

    def take(self, line: Line) -> None:
        """Read one line."""
        if self.room < 0 or len(self.found) > MAX_STATEMENTS:
            return
        text = self._without_remark(line)
        if self.parts and _CONTINUED.fullmatch(text) and text:
            self.parts.append(text)
            return
        if match := _NODE.match(text):
            self._end_list()
            self._node(line, int(match[1]), match[2].lower(), match[3])
        elif match := _AVAILABLE.match(text):
            self._begin_block()
            self._available(line, match)
        elif match := _COLUMNS.fullmatch(text):
            self._end_list()
            self._table(line, match)
        elif _DISTANCES.fullmatch(text):
            self._end_list()
            self._end_table()
            self.announced = line.number
        elif self.in_table and text:
            self._row(text, line.number)
        elif text and not _FREE.match(text):
            self._end_list()
            self._check_announced(text)
            if _NONE.search(text):
                self._add("node_count", 1, line.number)

    def _without_remark(self, line: Line) -> str:
        """Return the text of a line of numactl without what a person wrote behind it, which is noted."""
        remark = _REMARK.search(line.text)
        if remark is None:
            return line.text
        text = line.text[: remark.start()]
        of_the_table = _COLUMNS.fullmatch(text) or (self.in_table and _ROW.fullmatch(text))
        if not of_the_table and not _NODE.match(text):
            return line.text
        self._add(NOTE, f"a remark is left out: {remark[0].strip()[:40]!r}", line.number)
        return text

    def end(self) -> None:
        """Finish what is unfinished at the end of the text."""
        self._end_list()
        self._end_table()
        self._check_announced("")

    def _check_announced(self, text: str) -> None:
        """State the damage where other text, or nothing, is behind the line that announces the distances."""
        if self.announced:
            found = f"{text[:40]!r} is behind" if text else "nothing is behind"
            self._add(DAMAGE, f"distances: {found} their heading, and no table", self.announced)
        self.announced = 0

    def _add(self, key: str, value: Value, line: int, node: int | None = None) -> None:
        self.room -= amount(value)
        self.found.append(Statement(key=key, value=value, line=line, source=SOURCE, node=node, block=self.block))

    def _begin_block(self) -> None:
        self.end()
        self.block += 1
        self.stated = set()

    def _available(self, line: Line, match: re.Match[str]) -> None:
        count = int(match[1])
        self._add("node_count", count, line.number)
        if match[2] is None:
            return
        try:
            listed = parse_cpu_list(match[2])
        except ValueError:
            listed = ()
        if len(listed) == count:
            self._add("nodes", listed, line.number)

    def _node(self, line: Line, node: int, what: str, text: str) -> None:
        if node >= MAX_NODE:
            return
        what = what.removesuffix("s")
        if (node, what) in self.stated:
            self._begin_block()
        self._end_table()
        self.stated.add((node, what))
        if what == "cpu":
            self.node, self.line, self.parts = node, line.number, [text.strip() or " "]
        elif match := _SIZE.fullmatch(text):
            self._add("memory", size(match[1], match[2]), line.number, node)

    def _end_list(self) -> None:
        if not self.parts:
            return
        text, parts = _joined(self.parts), self.parts
        self.parts = []
        if len(parts) > 1:
            self._add(NOTE, f"the CPUs of node {self.node} are wrapped over {len(parts)} lines: joined", self.line)
        try:
            cpus = parse_cpu_list(text)
        except ValueError as error:
            self._add(DAMAGE, f"the CPUs of node {self.node} are damaged or cut off: {error}", self.line)
            return
        if is_numbers(text) and not is_ascending(numbers(text)):
            message = f"the CPUs of node {self.node} are cut off or damaged: CPU {text.split()[-1]} is out of order"
            self._add(DAMAGE, message, self.line)
            return
        self._add("cpus", cpus, self.line, self.node)

    def _table(self, line: Line, match: re.Match[str]) -> None:
        self._end_table()
        self.announced = 0
        if TABLE in self.stated:
            self._begin_block()
        self.stated.add(TABLE)
        self.in_table = True
        self.columns = list(numbers(match[1].strip()))[:MAX_NODE]
        self.columns_line = line.number
        if match[2]:
            self._add(DAMAGE, "distances: the columns are abbreviated with '...'", line.number)

    def _row(self, text: str, number: int) -> None:
        """One line of the table: a row, the rest of one, or what ends the table."""
        if match := _ROW.fullmatch(text):
            node, values = int(match[1]), list(numbers(match[2].strip()))
            if node not in self.columns:
                return
            self.rows[node], self.row_lines[node] = values, number
            if match[3]:
                self._add(DAMAGE, f"distances of node {node}: read up to {match[3][:20]!r}", number)
        elif is_numbers(text):
            self._numbers(list(numbers(text)), number)
        elif not is_ellipsis(text):
            self._end_table()

    def _numbers(self, values: list[int], number: int) -> None:
        """A line of numbers alone: the rest of a wrapped line, or a row whose colon is missing."""
        last = self._last_row()
        if last is None and len(values) != len(self.columns) + 1:
            self.columns = [*self.columns, *values][:MAX_NODE]
        elif last is not None and len(last) < len(self.columns):
            last += values
        elif len(values) == len(self.columns) + 1 and values[0] in self.columns:
            self.rows[values[0]], self.row_lines[values[0]] = values[1:], number

    def _last_row(self) -> list[int] | None:
        return next(reversed(self.rows.values()), None)

    def _end_table(self) -> None:
        if not self.in_table:
            return
        self.in_table = False
        if not self.rows:
            self._add(DAMAGE, "the distances are cut off: their table has no rows", self.columns_line)
            return
        self._add("columns", tuple(self.columns), self.columns_line)
        for node, values in self.rows.items():
            self._distance(node, values)
        missing = [str(node) for node in self.columns if node not in self.rows]
        if missing:
            last = max(self.row_lines.values())
            self._add(DAMAGE, f"distances: no row of node {', '.join(missing[:8])}", last)
        self.rows, self.row_lines = {}, {}

    def _distance(self, node: int, values: list[int]) -> None:
        line = self.row_lines[node]
        if len(values) == len(self.columns):
            self._add("distance", tuple(values), line, node)
            return
        message = f"distances: the row of node {node} has {len(values)} of {len(self.columns)} numbers"
        self._add(DAMAGE, message, line)


def _joined(parts: Sequence[str]) -> str:
    """A wrapped list of CPUs on one line. A terminal wraps within a number, a mailer between two."""
    text = parts[0]
    for part in parts[1:]:
        last, first = _LAST_NUMBERS.search(text[-16:]), _FIRST_NUMBER.match(part[:8])
        inside = False
        if last and first:
            inside = int(first[1]) <= int(last[2]) or int(last[1] or -1) >= int(last[2])
        text += ("" if inside else " ") + part.strip()
    return text


def read_show(lines: Sequence[Line]) -> Iterator[Statement]:
    """`numactl --show`: the nodes that a shell may use, and at least how many CPUs there are."""
    source = "numactl -s"
    for block, line in enumerate(lines):
        match = _SHOWN.fullmatch(line.text)
        if match is None:
            continue
        shown = numbers(match[2])
        if match[1] == "physcpubind":
            guess = "those that the shell may use"
            yield Statement(
                key="cpu_count", value=len(shown), line=line.number, source=source, block=block, guess=guess
            )
            continue
        for node in shown:
            yield Statement(key="seen", value=node, line=line.number, source=source, block=block)


def read_matrix(lines: Sequence[Line]) -> Iterator[Statement]:
    """Distance matrices of numbers alone, as `cat node*/distance` prints them: square, 10 on the diagonal."""
    for block, run in enumerate(runs_of_numbers(lines)):
        rows = [numbers(line.text) for line in run]
        if len(rows) < 2 or any(min(row) != 10 or max(row) > 255 for row in rows):
            continue
        table = square(rows)
        if not table:
            continue
        source, first = "distances", run[0].number
        if table != rows:
            text = "rows of distances are in another order than the nodes: sorted by where each row has its 10"
            yield Statement(key=NOTE, value=text, line=first, source=source, block=block)
        yield Statement(key="columns", value=tuple(range(len(table))), line=first, source=source, block=block)
        for node, row in enumerate(table):
            where = run[rows.index(row)].number
            yield Statement(key="distance", value=row, line=where, source=source, node=node, block=block)


def read_labelled_matrix(lines: Sequence[Line]) -> Iterator[Statement]:
    """Distance matrices with the numbers of the nodes above and before them, and no word: `0: 10 21` below `0 1`."""
    filled = [line for line in lines if line.text]
    for place, line in enumerate(filled):
        nodes = numbers(line.text)
        if len(nodes) < 2 or not is_ascending(nodes) or nodes[-1] >= MAX_NODE:
            continue
        rows = [_LABELLED.fullmatch(row.text) for row in filled[place + 1 : place + 1 + len(nodes)]]
        found = {int(row[1]): numbers(row[2].strip()) for row in rows if row}
        if tuple(found) != nodes or any(len(row) != len(nodes) or min(row) != 10 for row in found.values()):
            continue
        source = "distances"
        yield Statement(key="columns", value=nodes, line=line.number, source=source, block=-line.number)
        for row, node in enumerate(nodes, 1):
            where = filled[place + row].number
            yield Statement(key="distance", value=found[node], line=where, source=source, node=node, block=-line.number)
