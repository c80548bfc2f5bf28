# SPDX-License-Identifier: GPL-2.0-or-later
"""The source tree of one kernel of a plan, for the suites that are built from it, and what its series changes there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lab.arch.record import Arch
from lab.build import series, source, worktree
from lab.build.source import Source
from lab.core import paths
from lab.core.cache import Cache
from lab.core.progress import Progress
from lab.formats.patches.patch import Content
from lab.specs.arches import ARCHES
from lab.specs.model import Kernel
from lab.specs.plan import Build


@dataclass(frozen=True, kw_only=True)
class SuiteTree:
    """A kernel's tree for an architecture. Nothing may write to `path`, which is the pristine source in the cache.

    It has no slots, since it keeps what the series changes.
    """

    arch: Arch
    kernel: Kernel
    source: Source
    path: Path

    @cached_property
    def changed(self) -> Mapping[str, Content | None]:
        """The files that the architecture's fixes and the kernel's series change; None for a removed file."""

        def pristine(name: str) -> Content | None:
            return worktree.read_file(self.path, name)

        fixes = series.fixes_of(self.arch)
        patches = series.load(self.kernel.series, self.source.version, root=paths.images() / "series").patches
        return series.changed_files((*series.applicable(fixes, pristine), *patches), pristine)


def resolved(build: Build, cache: Cache, progress: Progress) -> SuiteTree:
    """Return the tree of a build, fetched and unpacked if need be."""
    return _tree(build, source.resolve(build.kernel.source, cache=cache, progress=progress), cache)


def known(build: Build, cache: Cache) -> SuiteTree | None:
    """Return the tree of a build; None if it would have to be fetched or unpacked."""
    identified = source.identify(build.kernel.source, cache)
    if identified is None or not cache.has(source.ENTRY, identified.key):
        return None
    return _tree(build, identified, cache)


def _tree(build: Build, identified: Source, cache: Cache) -> SuiteTree:
    path = source.tree(identified.key, cache)
    return SuiteTree(arch=ARCHES[build.arch], kernel=build.kernel, source=identified, path=path)
