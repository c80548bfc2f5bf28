# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables and sentences that people write, texts of other systems, and facts that contradict each other."""

from __future__ import annotations

import pytest

from lab.core.sizes import GIB
from tests.unit.fixtures.described import distances, nodes, reading


@pytest.mark.parametrize(
    "text",
    [
        "| Node | CPUs | Memory |\n|---|---|---|\n| 0 | 0-3,8 | 2 GB |\n| 1 | 4-7 | 2 GB |\n",
        "| NUMA node | CPU list | RAM (GB) | Note |\n|--|--|--|--|\n| 0 | 0-3, 8 | 2 | a |\n| 1 | 4-7 | 2 | b |\n",
        'node,cpus,memory_mb\n0,"0-3,8",2048\n1,4-7,2048\n',
        "Node\tCPUs\tSize\nnode0\t0-3,8\t2G\nnode1\t4-7\t2G\n",
        "<table><tr><th>Node</th><th>CPUs</th><th>Memory</th></tr><tr><td>0</td><td>0-3,8</td><td>2 GiB</td></tr>"
        "<tr><td>1</td><td>4-7</td><td>2 GiB</td></tr></table>\n",
    ],
)
def test_a_table_with_a_row_for_each_node(text: str) -> None:
    assert nodes(text) == {0: ("0-3,8", 2048), 1: ("4-7", 2048)}


def test_numbers_of_cpus_that_are_the_same_are_counts() -> None:
    text = "| Node | Cores | Memory |\n|---|---|---|\n| 0 | 4 | 2 GB |\n| 1 | 4 | 2 GB |\n"
    assert nodes(text) == {0: ("0-3", 2048), 1: ("4-7", 2048)}
    assert any("its CPUs are a guess" in row.where or "are a guess" in row.where for row in reading(text).nodes)


@pytest.mark.parametrize(
    "text",
    [
        "NODE CPUS MEMORY\nhost1 8 16G\nhost2 8 16G\n",
        "Node CPUs Memory\n0 0-3 2G\n",
        "node power state\n0 on up\n1 on up\n",
    ],
)
def test_a_table_of_something_else_is_none(text: str) -> None:
    assert reading(text).problems == ["nothing in the text describes a machine"]


@pytest.mark.parametrize(
    ("text", "cpus", "memory"),
    [
        ("It is an instance with 64 vCPUs and 256 GiB.\n", 64, 256 * GIB),
        ("- CPU: AMD EPYC 7763\n- RAM: 512GB DDR4\n", 0, 512 * GIB),
        ("The box has 128 logical CPUs and 1.5 TB of memory.\n", 128, 1536 * GIB),
        ("Two NUMA nodes with 8 CPUs each, 64 GB of RAM.\n", 16, 64 * GIB),
        ("48 vCPUs, and two NUMA nodes with 8 CPUs each.\n", 48, 0),
    ],
)
def test_what_sentences_say_is_a_guess(text: str, cpus: int, memory: int) -> None:
    made = reading(text)
    assert (made.check().cpus, made.machine.memory) == (cpus, memory)
    assert any("the words of a person" in guess for guess in made.guesses())


@pytest.mark.parametrize(
    "text",
    [
        "It has 64 GB of memory, and the job wants 512 GB of memory.\n",
        "It runs 4 threads at 2 GB/s.\n",
        "MemTotal: 4194304 kB\nThe job wants 512 GB of memory on 64 vCPUs.\n",
    ],
)
def test_what_sentences_do_not_say_for_sure_is_not_taken(text: str) -> None:
    assert reading(text).machine.cpus == 0
    assert reading(text).machine.memory in (0, 4 * GIB)


@pytest.mark.parametrize(
    ("text", "page_size"),
    [
        ("It runs a kernel with 64K pages.\n", 65536),
        ("It crashes with the 16k kernel.\n", 16384),
        ("Page size: 64 KB\n", 65536),
        ("The kernel has pages of 64K.\n", 65536),
        ("It has 65536-byte pages.\n", 65536),
        ("The page size is 16384 bytes.\n", 16384),
        ("It fails on 16K pages, and works on 4K pages.\n", None),
        ("A buffer of 64K is written page by page.\n", None),
        ("InnoDB: page size: 16 KB\n", None),
    ],
)
def test_a_page_size_that_a_sentence_names(text: str, page_size: int | None) -> None:
    assert reading("Architecture: arm64\nCPU(s): 4\n" + text, "").machine.page_size == page_size


def test_the_header_of_an_oops_names_no_processor() -> None:
    made = reading("CPU: 52 PID: 123 Comm: t Tainted: G  6.12.0 #1\nKernelPageSize:       64 kB\n", "arm64")
    assert (made.machine.model, made.machine.page_size) == ("", 65536)


@pytest.mark.parametrize(
    ("text", "choices"),
    [("cpu model : MIPS 5KEc V0.0\n", "mips64 or mips64el"), ("processor : 0\ncpu : PowerPC 970\n", "ppc64")],
)
def test_words_that_leave_the_architecture_open_name_the_choices(text: str, choices: str) -> None:
    made = reading(text + "MemTotal:        2057000 kB\n", "")
    assert made.machine.arch == choices or choices in made.hint


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("# lssrad -va\nREF1   SRAD        MEM      CPU\n0\n          0   62000.00      0-31\n", "AIX"),
        ("lgroup 0 (root):\n        CPUs: 0-15\n        Memory: installed 64G\n", "Solaris"),
        ("SunOS box 5.11 11.4.0.15.0 sun4v sparc sun4v\n", "Solaris"),
        ("System Type:               x64-based PC\nTotal Physical Memory:     65,402 MB\n", "Windows"),
        ("Logical Processor to NUMA Node Map:\n****----  NUMA Node 0\n----****  NUMA Node 1\n", "Windows"),
        ("   Physical Memory: 274739916800 Bytes\n   NUMA Node Count: 2\n", "VMware ESXi"),
        ("Hardware Overview:\n  Model Name: MacBook Pro\n  Chip: Apple M1 Pro\n", "macOS"),
    ],
)
def test_another_system_is_named(text: str, name: str) -> None:
    assert f"this is {name}, and only what Linux shows of a machine is read" in reading(text).problems[0]


def test_what_bsd_says_is_read_and_its_system_told() -> None:
    text = (
        "FreeBSD box 14.0-RELEASE FreeBSD 14.0-RELEASE amd64\nhw.ncpu: 4\nhw.physmem: 4294967296\nvm.ndomains: 2\n"
        "vm.phys_locality:\n0: 10 21\n1: 21 10\n"
    )
    assert distances(text, "") == [(10, 21), (21, 10)]
    assert reading(text, "").machine.memory == 4 * GIB
    assert any("this is FreeBSD" in note for note in reading(text, "").notes)


def test_the_name_of_another_system_beside_what_linux_prints_is_no_matter() -> None:
    text = "Darwin mac 23.2.0 Darwin Kernel Version 23.2.0\n$ ssh box numactl -H\nnode 0 cpus: 0 1\nnode 0 size: 9 MB\n"
    assert nodes(text) == {0: ("0-1", 9)}
    assert not any("macOS" in note for note in reading(text).notes)


def test_a_topology_needs_no_capture() -> None:
    text = "description: two\narch: arm64\npage_size: 64K\nvcpus: 4\nnuma:\n  - {cpus: 0-1, memory: 512M}\n"
    made = reading(text, "")
    assert "this is a topology already" in made.problems[0]


@pytest.mark.parametrize(("huge", "told"), [(524288, True), (2048, False), (1048576, False)])
def test_huge_pages_that_pages_of_this_size_cannot_have_are_told(huge: int, told: bool) -> None:
    made = reading(f"$ getconf PAGESIZE\n4096\nHugepagesize: {huge} kB\n", "arm64")
    assert any("one of both is wrong" in note for note in made.notes) == told


@pytest.mark.parametrize("flags", ["fpu vme de pse tsc msr ...", "fpu vme de pse pdpe1gb", "fpu vme de pse tsc …"])
def test_flags_that_are_cut_off_do_not_make_a_machine_of_32_bits(flags: str) -> None:
    text = f"processor\t: 0\nmodel name\t: Intel(R) Xeon(R) Gold 6130 CPU @ 2.10GHz\nflags\t\t: {flags}\n"
    assert reading(text, "").machine.arch == "x86_64"
