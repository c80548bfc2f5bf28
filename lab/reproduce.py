# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine as a plain QEMU command line, for people (and benchmarks) that want no libvirt in between. Pure."""

from __future__ import annotations

import shlex
from pathlib import Path

from lab.domain import Machine, command_line, cpu_model, network, sockets_and_cores
from lab.model import Topology

MIB = 1 << 20


def qemu_command(machine: Machine) -> tuple[str, ...]:
    """The emulator's arguments: the same machine, kernel, initrd and kernel arguments; console on stdout."""
    topology = machine.topology
    record = topology.record
    sockets, cores = sockets_and_cores(topology)
    return (
        str(machine.emulator),
        *("-M", topology.machine or record.machine, "-accel", machine.accelerator, "-cpu", cpu_model(machine)),
        *(
            "-smp",
            f"{topology.vcpus},sockets={sockets},cores={cores},threads=1",
            "-m",
            f"{topology.total_memory // MIB}M",
        ),
        *_numa(topology),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"),
        *("-kernel", str(machine.image), "-initrd", str(machine.initrd)),
        *("-append", " ".join(command_line(topology))),
        *network(topology),
        *topology.qemu_args,
    )


def _numa(topology: Topology) -> list[str]:
    """-numa for every node: its memory, its CPUs, its distances."""
    arguments: list[str] = []
    for node, cell in enumerate(topology.numa):
        arguments += ["-object", f"memory-backend-ram,id=ram{node},size={cell.memory // MIB}M"]
        cpus = "".join(f",cpus={cpu}" for cpu in cell.cpus)
        arguments += ["-numa", f"node,nodeid={node},memdev=ram{node}{cpus}"]
    for node, row in enumerate(topology.distances):
        arguments += [
            word
            for other, value in enumerate(row)
            if other != node
            for word in ("-numa", f"dist,src={node},dst={other},val={value}")
        ]
    return arguments


def script(machine: Machine) -> str:
    """reproduce.sh of a cell: boots its guest with plain QEMU; KERNEL and INITRD may be set to other files."""
    command = qemu_command(machine)
    files = {str(machine.image): '"$KERNEL"', str(machine.initrd): '"$INITRD"'}
    words = [files.get(word) or shlex.quote(word) for word in (Path(command[0]).name, *command[1:])]
    return f"""#!/bin/sh
# Boots this cell's guest with plain QEMU, console on the terminal; Ctrl-C ends it.
set -eu
KERNEL=${{KERNEL:-{shlex.quote(str(machine.image))}}}
INITRD=${{INITRD:-{shlex.quote(str(machine.initrd))}}}
exec {" ".join(words)}
"""
