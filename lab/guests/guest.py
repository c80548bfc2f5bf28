# SPDX-License-Identifier: GPL-2.0-or-later
"""One guest: libvirt's domain, its console and the SSH connection into it, as one thing with one life.

It begins with a boot, or with a restore of the state in which an earlier guest was saved after it had booted, been
verified and got its programs.

**Twins.** All guests restored from one state would give the same random numbers and live in the past. So the first
command in every guest (booted ones too) is `wake`: it sets CLOCK_REALTIME to the host's, credits 64 of the host's
random bytes to the kernel's pool and has its generator seeded from it (RNDRESEEDCRNG), which also makes the generators
of each CPU and of the vDSO start anew. From then on getrandom(), /dev/urandom, AT_RANDOM, the addresses that ASLR gives
and UUIDs differ from twin to twin. What stays equal: what the kernel drew once at boot (its own addresses, the keys of
its hash tables and of TCP's sequence numbers, boot_id), the next process id, and CLOCK_MONOTONIC, which goes on from
where it was saved. No test can tell twins apart by these, since it sees but one. sshd's ephemeral key of the first
connection is made before `wake`; the session keys still differ, for the lab's half of the exchange is new every time.

**Still the verified machine.** A restored guest is not verified again: libvirt starts the very XML that was saved, QEMU
refuses a stream that does not fit the machine (sizes of memory, devices, CPUs), and the kernel with its nodes and huge
pages is in the memory that was saved while it was verified. That it is that kernel, its boot_id proves.
"""

from __future__ import annotations

import importlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lab.core.deadline import Deadline, pause
from lab.core.errors import BootError, DeadlineExceeded, GuestLost, InfraError, LabError
from lab.core.outcome import End, Ended, Usage
from lab.core.ssh_keys import KeyPair
from lab.evidence.console import MAX_LOG, ConsoleLog, Watcher
from lab.guests import domain
from lab.guests.accelerator import Accelerator
from lab.guests.vm import Domain, Hypervisor

if TYPE_CHECKING:
    from lab.guests.ssh import Connection

READY = b"pagelab: ready"
"""What the guest's init says on the console once sshd accepts."""
PANIC = b"Kernel panic - not syncing"
BOOT_S = 9.0
"""On real hardware, from power-on to the ready line; scaled by the accelerator."""
CONNECT_S = 3.0
WAKE_S = 3.0
SEED_BYTES = 64
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

    machine: domain.GuestMachine
    accelerator: Accelerator
    host_key: str
    """The pinned host key, `ssh-ed25519 AAAA...`."""
    key: KeyPair
    reproduce: str
    """A script that boots the same machine with plain QEMU."""
    probes: tuple[Path, ...] = ()
    """Programs that tell further facts of this machine."""
    patience: float = 1.0
    """How many times longer than a kernel of the lab's own this one may boot."""
    state: Path
    """Where the guest's state goes when it is saved."""
    rename: Callable[[], str]
    """Gives names for guests that are restored from that state, each as long as the machine's."""


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
    """A guest that answers. `close` ends it; nothing here survives that."""

    wanted: Boot
    hypervisor: Hypervisor
    console: ConsoleLog
    boot_s: float
    """From power-on to the ready line; of a restored guest, what was waited for until it ran."""
    domain: Domain
    connection: Connection
    login_s: float = 0.0
    """From then until the first command was answered."""
    boot_id: str = ""
    """Which boot of which kernel this is, from the kernel itself."""
    since: int = 0
    """Where on the console, which all guests of a cell append to, this one's words begin."""
    _panic: Watcher = field(repr=False)
    _gone: End | None = None

    @property
    def name(self) -> str:
        return self.domain.name

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
            elif self.console.size() - self.since > MAX_LOG:
                self._gone = End.FLOODED
        return self._gone

    def facts(self) -> str:
        """What the guest says it is, as its init wrote it, and what probes say; GuestLost when it does not answer."""
        said = [self._ask("cat /run/facts", self._deadline(FACTS_S, "reading the guest's facts"))]
        for probe in self.wanted.probes:
            self.push({probe.name: probe})
            said.append(self._ask(f"{DIRECTORY}/{probe.name}", self._deadline(FACTS_S, f"probing with {probe.name}")))
        return "".join(said)

    def _ask(self, command: str, deadline: Deadline, stdin: bytes = b"") -> str:
        """What a command of the lab's own says; GuestLost when it fails."""
        ended = self.connection.run(command, deadline=deadline, limit=MAX_FACTS, stdin=stdin, watch=self.watch)
        if ended.end is not End.EXITED or ended.status:
            said = ended.stderr.decode("utf-8", "replace").strip()[:200]
            raise GuestLost(f"{deadline.what}: {' '.join(filter(None, (ended.end, ended.note, said)))}")
        return ended.stdout.decode("utf-8", "replace")

    def wake(self) -> None:
        """The first command in a guest: the time, random bytes, and who it is; GuestLost when it does not answer.

        A restored guest still has the process that served the connection of the guest it was saved from; it waits for
        packets that cannot come, and is ended.
        """
        started = time.monotonic()
        seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
        said = self._ask(
            "{ read old < /run/session && kill -9 $old; } 2> /dev/null; echo $PPID > /run/session;"
            f" wake {seconds} {nanoseconds} && read id < /proc/sys/kernel/random/boot_id && echo $id",
            self._deadline(WAKE_S, "the guest's first command"),
            os.urandom(SEED_BYTES),
        )
        self.boot_id = said.strip()
        self.login_s += time.monotonic() - started

    def save(self) -> Snapshot:
        """Save the guest, which goes on; InfraError when it cannot be, after which it may be dead."""
        state = self.wanted.state
        needed, free = self.wanted.machine.topology.total_memory, shutil.disk_usage(state.parent).free
        if free < needed:
            raise InfraError(f"{state.parent}: {free >> 20} MiB free, a saved guest may take {needed >> 20}")
        started = time.monotonic()
        self.domain.save(state)
        return Snapshot(
            wanted=self.wanted,
            hypervisor=self.hypervisor,
            boot_id=self.boot_id,
            save_s=time.monotonic() - started,
            size=state.stat().st_size,
        )

    def push(self, programs: Mapping[str, Path]) -> None:
        """Put programs into the guest's /lab, and what lies beside one in `NAME.d`; GuestLost when that fails."""
        content = {name: path.read_bytes() for name, path in programs.items()}
        for name, path in programs.items():
            beside = path.with_name(f"{path.name}.d")
            files = sorted(each for each in beside.rglob("*") if each.is_file())
            content |= {f"{name}.d/{each.relative_to(beside)}": each.read_bytes() for each in files}
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


@dataclass(slots=True, kw_only=True)
class Snapshot:
    """A guest on disk, in the state in which every guest that is restored from it begins.

    For one thread; any number of guests that were restored from it may run at a time.
    """

    wanted: Boot
    hypervisor: Hypervisor
    boot_id: str
    save_s: float
    size: int
    """Bytes of the file: the pages that are not zero, at most the guest's memory."""
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "restore"))
    _prepared: Future[tuple[Domain, int]] | None = None

    def prepare(self) -> None:
        """Restore the next guest in the background, up to the moment before it runs; to be called when one is certain.

        A fifth of a second of the emulator's start and of loading memory is so off the path of whoever waits for
        `restore`. Until it runs, the guest costs the memory that was saved and some 60 MB for the emulator, and says
        nothing on the console, which is still the last guest's; where these cannot be shared nothing is prepared.
        """
        if self._prepared is None and self.hypervisor.shares_consoles:
            self._prepared = self._thread.submit(self._start)

    def _start(self) -> tuple[Domain, int]:
        """The guest that does not run yet, and the port that leads to it, which QEMU chose anew."""
        running = self.hypervisor.restore(self.wanted.state, self.wanted.rename())
        try:
            return running, running.ssh_port()
        except LabError:
            running.destroy()
            raise

    def restore(self) -> Guest:
        """A guest restored and logged in to; InfraError or GuestLost when it does not come to life."""
        started = time.monotonic()
        prepared, self._prepared = self._prepared, None
        running, port = prepared.result() if prepared else self._start()
        try:
            # From here on the console's words are this guest's: it does not run yet.
            said = ConsoleLog(self.wanted.machine.console).size()
            running.resume()
            guest = _log_in(self.hypervisor, self.wanted, running, port, boot_s=time.monotonic() - started, said=said)
        except LabError:
            running.destroy()
            raise
        if guest.boot_id != self.boot_id:
            guest.close()
            raise GuestLost(f"{guest.name}: restored, but not the guest that was saved: boot id {guest.boot_id!r}")
        return guest

    def discard(self) -> None:
        """Remove the file, and the guest that was prepared for nobody. Guests that run go on."""
        if self._prepared is not None:
            with suppress(LabError):
                running, _ = self._prepared.result()
                running.destroy()
            self._prepared = None
        self._thread.shutdown()
        self.wanted.state.unlink(missing_ok=True)


def boot(hypervisor: Hypervisor, wanted: Boot) -> Guest:
    """Start a guest and log in.

    BootError: the kernel did not reach the ready line. InfraError: libvirt refused. GuestLost: no SSH.
    """
    machine = wanted.machine
    deadline = Deadline.after(BOOT_S * wanted.patience, f"{machine.name}: booting", scale=wanted.accelerator.slowdown)
    running = power_on(hypervisor, wanted, deadline)
    boot_s = deadline.budget_s - deadline.remaining
    try:
        return _log_in(hypervisor, wanted, running, running.ssh_port(), boot_s=boot_s)
    except LabError:
        running.destroy()
        raise


def _log_in(
    hypervisor: Hypervisor, wanted: Boot, running: Domain, port: int, *, boot_s: float, said: int | None = None
) -> Guest:
    """The guest that runs, once it answers. `said` is the size of its console when it was restored, else None."""
    from lab.guests import ssh

    started = time.monotonic()
    console = ConsoleLog(wanted.machine.console)
    deadline = Deadline.after(CONNECT_S, f"{running.name}: SSH", scale=wanted.accelerator.slowdown)
    connection = ssh.connect(port, host_key=wanted.host_key, key=wanted.key, deadline=deadline)
    since = console.size() if said is None else said
    guest = Guest(
        wanted=wanted,
        hypervisor=hypervisor,
        console=console,
        boot_s=boot_s,
        domain=running,
        connection=connection,
        login_s=time.monotonic() - started,
        since=since,
        _panic=Watcher(console, PANIC, start=since),
    )
    try:
        guest.wake()
    except LabError:
        connection.close()
        raise
    return guest


def power_on(hypervisor: Hypervisor, wanted: Boot, deadline: Deadline) -> Domain:
    """Start the machine and wait for its ready line; BootError with the end of its console when that never comes.

    GuestLost when the emulator was killed or stopped meanwhile: that is no word about the kernel.

    The SSH library takes a fifth of a second to load: that is done while the guest boots.
    """
    machine = wanted.machine
    console = ConsoleLog(machine.console)
    machine.console.touch()
    start = console.size()
    running = hypervisor.start(domain.domain_xml(machine))
    threading.Thread(target=importlib.import_module, args=("lab.guests.ssh",), daemon=True).start()
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


def _boot_error(machine: domain.GuestMachine, console: ConsoleLog, start: int, why: str) -> BootError:
    lines = console.text(start).strip().splitlines()
    said = "\n".join(lines[-EXCERPT_LINES:]) or "(the console stayed silent)"
    return BootError(f"{machine.name}: {why}", hint=f"console: {machine.console}", excerpt=said)
