# SPDX-License-Identifier: GPL-2.0-or-later
"""Folders of sysfs that `ls` or `find` lists: which nodes there are, which CPUs a node has, which sizes of huge pages.

$ ls /sys/devices/system/node                       has_cpu  has_memory  node0  node1  online
$ ls -d /sys/devices/system/node/node0/cpu*         /sys/devices/system/node/node0/cpu0
$ ls /sys/kernel/mm/hugepages                       hugepages-1048576kB  hugepages-2048kB
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lab.core.sizes import KIB
from lab.formats.machine.cpu_list import MAX_CPU
from lab.formats.machine.paste.pasted import Line
from lab.formats.machine.statements import MAX_NODE, Statement

SOURCE = "sysfs"
_LISTED = re.compile(r"(?:^|.*\s)ls\s(?:.*\s)?/sys/devices/system/node(?:/node(\d{1,4}))?/?$")
_NODE_PATH = re.compile(r"(?:/sys)?/?devices/system/node/node(\d{1,4})(?:/cpu(\d{1,5}))?/?:?")
_CPU_PATH = re.compile(r"/sys/devices/system/cpu/cpu(\d{1,5})/node(\d{1,4})/?")
_ENTRY = re.compile(
    r"node(\d{1,4})|cpu(\d{1,5})|has_\w{3,30}|online|possible|power|uevent|cpulist|cpumap|distance|meminfo|numastat|vmstat"
    r"|memory\d{1,9}|memory_\w{1,30}|hugepages|compact|access\d|subsystem|x86|reclaim|\w{1,30}_memory|total"
)
_POOL = re.compile(r"(?:\S{0,100}/)?hugepages-(\d{1,9})kB/?")


class _Listing:
    """The state between lines."""

    def __init__(self) -> None:
        self.nodes: dict[int, int] = {}
        """Number -> the first line that names it."""
        self.cpus: dict[int, set[int]] = {}
        self.inside = False
        """Whether the lines are entries of the folder that was listed."""
        self.folder: int | None = None
        """The node whose folder it is; None for the folder of all."""

    def add(self, node: int | None, cpu: int | None, line: int) -> None:
        """Note a node, or a CPU of one."""
        if node is None or node >= MAX_NODE:
            return
        self.nodes.setdefault(node, line)
        if cpu is not None and cpu < MAX_CPU:
            self.cpus.setdefault(node, set()).add(cpu)

    def take(self, line: Line) -> None:
        """Read one line."""
        words = line.text.split()
        if match := _LISTED.match(line.text):
            self.inside, self.folder = True, _number(match[1])
            return
        paths = [_NODE_PATH.fullmatch(word) for word in words]
        if words and all(paths):
            for path in paths:
                if path:
                    self.add(int(path[1]), _number(path[2]), line.number)
            return
        links = [_CPU_PATH.fullmatch(word) for word in words]
        for link in links if words and all(links) else ():
            if link:
                self.add(int(link[2]), int(link[1]), line.number)
        entries = [_ENTRY.fullmatch(word) for word in words]
        self.inside = self.inside and all(entries)
        for entry in entries:
            if self.inside and entry and (entry[1] or entry[2]):
                node = self.folder if entry[2] else _number(entry[1])
                self.add(node, _number(entry[2]), line.number)


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def read(lines: Sequence[Line]) -> Iterator[Statement]:
    """Everything that the listings of folders state."""
    listing = _Listing()
    for line in lines:
        listing.take(line)
        pools = [_POOL.fullmatch(word) for word in line.text.split()]
        if pools and all(pools):
            for pool in filter(None, pools):
                yield Statement(key=f"pool {int(pool[1]) * KIB}", value=0, line=line.number, source=SOURCE)
    for node, number in sorted(listing.nodes.items()):
        yield Statement(key="seen", value=node, line=number, source="sysfs")
        if listing.cpus:
            cpus = tuple(sorted(listing.cpus.get(node, ())))
            yield Statement(key="cpus", value=cpus, line=number, source=SOURCE, node=node)
