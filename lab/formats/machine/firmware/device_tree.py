# SPDX-License-Identifier: GPL-2.0-or-later
"""Device trees as source, whole or in part: the memory, the CPUs and the distances of nodes.

memory@40000000 { device_type = "memory"; reg = <0x0 0x40000000 0x0 0x80000000>; numa-node-id = <0>; };
cpu@1 { device_type = "cpu"; reg = <0x1>; numa-node-id = <0>; };
distance-map { distance-matrix = <0 0 10>, <0 1 20>, <1 1 10>; };
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from lab.formats.machine.emulators.guest_nodes import GuestNodes
from lab.formats.machine.paste.pasted import Line
from lab.formats.machine.statements import DAMAGE, NOTE, Statement

SOURCE = "device tree"
_HINT = re.compile(r"numa-node-id|device_type = \"(?:memory|cpu)\"|numa-distance-map")
_COMMENT = re.compile(r"/\*.{0,400}?\*/|//[^\n]*", re.DOTALL)
_TOKEN = re.compile(
    r"(?<![\w,.+#-])(?:(?P<name>/|[\w,.+#-]{1,60}(?:@[\w,]{1,40})?)\s{0,20}\{|(?P<key>[\w,#.+-]{1,60})\s{0,20}=\s{0,20}(?P<value>[^;{}]{1,8000});)"
    r"|(?P<end>\})"
)
_CELL = re.compile(r"0x[0-9a-fA-F]{1,16}|\d{1,10}")
_MMU = re.compile(r"\"riscv,(sv\d{2})\"")
MAX_DEPTH = 32


@dataclass(slots=True)
class _TreeNode:
    """A node of the tree that is being read."""

    name: str
    line: int
    properties: dict[str, str] = field(default_factory=dict)

    def cells(self, key: str) -> list[int]:
        """The numbers of a property."""
        found: list[int] = []
        for word in _CELL.findall(self.properties.get(key, "")):
            found.append(int(word, 0) if word.startswith("0x") else int(word))
        return found

    def is_of(self, kind: str) -> bool:
        """Whether it is a CPU, or memory, that is there."""
        typed = f'"{kind}"' in self.properties.get("device_type", "") or self.name.startswith(f"{kind}@")
        return typed and "disabled" not in self.properties.get("status", "")


@dataclass(slots=True)
class _DeviceTree:
    nodes: GuestNodes
    cpus: int = 0
    memory: int = 0
    unopened: int = 0
    """The first line that ends a node that has not begun."""
    width: tuple[int, int] | None = None
    """How many cells an address and a size have, if the text says it."""


def read(lines: Sequence[Line]) -> list[Statement]:
    """Everything that device trees state; a node that is cut off is damage."""
    if not any(_HINT.search(line.text) for line in lines):
        return []
    tree = _DeviceTree(GuestNodes(SOURCE))
    open_nodes: list[_TreeNode] = []
    for line, token in _tokens(lines):
        if token["name"]:
            open_nodes = [*open_nodes[-MAX_DEPTH:], _TreeNode(name=token["name"], line=line)]
        elif token["key"] and open_nodes:
            open_nodes[-1].properties.setdefault(token["key"], token["value"])
            _width(tree, open_nodes)
        elif token["end"] and open_nodes:
            _take(tree, open_nodes.pop())
        elif token["end"]:
            tree.unopened = tree.unopened or line
    for node in open_nodes:
        if node.is_of("cpu") or node.is_of("memory"):
            tree.nodes.add(DAMAGE, f"{node.name} of the device tree is cut off", node.line)
    return list(_statements(tree))


def _tokens(lines: Sequence[Line]) -> Iterator[tuple[int, re.Match[str]]]:
    """(line, token) of the text without its comments, which keep their line breaks."""
    text = _COMMENT.sub(lambda match: "\n" * match[0].count("\n"), "\n".join(line.text for line in lines))
    index, start = 0, 0
    for match in _TOKEN.finditer(text):
        index += text.count("\n", start, match.start())
        start = match.start()
        yield lines[index].number, match


def _width(tree: _DeviceTree, open_nodes: Sequence[_TreeNode]) -> None:
    """Note the cells of the root: those of a folder of CPUs say nothing about memory."""
    node = open_nodes[-1]
    address, length = node.cells("#address-cells"), node.cells("#size-cells")
    if node.name == "/" and address and length and length[0]:
        tree.width = address[0], length[0]


def _take(tree: _DeviceTree, node: _TreeNode) -> None:
    """Read a node of the tree that is whole."""
    nodes = tree.nodes
    number = next(iter(node.cells("numa-node-id")), None)
    numa = -1 if number is None else nodes.node(str(number), node.line)
    if node.is_of("cpu"):
        if numa >= 0:
            nodes.cpus[numa].append(tree.cpus)
        tree.cpus += 1
        nodes.line = nodes.line or node.line
        if tree.cpus == 1 and (mmu := _MMU.search(node.properties.get("mmu-type", ""))):
            nodes.add("fact mmu", mmu[1], node.line)
    elif node.is_of("memory"):
        size = _size(tree, node.cells("reg"))
        if not size:
            nodes.add(DAMAGE, f"{node.name} of the device tree is cut off: it has no memory", node.line)
        tree.memory += size
        nodes.line = nodes.line or node.line
        if numa >= 0:
            nodes.memory[numa] = nodes.memory.get(numa, 0) + size
    cells = node.cells("distance-matrix")
    for first in range(0, len(cells) - 2, 3):
        nodes.distances[cells[first], cells[first + 1]] = cells[first + 2]


def _size(tree: _DeviceTree, cells: Sequence[int]) -> int:
    """The bytes of the ranges of a property `reg`."""
    address, length = tree.width or ((2, 2) if len(cells) % 4 == 0 else (1, 1))
    total = 0
    for first in range(0, len(cells) - address - length + 1, address + length):
        size = 0
        for cell in cells[first + address : first + address + length]:
            size = size << 32 | cell
        total += size
    return total if total < 1 << 50 else 0


def _statements(tree: _DeviceTree) -> Iterator[Statement]:
    nodes = tree.nodes
    if tree.cpus:
        nodes.add("cpu_count", tree.cpus, nodes.line)
    if tree.memory:
        nodes.add("memory", tree.memory, nodes.line)
    if any(nodes.cpus.values()):
        text = "CPUs of the device tree have the numbers of their order: a guess is that Linux numbers them so"
        nodes.add(NOTE, text, nodes.line)
    if tree.unopened:
        text = "a node of the device tree ends that does not begin: a guess is that nothing of it matters"
        nodes.add(NOTE, text, tree.unopened)
    for number, line in nodes.lines.items():
        if nodes.memory and number not in nodes.memory:
            nodes.memory[number] = 0
            nodes.add(NOTE, f"node {number} has no memory: a guess, as no range of the device tree is of it", line)
    yield from nodes.statements()
