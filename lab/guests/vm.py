# SPDX-License-Identifier: GPL-2.0-or-later
"""Domains of libvirt: start one, find its SSH port, save and restore it, notice its end, kill it.

No other module imports libvirt.

The default is libvirt's embedded driver: it needs neither a daemon nor root and does not touch the user's other virtual
machines. Each lab process has its own root directory below /tmp (the length of socket names limits its path) and a
reaper process that kills its emulators when the lab is killed. With a daemon (`qemu:///session`, `qemu:///system`)
libvirt's autodestroy does that for booted guests. Autodestroy does not cover restored guests, so the reaper kills them.
It cannot kill the emulators of another user: with a daemon that runs them as another user, no guest is restored.

A saved domain is a file in libvirt's format: the domain's XML, then QEMU's migration stream. It is written as a
memory-only snapshot (`virDomainSnapshotCreateXML`), which takes 0.1-0.2 s and lets the guest continue; `virDomainSave`
takes 1.4-2 s and ends the guest. `virDomainRestoreFlags` starts a guest from the file.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

from lab.core import proc
from lab.core.cache import Cache
from lab.core.deadline import Deadline, pause
from lab.core.errors import InfraError, LibvirtError
from lab.core.outcome import Usage
from lab.guests import reaper

# libvirt reads this when it is loaded. Errors are raised as exceptions; the log is about dmidecode, cgroups and taints.
os.environ.setdefault("LIBVIRT_LOG_OUTPUTS", "4:file:/dev/null")
import libvirt
import libvirt_qemu

EMBED = "embed"
LOGD_S = 3.0
"""Seconds that virtlogd may take to close the console file of a guest that has ended."""
REGISTERS_S = 3.0
"""Seconds that QEMU's monitor may take to print registers; an emulator that hangs does not answer."""
START_S = 30.0
"""Seconds that libvirt may take to start an emulator; normally it takes a fraction of one."""
# QEMU opens the console's file itself (no virtlogd) and runs as the user who runs the lab: libvirt's unprivileged
# user could not read kernels and write consoles below a home directory. The capability is filtered because with it
# libvirt 9.0 queries every property of an x86 guest's CPU: 400 queries and 0.2-0.3 s at every start, instead of two.
_QEMU_CONF = """\
stdio_handler = "file"
seccomp_sandbox = 1
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
namespaces = []
cgroup_controllers = []
capability_filters = ["cpu-unavailable-features"]
"""
_ROOT_CONF = 'user = "root"\ngroup = "root"\n'
_HOST_FORWARD = re.compile(r"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s")
_HMP = libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP
_events_started = threading.Lock()
_events_running = False
_never_closed: list[libvirt.virConnect] = []
_roots: list[tuple[Path, proc.Process]] = []
"""The root directory of this process's embedded driver and its reaper; empty until the driver is first opened."""


def _start_events() -> None:
    """Start libvirt's event loop, which must exist before the first connection; it runs until the process ends."""
    global _events_running  # noqa: PLW0603
    with _events_started:
        if _events_running:
            return
        libvirt.virEventRegisterDefaultImpl()
        libvirt.registerErrorHandler(lambda *_: None, None)  # errors reach us as exceptions; keep stderr clean

        def loop() -> None:
            while True:
                libvirt.virEventRunDefaultImpl()

        threading.Thread(target=loop, name="libvirt-events", daemon=True).start()
        _events_running = True


@dataclass(slots=True, kw_only=True)
class Domain:
    """A running guest. Not reusable after `destroy`."""

    name: str
    handle: libvirt.virDomain
    pid: int | None
    """Process id of the emulator; None if it is unknown or the lab may not kill it."""
    _gone: bool = field(default=False)
    _failed: set[str] = field(default_factory=set, repr=False)
    """Names of domains whose emulators died, filled by libvirt's events."""

    def alive(self) -> bool:
        """Return whether the guest is running, or paused before it runs."""
        if self._gone or (self.pid is not None and not self._is_emulator()):
            return False
        return self._runs()

    def _runs(self) -> bool:
        """Return whether libvirt reports the guest as alive; it notices a killed emulator after a second or more."""
        try:
            state, _ = self.handle.state()
        except libvirt.libvirtError:
            return False
        return bool(state in (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_PAUSED))

    def emulator_died(self) -> bool:
        """Return whether the guest ended because its emulator was killed or crashed, not because it shut down.

        When a guest shuts down, QEMU notifies libvirt before the process ends. If the process just disappears, libvirt
        reports that a second later, as an event.
        """
        if self.name in self._failed:
            return True
        return self.pid is not None and not self._is_emulator() and self._runs()

    def stopped(self) -> bool:
        """Return whether the emulator's process is stopped (SIGSTOP), so that its guest cannot run."""
        try:
            return self.pid is not None and "\nState:\tT" in Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return False

    def ssh_port(self) -> int:
        """Return the port on 127.0.0.1 that is forwarded to the guest's port 22."""
        try:
            answer = libvirt_qemu.qemuMonitorCommand(self.handle, "info usernet", _HMP)
        except libvirt.libvirtError as error:
            raise LibvirtError(f"{self.name}: QEMU does not report the forwarded port: {error}") from error
        match = _HOST_FORWARD.search(answer)
        if not match:
            raise InfraError(f"{self.name}: no forwarded port in QEMU's answer: {answer.strip()!r}")
        return int(match[1])

    def xml(self) -> str:
        """Return the domain's XML as libvirt completed it."""
        try:
            return str(self.handle.XMLDesc())
        except libvirt.libvirtError as error:
            raise LibvirtError(f"{self.name}: libvirt does not give its XML: {error}") from error

    def qemu_args(self) -> tuple[str, ...]:
        """Return the emulator's command line; empty if it cannot be read."""
        return () if self.pid is None else _arguments(self.pid)

    def save(self, image: Path) -> None:
        """Write the guest's state to a file; the guest is paused meanwhile (0.1-0.2 s) and then continues."""
        root = ET.Element("domainsnapshot")
        ET.SubElement(root, "memory", snapshot="external", file=str(image))
        flags = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
        try:
            self.handle.snapshotCreateXML(ET.tostring(root, encoding="unicode"), flags)
        except libvirt.libvirtError as error:
            raise InfraError(f"{self.name} cannot be saved: {_words(error)}") from error

    def gdbserver(self, socket: Path | None) -> None:
        """Have QEMU open a gdbserver on a Unix socket; with None it closes the gdbserver."""
        what = f"unix:{socket},server=on,wait=off" if socket else "none"
        try:
            answer = libvirt_qemu.qemuMonitorCommand(self.handle, f"gdbserver {what}", _HMP)
        except libvirt.libvirtError as error:
            raise LibvirtError(f"{self.name}: QEMU does not open a gdbserver: {_words(error)}") from error
        if socket and "Waiting for gdb" not in answer:
            raise InfraError(f"{self.name}: QEMU does not open a gdbserver: {answer.strip()}")

    def registers(self) -> str:
        """Return all CPUs' registers, as QEMU's monitor prints them; empty if it does not answer in REGISTERS_S."""
        answers: list[str] = []

        def ask() -> None:
            with suppress(libvirt.libvirtError):
                answers.append(libvirt_qemu.qemuMonitorCommand(self.handle, "info registers -a", _HMP))

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        asking.join(REGISTERS_S)
        return "".join(answers)

    def suspend(self) -> None:
        """Pause the guest."""
        try:
            self.handle.suspend()
        except libvirt.libvirtError as error:
            raise InfraError(f"{self.name} cannot be paused: {_words(error)}") from error

    def resume(self) -> None:
        """Continue a paused guest; a guest that was just restored is paused."""
        try:
            self.handle.resume()
        except libvirt.libvirtError as error:
            raise InfraError(f"{self.name} cannot be continued: {_words(error)}") from error

    def usage(self) -> Usage | None:
        """Return the resources that the emulator has used so far; None if they cannot be read."""
        if self.pid is None:
            return None
        return usage_of(Path(f"/proc/{self.pid}"))

    def destroy(self) -> None:
        """End the guest at once; do nothing if it has ended already.

        If the emulator's process is known it is killed: libvirt's own shutdown would take 1-2 s and a guest holds
        nothing worth saving. libvirt drops a transient domain by itself when its monitor closes.
        """
        if self._gone:
            return
        self._gone = True
        if self.pid is None:
            with suppress(libvirt.libvirtError):
                self.handle.destroyFlags(0)
        elif self._is_emulator():
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def _is_emulator(self) -> bool:
        """Return whether the process id still belongs to this domain's emulator."""
        return _is_command_line_of(self.name, self.qemu_args())


def usage_of(process: Path) -> Usage | None:
    """Return the resources that a process, given by its directory in /proc, has used so far; None if it has ended."""
    try:
        status = (process / "status").read_text()
        # The second field is the command name in parentheses, with any characters in it; numbers follow: proc(5).
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        # Per thread: nanoseconds that it ran, and that it waited for a CPU. Threads that have ended are not counted.
        waits = [int(path.read_text().split()[1]) for path in process.glob("task/*/schedstat")]
    except OSError:
        return None
    peak = re.search(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE)
    if not peak:
        return None  # a zombie: it has ended and its parent has not reaped it yet
    ticks = os.sysconf("SC_CLK_TCK")
    user, system, started = (int(fields[number]) / ticks for number in (11, 12, 19))
    life = time.clock_gettime(time.CLOCK_BOOTTIME) - started
    return Usage(peak=int(peak[1]) * 1024, cpu_s=user + system, wait_s=sum(waits) / 1e9, life_s=max(life, 0.0))


@dataclass(slots=True, kw_only=True)
class Hypervisor:
    """An open connection to libvirt."""

    connection: libvirt.virConnect
    uri: str
    root: Path | None
    """The embedded driver's root directory; None with a daemon."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _started: list[Domain] = field(default_factory=list)
    _failed: set[str] = field(default_factory=set)
    _aborted: bool = False

    def __post_init__(self) -> None:
        def ended(_connection: object, domain: libvirt.virDomain, event: int, detail: int, _opaque: object) -> None:
            if event == libvirt.VIR_DOMAIN_EVENT_STOPPED and detail == libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED:
                self._failed.add(domain.name())

        self.connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, ended, None)

    def start(self, xml: str) -> Domain:
        """Create a transient domain and start it; LibvirtError with libvirt's message if it refuses."""
        name = ET.fromstring(xml).findtext("name") or ""
        return self._register(self._create(name, xml))

    def restore(self, image: Path, name: str) -> Domain:
        """Restore a saved guest, leave it paused, and give it a new name, as long as the one it was saved under.

        InfraError if libvirt refuses, or if the emulator would belong to another user. The new name is written into
        the image, so two threads must not restore from one image at the same time.
        """
        _rename(image, name)
        # With a daemon, virtlogd may still hold the console of the last guest: try again for LOGD_S. Without, try once.
        deadline = Deadline.after(0.0 if self.shares_consoles else LOGD_S, f"restoring {name}")
        while True:
            try:
                with self._start_limit(name):
                    self.connection.restoreFlags(str(image), None, libvirt.VIR_DOMAIN_SAVE_PAUSED)
                domain = self._register(self._domain(name, self.connection.lookupByName(name)))
                break
            except libvirt.libvirtError as error:
                if deadline.expired:
                    raise InfraError(f"libvirt cannot restore {name}: {_words(error)}") from error
                pause(LOGD_S / 10)
        if domain.pid is None:
            domain.destroy()
            raise InfraError(f"{name} cannot be restored: its emulator runs as another user and would outlive the lab")
        return domain

    @property
    def aborted(self) -> bool:
        """Whether all guests were ended at once, since the lab is being interrupted."""
        return self._aborted

    @property
    def shares_consoles(self) -> bool:
        """Whether two guests may have one console file open at a time.

        With a daemon they may not: virtlogd opens it for one guest and closes it a moment after that guest has ended.
        """
        return self.root is not None

    def _register(self, domain: Domain) -> Domain:
        """Record a domain, so that `abort` ends it; if `abort` was called before, end the domain at once."""
        with self._lock:
            self._started.append(domain)
            aborted = self._aborted
        if aborted:
            domain.destroy()
        return domain

    def abort(self) -> None:
        """End every guest, also those that are being started; `alive` is False for them from then on."""
        with self._lock:
            self._aborted = True
            started = tuple(self._started)
        for domain in started:
            domain.destroy()
        self._kill("guest=")  # emulators that libvirt is still starting

    def end_named(self, prefix: str) -> None:
        """End the guests whose names begin with a prefix; `alive` is False for them from then on."""
        with self._lock:
            started = tuple(self._started)
        for domain in started:
            if domain.name.startswith(prefix):
                domain.destroy()
        self._kill(f"guest={prefix}")

    def _create(self, name: str, xml: str) -> Domain:
        flags = 0 if self.root else libvirt.VIR_DOMAIN_START_AUTODESTROY
        try:
            with self._start_limit(name):
                handle = self.connection.createXML(xml, flags)
        except libvirt.libvirtError as error:
            raise LibvirtError(
                f"libvirt cannot start {name}: {_words(error)}", hint="`lab doctor` checks the host"
            ) from error
        return self._domain(name, handle)

    def _domain(self, name: str, handle: libvirt.virDomain) -> Domain:
        return Domain(name=name, handle=handle, pid=self._pid(name), _failed=self._failed)

    @contextmanager
    def _start_limit(self, name: str) -> Iterator[None]:
        """Kill an emulator that does not answer libvirt within START_S, for example because it was stopped.

        libvirt itself waits without a time limit.
        """
        timer = threading.Timer(START_S, self._kill, args=(f"guest={name},",))
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _kill(self, text: str) -> None:
        """Kill the emulators below the embedded driver's root whose command lines contain `text`."""
        for pid in reaper.emulators(str(self.root)) if self.root else ():
            with suppress(OSError):
                if text.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)

    def _pid(self, name: str) -> int | None:
        """Return the emulator's process id; None if it is unknown or the lab may not kill it."""
        if self.root is None:
            return _own_emulator(name)
        for base in (self.root / "run" / "qemu", self.root / "run"):
            with suppress(OSError, ValueError):
                return int((base / f"{name}.pid").read_text())
        return None

    def version(self) -> str:
        """Return libvirt's version, such as `9.0.0`."""
        number = int(self.connection.getLibVersion())
        return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


def _is_command_line_of(name: str, arguments: Sequence[str]) -> bool:
    """Return whether a command line belongs to the emulator of the domain `name`."""
    return any(part.startswith(f"guest={name},") for part in arguments)


def _arguments(pid: int | str) -> tuple[str, ...]:
    """Return a process's command line; empty if it cannot be read."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ()
    return tuple(part.decode("utf-8", "replace") for part in raw.rstrip(b"\0").split(b"\0"))


def _own_emulator(name: str) -> int | None:
    """Return the process id of a daemon's emulator; None if there is none or the lab may not kill it."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _is_command_line_of(name, _arguments(entry.name)):
            with suppress(OSError):
                return int(entry.name) if os.geteuid() in (0, entry.stat().st_uid) else None
    return None


def _words(error: libvirt.libvirtError) -> str:
    """Return libvirt's message as one line; a message of QEMU's within it may have several."""
    return " ".join(str(error).split())


_IMAGE_MAGIC = b"LibvirtQemudSave"
_IMAGE_HEAD = 64 << 10
"""How many bytes of an image are searched for the domain's name and UUID, which are near the start of its XML."""


def _rename(image: Path, name: str) -> None:
    """Replace the name and the UUID of a saved guest, in the XML at the head of its image.

    libvirt restores a guest only under the name and UUID in the image, because its check for the same machine compares
    them. It releases both only a second or more after the last guest with them was killed. The guest does not notice
    the change: the UUID that its firmware read is in its memory. InfraError if the image has another format.
    """
    try:
        with image.open("r+b") as file:
            head = file.read(_IMAGE_HEAD)
            for tag, new in ((b"name", name.encode()), (b"uuid", str(uuid.uuid4()).encode())):
                match = re.search(b"<%b>([^<]*)</%b>" % (tag, tag), head)
                if not head.startswith(_IMAGE_MAGIC) or not match or len(match[1]) != len(new):
                    raise InfraError(f"{image}: not a saved guest that can be called {name}")
                file.seek(match.start(1))
                file.write(new)
    except OSError as error:
        raise InfraError(f"{image}: {error.strerror}") from error


@contextmanager
def hypervisor(cache: Cache, scratch: Path, *, uri: str | None = None) -> Iterator[Hypervisor]:
    """Open libvirt: the embedded driver, or the daemon at `uri` if the user named one.

    `scratch` is the directory of this lab process from which its guests boot. With a daemon the reaper recognises the
    guests of a killed lab by this directory on their command lines, and removes it afterwards.
    """
    _start_events()
    if uri and not uri.startswith(f"qemu:///{EMBED}"):
        with _connection(uri) as connection:
            _start_reaper(scratch)
            yield from _opened(Hypervisor(connection=connection, uri=uri, root=None))
        return
    with _embedded_root(cache) as root, _connection(f"qemu:///{EMBED}?root={root}", embedded=True) as connection:
        yield from _opened(Hypervisor(connection=connection, uri=f"qemu:///{EMBED}", root=root))


def _opened(opened: Hypervisor) -> Iterator[Hypervisor]:
    """Yield the hypervisor and end all its guests at exit."""
    try:
        yield opened
    finally:
        opened.abort()


@contextmanager
def _connection(uri: str, *, embedded: bool = False) -> Iterator[libvirt.virConnect]:
    try:
        connection = libvirt.open(uri)
    except libvirt.libvirtError as error:
        raise LibvirtError(f"libvirt cannot open {uri}: {error}", hint="`lab doctor` checks the host") from error
    try:
        yield connection
    finally:
        if embedded:
            # Closing would wait 1-2 s for threads that clean up after guests which are dead already.
            _never_closed.append(connection)
        else:
            with suppress(libvirt.libvirtError):
                connection.close()


@contextmanager
def _embedded_root(cache: Cache) -> Iterator[Path]:
    """Yield a private root directory for the embedded driver, which a reaper removes after this process has ended.

    A process has one root: libvirt cannot open its driver with a second, so the next hypervisor uses the same.
    """
    if not _roots:
        root = Path(tempfile.mkdtemp(prefix="pagelab-", dir="/tmp"))
        _roots.append((root, _start_reaper(root)))
        (root / "etc").mkdir()
        (root / "etc" / "qemu.conf").write_text(_QEMU_CONF + (_ROOT_CONF if os.geteuid() == 0 else ""))
        _reuse_capabilities(cache, root)
    root, guard = _roots[0]
    yield root
    _keep_capabilities(cache, root)
    if guard.poll() is not None:  # somebody killed the reaper
        _roots[0] = (root, _start_reaper(root))


def _start_reaper(directory: Path) -> proc.Process:
    """Start a process that waits for the end of this one, then kills the emulators using a directory and removes it.

    The pipe to it stays open until this process ends: libvirt's threads still write below the root while they clean up
    after guests, and files written after the reaper had finished would never be removed.
    """
    read_end, _ = os.pipe()
    guard = proc.start(
        [sys.executable, "-I", "-S", str(Path(reaper.__file__)), str(directory), str(read_end)],
        pass_fds=(read_end,),
        outlive=True,
    )
    os.close(read_end)
    return guard


# libvirt queries the capabilities of every emulator once per root, 1-2 s each. It checks by itself whether a stored
# answer is still valid (emulator's ctime, libvirt's version), so answers can be copied from one root to the next.
_CAPABILITIES = Path("cache/qemu/capabilities")


def _reuse_capabilities(cache: Cache, root: Path) -> None:
    kept = cache.root / "libvirt-capabilities"
    with suppress(OSError):
        shutil.copytree(kept, root / _CAPABILITIES)


def _keep_capabilities(cache: Cache, root: Path) -> None:
    kept = cache.root / "libvirt-capabilities"
    with suppress(OSError):
        kept.mkdir(parents=True, exist_ok=True)
        for file in (root / _CAPABILITIES).glob("*.xml"):
            temporary = kept / f".{file.name}.{os.getpid()}"
            shutil.copyfile(file, temporary)
            temporary.replace(kept / file.name)
