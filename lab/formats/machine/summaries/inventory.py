# SPDX-License-Identifier: GPL-2.0-or-later
"""Outputs of several lines in which programs list a machine: how many CPUs, how much memory, which processor.

Kubernetes (`kubectl describe node`, `get node -o yaml`), Slurm (`scontrol show node`, `slurmd -C`), Xen (`xl info -n`),
dmidecode, hwinfo, lshw. Only Xen says more about nodes than their number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from lab.formats.machine.paste.pasted import Line
from lab.formats.machine.statements import MAX_NODE, Statement, Value, in_blocks, numbers, size

_HWINFO_CPU = re.compile(r"\d{1,4}: None \d{1,4}\.\d: \d{5} CPU")
_CAPACITY = re.compile(r"\"?capacity\"?: ?\{?", re.IGNORECASE)
_RESOURCE = re.compile(
    r"\"?(cpu|memory|hugepages-(\d{1,4}[KMG])i|pods|ephemeral-storage|[\w.-]+/[\w.-]+|attachable-[\w-]+)\"?:"
    r"\s*\"?(\d{1,15})([KMGT]?)i?\"?,?"
)
_SLURM = re.compile(r"\b(NodeName|Arch|CPUTot|CPUs|RealMemory|ThreadsPerCore)=(\S{1,100})")
_DEVICE = re.compile(r"Handle (0x[0-9A-F]{4}), DMI type (\d{1,3}), .*")
_DEVICE_FIELD = re.compile(r"(Size|Thread Count|Version): (.{1,100})")
_DEVICE_SIZE = re.compile(r"(\d{1,8}) ([KMGT])i?B")
_PROCESSOR, _MEMORY_DEVICE = "4", "17"
_LSHW_DEVICE = re.compile(r"\*-([a-z-]{2,20})(?::\d{1,4})?(?: DISABLED)?")
_LSHW_FIELD = re.compile(r"(size|product|configuration): (.{1,200})")
_LSHW_SIZE = re.compile(r"(\d{1,7})([KMGT])iB")
_LSHW_THREADS = re.compile(r".*\bthreads=(\d{1,4})\b.*")
_XEN_FIELD = re.compile(r"(nr_cpus|total_memory)\s*:\s*(\d{1,9})")
_XEN_CPU = re.compile(r"(\d{1,4}):\s+\d{1,4}\s+\d{1,4}\s+(\d{1,4})")
_XEN_NODE = re.compile(r"(\d{1,4}):\s+(\d{1,9})\s+\d{1,9}\s+(\d{1,3}(?:,\d{1,3})*)")


def read(lines: Sequence[Line]) -> Iterator[Statement]:
    """Everything that the lines state in the words of these programs."""
    listed = [line for line in lines if _HWINFO_CPU.fullmatch(line.text)]
    if listed:
        yield _statement("hwinfo", "cpu_count", len(listed), listed[0])
    yield from _kubernetes(lines)
    yield from _slurm(lines)
    yield from _dmidecode(lines)
    yield from _xen(lines)
    yield from in_blocks([_lshw(lines)])


def _statement(source: str, key: str, value: Value, line: Line, node: int | None = None, block: int = 0) -> Statement:
    return Statement(key=key, value=value, line=line.number, source=source, node=node, block=block)


def _kubernetes(lines: Sequence[Line]) -> Iterator[Statement]:
    """The resources under `capacity:`, of each node of a cluster; those under `allocatable:` are less."""
    inside, block = False, 0
    for line in lines:
        match = _RESOURCE.fullmatch(line.text)
        if match is None:
            inside = bool(_CAPACITY.fullmatch(line.text))
            block += inside
        elif inside:
            yield from _resource(match, line, block)


def _resource(match: re.Match[str], line: Line, block: int) -> Iterator[Statement]:
    name, page, number, unit = match.groups()
    if page and (bytes_ := size(page[:-1], page[-1])):
        yield _statement("Kubernetes", f"hugepages {bytes_}", size(number, unit) // bytes_, line, block=block)
    elif name == "cpu" and not unit and len(number) < 5:
        yield _statement("Kubernetes", "cpu_count", int(number), line, block=block)
    elif name == "memory":
        yield _statement("Kubernetes", "memory", size(number, unit), line, block=block)


def _slurm(lines: Sequence[Line]) -> Iterator[Statement]:
    """`NodeName=n1 CPUTot=8 RealMemory=32000`: the fields of each node until the next one, memory in MB."""
    block = 0
    for line in lines:
        for name, value in _SLURM.findall(line.text):
            block += name == "NodeName"
            key = {"Arch": "arch", "RealMemory": "memory", "ThreadsPerCore": "threads"}.get(name, "cpu_count")
            stated: Value = value
            if name == "NodeName" or not block or (name != "Arch" and not value[:9].isdecimal()):
                continue
            if name != "Arch":
                stated = size(value[:9], "M") if name == "RealMemory" else int(value[:9])
            yield _statement("Slurm", key, stated, line, block=block)


@dataclass(slots=True)
class _Devices:
    """The sums over the devices of one output of dmidecode."""

    block: int = 0
    handles: set[str] = field(default_factory=set)
    device: str = ""
    totals: dict[str, int] = field(default_factory=dict)
    first: dict[str, Line] = field(default_factory=dict)

    def add(self, key: str, amount: int, line: Line) -> None:
        self.totals[key] = self.totals.get(key, 0) + amount
        self.first.setdefault(key, line)

    def statements(self) -> Iterator[Statement]:
        """State the sums."""
        for key, total in self.totals.items():
            yield _statement("dmidecode", key, total, self.first[key], block=self.block)


def _dmidecode(lines: Sequence[Line]) -> Iterator[Statement]:
    """The memory of all modules, and the threads of all processors; handles that come again are another output."""
    devices = _Devices()
    for line in lines:
        if match := _DEVICE.fullmatch(line.text):
            if match[1] in devices.handles:
                yield from devices.statements()
                devices = _Devices(block=devices.block + 1)
            devices.handles.add(match[1])
            devices.device = match[2]
        elif not devices.device or not (match := _DEVICE_FIELD.fullmatch(line.text)):
            continue
        elif devices.device == _MEMORY_DEVICE and match[1] == "Size" and (module := _DEVICE_SIZE.fullmatch(match[2])):
            devices.add("memory", size(module[1], module[2]), line)
        elif devices.device == _PROCESSOR and match[1] == "Thread Count" and match[2][:4].isdecimal():
            devices.add("cpu_count", int(match[2][:4]), line)
        elif devices.device == _PROCESSOR and match[1] == "Version":
            yield _statement("dmidecode", "model", match[2].strip(), line, block=devices.block)
    yield from devices.statements()


def _xen(lines: Sequence[Line]) -> Iterator[Statement]:
    """`xl info -n`: the node of each CPU, then the memory in MB and the distances of each node."""
    table = ""
    cpus: dict[int, list[int]] = {}
    first = 0
    for line in lines:
        if match := _XEN_FIELD.fullmatch(line.text):
            memory = match[1] == "total_memory"
            value = size(match[2], "M") if memory else int(match[2])
            yield _statement("xl info", "memory" if memory else "cpu_count", value, line)
        elif line.text.split() == ["cpu:", "core", "socket", "node"]:
            table, first = "cpus", line.number
        elif line.text.split() == ["node:", "memsize", "memfree", "distances"]:
            table = "nodes"
        elif table == "cpus" and (match := _XEN_CPU.fullmatch(line.text)) and int(match[2]) < MAX_NODE:
            cpus.setdefault(int(match[2]), []).append(int(match[1]))
        elif table == "nodes" and (match := _XEN_NODE.fullmatch(line.text)) and int(match[1]) < MAX_NODE:
            yield _statement("xl info", "memory", size(match[2], "M"), line, int(match[1]))
            yield _statement("xl info", "distance", numbers(match[3].replace(",", " ")), line, int(match[1]))
    for node, members in cpus.items():
        yield Statement(key="cpus", value=tuple(sorted(set(members))), line=first, source="xl info", node=node)


def _lshw(lines: Sequence[Line]) -> Iterator[Statement]:
    """`lshw`: the size of the system's memory, and the threads of the processors together."""
    device = ""
    threads = 0
    first: Line | None = None
    for line in lines:
        if match := _LSHW_DEVICE.fullmatch(line.text):
            device = match[1]
        elif not device or not (match := _LSHW_FIELD.fullmatch(line.text)):
            continue
        elif device == "memory" and match[1] == "size" and (amount := _LSHW_SIZE.fullmatch(match[2])):
            yield _statement("lshw", "memory", size(amount[1], amount[2]), line)
        elif device == "cpu" and match[1] == "product":
            yield _statement("lshw", "model", match[2], line)
        elif device == "cpu" and (counted := _LSHW_THREADS.fullmatch(match[2])):
            first = first or line
            threads += int(counted[1])
    if first:
        yield _statement("lshw", "cpu_count", threads, first)
