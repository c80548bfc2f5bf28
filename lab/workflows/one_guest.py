# SPDX-License-Identifier: GPL-2.0-or-later
"""One guest for one purpose: a program pushed and run in it (`lab exec`), or a shell (`lab shell`)."""

from __future__ import annotations

import os
import platform
import shlex
import stat
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from lab.arch.record import Arch
from lab.build import programs
from lab.core import paths
from lab.core.deadline import Deadline
from lab.core.errors import BootError, GuestLost, InfraError, LabError, UsageError
from lab.core.outcome import BOOT_ATTEMPTS, End
from lab.core.progress import Progress, silent
from lab.evidence.console import ConsoleLog
from lab.formats import cpio, elf, elf_program, file_kinds
from lab.guests import guest_root
from lab.guests.factory import BootableCell, GuestFactory
from lab.guests.guest import DIRECTORY, Guest
from lab.specs.arches import of_program
from lab.specs.model import format_size

if TYPE_CHECKING:
    from lab.build.roots.needed import Needs
    from lab.build.roots.root import BuiltRoot, Copied

MAX_OUTPUT = 1 << 30
STDIN = 0
SHOWN_NAMES = 5
IN_MEMORY = frozenset({"tmp", "run"})
"""Directories of a guest without a root that it mounts after its initramfs is unpacked (images/rootfs/etc/fstab)."""
COMPILED = "a source file, which is compiled first (lab compiles .c)"
SOURCES = dict.fromkeys((".cc", ".cpp", ".cxx", ".C", ".go", ".rs", ".zig", ".S", ".s", ".f90"), COMPILED)
SOURCES |= dict.fromkeys((".py", ".pl", ".rb", ".js", ".lua", ".tcl"), "it has no `#!` line, so sh would read it")
"""End of the name of a text -> why it is no program: sh would take it for a script of its own."""
READ_AS_TEXT = 4096
"""Bytes of a file in which a zero says that it is no text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is run in a guest, and what is brought there for it."""

    words: tuple[str, ...]
    """The program and its arguments, as they were typed."""
    program: Path | None = None
    """The program on this host; None if it is a command of the guest."""
    needs: Needs | None = None
    """The libraries of a program, the interpreter of a script."""
    root: BuiltRoot | None = None
    """What programs have as `/`; None for the guest's own small userland."""
    copies: tuple[Copied, ...] = ()
    """Files of this host that are copied to the guest."""
    environment: tuple[str, ...] = ()
    """NAME=VALUE; nothing of this host's environment is passed on."""

    @property
    def archive(self) -> bytes:
        """The part of an initramfs with all that the program needs beside itself; empty if it needs nothing."""
        if self.needs is None:
            return b""
        from lab.build.roots.needed import read_regular

        nodes = []
        for guest, here in self.needs.files.items():
            if guest != self.needs.guest_path:
                nodes.append(cpio.file(guest.lstrip("/"), read_regular(here), 0o755))
        for guest, target in self.needs.links.items():
            nodes.append(cpio.symlink(guest.lstrip("/"), target))
        return cpio.archive(nodes) if nodes else b""


def in_root(
    words: Sequence[str], arch: Arch, base: BuiltRoot | None, copies: Sequence[Copied], *, sysroot: Path | None = None
) -> Workload:
    """Return a command that runs in a root, if one is given, with copies of files of this host.

    The loader and the libraries of a program of this host are then the root's. An absolute path is the root's if the
    root has such a file. UsageError for a command that the root lacks, or whose interpreter it lacks.
    """
    if base is None:
        for copy in copies:
            _check_seen(copy)
        return replace(workload(words, arch, sysroot=sysroot), copies=tuple(copies))
    from lab.build.roots import contents
    from lab.build.roots.needed import read_regular

    path, program = Path(words[0]), None
    source = paths.is_file(path) and path.suffix == ".c"
    if paths.is_file(path) and not source and not (path.is_absolute() and contents.has(base, words[0])):
        program = path
        _check_kind(path, read_regular(path), arch)
    if not source:
        contents.check(words[0], program, base, arch, [copy.guest for copy in copies])
    return Workload(words=tuple(words), program=program, root=base, copies=tuple(copies))


def _check_seen(copy: Copied) -> None:
    """Raise UsageError for a copy on which a guest without a root mounts a file system in memory."""
    parts = [part for part in copy.guest.split("/") if part not in ("", ".")]
    if parts and parts[0] in IN_MEMORY:
        raise UsageError(
            f"-v {copy.here}:{copy.guest}: the guest mounts its /{parts[0]} over it", hint="another place, such as /src"
        )


def workload(words: Sequence[str], arch: Arch, *, sysroot: Path | None = None) -> Workload:
    """Return a command with all that a file of this host needs in a guest of the architecture; boots nothing.

    A word that is no file here is a command of the guest, and a C file is compiled: neither is looked into. UsageError
    for a program of another architecture, a damaged one, and one whose libraries or interpreter are missing here.
    """
    path = Path(words[0])
    if not paths.is_file(path):
        if "/" in words[0] and not path.is_absolute():
            raise UsageError(f"{words[0]}: {paths.no_file(path)}")
        return Workload(words=tuple(words))
    if path.suffix == ".c":
        return Workload(words=tuple(words))
    from lab.build.roots import needed

    content = needed.read_regular(path)
    _check_kind(path, content, arch)
    is_script = content.startswith(b"#!")
    if not is_script and not (elf_program.is_elf(content) and _is_dynamic(path, content)):
        return Workload(words=tuple(words), program=path)
    commands = {name: f"/bin/{name}" for name in guest_commands()}
    needs = needed.needs(path, arch, needed.places(arch, sysroot), commands=commands)
    if needs.missing:
        raise _missing_error(path, needs, arch, sysroot)
    return Workload(words=tuple(words), program=path, needs=needs)


def _check_kind(path: Path, content: bytes, arch: Arch) -> None:
    """Raise UsageError for a program of another architecture, and for what is no program and no script."""
    machine = elf.machine(content)
    if machine and machine != arch.elf_header:
        raise UsageError(f"{path} is a program for another processor ({_described(machine)}), not for {arch.name}")
    if not machine and not content.startswith(b"#!"):
        _check_text(path, content)


def _is_dynamic(path: Path, content: bytes) -> bool:
    try:
        program = elf_program.parse(content)
    except ValueError as error:
        raise UsageError(f"{path} cannot be run: {error}") from None
    if not program.executable and not program.entry:
        raise UsageError(f"{path} cannot be run: a library, which has no address to start at")
    return bool(program.interpreter)


def _check_text(path: Path, content: bytes) -> None:
    """Raise UsageError for a file that is neither an ELF file nor a script, and no text that sh would read."""
    if not content:
        raise UsageError(f"{path} cannot be run: it is empty")
    if content.startswith(b"\x7fELF"):
        raise UsageError(f"{path} cannot be run: damaged ELF file: is it cut off?")
    if what := SOURCES.get(path.suffix):
        raise UsageError(f"{path} cannot be run: {what}")
    if kind := file_kinds.named(content):
        raise UsageError(f"{path} cannot be run: it is {kind}")
    if content.startswith((b"\xef\xbb\xbf#!", b"\xff\xfe#\0!\0")):
        raise UsageError(f"{path} cannot be run: a byte-order mark stands before its `#!`")
    if b"\0" in content[:READ_AS_TEXT]:
        raise UsageError(f"{path} cannot be run: it is neither an ELF file nor a script")


def _missing_error(path: Path, needs: Needs, arch: Arch, sysroot: Path | None) -> UsageError:
    """Return the error for what a program needs and nothing has, with the command that installs it."""
    from lab.build.roots import needed

    native = platform.machine() == arch.uname
    names = []
    for library in needs.missing:
        wanted_by = "" if library.wanted_by == path.name else f" (for {library.wanted_by})"
        names.append(f"{library.name}{wanted_by}")
    script = not needs.programs
    what = "is a script for" if script else "needs"
    where = f"not found for {arch.name}" if sysroot is None else f"not found in --sysroot {sysroot}"
    hint = needed.hint(needs.missing) or "the guest has sh and awk; --sysroot DIR names a directory with it"
    if not script and not needed.hint(needs.missing):
        install = needed.install_hint(needs.missing, arch, native=native) if sysroot is None else ""
        if sysroot is None and (beside := needed.beside(path, needs.missing, arch)):
            install = f"LD_LIBRARY_PATH={shlex.quote(beside)} before the lab's command finds it"
        hint = f"{install}; or name a directory that has them: --sysroot DIR".removeprefix("; or ")
        if sysroot is not None:
            hint = "nothing else is looked at with --sysroot, which is laid out like the guest's /"
    return UsageError(f"{path} {what} {', '.join(names)}, {where}", hint=hint)


def guest_commands() -> frozenset[str]:
    """Return the names of the guest's commands, the applets that busybox is configured with."""
    lines = (paths.images() / "rootfs" / "busybox.config").read_text("utf-8").splitlines()
    switched_on = [line.removeprefix("CONFIG_").removesuffix("=y") for line in lines if line.endswith("=y")]
    return frozenset({"sh", *map(str.lower, switched_on)})


def _described(machine: tuple[int, int, int]) -> str:
    if known := of_program(machine):
        return known.name
    return elf.described(machine)


class TimedOut(LabError):
    """A program that did not end in time; the guest is well."""

    exit_code = 124
    """As of timeout(1)."""


def misaligned(load: Workload, page_size: int) -> list[str]:
    """Return a line for each file of a program that a kernel with pages of this size cannot map, and what mends it.

    What a root has is not looked at.
    """
    from lab.build.roots.needed import read_regular

    programs: Mapping[str, elf_program.ElfProgram] = {}
    if load.needs is not None:
        programs = load.needs.programs
    elif load.program is not None:
        with suppress(ValueError):  # a script
            programs = {load.program.name: elf_program.parse(read_regular(load.program))}
    lines = []
    for name, program in programs.items():
        if problem := elf_program.alignment_problem(program, page_size):
            size, option = format_size(page_size), elf_program.linker_option(page_size)
            lines.append(
                f"{Path(name).name} cannot be loaded with pages of {size}: {problem.reason}; link it with {option}"
            )
    return lines


def execute(
    factory: GuestFactory,
    ready: BootableCell,
    load: Workload,
    *,
    timeout_s: float,
    out: Sequence[str] = (),
    progress: Progress = silent,
) -> int:
    """Run a program in a fresh guest, pass on its output, and return its exit status (128+N: killed by signal N).

    A file on this host is copied to the guest, a C file compiled for it first; anything else is a command of the guest.
    TimedOut if the program was still running when its time was over, in a guest that is well; GuestLost if it did not
    exit or get killed by a signal.
    """
    with guest_with(factory, ready, load, progress) as (guest, words):
        ended = guest.run(
            shlex.join(words),
            deadline=Deadline.after(timeout_s, load.words[0], scale=guest.accelerator.slowdown),
            limit=MAX_OUTPUT,
            keep=False,
            stdin=_piped_stdin(),
            on_stdout=lambda data: _pass_on(sys.stdout, data),
            on_stderr=lambda data: _pass_on(sys.stderr, data),
        )
        if ended.end is End.DEADLINE:
            raise TimedOut(f"{load.words[0]}: {ended.note}", hint="--timeout SECONDS gives it longer")
        if ended.end is not End.EXITED or ended.status is None:
            last = "\n".join(guest.console.text(max(0, guest.console.size() - 2000)).splitlines()[-12:])
            end = ", ".join(filter(None, (str(ended.end), ended.note)))
            raise GuestLost(f"{load.words[0]}: {end}; console:\n{last}")
        fetch(guest, out, load, factory.notes.append)
        return ended.status


@contextmanager
def guest_with(
    factory: GuestFactory, ready: BootableCell, load: Workload, progress: Progress = silent
) -> Iterator[tuple[Guest, tuple[str, ...]]]:
    """Boot a guest that has a program with all that it needs; yields it and the command that starts the program."""
    program, words = load.program, load.words
    local = Path(words[0])
    if local.suffix == ".c" and paths.is_file(local):
        program = programs.compile_one(ready.topology.architecture, local, factory.workshop.cache)
    ready = _equipped(factory, ready, load, progress)
    with one_guest(factory, ready) as guest:
        if program is not None:
            guest.push({program.name: program})
            words = (f"{DIRECTORY}/{program.name}", *words[1:])
        if load.root is not None:
            words = (*guest_root.entering(), *words)
        if load.environment:
            words = ("env", *load.environment, *words)
        yield guest, words


def _equipped(factory: GuestFactory, ready: BootableCell, load: Workload, progress: Progress) -> BootableCell:
    """Return the cell with all that a program brings along. UsageError if the machine has too little memory for it."""
    if not load.archive and load.root is None and not load.copies:
        return ready
    archives = list(ready.archives)
    if archive := load.archive:
        place = factory.scratch / f"brought-{Path(load.words[0]).name}.cpio"
        place.write_bytes(archive)
        archives.append(place)
    if load.root is not None:
        copied = None
        if load.copies:
            copied = guest_root.copies_of(load.copies, factory.scratch / "copies.cpio", ready.topology)
        fitted = guest_root.fit(load.root, ready.topology, ready.products.kernel, factory.workshop.cache, copied=copied)
        if fitted.note:
            progress(f"the root is in the guest's memory: {fitted.note}")
        return replace(ready, archives=tuple(archives), root=fitted)
    if load.copies:
        from lab.build.roots import root

        place = factory.scratch / "copies.cpio"
        guest_root.check_memory(ready.topology, root.write_copies(load.copies, place))
        archives.append(place)
    return replace(ready, archives=tuple(archives))


def fetch(guest: Guest, words: Sequence[str], load: Workload, note: Callable[[str], None]) -> None:
    """Copy `/GUEST:HOST` of --out from the guest, and pass on a note about what was left out."""
    if not words:
        return
    from lab.build.roots import root

    for word in words:
        there, _, here = word.partition(":")
        deadline = Deadline.after(30.0, f"copying {there}", scale=guest.accelerator.slowdown)
        command = f"tar -c -f - -C {shlex.quote(there)} ."
        if load.root is not None:
            command = guest_root.in_root(("tar", "-c", "-f", "-", "."), there, own=True)
        ended = guest.run(command, deadline=deadline, limit=root.MAX_OUT)
        if ended.end is not End.EXITED or ended.status:
            raise GuestLost(f"--out {word}: {ended.stderr.decode('utf-8', 'replace').strip()[:200] or ended.note}")
        if left_out := root.write_out(ended.stdout, Path(here)):
            names = ", ".join(left_out[:SHOWN_NAMES]) + (" ..." if len(left_out) > SHOWN_NAMES else "")
            note(f"--out {word}: {len(left_out)} left out that are not regular files: {names}")


def check_out(words: Sequence[str]) -> None:
    """Raise UsageError for a word of --out that is not `/GUEST:HOST`, and for a place of the host that exists."""
    for word in words:
        there, _, here = word.partition(":")
        if not there.startswith("/") or not here:
            raise UsageError(f"--out {word}: expected /GUEST:HOST")
        if os.path.lexists(here):
            raise UsageError(f"--out {word}: {here} exists")
        if why := paths.no_directory(Path(here)):
            raise UsageError(f"--out {word}: {why}")


def shell(factory: GuestFactory, ready: BootableCell, load: Workload, progress: Progress = silent) -> int:
    """Open an interactive shell in a fresh guest, of its root if it has one, and return its exit status."""
    with guest_with(factory, ready, load, progress) as (guest, words):
        command = ""
        if load.root is not None:
            command = shlex.join(words)
        return guest.connection.shell(command)


@contextmanager
def one_guest(factory: GuestFactory, ready: BootableCell) -> Iterator[Guest]:
    """Start a guest and verify its hardware; it is ended when the block is left.

    It is restored from the state of one that was verified earlier if the cache has it, else booted. What its kernel
    complains of meanwhile, or before a boot failed, is added to the notes: a program's status does not tell.
    """
    place = factory.scratch / "console.log"
    try:
        guest = _verified(ready, place)
    except BootError:
        _note_complaints(factory, ready, ConsoleLog(place).text(0), boots=BOOT_ATTEMPTS)
        raise
    start = guest.console.size()
    try:
        yield guest
    finally:
        printed = guest.console.text(start)
        guest.close()
        _note_complaints(factory, ready, printed)


def _note_complaints(factory: GuestFactory, ready: BootableCell, printed: str, boots: int = 0) -> None:
    for complaint in complaints(printed, boots):
        factory.notes.append(f"{ready.name}: the kernel complained: {complaint}")


def complaints(console: str, boots: int = 0) -> list[str]:
    """Return what a kernel complained of on a console, with the functions that led to it, a line each.

    `boots`: how many times it may have booted meanwhile.
    """
    if not console:  # the parser takes 20 ms to load
        return []
    from lab.formats import oops

    found: list[str] = []
    for report in oops.scan(console, boots=boots):
        if not report.kind.provoked:
            stack = " < ".join(report.stack[:SHOWN_NAMES])
            found.append(f"{report} ({stack})" if stack else str(report))
    return found


def _verified(ready: BootableCell, console: Path) -> Guest:
    """Return a guest that is the machine that was asked for; InfraError if it is another."""
    if restored := ready.restore(console):
        guest, facts = restored.guest, restored.facts
    else:
        guest = ready.boot(console)
        facts = _facts(guest)
    if mismatches := ready.verify(facts):
        guest.close()
        raise InfraError(f"the guest is not the machine asked for: {'; '.join(map(str, mismatches))}")
    if restored:
        return guest
    try:
        ready.keep(guest, facts)
    except InfraError:  # the guest may be dead, and the next one is not saved
        guest.close()
        return _verified(ready, console)
    return guest


def _facts(guest: Guest) -> str:
    try:
        return guest.facts()
    except BaseException:
        guest.close()
        raise


def _piped_stdin() -> bytes | int:
    """Return the descriptor of stdin if it is a pipe, a socket or a file; no bytes for a terminal and for /dev/null."""
    try:
        mode = os.fstat(STDIN).st_mode
    except OSError:  # it is closed
        return b""
    return STDIN if stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode) else b""


def _pass_on(stream: TextIO, data: bytes) -> None:
    stream.buffer.write(data)
    stream.buffer.flush()
