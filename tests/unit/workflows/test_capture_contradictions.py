# SPDX-License-Identifier: GPL-2.0-or-later
"""A fact that contradicts the one that is used is told, or the text is refused; what only looks like one is not."""

from __future__ import annotations

import pytest

from tests.unit.fixtures.described import reading

CPUS = "".join(f"processor\t: {cpu}\n\n" for cpu in range(4))
X86 = "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu vme de pse lm constant_tsc\n"
POOLS = "$ ls /sys/kernel/mm/hugepages\nhugepages-16777216kB  hugepages-524288kB\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("$ uname -r\n5.14.0-427.el9.aarch64+64k\n$ getconf PAGESIZE\n4096\n", "has pages of 64K by its name"),
        (f"{POOLS}$ getconf PAGESIZE\n4096\n", "huge pages of 16G beside pages of 4K"),
        ("$ getconf PAGESIZE\n4096\nHugepagesize: 524288 kB\n", "huge pages of 512M beside pages of 4K"),
        (f"$ uname -m\naarch64\n{X86}", "which is of x86_64, and aarch64 is used"),
        (f"CPU(s): 8\nOn-line CPU(s) list: 0-7\n{CPUS}", "4 CPUs by /proc/cpuinfo, and 8 are used"),
        ("CPU(s): 8\n$ nproc\n4\n", "4 CPUs by nproc, and 8 are used"),
        ("CPU(s): 4\nOn-line CPU(s) list: 0-7\n", "8 CPUs are online, and 4 are counted"),
        (
            "On-line CPU(s) list: 0-3\nNUMA node0 CPU(s): 0-1\nNUMA node1 CPU(s): 2-3,8-9\n",
            "CPUs 8-9 are on nodes and not online",
        ),
    ],
)
def test_a_contradiction_is_told(text: str, told: str) -> None:
    made = reading(text, "" if "uname -m" in text else "arm64")
    assert any(told in note for note in made.notes)


@pytest.mark.parametrize(
    "text",
    [
        f"$ uname -m\ni686\n{X86}",
        "CPU(s): 8\nOn-line CPU(s) list: 0-3\nOff-line CPU(s) list: 4-7\nNUMA node0 CPU(s): 0-3\n",
        "CPU(s): 4\n$ nproc\n4\nNUMA node0 CPU(s): 0-3\n" + CPUS,
        "$ uname -r\n5.14.0-427.el9.aarch64+64k\n$ getconf PAGESIZE\n65536\nHugepagesize: 524288 kB\n",
    ],
)
def test_what_fits_is_not_told(text: str) -> None:
    notes = reading(text, "" if "uname -m" in text else "arm64").notes
    assert not any("are used" in note or "is used" in note or "not online" in note for note in notes)
    assert not any("one of both is wrong" in note for note in notes)


@pytest.mark.parametrize(
    "text",
    [
        "$ uname -m\nx86_64\n$ lscpu | head -1\nArchitecture: aarch64\n",
        "$ getconf PAGESIZE\n4096\nCONFIG_ARM64_64K_PAGES=y\n$ uname -m\naarch64\n",
        "MemTotal: 4194304 kB\n$ uname -m\nx86_64\nMemTotal: 8388608 kB\n",
        "NUMA node0 CPU(s): 0-7\n$ uname -m\nx86_64\nnode 0 cpus: 0 1 2 3\nnode 0 size: 9 MB\n",
    ],
)
def test_what_no_machine_can_be_is_refused(text: str) -> None:
    assert "2 machines in one text" in reading(text, "").problems[0]


@pytest.mark.parametrize(
    "text",
    [
        "Cpus_allowed_list:\t4-7\n",
        "pid 1's current affinity list: 4-7\n",
        "        cpu: 2\n        memory: 4Gi\n",
        "    cpus: 2\n    mem_limit: 512m\n",
    ],
)
def test_what_a_program_may_use_is_not_the_machine(text: str) -> None:
    assert reading(f"$ uname -m\nx86_64\n{text}", "").machine.cpus == 0


def test_huge_pages_of_each_node_are_added_up() -> None:
    text = "Kernel command line: root=/dev/vda hugepagesz=1G hugepages=0:4,1:2\n"
    assert reading(text).check().hugepages == {1 << 30: 6}


def test_arguments_of_a_boot_loader_are_a_guess() -> None:
    text = 'GRUB_CMDLINE_LINUX="default_hugepagesz=1G hugepagesz=1G hugepages=16"\nMemTotal: 64000000 kB\n'
    made = reading(text)
    assert made.check().hugepages == {1 << 30: 16}
    assert any("in the configuration of the boot loader" in guess for guess in made.guesses())
