# SPDX-License-Identifier: GPL-2.0-or-later
"""Verbs that boot one guest to use by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from lab.core.errors import LabError, UsageError
from lab.core.untrusted import printable
from lab.verbs.common import print_error, print_note, progress_on_stderr
from lab.verbs.options import (
    GuestChoice,
    TimeRange,
    environment,
    on_guest,
    on_guest_of_baseline,
    refuse_unknown_option,
    restored,
    root,
    sysroot,
    volumes,
)
from lab.verbs.places import open_library
from lab.verbs.running import load_of, one_guest

EXIT_LAB_FAILED = 125
"""`lab exec`: the lab itself failed; env(1) and timeout(1) use the same status, which few programs exit with."""


@click.command("exec", context_settings={"ignore_unknown_options": True})
@on_guest_of_baseline
@restored
@sysroot
@root
@volumes
@environment
@click.option(
    *("--out", "out"),
    multiple=True,
    metavar="/GUEST:HOST",
    help="Copy a directory of the guest here when the program has ended, its regular files alone; HOST must not exist; "
    "may be repeated [none].",
)
@click.argument("program", callback=refuse_unknown_option)
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--timeout",
    type=TimeRange(),
    default=60.0,
    metavar="SECONDS",
    help="End the program after this many seconds, scaled up where the machine is emulated [60].",
)
def exec_(
    choice: GuestChoice,
    sysroot: Path | None,
    root_: str | None,
    volumes: Sequence[str],
    environment: Sequence[str],
    out: Sequence[str],
    program: str,
    args: Sequence[str],
    timeout: float,
) -> int:
    """Run a program in a guest of its own; exit with its status.

    If PROGRAM is a file on this host, it is copied to the guest; a C file (it may include lab.h) is compiled for the
    guest first. Otherwise PROGRAM is a command of the guest.

    The loader and the libraries that a program is linked with, and the interpreter of a script, are brought along: from
    --sysroot, else from $LD_LIBRARY_PATH and this host's libraries for the guest's architecture. What is missing is
    reported before anything is built or booted, with the command that installs it.

    What is piped to the lab, or comes from a file, is the program's standard input.

    Exit status: the program's, 128+N if signal N ended it, 124 it did not end in time, 64 bad input, 125 the lab
    itself failed.

    \b
    lab exec -t arm64-64k -- ./prog args
    lab exec -t arm64-64k --sysroot ~/sysroots/trixie-arm64 -- ./prog --version
    lab exec -t arm64-64k --root debian:trixie+redis-server -- redis-server --version
    lab exec -t arm64-16k -k debian:linux-image-arm64-16k -v ./src:/src -- ./prog /src
    lab exec -t x86_64-4k-2node -k expand-fault -- cat /proc/cmdline
    """
    from lab.workflows import one_guest as oneshot

    try:
        topology = open_library().topology(choice.topology)
        arch = topology.architecture
        oneshot.check_out(out)
        load = load_of([program, *args], arch, root_, volumes, sysroot=sysroot, environment=environment)
        for line in oneshot.misaligned(load, topology.page_size):
            print_note(f"note: {printable(line)}")
        with one_guest(choice) as (factory, ready):
            progress = progress_on_stderr()
            return oneshot.execute(factory, ready, load, timeout_s=timeout, out=out, progress=progress)
    except (UsageError, oneshot.TimedOut):
        raise
    except LabError as error:
        print_error(error)
        return EXIT_LAB_FAILED


@click.command()
@on_guest
@restored
@root
@volumes
def shell(choice: GuestChoice, root_: str | None, volumes: Sequence[str]) -> int:
    """Open a shell in a guest of its own; `exit` ends both.

    Exit status: the shell's, 2 the lab failed, 64 bad input.

    \b
    lab shell -t arm64-64k-2node -k expand-fault
    lab shell -t x86_64-4k -k baseline --config kasan
    """
    from lab.workflows import one_guest as oneshot

    arch = open_library().topology(choice.topology).architecture
    load = load_of(["/bin/sh"], arch, root_, volumes)
    with one_guest(choice) as (factory, ready):
        return oneshot.shell(factory, ready, load, progress_on_stderr())


@click.command("console")
@on_guest
def console_(choice: GuestChoice) -> int:
    """Boot a guest with its console on this terminal.

    Ctrl-A X ends it. The console shows the kernel's messages from the first one on, then a shell. The guest runs in
    plain QEMU, without libvirt and SSH, so it can be used to debug a kernel that does not get as far as SSH. The
    scenarios' programs are in /lab.

    Exit status: QEMU's, 2 the lab failed, 64 bad input.

    \b
    lab console -t arm64-64k-2node -k expand-fault
    lab console -t x86_64-4k -k ./my-kernel.yaml
    """
    from lab.workflows import debug

    with one_guest(choice) as (factory, ready):
        return debug.console(factory, ready)


@click.command("gdb")
@on_guest
@click.option(
    *("--run", "beside"),
    default="",
    metavar="CMD",
    help="Run this shell command in the guest, from the moment gdb continues it [none].",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- GDB ARGS...]")
def gdb_(choice: GuestChoice, beside: str, arguments: Sequence[str]) -> int:
    """Debug the kernel of a guest with gdb.

    The guest is stopped when gdb starts. Function and variable names come from System.map. For types, line numbers and
    local variables, build the kernel with debug information: --config FILE.config with a line
    CONFIG_DEBUG_INFO_DWARF_TOOLCHAIN_DEFAULT=y.

    Arguments behind -- are passed to gdb. The scenarios' programs are in /lab of the guest.

    Exit status: gdb's, 2 the lab failed, 64 bad input.

    \b
    lab gdb -t x86_64-4k -k baseline
    lab gdb -t arm64-64k -k baseline --run '/lab/expand a01_grow_touch' -- -ex 'hbreak shmem_fault' -ex continue -ex bt
    lab gdb -t x86_64-4k -k baseline --config ./debug-info.config
    """
    from lab.workflows import debug

    debug.debugger(
        open_library().topology(choice.topology).architecture
    )  # only for its error, before a kernel is built
    with one_guest(choice) as (factory, ready):
        return debug.gdb(factory, ready, arguments, beside=beside)
