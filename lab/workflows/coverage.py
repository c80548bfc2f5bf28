# SPDX-License-Identifier: GPL-2.0-or-later
"""The coverage of a patch, from the counters that a run of a counting kernel left in its directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lab.build import coverage as counting
from lab.build import kernel as kernels
from lab.build import series, source, worktree
from lab.build.kernel import BuiltKernel
from lab.core.cache import Cache, write_atomic
from lab.core.errors import InfraError, UsageError
from lab.core.outcome import CellResult
from lab.core.paths import images
from lab.evidence import read
from lab.evidence.events import gcov_file
from lab.evidence.metadata import Evidence
from lab.formats import gcov
from lab.specs.model import Kernel, Topology
from lab.verdicts import coverage
from lab.verdicts.coverage import Coverage

FILE = "coverage.json"


def added_lines(kernel: Kernel, cache: Cache) -> dict[str, dict[int, str]]:
    """Return what a kernel's series adds or changes: file -> line -> text; InfraError without source."""
    found, tree = _tree(kernel, cache)
    patches = series.load(kernel.series, found, root=images() / "series")
    return counting.added_lines(patches, lambda name: worktree.read_file(tree, name))


def _tree(kernel: Kernel, cache: Cache) -> tuple[str, Path]:
    """The version of a kernel's source, and its unpacked tree."""
    found = source.identify(kernel.source, cache)
    if found is None:
        raise InfraError(f"{kernel.source} has not been fetched yet", hint="lab build, or lab run, fetches it")
    return found.version, source.tree(found.key, cache)


def collect(directory: Path, kernel: Kernel, topologies: Mapping[str, Topology], cache: Cache) -> Coverage:
    """Return the coverage of a kernel's series over all machines of a run, and write it to coverage.json there.

    UsageError if the kernel does not count lines, InfraError if the cache no longer has it or the counters are damaged.
    """
    if not kernel.coverage:
        raise UsageError(f"kernel {kernel.name} does not count lines: expected `coverage: true` in its file")
    evidence = read.load(directory)
    compiled: dict[str, gcov.Counts] = {}
    counted: dict[str, dict[str, gcov.Counts]] = {}
    for cell in evidence.cells:
        if cell.kernel == kernel.name and cell.topology in topologies:
            topology = topologies[cell.topology]
            built = kernels.build(kernel, topology, cache=cache)
            arch = topology.architecture
            compiled[cell.topology] = counting.compiled(built, arch, cache)
            counted[cell.topology] = _cases(evidence, cell, built, topology, cache)
    added = added_lines(kernel, cache)
    tree = _tree(kernel, cache)[1]
    symbols = {name: counting.symbol_of(name, tree) for name in added}
    found = coverage.of(kernel.name, added, compiled, counted, symbols)
    write_atomic(directory / FILE, (found.model_dump_json(indent=1) + "\n").encode())
    return found


def _cases(
    evidence: Evidence, cell: CellResult, built: BuiltKernel, topology: Topology, cache: Cache
) -> dict[str, gcov.Counts]:
    """The line counts of each case that a guest ran, by `scenario.case`."""
    found: dict[str, gcov.Counts] = {}
    for run in cell.runs:
        data = read.file_of(evidence.source, cell, gcov_file(run.scenario, run.attempt))
        try:
            counters = gcov.split(data)
        except ValueError as error:
            raise InfraError(f"{cell.topology}/{cell.kernel}: {run.scenario}: {error}") from None
        labelled = {f"{run.scenario}.{case}": objects for case, objects in counters.items()}
        found.update(counting.counts(built, topology.architecture, labelled, cache))
    return found
