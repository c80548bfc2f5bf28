# SPDX-License-Identifier: GPL-2.0-or-later
"""Verbs for one guest by hand."""

from __future__ import annotations

from collections.abc import Sequence

import click

from lab.core.errors import LabError, UsageError
from lab.verbs.common import Wanted, on_guest, one_guest, say_error

EXIT_LAB_FAILED = 125
"""`lab exec`: the lab's own failure, apart from the program's status (as env(1) and timeout(1) have it)."""


@click.command("exec", context_settings={"ignore_unknown_options": True})
@on_guest
@click.argument("program")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.option("--timeout", type=click.FloatRange(min=0.1), default=60.0, help="Seconds on real hardware [60].")
def exec_(
    wanted: Wanted,
    program: str,
    args: Sequence[str],
    timeout: float,
) -> int:
    """Push a program into a guest, run it there, and exit with its status (125: the lab itself failed).

    A path of a file here is pushed, a C file (it may include lab.h) compiled for the guest first; anything else is a
    command of the guest.

    \b
    lab exec -t arm64-64k-2node -k baseline -- ./prog args
    lab exec -t x86_64-4k-2node -k expand-fault -- cat /proc/cmdline
    """
    from lab.workflows import one_guest as oneshot

    try:
        with one_guest(wanted) as (factory, ready):
            return oneshot.execute(factory, ready, program, args, timeout_s=timeout)
    except UsageError:
        raise
    except LabError as error:
        say_error(error)
        return EXIT_LAB_FAILED


@click.command()
@on_guest
def shell(wanted: Wanted) -> int:
    """An interactive shell in a fresh guest; `exit` ends both.

    \b
    lab shell -t arm64-64k-2node -k expand-fault
    """
    from lab.workflows import one_guest as oneshot

    with one_guest(wanted) as (factory, ready):
        return oneshot.shell(factory, ready)


@click.command("console")
@on_guest
def console_(wanted: Wanted) -> int:
    """A guest whose console is your terminal, from the kernel's first word, with a shell on it; Ctrl-A X ends it.

    It runs in plain QEMU, without libvirt and SSH: what hangs them does not hang this. The scenarios' programs are in
    /lab.

    \b
    lab console -t arm64-64k-2node -k expand-fault
    """
    from lab.workflows import debug

    with one_guest(wanted) as (factory, ready):
        return debug.console(factory, ready)


@click.command("gdb")
@on_guest
@click.option("--run", "beside", default="", metavar="CMD", help="A shell command for the guest, while gdb has it.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- GDB ARGS...]")
def gdb_(wanted: Wanted, beside: str, arguments: Sequence[str]) -> int:
    """gdb on the kernel of a fresh guest, which stands still while gdb has it.

    Functions and variables have their names, from System.map. For types, lines and local variables build the kernel
    with debug information: a FILE.config with CONFIG_DEBUG_INFO_DWARF_TOOLCHAIN_DEFAULT=y keeps its vmlinux.

    The scenarios' programs are in /lab; what --run names begins when gdb lets the guest go on.

    \b
    lab gdb -t x86_64-4k -k baseline
    lab gdb -t arm64-64k -k baseline --run '/lab/expand a01_grow_touch' -- -ex 'hbreak shmem_fault' -ex continue -ex bt
    lab gdb -t x86_64-4k -k baseline --config ./debug-info.config
    """
    from lab.workflows import debug

    with one_guest(wanted) as (factory, ready):
        return debug.gdb(factory, ready, arguments, beside=beside)
