# SPDX-License-Identifier: GPL-2.0-or-later
"""One booted guest: libvirt's domain, its console and the SSH connection into it, as one thing with one life."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lab import domain
from lab.accel import Accelerator
from lab.console import MAX_LOG, Console, Watcher
from lab.deadline import Deadline, pause
from lab.errors import BootError, DeadlineExceeded, GuestLost, LabError
from lab.keys import KeyPair
from lab.outcome import End, Ended, Usage
from lab.vm import Domain, Hypervisor

if TYPE_CHECKING:
    from lab.ssh import Connection

READY = b"pagelab: ready"
"""What the guest's init says on the console once sshd accepts."""
PANIC = b"Kernel panic - not syncing"
BOOT_S = 9.0
"""On real hardware, from power-on to the ready line; scaled by the accelerator."""
CONNECT_S = 3.0
FACTS_S = 3.0
ANSWER_S = 3.0
"""How long a guest in which a deadline passed may take to answer before it counts as hung itself."""
PUSH_S = 6.0
LATE_CONSOLE_S = 0.3
"""How long to wait for the console's last words after a connection died: the oops arrives after the connection ends."""
FAILED_S = 0.3
"""How much later than the end of an emulator's process libvirt's word for its cause may come."""
LAST_WORDS_S = 2.0
"""How long a machine whose kernel panicked may take to end."""
DIRECTORY = "/lab"
MAX_FACTS = 256 << 10
MAX_OUTPUT = 4 << 20
"""Bytes of stdout and stderr together after which a command is cut off."""
POLL_S = 0.01
EXCERPT_LINES = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """What it takes to start a guest: the machine, and the key that opens it."""

    machine: domain.Machine
    accelerator: Accelerator
    host_key: str
    """The pinned host key, `ssh-ed25519 AAAA...`."""
    key: KeyPair
    reproduce: str
    """A script that boots the same machine with plain QEMU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A guest on paper."""

    domain_xml: str
    """As it was asked for, or as libvirt completed it once it runs."""
    qemu_args: tuple[str, ...]
    """The emulator's own command line, once it runs."""
    reproduce: str


@dataclass(slots=True, kw_only=True)
class Guest:
    """A guest that has said its ready line. `close` ends it; nothing here survives that."""

    wanted: Boot
    console: Console
    boot_s: float
    domain: Domain
    connection: Connection
    _panic: Watcher = field(repr=False)
    _gone: End | None = None

    @property
    def name(self) -> str:
        return self.wanted.machine.name

    @property
    def accelerator(self) -> Accelerator:
        return self.wanted.accelerator

    def watch(self) -> End | None:
        """What has happened to the guest, None while it is well. Once gone it stays gone."""
        if self._gone is None:
            if self._panic.seen():
                self._gone = End.PANIC
            elif not self.domain.alive():
                self._gone = End.PANIC if self._panic.seen() else End.QEMU_DEAD
            elif self.console.size() > MAX_LOG:
                self._gone = End.FLOODED
        return self._gone

    def facts(self) -> str:
        """What the guest says it is, as its init wrote it; GuestLost when it does not answer."""
        ended = self.connection.run(
            "cat /run/facts",
            deadline=self._deadline(FACTS_S, "reading the guest's facts"),
            limit=MAX_FACTS,
            watch=self.watch,
        )
        if ended.end is not End.EXITED or ended.status:
            raise GuestLost(f"{self.name}: the guest does not tell its facts: {ended.end} {ended.note}".rstrip())
        return ended.stdout.decode("utf-8", "replace")

    def push(self, programs: Mapping[str, Path]) -> None:
        """Put programs into the guest's /lab; GuestLost when that fails."""
        content = {name: path.read_bytes() for name, path in programs.items()}
        self.connection.push(content, DIRECTORY, deadline=self._deadline(PUSH_S + len(content), "pushing programs"))

    def run(
        self,
        command: str,
        *,
        deadline: Deadline,
        silence_s: float | None = None,
        limit: int = MAX_OUTPUT,
        keep: bool = True,
        on_stdout: Callable[[bytes], None] | None = None,
        on_stderr: Callable[[bytes], None] | None = None,
    ) -> Ended:
        """Run a shell command; a guest that dies under it is waited for, so that its last words are on the console."""
        ended = self.connection.run(
            command,
            deadline=deadline,
            silence_s=silence_s,
            limit=limit,
            keep=keep,
            watch=self.watch,
            on_stdout=on_stdout,
            on_stderr=on_stderr,
        )
        if ended.end is End.DEADLINE and self.domain.stopped():
            return replace(ended, end=End.QEMU_DEAD, note=f"{ended.note}: it was stopped by a signal")
        if ended.end is End.DEADLINE and not self._answers():
            ended = replace(ended, end=self.watch() or End.UNRESPONSIVE)
        if ended.end in (End.LOST, End.PANIC, End.QEMU_DEAD):
            self._wait_for_last_words()
            if ended.end is End.LOST and (gone := self.watch()):
                return replace(ended, end=gone)
        return ended

    def _answers(self) -> bool:
        """Whether the guest still does what it is told: to show on its console what is blocked and what is running."""
        ended = self.connection.run(
            "for key in w l; do echo $key > /proc/sysrq-trigger; done",
            deadline=self._deadline(ANSWER_S, "a sign of life"),
            limit=MAX_FACTS,
            watch=self.watch,
        )
        return ended.end is End.EXITED

    def describe(self) -> Description:
        """What is run, for the evidence."""
        return Description(
            domain_xml=self.domain.xml(), qemu_args=self.domain.qemu_args(), reproduce=self.wanted.reproduce
        )

    def _wait_for_last_words(self) -> None:
        """Until the emulator has ended or the console has been quiet for a while."""
        before = -1
        for _ in range(20):
            if not self.domain.alive() or self.console.size() == before:
                return
            before = self.console.size()
            pause(LATE_CONSOLE_S)

    def _deadline(self, seconds: float, what: str) -> Deadline:
        return Deadline.after(seconds, f"{self.name}: {what}", scale=self.accelerator.slowdown)

    def usage(self) -> Usage | None:
        """What its emulator has taken so far; None where it cannot be told."""
        return self.domain.usage()

    def close(self) -> None:
        """End the guest at once."""
        self.domain.destroy()
        self.connection.close()


def boot(hypervisor: Hypervisor, wanted: Boot) -> Guest:
    """Start a guest and log in.

    BootError: the kernel did not reach the ready line. InfraError: libvirt refused. GuestLost: no SSH.
    """
    machine = wanted.machine
    console = Console(machine.console)
    deadline = Deadline.after(BOOT_S, f"{machine.name}: booting", scale=wanted.accelerator.slowdown)
    running = power_on(hypervisor, wanted, deadline)
    boot_s = deadline.budget_s - deadline.remaining
    try:
        from lab import ssh  # by now the thread below has it

        connection = ssh.connect(
            running.ssh_port(),
            host_key=wanted.host_key,
            key=wanted.key,
            deadline=Deadline.after(CONNECT_S, f"{machine.name}: SSH", scale=wanted.accelerator.slowdown),
        )
    except LabError:
        running.destroy()
        raise
    return Guest(
        wanted=wanted,
        console=console,
        boot_s=boot_s,
        domain=running,
        connection=connection,
        _panic=Watcher(console, PANIC, start=console.size()),
    )


def power_on(hypervisor: Hypervisor, wanted: Boot, deadline: Deadline) -> Domain:
    """Start the machine and wait for its ready line; BootError with the end of its console when that never comes.

    GuestLost when the emulator was killed or stopped meanwhile: that is no word about the kernel.

    The SSH library takes a fifth of a second to load: that is done while the guest boots.
    """
    machine = wanted.machine
    console = Console(machine.console)
    machine.console.touch()
    start = console.size()
    running = hypervisor.start(domain.domain_xml(machine))
    threading.Thread(target=importlib.import_module, args=("lab.ssh",), daemon=True).start()
    ready, panic = Watcher(console, READY, start=start), Watcher(console, PANIC, start=start)

    def is_ready() -> bool:
        if ready.seen():
            return True
        if not running.alive() or panic.seen():
            if ready.seen():  # it may have come between the two looks
                return True
            with suppress(DeadlineExceeded):  # a panic reboots, which ends the machine, once all of it is said
                Deadline.after(LAST_WORDS_S, "").wait_for(lambda: not running.alive())
            with suppress(DeadlineExceeded):  # libvirt says so a moment later
                Deadline.after(FAILED_S, "").wait_for(running.emulator_died)
                raise GuestLost(f"{machine.name}: the emulator's process ended while the kernel booted")
            raise _boot_error(machine, console, start, "the kernel died before it was ready")
        if console.size() - start > MAX_LOG:
            raise _boot_error(
                machine, console, start, f"more than {MAX_LOG >> 20} MiB on the console before it was ready"
            )
        return False

    try:
        deadline.wait_for(is_ready, interval_s=POLL_S)
    except DeadlineExceeded as error:
        stopped = running.stopped()
        running.destroy()
        if stopped:
            raise GuestLost(f"{machine.name}: the emulator's process was stopped by a signal") from error
        raise _boot_error(machine, console, start, f"no ready line within {deadline.budget_s:.0f} s") from error
    except BaseException:
        running.destroy()
        raise
    return running


def _boot_error(machine: domain.Machine, console: Console, start: int, why: str) -> BootError:
    lines = console.text(start).strip().splitlines()
    said = "\n".join(lines[-EXCERPT_LINES:]) or "(the console stayed silent)"
    return BootError(f"{machine.name}: {why}", hint=f"console: {machine.console}", excerpt=said)
