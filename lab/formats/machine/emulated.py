# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests and hosts in the words of emulators: QEMU's arguments, the cells of libvirt's XML, Proxmox' configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lab.formats.machine.cpu_list import format_list, parse_cpu_list
from lab.formats.machine.paste.pasted import Line
from lab.formats.machine.statements import DAMAGE, MAX_NODE, NOTE, Statement, Value, size

_EMULATOR = re.compile(r"qemu-system-(\w{1,20})")
_NAMES = (("i386", "i686"), ("arm", "armv7l"), ("ppc64", "ppc64le"))
"""(QEMU's name, `uname -m`), where they differ. A ppc64 machine runs kernels of both byte orders."""
_OPTION = re.compile(r"(?:^|\s)--?(numa|object|smp|m|append)[ =](\"[^\"]*\"|'[^']*'|\{[^{}]*\}|\S+)")
_SIZE = re.compile(r"(\d{1,15})([KMGT]?)i?B?", re.IGNORECASE)
_JSON_PAIR = re.compile(r"\"([\w-]{1,30})\" ?: ?\"?([^\",{}\[\]]{1,80})")
"""Of an option in JSON, as libvirt writes it; lists of CPUs are left out."""
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
    announced: int = 0
    """How many nodes the XML says that there are."""
    due: tuple[int, int] | None = None
    """(node, CPUs that the XML says it has)."""
    begun: bool = False
    """Whether the tag around all cells has come."""

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
    if text.startswith("{"):
        pairs = _JSON_PAIR.findall(text)
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
    elif name == "numa":
        _numa(guest, values.get("type", first), values, [pair[1] for pair in pairs if pair[0] == "cpus"], line)


def _numa(guest: _Guest, what: str, values: Mapping[str, str], cpus: Sequence[str], line: int) -> None:
    """The option -numa: a node, a distance, or the node of a socket."""
    if what == "dist":
        _distance(guest, values.get("src", ""), values.get("dst", ""), values.get("val", ""))
    elif what == "node":
        _node(guest, values, cpus, line)
    elif what == "cpu":
        guest.add(NOTE, "-numa cpu names sockets, cores and threads: which CPUs a node has is not read", line)


def _node(guest: _Guest, values: Mapping[str, str], cpus: Sequence[str], line: int) -> None:
    node = guest.node(values.get("nodeid", str(len(guest.lines))), line)
    if node < 0:
        return
    backend = values.get("memdev", "")
    if not backend or backend in guest.backends:
        guest.memory[node] = guest.backends.get(backend, 0)
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
    """The cells of libvirt's XML, of a host or of a guest; of a guest without cells its memory and CPUs."""
    guest = _Guest("libvirt")
    node = -1
    for line in lines:
        if not line.text.startswith("<"):
            continue
        for tag in _TAG.finditer(line.text):
            values = dict(_ATTRIBUTE.findall(tag[3]))
            text = "" if tag[1] else tag[4].strip()
            if tag[2] == "cell":
                node = _cell(guest, values, line.number, closing=bool(tag[1]))
            elif tag[2] == "cells":
                _cells(guest, values, line.number, closing=bool(tag[1]))
            elif node >= 0 and not tag[1]:
                _within_cell(guest, node, tag[2], values, text, line.number)
            elif not tag[1]:
                _outside(guest, tag[2], values, text, line.number)
    if not guest.lines:
        return guest.found
    if guest.announced:
        guest.add("node_count", guest.announced, min(guest.lines.values()))
    _end_cell(guest, min(guest.lines.values()))
    return [*guest.found, *_sums(guest, mirrored=False)]


def _outside(guest: _Guest, name: str, values: Mapping[str, str], text: str, line: int) -> None:
    """A tag that is in no cell: of a guest, or of a host."""
    if name == "arch" and text:
        guest.add("arch", text, line)
    elif name == "type" and values.get("arch") and values.get("machine"):
        guest.add("arch", values["arch"], line)
    elif name == "memory" and (amount := _bytes(text, values.get("unit", "KiB"))):
        guest.add("memory", amount, line)
    elif name == "vcpu" and text.isdecimal() and len(text) < 6:
        guest.add("cpu_count", int(values.get("current", text)), line)


def _cells(guest: _Guest, values: Mapping[str, str], line: int, *, closing: bool) -> None:
    """The tag around all cells, which says how many there are."""
    number = values.get("num", "")
    if not closing:
        guest.begun = True
        guest.announced = int(number) if number.isdecimal() and len(number) < 5 else 0
    elif not guest.begun:
        guest.add(DAMAGE, "the beginning of the cells is cut off", line)


def _end_cell(guest: _Guest, line: int) -> None:
    """Say it if the last cell has fewer CPUs than it announced."""
    if guest.due is None:
        return
    node, count = guest.due
    guest.due = None
    if len(guest.cpus[node]) < count:
        text = f"the CPUs of node {node} are damaged or cut off: {len(guest.cpus[node])} of {count}"
        guest.add(DAMAGE, text, line)


def _cell(guest: _Guest, values: Mapping[str, str], line: int, *, closing: bool) -> int:
    """The node whose cell begins; -1 if one ends."""
    _end_cell(guest, line)
    node = -1 if closing else guest.node(values.get("id", ""), line)
    if node < 0:
        return -1
    if "memory" in values:
        guest.memory[node] = _bytes(values["memory"], values.get("unit", "KiB"))
    if "cpus" in values:
        guest.add_cpus(node, values["cpus"], line)
    return node


def _within_cell(guest: _Guest, node: int, name: str, values: Mapping[str, str], text: str, line: int) -> None:
    if name == "memory":
        guest.memory[node] = _bytes(text, values.get("unit", "KiB"))
    elif name == "cpus" and values.get("num", "").isdecimal() and len(values["num"]) < 6:
        guest.due = node, int(values["num"])
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
    others = {node for pair in guest.distances for node in pair} - set(columns)
    if others and columns:
        text = f"distances name node {format_list(others)}, which is not described: cut off"
        yield Statement(key=DAMAGE, value=f"nodes: {text}", line=guest.lines[columns[0]], source=guest.source)
    for node in columns:
        line = guest.lines[node]
        cpus = tuple(sorted(set(guest.cpus[node])))
        yield Statement(key="cpus", value=cpus, line=line, source=guest.source, node=node)
        if node in guest.memory:
            yield Statement(key="memory", value=guest.memory[node], line=line, source=guest.source, node=node)
        else:
            yield Statement(key="seen", value=node, line=line, source=guest.source)
        row: list[int] = []
        for other in columns:
            near = LOCAL if node == other else REMOTE
            back = guest.distances.get((other, node), near) if mirrored else near
            row.append(guest.distances.get((node, other), back))
        if guest.distances:
            yield Statement(key="distance", value=tuple(row), line=line, source=guest.source, node=node)
    if guest.distances and columns:
        yield Statement(key="columns", value=columns, line=guest.lines[columns[0]], source=guest.source)
