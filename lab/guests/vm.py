# SPDX-License-Identifier: GPL-2.0-or-later
"""libvirt, and the only module that imports it: start a domain, find its SSH port, save it, see it die, end it.

The default is the embedded driver: no daemon, no root needed, nothing of the user's other machines is touched. Each lab
has a root directory of its own below /tmp (socket names limit its length) and a reaper that ends its emulators when
the lab is killed. With a daemon (`qemu:///session`, `qemu:///system`) libvirt's autodestroy does that for guests that
boot; for restored ones, which it does not cover, a reaper does again, so a daemon whose emulators are another user's
restores none.

A saved domain is a file of libvirt's: the domain's XML, then QEMU's migration stream. It is written as a snapshot of
memory alone (`virDomainSnapshotCreateXML`): 0.1-0.2 s, after which the guest goes on; `virDomainSave` takes 1.4-2 s and
ends it. `virDomainRestoreFlags` starts it again.
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

# Read when the library is loaded. What matters comes as exceptions; the log is about dmidecode, cgroups and taints.
os.environ.setdefault("LIBVIRT_LOG_OUTPUTS", "4:file:/dev/null")
import libvirt
import libvirt_qemu

EMBED = "embed"
LOGD_S = 3.0
"""How long virtlogd may take to let go of the console of a guest that has ended."""
START_S = 30.0
"""How long libvirt may take to start an emulator, which takes a fraction of a second."""
# QEMU opens the console's file itself (no virtlogd), and runs as whoever runs the lab: an unprivileged user of
# libvirt's could not reach kernels and consoles below a home directory. The capability is filtered because libvirt 9.0
# with it asks an x86 guest for each property of its CPU, 400 questions and 0.2-0.3 s for every start; without, for two.
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
_events_started = threading.Lock()
_events_running = False
_never_closed: list[libvirt.virConnect] = []
_roots: list[tuple[Path, proc.Process]] = []
"""The one root of our embedded driver and its reaper, once there is one."""


def _start_events() -> None:
    """libvirt wants an event loop before the first connection is opened; it runs until the process ends."""
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
    """Process id of the emulator, where it runs on this host and can be told."""
    _gone: bool = field(default=False)
    _failed: set[str] = field(default_factory=set, repr=False)
    """Names of domains whose emulators died, filled by libvirt's events."""

    def alive(self) -> bool:
        """Whether libvirt has the guest running, or still about to."""
        if self._gone or (self.pid is not None and not self._is_emulator()):
            return False
        return self._runs()

    def _runs(self) -> bool:
        """What libvirt thinks, which takes a second or more to see that an emulator was killed."""
        try:
            state, _ = self.handle.state()
        except libvirt.libvirtError:
            return False
        return bool(state in (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_PAUSED))

    def emulator_died(self) -> bool:
        """Whether the guest ended because its emulator was killed or crashed, and not by its own doing.

        A guest that ends itself has QEMU tell libvirt before the process is gone. libvirt's word for a process that is
        just gone comes a second later, as an event.
        """
        if self.name in self._failed:
            return True
        return self.pid is not None and not self._is_emulator() and self._runs()

    def stopped(self) -> bool:
        """Whether somebody has stopped the emulator's process (SIGSTOP): its guest cannot do anything then."""
        try:
            return self.pid is not None and "\nState:\tT" in Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return False

    def ssh_port(self) -> int:
        """The port on 127.0.0.1 that leads to the guest's port 22."""
        try:
            said = libvirt_qemu.qemuMonitorCommand(
                self.handle, "info usernet", libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP
            )
        except libvirt.libvirtError as error:
            raise LibvirtError(f"{self.name}: QEMU does not tell the forwarded port: {error}") from error
        found = _HOST_FORWARD.search(said)
        if not found:
            raise InfraError(f"{self.name}: no forwarded port in QEMU's answer: {said.strip()!r}")
        return int(found[1])

    def xml(self) -> str:
        """The domain as libvirt completed it."""
        try:
            return str(self.handle.XMLDesc())
        except libvirt.libvirtError as error:
            raise LibvirtError(f"{self.name}: libvirt does not give its XML: {error}") from error

    def qemu_args(self) -> tuple[str, ...]:
        """The emulator's own command line, empty where it cannot be read."""
        return () if self.pid is None else _arguments(self.pid)

    def save(self, image: Path) -> None:
        """Write the guest's state to a file; the guest stands still meanwhile (0.1-0.2 s), then goes on."""
        root = ET.Element("domainsnapshot")
        ET.SubElement(root, "memory", snapshot="external", file=str(image))
        flags = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
        try:
            self.handle.snapshotCreateXML(ET.tostring(root, encoding="unicode"), flags)
        except libvirt.libvirtError as error:
            raise InfraError(f"{self.name} cannot be saved: {_words(error)}") from error

    def gdbserver(self, socket: Path | None) -> None:
        """Let debuggers have the guest through a socket, for which it waits; with None no more."""
        what = f"unix:{socket},server=on,wait=off" if socket else "none"
        try:
            said = libvirt_qemu.qemuMonitorCommand(
                self.handle, f"gdbserver {what}", libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP
            )
        except libvirt.libvirtError as error:
            raise LibvirtError(f"{self.name}: QEMU does not open a gdbserver: {_words(error)}") from error
        if socket and "Waiting for gdb" not in said:
            raise InfraError(f"{self.name}: QEMU does not open a gdbserver: {said.strip()}")

    def suspend(self) -> None:
        """Let the guest stand still."""
        try:
            self.handle.suspend()
        except libvirt.libvirtError as error:
            raise InfraError(f"{self.name} does not stop: {_words(error)}") from error

    def resume(self) -> None:
        """Let a restored guest run."""
        try:
            self.handle.resume()
        except libvirt.libvirtError as error:
            raise InfraError(f"{self.name} does not run on: {_words(error)}") from error

    def usage(self) -> Usage | None:
        """What the emulator has taken so far; None where it cannot be told."""
        if self.pid is None:
            return None
        return usage_of(Path(f"/proc/{self.pid}"))

    def destroy(self) -> None:
        """End the guest at once; fine when it has ended by itself.

        Where we know the emulator's process it is simply killed: nothing in a guest is worth the 1-2 s that libvirt's
        orderly end takes, and libvirt forgets a transient domain by itself when its monitor closes.
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
        """Whether the process id still is our emulator."""
        return _carries(self.name, self.qemu_args())


def usage_of(process: Path) -> Usage | None:
    """What a process (its directory in /proc) has taken so far; None when it has ended."""
    try:
        status = (process / "status").read_text()
        # The second field may hold anything, in parentheses; those behind it are numbers: proc(5).
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        # Of every thread: nanoseconds that it ran, and that it waited for a CPU. Threads that ended are not counted.
        waits = [int(path.read_text().split()[1]) for path in process.glob("task/*/schedstat")]
    except OSError:
        return None
    peak = re.search(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE)
    if not peak:
        return None  # ended, and not yet waited for
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
    """The embedded driver's directory, None with a daemon."""
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
        """Create a transient domain; InfraError with libvirt's words when it refuses."""
        name = ET.fromstring(xml).findtext("name") or ""
        return self._enlist(self._create(name, xml))

    def restore(self, image: Path, name: str) -> Domain:
        """Start a saved guest, paused, under a name of its own that is as long as the one it was saved under.

        InfraError when libvirt refuses. Not for two threads at once with one image, which is given the new name.
        """
        _rename(image, name)
        # Without a daemon nothing has to be waited for, and the first refusal is the last.
        deadline = Deadline.after(0.0 if self.shares_consoles else LOGD_S, f"restoring {name}")
        while True:
            try:
                with self._not_for_ever(name):
                    self.connection.restoreFlags(str(image), None, libvirt.VIR_DOMAIN_SAVE_PAUSED)
                domain = self._enlist(self._domain(name, self.connection.lookupByName(name)))
                break
            except libvirt.libvirtError as error:
                if deadline.expired:
                    raise InfraError(f"libvirt cannot restore {name}: {_words(error)}") from error
                pause(LOGD_S / 10)
        if domain.pid is None:
            domain.destroy()
            raise InfraError(f"{name} must not be restored: its emulator is another user's and would outlive the lab")
        return domain

    @property
    def shares_consoles(self) -> bool:
        """Whether two guests may have one console's file at a time. A daemon's virtlogd gives it to one, and lets go a
        moment after that one has ended."""
        return self.root is not None

    def _enlist(self, domain: Domain) -> Domain:
        """Remember a domain, so that `abort` ends it; end it at once when that was before."""
        with self._lock:
            self._started.append(domain)
            aborted = self._aborted
        if aborted:
            domain.destroy()
        return domain

    def abort(self) -> None:
        """End every guest, also those that are being started: whoever waits for one learns that it is dead."""
        with self._lock:
            self._aborted = True
            started = tuple(self._started)
        for domain in started:
            domain.destroy()
        self._kill("guest=")  # and those that libvirt still waits for

    def end_named(self, prefix: str) -> None:
        """End the guests whose names begin with a prefix: whoever waits for one learns that it is dead."""
        with self._lock:
            started = tuple(self._started)
        for domain in started:
            if domain.name.startswith(prefix):
                domain.destroy()
        self._kill(f"guest={prefix}")

    def _create(self, name: str, xml: str) -> Domain:
        flags = 0 if self.root else libvirt.VIR_DOMAIN_START_AUTODESTROY
        try:
            with self._not_for_ever(name):
                handle = self.connection.createXML(xml, flags)
        except libvirt.libvirtError as error:
            raise LibvirtError(
                f"libvirt cannot start {name}: {_words(error)}", hint="`lab doctor` checks the host"
            ) from error
        return self._domain(name, handle)

    def _domain(self, name: str, handle: libvirt.virDomain) -> Domain:
        return Domain(name=name, handle=handle, pid=self._pid(name), _failed=self._failed)

    @contextmanager
    def _not_for_ever(self, name: str) -> Iterator[None]:
        """End an emulator that does not talk to libvirt (somebody stopped it?): libvirt itself waits without end."""
        timer = threading.Timer(START_S, self._kill, args=(f"guest={name},",))
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _kill(self, word: str) -> None:
        """End the emulators below our root that have a word on their command lines."""
        for pid in reaper.emulators(str(self.root)) if self.root else ():
            with suppress(OSError):
                if word.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)

    def _pid(self, name: str) -> int | None:
        """The emulator's process, None where it is not ours to end."""
        if self.root is None:
            return _own_emulator(name)
        for base in (self.root / "run" / "qemu", self.root / "run"):
            with suppress(OSError, ValueError):
                return int((base / f"{name}.pid").read_text())
        return None

    def version(self) -> str:
        """libvirt's version, `9.0.0`."""
        number = int(self.connection.getLibVersion())
        return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


def _carries(name: str, arguments: Sequence[str]) -> bool:
    """Whether a command line is that of the emulator which runs the domain of this name."""
    return any(part.startswith(f"guest={name},") for part in arguments)


def _arguments(pid: int | str) -> tuple[str, ...]:
    """A process's command line; empty where it cannot be read."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ()
    return tuple(part.decode("utf-8", "replace") for part in raw.rstrip(b"\0").split(b"\0"))


def _own_emulator(name: str) -> int | None:
    """The process that runs a daemon's domain, where we may end it."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _carries(name, _arguments(entry.name)):
            with suppress(OSError):
                return int(entry.name) if os.geteuid() in (0, entry.stat().st_uid) else None
    return None


def _words(error: libvirt.libvirtError) -> str:
    """libvirt's message in one line; QEMU's own, within it, come on several."""
    return " ".join(str(error).split())


_IMAGE_MAGIC = b"LibvirtQemudSave"
_IMAGE_HEAD = 64 << 10
"""More bytes than the head of an image with the domain's XML has before the XML's name and UUID."""


def _rename(image: Path, name: str) -> None:
    """Give a saved guest another name and another UUID, in the XML at the head of its image.

    libvirt starts a saved guest under its old name and UUID only (its check that the machine is the same one covers
    them), and these are free a second or more after the last guest that had them was killed. The guest does not see
    them: what the firmware was told of the UUID is in its memory. InfraError when the image looks otherwise.
    """
    try:
        with image.open("r+b") as file:
            head = file.read(_IMAGE_HEAD)
            for tag, new in ((b"name", name.encode()), (b"uuid", str(uuid.uuid4()).encode())):
                found = re.search(b"<%b>([^<]*)</%b>" % (tag, tag), head)
                if not head.startswith(_IMAGE_MAGIC) or not found or len(found[1]) != len(new):
                    raise InfraError(f"{image}: not a saved guest that can be called {name}")
                file.seek(found.start(1))
                file.write(new)
    except OSError as error:
        raise InfraError(f"{image}: {error.strerror}") from error


@contextmanager
def hypervisor(cache: Cache, scratch: Path, *, uri: str | None = None) -> Iterator[Hypervisor]:
    """Open libvirt: the embedded driver, or `uri` where the user names a daemon.

    `scratch` is the directory of this lab's that its guests boot from. With a daemon they are known by it, when the lab
    was killed; it goes with them.
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
    """End whatever still runs, on the way out."""
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
            # Closing waits 1-2 s for threads that take leave of guests which are dead already.
            _never_closed.append(connection)
        else:
            with suppress(libvirt.libvirtError):
                connection.close()


@contextmanager
def _embedded_root(cache: Cache) -> Iterator[Path]:
    """A private root for the embedded driver, watched by a reaper that removes it when we are gone.

    A process has one: libvirt opens its driver with no second root, so the next hypervisor has the same.
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
    """A process that, once we are gone, ends the emulators that name a directory, and removes it.

    The pipe to it is closed by our process's end and not before: libvirt's threads still write below the root while
    they take leave of guests, and what comes back behind the reaper would stay.
    """
    read_end, _ = os.pipe()
    guard = proc.start(
        [sys.executable, "-I", "-S", str(Path(reaper.__file__)), str(directory), str(read_end)],
        pass_fds=(read_end,),
        outlive=True,
    )
    os.close(read_end)
    return guard


# libvirt asks every emulator for its capabilities once per root, 1-2 s each. It checks by itself whether a stored
# answer still fits (emulator's ctime, libvirt's version), so answers may be carried from one root to the next.
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
