# SPDX-License-Identifier: GPL-2.0-or-later
"""ACPI's SRAT and SLIT as iasl disassembles them, the latter also without SRAT.

[030h 0048   1]                Subtable Type : 01 [Memory Affinity]
[032h 0050   4]             Proximity Domain : 00000001
[038h 0056   8]                 Base Address : 0000000100000000
[02Ch 0044   2]                 Locality   0 : 0A 15
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lab.formats.machine.paste.pasted import Line
from lab.formats.machine.statements import DAMAGE, MAX_NODE, NOTE, ArchMarks, Statement, Value

SOURCE = "ACPI"
_FIELD = re.compile(r"(?:\[[0-9A-F]{3,8}h +\d{1,8} +\d{1,6}h?\] *)?([A-Z][\w ()]{2,40}?) *: ?(.*)")
_SUBTABLE = re.compile(r"([0-9A-F]{2}) \[.*")
_LOCALITY = re.compile(r"Locality +([0-9A-F]{1,4})")
_BYTES = re.compile(r"[0-9A-F]{2}(?: [0-9A-F]{2})*")
_HEX = re.compile(r"[0-9A-F]{1,16}")
_CPUS = {"00": "APIC", "02": "X2APIC", "03": "MPIDR", "07": "HARTID"}
"""Type of a subtable of CPUs -> what the kernel's log calls them, which is a mark of the architecture."""
_MEMORY, _HOT = "01", 2
"""A type of subtable, and a bit of its flags."""


@dataclass(slots=True)
class _Tables:
    """What the tables state."""

    cpus: dict[int, int] = field(default_factory=dict)
    """Node -> how many CPUs."""
    memory: dict[int, int] = field(default_factory=dict)
    lines: dict[int, int] = field(default_factory=dict)
    rows: dict[int, tuple[int, ...]] = field(default_factory=dict)
    row_lines: dict[int, int] = field(default_factory=dict)
    localities: int = 0
    found: list[Statement] = field(default_factory=list)

    def add(self, key: str, value: Value, line: int, node: int | None = None, guess: str = "") -> None:
        """State something."""
        self.found.append(Statement(key=key, value=value, line=line, source=SOURCE, node=node, guess=guess))


def read(lines: Sequence[Line], marks: ArchMarks) -> list[Statement]:
    """Everything that the subtables of SRAT and the rows of SLIT state; their domains are taken for Linux' nodes."""
    tables = _Tables()
    subtable: dict[str, str] = {}
    first, row = 0, -1
    for line in lines:
        if row >= 0 and _BYTES.fullmatch(line.text):
            tables.rows[row] += tuple(bytes.fromhex(line.text))
            continue
        match = _FIELD.fullmatch(line.text)
        row = -1
        if match is None:
            continue
        name, value = match[1].removesuffix(" (decoded below)"), match[2].strip()
        if name in ("Subtable Type", "Signature"):
            _end(tables, subtable, first, marks)
            subtable, first = {}, line.number
        if name == "Localities" and _HEX.fullmatch(value):
            tables.localities = int(value, 16)
        elif locality := _LOCALITY.fullmatch(name):
            row = _row(tables, int(locality[1], 16), value, line.number)
        subtable.setdefault(name, value)
    _end(tables, subtable, first, marks)
    _state(tables)
    return tables.found


def _row(tables: _Tables, node: int, value: str, line: int) -> int:
    """Begin a row of SLIT; its node, or -1."""
    if not tables.localities or node >= MAX_NODE or not _BYTES.fullmatch(value):
        return -1
    tables.rows[node], tables.row_lines[node] = tuple(bytes.fromhex(value)), line
    return node


def _end(tables: _Tables, subtable: Mapping[str, str], line: int, marks: ArchMarks) -> None:
    """Read a subtable of SRAT that is whole and enabled."""
    kind = _SUBTABLE.fullmatch(subtable.get("Subtable Type", ""))
    if kind is None or subtable.get("Enabled") != "1":
        return
    domain = _number(subtable, "Proximity Domain", "Proximity Domain Low(8)")
    if domain is None or domain >= MAX_NODE:
        return
    if kind[1] == _MEMORY:
        length = _number(subtable, "Address Length")
        if (_number(subtable, "Flags") or 0) & _HOT or subtable.get("Hot Pluggable") == "1":
            tables.add(NOTE, f"memory of node {domain} that may be plugged in is left out", line)
        elif length:
            tables.lines.setdefault(domain, line)
            tables.memory[domain] = tables.memory.get(domain, 0) + length
    elif name := _CPUS.get(kind[1]):
        tables.lines.setdefault(domain, line)
        tables.cpus[domain] = tables.cpus.get(domain, 0) + 1
        arch = marks.srat.get(name, "")
        if arch and not any(statement.key == "arch" for statement in tables.found):
            tables.add("arch", arch, line, guess=f"SRAT has CPUs of type {kind[1]}")


def _number(subtable: Mapping[str, str], *names: str) -> int | None:
    for name in names:
        value = subtable.get(name, "")
        if _HEX.fullmatch(value):
            return int(value, 16)
    return None


def _state(tables: _Tables) -> None:
    """State the nodes, whose CPUs are numbered one node after the other, and their distances."""
    start = 0
    for node, line in sorted(tables.lines.items()):
        count = tables.cpus.get(node, 0)
        guess = "SRAT does not number them" if count else ""
        tables.add("cpus", tuple(range(start, start + count)), line, node, guess)
        tables.add("memory", tables.memory.get(node, 0), line, node)
        start += count
    if start:
        text = "SRAT counts the CPUs of the nodes and does not number them: their numbers are a guess"
        tables.add(NOTE, text, min(tables.lines.values()))
    tables.found += _distances(tables)


def _distances(tables: _Tables) -> Iterator[Statement]:
    if not tables.localities:
        return
    columns = tuple(range(min(tables.localities, MAX_NODE)))
    for node, row in tables.rows.items():
        line = tables.row_lines[node]
        if not tables.lines:
            yield Statement(key="seen", value=node, line=line, source=SOURCE)
        if len(row) == len(columns):
            yield Statement(key="distance", value=row, line=line, source=SOURCE, node=node)
        else:
            text = f"distances: the row of node {node} has {len(row)} of {len(columns)} numbers"
            yield Statement(key=DAMAGE, value=text, line=line, source=SOURCE)
    if tables.rows:
        yield Statement(key="columns", value=columns, line=min(tables.row_lines.values()), source=SOURCE)
