# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages of the kernel that show a machine in part: page sizes, memory that is short, nodes by name."""

from __future__ import annotations

import pytest

from lab.core.sizes import GIB, KIB, MIB
from tests.unit.fixtures.described import nodes, reading


@pytest.mark.parametrize(
    ("line", "page_size"),
    [
        ("[    0.1] Dentry cache hash table entries: 4194304 (order: 9, 33554432 bytes, vmalloc)", 64 * KIB),
        ("[    0.1] Inode-cache hash table entries: 131072 (order: 8, 1048576 bytes, linear)", 4 * KIB),
        ("[    0.1] TCP bind hash table entries: 65536 (order: 7, 2621440 bytes, linear)", 16 * KIB),
        ("[    9.1] swapper pgtable: 16k pages, 47-bit VAs, pgdp=0000000801a40000", 16 * KIB),
        ("[    9.1] Current a pgtable: 4K pagesize, 57-bit VAs, pgdp=0x0000000081a40000", 4 * KIB),
    ],
)
def test_a_line_shows_the_page_size(line: str, page_size: int) -> None:
    assert reading(line + "\n", "arm64").check().page_size == page_size


@pytest.mark.parametrize(
    ("line", "page_size", "mmu"),
    [
        ("[    9.1] LE PAGE_SIZE=64K MMU=Radix SMP NR_CPUS=2048 NUMA pSeries", 64 * KIB, "Radix"),
        ("LE PAGE_SIZE=4K MMU=Hash SMP NR_CPUS=2048 NUMA PowerNV", 4 * KIB, "Hash"),
    ],
)
def test_an_oops_of_powerpc_says_how_its_memory_is_managed(line: str, page_size: int, mmu: str) -> None:
    machine = reading(line + "\n", "").check()
    assert (machine.arch, machine.page_size, machine.facts["MMU"]) == ("ppc64le", page_size, mmu)


@pytest.mark.parametrize(
    ("line", "arch"),
    [
        ("RIP: 0010:shmem_fault+0x12/0x340", "x86_64"),
        ("[    9.1] EIP: shmem_fault+0x12/0x340", "i686"),
        ("pstate: 80400009 (Nzcv daif +PAN -UAO)", "aarch64"),
        ("[    9.1] status: 0000000200000120 badaddr: 0000000000000008 cause: 000000000000000d", "riscv64"),
        ("Krnl PSW : 0704c00180000000 000000000012a4b6 (shmem_fault+0x16/0x340)", "s390x"),
    ],
)
def test_registers_of_an_oops_tell_the_architecture(line: str, arch: str) -> None:
    assert reading(line + "\n", "").machine.arch == arch


def test_page_sizes_that_contradict_each_other_are_two_machines() -> None:
    text = "swapper pgtable: 64k pages, 52-bit VAs, pgdp=0\nswapper pgtable: 4k pages, 48-bit VAs, pgdp=0\n"
    assert "2 machines in one text" in reading(text, "arm64").problems[0]


ZONES = """[  9.1] Mem-Info:
[  9.1] Node 0 DMA free:9kB boost:0kB min:4kB present:1048576kB managed:9kB mlocked:0kB
[  9.1] Node 0 Normal free:9kB boost:0kB min:4kB present:1048576kB managed:9kB mlocked:0kB
[  9.1] Node 1 Normal free:9kB boost:0kB min:4kB present:4194304kB managed:9kB mlocked:0kB
[  9.1] Node 1 hugepages_total=3 hugepages_free=0 hugepages_surp=0 hugepages_size=2048kB
"""


@pytest.mark.parametrize("text", [ZONES, ZONES + ZONES, ZONES.replace("[  9.1] ", "kernel: ")])
def test_memory_that_is_short_is_reported_for_each_node(text: str) -> None:
    machine = reading(text).check()
    assert [node.memory for node in machine.nodes.values()] == [2 * GIB, 4 * GIB]
    assert machine.nodes[1].hugepages == {2 * MIB: 3}


def test_ranges_of_memory_are_added_up() -> None:
    text = "00001000-0009ffff : System RAM\n000a0000-000fffff : Reserved\n100000000-13fffffff : System RAM (kmem)\n"
    assert reading(text).check().memory == GIB + 0x9F000


def test_ranges_that_are_hidden_are_none() -> None:
    problems = reading("00000000-00000000 : System RAM\n00000000-00000000 : System RAM\n").problems
    assert problems == ["nothing in the text describes a machine"]


def test_a_machine_without_nodes_has_one_whose_memory_is_a_guess() -> None:
    text = "[    0.1] Faking a node at [mem 0x0000000000000000-0x000000013fffffff]\n"
    assert nodes(text) == {0: ("", 5120)}
    assert any("its range has holes" in guess for guess in reading(text).guesses())
    early = "[    0.1]   node   0: [mem 0x0000000000000000-0x00000000ffffffff]\n"
    assert nodes(text + early) == {0: ("", 4096)}


def test_lines_with_the_task_that_printed_them() -> None:
    text = "".join(
        f"[    0.00000{number}][    T0] {line}\n"
        for number, line in enumerate(
            [".... node  #0, CPUs:        #1", "#2   #3", "smp: Brought up 1 node, 4 CPUs"],
        )
    )
    assert nodes(text) == {0: ("0-3", 0)}


@pytest.mark.parametrize(
    "line",
    [
        "Fallback order for Node {}: 0 1",
        "Demotion targets for Node {}: null",
        "node {} deferred pages initialised in 2ms",
    ],
)
def test_messages_about_nodes_name_them(line: str) -> None:
    assert list(nodes("".join(f"[    0.1] {line.format(node)}\n" for node in (0, 1)))) == [0, 1]
