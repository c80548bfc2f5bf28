# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's command line as a shell, `ps`, libvirt's log or a list in a program shows it; options come in any order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from lab.formats.machine.cpu_list import MAX_CPU
from lab.formats.machine.emulators.guest_nodes import GuestNodes
from lab.formats.machine.paste.pasted import Line
from lab.formats.machine.statements import NOTE, Statement, size

_EMULATOR = re.compile(r"qemu-system-(\w{1,20})|(?:^|[\s/\"'])(?:qemu-)?kvm[\"']?,?\s+[\"']?-")
_NAMES = (("i386", "i686"), ("arm", "armv7l"), ("ppc64", "ppc64le"))
"""(QEMU's name, `uname -m`), where they differ. A ppc64 machine runs kernels of both byte orders."""
_OPTION = re.compile(
    r"(?:^|[\s'\"])--?(numa|object|smp|m|append)(?:[ =]+|$)(\"[^\"]*\"|'[^']*'|\{[^{}]*\}|[^\s'\"]+|\S+|)"
)
_OTHER = re.compile(r"(?:.*[#$]\s)?(?:numactl|free|grep|head|tail|make|g?cc|git|perf|ps|mount)\s")
"""Commands behind QEMU's that have options of the same names."""
_END = re.compile(r"$|(?:\S{1,80}[:~] ?\S{0,80})?[#$%] ")
"""Of a command line: nothing, or another prompt."""
_LISTED = re.compile(r"(?P<quote>['\"])--?(?:numa|object|smp|m|machine|M|cpu|append)(?P=quote),")
_BETWEEN = re.compile(r"['\"],\s*['\"]")
"""Between two words of a list in a program."""
_SIZE = re.compile(r"(\d{1,15})([KMGT]?)i?B?", re.IGNORECASE)
_JSON_PAIR = re.compile(r"\"([\w-]{1,30})\" ?: ?\"?([^\",{}\[\]]{1,80})")
"""Of an option in JSON, as libvirt writes it; lists of CPUs are left out."""
_LEVELS = ("drawers", "books", "sockets", "dies", "clusters", "modules", "cores", "threads")
"""Of a CPU's place, the largest first."""
_OF_LEVEL = {"drawers": "drawer", "dies": "die"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Option:
    name: str
    first: str
    """The word before the first comma."""
    pairs: tuple[tuple[str, str], ...]
    line: int
    text: str

    @property
    def values(self) -> dict[str, str]:
        return dict(self.pairs)


@dataclass(slots=True)
class _Arguments:
    """One command line."""

    nodes: GuestNodes
    backends: dict[str, int] = field(default_factory=dict)
    """Id -> bytes, of the options -object."""
    memory: int = 0
    cpus: int = 0
    levels: dict[str, int] = field(default_factory=dict)


def read(lines: Sequence[Line]) -> Iterator[Statement]:
    """Everything that QEMU's arguments state, from the line that names the program; several guests each by itself."""
    guest = _Arguments(GuestNodes("qemu"))
    options: list[_Option] = []
    goes_on = False
    for line in lines:
        match = _EMULATOR.search(line.text)
        goes_on = match is not None or (goes_on and not _END.match(line.text))
        found = list(_options(line)) if goes_on and not _OTHER.match(line.text) else []
        if match and found and options:
            yield from _of_guest(guest, options)
            guest, options = _Arguments(GuestNodes("qemu", block=guest.nodes.block + 1)), []
        if match:
            guest.nodes.line = guest.nodes.line or line.number
        if match and match[1]:
            guest.nodes.add("arch", dict(_NAMES).get(match[1], match[1]), line.number)
        options += found
    yield from _of_guest(guest, options)


def _of_guest(guest: _Arguments, options: Sequence[_Option]) -> Iterator[Statement]:
    """What one command line states: its options are read in an order in which each knows what it refers to."""
    for name in ("object", "append", "m", "smp", "numa"):
        for option in options:
            if option.name == name:
                _take(guest, option)
    _share_memory(guest)
    yield from guest.nodes.statements()


def _options(line: Line) -> Iterator[_Option]:
    """The options on a line."""
    text = _BETWEEN.sub(" ", line.text) if _LISTED.search(line.text) else line.text
    for match in _OPTION.finditer(text):
        words = match[2].strip("\"'")
        pairs = tuple(_JSON_PAIR.findall(words)) if words.startswith("{") else tuple(_pairs(words))
        yield _Option(name=match[1], first=words.split(",")[0], pairs=pairs, line=line.number, text=words)


def _pairs(words: str) -> Iterator[tuple[str, str]]:
    for word in words.split(","):
        name, equals, value = word.partition("=")
        if equals:
            yield name, value


def _take(guest: _Arguments, option: _Option) -> None:
    values = option.values
    if option.name == "append":
        words = [word for word in option.text.split() if word.isprintable()]
        guest.nodes.add("cmdline", " ".join(words), option.line)
    elif option.name == "m":
        if match := _SIZE.fullmatch(values.get("size", option.first)):
            guest.memory = size(match[1], match[2] or "M")
            guest.nodes.add("memory", guest.memory, option.line)
    elif option.name == "smp":
        _smp(guest, option)
    elif option.name == "object":
        if match := _SIZE.fullmatch(values.get("size", "")):
            guest.backends[values.get("id", "")] = size(match[1], match[2])
    else:
        _numa(guest, option)


def _smp(guest: _Arguments, option: _Option) -> None:
    """How many CPUs are there at the start: what is stated, else the product of the levels."""
    for level in _LEVELS:
        value = option.values.get(level, "")
        if value.isdecimal() and 0 < int(value[:5]) <= MAX_CPU:
            guest.levels[level] = int(value[:5])
    count = option.values.get("cpus", option.first)
    most = option.values.get("maxcpus", "")
    guest.cpus = _number(count) or _number(most) or prod(guest.levels.values())
    _fill_levels(guest.levels, _number(most) or guest.cpus)
    if guest.cpus:
        guest.nodes.add("cpu_count", guest.cpus, option.line)


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 6 else 0


def _fill_levels(levels: dict[str, int], count: int) -> None:
    """Put in what QEMU computes if one of sockets and cores is left out; nothing if both are."""
    missing = [level for level in ("sockets", "cores") if level not in levels]
    rest, remainder = divmod(count, prod(levels.values()))
    if len(missing) == 1 and not remainder:
        levels[missing[0]] = max(1, rest)


def _numa(guest: _Arguments, option: _Option) -> None:
    """The option -numa: a node, a distance, or the node of a socket."""
    values = option.values
    what = values.get("type", option.first)
    if what == "dist":
        guest.nodes.add_distance(values.get("src", ""), values.get("dst", ""), values.get("val", ""))
    elif what == "node":
        _node(guest, option)
    elif what == "cpu":
        _place(guest, values, option.line)


def _node(guest: _Arguments, option: _Option) -> None:
    nodes, values = guest.nodes, option.values
    node = nodes.node(values.get("nodeid", str(len(nodes.lines))), option.line)
    if node < 0:
        return
    backend = values.get("memdev", "")
    if backend in guest.backends:
        nodes.memory[node] = guest.backends[backend]
    if match := _SIZE.fullmatch(values.get("mem", "")):
        nodes.memory[node] = size(match[1], match[2] or "M")
    elif not backend:
        nodes.memory[node] = 0
    for name, text in option.pairs:
        if name == "cpus":
            nodes.add_cpus(node, text, option.line)


def _place(guest: _Arguments, values: Mapping[str, str], line: int) -> None:
    """Put the CPUs of a socket, a core or a thread on a node: QEMU numbers threads first, then cores, then sockets."""
    node = guest.nodes.node(values.get("node-id", ""), line)
    levels = guest.levels
    if node < 0:
        return
    if "sockets" not in levels or "cores" not in levels or _by_first_thread(levels, values):
        text = "-numa cpu names sockets, cores and threads: which CPUs a node has is not read"
        guest.nodes.add(NOTE, text, line)
        return
    count = prod(levels.values())
    for cpu in range(min(count, guest.cpus, MAX_CPU)):
        if all(values.get(f"{name}-id", str(place)) == str(place) for name, place in _places(levels, cpu)):
            guest.nodes.cpus[node].append(cpu)


def _places(levels: Mapping[str, int], cpu: int) -> Iterator[tuple[str, int]]:
    """The number of a CPU's socket, die, cluster, core and thread, each within the next larger one."""
    for level in reversed(_LEVELS):
        cpu, place = divmod(cpu, levels.get(level, 1))
        yield _OF_LEVEL.get(level, level.removesuffix("s")), place


def _by_first_thread(levels: Mapping[str, int], values: Mapping[str, str]) -> bool:
    """Whether the number of a core may be that of its first thread, as on POWER, where no socket is named."""
    return "core-id" in values and "socket-id" not in values and levels.get("threads", 1) > 1


def _share_memory(guest: _Arguments) -> None:
    """Where no node says its memory, QEMU gives each an equal share."""
    nodes = guest.nodes
    if nodes.memory and not any(nodes.memory.values()) and len(nodes.memory) == len(nodes.lines):
        share = guest.memory // len(nodes.memory)
        nodes.memory = dict.fromkeys(nodes.memory, share)
        if not share:
            nodes.memory.clear()
