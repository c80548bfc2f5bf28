# SPDX-License-Identifier: GPL-2.0-or-later
"""What likwid-topology prints: its hardware threads, and the CPUs, distances and memory of its NUMA domains."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lab.formats.machine.cpu_list import MAX_CPU, parse_cpu_list
from lab.formats.machine.paste.pasted import Line
from lab.formats.machine.statements import DAMAGE, MAX_NODE, Statement, Value, numbers, size

SOURCE = "likwid-topology"
_NAME = re.compile(r"CPU name:\s*(\S.*)")
_HEAD = re.compile(r"HWThread\s+Thread\s+Core\s.*")
_ROW = re.compile(r"(\d{1,5})(?:\s+\d{1,5}){3,4}\s*(\*?)")
_DOMAIN = re.compile(r"Domain:?\s*(\d{1,4}):?")
_FIELD = re.compile(r"(Processors|Distances|Relative distance to nodes|Total memory|Memory):\s*(.*)")
_LIST = re.compile(r"\(([\d\s,-]*)\)|[\d\s,-]*")
_MEMORY = re.compile(r"(?:.* of total )?(\d{1,12}(?:\.\d{1,3})?) ([MGT])B")


def read(lines: Sequence[Line]) -> Iterator[Statement]:
    """Everything that the lines state in the words of likwid."""
    threads: set[int] = set()
    in_table, node, first = False, -1, 0
    for line in lines:
        if match := _NAME.fullmatch(line.text):
            yield _statement("model", match[1], line)
        elif _HEAD.fullmatch(line.text):
            in_table, first = True, first or line.number
        elif in_table and (match := _ROW.fullmatch(line.text)):
            if match[2] and int(match[1]) < MAX_CPU:
                threads.add(int(match[1]))
        elif match := _DOMAIN.fullmatch(line.text):
            node = int(match[1])
        elif 0 <= node < MAX_NODE and (match := _FIELD.fullmatch(line.text)):
            yield from _of_domain(node, match[1], match[2], line)
        elif line.text:
            in_table = False
    if threads:
        yield Statement(key="online", value=tuple(sorted(threads)), line=first, source=SOURCE)


def _of_domain(node: int, name: str, text: str, line: Line) -> Iterator[Statement]:
    """What one line states of a NUMA domain."""
    if name == "Processors":
        match = _LIST.fullmatch(text)
        try:
            if match is None:
                raise ValueError("its brackets are not closed")
            yield _statement("cpus", parse_cpu_list(match[1] or match[0]), line, node)
        except ValueError as error:
            yield _statement(DAMAGE, f"the CPUs of node {node} are damaged or cut off: {error}", line)
    elif "istance" in name and numbers(text):
        yield _statement("distance", numbers(text), line, node)
    elif "emory" in name and (match := _MEMORY.fullmatch(text)):
        yield _statement("memory", size(match[1], match[2]), line, node)


def _statement(key: str, value: Value, line: Line, node: int | None = None) -> Statement:
    return Statement(key=key, value=value, line=line.number, source=SOURCE, node=node)
