# SPDX-License-Identifier: GPL-2.0-or-later
"""Prepares what a cell's guests boot from and run (built, or from the cache) and boots guests.

The runner reaches builds, libvirt and the disk only through this module.
"""

from __future__ import annotations

import importlib
import itertools
import os
import platform
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from lab.arch.record import Arch
from lab.build import rootfs
from lab.build.builder import Artifacts, Builder
from lab.build.rootfs import Rootfs
from lab.core import proc, qemu_version
from lab.core.cache import explain_os_error, file_digest
from lab.core.deadline import Deadline
from lab.core.errors import InfraError, LabError
from lab.core.outcome import Mismatch
from lab.core.progress import Progress
from lab.core.ssh_keys import KeyPair
from lab.core.this_host import install_command
from lab.evidence.metadata import Provenance
from lab.formats.kconfig import slowness
from lab.guests import accelerator, guest, guest_root, qemu_command, saved_states, verify, vm
from lab.guests.accelerator import Accelerator
from lab.guests.domain import GuestMachine, command_line, domain_xml
from lab.guests.guest import Boot, Description, Guest, Snapshot
from lab.guests.guest_root import GuestRoot
from lab.guests.saved_states import SavedGuest, SavedStates
from lab.guests.verify import ExpectedMachine
from lab.specs.model import Kernel, Topology
from lab.specs.plan import Cell

COPY = 1 << 20
SPARSE_NOT_SAVED = "QEMU reads all memory of a guest that it saves, and a sparse guest's would then be allocated"
AUTHORIZED_KEYS = "root/.ssh/authorized_keys"
STARTS = itertools.count(1)
"""Numbers the guests of all factories of this process: libvirt blocks a name for a while after its guest has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BootableCell:
    """A cell with everything that its guests boot from and run."""

    name: str
    topology: Topology
    products: Artifacts
    factory: GuestFactory
    archives: tuple[Path, ...] = ()
    """Archives of the user's that are appended to the initramfs and unpacked after the userland."""
    root: GuestRoot | None = None
    """What programs have as `/`; None for the guest's own small userland."""

    @property
    def parts(self) -> tuple[Path, ...]:
        """What follows the userland in the initramfs: the kernel's modules, and what a user brings along."""
        found: list[Path] = []
        if modules := self.products.kernel.modules:
            found.append(modules)
        found += self.archives
        if self.root is not None:
            found += self.root.archives
        return tuple(found)

    @property
    def enter(self) -> tuple[str, ...]:
        """The words in front of a scenario's program: none, or those that run it in the root."""
        if self.root is None:
            return ()
        return guest_root.entering("/tmp")

    @property
    def programs(self) -> Mapping[str, Path]:
        """Scenario name -> static program for the guest."""
        return self.products.tests.programs

    @property
    def config(self) -> bytes:
        """The kernel's final .config."""
        return self.products.kernel.config.read_bytes()

    @property
    def provenance(self) -> Provenance:
        """What the kernel was built from, and the key of its userland, for metadata.json."""
        return self.products.kernel.provenance.changed(userland=self.products.rootfs.key)

    @property
    def no_save(self) -> str:
        """Why guests of this cell cannot be saved; empty if they can.

        A sparse guest's memory is a memfd. To read a page of it that was never written allocates the page, so saving
        and restoring such a guest would take as much of the host's memory as the machine has.
        """
        if self.topology.sparse:
            return SPARSE_NOT_SAVED
        architecture = self.topology.architecture
        return architecture.no_save(_emulator_version(architecture))

    def planned(self, console: Path) -> Description:
        """Return the description of the machine that is going to be started."""
        wanted = self.factory.boot_of(self, console)
        return Description(domain_xml=domain_xml(wanted.machine), qemu_args=(), reproduce=wanted.reproduce)

    def boot(self, console: Path) -> Guest:
        """Boot one guest with the best working accelerator, log in and mount its root. See `guest.boot` for errors."""
        booted = guest.boot(self.factory.hypervisor, self.factory.boot_of(self, console))
        if self.root is None:
            return booted
        try:
            guest_root.mount(booted, self.root)
        except BaseException:
            booted.close()
            raise
        return booted

    def restore(self, console: Path) -> RestoredGuest | None:
        """Return a guest that an earlier lab booted, verified and saved; None if there is none that can be used.

        What it printed while it booted is put into its console's file first.
        """
        return self.factory.restore(self, console)

    def keep(self, guest: Guest, facts: str) -> None:
        """Keep the state of a guest that was verified by `facts`, for later labs.

        InfraError if it cannot be saved, after which the guest may be dead; a second call for this cell does nothing.
        """
        self.factory.keep(self, guest, facts)

    def verify(self, facts: str) -> tuple[Mismatch, ...]:
        """Return how the guest, by its facts, differs from the requested machine; empty if it does not."""
        asked = ExpectedMachine(
            topology=self.topology,
            build_id=self.products.kernel.provenance.build_id,
            release=self.products.kernel.provenance.release,
            cmdline=command_line(self.topology),
            shadow=verify.shadow_of(self.config, self.topology.total_memory),
        )
        return verify.verify(asked, verify.parse_facts(facts))


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoredGuest:
    """A guest that was restored from the cache."""

    guest: Guest
    facts: str
    """The facts that it was verified by when it was saved."""
    state: str
    """The key of its state in the cache."""
    saved: str
    """When it was saved, in ISO 8601."""


@dataclass(slots=True, kw_only=True)
class GuestFactory:
    """A builder, an open libvirt connection and this run's key pair. Methods may be called from any thread."""

    workshop: Builder
    hypervisor: vm.Hypervisor
    scratch: Path
    """The directory of this run's files that guests boot from; removed when the lab ends."""
    key: KeyPair = field(default_factory=KeyPair.generate)
    states: SavedStates | None = None
    """The saved guests in the cache; None to boot every guest."""
    keeps: bool = True
    """Whether guests that booted are saved for later labs, where saved ones are used."""
    notes: list[str] = field(default_factory=list)
    """A sentence on each saved guest that was there and was not used."""
    _unsaved: set[str] = field(default_factory=set)
    """Keys of guests that are not kept: saving one of them failed."""
    _kept: dict[str, Future[None]] = field(default_factory=dict)
    """Key of a guest that this run saved -> when its state is in the cache."""
    _keeping: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "keep"))
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _accelerators: dict[str, Accelerator] = field(default_factory=dict)
    _initrds: dict[tuple[str, ...], Path] = field(default_factory=dict)

    def prepare(self, cell: Cell, progress: Progress) -> BootableCell:
        """Build or find what the guests of a plan's cell need, and return it."""
        return self.ready(cell.topology, cell.kernel, progress)

    def abort(self) -> None:
        """End every guest and every compiler at once: the lab is being interrupted."""
        proc.abort()
        self.hypervisor.abort()

    def ready(self, topology: Topology, wanted: Kernel, progress: Progress) -> BootableCell:
        """Build or find what guests of this machine with this kernel need, and return it."""
        products = self.workshop.make(topology, wanted, progress)
        root = None
        if products.root is not None:
            root = guest_root.fit(products.root, topology, products.kernel, self.workshop.cache)
            if root.note:
                progress(f"the root is in the guest's memory: {root.note}")
        return BootableCell(
            name=f"{topology.name}-{wanted.name}", topology=topology, products=products, factory=self, root=root
        )

    def boot_of(self, ready: BootableCell, console: Path) -> Boot:
        """Return the input for booting a guest of a prepared cell."""
        chosen = self.accelerator_of(ready)
        stretched = replace(chosen, slowdown=chosen.slowdown * slowness(ready.config))
        return self._boot(ready, ready.topology, console, stretched)

    # ---- Saved guests ------------------------------------------------------------------------------------------------

    def restore(self, ready: BootableCell, console: Path) -> RestoredGuest | None:
        """Return a guest restored from a state in the cache; None if there is none that can be used."""
        if self.states is None or ready.no_save or ready.root is not None:
            return None
        wanted = self.boot_of(ready, console)
        key = self._state_key(ready, wanted)
        if being_kept := self._kept.get(key):
            being_kept.result()
        if not self.states.has(key):
            return None
        try:
            return self._restored(self.states, key, wanted)
        except LabError as error:
            if self.hypervisor.aborted:
                raise
            self.states.remove(key)
            self.notes.append(f"{ready.name}: booted: {error.message}")
            return None

    def _restored(self, states: SavedStates, key: str, wanted: Boot) -> RestoredGuest:
        """Restore a guest from a private copy of a state, which is removed again."""
        started = time.monotonic()
        threading.Thread(target=importlib.import_module, args=("lab.guests.ssh",), daemon=True).start()
        about = states.take(key, wanted.state, _words(wanted.machine), self.key.public)
        snapshot = Snapshot(
            wanted=wanted, hypervisor=self.hypervisor, boot_id=about.boot_id, save_s=0.0, size=about.size
        )
        try:
            _print_boot(wanted.machine.console, states.console(key))
            guest = snapshot.restore()
            states.came_up(key)
        except LabError:
            if not self.hypervisor.aborted:
                states.failed(key)
            raise
        finally:
            snapshot.discard()
        guest.boot_s = time.monotonic() - started - guest.login_s
        return RestoredGuest(guest=guest, facts=about.facts, state=key, saved=about.saved)

    def keep(self, ready: BootableCell, guest: Guest, facts: str) -> None:
        """Save a verified guest and put its state into the cache; see `BootableCell.keep`."""
        states, wanted = self.states, guest.wanted
        if states is None or not self.keeps or ready.no_save or ready.root is not None:
            return
        key = self._state_key(ready, wanted)
        if key in self._unsaved or states.has(key) or states.is_hopeless(key):
            return
        self._unsaved.add(key)
        if shutil.disk_usage(self.scratch).free < 2 * wanted.machine.topology.total_memory:
            return
        state = self.scratch / f"keep-{key}"
        guest.domain.save(state)
        known = SavedGuest(
            sha256="",
            size=0,
            boot_id=guest.boot_id,
            boot_s=guest.boot_s,
            saved=saved_states.now(),
            words=_words(wanted.machine),
            texts=[],
            keys=[],
            facts=facts,
        )
        printed = guest.console.text(guest.began, guest.console.size())
        self._kept[key] = self._keeping.submit(self._keep, states, key, state, known, printed)

    def _keep(self, states: SavedStates, key: str, state: Path, known: SavedGuest, printed: str) -> None:
        """Put the file of a saved guest into the cache, in a thread."""
        try:
            states.keep(key, state, known, self.key.public, printed)
        except (LabError, OSError) as error:
            self.notes.append(f"a guest was not kept: {error}")

    def _state_key(self, ready: BootableCell, wanted: Boot) -> str:
        products = ready.products
        return saved_states.key_of(
            replace(wanted.machine, name="", image=Path(), initrd=Path(), console=Path()),
            parts=(products.kernel.provenance.key or file_digest(products.kernel.image), products.rootfs.key),
            files=(*ready.parts, *wanted.probes),
            libvirt=self.hypervisor.version(),
        )

    def _boot(self, ready: BootableCell, topology: Topology, console: Path, chosen: Accelerator) -> Boot:
        record = topology.architecture
        emulator = proc.which(record.qemu)
        if emulator is None:
            packages = record.packages_on(platform.machine())
            raise InfraError(f"no {record.qemu}", hint=install_command(packages))
        name = self._name(ready)
        machine = GuestMachine(
            name=name,
            topology=topology,
            accelerator=chosen.name,
            emulator=Path(emulator),
            emulator_version=_emulator_version(record),
            image=ready.products.kernel.image,
            initrd=self._initrd(record, ready.products.rootfs, ready.parts),
            console=console.absolute(),
            disk=ready.root.disk if ready.root else None,
        )
        return Boot(
            machine=machine,
            accelerator=chosen,
            host_key=ready.products.rootfs.host_key,
            key=self.key,
            # The script uses the cached initrd, which outlives the run and does not contain this run's key.
            reproduce=qemu_command.script(replace(machine, initrd=ready.products.rootfs.initrd)),
            probes=ready.products.probes,
            symbols=_symbols(ready),
            patience=_patience(ready),
            state=self.scratch / f"{name}.state",
            rename=lambda: self._name(ready),
        )

    def _name(self, ready: BootableCell) -> str:
        """Return a new name for a guest; all names of one cell are equally long (see `vm.Hypervisor.restore`).

        Names are not used twice because libvirt blocks a name for a while after its guest has ended. They contain the
        process id because with a daemon several labs share one list of names.
        """
        return f"{ready.name}-{os.getpid()}-{next(STARTS):06}"

    def _initrd(self, record: Arch, userland: Rootfs, archives: tuple[Path, ...]) -> Path:
        """Return the initrd: the userland, this run's public key and the user's archives, concatenated.

        The kernel unpacks them one after the other.
        """
        key = (record.name, *map(str, archives))
        with self._lock:
            if key not in self._initrds:
                keys = rootfs.overlay({AUTHORIZED_KEYS: (0o600, f"{self.key.public}\n".encode())})
                path = self.scratch / f"initrd-{record.name}-{len(self._initrds)}"
                try:
                    with path.open("wb") as file:
                        file.write(userland.initrd.read_bytes() + keys)
                        for archive in archives:
                            with archive.open("rb") as part:
                                shutil.copyfileobj(part, file, COPY)
                except OSError as error:
                    raise explain_os_error(error, str(path)) from error
                self._initrds[key] = path
            return self._initrds[key]

    def accelerator_of(self, ready: BootableCell) -> Accelerator:
        """Return the accelerator for a cell's guests on this host: KVM if a guest has booted with it, else TCG."""
        record = ready.topology.architecture
        if ready.topology.counted:
            return accelerator.tcg(record, "only the emulator counts instructions")

        def try_kvm(candidate: Accelerator) -> None:
            topology = Topology(name="probe", arch=record.name, page_size=min(record.page_sizes), memory=256 << 20)
            wanted = self._boot(ready, topology, self.scratch / f"probe-{record.name}.log", candidate)
            deadline = Deadline.after(accelerator.PROBE_S, f"a guest under KVM on {record.name}")
            guest.power_on(self.hypervisor, wanted, deadline).destroy()

        known = self._accelerators.get(record.name)
        if known is None:
            known = accelerator.choose(record, cache=self.workshop.cache, try_kvm=try_kvm)
            self._accelerators[record.name] = known
        return known


def _emulator_version(record: Arch) -> str:
    """Return the version of an architecture's emulator; empty, without asking it, where nothing depends on that."""
    return qemu_version.installed(record.qemu) if record.limits else ""


def _symbols(ready: BootableCell) -> Path | None:
    """Return the kernel's System.map, unless the kernel moves itself at boot or was not built here (it is empty)."""
    system_map = ready.products.kernel.system_map
    moves = b"\nCONFIG_RANDOMIZE_BASE=y\n" in ready.config
    return system_map if system_map.stat().st_size and not moves else None


def _patience(ready: BootableCell) -> float:
    """Return how many times longer than the lab's own a kernel may boot: a distribution's has all drivers in it.

    Debian 13's kernel for arm64 was at /init after 65 s under TCG on a busy host, the lab's own after 5 s.
    """
    if ready.products.kernel.modules is None:
        return 1.0
    return 5.0


def _print_boot(console: Path, printed: bytes) -> None:
    """Write what a guest printed before it was saved to a console's file, if nothing is in it yet."""
    console.touch()
    if console.stat().st_size == 0:
        console.write_bytes(printed)


def _words(machine: GuestMachine) -> dict[str, str]:
    """Return what differs from run to run in the XML of a machine."""
    return {
        "name": machine.name,
        "image": str(machine.image),
        "initrd": str(machine.initrd),
        "console": str(machine.console),
    }


@contextmanager
def open_factory(
    workshop: Builder, *, uri: str | None = None, saved: bool = False, keeps: bool = True
) -> Iterator[GuestFactory]:
    """Yield a factory with libvirt open; end everything that it started at exit.

    With `saved`, guests begin from states in the cache where it has them, and with `keeps` booted ones are added to
    it. With a daemon (`uri`) they always boot: too little is known of its emulators.
    """
    cache = workshop.cache
    with (
        cache.scratch("run") as scratch,
        vm.hypervisor(cache, scratch, uri=uri) as hypervisor,
        ThreadPoolExecutor(1, "keep") as keeping,
    ):
        factory = GuestFactory(workshop=workshop, hypervisor=hypervisor, scratch=scratch, keeps=keeps, _keeping=keeping)
        if saved and hypervisor.root is not None:
            factory.states = SavedStates.of(cache)
        yield factory
