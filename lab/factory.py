# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything a cell needs, made or found in the cache, and guests booted from it. The runner's only way outside."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lab import accel, data, guest, guestbuild, kernel, proc, rootfs, ssh, verify, vm
from lab.accel import Accelerator
from lab.arch import Arch
from lab.cache import Cache, explain_os_error
from lab.deadline import Deadline
from lab.domain import Machine
from lab.errors import InfraError
from lab.guest import Boot, Guest
from lab.guestbuild import GuestTests
from lab.kernel import BuiltKernel
from lab.model import Topology
from lab.outcome import Case, Mismatch
from lab.plan import Cell
from lab.progress import Progress
from lab.rootfs import Rootfs

AUTHORIZED_KEYS = "root/.ssh/authorized_keys"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """One cell with everything that its guests boot from and run."""

    name: str
    topology: Topology
    kernel: BuiltKernel
    rootfs: Rootfs
    tests: GuestTests
    factory: Factory

    @property
    def programs(self) -> Mapping[str, Path]:
        """Scenario name -> static program for the guest."""
        return self.tests.programs

    @property
    def config(self) -> bytes:
        """The kernel's final .config."""
        return self.kernel.config.read_bytes()

    @property
    def provenance(self) -> Mapping[str, object]:
        """What the kernel was made of, for metadata.json."""
        return self.kernel.provenance()

    def boot(self, console: Path) -> Guest:
        """Boot one guest with the best accelerator that works and log in. See `guest.boot` for errors."""
        return guest.boot(self.factory.hypervisor, self.factory.boot_of(self, console))

    def verify(self, facts: str) -> tuple[Mismatch, ...]:
        """In what the guest differs from the machine that was asked for."""
        return verify.verify(self.topology, self.kernel, facts)


@dataclass(slots=True, kw_only=True)
class Factory:
    """One lab's cache, libvirt connection and key pair. Methods may be called from any thread."""

    cache: Cache
    hypervisor: vm.Hypervisor
    scratch: Path
    """Files of this run that guests boot from; removed with the lab."""
    key: ssh.KeyPair = field(default_factory=ssh.KeyPair.generate)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _accelerators: dict[str, Accelerator] = field(default_factory=dict)
    _initrds: dict[str, Path] = field(default_factory=dict)

    def prepare(self, cell: Cell, progress: Progress) -> Ready:
        """Kernel, userland and guest tests for one cell; from the cache where it has them."""
        record = cell.topology.record
        tests = guestbuild.build(record, cache=self.cache, progress=progress)
        userland = rootfs.build(record, cache=self.cache, progress=progress)
        built = kernel.build(cell.kernel, cell.topology, cache=self.cache, progress=progress)
        return Ready(
            name=cell.name.replace("/", "-"),
            topology=cell.topology,
            kernel=built,
            rootfs=userland,
            tests=tests,
            factory=self,
        )

    def cases(self) -> Mapping[str, tuple[Case, ...]]:
        """The cases that each scenario program declares."""
        return guestbuild.cases(data.guest_tests(), self.cache)

    def boot_of(self, ready: Ready, console: Path) -> Boot:
        """What it takes to boot a guest of a prepared cell."""
        return self._boot(ready, ready.topology, console, self._accelerator(ready))

    def _boot(self, ready: Ready, topology: Topology, console: Path, chosen: Accelerator) -> Boot:
        record = topology.record
        emulator = proc.which(record.qemu)
        if emulator is None:
            raise InfraError(f"no {record.qemu}", hint=f"apt-get install {' '.join(record.packages)}")
        machine = Machine(
            name=ready.name,
            topology=topology,
            accelerator=chosen.name,
            emulator=Path(emulator),
            image=ready.kernel.image,
            initrd=self._initrd(record, ready.rootfs),
            console=console.absolute(),
        )
        return Boot(machine=machine, accelerator=chosen, host_key=ready.rootfs.host_key, key=self.key)

    def _initrd(self, record: Arch, userland: Rootfs) -> Path:
        """The userland with this run's public key appended to it: the kernel unpacks one archive after the other."""
        with self._lock:
            if record.name not in self._initrds:
                keys = rootfs.overlay({AUTHORIZED_KEYS: (0o600, f"{self.key.public}\n".encode())})
                path = self.scratch / f"initrd-{record.name}"
                try:
                    path.write_bytes(userland.initrd.read_bytes() + keys)
                except OSError as error:
                    raise explain_os_error(error, str(path)) from error
                self._initrds[record.name] = path
            return self._initrds[record.name]

    def _accelerator(self, ready: Ready) -> Accelerator:
        record = ready.topology.record

        def try_kvm(candidate: Accelerator) -> None:
            topology = Topology(name="probe", arch=record.name, page_size=min(record.page_sizes), memory=256 << 20)
            wanted = self._boot(ready, topology, self.scratch / f"probe-{record.name}.log", candidate)
            deadline = Deadline.after(accel.PROBE_S, f"a guest under KVM on {record.name}")
            guest.power_on(self.hypervisor, wanted, deadline).destroy()

        known = self._accelerators.get(record.name)
        if known is None:
            known = accel.choose(record, cache=self.cache, try_kvm=try_kvm)
            self._accelerators[record.name] = known
        return known


@contextmanager
def open_factory(cache: Cache, *, uri: str | None = None) -> Iterator[Factory]:
    """A factory with libvirt open; everything it started is gone afterwards."""
    with cache.scratch("run") as scratch, vm.hypervisor(cache, uri=uri) as hypervisor:
        yield Factory(cache=cache, hypervisor=hypervisor, scratch=scratch)
