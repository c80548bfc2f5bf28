# SPDX-License-Identifier: GPL-2.0-or-later
"""Domain XML against golden files; `PAGELAB_UPDATE_GOLDEN=1` writes them anew for a look at the difference."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from lab.guests.domain import QEMU_NS, GuestMachine, command_line, domain_xml, links, sockets_and_cores
from lab.guests.qemu_command import qemu_command
from lab.specs.model import Topology
from tests.unit.fixtures.machines import MACHINES, machine

GOLDEN = Path(__file__).parents[2] / "golden" / "domain"


@pytest.mark.parametrize("name", MACHINES)
def test_golden(name: str) -> None:
    got = domain_xml(machine(name))
    golden = GOLDEN / f"{name}.xml"
    if os.environ.get("PAGELAB_UPDATE_GOLDEN"):
        golden.write_text(got)
    assert got == golden.read_text()


def test_names_are_escaped_not_pasted() -> None:
    topology = Topology.model_validate(
        {"name": "x", "arch": "arm64", "page_size": "4K", "memory": "256M", "cmdline": ["a=<&\"'>"]}
    )
    plain = machine("one-node-options")
    root = ET.fromstring(
        domain_xml(
            GuestMachine(
                name="a<b",
                topology=topology,
                accelerator="tcg",
                emulator=plain.emulator,
                image=plain.image,
                initrd=plain.initrd,
                console=plain.console,
            )
        )
    )
    assert root.findtext("name") == "a<b"
    assert (root.findtext("os/cmdline") or "").endswith("a=<&\"'>")


def test_kvm_is_the_domains_type_and_passes_the_cpu_through() -> None:
    root = ET.fromstring(domain_xml(machine("x86_64-2node", "kvm")))
    assert root.get("type") == "kvm"
    cpu = root.find("cpu")
    assert cpu is not None
    assert cpu.get("mode") == "host-passthrough"


def test_the_guest_cannot_reach_out_and_only_loopback_reaches_it() -> None:
    root = ET.fromstring(domain_xml(machine("x86_64-2node")))
    arguments = [each.get("value") or "" for each in root.iter(f"{{{QEMU_NS}}}arg")]
    network = arguments[arguments.index("-netdev") + 1]
    assert "restrict=on" in network
    assert "hostfwd=tcp:127.0.0.1:0-:22" in network
    assert not list(root.iter("filesystem"))
    assert not list(root.iter("interface"))


def test_command_line_ends_a_panicking_guest_and_reserves_hugepages_in_order_of_size() -> None:
    topology = Topology.model_validate(
        {"name": "x", "arch": "x86_64", "page_size": "4K", "memory": "4G", "hugepages": {"1G": 1, "2M": 8}}
    )
    words = command_line(topology)
    assert "panic=-1" in words
    assert [word for word in words if "huge" in word] == [
        f"hugepagesz={2 << 20}",
        "hugepages=8",
        f"hugepagesz={1 << 30}",
        "hugepages=1",
    ]


@pytest.mark.parametrize(
    ("own", "end"),
    [
        ("quiet", ["quiet", "loglevel=7"]),
        ("loglevel=3 foo", ["loglevel=3", "foo", "loglevel=7"]),
        ("quiet -- init", ["quiet", "loglevel=7", "--", "init"]),
        ("loglevel=8 quietly", ["loglevel=8", "quietly"]),
    ],
)
def test_arguments_that_hide_warnings_are_overridden(own: str, end: list[str]) -> None:
    topology = Topology.model_validate(
        {"name": "x", "arch": "x86_64", "page_size": "4K", "memory": "1G", "cmdline": own.split()}
    )
    words = list(command_line(topology))
    assert words[-len(end) :] == end
    assert words.count("loglevel=7") == end.count("loglevel=7")


@pytest.mark.parametrize(
    ("own", "early"),
    [
        ([], ["earlycon=uart8250,io,0x3f8"]),
        (["foo", "earlyconfused"], ["earlycon=uart8250,io,0x3f8", "earlyconfused"]),
        (["earlycon=uart8250,io,0x2f8"], ["earlycon=uart8250,io,0x2f8"]),
        (["foo earlyprintk"], ["earlyprintk"]),
    ],
)
def test_messages_are_shown_from_the_first_one_on(own: list[str], early: list[str]) -> None:
    topology = Topology.model_validate(
        {"name": "x", "arch": "x86_64", "page_size": "4K", "memory": "1G", "cmdline": own}
    )
    assert [word for word in command_line(topology) if word.startswith("early")] == early


def test_hugepages_of_nodes_are_reserved_on_them() -> None:
    words = command_line(machine("cpu-only-node").topology)
    assert words[words.index(f"hugepagesz={2 << 20}") + 1] == "hugepages=0:4"
    assert {"transparent_hugepage=never", "pagelab.shmem_thp=within_size"} <= set(words)


def test_every_link_is_stated_once_and_those_back_go_past_libvirt() -> None:
    """libvirt 9.0 refuses A to B beside B to A."""
    root = ET.fromstring(domain_xml(machine("hmat")))
    stated = {
        (each.get("type"), each.tag, int(each.get("initiator") or -1), int(each.get("target") or -1))
        for kind in ("latency", "bandwidth")
        for each in root.iter(kind)
    }
    assert len(stated) == 4 * 5
    assert (
        not {(access, kind, target, initiator) for access, kind, initiator, target in stated if initiator != target}
        & stated
    )
    past = [
        each.get("value") or "" for each in root.iter(f"{{{QEMU_NS}}}arg") if "hmat-lb" in (each.get("value") or "")
    ]
    assert len(past) == 4
    assert all("initiator=1,target=0" in each for each in past)
    assert {link.value for link in links(machine("hmat").topology)} >= {90, 22, 201, 41}


@pytest.mark.parametrize(
    ("nodes", "packaged"),
    [
        (["0-1", "2-3"], (2, 2)),
        (["0", "1", "2", "3"], (4, 1)),
        (["0-3", ""], (1, 4)),
        (["0-2", "3"], (4, 1)),
    ],
)
def test_a_node_is_a_socket(nodes: list[str], packaged: tuple[int, int]) -> None:
    cells = [{"cpus": cpus, "memory": "256M"} for cpus in nodes]
    topology = Topology.model_validate({"name": "x", "arch": "x86_64", "page_size": "4K", "vcpus": 4, "numa": cells})
    assert sockets_and_cores(topology) == packaged


@pytest.mark.parametrize(("version", "off"), [("7.2.22 (Debian 1:7.2+dfsg-7)", True), ("10.0.13", False), ("", True)])
def test_a_feature_that_an_emulator_gets_wrong_is_off_in_the_versions_that_do(version: str, off: bool) -> None:
    wanted = replace(machine("s390x-4k"), emulator_version=version)
    features = [each.get("name") for each in ET.fromstring(domain_xml(wanted)).iter("feature")]
    assert ("vx" in features) is off
    command = qemu_command(wanted)
    assert ("vx=off" in command[command.index("-cpu") + 1]) is off


def test_what_no_version_is_known_to_have_mended_is_avoided_with_all() -> None:
    for version in ("7.2.22", "10.0.13"):
        wanted = replace(machine("riscv64-2node"), emulator_version=version)
        arguments = [each.get("value") for each in ET.fromstring(domain_xml(wanted)).iter(f"{{{QEMU_NS}}}arg")]
        assert "aia=aplic" in arguments
        assert "aia=aplic" in qemu_command(wanted)


@pytest.mark.parametrize(
    ("changed", "own"),
    [({}, True), ({"accelerator": "kvm"}, False), ({"cpu": "pentium3"}, False), ({"cpu": "max"}, False)],
)
def test_what_changes_an_architectures_cpu_model_leaves_others_alone(changed: dict[str, str], own: bool) -> None:
    wanted = machine("i386-4k")
    wanted = replace(wanted, accelerator=changed.get("accelerator", wanted.accelerator))
    if cpu := changed.get("cpu"):
        wanted = replace(wanted, topology=wanted.topology.model_copy(update={"cpu": cpu}))
    arguments = [each.get("value") for each in ET.fromstring(domain_xml(wanted)).iter(f"{{{QEMU_NS}}}arg")]
    assert ("max-i386-cpu.family=15" in arguments) is own
    assert ("max-i386-cpu.family=15" in qemu_command(wanted)) is own
