# SPDX-License-Identifier: GPL-2.0-or-later
"""One guest for one purpose: a program pushed and run in it (`lab exec`), or a shell (`lab shell`)."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from lab.arch import Arch
from lab.build import programs, toolchain
from lab.build.suites.built import interpreter
from lab.core import paths, proc
from lab.core.cache import Cache
from lab.core.deadline import Deadline
from lab.core.errors import GuestLost, InfraError, UsageError
from lab.core.outcome import End
from lab.formats import elf
from lab.guests.factory import BootableCell, GuestFactory
from lab.guests.guest import DIRECTORY, Guest

MAX_OUTPUT = 1 << 30


def check_program(word: str, arch: Arch, cache: Cache) -> None:
    """Raise UsageError if a file on this host cannot run in a guest of the architecture; boots and builds nothing.

    A word that is no file here is a command of the guest, and a C file is compiled: neither is looked into.
    """
    path = Path(word)
    if not path.is_file() or path.suffix == ".c":
        return
    if wanted := interpreter(path):
        if wanted not in guest_commands():
            raise UsageError(
                f"{path} is a script for {wanted}, which the guest does not have", hint="it has sh and awk"
            )
        return
    content = path.read_bytes()
    machine = elf.machine(content)
    if machine is None:
        return
    if machine != elf.machine(_object_file(arch, cache)):
        raise UsageError(f"{path} is a program for another processor ({_described(machine)}), not for {arch.name}")
    try:
        dynamic = elf.wants_loader(content)
    except ValueError as error:
        raise UsageError(f"{path} cannot be run: {error}") from None
    if dynamic:
        hint = "link it with -static, or pass its .c file"
        raise UsageError(f"{path} is linked dynamically, and the guest has no libraries", hint=hint)


def guest_commands() -> frozenset[str]:
    """Return the names of the guest's commands, the applets that busybox is configured with."""
    lines = (paths.images() / "rootfs" / "busybox.config").read_text("utf-8").splitlines()
    switched_on = [line.removeprefix("CONFIG_").removesuffix("=y") for line in lines if line.endswith("=y")]
    return frozenset({"sh", *map(str.lower, switched_on)})


def _object_file(arch: Arch, cache: Cache) -> bytes:
    """Compile nothing for an architecture: an object file has the architecture's ELF header."""
    compiler = toolchain.find(arch).cc
    with cache.scratch("object") as scratch:
        (scratch / "empty.c").write_text("")
        proc.run([compiler, "-c", "-o", "empty.o", "empty.c"], cwd=scratch, timeout_s=60)
        return (scratch / "empty.o").read_bytes()


def _described(machine: tuple[int, int, int]) -> str:
    width, order, number = machine
    bits = {1: "32 bit", 2: "64 bit"}[width]
    byteorder = {1: "little-endian", 2: "big-endian"}[order]
    return f"{bits}, {byteorder}, ELF machine {number}"


def execute(factory: GuestFactory, ready: BootableCell, program: str, args: Sequence[str], *, timeout_s: float) -> int:
    """Run a program in a fresh guest, pass on its output, and return its exit status (128+N: killed by signal N).

    A file on this host is copied to the guest, a C file compiled for it first; anything else is a command of the guest.
    GuestLost if the program did not exit or get killed by a signal.
    """
    local = Path(program)
    if local.suffix == ".c" and local.is_file():
        local = programs.compile_one(ready.topology.architecture, local, factory.workshop.cache)
    with one_guest(factory, ready) as guest:
        if local.is_file():
            guest.push({local.name: local})
            program = f"{DIRECTORY}/{local.name}"
        ended = guest.run(
            shlex.join([program, *args]),
            deadline=Deadline.after(timeout_s, program, scale=guest.accelerator.slowdown),
            limit=MAX_OUTPUT,
            keep=False,
            on_stdout=lambda data: _pass_on(sys.stdout, data),
            on_stderr=lambda data: _pass_on(sys.stderr, data),
        )
        if ended.end is not End.EXITED or ended.status is None:
            last = "\n".join(guest.console.text(max(0, guest.console.size() - 2000)).splitlines()[-12:])
            end = ", ".join(filter(None, (str(ended.end), ended.note)))
            raise GuestLost(f"{program}: {end}; console:\n{last}")
        return ended.status


def shell(factory: GuestFactory, ready: BootableCell) -> int:
    """Open an interactive shell in a fresh guest, and return its exit status."""
    with one_guest(factory, ready) as guest:
        return guest.connection.shell()


@contextmanager
def one_guest(factory: GuestFactory, ready: BootableCell) -> Iterator[Guest]:
    """Boot a guest and verify its hardware; it is ended when the block is left."""
    guest = ready.boot(factory.scratch / "console.log")
    try:
        mismatches = ready.verify(guest.facts())
        if mismatches:
            raise InfraError(f"the guest is not the machine asked for: {'; '.join(map(str, mismatches))}")
        yield guest
    finally:
        guest.close()


def _pass_on(stream: TextIO, data: bytes) -> None:
    stream.buffer.write(data)
    stream.buffer.flush()
