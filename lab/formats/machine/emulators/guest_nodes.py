# SPDX-License-Identifier: GPL-2.0-or-later
"""The nodes of a guest while its description is read, and the statements that they come to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from lab.formats.machine.cpu_list import format_list, parse_cpu_list
from lab.formats.machine.statements import DAMAGE, MAX_NODE, Statement, Value

LOCAL, REMOTE = 10, 20
"""Distances that QEMU gives nodes of which nothing is stated."""
MAX_COLUMNS = 128


@dataclass(slots=True)
class GuestNodes:
    """What is stated of one guest."""

    source: str
    line: int = 0
    block: int = 0
    """The number of the guest in the text."""
    lines: dict[int, int] = field(default_factory=dict)
    cpus: dict[int, list[int]] = field(default_factory=dict)
    memory: dict[int, int] = field(default_factory=dict)
    distances: dict[tuple[int, int], int] = field(default_factory=dict)
    found: list[Statement] = field(default_factory=list)

    def add(self, key: str, value: Value, line: int, node: int | None = None) -> None:
        """State something."""
        self.found.append(self._statement(key, value, line, node))

    def node(self, text: str, line: int) -> int:
        """The number of a node, noted; -1 if it is none."""
        if not text.isdecimal() or len(text) > 4 or int(text) >= MAX_NODE:
            return -1
        self.lines.setdefault(int(text), line)
        self.cpus.setdefault(int(text), [])
        return int(text)

    def add_cpus(self, node: int, text: str, line: int) -> None:
        """Put the CPUs of a list on a node."""
        try:
            self.cpus[node] += parse_cpu_list(text)
        except ValueError as error:
            self.add(DAMAGE, f"the CPUs of node {node} are damaged or cut off: {error}", line)

    def add_distance(self, source: str, target: str, value: str) -> None:
        """Note the distance from one node to another, if all three are numbers."""
        if all(text.isdecimal() and len(text) < 5 for text in (source, target, value)):
            self.distances[int(source), int(target)] = int(value)

    def statements(self) -> Iterator[Statement]:
        """State everything. QEMU and libvirt take a distance for both directions if it is stated for one."""
        yield from self.found
        columns = tuple(sorted(self.lines))[:MAX_COLUMNS]
        yield from self._unknown_nodes(columns)
        placed = any(self.cpus.values())
        for node in columns:
            line = self.lines[node]
            if placed or len(columns) == 1:
                yield self._of_node("cpus", tuple(sorted(set(self.cpus[node]))), node)
            if node in self.memory:
                yield self._of_node("memory", self.memory[node], node)
            else:
                yield self._statement("seen", node, line)
            if self.distances:
                yield self._of_node("distance", self._row(node, columns), node)
        if self.distances and columns:
            yield self._statement("columns", columns, self.lines[columns[0]])

    def _statement(self, key: str, value: Value, line: int, node: int | None = None) -> Statement:
        return Statement(key=key, value=value, line=line, source=self.source, node=node, block=self.block)

    def _of_node(self, key: str, value: Value, node: int) -> Statement:
        return self._statement(key, value, self.lines[node], node)

    def _row(self, node: int, columns: tuple[int, ...]) -> tuple[int, ...]:
        """The distances from a node."""
        row: list[int] = []
        for other in columns:
            near = LOCAL if node == other else REMOTE
            back = self.distances.get((other, node), near)
            row.append(self.distances.get((node, other), back))
        return tuple(row)

    def _unknown_nodes(self, columns: tuple[int, ...]) -> Iterator[Statement]:
        """Say it if distances name nodes that are not described."""
        others = {node for pair in self.distances for node in pair} - set(columns)
        if others and columns:
            text = f"nodes: distances name node {format_list(others)}, which is not described: cut off"
            yield self._statement(DAMAGE, text, self.lines[columns[0]])
