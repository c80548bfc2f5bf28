# SPDX-License-Identifier: GPL-2.0-or-later
"""Totals of a machine in the words of programs that list machines: how many CPUs, how much memory, which processor.

Kubernetes (`kubectl describe node`, `get node -o yaml`), Slurm (`scontrol show node`, `slurmd -C`), Xen (`xl info -n`),
libvirt (`virsh nodeinfo`), inxi, hwinfo, lshw, dmidecode, fastfetch, BSD's sysctl. Only Xen says more about nodes than
their number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from lab.formats.machine.lscpu import MACHINE_NAMES
from lab.formats.machine.paste.pasted import Line
from lab.formats.machine.statements import MAX_NODE, Statement, Value, numbers, size

_UNIT = r"(?P<unit>[KMGT])i?B?"
_LOGO = r"(?:.{0,80}\s)?"
"""That neofetch shows at the left."""
_FACTS = (
    ("virsh nodeinfo", re.compile(rf"Memory size:\s+(?P<memory>\d{{1,15}}) {_UNIT}")),
    ("inxi", re.compile(rf"(?:.*\s)?arch: (?P<arch>{MACHINE_NAMES.pattern})(?:\s.*)?")),
    (
        "inxi",
        re.compile(
            r"(?:CPU:\s+)?Info: (?:(?P<sockets>\d{1,2})x )?(?P<cores>\d{1,3}|single|dual|quad|hexa|octa)[ -]core"
            r"(?: \(\d+-\w+/\d+-\w+\))?\s+model: (?P<model>.{3,80}?) (?:bits|type|socket|variant|arch): (?P<rest>.*)"
        ),
    ),
    ("inxi", re.compile(rf"(?:Memory|RAM|System RAM):(?: System RAM:)? total: (?P<memory>\d+(?:\.\d+)?) {_UNIT}.*")),
    ("inxi", re.compile(rf"(?:.*\s)?Memory: (?P<memory>\d+(?:\.\d+)?) {_UNIT} used: .*")),
    ("sysctl", re.compile(r"hw\.ncpu[:=] ?(?P<cpus>\d{1,4})")),
    ("sysctl", re.compile(r"hw\.(?:memsize|physmem)[:=] ?(?P<memory>\d{8,16})(?P<unit>)")),
    ("sysctl", re.compile(r"hw\.pagesize[:=] ?(?P<page>\d{4,6})")),
    ("sysctl", re.compile(r"machdep\.cpu\.brand_string[:=] ?(?P<model>\S.{2,80})")),
    ("hwinfo", re.compile(r"Arch: (?P<arch>X86-64|AArch64|PPC64LE|S390X|RISCV64|IA32)", re.IGNORECASE)),
    ("hwinfo", re.compile(r"Model: \d+\.\d+\.\d+ \"(?P<model>[^\"]{3,80})\"")),
    ("lshw", re.compile(rf"(?:.*\s)?memory\s+(?P<memory>\d{{1,6}}){_UNIT} System Memory")),
    ("fastfetch", re.compile(rf"{_LOGO}Memory: [\d.]+ ?[KMG]i?B / (?P<memory>\d+(?:\.\d+)?) ?{_UNIT}(?: \(\d+%\))?")),
    (
        "fastfetch",
        re.compile(
            rf"{_LOGO}CPU: (?:\d+ ?x )?(?P<model>[^()]*(?:\([RTM]+\)[^()]*)*) \((?P<cpus>\d{{1,4}})\)(?: @ .*)?"
        ),
    ),
    ("fastfetch", re.compile(rf"{_LOGO}OS: .*\s(?P<arch>{MACHINE_NAMES.pattern})")),
)
_HWINFO_CPU = re.compile(r"\d{1,4}: None \d{1,4}\.\d: \d{5} CPU")
_CORES = {"single": 1, "dual": 2, "quad": 4, "hexa": 6, "octa": 8}
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
_XEN_FIELD = re.compile(r"(nr_cpus|total_memory)\s*:\s*(\d{1,9})")
_XEN_CPU = re.compile(r"(\d{1,4}):\s+\d{1,4}\s+\d{1,4}\s+(\d{1,4})")
_XEN_NODE = re.compile(r"(\d{1,4}):\s+(\d{1,9})\s+\d{1,9}\s+(\d{1,3}(?:,\d{1,3})*)")


def read(lines: Sequence[Line]) -> Iterator[Statement]:
    """Everything that the lines state in the words of these programs."""
    for line in lines:
        yield from _facts(line)
    listed = [line for line in lines if _HWINFO_CPU.fullmatch(line.text)]
    if listed:
        yield _statement("hwinfo", "cpu_count", len(listed), listed[0])
    yield from _kubernetes(lines)
    yield from _slurm(lines)
    yield from _dmidecode(lines)
    yield from _xen(lines)


def _facts(line: Line) -> Iterator[Statement]:
    """What a line states by itself."""
    for source, pattern in _FACTS:
        match = pattern.fullmatch(line.text)
        if match is None:
            continue
        found = match.groupdict()
        if found.get("arch"):
            yield _statement(source, "arch", found["arch"].lower(), line)
        if found.get("memory"):
            yield _statement(source, "memory", size(found["memory"], found["unit"]), line)
        if found.get("model"):
            yield _statement(source, "model", found["model"], line)
        if found.get("page"):
            yield _statement(source, "page_size", int(found["page"]), line)
        if found.get("cpus"):
            yield _statement(source, "cpu_count", int(found["cpus"]), line)
        if found.get("cores"):
            threads = 1 + bool(re.search(r"\bMT\b", match["rest"]))
            cores = _CORES.get(match["cores"]) or int(match["cores"])
            yield _statement(source, "cpu_count", int(match["sockets"] or 1) * cores * threads, line)
            yield _statement(source, "threads", threads, line)


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
