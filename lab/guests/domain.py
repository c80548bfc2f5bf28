# SPDX-License-Identifier: GPL-2.0-or-later
"""Translates a topology to libvirt domain XML. Pure: no libvirt, no disk; the XML is built as a tree, not as text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from lab.core.sizes import KIB, MIB
from lab.specs.model import Topology

QEMU_NS = "http://libvirt.org/schemas/domain/qemu/1.0"
NETDEV = "lab0"
ROOT_SERIAL = "pagelab-root"
"""The serial number by which a guest knows the disk with its root."""
_HIDES = re.compile(r"quiet|loglevel=[0-6]")
"""Kernel arguments that keep warnings, lockdep's among them, from the console, by which the kernel is judged."""
_EARLY_CONSOLE = re.compile(r"(?:earlycon|earlyprintk)(?:=|$)")
"""Kernel arguments that choose where messages from before the console's driver are printed."""
DOMAIN_TYPES = {"kvm": "kvm", "tcg": "qemu"}
"""Accelerator -> libvirt's type of the domain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestMachine:
    """A guest to start: the requested machine and the files that it boots from."""

    name: str
    topology: Topology
    accelerator: str
    """`tcg` or `kvm`."""
    emulator: Path
    emulator_version: str = ""
    """The version of that QEMU; empty if it is not known, and then the machine avoids all limits that are."""
    image: Path
    initrd: Path
    console: Path
    """The file to which QEMU appends the console's output."""
    disk: Path | None = None
    """The image of the guest's root, which is read only."""


def command_line(topology: Topology) -> tuple[str, ...]:
    """Return the kernel's arguments for a machine, in order.

    A panic reboots the guest at once and a reboot ends the emulator, so that a dead guest is noticed without waiting.
    Where the topology's own arguments hide warnings from the console, a last `loglevel=` shows them; with an early
    console of their own, the architecture's is left out.
    """
    record = topology.architecture
    parts = [f"console={record.console}", "panic=-1", "random.trust_cpu=on", *record.cmdline, *topology.mode.cmdline]
    if record.early_console and not any(map(_EARLY_CONSOLE.match, " ".join(topology.cmdline).split())):
        parts.insert(1, record.early_console)
    for size in topology.reserved_hugepages:
        parts.append(f"hugepagesz={size} hugepages={_reservation(topology, size)}")
    if topology.thp:
        parts.append(f"transparent_hugepage={topology.thp}")
    if topology.shmem_thp:
        # 6.12 has no argument for it (6.14 has): the guest's init sets it. The kernel ignores arguments with a dot.
        parts.append(f"pagelab.shmem_thp={topology.shmem_thp}")
    words = " ".join((*parts, *topology.cmdline)).split()
    if any(map(_HIDES.fullmatch, words)):
        end = words.index("--") if "--" in words else len(words)  # what follows is init's
        words.insert(end, "loglevel=7")
    return tuple(words)


def _reservation(topology: Topology, size: int) -> str:
    """Return the value of `hugepages=` for one size: a number, or a number per node."""
    if size in topology.hugepages:
        return str(topology.hugepages[size])
    numbers = []
    for node, cell in enumerate(topology.numa):
        if size in cell.hugepages:
            numbers.append(f"{node}:{cell.hugepages[size]}")
    return ",".join(numbers)


def machine_type(topology: Topology) -> str:
    """Return QEMU's machine: the topology's if it names one, else the architecture's."""
    record = topology.architecture
    if topology.machine:
        return topology.machine
    if topology.cpu_only:
        return record.cpu_only_machine
    return record.machine


def sockets_and_cores(topology: Topology) -> tuple[int, int]:
    """Return the number of sockets and of cores per socket: each node with CPUs is one socket.

    If a socket contained CPUs of two nodes, x86 guests would warn at boot that CPUs which share a cache lie on
    different nodes (topology_sane, 6.12). If nodes have different numbers of CPUs, every CPU is a socket.
    """
    counts = [len(cell.cpus) for cell in topology.numa if cell.cpus]
    if len(set(counts)) == 1:
        return len(counts), counts[0]
    return topology.vcpus, 1


def cpu_model(machine: GuestMachine) -> str:
    """Return QEMU's CPU model: the topology's if it names one, else `host` under KVM, the architecture's under TCG."""
    if machine.topology.cpu:
        return machine.topology.cpu
    if machine.accelerator == "kvm":
        return "host"
    return machine.topology.architecture.cpu


def has_own_cpu(machine: GuestMachine) -> bool:
    """Return whether the CPU model is the one that the architecture's record names."""
    return not machine.topology.cpu and machine.accelerator != "kvm"


def cpu_without(machine: GuestMachine) -> tuple[str, ...]:
    """Return the CPU features to switch off with this QEMU; empty unless the CPU model is the architecture's own."""
    return machine.topology.architecture.cpu_without(machine.emulator_version) if has_own_cpu(machine) else ()


def fixed(machine: GuestMachine) -> tuple[str, ...]:
    """Return QEMU's arguments that the architecture's record has for this machine, and those of the topology."""
    record = machine.topology.architecture
    own = record.cpu_args if has_own_cpu(machine) else ()
    return (*own, *record.arguments(machine.emulator_version), *machine.topology.qemu_args)


def network(topology: Topology) -> tuple[str, ...]:
    """Return QEMU's arguments for an isolated network with SSH forwarded from a port of QEMU's choice on 127.0.0.1."""
    record = topology.architecture
    device = ",".join(filter(None, (record.net_device, f"netdev={NETDEV}", record.net_options)))
    return ("-netdev", f"user,id={NETDEV},restrict=on,hostfwd=tcp:127.0.0.1:0-:22", "-device", device)


def disk(machine: GuestMachine) -> tuple[str, ...]:
    """Return QEMU's arguments for the disk with the guest's root, which is read only; empty without one."""
    if machine.disk is None:
        return ()
    file = str(machine.disk).replace(",", ",,")
    drive = f"if=none,id=root0,format=raw,readonly=on,file={file}"
    device = f"{machine.topology.architecture.disk_device},drive=root0,serial={ROOT_SERIAL}"
    return ("-drive", drive, "-device", device)


def processors(machine: GuestMachine) -> tuple[str, ...]:
    """Return QEMU's arguments for the CPUs: model, number, sockets and cores."""
    sockets, cores = sockets_and_cores(machine.topology)
    packages = f"{machine.topology.vcpus},sockets={sockets},cores={cores},threads=1"
    model = ",".join((cpu_model(machine), *(f"{name}=off" for name in cpu_without(machine))))
    return ("-cpu", model, "-smp", packages)


def clock(topology: Topology) -> tuple[str, ...]:
    """Return QEMU's arguments for a clock that advances 2^0 nanoseconds per instruction; empty if none was requested.

    While the guest is idle its clock follows the host's, so that its waits for the lab do not time out too early; with
    `sleep=off` the clock would jump to the end of such a wait.
    """
    if not topology.counted:
        return ()
    return ("-icount", "shift=0")


def numa(topology: Topology, *, backends: bool = True) -> tuple[str, ...]:
    """Return QEMU's -numa arguments for every node: its memory (a backend called ramN), CPUs and distances.

    Without `backends` a node's memory is a part of the machine's. QEMU requires this form if -machine names a memory
    backend, as libvirt's command line does.
    """
    arguments: list[str] = []
    for node, cell in enumerate(topology.numa):
        size, words = cell.memory or 0, ["node", f"nodeid={node}"]
        if not backends:
            words.append(f"mem={size // MIB}M")
        elif size:
            words.append(f"memdev=ram{node}")
        for cpu in cell.cpus:
            words.append(f"cpus={cpu}")
        if topology.hmat:
            words.append(f"initiator={topology.nearest_initiator(node)}")
        arguments += ["-numa", ",".join(words)]
    for node, row in enumerate(topology.distances):
        for other, distance in enumerate(row):
            if other != node:
                arguments += ["-numa", f"dist,src={node},dst={other},val={distance}"]
    return tuple(arguments)


def domain_xml(machine: GuestMachine) -> str:
    """Return the domain's XML, indented, ready for virDomainCreateXML."""
    ET.register_namespace("qemu", QEMU_NS)
    topology = machine.topology
    root = ET.Element("domain", type=DOMAIN_TYPES[machine.accelerator])
    _text(root, "name", machine.name)
    _text(root, "memory", str(topology.total_memory // KIB), unit="KiB")
    if topology.sparse:
        _memory_backing(root)
    _text(root, "vcpu", str(topology.vcpus))
    _os(root, machine)
    _features(root, topology)
    if topology.architecture.libvirt_cpus:
        _cpu(root, machine)
    ET.SubElement(root, "clock", offset="utc")
    for event in ("on_poweroff", "on_reboot", "on_crash"):
        _text(root, event, "destroy")
    _devices(root, machine)
    _qemu_arguments(root, machine)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def _text(parent: ET.Element, tag: str, text: str, **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, tag, attributes)
    element.text = text
    return element


def _memory_backing(root: ET.Element) -> None:
    """Back the guest's memory with a shared memfd: the host then allocates only touched pages, in any overcommit mode.

    The host would refuse anonymous memory larger than its own (overcommit_memory 0, the default). `reserve=off` would
    allow it, but libvirt 9.0 cannot express that option.
    """
    backing = ET.SubElement(root, "memoryBacking")
    ET.SubElement(backing, "source", type="memfd")
    ET.SubElement(backing, "access", mode="shared")


def _os(root: ET.Element, machine: GuestMachine) -> None:
    record = machine.topology.architecture
    os = ET.SubElement(root, "os")
    _text(os, "type", "hvm", arch=record.libvirt_arch, machine=machine_type(machine.topology))
    _text(os, "kernel", str(machine.image))
    _text(os, "initrd", str(machine.initrd))
    _text(os, "cmdline", " ".join(command_line(machine.topology)))


def _features(root: ET.Element, topology: Topology) -> None:
    if topology.architecture.features:
        features = ET.SubElement(root, "features")
        for name in topology.architecture.features:
            ET.SubElement(features, name)


def _cpu(root: ET.Element, machine: GuestMachine) -> None:
    topology = machine.topology
    model = cpu_model(machine)
    if model == "host":
        cpu = ET.SubElement(root, "cpu", mode="host-passthrough")
    elif model == "max":
        cpu = ET.SubElement(root, "cpu", mode="maximum")
    else:
        cpu = ET.SubElement(root, "cpu", mode="custom", match="exact", check="none")
        _text(cpu, "model", model, fallback="forbid")
    sockets, cores = sockets_and_cores(topology)
    ET.SubElement(cpu, "topology", sockets=str(sockets), cores=str(cores), threads="1")
    for name in cpu_without(machine):
        ET.SubElement(cpu, "feature", policy="disable", name=name)
    if topology.numa:
        _numa(cpu, topology)


def _numa(cpu: ET.Element, topology: Topology) -> None:
    numa = ET.SubElement(cpu, "numa")
    for node, cell in enumerate(topology.numa):
        attributes = {"id": str(node), "memory": str((cell.memory or 0) // KIB), "unit": "KiB"}
        if cell.cpus:
            attributes["cpus"] = ",".join(str(number) for number in cell.cpus)
        element = ET.SubElement(numa, "cell", attributes)
        if topology.distances:
            distances = ET.SubElement(element, "distances")
            for other, value in enumerate(topology.distances[node]):
                ET.SubElement(distances, "sibling", id=str(other), value=str(value))
    if topology.hmat:
        interconnects = ET.SubElement(numa, "interconnects")
        for link in links(topology):
            if not link.backwards:
                _interconnect(interconnects, link)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One entry of the HMAT: how fast a node with CPUs accesses a node with memory."""

    initiator: int
    target: int
    access: str
    """`read` or `write`."""
    quantity: str
    """`latency` (nanoseconds) or `bandwidth` (MB/s)."""
    value: int
    backwards: bool
    """Whether an earlier link of this kind connects the same two nodes in the opposite direction."""

    @property
    def qemu(self) -> tuple[str, str]:
        """QEMU's arguments for this entry."""
        value = str(self.value)
        if self.quantity == "bandwidth":
            value += "M"
        return (
            "-numa",
            f"hmat-lb,initiator={self.initiator},target={self.target},hierarchy=memory,"
            f"data-type={self.access}-{self.quantity},{self.quantity}={value}",
        )


def links(topology: Topology) -> Iterator[Link]:
    """Yield every entry of a topology's HMAT; nothing if it has none."""
    if not topology.hmat:
        return
    for name, matrix in topology.hmat.matrices.items():
        access, quantity = name.split("_")
        for initiator, row in zip(topology.initiators, matrix, strict=True):
            for target, value in enumerate(row):
                backwards = target < initiator and target in topology.initiators
                yield Link(
                    initiator=initiator,
                    target=target,
                    access=access,
                    quantity=quantity,
                    value=value,
                    backwards=backwards,
                )


def _interconnect(parent: ET.Element, link: Link) -> None:
    attributes = {
        "initiator": str(link.initiator),
        "target": str(link.target),
        "type": link.access,
        "value": str(link.value),
    }
    if link.quantity == "bandwidth":
        attributes["unit"] = "MiB"
    ET.SubElement(parent, link.quantity, attributes)


def _devices(root: ET.Element, machine: GuestMachine) -> None:
    devices = ET.SubElement(root, "devices")
    _text(devices, "emulator", str(machine.emulator))
    ET.SubElement(devices, "controller", type="usb", model="none")
    target = machine.topology.architecture.console_target
    kind, where = "console", {"type": target, "port": "0"}
    if target == "serial":
        kind, where = "serial", {"port": "0"}
    console = ET.SubElement(devices, kind, type="file")
    ET.SubElement(console, "source", path=str(machine.console), append="on")
    ET.SubElement(console, "target", where)
    ET.SubElement(devices, "memballoon", model="none")


def _qemu_arguments(root: ET.Element, machine: GuestMachine) -> None:
    """Add the QEMU arguments for what libvirt cannot express.

    Network: only QEMU's own option lets QEMU choose a free port on 127.0.0.1. HMAT links from B to A: libvirt 9.0
    takes them for duplicates of the link from A to B ("Link already defined"), QEMU does not.
    """
    topology = machine.topology
    command = ET.SubElement(root, f"{{{QEMU_NS}}}commandline")
    arguments: list[str] = []
    if not topology.architecture.libvirt_cpus:
        arguments += (*processors(machine), *numa(topology, backends=False))
    arguments += (*clock(topology), *network(topology), *disk(machine))
    for link in links(topology):
        if link.backwards:
            arguments += link.qemu
    arguments += fixed(machine)
    for argument in arguments:
        ET.SubElement(command, f"{{{QEMU_NS}}}arg", value=argument)
