# SPDX-License-Identifier: GPL-2.0-or-later
"""Build everything that the guests of a cell boot and run, or find it in the cache. Starts no guest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lab.arch.record import Arch
from lab.build import kernel, programs, rootfs
from lab.build.kernel import BuiltKernel
from lab.build.programs import GuestTests
from lab.build.rootfs import Rootfs
from lab.core import paths
from lab.core.cache import Cache
from lab.core.outcome import Case, CellKey
from lab.core.progress import Progress, silent
from lab.specs.model import Kernel, Topology
from lab.specs.plan import Plan, cell_key

if TYPE_CHECKING:
    from lab.build.roots.root import BuiltRoot
    from lab.build.suites.prepare import Suites
    from lab.build.suites.reports import Reports


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifacts:
    """What the guests of one cell boot from and run."""

    kernel: BuiltKernel
    rootfs: Rootfs
    tests: GuestTests
    probes: tuple[Path, ...] = ()
    """Programs that report facts which only this machine has."""
    root: BuiltRoot | None = None
    """What programs have as `/`; None for the userland."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """Builds what cells need, or finds it in the cache. Starts no guest."""

    cache: Cache
    sources: tuple[Path, ...]
    """Directories with scenario programs, and single C files."""
    kernels: Mapping[CellKey, BuiltKernel] = field(default_factory=dict)
    """Cell -> a kernel recorded by an earlier run, used instead of building one."""
    suites: Suites | Reports | None = None
    """Suites or reports to run instead of the lab's own scenarios."""
    root: str = ""
    """What programs have as `/`, as --root names it; empty for the userland."""

    @classmethod
    def of(cls, planned: Plan, cache: Cache, progress: Progress = silent) -> Builder:
        """Return the builder of a plan, after building its suites: only a built suite lists its tests."""
        suites: Suites | Reports | None = None
        if planned.suites:
            from lab.build.suites import prepare

            suites = prepare.prepare(planned, cache, progress)
        elif planned.reports:
            from lab.build.suites.reports import Reports

            suites = Reports.of(planned, cache)
        return cls(cache=cache, sources=planned.sources, suites=suites, root=planned.root)

    def make(self, topology: Topology, kernel_spec: Kernel, progress: Progress) -> Artifacts:
        """Build guest tests and userland for the machine's architecture, then the kernel, which takes longest."""
        arch = topology.architecture
        return Artifacts(
            tests=self._tests(arch, kernel_spec, progress),
            rootfs=rootfs.build(arch, cache=self.cache, progress=progress),
            kernel=self._kernel(topology, kernel_spec, progress),
            probes=self._probes(topology),
            root=self.root_of(arch, progress),
        )

    def cases(self) -> Mapping[str, tuple[Case, ...]]:
        """Return scenario name -> the cases that its program declares."""
        return self.suites.cases if self.suites else programs.cases(self.sources, self.cache)

    def root_of(self, arch: Arch, progress: Progress) -> BuiltRoot | None:
        """Return what programs have as `/` on an architecture, made if needed; None for the userland."""
        if not self.root:
            return None
        from lab.build.roots import root

        return root.build(self.root, arch, self.cache, progress)

    def _kernel(self, topology: Topology, kernel_spec: Kernel, progress: Progress) -> BuiltKernel:
        recorded = self.kernels.get(cell_key(topology, kernel_spec))
        return recorded or kernel.build(kernel_spec, topology, cache=self.cache, progress=progress)

    def _probes(self, topology: Topology) -> tuple[Path, ...]:
        names = []
        if topology.counted:
            names.append("clock.c")
        if topology.address_bits:
            names.append("address.c")
        sources = [paths.images() / "probes" / name for name in names]
        return tuple(programs.compile_one(topology.architecture, source, self.cache) for source in sources)

    def _tests(self, arch: Arch, kernel_spec: Kernel, progress: Progress) -> GuestTests:
        if self.suites:
            return self.suites.programs(arch, kernel_spec, progress)
        return programs.build(arch, cache=self.cache, progress=progress, sources=self.sources)
