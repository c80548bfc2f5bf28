# SPDX-License-Identifier: GPL-2.0-or-later
"""The coverage of a patch, from the counters that a run of a counting kernel left in its directory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from lab.build import coverage as counting
from lab.build import kernel as kernels
from lab.build.kernel import BuiltKernel
from lab.build.patched import patched_files
from lab.core.cache import Cache, write_atomic
from lab.core.errors import InfraError, UsageError
from lab.core.outcome import CellResult, CellStatus
from lab.core.untrusted import one_line
from lab.evidence import read
from lab.evidence.events import gcov_file
from lab.evidence.metadata import CommandRecord, Evidence
from lab.formats import gcov, ktap
from lab.run.campaign import OpenRun, open_plan
from lab.specs.model import Kernel, Topology
from lab.specs.plan import build_of
from lab.verdicts import coverage
from lab.verdicts.coverage import Coverage

MAX_REASON = 200


def collect(directory: Path, kernel: Kernel, topologies: Mapping[str, Topology], cache: Cache) -> Coverage:
    """Return the coverage of a kernel's series over all machines of a run, and write it there.

    UsageError if the kernel does not count lines, InfraError if the cache no longer has it or the counters are damaged.
    """
    if not kernel.coverage:
        raise UsageError(f"kernel {kernel.name} does not count lines: expected `coverage: true` in its file")
    evidence = read.load(directory)
    for cell in evidence.cells:
        if cell.kernel == kernel.name and cell.status is not CellStatus.OK:
            raise InfraError(f"{cell.topology}/{cell.kernel}: no line was counted: {cell.status}: {cell.why}")
    if why := nothing_ran(cell for cell in evidence.cells if cell.kernel == kernel.name):
        raise InfraError(f"{kernel.name}: no line was counted: every test was skipped: {why}")
    compiled: dict[str, gcov.Counts] = {}
    counted: dict[str, dict[str, gcov.Counts]] = {}
    for cell in evidence.cells:
        if cell.kernel == kernel.name and cell.topology in topologies:
            topology = topologies[cell.topology]
            built = kernels.build(kernel, topology, cache=cache)
            arch = topology.architecture
            compiled[cell.topology] = counting.compiled(built, arch, cache)
            counted[cell.topology] = _cases(evidence, cell, built, topology, cache)
            if not any(counted[cell.topology].values()):
                raise InfraError(f"{cell.topology}/{cell.kernel}: the guest sent no line counts")
    files = patched_files(kernel, cache)
    added = {name: file.added for name, file in files.items()}
    symbols = {name: file.symbol for name, file in files.items()}
    diffs = {name: file.diff(name) for name, file in files.items()}
    coverage_found = coverage.of(kernel.name, added, compiled, counted, symbols, diffs)
    write_atomic(directory / coverage.file_of(kernel.name), (coverage_found.model_dump_json(indent=1) + "\n").encode())
    return coverage_found


def nothing_ran(cells: Iterable[CellResult]) -> str:
    """Return the first reason why tests were skipped if every one was, on every machine; empty if any ran."""
    why = ""
    for cell in cells:
        for run in cell.runs:
            document = ktap.parse(run.ktap)
            for result in document.results:
                if result.directive != "SKIP":
                    return ""
                said = " ".join(result.diagnostics).partition("SKIP ")[2]
                why = why or result.reason or one_line(said, MAX_REASON) or "no reason given"
    return why


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


def counting_run(opened: OpenRun) -> OpenRun | None:
    """Open the run of the same cells on the same kernels with gcov, below a run's directory; None if none has a series.

    Its verdicts are its own: those of the kernels without gcov stay what they are.
    """
    cells = []
    for cell in opened.plan.cells:
        if cell.kernel.series is not None and cell.repeat == 1:
            kernel = cell.kernel.model_copy(update={"coverage": True})
            cells.append(replace(cell, kernel=kernel, build=build_of(cell.topology, kernel)))
    if not cells:
        return None
    builds = tuple(dict.fromkeys(cell.build for cell in cells))
    planned = replace(opened.plan, cells=tuple(cells), builds=builds, skipped=())
    command = counting_command(opened)
    return open_plan(planned, opened.cases, opened.path / coverage.DIRECTORY, suites=opened.suites, command=command)


def counting_command(opened: OpenRun) -> CommandRecord:
    """Return the command that a run recorded, with --coverage; the counting run cannot be resumed."""
    recorded = opened.metadata.command or CommandRecord(verb="run", arguments=(opened.plan.name,))
    return recorded.changed(options={**recorded.options, "--coverage": ()}, runs=None)


def collect_all(counting: OpenRun, cache: Cache) -> tuple[Coverage, ...]:
    """Return the coverage of every kernel of a counting run."""
    kernels_by_name = {cell.kernel.name: cell.kernel for cell in counting.plan.cells}
    topologies = {cell.topology.name: cell.topology for cell in counting.plan.cells}
    return tuple(collect(counting.path, kernel, topologies, cache) for kernel in kernels_by_name.values())
