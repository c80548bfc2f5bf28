# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that describe a machine in a few lines, and what in them is none of the machine's own facts."""

from __future__ import annotations

import pytest

from lab.core.sizes import GIB, MIB
from lab.workflows.machine.shrink import Room, shrink
from tests.unit.fixtures.described import nodes, reading


@pytest.mark.parametrize(
    ("text", "cpus", "memory"),
    [
        ("MiB Mem :  4096.0 total,  20.1 free\nMiB Swap:  2048.0 total,  0.0 free\n", 0, 4 * GIB),
        ("MiB Spch:  4096,0 gesamt,  20,1 frei\nMiB Swap:  2048,0 gesamt\n", 0, 4 * GIB),
        ("KiB Mem : 4194304 total, 20 free\n", 0, 4 * GIB),
        ("Mem:   4194304k total,  20k used,\n", 0, 4 * GIB),
        ("  0[|||  10.0%]\n  Mem[||||||     3.2G/4.00G]\n", 0, 4 * GIB),
        (" Architecture: x86_64\n CPUs: 8\n Total Memory: 4GiB\n", 8, 4 * GIB),
        ("host:\n  arch: amd64\n  cpus: 8\n  memTotal: 4294967296\n", 8, 4 * GIB),
        ('"ansible_memtotal_mb": 4096,\n"ansible_processor_vcpus": 8,\n', 8, 4 * GIB),
        ("        CPUS: 8 [OFFLINE: 2]\n      MEMORY: 4 GB\n     MACHINE: x86_64  (2100 Mhz)\n", 8, 4 * GIB),
        (" CPU: Core i7 @ 8x 4.9GHz\n RAM: 432MiB / 4096MiB\n", 8, 4 * GIB),
        ("_NPROCESSORS_CONF       10\n_NPROCESSORS_ONLN     8\nPAGESIZE    4096\n_PHYS_PAGES   1048576\n", 8, 4 * GIB),
        ("Linux 5.14.0-427.el9.x86_64 (box) \t01/02/2024 \t_x86_64_\t(8 CPU)\n", 8, 0),
        ("  depth 7:      8 PU (type #3)\nSpecial depth -3:  1 NUMANode (type #13)\n", 8, 0),
        ("CPU:total 8 (initial active 8) (4 cores per cpu)\nMemory: 4k page, physical 4194304k(9k free)\n", 8, 4 * GIB),
        (
            "os:Linux 5.15.0-91-generic x86_64\ntotal_system_memory:4294967296\ntotal_system_memory_human:4.00G\n",
            0,
            4 * GIB,
        ),
        ("Julia Version 1.9.4\n  CPU: 8 \u00d7 AMD Ryzen 7 5800X 8-Core Processor\n", 8, 0),
        ("CPU: (8) x64 AMD Ryzen 7 5800X\n    Memory: 1.00 GB / 4.00 GB\n", 8, 4 * GIB),
        ("Processor: 2 x AMD EPYC 7343 @ 3.20GHz (4 Cores / 8 Threads), Memory: 4GB\n", 8, 0),
        ("on test machine: 8 threads 1 sockets Intel(R) Core(TM) i7-4790 CPU @\n3.60GHz with 4G memory\n", 8, 4 * GIB),
        ("on test machine: qemu-system-x86_64 -enable-kvm -cpu SandyBridge -smp 8 -m 4G\n", 8, 4 * GIB),
        (
            "CPU:  Info: 4-Core model: AMD Ryzen 5 2400G bits: 64 type: MT MCP\nMemory:  RAM: total: 4.00 GiB\n",
            8,
            4 * GIB,
        ),
        ("CPU:  Topology: Quad Core model: Intel Xeon E3-1240 bits: 64 type: MT MCP cache: 8 MiB\n", 8, 0),
        ("Kernel: Linux 6.1.0-18-amd64 (SMP w/8 CPU threads; PREEMPT)\n", 8, 0),
        (
            "  *-memory\n       size: 4GiB\n     *-bank:0\n          size: 2GiB\n"
            "  *-cpu:0\n       configuration: cores=2 threads=4\n  *-cpu:1\n       configuration: cores=2 threads=4\n",
            8,
            4 * GIB,
        ),
    ],
)
def test_totals_are_read(text: str, cpus: int, memory: int) -> None:
    machine = reading(text).check()
    assert (machine.cpus, machine.memory) == (cpus, memory)


@pytest.mark.parametrize(
    "text",
    [
        "Architecture: amd64 (x86_64)\nForeign Architectures: i386\n",
        "userspace arch: i386\n$ uname -m\nx86_64\n",
        "Guest architecture: aarch64\nArchitecture: x86_64\n",
    ],
)
def test_another_architecture_beside_the_own_one_is_no_contradiction(text: str) -> None:
    made = reading(text, "")
    assert (made.machine.arch, made.problems) == ("x86_64", [])


@pytest.mark.parametrize(
    "text",
    [
        "AT_HWCAP:             ff\nAT_PAGESZ:            65536\nAT_PLATFORM:          aarch64\n",
        '6    AT_PAGESZ     System page size      65536\n15   AT_PLATFORM   Name of platform 0xff8 "aarch64"\n',
    ],
)
def test_the_auxiliary_vector_of_a_program_has_the_page_size(text: str) -> None:
    machine = reading(text, "").check()
    assert (machine.arch, machine.page_size) == ("aarch64", 65536)


@pytest.mark.parametrize(
    ("named", "arch"),
    [("ppc64-le", "ppc64le"), ("x86-64", "x86_64"), ("arm64", "aarch64"), ("mips64-le", "mips64")],
)
def test_hostnamectl_spells_architectures_in_its_own_way(named: str, arch: str) -> None:
    assert reading(f"Static hostname: box\n   Architecture: {named}\n", "").machine.arch == arch


@pytest.mark.parametrize(("named", "arch"), [("mips64-le", "mips64el"), ("mips64el", "mips64el"), ("mips64", "mips64")])
def test_a_name_that_has_a_byte_order_keeps_it(named: str, arch: str) -> None:
    made = reading(f"Architecture: {named}\nCPU(s): 1\n", "")
    assert shrink(made.check(), Room()).topology("box").arch == arch


@pytest.mark.parametrize(
    "text",
    [
        "CPU: 12 PID: 99 Comm: bar Not tainted 5.14.0-427.el9.aarch64+64k #1\n",
        "CPU: 1 UID: 0 PID: 5 Comm: a b Tainted: G        W          5.14.0-427.el9.aarch64+64k #1\n",
        "  Kernel Version:             5.15.0-91-generic-64k\n  Architecture:      arm64\n",
        "     RELEASE: 5.14.0-362.el9.aarch64+64k\n",
        "# os release : 5.14.0-362.el9.aarch64+64k\n# arch : aarch64\n",
        "ProcVersionSignature: Ubuntu 6.8.0-31.31-generic-64k 6.8.1\nArchitecture: arm64\n",
        "Uname: Linux 6.8.0-31-generic-64k aarch64\n",
        "Linux box 6.4.0-150600.21-64kb #1 SMP Thu May 16 2024 aarch64 aarch64 aarch64 GNU/Linux\n",
    ],
)
def test_the_name_of_the_kernel_tells_the_page_size(text: str) -> None:
    machine = reading(text, "").check()
    assert (machine.arch, machine.page_size) == ("aarch64", 65536)


HALVES = {0: ("0,2", 2048), 1: ("1,3", 2048)}


@pytest.mark.parametrize(
    "text",
    [
        "# ========\n# nrcpus online : 4\n# nrcpus avail : 8\n# total memory : 4194304 kB\n"
        "# node0 meminfo  : total = 2097152 kB, free = 9 kB\n# node0 cpu list : 0,2\n"
        "# node1 meminfo  : total = 2097152 kB, free = 9 kB\n# node1 cpu list : 1,3\n",
        '{"num_cores":4,"memory_capacity":4294967296,"topology":['
        '{"node_id":0,"memory":2147483648,"cores":[{"core_id":0,"thread_ids":[0,2]}]},'
        '{"node_id":1,"memory":2147483648,"cores":[{"core_id":0,"thread_ids":[1,3]}]}]}\n',
    ],
)
def test_nodes_are_read(text: str) -> None:
    assert nodes(text) == HALVES


def test_metrics_of_nodes() -> None:
    text = "".join(f'node_memory_numa_MemTotal{{node="{node}"}} 2.147483648e+09\n' for node in (0, 1))
    text += "".join(f'node_cpu_seconds_total{{cpu="{cpu}",mode="idle"}} 1.5\n' for cpu in range(4))
    assert nodes(text) == {0: ("0-1", 2048), 1: ("2-3", 2048)}
    assert any("guessed as 2 on each of 2 nodes" in note for note in reading(text).notes)


@pytest.mark.parametrize(
    "text",
    [
        "CPUs: 8\nTotal Memory: 4GiB\n\nCPUs: 64\nTotal Memory: 128GiB\n",
        "hw.memsize: 4294967296\nhw.memsize: 8589934592\n",
    ],
)
def test_two_machines_are_not_merged(text: str) -> None:
    assert "2 machines in one text" in reading(text).problems[0]


def test_a_row_of_nodes_is_no_list_of_cpus_that_are_online() -> None:
    machine = reading("node0 cpu list : 0-3\nnode1 cpu list : 4-7\n").check()
    assert machine.cpus == 8
    assert machine.memory // MIB == 0


def test_a_number_that_no_node_has_is_none() -> None:
    text = "".join(f'node_memory_numa_MemTotal{{node="{node}"}} 2.147483648e+09\n' for node in (0, 10_000_000))
    assert list(nodes(text)) == [0]


@pytest.mark.parametrize(
    "text",
    [
        "# nrcpus online : 999999999\n# node0 meminfo  : total = 8192000 kB, free = 1 kB\n",
        "# nrcpus online : 5000\n# node0 meminfo  : total = 8192000 kB, free = 1 kB\n",
        "NodeName=n CPUs=999999999 RealMemory=8000\n",
        "<domain type='kvm'><vcpu>99999</vcpu><memory unit='GiB'>8</memory></domain>\n",
    ],
)
def test_a_count_that_no_machine_has_is_refused_at_once(text: str) -> None:
    """A node has a list of as many CPUs as are counted, if the text does not say which."""
    assert any("CPUs" in problem for problem in reading(text).problems), reading(text).problems
