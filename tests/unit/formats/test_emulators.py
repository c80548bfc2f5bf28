# SPDX-License-Identifier: GPL-2.0-or-later
"""Command lines and XML of emulators: options in any order and form, tags over several lines, several guests."""

from __future__ import annotations

import pytest

from tests.unit.fixtures.described import Nodes, distances, nodes, reading

HALVES: Nodes = {0: ("0-1", 2048), 1: ("2-3", 2048)}


@pytest.mark.parametrize(
    "text",
    [
        "qemu-system-x86_64 -m 4G -smp 4 -numa node,cpus=0-1,mem=2G -numa node,cpus=2-3,mem=2048\n",
        "qemu-system-x86_64\n-smp 4\n-numa node,nodeid=0,cpus=0-1,memdev=a\n-numa node,nodeid=1,cpus=2-3,memdev=b\n"
        "-object memory-backend-ram,id=b,size=2G\n-object memory-backend-ram,id=a,size=2G\n",
        "cmd = ['qemu-system-x86_64', '-smp', '4', '-numa', 'node,mem=2G,cpus=0-1', '-numa', 'node,mem=2G,cpus=2-3']\n",
        "/usr/libexec/qemu-kvm -name a -smp 4 -numa node,cpus=0-1,mem=2G -numa node,cpus=2-3,mem=2G\n",
        "kvm -smp 4 -m 4G -numa node,cpus=0,cpus=1 -numa node,cpus=2-3\n",
        "qemu-system-x86_64 -smp 4,sockets=2 -m 4G -numa node -numa node "
        "-numa cpu,node-id=0,socket-id=0 -numa cpu,node-id=1,socket-id=1\n",
        "qemu-system-x86_64 -smp cores=2,threads=2 -m 4G -numa node -numa node "
        "-numa cpu,node-id=0,socket-id=0,core-id=0 -numa cpu,node-id=1,socket-id=0,core-id=1\n",
        "vng -r --cpus 4 -m 4G --numa 2G,cpus=0-1 --numa 2G,cpus=2-3\n",
        "<numa>\n<cell id='0' cpus='0-1'\n  memory='2' unit='GiB'/>\n"
        "<cell cpus='2-3' memory='2' unit='GiB'/>\n</numa>\n",
        "| properties | hw:numa_nodes='2', hw:numa_cpus.0='0,1', hw:numa_mem.0='2048', hw:numa_cpus.1='2,3', "
        "hw:numa_mem.1='2048' |\n| vcpus | 4 |\n",
        "<numa><cell id='0' cpus='0-1' memory='2' unit='G'/><cell id='1' cpus='2-3' memory='2097152'/></numa>\n",
    ],
)
def test_a_guest_with_two_halves(text: str) -> None:
    assert nodes(text) == HALVES


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("qemu-system-x86_64 -numa node -numa node -numa dist,src=0,dst=1,val=31\n", [(10, 31), (31, 10)]),
        ("vng --numa 1G --numa 1G --numa-distance 0,1=51\n", [(10, 51), (51, 10)]),
        (
            "<numa><cell id='0' memory='1024'><distances><sibling id='1' value='30'/></distances></cell>"
            "<cell id='1' memory='1024'/></numa>\n",
            [(10, 30), (30, 10)],
        ),
    ],
)
def test_a_distance_that_is_stated_once_is_of_both_directions(text: str, rows: list[tuple[int, ...]]) -> None:
    assert distances(text) == rows


@pytest.mark.parametrize(
    ("arguments", "cpus"),
    [
        ("-smp 4", 4),
        ("-smp cpus=4,maxcpus=8", 4),
        ("-smp sockets=2,dies=2,cores=2,threads=2", 16),
        ("-smp maxcpus=8", 8),
        ("-smp 8,sockets=2", 8),
    ],
)
def test_cpus_are_stated_or_the_product_of_the_levels(arguments: str, cpus: int) -> None:
    assert reading(f"qemu-system-aarch64 -M virt -m 2G {arguments}\n", "").check().cpus == cpus


def test_options_of_other_commands_are_none_of_the_guest() -> None:
    text = "qemu-system-x86_64 -m 2G \\\n-smp 2\n$ numactl -m 0 ls\n$ free -m\nroot@box:~# stress -m 4\n"
    text += "\nRun it with -m 8G.\n"
    machine = reading(text).check()
    assert (machine.cpus, machine.memory) == (2, 2 << 30)


def test_cpus_that_are_placed_nowhere_are_shared_and_told() -> None:
    made = reading("qemu-system-x86_64 -m 4G -smp 4 -numa node -numa node\n")
    assert [node.cpus for node in made.check().nodes.values()] == [(0, 1), (2, 3)]
    assert any("guessed as 2 on each of 2 nodes" in note for note in made.notes)


def test_cores_of_power_are_numbered_by_their_threads() -> None:
    text = "qemu-system-ppc64 -smp sockets=1,cores=2,threads=4 -numa node -numa cpu,node-id=0,core-id=4\n"
    assert any("which CPUs a node has is not read" in note for note in reading(text, "").notes)


@pytest.mark.parametrize(
    "text",
    [
        "qemu-system-x86_64 -m 2G -smp 2\nqemu-system-x86_64 -m 8G -smp 8\n",
        "<domain type='kvm'>\n<memory>2097152</memory>\n<vcpu>2</vcpu>\n</domain>\n"
        "<domain type='kvm'>\n<memory>8388608</memory>\n<vcpu>8</vcpu>\n</domain>\n",
    ],
)
def test_two_guests_are_two_machines(text: str) -> None:
    assert "2 machines in one text" in reading(text).problems[0]


def test_a_tag_named_topology_is_no_xml_of_hwloc() -> None:
    """Of a host's capabilities and of a guest's CPU."""
    text = (
        "<cpu><topology sockets='1' cores='2' threads='1'/></cpu>\n<topology>\n<cells num='1'>\n<cell id='0'>\n"
        "<memory unit='KiB'>1048576</memory>\n<pages unit='KiB' size='64'>16000</pages>\n"
        "<pages unit='KiB' size='524288'>2</pages>\n<cpus num='2'>\n<cpu id='0'/>\n<cpu id='1'/>\n</cpus>\n</cell>\n"
        "</cells>\n</topology>\n"
    )
    machine = reading(text, "arm64").check()
    assert (machine.page_size, machine.nodes[0].hugepages) == (65536, {512 << 20: 2})
    assert nodes(text, "arm64") == {0: ("0-1", 1024)}
