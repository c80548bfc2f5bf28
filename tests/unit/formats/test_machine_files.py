# SPDX-License-Identifier: GPL-2.0-or-later
"""Listings of sysfs, output of lsmem in each form, and configurations of kernels."""

from __future__ import annotations

import json

import pytest

from lab.core.sizes import GIB, KIB
from tests.unit.fixtures.described import nodes, reading

NODE = "/sys/devices/system/node"


@pytest.mark.parametrize(
    "text",
    [
        f"$ ls {NODE}\nhas_cpu  has_memory  node0  node2  online  possible  power  uevent\n$ nproc\n4\n",
        f"$ ls {NODE}/\nhas_cpu\nnode0\nnode2\nonline\n$ nproc\n4\n",
        f"$ ls -d {NODE}/node*\n{NODE}/node0  {NODE}/node2\n$ nproc\n4\n",
        f"$ find {NODE} -maxdepth 1 -name 'node*'\n{NODE}/node2\n{NODE}/node0\n$ nproc\n4\n",
    ],
)
def test_a_listing_names_the_nodes(text: str) -> None:
    assert nodes(text) == {0: ("0-1", 0), 2: ("2-3", 0)}
    assert any("guessed as 2 on each of 2 nodes" in note for note in reading(text).notes)


@pytest.mark.parametrize(
    "text",
    [
        f"$ ls -d {NODE}/node*/cpu*\n{NODE}/node0/cpu0  {NODE}/node0/cpu2\n{NODE}/node1/cpu1  {NODE}/node1/cpu3\n",
        "".join(f"{NODE}/node{cpu % 2}/cpu{cpu}\n" for cpu in range(4)),
        "".join(f"/sys/devices/system/cpu/cpu{cpu}/node{cpu % 2}\n" for cpu in range(4)),
        f"$ ls {NODE}/node0\ncompact cpu0 cpu2 cpulist cpumap distance\n$ ls {NODE}/node1\ncpu1 cpu3 meminfo vmstat\n",
    ],
)
def test_a_listing_names_the_cpus_of_nodes(text: str) -> None:
    assert nodes(text) == {0: ("0,2", 0), 1: ("1,3", 0)}


def test_what_is_behind_a_listing_is_none_of_its_entries() -> None:
    text = f"$ ls {NODE}\nnode0  online\nThe hosts node1 and\nnode2\nare alike.\n$ nproc\n4\n"
    assert list(nodes(text)) == [0]


@pytest.mark.parametrize(
    ("sizes", "page_size"),
    [((64, 2048, 32768, 1048576), 4 * KIB), ((2048, 524288, 16777216), 64 * KIB)],
)
def test_the_sizes_of_huge_pages_that_are_listed_show_the_page_size(sizes: tuple[int, ...], page_size: int) -> None:
    listed = "  ".join(f"hugepages-{size}kB" for size in sizes)
    made = reading(f"$ ls /sys/kernel/mm/hugepages\n{listed}\n", "arm64").check()
    assert (made.page_size, made.hugepages) == (page_size, {})


ROWS = [("0x0000000000000000-0x000000003fffffff", "online", 0), ("0x0000000040000000-0x000000007fffffff", "online", 0)]
ROWS += [
    ("0x0000000080000000-0x00000000bfffffff", "online", 1),
    ("0x00000000c0000000-0x00000000ffffffff", "offline", 1),
]


@pytest.mark.parametrize(
    "text",
    [
        "RANGE STATE NODE\n" + "".join(f"{span} {state} {node}\n" for span, state, node in ROWS),
        "".join(f'RANGE="{span}" SIZE="1G" STATE="{state}" NODE="{node}"\n' for span, state, node in ROWS),
        json.dumps({"memory": [dict(zip(("range", "state", "node"), row, strict=True)) for row in ROWS]}, indent=3),
        json.dumps({"memory": [dict(zip(("range", "state", "node"), row, strict=True)) for row in ROWS]}),
    ],
)
def test_ranges_of_memory_are_added_up_for_each_node(text: str) -> None:
    assert [memory for _, memory in nodes(text).values()] == [2048, 1024]
    assert any("memory of node 1 that is offline is left out" in note for note in reading(text).notes)


@pytest.mark.parametrize("text", ["Total online memory:      4G\n", "Total online memory:   4,0G\n"])
def test_the_sum_of_memory_is_read(text: str) -> None:
    assert reading(text).check().memory == 4 * GIB


def test_ranges_that_are_less_than_their_sum_are_refused() -> None:
    text = "RANGE STATE NODE\n" + "".join(f"{span} {state} {node}\n" for span, state, node in ROWS)
    assert not reading(f"{text}Total online memory: 3G\n").problems
    assert any("2048 MiB of 3072 MiB" in problem for problem in reading(ROWS_CUT).problems)


ROWS_CUT = "RANGE STATE NODE\n" + "".join(f"{span} {state} {node}\n" for span, state, node in ROWS[1:])
ROWS_CUT += "Total online memory: 3G\n"


@pytest.mark.parametrize(
    ("text", "arch", "page_size"),
    [
        ("CONFIG_ARM64_64K_PAGES=y\n", "aarch64", 64 * KIB),
        ("CONFIG_ARM64=y\nCONFIG_ARM64_4K_PAGES=y\n# CONFIG_ARM64_64K_PAGES is not set\n", "aarch64", 4 * KIB),
        ("/boot/config-6.12:CONFIG_ARM64_16K_PAGES=y\n", "aarch64", 16 * KIB),
        ("CONFIG_PPC64=y\nCONFIG_CPU_LITTLE_ENDIAN=y\nCONFIG_PPC_64K_PAGES=y\n", "ppc64le", 64 * KIB),
        ("CONFIG_PPC64=y\nCONFIG_CPU_BIG_ENDIAN=y\nCONFIG_PPC_4K_PAGES=y\n", "ppc64", 4 * KIB),
        ("CONFIG_LOONGARCH=y\nCONFIG_PAGE_SIZE_16KB=y\n", "loongarch64", 16 * KIB),
        ("CONFIG_X86_64=y\nCONFIG_NUMA=y\n", "x86_64", 4 * KIB),
    ],
)
def test_the_configuration_of_a_kernel(text: str, arch: str, page_size: int) -> None:
    machine = reading(text, "").check()
    assert (machine.arch, machine.page_size) == (arch, page_size)


def test_of_commands_on_one_line_the_last_prints_the_rest() -> None:
    text = "$ uname -m; nproc; grep -E 'MemTotal' /proc/meminfo\naarch64\n8\nMemTotal:  4194304 kB\n"
    machine = reading(text, "").check()
    assert (machine.arch, machine.cpus, machine.memory) == ("aarch64", 8, 4 * GIB)


@pytest.mark.parametrize(
    ("text", "cpus", "numbered"),
    [
        ("$ grep -c ^processor /proc/cpuinfo\n8\n", 8, 0),
        ("$ cat /proc/cpuinfo | grep processor | wc -l\n8\n", 8, 0),
        (f"$ ls -d {NODE}/node* | wc -l\n2\n$ nproc\n8\n", 8, 2),
        ("$ getconf _NPROCESSORS_ONLN\n8\n", 8, 0),
        ("$ grep -c error /var/log/x\n8\n", 0, 0),
    ],
)
def test_lines_that_are_counted(text: str, cpus: int, numbered: int) -> None:
    machine = reading(text).machine
    assert (machine.cpus, len(machine.nodes)) == (cpus, numbered)
