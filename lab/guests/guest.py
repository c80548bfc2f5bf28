# SPDX-License-Identifier: GPL-2.0-or-later
"""The lifecycle of one guest: a libvirt domain, its console log and the SSH connection into it.

A guest is booted, or restored from a snapshot. The snapshot is taken from an earlier guest of the same cell after that
one has booted, was verified and received its programs.

**Clock and random numbers.** Guests restored from one snapshot start with the same clock and the same state of the
random number generator. Therefore the first command in every guest, also in a booted one, is `wake`. It sets
CLOCK_REALTIME to the host's, credits 64 random bytes of the host to the kernel's pool and reseeds the generator from
the pool (RNDRESEEDCRNG), which also restarts the generators of each CPU and of the vDSO. From then on getrandom(),
/dev/urandom, AT_RANDOM, the addresses that ASLR chooses and UUIDs differ between these guests. Equal in all of them
remain: what the kernel drew once at boot (its own addresses, the keys of its hash tables and of TCP's sequence numbers,
boot_id), the next process id, and CLOCK_MONOTONIC, which continues at the value that was saved. A test runs in a
single guest and cannot see that these values are equal. sshd creates the ephemeral key of the first connection before
`wake`; the session keys differ all the same, because the lab contributes a new half of the key exchange every time.

**No second verification.** A restored guest is not verified again: libvirt starts exactly the XML that was saved, QEMU
rejects a migration stream that does not fit the machine (sizes of memory, devices, CPUs), and the saved memory contains
the kernel with its nodes and huge pages, which was verified. The boot_id proves that it is that kernel.
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
from lab.formats.system_map import functions_at
from lab.guests import domain
from lab.guests.accelerator import Accelerator
from lab.guests.registers import program_counters
from lab.guests.vm import Domain, Hypervisor

if TYPE_CHECKING:
    from lab.guests.ssh import Connection

READY = b"pagelab: ready"
"""The line that the guest's init prints on the console when sshd accepts connections."""
PANIC = b"Kernel panic - not syncing"
BOOT_S = 9.0
"""Seconds from power-on to the ready line, on real hardware. This limit, and those for SSH, `wake`, facts, answers and
pushes below, are multiplied by the accelerator's slowdown."""
CONNECT_S = 3.0
WAKE_S = 3.0
TIMER_US = 1000
"""How long a guest that was just restored sleeps, to see that its timers fire."""
SEED_BYTES = 64
FACTS_S = 3.0
ANSWER_S = 3.0
"""How long a guest may take to answer after a program in it missed its deadline; then the guest counts as hung too."""
PUSH_S = 6.0
LATE_CONSOLE_S = 0.3
"""How long the console must be quiet after a connection died: an oops is printed after the connection has ended."""
SETTLE_S = 0.1
"""How long a guest goes on after its last program. A grace period of RCU takes some 30 ms at HZ=100."""
FAILED_S = 0.3
"""How long after the end of an emulator's process libvirt may take to report the cause."""
LAST_WORDS_S = 2.0
"""How long the emulator may take to exit after its kernel panicked."""
DIRECTORY = "/lab"
MAX_REASON = 300
"""How much of a failed command's stderr is reported."""
MAX_FACTS = 256 << 10
MAX_OUTPUT = 4 << 20
"""Bytes of stdout and stderr together after which a command is cut off."""
POLL_S = 0.01
EXCERPT_LINES = 25
SHOWN_CPUS = 8
SILENT = "(the kernel printed nothing: it has no early console, or it died before that)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """The input for starting a guest: the machine, its SSH keys, and the files for evidence and snapshots."""

    machine: domain.GuestMachine
    accelerator: Accelerator
    host_key: str
    """The pinned host key, `ssh-ed25519 AAAA...`."""
    key: KeyPair
    reproduce: str
    """A script that boots the same machine with plain QEMU."""
    probes: tuple[Path, ...] = ()
    """Programs that print further facts about this machine."""
    symbols: Path | None = None
    """The kernel's System.map; None if its addresses are not those of the running kernel."""
    patience: float = 1.0
    """The factor by which this kernel may boot more slowly than one that the lab configures."""
    state: Path
    """The file into which the guest is saved."""
    rename: Callable[[], str]
    """Returns a new name for each guest restored from that file; all names are as long as the machine's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """The description of a guest that is stored with the evidence."""

    domain_xml: str
    """The XML that the lab wrote, or that libvirt completed if the guest runs."""
    qemu_args: tuple[str, ...]
    """The emulator's command line; empty if the guest does not run yet."""
    reproduce: str
    """A script that boots the same machine with plain QEMU."""


@dataclass(slots=True, kw_only=True)
class Guest:
    """A running guest that answers over SSH. It cannot be used after `close`."""

    wanted: Boot
    hypervisor: Hypervisor
    console: ConsoleLog
    boot_s: float
    """Seconds from power-on to the ready line; for a restored guest, seconds that the caller waited until it ran."""
    domain: Domain
    connection: Connection
    login_s: float = 0.0
    """Seconds that followed `boot_s` until the first command was answered."""
    boot_id: str = ""
    """/proc/sys/kernel/random/boot_id of the guest."""
    since: int = 0
    """The offset in the console log at which this guest's output begins; all guests of a cell append to one log."""
    began: int = 0
    """The offset in the console log at which the boot of a booted guest begins."""
    _panic: Watcher = field(repr=False)
    _gone: End | None = None

    @property
    def name(self) -> str:
        return self.domain.name

    @property
    def accelerator(self) -> Accelerator:
        return self.wanted.accelerator

    def watch(self) -> End | None:
        """Return what happened to the guest (panic, emulator dead, console flooded), for good; None if it is well."""
        if self._gone is None:
            if self._panic.seen():
                self._gone = End.PANIC
            elif not self.domain.alive():
                self._gone = End.PANIC if self._panic.seen() else End.QEMU_DEAD
            elif self.console.size() - self.since > MAX_LOG:
                self._gone = End.FLOODED
        return self._gone

    def facts(self) -> str:
        """Return the facts that the guest's init collected and those of the probes; GuestLost if it does not answer."""
        facts = [self._output_of("cat /run/facts", self._deadline(FACTS_S, "reading the guest's facts"))]
        for probe in self.wanted.probes:
            self.push({probe.name: probe})
            deadline = self._deadline(FACTS_S, f"probing with {probe.name}")
            facts.append(self._output_of(f"{DIRECTORY}/{probe.name}", deadline))
        return "".join(facts)

    def _output_of(self, command: str, deadline: Deadline, stdin: bytes = b"") -> str:
        """Run a command of the lab's own in the guest and return its stdout; GuestLost if it fails."""
        ended = self.connection.run(command, deadline=deadline, limit=MAX_FACTS, stdin=stdin, watch=self.watch)
        return stdout_of(ended, deadline.what)

    def wake(self, *, restored: bool = False) -> None:
        """Set the guest's clock, reseed its random numbers and read its boot_id; GuestLost if it does not answer.

        A restored guest still contains the sshd process that served the connection of the guest it was saved from.
        No packets can reach that process any more, so it is killed. Then the guest sleeps for a moment: if no timer
        fires, every program that sleeps would hang. QEMU 7.2 arms no timer of riscv64 and ppc64 anew, though these
        guests answer as long as nothing waits.
        """
        started = time.monotonic()
        seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
        ended = self.connection.run(
            "{ read old < /run/session && kill -9 $old; } 2> /dev/null; echo $PPID > /run/session;"
            f" wake {seconds} {nanoseconds} && read id < /proc/sys/kernel/random/boot_id && echo $id"
            + (f" && usleep {TIMER_US}" if restored else ""),
            deadline=self._deadline(WAKE_S, "the guest's first command"),
            limit=MAX_FACTS,
            stdin=os.urandom(SEED_BYTES),
            watch=self.watch,
        )
        sleeps = restored and ended.end is End.DEADLINE and bool(ended.stdout)
        what = "a timer, after the guest was restored" if sleeps else "the guest's first command"
        self.boot_id = stdout_of(ended, f"{self.name}: {what}").strip()
        self.login_s += time.monotonic() - started

    def save(self) -> Snapshot:
        """Save the guest, which keeps running; InfraError if that fails, after which the guest may be dead."""
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
        """Copy programs, and the files in `NAME.d` beside each of them, to the guest's /lab; GuestLost if that fails.

        The time limit grows by a second (scaled) for every file.
        """
        content = {name: path.read_bytes() for name, path in programs.items()}
        for name, path in programs.items():
            beside = path.with_name(f"{path.name}.d")
            for file in sorted(beside.rglob("*")):
                if file.is_file():
                    content[f"{name}.d/{file.relative_to(beside)}"] = file.read_bytes()
        self.connection.push(content, DIRECTORY, deadline=self._deadline(PUSH_S + len(content), "pushing programs"))

    def run(
        self,
        command: str,
        *,
        deadline: Deadline,
        silence_s: float | None = None,
        limit: int = MAX_OUTPUT,
        keep: bool = True,
        stdin: bytes | int = b"",
        on_stdout: Callable[[bytes], None] | None = None,
        on_stderr: Callable[[bytes], None] | None = None,
    ) -> Ended:
        """Run a shell command and return how it ended; see `Connection.run` for the arguments.

        If the guest dies meanwhile, wait until its console output is complete before returning.
        """
        ended = self.connection.run(
            command,
            deadline=deadline,
            silence_s=silence_s,
            limit=limit,
            keep=keep,
            stdin=stdin,
            watch=self.watch,
            on_stdout=on_stdout,
            on_stderr=on_stderr,
        )
        if ended.end is End.DEADLINE and self.domain.stopped():
            return replace(ended, end=End.QEMU_DEAD, note=f"{ended.note}: it was stopped by a signal")
        if ended.end is End.DEADLINE:
            if self._obeys_sysrq():
                self._wait_for_console()
            else:
                ended = self._unresponsive(ended)
        if ended.end in (End.LOST, End.PANIC, End.QEMU_DEAD):
            self._wait_for_console()
            if ended.end is End.LOST and (gone := self.watch()):
                return replace(ended, end=gone)
        return ended

    def _obeys_sysrq(self) -> bool:
        """Have the guest print its blocked and its running tasks on the console; return whether it did so in time."""
        ended = self.connection.run(
            "for key in w l; do echo $key > /proc/sysrq-trigger; done",
            deadline=self._deadline(ANSWER_S, "a sign of life"),
            limit=MAX_FACTS,
            watch=self.watch,
        )
        return ended.end is End.EXITED

    def _unresponsive(self, ended: Ended) -> Ended:
        """Return how a command ended whose guest does not answer: with where its CPUs are, unless it died."""
        if gone := self.watch():
            return replace(ended, end=gone)
        note = "; ".join(filter(None, (ended.note, where(self.domain, self.wanted.symbols))))
        return replace(ended, end=End.UNRESPONSIVE, note=note)

    def settle(self) -> None:
        """Let the kernel finish what a program left to RCU and to work queues: it may complain about that."""
        pause(SETTLE_S)

    def describe(self) -> Description:
        """Return the description of the running guest, for the evidence."""
        return Description(
            domain_xml=self.domain.xml(), qemu_args=self.domain.qemu_args(), reproduce=self.wanted.reproduce
        )

    def _wait_for_console(self) -> None:
        """Wait until the emulator has ended or the console was quiet for LATE_CONSOLE_S; at most 20 times as long."""
        before = -1
        for _ in range(20):
            if not self.domain.alive() or self.console.size() == before:
                return
            before = self.console.size()
            pause(LATE_CONSOLE_S)

    def _deadline(self, seconds: float, what: str) -> Deadline:
        return Deadline.after(seconds, f"{self.name}: {what}", scale=self.accelerator.slowdown)

    def usage(self) -> Usage | None:
        """Return the resources that the emulator has used so far; None if they cannot be read."""
        return self.domain.usage()

    def close(self) -> None:
        """End the guest at once."""
        self.domain.destroy()
        self.connection.close()


def stdout_of(ended: Ended, what: str) -> str:
    """Return the stdout of a command of the lab's own; GuestLost, with the reason, if it failed."""
    if ended.end is not End.EXITED or ended.status:
        stderr = ended.stderr.decode("utf-8", "replace").strip()[:MAX_REASON]
        raise GuestLost(f"{what}: {' '.join(filter(None, (ended.end, ended.note, stderr)))}")
    return ended.stdout.decode("utf-8", "replace")


@dataclass(slots=True, kw_only=True)
class Snapshot:
    """A saved guest on disk, from which guests are restored.

    Its methods must be called from one thread; any number of guests restored from it may run at a time.
    """

    wanted: Boot
    hypervisor: Hypervisor
    boot_id: str
    save_s: float
    size: int
    """Size of the file in bytes: it holds the pages that are not zero, at most the guest's memory."""
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "restore"))
    _prepared: Future[tuple[Domain, int]] | None = None

    def prepare(self) -> None:
        """Restore the next guest in the background and leave it paused; call this only if a next guest will be needed.

        This saves the caller of `restore` about 0.2 s: the emulator's start and the loading of memory. While paused,
        the guest costs the memory that was saved and some 60 MB for the emulator. It prints nothing on the console,
        which the last guest still uses; if two guests cannot have one console file open, nothing is prepared.
        """
        if self._prepared is None and self.hypervisor.shares_consoles:
            self._prepared = self._thread.submit(self._start)

    def _start(self) -> tuple[Domain, int]:
        """Return a restored guest, still paused, and its SSH port on the host, which QEMU chooses at every start."""
        running = self.hypervisor.restore(self.wanted.state, self.wanted.rename())
        try:
            return running, running.ssh_port()
        except LabError:
            running.destroy()
            raise

    def restore(self) -> Guest:
        """Restore a guest and log in; InfraError if it cannot be started, GuestLost if it does not answer."""
        started = time.monotonic()
        prepared, self._prepared = self._prepared, None
        running, port = prepared.result() if prepared else self._start()
        try:
            # The guest is still paused: all console output from this offset on is its own.
            since = ConsoleLog(self.wanted.machine.console).size()
            running.resume()
            guest = _log_in(self.hypervisor, self.wanted, running, port, boot_s=time.monotonic() - started, since=since)
        except LabError:
            running.destroy()
            raise
        if guest.boot_id != self.boot_id:
            guest.close()
            raise GuestLost(f"{guest.name}: restored, but not the guest that was saved: boot id {guest.boot_id!r}")
        return guest

    def discard(self) -> None:
        """Remove the file, and end the prepared guest if no `restore` has used it. Running guests are not affected."""
        if self._prepared is not None:
            with suppress(LabError):
                running, _ = self._prepared.result()
                running.destroy()
            self._prepared = None
        self._thread.shutdown()
        self.wanted.state.unlink(missing_ok=True)


def boot(hypervisor: Hypervisor, wanted: Boot) -> Guest:
    """Boot a guest and log in.

    BootError: the kernel did not reach the ready line. InfraError: libvirt refused. GuestLost: SSH failed, or the
    emulator was killed or stopped.
    """
    machine = wanted.machine
    deadline = Deadline.after(BOOT_S * wanted.patience, f"{machine.name}: booting", scale=wanted.accelerator.slowdown)
    began = ConsoleLog(machine.console).size()
    running = power_on(hypervisor, wanted, deadline)
    boot_s = deadline.budget_s - deadline.remaining
    try:
        guest = _log_in(hypervisor, wanted, running, running.ssh_port(), boot_s=boot_s)
        guest.began = began
        return guest
    except LabError:
        running.destroy()
        raise


def _log_in(
    hypervisor: Hypervisor, wanted: Boot, running: Domain, port: int, *, boot_s: float, since: int | None = None
) -> Guest:
    """Connect to a running guest, wake it and return it; GuestLost if it does not answer.

    `since` is the size of the console log when the guest was restored; None if it was booted.
    """
    from lab.guests import ssh

    started = time.monotonic()
    console = ConsoleLog(wanted.machine.console)
    deadline = Deadline.after(CONNECT_S, f"{running.name}: SSH", scale=wanted.accelerator.slowdown)
    connection = ssh.connect(port, host_key=wanted.host_key, key=wanted.key, deadline=deadline)
    restored = since is not None
    if since is None:
        since = console.size()
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
        guest.wake(restored=restored)
    except LabError:
        connection.close()
        raise
    return guest


def power_on(hypervisor: Hypervisor, wanted: Boot, deadline: Deadline) -> Domain:
    """Start the machine and wait for its ready line; BootError with the end of its console if the line never comes.

    GuestLost if the emulator was killed or stopped meanwhile: then nothing is known about the kernel.

    The SSH library takes 0.2 s to load, so a thread loads it while the guest boots.
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
            if ready.seen():  # the line may have arrived between the two checks
                return True
            with suppress(DeadlineExceeded):  # after printing a panic the kernel reboots, which ends the emulator
                Deadline.after(LAST_WORDS_S, "").wait_for(lambda: not running.alive())
            with suppress(DeadlineExceeded):  # libvirt reports a killed emulator a moment later
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
        place = "" if stopped else where(running, wanted.symbols)
        running.destroy()
        if stopped:
            raise GuestLost(f"{machine.name}: the emulator's process was stopped by a signal") from error
        why = "; ".join(filter(None, (f"no ready line within {deadline.budget_s:.0f} s", place)))
        raise _boot_error(machine, console, start, why) from error
    except BaseException:
        running.destroy()
        raise
    return running


def where(running: Domain, symbols: Path | None) -> str:
    """Return where the CPUs of a guest are that hangs, by function if symbols are given; empty if it is not known."""
    counters = program_counters(running.registers())
    shown = sorted(counters)[:SHOWN_CPUS]
    addresses = [counters[cpu] for cpu in shown]
    functions = list(map(hex, addresses))
    if symbols:
        functions = functions_at(symbols.read_text("ascii", "replace"), addresses)
    places = [f"CPU {cpu} at {function}" for cpu, function in zip(shown, functions, strict=True)]
    return ", ".join(places) + (", ..." if len(counters) > len(shown) else "")


def _boot_error(machine: domain.GuestMachine, console: ConsoleLog, start: int, why: str) -> BootError:
    """Return a BootError with the last EXCERPT_LINES lines that the console log has behind offset `start`."""
    lines = console.text(start).strip().splitlines()
    excerpt = "\n".join(lines[-EXCERPT_LINES:]) or SILENT
    return BootError(f"{machine.name}: {why}", hint=f"console: {machine.console}", excerpt=excerpt)
