# SPDX-License-Identifier: GPL-2.0-or-later
"""Build, or find in the cache, everything that a cell's guests boot from and run. Starts no guest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab.arch import Arch
from lab.build import kernel, rootfs, suites
from lab.build import programs as guestbuild
from lab.build.kernel import BuiltKernel
from lab.build.programs import GuestTests
from lab.build.rootfs import Rootfs
from lab.build.suites import Suites
from lab.core import paths
from lab.core.cache import Cache
from lab.core.outcome import Case
from lab.core.progress import Progress, silent
from lab.specs.model import Kernel, Topology
from lab.specs.plan import Plan, cell_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifacts:
    """What the guests of one cell boot from and run."""

    kernel: BuiltKernel
    rootfs: Rootfs
    tests: GuestTests
    probes: tuple[Path, ...] = ()
    """Programs that tell facts which only this machine has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """Builds, or finds in the cache, what cells need. Starts no guest."""

    cache: Cache
    sources: tuple[Path, ...] = field(default_factory=paths.scenarios)
    """Where the scenario programs are: directories, and single C files."""
    kernels: Mapping[str, BuiltKernel] = field(default_factory=dict)
    """`topology/kernel` -> the kernel of an earlier run, to be used as it is."""
    suites: Suites | None = None
    """What is run in place of the lab's own scenarios."""

    @classmethod
    def of(cls, planned: Plan, cache: Cache, progress: Progress = silent) -> Builder:
        """The workshop of a plan, with its suites built: before that nobody knows what tests they have."""
        built = suites.prepare(planned, cache, progress) if planned.suites else None
        return cls(cache=cache, sources=planned.sources, suites=built)

    def make(self, topology: Topology, wanted: Kernel, progress: Progress) -> Artifacts:
        """Guest tests and userland for the machine's architecture, then the kernel, which takes longest."""
        record = topology.architecture
        probes = ("clock.c",) if topology.counted else ()
        return Artifacts(
            tests=self._tests(record, wanted, progress),
            rootfs=rootfs.build(record, cache=self.cache, progress=progress),
            kernel=self.kernels.get(cell_name(topology, wanted))
            or kernel.build(wanted, topology, cache=self.cache, progress=progress),
            probes=tuple(
                guestbuild.compile_one(record, paths.images() / "probes" / name, self.cache) for name in probes
            ),
        )

    def cases(self) -> Mapping[str, tuple[Case, ...]]:
        """The cases that each scenario program declares."""
        return self.suites.cases if self.suites else guestbuild.cases(self.sources, self.cache)

    def _tests(self, record: Arch, wanted: Kernel, progress: Progress) -> GuestTests:
        if self.suites:
            return self.suites.programs(record, wanted, progress)
        return guestbuild.build(record, cache=self.cache, progress=progress, sources=self.sources)
