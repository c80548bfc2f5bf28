# SPDX-License-Identifier: GPL-2.0-or-later
"""A description of which lines are missing never becomes another machine without a word."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from lab.formats.machine.paste.pasted import MAX_JOINED, Line, joined
from lab.workflows.machine import capture

NODES: dict[int, tuple[int, ...]] = {0: (0, 1, 2, 3, 16, 17, 18, 19), 1: (4, 5, 6, 7, 20, 21, 22, 23)}
NODES |= {number + 2: tuple(cpu + 8 for cpu in cpus) for number, cpus in NODES.items()}
"""Node -> its CPUs; every one has 8000 MiB, but for the last."""


def spelled(cpus: tuple[int, ...]) -> str:
    return f"{cpus[0]}-{cpus[3]},{cpus[4]}-{cpus[7]}"


def numactl() -> Iterator[str]:
    for number, cpus in NODES.items():
        yield f"node {number} cpus: {' '.join(map(str, cpus))}"
        yield f"node {number} size: 8000 MB"
    yield "node distances:"
    yield "node   0   1   2   3"
    for number in NODES:
        yield f"  {number}:  " + "  ".join("10" if number == other else "21" for other in NODES)


def sysfs() -> Iterator[str]:
    for number, cpus in NODES.items():
        yield f"/sys/devices/system/node/node{number}/cpulist:{spelled(cpus)}"


def lscpu() -> Iterator[str]:
    for number, cpus in NODES.items():
        yield f"NUMA node{number} CPU(s):    {spelled(cpus)}"


def lscpu_table() -> Iterator[str]:
    yield "CPU NODE SOCKET CORE ONLINE"
    owner = {cpu: number for number, cpus in NODES.items() for cpu in cpus}
    for cpu, number in sorted(owner.items()):
        yield f"{cpu:3} {number:4} 0 {cpu:4} yes"


def lstopo() -> Iterator[str]:
    yield "Machine (31GB total)"
    logical = 0
    for number, cpus in NODES.items():
        yield f"  NUMANode L#{number} (P#{number} 8000MB)"
        for cpu in cpus:
            yield f"    Core L#{logical} + PU L#{logical} (P#{cpu})"
            logical += 1


def virsh() -> Iterator[str]:
    yield "<cells num='4'>"
    for number, cpus in NODES.items():
        yield f"<cell id='{number}'>"
        yield "<memory unit='KiB'>8192000</memory>"
        yield "<cpus num='8'>"
        for cpu in cpus:
            yield f"<cpu id='{cpu}' socket_id='0'/>"
        yield "</cpus>"
        yield "</cell>"
    yield "</cells>"


def boot_log() -> Iterator[str]:
    yield "Linux version 6.12.1 (me@box) (gcc 14) #1 SMP"
    for number in NODES:
        yield f"ACPI: SRAT: Node {number} PXM {number} [mem 0x{number << 33:x}-0x{(number + 1 << 33) - 1:x}]"
    for number in NODES:
        yield f"  node   {number}: [mem 0x{number << 33:016x}-0x{(number + 1 << 33) - 1:016x}]"
    for number, cpus in NODES.items():
        yield f".... node  #{number}, CPUs:  " + " ".join(f"#{cpu}" for cpu in cpus if cpu)
    yield "smp: Brought up 4 nodes, 32 CPUs"


def zones() -> Iterator[str]:
    for number in NODES:
        for zone in ("DMA", "Normal"):
            yield f"Node {number}, zone {zone}"
            yield "        present  1024000"


def lsmem() -> Iterator[str]:
    yield "RANGE SIZE STATE NODE"
    for number in NODES:
        yield f"0x{number << 33:016x}-0x{(number + 1 << 33) - 1:016x} 8G online {number}"
    yield "Total online memory: 32G"


def guest() -> Iterator[str]:
    yield "<vcpu>32</vcpu>"
    for number, cpus in NODES.items():
        yield f"<cell id='{number}'"
        yield f" cpus='{spelled(cpus)}' memory='8192000'/>"


def qemu() -> Iterator[str]:
    yield "qemu-system-x86_64 -smp 32"
    for number, cpus in NODES.items():
        yield f"-object memory-backend-ram,id=m{number},size=8000M"
        yield f"-numa node,nodeid={number},memdev=m{number},cpus={cpus[0]}-{cpus[3]},cpus={cpus[4]}-{cpus[7]}"


def perf() -> Iterator[str]:
    yield "# nrcpus online : 32"
    for number, cpus in NODES.items():
        yield f"# node{number} meminfo  : total = 8192000 kB, free = 1 kB"
        yield f"# node{number} cpu list : {spelled(cpus)}"


def node_table() -> Iterator[str]:
    yield "| Node | CPUs | Memory |"
    for number, cpus in NODES.items():
        yield f"| {number} | {spelled(cpus)} | 8000 MB |"


TEXTS = [numactl, sysfs, lscpu, lscpu_table, lstopo, virsh, boot_log, lsmem, guest, qemu, perf]
TEXTS += [zones, node_table]


def silently_wrong(text: str) -> str:
    """What of the machine is neither as in NODES nor unknown, although nothing is said; empty if nothing is."""
    reading = capture.read([("pasted", text)], capture.Choices(arch="x86_64"))
    if reading.problems or any("guess" in note or "cut off" in note for note in reading.notes):
        return ""
    nodes = reading.machine.nodes
    if not nodes:
        return ""
    wrong = [str(number) for number, node in nodes.items() if node.cpus not in ((), NODES.get(number))]
    if any(node.memory for node in nodes.values()):
        wrong += [f"{number}, no memory" for number, node in nodes.items() if not node.memory]
    return ", ".join(wrong) or f"{len(nodes)} nodes" * (set(nodes) != set(NODES))


@pytest.mark.parametrize("tool", TEXTS, ids=lambda tool: tool.__name__)
def test_a_line_that_is_missing_is_noticed(tool: Callable[[], Iterator[str]]) -> None:
    lines = list(tool())
    assert not silently_wrong("\n".join(lines))
    for gone in range(len(lines) - 1):  # nothing shows that the last row of a table is not the last one
        text = "\n".join(lines[:gone] + lines[gone + 1 :])
        assert not silently_wrong(text), lines[gone]


@pytest.mark.parametrize("tool", TEXTS, ids=lambda tool: tool.__name__)
def test_a_beginning_that_is_missing_is_noticed(tool: Callable[[], Iterator[str]]) -> None:
    lines = list(tool())
    for first in range(1, len(lines)):
        assert not silently_wrong("\n".join(lines[first:])), lines[first]


@pytest.mark.parametrize("tool", [numactl, sysfs, lscpu, lstopo, virsh], ids=lambda tool: tool.__name__)
def test_an_end_that_is_missing_is_noticed(tool: Callable[[], Iterator[str]]) -> None:
    lines = list(tool())
    last = max(number for number, line in enumerate(lines) if "node" in line.lower() or "<cell " in line)
    for end in range(1, last):
        assert not silently_wrong("\n".join(lines[:end])), lines[end]


def test_lines_are_joined_up_to_a_bound() -> None:
    """Each join looks at the whole line again: without a bound, a text of open lines takes the square of its length."""
    lines = [Line(number=number, text="(" * 100) for number in range(1, 1001)]
    found = list(joined(lines, lambda line, following: " "))
    assert "".join(line.text for line in found).replace(" ", "") == "(" * 100 * 1000
    assert max(len(line.text) for line in found) <= MAX_JOINED + 101
    assert [line.number for line in found[:2]] == [1, 42]
