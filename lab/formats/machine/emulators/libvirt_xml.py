# SPDX-License-Identifier: GPL-2.0-or-later
"""The cells of libvirt's XML, of a host or of a guest, whole or in part; of a guest without cells its memory and CPUs.

It is read tag by tag and not by an XML parser, as it comes from strangers and in parts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lab.formats.machine.emulators.guest_nodes import GuestNodes
from lab.formats.machine.paste.pasted import Line, joined
from lab.formats.machine.statements import DAMAGE, Statement, size

_TAG = re.compile(r"<(/?)(\w{1,20})((?:\s+[\w:]{1,30}=(?:'[^'<>]*'|\"[^\"<>]*\"))*)\s*/?>([^<]{0,40})")
_ATTRIBUTE = re.compile(r"([\w:]+)=['\"]([^'\"]*)['\"]")
_UNITS = re.compile(r"([KMGT])i?B?|(bytes|b)", re.IGNORECASE)
LARGEST_PAGE = 256 << 10
"""Bytes: what is larger is a huge page."""
_ROOT = re.compile(r"<(?:domain|capabilities)[\s>]")


@dataclass(slots=True)
class _Cells:
    """The state between the tags of one document."""

    nodes: GuestNodes
    current: int = -1
    """The node whose cell has begun; -1 outside of one."""
    announced: int = 0
    """How many nodes the XML says that there are."""
    due: tuple[int, int] | None = None
    """(node, CPUs that the XML says it has)."""
    begun: bool = False
    """Whether the tag around all cells has come."""
    pools: dict[int, dict[int, int]] = field(default_factory=dict)
    """Node -> size of pages in bytes -> how many the host has of them."""


def read(lines: Sequence[Line]) -> Iterator[Statement]:
    """Everything that libvirt's XML states; several documents each by itself."""
    cells = _Cells(GuestNodes("libvirt"))
    for line in joined(lines, _rest_of_tag):
        if not line.text.startswith("<"):
            continue
        if _ROOT.match(line.text) and (cells.nodes.lines or cells.nodes.found):
            yield from _statements(cells)
            cells = _Cells(GuestNodes("libvirt", block=cells.nodes.block + 1))
        for tag in _TAG.finditer(line.text):
            _take(cells, tag, line.number)
    yield from _statements(cells)


def _rest_of_tag(line: str, _following: str) -> str | None:
    """Return what stands for the end of a line within a tag; None if the line ends outside of one."""
    return " " if line.startswith("<") and line.rfind("<") > line.rfind(">") else None


def _take(cells: _Cells, tag: re.Match[str], line: int) -> None:
    """Read one tag, and the text behind it."""
    closing, name = bool(tag[1]), tag[2]
    values = dict(_ATTRIBUTE.findall(tag[3]))
    text = "" if closing else tag[4].strip()
    if name == "cell":
        _cell(cells, values, line, closing=closing)
    elif name == "cells":
        _all_cells(cells, values, line, closing=closing)
    elif cells.current >= 0 and not closing:
        _within_cell(cells, name, values, text, line)
    elif not closing:
        _outside(cells.nodes, name, values, text, line)


def _statements(cells: _Cells) -> Iterator[Statement]:
    """What one document states."""
    nodes = cells.nodes
    if nodes.lines:
        first = min(nodes.lines.values())
        if cells.announced:
            nodes.add("node_count", cells.announced, first)
        _end_cell(cells, first)
        _pages(cells)
    yield from nodes.statements()


def _pages(cells: _Cells) -> None:
    """State the size of a page, which is the smallest of a host, and the huge pages of each node."""
    for node, counts in cells.pools.items():
        smallest = min(counts)
        if len(counts) > 1 and smallest < LARGEST_PAGE:
            cells.nodes.add("page_size", smallest, cells.nodes.lines[node])
        for page, count in counts.items():
            if page > smallest:
                cells.nodes.add(f"hugepages {page}", count, cells.nodes.lines[node], node)


def _outside(guest: GuestNodes, name: str, values: Mapping[str, str], text: str, line: int) -> None:
    """A tag that is in no cell: of a guest, or of a host."""
    if name == "arch" and text:
        guest.add("arch", text, line)
    elif name == "type" and values.get("arch") and values.get("machine"):
        guest.add("arch", values["arch"], line)
    elif name == "memory" and (amount := _bytes(text, values.get("unit", "KiB"))):
        guest.add("memory", amount, line)
    elif name == "vcpu" and text.isdecimal() and len(text) < 6:
        guest.add("cpu_count", int(values.get("current", text)), line)


def _all_cells(cells: _Cells, values: Mapping[str, str], line: int, *, closing: bool) -> None:
    """The tag around all cells, which says how many there are."""
    number = values.get("num", "")
    if not closing:
        cells.begun = True
        cells.announced = int(number) if number.isdecimal() and len(number) < 5 else 0
    elif not cells.begun:
        cells.nodes.add(DAMAGE, "the beginning of the cells is cut off", line)


def _end_cell(cells: _Cells, line: int) -> None:
    """Say it if the last cell has fewer CPUs than it announced."""
    if cells.due is None:
        return
    node, count = cells.due
    cells.due = None
    listed = len(cells.nodes.cpus[node])
    if listed < count:
        cells.nodes.add(DAMAGE, f"the CPUs of node {node} are damaged or cut off: {listed} of {count}", line)


def _cell(cells: _Cells, values: Mapping[str, str], line: int, *, closing: bool) -> None:
    """The beginning or the end of a node's cell. A guest's cell without an id is the next one."""
    _end_cell(cells, line)
    nodes = cells.nodes
    number = values.get("id", str(len(nodes.lines)) if "memory" in values else "")
    node = cells.current = -1 if closing else nodes.node(number, line)
    if node < 0:
        return
    if "memory" in values:
        nodes.memory[node] = _bytes(values["memory"], values.get("unit", "KiB"))
    if "cpus" in values:
        nodes.add_cpus(node, values["cpus"], line)


def _within_cell(cells: _Cells, name: str, values: Mapping[str, str], text: str, line: int) -> None:
    node = cells.current
    if name == "memory":
        cells.nodes.memory[node] = _bytes(text, values.get("unit", "KiB"))
    elif name == "cpus" and values.get("num", "").isdecimal() and len(values["num"]) < 6:
        cells.due = node, int(values["num"])
    elif name == "cpu" and "id" in values:
        cells.nodes.add_cpus(node, values["id"], line)
    elif name == "sibling":
        cells.nodes.add_distance(str(node), values.get("id", ""), values.get("value", ""))
    elif name == "pages" and text.isdecimal() and len(text) < 13:
        page = _bytes(values.get("size", ""), values.get("unit", "KiB"))
        if page:
            cells.pools.setdefault(node, {})[page] = int(text)


def _bytes(text: str, unit: str) -> int:
    match = _UNITS.fullmatch(unit)
    if match is None or not text.isdecimal() or len(text) > 15:
        return 0
    return size(text, match[1] or "")
