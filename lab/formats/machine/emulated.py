# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests and hosts in the words of emulators: QEMU's arguments, the cells of libvirt's XML, Proxmox' configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lab.formats.machine.cpu_list import parse_cpu_list
from lab.formats.machine.pasted import Line
from lab.formats.machine.statements import DAMAGE, MAX_NODE, Statement, Value, size

_EMULATOR = re.compile(r"qemu-system-(\w{1,20})")
_NAMES = (("i386", "i686"), ("arm", "armv7l"), ("ppc64", "ppc64le"))
"""(QEMU's name, `uname -m`), where they differ. A ppc64 machine runs kernels of both byte orders."""
_OPTION = re.compile(r"(?:^|\s)--?(numa|object|smp|m|append)[ =](\"[^\"]*\"|'[^']*'|\S+)")
_SIZE = re.compile(r"(\d{1,12})([KMGT]?)i?B?", re.IGNORECASE)
_TAG = re.compile(r"<(/?)(\w{1,20})((?:\s+[\w:]{1,30}=(?:'[^'<>]*'|\"[^\"<>]*\"))*)\s*/?>([^<]{0,40})")
_ATTRIBUTE = re.compile(r"([\w:]+)=['\"]([^'\"]*)['\"]")
_UNITS = re.compile(r"([KMGT])i?B|(bytes|b)", re.IGNORECASE)
_PROXMOX = re.compile(r"(sockets|cores|memory): (\d{1,9})")
_PROXMOX_NODE = re.compile(r"numa(\d{1,4}): (\S{1,400})")
LOCAL, REMOTE = 10, 20
"""Distances that QEMU gives nodes of which nothing is stated."""


@dataclass(slots=True)
class _Guest:
    """What the arguments or the XML of one guest state."""

    source: str
    line: int = 0
    lines: dict[int, int] = field(default_factory=dict)
    cpus: dict[int, list[int]] = field(default_factory=dict)
    memory: dict[int, int] = field(default_factory=dict)
    backends: dict[str, int] = field(default_factory=dict)
    distances: dict[tuple[int, int], int] = field(default_factory=dict)
    found: list[Statement] = field(default_factory=list)

    def add(self, key: str, value: Value, line: int, node: int | None = None) -> None:
        """State something."""
        self.found.append(Statement(key=key, value=value, line=line, source=self.source, node=node))

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


def read_arguments(lines: Sequence[Line]) -> list[Statement]:
    """QEMU's command line, wrapped or not."""
    guest = _Guest("qemu")
    for line in lines:
        if match := _EMULATOR.search(line.text):
            guest.line = guest.line or line.number
            guest.add("arch", dict(_NAMES).get(match[1], match[1]), line.number)
        if guest.line:
            for option in _OPTION.finditer(line.text):
                _option(guest, option[1], option[2].strip("\"'"), line.number)
    return [*guest.found, *_sums(guest, mirrored=True)]


def _option(guest: _Guest, name: str, text: str, line: int) -> None:
    first, *others = text.split(",")
    pairs = [tuple(word.split("=", 1)) for word in (first, *others) if "=" in word]
    values = {pair[0]: pair[1] for pair in pairs}
    if name == "append":
        guest.add("cmdline", " ".join(word for word in text.split() if word.isprintable()), line)
    elif name == "m":
        if match := _SIZE.fullmatch(values.get("size", first)):
            guest.add("memory", size(match[1], match[2] or "M"), line)
    elif name == "smp":
        count = values.get("cpus", first)
        if count.isdecimal() and len(count) < 6:
            guest.add("cpu_count", int(count), line)
    elif name == "object":
        if match := _SIZE.fullmatch(values.get("size", "")):
            guest.backends[values.get("id", "")] = size(match[1], match[2])
    elif first == "dist":
        _distance(guest, values.get("src", ""), values.get("dst", ""), values.get("val", ""))
    elif first == "node":
        _node(guest, values, [pair[1] for pair in pairs if pair[0] == "cpus"], line)


def _node(guest: _Guest, values: Mapping[str, str], cpus: Sequence[str], line: int) -> None:
    node = guest.node(values.get("nodeid", str(len(guest.lines))), line)
    if node < 0:
        return
    guest.memory[node] = guest.backends.get(values.get("memdev", ""), 0)
    if match := _SIZE.fullmatch(values.get("mem", "")):
        guest.memory[node] = size(match[1], match[2] or "M")
    for text in cpus:
        guest.add_cpus(node, text, line)


def _distance(guest: _Guest, source: str, target: str, value: str) -> None:
    if all(text.isdecimal() and len(text) < 5 for text in (source, target, value)):
        guest.distances[int(source), int(target)] = int(value)


def read_proxmox(lines: Sequence[Line]) -> list[Statement]:
    """A guest's configuration in Proxmox: `cores: 4`, `memory: 8192` (MB), `numa0: cpus=0-3,memory=8192`."""
    guest = _Guest("Proxmox")
    counts: dict[str, int] = {}
    for line in lines:
        if match := _PROXMOX.fullmatch(line.text):
            guest.line = guest.line or line.number
            counts[match[1]] = int(match[2])
        elif match := _PROXMOX_NODE.fullmatch(line.text):
            values = dict(word.split("=", 1) for word in match[2].split(",") if "=" in word)
            node = guest.node(match[1], line.number)
            if node >= 0:
                guest.add_cpus(node, values.get("cpus", "").replace(";", ","), line.number)
                memory = values.get("memory", "")
                guest.memory[node] = size(memory, "M") if memory.isdecimal() and len(memory) < 10 else 0
    if "cores" not in counts or "memory" not in counts:
        return []
    guest.add("cpu_count", counts.get("sockets", 1) * counts["cores"], guest.line)
    guest.add("memory", size(str(counts["memory"]), "M"), guest.line)
    return [*guest.found, *_sums(guest, mirrored=True)]


def read_xml(lines: Sequence[Line]) -> list[Statement]:
    """The cells of libvirt's XML."""
    guest = _Guest("libvirt")
    node = -1
    for line in lines:
        if not line.text.startswith("<"):
            continue
        for tag in _TAG.finditer(line.text):
            values = dict(_ATTRIBUTE.findall(tag[3]))
            if tag[2] == "arch" and tag[4].strip() and not tag[1]:
                guest.add("arch", tag[4].strip(), line.number)
            elif tag[2] == "cell":
                node = _cell(guest, values, line.number, closing=bool(tag[1]))
            elif node >= 0 and not tag[1]:
                _within_cell(guest, node, tag[2], values, tag[4].strip(), line.number)
    if not guest.lines:
        return []
    return [*guest.found, *_sums(guest, mirrored=False)]


def _cell(guest: _Guest, values: Mapping[str, str], line: int, *, closing: bool) -> int:
    """The node whose cell begins; -1 if one ends."""
    node = -1 if closing else guest.node(values.get("id", ""), line)
    if node < 0:
        return -1
    guest.memory[node] = _bytes(values.get("memory", ""), values.get("unit", "KiB"))
    if "cpus" in values:
        guest.add_cpus(node, values["cpus"], line)
    return node


def _within_cell(guest: _Guest, node: int, name: str, values: Mapping[str, str], text: str, line: int) -> None:
    if name == "memory":
        guest.memory[node] = _bytes(text, values.get("unit", "KiB"))
    elif name == "cpu" and "id" in values:
        guest.add_cpus(node, values["id"], line)
    elif name == "sibling":
        _distance(guest, str(node), values.get("id", ""), values.get("value", ""))


def _bytes(text: str, unit: str) -> int:
    match = _UNITS.fullmatch(unit)
    if match is None or not text.isdecimal() or len(text) > 15:
        return 0
    return size(text, match[1] or "")


def _sums(guest: _Guest, *, mirrored: bool) -> Iterator[Statement]:
    """The nodes. QEMU takes a distance for both directions if it is stated for one."""
    columns = tuple(sorted(guest.lines))[:128]
    for node in columns:
        line = guest.lines[node]
        cpus = tuple(sorted(set(guest.cpus[node])))
        yield Statement(key="cpus", value=cpus, line=line, source=guest.source, node=node)
        yield Statement(key="memory", value=guest.memory.get(node, 0), line=line, source=guest.source, node=node)
        row: list[int] = []
        for other in columns:
            near = LOCAL if node == other else REMOTE
            back = guest.distances.get((other, node), near) if mirrored else near
            row.append(guest.distances.get((node, other), back))
        if guest.distances:
            yield Statement(key="distance", value=tuple(row), line=line, source=guest.source, node=node)
    if guest.distances and columns:
        yield Statement(key="columns", value=columns, line=guest.lines[columns[0]], source=guest.source)
