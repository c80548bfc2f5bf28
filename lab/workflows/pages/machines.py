# SPDX-License-Identifier: GPL-2.0-or-later
"""The machines for `lab pages`: one for every page size of an architecture, the smallest as the control."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from lab.arch.record import Arch
from lab.build import kernel
from lab.core.cache import Cache
from lab.core.errors import LabError, UsageError
from lab.core.sizes import KIB
from lab.host.estimate import FULL_S
from lab.specs.library import Library
from lab.specs.model import Kernel, Topology


@dataclass(frozen=True, slots=True, kw_only=True)
class Machines:
    """The control, and the machines that are compared with it."""

    control: Topology
    others: tuple[Topology, ...]


def choose(library: Library, arch: Arch, globs: Sequence[str], *, numa: bool) -> Machines:
    """Return the machines of an architecture that fit; with `globs` those that match, beside the control.

    Without `globs` they are the plain machine of each page size; with `numa` every layout of nodes as well.
    """
    known = [library.topology(name) for name in sorted(library.topologies())]
    of_arch = [topology for topology in known if topology.architecture == arch and topology.counted is False]
    plain = [machine for size in sorted(arch.page_sizes) if (machine := _plain(of_arch, size))]
    if not plain:
        raise UsageError(f"no topology of {arch.name}", hint="see `lab list topologies`")
    control = plain[0]
    chosen = plain[1:]
    if globs:
        chosen = [topology for topology in of_arch if any(fnmatchcase(topology.name, glob) for glob in globs)]
        if not chosen:
            raise UsageError(f"no topology of {arch.name} matches {', '.join(globs)}", hint="see `lab list topologies`")
    elif numa:
        chosen += [topology for topology in of_arch if len(topology.numa) > 1 and not topology.sparse]
    others = {topology.name: topology for topology in chosen if topology.name != control.name}
    return Machines(control=control, others=tuple(others.values()))


def _plain(machines: Sequence[Topology], page_size: int) -> Topology | None:
    """Return the plain machine with a page size: no nodes, the shortest name; None if there is none."""
    fitting = [topology for topology in machines if topology.page_size == page_size and not topology.numa]
    return min(fitting, key=lambda topology: (len(topology.name), topology.name), default=None)


def not_built(spec: Kernel, topology: Topology, cache: Cache) -> str:
    """Return why there is no kernel for a machine, and how long its build takes; empty if there is one.

    It is in the cache, or is fetched from the cache's remote.
    """
    if spec.prebuilt:
        return ""
    try:
        key = kernel.key_of(spec, topology, cache=cache)
        if key and cache.obtain(kernel.ENTRY, key):
            return ""
    except LabError as error:
        return str(error)
    past = [build.seconds for build in kernel.past_builds(cache) if build.full and build.arch == topology.arch]
    seconds = statistics.median(past) if past else FULL_S
    size = topology.page_size // KIB
    return f"no kernel with {size} KiB pages in the cache; --build makes it, in some {max(1, round(seconds / 60))} min"
