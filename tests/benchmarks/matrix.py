# SPDX-License-Identifier: GPL-2.0-or-later
"""`make bench ARGS=matrix` and `ARGS=builds`: the tables of machines and of kernel builds, as Markdown.

Globs of topologies narrow both: `make bench ARGS="matrix 'riscv64-*' arm64-64k"`. Only what is built is measured.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from lab.build import kernel
from lab.build.builder import Builder
from lab.build.kernel import BuiltKernel
from lab.core import paths
from lab.core.cache import Cache, default_root
from lab.core.deadline import Deadline
from lab.core.errors import LabError
from lab.core.progress import silent
from lab.core.sizes import MIB
from lab.guests.factory import BootableCell, GuestFactory, open_factory
from lab.host import doctor
from lab.specs.library import Library
from lab.specs.model import Kernel, Topology, format_size
from lab.specs.plan import node_count
from tests.benchmarks.cluster import cluster

CAMPAIGNS = ("all-arches", "numa")
KERNEL, PATCHED = "baseline", "expand-fault"
ROUNDS = 2
"""The first round of a machine warms the page cache and libvirt's; the quicker one counts."""
COMMAND_S = 60.0
Row = tuple[str, ...]


def machines(globs: Sequence[str]) -> None:
    """Boot every machine, one at a time, and print how long that took and what it cost."""
    cache = Cache(default_root())
    print_row(("machine", "pages", "nodes", "CPUs", "RAM", "boot to first SSH command", "memory of QEMU"))
    print_row(("---",) * 7)
    with open_factory(Builder(cache=cache, sources=paths.scenarios())) as factory:
        for topology in wanted(globs):
            print_row((*looks(topology), *measured(factory, topology, cache)))


def wanted(globs: Sequence[str]) -> list[Topology]:
    """The machines of the matrix that the globs mean."""
    library = Library.shipped()
    found = {each.name: each for name in CAMPAIGNS for each in library.campaign(name).topologies}
    return [found[name] for name in sorted(found) if not globs or any(fnmatchcase(name, glob) for glob in globs)]


def looks(topology: Topology) -> Row:
    pages, nodes = format_size(topology.page_size), str(node_count(topology))
    return topology.name, pages, nodes, str(topology.vcpus), format_size(topology.total_memory)


def measured(factory: GuestFactory, topology: Topology, cache: Cache) -> Row:
    """Seconds and memory, or why there are none."""
    wanted_kernel = Library.shipped().kernel(KERNEL)
    try:
        if why := doctor.lacking(topology.architecture):
            return why, ""
        if not kernel.is_built(wanted_kernel, topology, cache=cache):
            return "kernel not built", ""
        ready = factory.ready(topology, wanted_kernel, silent)
        rounds = [boot(factory, ready, number) for number in range(ROUNDS)]
    except LabError as error:
        return str(error).partition("\n")[0], ""
    seconds, peak = min(rounds)
    return f"{seconds:.1f} s", f"{peak / MIB:.0f} MiB" if peak else "unknown"


def boot(factory: GuestFactory, ready: BootableCell, number: int) -> tuple[float, int]:
    """Seconds from nothing to the first command's answer, and the emulator's most memory by then, in bytes."""
    started = time.monotonic()
    guest = ready.boot(factory.scratch / f"{ready.topology.name}-{number}.log")
    try:
        guest.run("true", deadline=Deadline.after(COMMAND_S, "true"))
        spent, usage = time.monotonic() - started, guest.usage()
        return spent, usage.peak if usage else 0
    finally:
        guest.close()


def builds(globs: Sequence[str]) -> None:
    """Print what the builds of the kernels in the cache took: the first of a pair whole, the second incremental."""
    library, cache = Library.shipped(), Cache(default_root())
    first, second = library.kernel(KERNEL), library.kernel(PATCHED)
    print_row(("kernel", "whole, s", "CPU s", "second of the pair, s", "CPU s"))
    print_row(("---",) * 5)
    whole: list[float] = []
    for topology in distinct(wanted(globs)):
        pair = [found(each, topology, cache) for each in (first, second)]
        first_build = pair[0].provenance if pair[0] else None
        if first_build and first_build.full_build and first_build.build_s is not None:
            whole.append(first_build.build_s)
        print_row((named(topology), *times(pair[0], full=True), *times(pair[1], full=False)))
    if whole:
        print(f"\nmedian of {len(whole)} whole builds: {statistics.median(whole):.0f} s", flush=True)


def distinct(topologies: Iterable[Topology]) -> list[Topology]:
    """One machine for each kernel configuration."""
    return list({(each.arch, each.fragments): each for each in topologies}.values())


def named(topology: Topology) -> str:
    own = [name for name in topology.fragments if name not in ("base", topology.architecture.config_fragment)]
    return " ".join((topology.arch, *own))


def found(wanted_kernel: Kernel, topology: Topology, cache: Cache) -> BuiltKernel | None:
    """A kernel of the cache."""
    try:
        built = kernel.is_built(wanted_kernel, topology, cache=cache)
        return kernel.build(wanted_kernel, topology, cache=cache) if built else None
    except LabError:
        return None


def times(built: BuiltKernel | None, *, full: bool) -> Row:
    """What a build took; nothing where it was of the other kind, since that says something else."""
    if built is None:
        return "not built", ""
    made = built.provenance
    if made.full_build is not full:
        return "", ""
    return f"{made.build_s:.0f}", f"{made.cpu_s:.0f}" if made.cpu_s is not None else ""


def print_row(row: Sequence[str]) -> None:
    print(f"| {' | '.join(row)} |", flush=True)


TABLES = {"matrix": machines, "builds": builds, "cluster": cluster}
"""Name -> what prints it, narrowed by globs of topologies."""
