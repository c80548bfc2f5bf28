# SPDX-License-Identifier: GPL-2.0-or-later
"""A table that a person made: a row for each node, with its CPUs or its memory below names of columns.

| Node | CPUs | Memory |          node,cpus,memory_mb
| 0    | 0-7  | 32 GB  |          0,0-7,32768
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from lab.formats.machine.cpu_list import parse_cpu_list
from lab.formats.machine.paste.pasted import Line
from lab.formats.machine.statements import DAMAGE, MAX_NODE, Statement, size

SOURCE = "table of nodes"
_NODE = re.compile(r"(?:NUMA[ _-]?)?Node(?:[ _-]?(?:ID|No\.?|Number|#))?|NUMA|Domain", re.IGNORECASE)
_CPUS = re.compile(r"CPUs?(?:\(s\))?|CPU[ _-]?list|Cores?|Logical CPUs", re.IGNORECASE)
_MEMORY = re.compile(
    r"(?:Total )?(?:Memory|Mem|RAM|Size)(?:[ _]?[(\[]?(?:in )?(?P<unit>[kMGT])i?B?[)\]]?)?", re.IGNORECASE
)
_FIRST = re.compile(rf"(?:{_NODE.pattern})(?=[\s,;]).*", re.IGNORECASE)
_AMOUNT = re.compile(r"(\d{1,12}(?:[.,]\d{1,3})?) ?(?:([kMGT])i?B?)?", re.IGNORECASE)
_UNIT_APART = re.compile(r"(\d) +([kMGT]i?B)\b", re.IGNORECASE)
_WORDS_APART = re.compile(
    r"\b(NUMA (?=Node)|Total (?=Mem|RAM)|Logical (?=CPU)|CPU (?=List)|Node (?=ID\b))", re.IGNORECASE
)
"""Words of the name of one column."""
_COMMA_APART = re.compile(r",\s+(?=\d)")
MAX_HEAD = 120
MAX_CELLS = 8


@dataclass(slots=True)
class _NodeTable:
    """A table that is being read."""

    line: int
    block: int
    separator: str
    """Between two cells; empty for blanks."""
    columns: list[str]
    unit: str
    """Of the memory, if the head says it."""
    rows: list[tuple[int, dict[str, str]]] = field(default_factory=list)


def read(lines: Sequence[Line]) -> Iterator[Statement]:
    """Everything that tables of nodes state."""
    table: _NodeTable | None = None
    for block, line in enumerate(lines):
        if table and line.text:
            row = _row(table, line)
            if row:
                table.rows.append((line.number, row))
                continue
            yield from _statements(table)
            table = None
        if table is None and len(line.text) <= MAX_HEAD and _FIRST.fullmatch(line.text):
            table = _head(line, block)
    if table:
        yield from _statements(table)


def _head(line: Line, block: int) -> _NodeTable | None:
    """The table whose columns a line names; None if it names no nodes, or nothing else that is known."""
    separator = next((mark for mark in ",;" if mark in line.text), "")
    text = _WORDS_APART.sub(lambda match: match[1].replace(" ", "_"), line.text.replace(" (", "("))
    names = [name.strip().replace("_", " ") for name in (text.split(separator) if separator else text.split())]
    columns, unit = list[str](), ""
    for name in names:
        memory = _MEMORY.fullmatch(name)
        if memory:
            unit = memory["unit"] or ""
        kinds = (("node", _NODE.fullmatch(name)), ("cpus", _CPUS.fullmatch(name)), ("memory", memory))
        columns.append(next((kind for kind, match in kinds if match), ""))
    if columns[0] != "node" or len(set(columns) - {""}) < 2 or len(columns) > MAX_CELLS:
        return None
    return _NodeTable(line=line.number, block=block, separator=separator, columns=columns, unit=unit)


def _row(table: _NodeTable, line: Line) -> dict[str, str]:
    """Column -> cell of a row; empty if the line is none."""
    text = line.text[: MAX_HEAD * MAX_CELLS]
    if table.separator:
        cells = next(csv.reader([text], delimiter=table.separator, skipinitialspace=True), [])
    else:
        cells = _COMMA_APART.sub(",", _UNIT_APART.sub(r"\1\2", text)).split()
    if len(cells) != len(table.columns):
        return {}
    row = {name: cell.strip() for name, cell in zip(table.columns, cells, strict=True) if name}
    number = re.sub(r"^(?:numa)?node ?#?", "", row["node"], flags=re.IGNORECASE)
    return {**row, "node": number} if number.isdecimal() and len(number) < 5 else {}


def _statements(table: _NodeTable) -> Iterator[Statement]:
    """What a table with two nodes or more states."""
    if len(table.rows) < 2 or any(int(row["node"]) >= MAX_NODE for _, row in table.rows):
        return
    start, counted = 0, _counts(table)
    for line, row in table.rows:
        node = int(row["node"])
        if memory := _AMOUNT.fullmatch(row.get("memory", "")):
            amount = size(memory[1], memory[2] or table.unit or "M")
            yield _statement(table, "memory", amount, line, node)
        if counted:
            count = int(row["cpus"])
            guess = "the table counts them and does not number them"
            yield _statement(table, "cpus", tuple(range(start, start + count)), line, node, guess)
            start += count
        elif "cpus" in row:
            yield _listed(table, row["cpus"], line, node)


def _counts(table: _NodeTable) -> bool:
    """Whether the column of CPUs has how many there are: single numbers, of which two are the same."""
    cells = [row.get("cpus", "") for _, row in table.rows]
    return all(cell.isdecimal() and len(cell) < 5 for cell in cells) and len(set(cells)) < len(cells)


def _listed(table: _NodeTable, text: str, line: int, node: int) -> Statement:
    try:
        return _statement(table, "cpus", parse_cpu_list(text), line, node)
    except ValueError as error:
        text = f"the CPUs of node {node} are damaged or cut off: {error}"
        return Statement(key=DAMAGE, value=text, line=line, source=SOURCE, block=table.block)


def _statement(
    table: _NodeTable, key: str, value: int | tuple[int, ...], line: int, node: int, guess: str = ""
) -> Statement:
    return Statement(key=key, value=value, line=line, source=SOURCE, node=node, block=table.block, guess=guess)
