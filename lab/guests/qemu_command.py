# SPDX-License-Identifier: GPL-2.0-or-later
"""Translates a machine to a plain QEMU command line, for users and benchmarks that do not need libvirt. Pure."""

from __future__ import annotations

import shlex
from pathlib import Path

from lab.core.sizes import MIB
from lab.guests.domain import (
    GuestMachine,
    clock,
    command_line,
    disk,
    fixed,
    links,
    machine_type,
    network,
    numa,
    processors,
)
from lab.specs.model import Topology

CONSOLES = {
    "serial": ("-serial", "stdio"),
    "sclplm": ("-chardev", "stdio,id=console", "-device", "sclplmconsole,chardev=console"),
}
"""QEMU's arguments by libvirt's name of a console, connected to the terminal."""
INTERACTIVE = {
    "serial": ("-serial", "mon:stdio"),
    "sclplm": (
        *("-chardev", "stdio,id=console,mux=on,signal=off", "-mon", "chardev=console"),
        *("-device", "sclplmconsole,chardev=console"),
    ),
}
"""The same for interactive use: Ctrl-C goes to the guest, Ctrl-A X ends QEMU."""


def qemu_command(machine: GuestMachine, *arguments: str, interactive: bool = False) -> tuple[str, ...]:
    """Return QEMU's command line for the same machine, kernel, initrd and kernel arguments; console on stdout.

    `arguments` are additional kernel arguments.
    """
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
            *(INTERACTIVE if interactive else CONSOLES)[topology.architecture.console_target],
        ),
        *("-kernel", str(machine.image), "-initrd", str(machine.initrd)),
        *("-append", " ".join((*command_line(topology), *arguments))),
        *network(topology),
        *disk(machine),
        *fixed(machine),
    )


def _machine(topology: Topology) -> str:
    """Return the value of -M: QEMU's machine and its properties."""
    hmat = ",hmat=on" if topology.hmat else ""
    backend = ",memory-backend=ram0" if topology.sparse and not topology.numa else ""
    return f"{machine_type(topology)}{hmat}{backend}"


def _memory(topology: Topology) -> list[str]:
    """Return QEMU's arguments for a memory backend per node; empty if the machine allocates its memory itself."""
    if not topology.numa and not topology.sparse:
        return []
    kind = "memory-backend-memfd,share=on" if topology.sparse else "memory-backend-ram"
    sizes = [(node, size) for node, size in enumerate(topology.node_memory) if size]
    return [word for node, size in sizes for word in ("-object", f"{kind},id=ram{node},size={size // MIB}M")]


def bundle_script(machine: GuestMachine, init: str, *, seconds: float, tested: bool) -> str:
    """Return reproduce.sh of a bundle, whose guest starts `init`: it runs the bundle's test, with `--shell` a shell.

    Without a test (`tested` false) it always starts a shell. The guest's output goes to the terminal and to the file
    `output`, in which every line of the file `expected` is searched as a pattern. A guest that has not finished after
    `seconds` is killed if the host has timeout(1).
    """
    words = [shlex.quote(word) for word in qemu_command(machine, f"rdinit=/{init}")]
    append = words.index("-append") + 1
    words[append] = f'{words[append]}"$arguments"'
    qemu = shlex.quote(Path(machine.emulator).name)
    return f"""#!/bin/sh
# Boots the guest of this bundle with plain QEMU; see README.
#   sh reproduce.sh            runs its test. Exit status 0: what was recorded came again; 1: not; 2: no test
#   sh reproduce.sh --shell    a shell in the guest instead
cd "$(dirname "$0")" || exit 2
arguments=
shell={"" if tested else "yes"}
case ${{1-}} in
'') ;;
--shell) shell=yes ;;
*) sed -n 's/^# //p' "$0"; exit 2 ;;
esac
command -v {qemu} > /dev/null || {{ echo "reproduce.sh: no {qemu}: install QEMU for this machine" >&2; exit 2; }}
[ -z "$shell" ] || arguments=' pagelab.shell'
limit=
[ -n "$shell" ] || ! command -v timeout > /dev/null || limit='timeout {seconds:.0f}'
boot() {{
	$limit {" ".join(words)}
}}
if [ -n "$shell" ]; then
	boot
	exit
fi
boot < /dev/null | tee output
tr -d '\\r' < output > output.txt
grep -q '^pagelab: ready' output.txt || {{ echo "reproduce.sh: the guest was never ready" >&2; exit 2; }}
status=0
while read -r line; do
	grep -Eq -- "$line" output.txt && continue
	echo "reproduce.sh: did not come again: $line"
	status=1
done < expected
[ $status != 0 ] || echo "reproduce.sh: reproduced: all that was recorded came again"
exit $status
"""


def script(machine: GuestMachine) -> str:
    """Return reproduce.sh of a cell, which boots its guest with plain QEMU; KERNEL and INITRD can name other files."""
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
