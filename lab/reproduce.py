# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine as a plain QEMU command line, for people (and benchmarks) that want no libvirt in between. Pure."""

from __future__ import annotations

import shlex
from pathlib import Path

from lab.domain import Machine, command_line, network, numa, processors

MIB = 1 << 20


def qemu_command(machine: Machine) -> tuple[str, ...]:
    """The emulator's arguments: the same machine, kernel, initrd and kernel arguments; console on stdout."""
    topology = machine.topology
    record = topology.record
    return (
        str(machine.emulator),
        *("-M", topology.machine or record.machine, "-accel", machine.accelerator, *processors(machine)),
        *("-m", f"{topology.total_memory // MIB}M"),
        *numa(topology),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"),
        *("-kernel", str(machine.image), "-initrd", str(machine.initrd)),
        *("-append", " ".join(command_line(topology))),
        *network(topology),
        *record.qemu_args,
        *topology.qemu_args,
    )


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
