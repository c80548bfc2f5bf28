# SPDX-License-Identifier: GPL-2.0-or-later
"""Debug a guest from outside: attach gdb to its kernel, or connect its console to this terminal."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from lab.arch.record import Arch
from lab.build import rootfs, toolchain
from lab.build.builder import Artifacts
from lab.core import proc
from lab.core.deadline import Deadline
from lab.core.errors import InfraError, LabError
from lab.core.this_host import install_command
from lab.formats import system_map
from lab.guests import qemu_command
from lab.guests.factory import BootableCell, GuestFactory
from lab.guests.guest import Guest
from lab.workflows.bundle import FIRST, SHELL, Trial, first
from lab.workflows.one_guest import one_guest

DAY_S = 86_400.0


def gdb(factory: GuestFactory, ready: BootableCell, arguments: Sequence[str], *, beside: str = "") -> int:
    """Run gdb on the kernel of a fresh guest, which runs the shell command `beside`; return gdb's exit status."""
    with one_guest(factory, ready) as guest:
        guest.push(ready.programs)
        if beside:
            guest.domain.suspend()  # until gdb has connected
            threading.Thread(target=_run_in_guest, args=(guest, beside), daemon=True).start()
        return attach_gdb(guest, ready.topology.architecture, ready.products, factory.scratch, arguments)


def _run_in_guest(guest: Guest, command: str) -> None:
    def pass_on(data: bytes) -> None:
        sys.stderr.buffer.write(data)
        sys.stderr.buffer.flush()

    with suppress(LabError):
        guest.run(command, deadline=Deadline.after(DAY_S, command), keep=False, on_stdout=pass_on, on_stderr=pass_on)


def attach_gdb(guest: Guest, arch: Arch, products: Artifacts, scratch: Path, arguments: Sequence[str]) -> int:
    """Run gdb on the kernel of a running guest, which is stopped while gdb is attached; return gdb's exit status.

    Symbols come from vmlinux if the build kept it, which it does with debug information, otherwise from System.map.
    """
    socket = scratch / "gdb"
    guest.domain.gdbserver(socket)
    try:
        symbols = products.kernel.vmlinux or _symbol_file(products, scratch)
        first = ("-q", "-iex", "set confirm off", "-ex", f"target remote {socket}")
        return proc.attach([debugger(arch), *first, *arguments, *map(str, filter(None, [symbols]))])
    finally:
        with suppress(LabError):  # gdb may have killed the guest
            guest.domain.gdbserver(None)
        socket.unlink(missing_ok=True)


def _symbol_file(products: Artifacts, scratch: Path) -> Path | None:
    """Return a file with the kernel's symbols; None for a kernel that was not built here, which has none."""
    if not products.kernel.system_map.stat().st_size:
        return None
    path = scratch / "System.map.elf"
    like = next(iter(products.tests.programs.values())).read_bytes()
    path.write_bytes(system_map.elf_of(products.kernel.system_map.read_text(), like))
    return path


def debugger(arch: Arch) -> str:
    """Return the gdb that knows an architecture; InfraError, with the package to install, if there is none."""
    if proc.which("gdb-multiarch"):
        return "gdb-multiarch"
    if proc.which("gdb") and (toolchain.is_native(arch) or "--enable-targets=all" in _configuration()):
        return "gdb"
    raise InfraError(f"no gdb that knows {arch.name}", hint=install_command(["gdb-multiarch"]))


def _configuration() -> str:
    return proc.run(["gdb", "--configuration"], timeout_s=60, whole=True).output


def console(factory: GuestFactory, ready: BootableCell) -> int:
    """Boot a guest with its console, and a shell on it, on this terminal; return the emulator's exit status."""
    wanted = factory.boot_of(ready, factory.scratch / "console.log")
    programs = {f"lab/{name}": (0o755, path.read_bytes()) for name, path in ready.programs.items()}
    initrd = factory.scratch / "initrd-console"
    overlay = rootfs.overlay({FIRST: (0o755, first(Trial())), **programs})
    parts = (part.read_bytes() for part in ready.parts)
    initrd.write_bytes(b"".join((ready.products.rootfs.initrd.read_bytes(), overlay, *parts)))
    machine = replace(wanted.machine, initrd=initrd)
    return proc.attach(qemu_command.qemu_command(machine, f"rdinit=/{FIRST}", SHELL, interactive=True))
