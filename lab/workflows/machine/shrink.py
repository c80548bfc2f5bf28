# SPDX-License-Identifier: GPL-2.0-or-later
"""Shrink a real machine to a topology of the same shape that fits this host, and list what was lost. Pure.

The topology keeps the architecture, page size, MMU mode, nodes (CPU-only and memory-only ones too), distances, shares
of memory and huge pages, settings of transparent huge pages, and kernel arguments about memory. Memory sizes and
numbers of CPUs shrink.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lab.arch.record import Arch, Mmu
from lab.core.errors import UsageError
from lab.core.sizes import MIB
from lab.core.untrusted import one_line
from lab.specs.arches import ARCHES, find
from lab.specs.model import MAX_NODES, MIN_THP, Topology, format_cpus, format_size
from lab.workflows.machine.described import DescribedMachine, DescribedNode

GRAIN = 256 * MIB
"""Bytes: a node's memory is a multiple of this, or of a smaller grain of the architecture if memory is scarce."""
ROOM_32BIT = 512 * MIB
"""Bytes of memory that 32-bit kernels reach without extra options."""
GROW = 1 << 30
"""Bytes: a guest is made larger to fit its huge pages only if they are at most this large."""
SMALL_NODE = 1 << 30
CPUS = 8
"""The most CPUs of a guest, unless more nodes than this have CPUs."""
MAX_CPUS = 64
NEAREST, FARTHEST = 11, 254
MATTER: Mapping[str, tuple[str, frozenset[str]]] = {
    "pdpe1gb": ("pages of 1 GiB", frozenset(("pni", "lahf_lm"))),
    "pcid": ("address space identifiers", frozenset(("lahf_lm", "fsgsbase"))),
    "pku": ("protection keys", frozenset(("rdpid", "overflow_recov", "md_clear", "arch_capabilities", "flush_l1d"))),
    "mte": ("memory tagging", frozenset()),
}
"""Flags of /proc/cpuinfo that matter to memory management -> (meaning, flags that Linux prints after it). A list that
lacks the flag may be cut off; if it has one of the later flags, the CPU does not have the flag. The depth of page
tables is the MMU mode."""
KEPT_ARGUMENTS = frozenset(
    (
        *("numa_balancing", "init_on_alloc", "init_on_free", "page_alloc.shuffle", "slab_nomerge", "slub_debug"),
        *("nokaslr", "vsyscall", "cgroup_disable", "memmap_on_memory", "movable_node", "slab_merge"),
        *("init_mlocked_on_free", "page_poison", "page_owner", "default_hugepagesz", "disable_1tb_segments"),
        *("nosmap", "nosmep", "nopti", "pti"),
    )
)
COVERED_ARGUMENTS = frozenset(("transparent_hugepage", "hugepages", "hugepagesz"))
"""Arguments whose meaning the topology states with keys of its own."""
UNIMPORTANT_ARGUMENTS = frozenset(
    (
        *("BOOT_IMAGE", "root", "ro", "rw", "quiet", "splash", "console", "initrd", "rhgb", "rootflags", "resume"),
        *("crashkernel", "rd", "net", "biosdevname", "selinux", "security", "apparmor", "panic", "consoleblank"),
        *("init", "LANG"),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """The limits of a guest: memory in bytes, and CPUs over all nodes."""

    memory: int = 4 << 30
    cpus: int | None = None
    """None for CPUS, or the number of nodes with CPUs if that is more."""


@dataclass(slots=True, kw_only=True)
class Shrunk:
    """A topology under construction: the keys of its file, and a sentence for each thing that was lost."""

    data: dict[str, Any] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)

    def topology(self, name: str) -> Topology:
        """Return the topology's model; a ValidationError is a defect of this module."""
        return Topology.model_validate({**self.data, "name": name})

    def yaml(self, heading: Sequence[str] = ()) -> str:
        """Return the text of the topology's file, with what was lost as comments."""
        notes = list(heading)
        if self.lost:
            notes += ["Not as in the machine:", *(f"  {line}" for line in self.lost)]
        lines = ["# SPDX-License-Identifier: GPL-2.0-or-later"]
        for note in notes:
            lines.append(f"# {note}".rstrip())
        for key, value in self.data.items():
            lines += _yaml(key, value)
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Numbered:
    """A node with its number on the real machine."""

    number: int
    node: DescribedNode


def shrink(machine: DescribedMachine, room: Room) -> Shrunk:
    """Return the topology for a described machine; UsageError for an architecture that the lab does not have."""
    return _Draft(machine, room).shrunk()


class _Draft:
    """The construction of one machine's topology."""

    def __init__(self, machine: DescribedMachine, room: Room) -> None:
        self.machine = machine
        self.made = Shrunk()
        self.lost = self.made.lost
        self.record = _record(machine)
        self.mode_name, self.mode = _mode(machine, self.record, self.made)
        self.page_size = _page_size(machine, self.record, self.made)
        self.possible = (self.mode.hugepages or self.record.hugepages).get(self.page_size, ())
        self.cpu_limit = _cpu_limit(machine, room, self.record)
        self.memory_limit = room.memory
        if self.record.bits == 32:
            self.memory_limit = min(room.memory, ROOM_32BIT)
        self.nodes = self._nodes()
        self.cpus = self._cpus()
        self.memory = self._memory()

    def shrunk(self) -> Shrunk:
        """Return the topology."""
        data = self.made.data
        data |= {"description": _description(self.machine), "arch": self.record.name}
        data["page_size"] = format_size(self.page_size)
        if self.mode_name and self.mode_name != next(iter(self.record.mmus)):
            data["mmu"] = self.mode_name
        data["vcpus"] = sum(map(len, self.cpus))
        if sum(self.memory) > self.memory_limit and all(self.memory):  # not together with nodes without memory
            data["sparse"] = True
        self._cells()
        self._hugepages()
        _thp(self.machine, self.made)
        _arguments(self.machine, self.made, self.mode)
        self._emulator()
        self.lost += self._scale()
        self.lost += _flags(self.machine, self.record)
        return self.made

    # Nodes.

    def _nodes(self) -> list[_Numbered]:
        """Return the nodes that can be emulated, in the guest's order."""
        nodes = [_Numbered(number=number, node=node) for number, node in self.machine.nodes.items()]
        found = list(_possible(_with_memory(nodes, self.machine, self.made), self.record, self.made))
        why = self.record.no_numa or self.mode.no_numa
        if len(found) > 1 and why:
            self.lost.append(f"nodes: {len(found)} there, one here: {why}")
            found = []
        found = self._ordered(self._few_enough(found))
        if len(found) > 1:
            return found
        return [_Numbered(number=0, node=self._only_node(found))]

    def _only_node(self, nodes: Sequence[_Numbered]) -> DescribedNode:
        """Return the single node; it has all CPUs and memory of the machine if the nodes are not described."""
        if nodes:
            return nodes[0].node
        if not self.machine.nodes:
            self.lost.append("nodes: the description does not say them (numactl -H); one here")
        if not self.machine.cpus:
            self.lost.append("CPUs: the description does not say how many (lscpu, nproc); 1 here")
        if not self.machine.memory:
            self.lost.append(f"memory: the description does not say how much (/proc/meminfo); {2 * GRAIN // MIB}M here")
        return DescribedNode(cpus=tuple(range(max(1, self.machine.cpus))), memory=self.machine.memory)

    def _few_enough(self, nodes: list[_Numbered]) -> list[_Numbered]:
        """Return the nodes that the limits of nodes and CPUs allow; the last ones are left out."""
        most = min(MAX_NODES, self.record.max_nodes)
        for gone in nodes[most:]:
            self.lost.append(f"node {gone.number}: left out, a guest of {self.record.name} has at most {most} nodes")
        kept: list[_Numbered] = []
        owners = 0
        for numbered in nodes[:most]:
            owners += bool(numbered.node.cpus)
            if numbered.node.cpus and owners > self.cpu_limit:
                self.lost.append(f"node {numbered.number}: left out, there are {self.cpu_limit} CPUs for all nodes")
            else:
                kept.append(numbered)
        return kept

    def _ordered(self, nodes: list[_Numbered]) -> list[_Numbered]:
        """Return the nodes in the order in which the guest will number them."""
        ordered, why = nodes, ""
        if self.record.nodes_with_cpus_first:
            ordered = sorted(nodes, key=lambda numbered: not numbered.node.cpus)
        if ordered != nodes:
            why = f"; Linux on {self.record.name} numbers nodes with CPUs first"
        numbers = [numbered.number for numbered in ordered]
        if numbers != list(range(len(numbers))):
            there = ", ".join(map(str, numbers))
            self.lost.append(f"numbers of nodes: {there} there, 0-{len(numbers) - 1} here, in this order{why}")
        return ordered

    def _cpus(self) -> list[tuple[int, ...]]:
        """Return the CPUs of each node, numbered node by node; nodes equal on the real machine are equal here."""
        counts = [len(numbered.node.cpus) for numbered in self.nodes]
        if not any(counts):
            self.lost.append(
                "CPUs: the description does not say where they are (lscpu, numactl -H); one on the first node"
            )
            counts[0] = 1
        counts = _shares_of_cpus(counts, self.cpu_limit)
        placed: list[tuple[int, ...]] = []
        start = 0
        for count in counts:
            placed.append(tuple(range(start, start + count)))
            start += count
        return placed

    def _memory(self) -> list[int]:
        """Return the bytes of each node: its share of the limit, in grains, or more if its huge pages need it."""
        memory = _shares_of_memory([numbered.node.memory for numbered in self.nodes], self.memory_limit, self.record)
        if not all(memory):
            return memory
        if not self._by_node():
            largest = memory.index(max(memory))
            memory[largest] = max(memory[largest], _needed(self.machine.hugepages, self.possible))
        for index, numbered in enumerate(self.nodes):
            memory[index] = max(memory[index], _needed(numbered.node.hugepages, self.possible))
        return memory

    def _by_node(self) -> bool:
        """Return whether the description states on which nodes huge pages are reserved."""
        return any(numbered.node.hugepages for numbered in self.nodes)

    def _cells(self) -> None:
        """Write the nodes and their distances into the file's data."""
        data = self.made.data
        if len(self.nodes) == 1:
            data["memory"] = format_size(self.memory[0])
            return
        cells: list[dict[str, Any]] = []
        for cpus, size in zip(self.cpus, self.memory, strict=True):
            cell: dict[str, Any] = {}
            if cpus:
                cell["cpus"] = format_cpus(cpus)
            if size:
                cell["memory"] = format_size(size)
            cells.append(cell)
        data["numa"] = cells
        self._distances()

    def _distances(self) -> None:
        places = {number: place for place, number in enumerate(self.machine.nodes)}
        rows = [numbered.node.distance for numbered in self.nodes]
        if not all(len(row) == len(self.machine.nodes) for row in rows):
            self.lost.append("distances: the description does not have them (numactl -H); the emulator's own here")
            return
        here: list[list[int]] = []
        changed = set[int]()
        for mine, row in enumerate(rows):
            there = [row[places[numbered.number]] for numbered in self.nodes]
            kept = [min(max(value, NEAREST), FARTHEST) for value in there]
            kept[mine] = 10
            changed.update(value for value, new in zip(there, kept, strict=True) if value != new)
            here.append(kept)
        if changed:
            values = ", ".join(map(str, sorted(changed)[:8]))
            self.lost.append(f"distances: {values} there; 10 to itself and {NEAREST}-{FARTHEST} to others here")
        self.made.data["distances"] = here

    # Huge pages.

    def _hugepages(self) -> None:
        """Reserve the same share of memory as on the real machine: at least a page, and at most half of the memory."""
        if not self._by_node() or "numa" not in self.made.data:
            whole = self._real_memory() or self.machine.memory
            self._reserve(self.made.data, self.machine.hugepages, whole, self.memory, "")
            return
        for numbered, cell, size in zip(self.nodes, self.made.data["numa"], self.memory, strict=True):
            self._reserve(cell, numbered.node.hugepages, numbered.node.memory, [size], f"node {numbered.number}: ")

    def _reserve(
        self, place: dict[str, Any], wanted: Mapping[int, int], real: int, nodes: Sequence[int], where: str
    ) -> None:
        """Reserve huge pages in `place`, a part of the file, whose `nodes` (bytes) stand for `real` bytes there."""
        had = {size: count for size, count in wanted.items() if size in self.possible}
        kept = _shares(had, real, nodes)
        for size, count in wanted.items():
            if kept.get(size):
                continue
            why = "cannot be had"
            if size in had:
                why = "none is sure to fit into so little memory (--memory)"
            self.lost.append(f"{where}huge pages of {format_size(size)}: {count} there, none here: {why}")
        for size, count in kept.items():
            if count:
                place.setdefault("hugepages", {})[format_size(size)] = count

    # Emulator and scale.

    def _real_memory(self) -> int:
        """Return the bytes that the nodes have on the real machine."""
        return sum(numbered.node.memory for numbered in self.nodes)

    def _emulator(self) -> None:
        """Add what the size requires: arguments of the kernel and of QEMU, and a kernel for more nodes."""
        least = min(filter(None, self.memory))
        if least < SMALL_NODE < sum(self.memory) // 2 and self.record.small_nodes_cmdline:
            self.made.data.setdefault("cmdline", []).extend(self.record.small_nodes_cmdline)
        if sum(map(len, self.cpus)) > self.record.plain_vcpus:
            self.made.data["qemu_args"] = list(self.record.more_vcpus_args)
        if len(self.nodes) > self.record.kernel_nodes:
            self.made.data["kernel_config"] = ["many-nodes"]

    def _scale(self) -> Iterator[str]:
        real_cpus = sum(len(numbered.node.cpus) for numbered in self.nodes)
        real_memory = self._real_memory()
        have, size = sum(map(len, self.cpus)), sum(self.memory)
        if have != real_cpus:
            yield f"CPUs: {real_cpus} there, {have} here"
        if self.machine.threads > 1:
            yield f"threads: {self.machine.threads} per core there, every CPU a core here"
        first = next((numbered for numbered in self.nodes if _scattered(numbered.node.cpus)), None)
        if first is not None and len(self.nodes) > 1:
            there = one_line(format_cpus(first.node.cpus), 60)
            yield f"numbers of CPUs: node {first.number} has {there} there; one node after the other here"
        if real_memory and size < real_memory * 0.9:
            yield f"memory: {_about(real_memory)} there, {format_size(size)} here"


def _scattered(cpus: Sequence[int]) -> bool:
    return bool(cpus) and cpus[-1] - cpus[0] >= len(cpus)


def _cpu_limit(machine: DescribedMachine, room: Room, record: Arch) -> int:
    owners = sum(bool(node.cpus) for node in machine.nodes.values())
    wanted = max(CPUS, owners) if room.cpus is None else room.cpus
    return min(wanted, record.max_vcpus, MAX_CPUS)


def _record(machine: DescribedMachine) -> Arch:
    """Return the architecture's record; if two have the same name, the one of the machine's byte order."""
    order = machine.facts.get("Byte Order", "").lower()
    for arch in ARCHES.values():
        if arch.uname == machine.arch and order.startswith(arch.byteorder):
            return arch
    try:
        return find(machine.arch)
    except UsageError:
        have = ", ".join(ARCHES)
        raise UsageError(
            f"unknown arch {machine.arch!r}: the lab does not have it", hint=f"it has {have}; --arch chooses one"
        ) from None


def _page_size(machine: DescribedMachine, record: Arch, made: Shrunk) -> int:
    sizes = sorted(record.page_sizes)
    if machine.page_size in sizes:
        return machine.page_size
    if machine.page_size is None:
        usual = record.usual_page_size or sizes[0]
        if len(sizes) > 1:
            here = f"{format_size(usual)} here"
            if record.usual_page_size:
                here += ", as most distributions' kernels have"
            made.lost.append(f"page size: the description does not say it (getconf PAGESIZE); {here}")
        return usual
    near = min(sizes, key=lambda size: abs(size - (machine.page_size or 0)))
    made.lost.append(f"page size: {format_size(machine.page_size)} there, {format_size(near)} here")
    return near


def _mode(machine: DescribedMachine, record: Arch, made: Shrunk) -> tuple[str, Mmu]:
    """Return the name and record of the MMU mode; a guess is listed with the losses."""
    modes = record.mmus
    if name := _stated_mode(machine, modes):
        return name, modes[name]
    first = next(iter(modes))
    fitting = _modes_with(machine, record)
    if fitting and first not in fitting:
        made.lost.append(f"mmu: guessed by the sizes of huge pages; {fitting[0]} here")
        return fitting[0], modes[fitting[0]]
    if len(modes) > 1 and any(mode.cpuinfo or mode.cpuinfo_without for mode in modes.values()):
        what = modes[first].description
        made.lost.append(f"mmu: the description does not say the mode (/proc/cpuinfo); {first} here: {what}")
    return first, modes[first]


def _stated_mode(machine: DescribedMachine, modes: Mapping[str, Mmu]) -> str:
    """Return the name of the stated mode; empty if nothing states it.

    In this order: a word of /proc/cpuinfo, kernel arguments, address bits, a word that /proc/cpuinfo lacks.
    """
    for name, mode in modes.items():
        if mode.cpuinfo and _shows(machine, mode):
            return name
    for name, mode in modes.items():
        if mode.cmdline and set(mode.cmdline) <= set(machine.cmdline):
            return name
    for name, mode in modes.items():
        if machine.virtual_bits and mode.virtual_bits == machine.virtual_bits:
            return name
    for name, mode in modes.items():
        if _shows(machine, mode):
            return name
    return ""


def _modes_with(machine: DescribedMachine, record: Arch) -> list[str]:
    """Return the modes of an architecture that have all the huge page sizes of the machine."""
    fitting: list[str] = []
    for name, mode in record.mmus.items():
        for sizes in (mode.hugepages or record.hugepages).values():
            if machine.hugepages and set(machine.hugepages) <= set(sizes) and name not in fitting:
                fitting.append(name)
    return fitting


def _shows(machine: DescribedMachine, mode: Mmu) -> bool:
    """Return whether /proc/cpuinfo shows that this mode is on; False if it shows nothing about it."""
    facts = machine.facts
    if mode.cpuinfo:
        key, word = mode.cpuinfo
        if word not in facts.get(key, "").split():
            return False
    if mode.cpuinfo_without:
        key, word = mode.cpuinfo_without
        if key not in facts or word in facts[key].split():
            return False
    return bool(mode.cpuinfo or mode.cpuinfo_without)


def _with_memory(nodes: Sequence[_Numbered], machine: DescribedMachine, made: Shrunk) -> list[_Numbered]:
    """Return the nodes; if no node's memory is stated, each gets an equal share."""
    if any(numbered.node.memory for numbered in nodes) or not nodes:
        return list(nodes)
    share = machine.memory
    if len(nodes) > 1:
        made.lost.append("memory of nodes: the description does not say it (numactl -H); equal shares here")
        share = (machine.memory or len(nodes) * GRAIN) // len(nodes)
    return [replace(numbered, node=replace(numbered.node, memory=share)) for numbered in nodes]


def _possible(nodes: Sequence[_Numbered], record: Arch, made: Shrunk) -> Iterator[_Numbered]:
    """Yield the nodes except those that are empty or cannot be emulated; a single node always stays."""
    for numbered in nodes:
        why = ""
        if not numbered.node.cpus and not numbered.node.memory:
            why = "it has neither CPUs nor memory"
        elif not numbered.node.memory and not record.cpu_only_machine:
            why = f"a node without memory cannot be had on {record.name}"
        elif not numbered.node.cpus and record.no_memory_only and len(nodes) > 1:
            why = record.no_memory_only
        if why and len(nodes) > 1:
            made.lost.append(f"node {numbered.number}: left out, {why}")
        else:
            yield numbered


def _shares_of_cpus(counts: list[int], limit: int) -> list[int]:
    """Return each node's number of CPUs in the guest: its share of the limit, and at least one if it has any."""
    total, owners = sum(counts), sum(bool(count) for count in counts)
    if total <= limit:
        return counts
    fair = limit // owners
    alike = len({count for count in counts if count}) == 1
    shares: list[int] = []
    for count in counts:
        share = count * limit // total
        if alike:
            share = fair
        shares.append(min(count, max(1, share)))
    while sum(shares) > limit:
        shares[shares.index(max(shares))] -= 1
    return shares


def _shares_of_memory(sizes: list[int], limit: int, record: Arch) -> list[int]:
    """Return the bytes of each node: its share of the limit, in grains; 0 for a node without memory."""
    grain = GRAIN
    owners = sum(bool(size) for size in sizes)
    while grain > record.node_grain and grain * owners * 2 > limit:
        grain //= 2
    if not sum(sizes):
        sizes = [grain] * len(sizes)
        if len(sizes) == 1:
            sizes = [2 * GRAIN]
    scale = min(1.0, limit / sum(sizes))
    made: list[int] = []
    for size in sizes:
        share = round(size * scale / grain) * grain
        made.append(max(grain, share) * bool(size))
    while sum(made) > limit and max(made) > grain:
        made[made.index(max(made))] -= grain
    return made


def _needed(wanted: Mapping[int, int], possible: Sequence[int]) -> int:
    """Return the bytes that a node needs for its largest huge pages, which the host does not set aside (`sparse`)."""
    sizes = [size for size, count in wanted.items() if count and size in possible and size <= GROW]
    return max(map(_room, sizes), default=0)


def _room(size: int) -> int:
    """Return the bytes that a node needs to fit a huge page of this size, as the ends of its memory are in use.

    Linux reserves pages of 1 GiB before it uses any memory, but pages of 512 MiB after the smaller ones. With 64 KiB
    pages and a node of four times the size, one boot in a few found no free huge page; hence six times.
    """
    return (4 if size >= GROW else 6) * size


def _description(machine: DescribedMachine) -> str:
    total = sum(node.memory for node in machine.nodes.values()) or machine.memory
    parts = [machine.model or machine.arch]
    if machine.cpus:
        parts.append(f"{machine.cpus} CPUs")
    if total:
        parts.append(_about(total))
    if len(machine.nodes) > 1:
        parts.append(f"{len(machine.nodes)} nodes")
    return "the shape of: " + ", ".join(parts)


def _about(size: int) -> str:
    """Return a size of real memory, rounded: in GiB from 10 GiB on, below that in MiB."""
    if size >= 10 << 30:
        return f"{size / (1 << 30):.0f}G"
    return f"{size / MIB:.0f}M"


def _shares(wanted: Mapping[int, int], real: int, nodes: Sequence[int]) -> dict[int, int]:
    """Return huge page size -> count for nodes of these bytes, which stand for `real` bytes of the machine.

    At most half of the memory is reserved, and never the pages at the ends of a node: they are not aligned, or hold
    the kernel. The largest pages are reserved first, since small ones fit anywhere.
    """
    left, found = sum(nodes) // 2, dict[int, int]()
    for size, count in sorted(wanted.items(), reverse=True):
        most = min(left // size, sum(max(0, node // size - 2) for node in nodes))
        share = count
        if real:
            share = max(1, int(count * sum(nodes) / real))
        found[size] = min(most, count, share)
        left -= found[size] * size
    return dict(sorted(found.items()))


def _thp(machine: DescribedMachine, made: Shrunk) -> None:
    wanted = {"thp": machine.thp, "shmem_thp": machine.shmem_thp}
    draft = made.topology("draft")
    for key, value in wanted.items():
        if not value:
            continue
        if not draft.has_thp:
            made.lost.append(f"{key}: {value} there; kernels of {draft.arch} have none here")
        elif key == "thp" and value != "never" and draft.total_memory < MIN_THP:
            made.lost.append(f"thp: {value} there; off here, where there is less than {format_size(MIN_THP)} of memory")
        else:
            made.data[key] = value


def _arguments(machine: DescribedMachine, made: Shrunk, mode: Mmu) -> None:
    """Keep the kernel arguments that mean the same in the guest, and list the others as lost."""
    pages = [format_size(size) for size in made.topology("draft").possible_hugepages]
    kept: list[str] = []
    lost: list[str] = []
    for word in dict.fromkeys(machine.cmdline):
        name, _, value = word.partition("=")
        if word in mode.cmdline or name in COVERED_ARGUMENTS or name.partition(".")[0] in UNIMPORTANT_ARGUMENTS:
            continue
        if name in KEPT_ARGUMENTS and (name != "default_hugepagesz" or value in pages):
            kept.append(word)
        else:
            lost.append(word)
    if kept:
        made.data["cmdline"] = kept
    if lost:
        made.lost.append(f"arguments of the kernel: left out {one_line(' '.join(lost), 200)}")


def _flags(machine: DescribedMachine, record: Arch) -> Iterator[str]:
    words = set((machine.facts.get("flags") or machine.facts.get("Features") or "").split())
    if machine.model:
        yield f"processor: {machine.model} there, QEMU's {record.cpu} here"
    for flag, (what, behind) in MATTER.items():
        there, here = flag in words, flag in record.cpu_flags
        if there and not here:
            yield f"{flag} ({what}): there and not here"
        elif here and not there and words & behind:
            yield f"{flag} ({what}): not there, but here"


def _yaml(key: str, value: Any) -> list[str]:
    """Return the lines of one key of the file; cells and rows of a list are on a line each."""
    if isinstance(value, list) and value and isinstance(value[0], dict | list):
        return [f"{key}:", *(f"  - {_flow(item)}" for item in value)]
    return [f"{key}: {_flow(value)}"]


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    plain = isinstance(value, int) or (value.isascii() and value.replace("-", "").replace("_", "").isalnum())
    return str(value) if plain else json.dumps(value, ensure_ascii=False)
