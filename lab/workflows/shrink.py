# SPDX-License-Identifier: GPL-2.0-or-later
"""A real machine -> a topology of its shape that fits here, and what could not be kept. Pure.

Kept are architecture, page size, the MMU's mode, nodes (those of CPUs or memory alone too), distances, the shares of
memory and huge pages, settings of transparent huge pages, arguments about memory. Sizes and numbers of CPUs shrink.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lab.arch import ARCHES, Arch, Mmu, find
from lab.specs.model import MAX_NODES, MIB, MIN_THP, Topology, format_cpus, format_size
from lab.workflows.capture import DescribedMachine, DescribedNode

GRAIN = 256 * MIB
"""Memory comes in these, as QEMU's pseries wants it of every node."""
ROOM_32BIT = 512 * MIB
"""What 32-bit kernels reach without further ado."""
GROW = 1 << 30
"""The largest huge pages for whose sake a guest is made larger than it would be."""
NEAREST, FARTHEST = 11, 254
MATTER: Mapping[str, str] = {
    "pdpe1gb": "pages of 1 GiB",
    "pcid": "address space identifiers",
    "pku": "protection keys",
    "mte": "memory tagging",
}
"""Flags of /proc/cpuinfo that matter to memory management; how deep page tables are is the MMU's mode."""
KEPT_ARGUMENTS = (
    *("numa_balancing", "init_on_alloc", "init_on_free", "page_alloc.shuffle", "slab_nomerge", "slub_debug"),
    *(
        "nokaslr",
        "vsyscall",
        "cgroup_disable",
        "memmap_on_memory",
        "movable_node",
        "slab_merge",
        "init_mlocked_on_free",
    ),
    *("page_poison", "page_owner", "default_hugepagesz", "disable_1tb_segments", "nosmap", "nosmep", "nopti", "pti"),
)
COVERED_ARGUMENTS = ("transparent_hugepage", "hugepages", "hugepagesz")
"""Said by keys of the topology."""
UNIMPORTANT_ARGUMENTS = (
    *(
        "BOOT_IMAGE",
        "root",
        "ro",
        "rw",
        "quiet",
        "splash",
        "console",
        "initrd",
        "rhgb",
        "rootflags",
        "resume",
        "crashkernel",
    ),
    *("rd", "net.ifnames", "biosdevname", "selinux", "security", "apparmor", "panic", "consoleblank", "init", "LANG"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a guest may take: bytes, and CPUs over all nodes."""

    memory: int = 4 << 30
    cpus: int = 8


@dataclass(slots=True, kw_only=True)
class Shrunk:
    """A topology in the making: the keys of its file, and what was lost, a sentence each."""

    data: dict[str, Any] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)

    def topology(self, name: str) -> Topology:
        """The model; ValidationError would be a defect."""
        return Topology.model_validate({**self.data, "name": name})

    def yaml(self, heading: Sequence[str] = ()) -> str:
        """The topology's file, with what was lost as comments."""
        notes = [*heading, *(["Not as in the machine:", *(f"  {line}" for line in self.lost)] if self.lost else [])]
        lines = ["# SPDX-License-Identifier: GPL-2.0-or-later", *(f"# {note}".rstrip() for note in notes)]
        for key, value in self.data.items():
            lines += _yaml(key, value)
        return "\n".join(lines) + "\n"


def shrink(machine: DescribedMachine, room: Room) -> Shrunk:
    """The topology for a described machine; UsageError for an architecture that the lab does not have."""
    made = Shrunk()
    record = _record(machine)
    mode_name, mode = _mode(machine, record, made)
    page_size = _page_size(machine, record, made)
    nodes = _nodes(machine, record, mode, room, made)
    if not any(each.node.cpus for each in nodes):
        made.lost.append("CPUs: the description does not say where they are (lscpu, numactl -H); one on the first node")
    cpus = _cpus(nodes, min(room.cpus, record.max_vcpus))
    limit = min(room.memory, ROOM_32BIT) if record.bits == 32 else room.memory
    memory = _memory(nodes, limit)
    possible = (mode.hugepages or record.hugepages).get(page_size, ())
    if all(memory):
        memory = _grown(machine, nodes, memory, possible)
    made.data = {"description": _description(machine), "arch": record.name, "page_size": format_size(page_size)}
    if mode_name and mode_name != next(iter(record.mmus)):
        made.data["mmu"] = mode_name
    made.data["vcpus"] = sum(map(len, cpus))
    cells = [
        {**({"cpus": format_cpus(mine)} if mine else {}), **({"memory": format_size(size)} if size else {})}
        for mine, size in zip(cpus, memory, strict=True)
    ]
    if sum(memory) > limit and all(memory):  # not together with nodes without memory
        made.data["sparse"] = True
    if len(nodes) > 1:
        made.data["numa"] = cells
        _distances(machine, nodes, made)
    else:
        made.data["memory"] = cells[0]["memory"]
    _hugepages(machine, nodes, memory, possible, made)
    _thp(machine, made)
    _arguments(machine, made, mode)
    made.lost += _scale(machine, nodes, cpus, memory)
    made.lost += _flags(machine, record)
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class _Numbered:
    """A node with its number in the machine."""

    number: int
    node: DescribedNode


def _record(machine: DescribedMachine) -> Arch:
    """The architecture; of two that call themselves alike the one of the machine's byte order."""
    order = machine.facts.get("Byte Order", "").split()
    alike = [arch for arch in ARCHES.values() if arch.uname == machine.arch]
    fitting = [arch for arch in alike if order and arch.byteorder == order[0].lower()]
    return fitting[0] if len(alike) > 1 and fitting else find(machine.arch)


def _page_size(machine: DescribedMachine, record: Arch, made: Shrunk) -> int:
    sizes = sorted(record.page_sizes)
    if machine.page_size in sizes:
        return machine.page_size
    if machine.page_size is None:
        if len(sizes) > 1:
            made.lost.append(
                f"page size: the description does not say it (getconf PAGESIZE); {format_size(sizes[0])} here"
            )
        return sizes[0]
    near = min(sizes, key=lambda size: abs(size - (machine.page_size or 0)))
    made.lost.append(f"page size: {format_size(machine.page_size)} there, {format_size(near)} here")
    return near


def _mode(machine: DescribedMachine, record: Arch, made: Shrunk) -> tuple[str, Mmu]:
    """How the machine translates addresses, by what tells it: /proc/cpuinfo, then the kernel's arguments."""
    modes = record.mmus
    for name, mode in modes.items():
        if _shows(machine, mode):
            return name, mode
    for name, mode in modes.items():
        if mode.cmdline and set(mode.cmdline) <= set(machine.cmdline):
            return name, mode
    name, mode = next(iter(modes.items()))
    if len(modes) > 1 and any(each.cpuinfo or each.cpuinfo_without for each in modes.values()):
        made.lost.append(f"mmu: the description does not say the mode (/proc/cpuinfo); {name} here: {mode.description}")
    return name, mode


def _shows(machine: DescribedMachine, mode: Mmu) -> bool:
    """Whether /proc/cpuinfo says that this mode is on; False where it says nothing about it."""
    with_, without = mode.cpuinfo, mode.cpuinfo_without
    if not (with_ or without) or any(each and each[0] not in machine.facts for each in (with_, without)):
        return False
    return not (with_ and with_[1] not in machine.facts[with_[0]].split()) and not (
        without and without[1] in machine.facts[without[0]].split()
    )


def _nodes(machine: DescribedMachine, record: Arch, mode: Mmu, room: Room, made: Shrunk) -> list[_Numbered]:
    """The nodes that can be had here, in order."""
    everything = DescribedNode(cpus=tuple(range(max(1, machine.cpus))), memory=machine.memory, hugepages={})
    all_nodes = [_Numbered(number=number, node=node) for number, node in machine.nodes.items()]
    found = list(_possible(_with_memory(all_nodes, machine, made), record, made))
    why = record.no_numa or mode.no_numa
    if len(found) > 1 and why:
        made.lost.append(f"nodes: {len(found)} there, one here: {why}")
        found = []
    limit = min(room.cpus, record.max_vcpus)
    while sum(bool(each.node.cpus) for each in found) > limit or len(found) > MAX_NODES:
        gone = next(each for each in reversed(found) if each.node.cpus or len(found) > MAX_NODES)
        made.lost.append(f"node {gone.number}: left out, there are {limit} CPUs for all nodes")
        found.remove(gone)
    numbers = [each.number for each in found]
    if numbers != list(range(len(numbers))):
        there = ", ".join(map(str, numbers))
        made.lost.append(f"numbers of nodes: {there} there, 0-{len(numbers) - 1} here, in this order")
    return found if len(found) > 1 else [_Numbered(number=0, node=found[0].node if found else everything)]


def _with_memory(found: Sequence[_Numbered], machine: DescribedMachine, made: Shrunk) -> list[_Numbered]:
    """The nodes; where nothing says how memory is spread, with equal shares of it."""
    if any(each.node.memory for each in found) or len(found) < 2:
        return (
            list(found)
            if any(each.node.memory for each in found)
            else [replace(each, node=replace(each.node, memory=machine.memory)) for each in found]
        )
    made.lost.append("memory of nodes: the description does not say it (numactl -H); equal shares here")
    share = (machine.memory or len(found) * GRAIN) // len(found)
    return [replace(each, node=replace(each.node, memory=share)) for each in found]


def _possible(found: Sequence[_Numbered], record: Arch, made: Shrunk) -> Iterator[_Numbered]:
    """The nodes without those that have nothing, or that cannot be emulated."""
    for each in found:
        if not each.node.cpus and not each.node.memory:
            made.lost.append(f"node {each.number}: left out, it has neither CPUs nor memory")
        elif not each.node.memory and not record.cpu_only_machine:
            made.lost.append(f"node {each.number}: left out, a node without memory cannot be had on {record.name}")
        else:
            yield each


def _cpus(nodes: Sequence[_Numbered], limit: int) -> list[tuple[int, ...]]:
    """The CPUs of every node, numbered one node after the other: equal where they are equal in the machine."""
    counts = [len(each.node.cpus) for each in nodes]
    counts[0] += not any(counts)
    total, owners = sum(counts), sum(bool(count) for count in counts)
    if total > limit:
        fair = limit // owners
        alike = len({count for count in counts if count}) == 1
        counts = [min(count, max(1, fair if alike else count * limit // total)) for count in counts]
        while sum(counts) > limit:
            counts[counts.index(max(counts))] -= 1
    starts = [sum(counts[:index]) for index in range(len(counts))]
    return [tuple(range(start, start + count)) for start, count in zip(starts, counts, strict=True)]


def _memory(nodes: Sequence[_Numbered], limit: int) -> list[int]:
    """Bytes for every node: its share of what there is, in grains; nodes that have none get none."""
    sizes = [each.node.memory for each in nodes]
    if not sum(sizes):
        sizes = [GRAIN if len(sizes) > 1 else 2 * GRAIN for _ in sizes]
    scale = min(1.0, limit / sum(sizes))
    made = [max(GRAIN, round(size * scale / GRAIN) * GRAIN) if size else 0 for size in sizes]
    while sum(made) > limit and max(made) > GRAIN:
        made[made.index(max(made))] -= GRAIN
    return made


def _grown(
    machine: DescribedMachine, nodes: Sequence[_Numbered], memory: Sequence[int], possible: Sequence[int]
) -> list[int]:
    """The nodes' memory, more where the machine has huge pages that would not fit: they are promised, not set aside."""

    def needed(wanted: Mapping[int, int]) -> int:
        return max(
            (_room(size) for size, count in wanted.items() if count and size in possible and size <= GROW), default=0
        )

    if any(each.node.hugepages for each in nodes):
        return [max(size, needed(each.node.hugepages)) for size, each in zip(memory, nodes, strict=True)]
    largest = max(range(len(memory)), key=memory.__getitem__)
    return [max(size, needed(machine.hugepages)) if index == largest else size for index, size in enumerate(memory)]


def _room(size: int) -> int:
    """How large a node must be to have a huge page of this size, the ends of its memory being in use.

    Linux sets pages of 1 GiB aside before it uses any memory, but those of 512 MiB after the smaller ones: in four
    times as much, seen with 64 KiB pages, one in a few boots finds none whole.
    """
    return (4 if size >= GROW else 6) * size


def _description(machine: DescribedMachine) -> str:
    total = sum(node.memory for node in machine.nodes.values()) or machine.memory
    parts = [machine.model or machine.arch, f"{machine.cpus} CPUs" if machine.cpus else "", _about(total)]
    nodes = f"{len(machine.nodes)} nodes" if len(machine.nodes) > 1 else ""
    return "the shape of: " + ", ".join(filter(None, [*parts, nodes]))


def _about(size: int) -> str:
    """A size of real memory as people say it."""
    return f"{size / (1 << 30):.0f}G" if size >= 10 << 30 else f"{size / MIB:.0f}M" if size else ""


def _distances(machine: DescribedMachine, nodes: Sequence[_Numbered], made: Shrunk) -> None:
    places = {number: place for place, number in enumerate(machine.nodes)}
    rows = [each.node.distance for each in nodes]
    if not all(len(row) == len(machine.nodes) for row in rows):
        made.lost.append("distances: the description does not have them (numactl -H); the emulator's own here")
        return
    there = [[row[places[each.number]] for each in nodes] for row in rows]
    here = [
        [10 if mine == other else min(max(value, NEAREST), FARTHEST) for other, value in enumerate(row)]
        for mine, row in enumerate(there)
    ]
    if here != there:
        made.lost.append(f"distances: {there} there; 10 to itself and {NEAREST}-{FARTHEST} to others here")
    made.data["distances"] = here


def _hugepages(
    machine: DescribedMachine, nodes: Sequence[_Numbered], memory: Sequence[int], possible: Sequence[int], made: Shrunk
) -> None:
    """Reservations of the same share of memory; at most half of it, and at least a page."""
    known = any(each.node.hugepages for each in nodes) and "numa" in made.data
    places = (
        [(made.data["numa"][index], each.node.hugepages, each.node.memory) for index, each in enumerate(nodes)]
        if known
        else [(made.data, machine.hugepages, sum(each.node.memory for each in nodes) or machine.memory)]
    )
    for index, (place, wanted, real) in enumerate(places):
        room = memory[index : index + 1] if known else memory
        kept = _shares({size: count for size, count in wanted.items() if size in possible}, real, room)
        lost = [size for size in wanted if not kept.get(size)]
        where = f"node {nodes[index].number}: " if known else ""
        for size in lost:
            why = "none is sure to fit into so little memory (--memory)" if size in possible else "cannot be had"
            made.lost.append(f"{where}huge pages of {format_size(size)}: {wanted[size]} there, none here: {why}")
        if any(kept.values()):
            place["hugepages"] = {format_size(size): count for size, count in kept.items() if count}


def _shares(wanted: Mapping[int, int], real: int, nodes: Sequence[int]) -> dict[int, int]:
    """How many huge pages of each size there are in nodes of these sizes, of what were `real` bytes of memory.

    Of a node's memory half may be reserved, and not the pages at its ends: they are not aligned, or hold the kernel.
    Large ones come first, since small ones fit in anywhere.
    """
    left, found = sum(nodes) // 2, dict[int, int]()
    for size, count in sorted(wanted.items(), reverse=True):
        most = min(left // size, sum(max(0, node // size - 2) for node in nodes))
        found[size] = min(most, count, max(1, int(count * sum(nodes) / real)) if real else count)
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
    """The kernel's arguments: those that mean the same here are kept, what others were for is lost."""
    names = {word: word.partition("=")[0] for word in machine.cmdline}
    kept = [word for word, name in names.items() if name in KEPT_ARGUMENTS and word not in mode.cmdline]
    pages = {format_size(size) for size in made.topology("draft").possible_hugepages}
    kept = [word for word in kept if not word.startswith("default_hugepagesz=") or word.partition("=")[2] in pages]
    known = {*kept, *mode.cmdline}
    lost = [
        word
        for word, name in names.items()
        if word not in known and name.partition(".")[0] not in UNIMPORTANT_ARGUMENTS and name not in COVERED_ARGUMENTS
    ]
    if kept:
        made.data["cmdline"] = kept
    if lost:
        made.lost.append(f"arguments of the kernel: left out {' '.join(lost)[:200]}")


def _scale(
    machine: DescribedMachine, nodes: Sequence[_Numbered], cpus: Sequence[Sequence[int]], memory: Sequence[int]
) -> Iterator[str]:
    real_cpus, real_memory = sum(len(each.node.cpus) for each in nodes), sum(each.node.memory for each in nodes)
    if (have := sum(map(len, cpus))) != real_cpus:
        yield f"CPUs: {real_cpus} there, {have} here"
    if machine.threads > 1:
        yield f"threads: {machine.threads} per core there, every CPU a core here"
    if real_memory and (here := sum(memory)) < real_memory * 0.9:
        yield f"memory: {_about(real_memory)} there, {format_size(here)} here"


def _flags(machine: DescribedMachine, record: Arch) -> Iterator[str]:
    said = machine.facts.get("flags") or machine.facts.get("Features")
    if machine.model:
        yield f"processor: {machine.model} there, QEMU's {record.cpu} here"
    for flag, what in MATTER.items() if said else ():
        there, here = flag in (said or "").split(), flag in record.cpu_flags
        if there != here:
            yield f"{flag} ({what}): {'there and not here' if there else 'not there, but here'}"


def _yaml(key: str, value: Any) -> list[str]:
    """One key of the file as people write it: lists of cells and rows a line each."""
    if isinstance(value, list) and value and isinstance(value[0], dict | list):
        return [f"{key}:", *(f"  - {_flow(each)}" for each in value)]
    return [f"{key}: {_flow(value)}"]


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    plain = isinstance(value, int) or (value.isascii() and value.replace("-", "").replace("_", "").isalnum())
    return str(value) if plain else json.dumps(value, ensure_ascii=False)
