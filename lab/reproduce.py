# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine as a plain QEMU command line, for people (and benchmarks) that want no libvirt in between. Pure."""

from __future__ import annotations

import shlex
from pathlib import Path

from lab.domain import Machine, clock, command_line, links, machine_type, network, numa, processors
from lab.model import Topology

MIB = 1 << 20
CONSOLES = {
    "serial": ("-serial", "stdio"),
    "sclplm": ("-chardev", "stdio,id=console", "-device", "sclplmconsole,chardev=console"),
}
"""What QEMU calls libvirt's consoles, with the terminal behind them."""


def qemu_command(machine: Machine) -> tuple[str, ...]:
    """The emulator's arguments: the same machine, kernel, initrd and kernel arguments; console on stdout."""
    topology = machine.topology
    return (
        str(machine.emulator),
        *("-M", _machine(topology), "-accel", machine.accelerator, *processors(machine)),
        *clock(topology),
        *("-m", f"{topology.total_memory // MIB}M"),
        *_memory(topology),
        *numa(topology),
        *(word for link in links(topology) for word in link.qemu),
        *(
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
            *CONSOLES[topology.record.console_target],
        ),
        *("-kernel", str(machine.image), "-initrd", str(machine.initrd)),
        *("-append", " ".join(command_line(topology))),
        *network(topology),
        *topology.record.qemu_args,
        *topology.qemu_args,
    )


def _machine(topology: Topology) -> str:
    """QEMU's machine and its properties."""
    hmat = ",hmat=on" if topology.hmat else ""
    backend = ",memory-backend=ram0" if topology.sparse and not topology.numa else ""
    return f"{machine_type(topology)}{hmat}{backend}"


def _memory(topology: Topology) -> list[str]:
    """A backend for every node's memory, where the machine does not make its own."""
    if not topology.numa and not topology.sparse:
        return []
    kind = "memory-backend-memfd,share=on" if topology.sparse else "memory-backend-ram"
    sizes = [(node, size) for node, size in enumerate(topology.node_memory) if size]
    return [word for node, size in sizes for word in ("-object", f"{kind},id=ram{node},size={size // MIB}M")]


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
