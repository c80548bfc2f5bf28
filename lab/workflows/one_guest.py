# SPDX-License-Identifier: GPL-2.0-or-later
"""One guest for one purpose: a program pushed and run in it (`lab exec`), or a shell (`lab shell`)."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

from lab.arch.record import Arch
from lab.build import programs, toolchain
from lab.build.roots import needed
from lab.build.roots.needed import Needs, read_regular
from lab.core import paths, proc
from lab.core.cache import Cache
from lab.core.deadline import Deadline
from lab.core.errors import GuestLost, InfraError, UsageError
from lab.core.outcome import End
from lab.formats import cpio, elf
from lab.guests.factory import BootableCell, GuestFactory
from lab.guests.guest import DIRECTORY, Guest

MAX_OUTPUT = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is run in a guest, and what is brought there for it."""

    words: tuple[str, ...]
    """The program and its arguments, as they were typed."""
    program: Path | None = None
    """The program on this host; None if it is a command of the guest."""
    needs: Needs | None = None
    """The libraries of a program, the interpreter of a script."""

    @property
    def archive(self) -> bytes:
        """The part of an initramfs with all that the program needs beside itself; empty if it needs nothing."""
        if self.needs is None:
            return b""
        nodes = []
        for guest, here in self.needs.files.items():
            if guest != self.needs.guest_path:
                nodes.append(cpio.file(guest.lstrip("/"), read_regular(here), 0o755))
        for guest, target in self.needs.links.items():
            nodes.append(cpio.symlink(guest.lstrip("/"), target))
        return cpio.archive(nodes) if nodes else b""


def workload(words: Sequence[str], arch: Arch, cache: Cache, *, sysroot: Path | None = None) -> Workload:
    """Return a command with all that a file of this host needs in a guest of the architecture; boots nothing.

    A word that is no file here is a command of the guest, and a C file is compiled: neither is looked into. UsageError
    for a program of another architecture, a damaged one, and one whose libraries or interpreter are missing here.
    """
    path = Path(words[0])
    if not path.is_file() or path.suffix == ".c":
        return Workload(words=tuple(words))
    content = read_regular(path)
    if machine := elf.machine(content):
        _check_machine(path, machine, arch, cache)
    if not content.startswith(b"#!") and (machine is None or not _is_dynamic(path, content)):
        return Workload(words=tuple(words), program=path)
    commands = {name: f"/bin/{name}" for name in guest_commands()}
    found = needed.needs(path, arch, needed.places(arch, sysroot), commands=commands)
    if found.missing:
        raise _missing_error(path, found, arch)
    return Workload(words=tuple(words), program=path, needs=found)


def _check_machine(path: Path, machine: tuple[int, int, int], arch: Arch, cache: Cache) -> None:
    if machine != elf.machine(_object_file(arch, cache)):
        raise UsageError(f"{path} is a program for another processor ({_described(machine)}), not for {arch.name}")


def _is_dynamic(path: Path, content: bytes) -> bool:
    try:
        return elf.wants_loader(content)
    except ValueError as error:
        raise UsageError(f"{path} cannot be run: {error}") from None


def _missing_error(path: Path, found: Needs, arch: Arch) -> UsageError:
    """Return the error for what a program needs and nothing has, with the command that installs it."""
    native = platform.machine() == arch.uname
    names = []
    for each in found.missing:
        wanted_by = "" if each.wanted_by == path.name else f" (for {each.wanted_by})"
        names.append(f"{each.name}{wanted_by}")
    script = not found.programs
    what = "is a script for" if script else "needs"
    hint = "the guest has sh and awk; --sysroot DIR names a directory with it"
    if not script:
        install = needed.install_hint(found.missing, arch, native=native)
        hint = f"{install}; or name a directory that has them: --sysroot DIR".removeprefix("; or ")
    return UsageError(f"{path} {what} {', '.join(names)}, not found for {arch.name}", hint=hint)


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


def execute(factory: GuestFactory, ready: BootableCell, load: Workload, *, timeout_s: float) -> int:
    """Run a program in a fresh guest, pass on its output, and return its exit status (128+N: killed by signal N).

    A file on this host is copied to the guest, a C file compiled for it first; anything else is a command of the guest.
    GuestLost if the program did not exit or get killed by a signal.
    """
    with guest_with(factory, ready, load) as (guest, words):
        ended = guest.run(
            shlex.join(words),
            deadline=Deadline.after(timeout_s, words[0], scale=guest.accelerator.slowdown),
            limit=MAX_OUTPUT,
            keep=False,
            on_stdout=lambda data: _pass_on(sys.stdout, data),
            on_stderr=lambda data: _pass_on(sys.stderr, data),
        )
        if ended.end is not End.EXITED or ended.status is None:
            last = "\n".join(guest.console.text(max(0, guest.console.size() - 2000)).splitlines()[-12:])
            end = ", ".join(filter(None, (str(ended.end), ended.note)))
            raise GuestLost(f"{words[0]}: {end}; console:\n{last}")
        return ended.status


@contextmanager
def guest_with(factory: GuestFactory, ready: BootableCell, load: Workload) -> Iterator[tuple[Guest, tuple[str, ...]]]:
    """Boot a guest that has a program with all that it needs; yields it and the command that starts the program."""
    program, words = load.program, load.words
    local = Path(words[0])
    if local.suffix == ".c" and local.is_file():
        program = programs.compile_one(ready.topology.architecture, local, factory.workshop.cache)
    if archive := load.archive:
        place = factory.scratch / f"brought-{local.name}.cpio"
        place.write_bytes(archive)
        ready = replace(ready, archives=(*ready.archives, place))
    with one_guest(factory, ready) as guest:
        if program is not None:
            guest.push({program.name: program})
            words = (f"{DIRECTORY}/{program.name}", *words[1:])
        yield guest, words


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
