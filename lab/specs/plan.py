# SPDX-License-Identifier: GPL-2.0-or-later
"""The plan of a campaign: its cells, kernel builds and selected tests, and what is skipped and why. Reads no file.

The plan decides the order. Kernels of one source, architecture and configuration are next to each other, the unpatched
one first, so that each but the first is an incremental build. Cells are in the order in which their kernels become
ready, so that guests run while the next kernel is built.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import chain, product
from pathlib import Path, PurePath

from lab.arch import lacking_preset
from lab.core.errors import InfraError, UsageError, unknown
from lab.core.outcome import Case, CellKey
from lab.core.paths import is_path
from lab.specs.model import CampaignSpec, Kernel, Topology
from lab.specs.suite import Suite


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A scenario program and the globs of its cases to run; without globs, all of them."""

    scenario: str
    cases: tuple[str, ...] = ()

    def asked_cases(self, declared: Sequence[Case]) -> list[Case]:
        """Return the declared cases that this names; all of them if it names none."""
        return [case for case in declared if not self.cases or case.name in self.cases]

    def __str__(self) -> str:
        return f"{self.scenario}.{{{','.join(self.cases)}}}" if self.cases else self.scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """The command line's filters for a campaign. Names, globs and paths; `tests` also `scenario.case` globs."""

    topologies: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    config: tuple[str, ...] = ()
    """Config fragments (presets, files) for every kernel, merged last."""
    programs: tuple[str, ...] = ()
    """The user's own C files, run as scenarios too."""
    suites: tuple[str, ...] = ()
    """Test suites (`lab/specs/suite.py`) to run instead of the campaign's scenarios."""
    arches: tuple[str, ...] = ()
    """Architectures to which the environment restricts the campaign; empty for all."""

    @property
    def given(self) -> bool:
        """Whether the command line has any of these filters."""
        return any((self.topologies, self.kernels, self.tests, self.config, self.programs, self.suites))


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One kernel image. Topologies that need the same one share it."""

    kernel: Kernel
    arch: str
    fragments: tuple[str, ...]
    """Names of the config fragments, merged in this order."""

    @property
    def tree(self) -> tuple[str, str, tuple[str, ...]]:
        """Builds with the same tree differ in their series alone: the second costs an incremental build."""
        return self.kernel.source, self.arch, self.fragments


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One guest: a topology that boots a kernel and runs the selected scenarios."""

    topology: Topology
    kernel: Kernel
    build: Build
    scenarios: tuple[Selection, ...]
    repeat: int = 1
    """Which of several guests of the same cell this is."""

    @property
    def key(self) -> CellKey:
        """`topology/kernel`."""
        return cell_key(self.topology, self.kernel)

    @property
    def name(self) -> str:
        """`topology/kernel`, or `topology/kernel/repeat-2`; also the guest's directory below cells/ of a run."""
        return str(self.key) if self.repeat == 1 else f"{self.key}/repeat-{self.repeat}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A machine, a cell (`topology/kernel`) or a scenario of the campaign that is not in the plan."""

    what: str
    reason: str
    by_host: bool = False
    """Skipped because it cannot be built or run here, not by a filter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything to build and run, in this order."""

    spec: CampaignSpec
    builds: tuple[Build, ...]
    cells: tuple[Cell, ...]
    skipped: tuple[Skipped, ...] = ()
    named: frozenset[str] = frozenset()
    """The topologies that were given by name, not by a glob."""
    sources: tuple[Path, ...] = ()
    """Directories with scenario programs, and single C files."""
    suites: tuple[Suite, ...] = ()
    """Suites to run instead of the lab's own scenarios."""

    @property
    def name(self) -> str:
        """The campaign's name."""
        return self.spec.name

    @property
    def arches(self) -> tuple[str, ...]:
        """The architectures to build for and to emulate, each once."""
        return tuple(dict.fromkeys(build.arch for build in self.builds))


def plan(
    spec: CampaignSpec,
    topologies: Sequence[Topology],
    kernels: Sequence[Kernel],
    scenarios: Sequence[Selection],
    filters: Filters | None = None,
    *,
    named: Collection[str] = (),
    left_out: Sequence[Skipped] = (),
) -> Plan:
    """Return the plan for these parts, narrowed by `filters`; UsageError for a filter that matches nothing.

    `named` are the topologies that were given by name: one that cannot have a kernel's preset is a UsageError, while
    one that only a glob matched is skipped. `left_out` is what was skipped before.
    """
    filters = filters or Filters()
    topology_names = _narrow("topology", filters.topologies, [topology.name for topology in topologies])
    kernel_names = _narrow("kernel", filters.kernels, [kernel.name for kernel in kernels])
    selections = narrow_tests(filters.tests, scenarios)
    selected = [topology for topology in topologies if topology.name in topology_names]
    variants = [kernel for kernel in kernels if kernel.name in kernel_names]
    impossible = _impossible(selected, variants, named)
    idle = [topology for topology in selected if not _meant_for(topology, selections)]
    busy = [topology for topology in selected if topology not in idle]
    machines = _machines_of_builds(busy, variants, impossible)
    builds = _in_order(machines)
    skipped = [
        *left_out,
        *_skipped(topologies, kernels, topology_names, kernel_names),
        *_skipped_by_host({str(key): reason for key, reason in impossible.items()}),
        *_unselected(scenarios, selections),
        *map(_skipped_idle, idle),
    ]
    cells = _cells(builds, machines, selections)
    return Plan(spec=spec, builds=builds, cells=cells, named=frozenset(named), skipped=tuple(skipped))


def _machines_of_builds(
    topologies: Sequence[Topology], kernels: Sequence[Kernel], impossible: Collection[CellKey]
) -> dict[Build, list[Topology]]:
    """Return each kernel image -> the machines that boot it."""
    machines: dict[Build, list[Topology]] = {}
    for topology, kernel in product(topologies, kernels):
        if cell_key(topology, kernel) not in impossible:
            machines.setdefault(build_of(topology, kernel), []).append(topology)
    return machines


def _cells(
    builds: Iterable[Build], machines: Mapping[Build, Sequence[Topology]], selections: Sequence[Selection]
) -> tuple[Cell, ...]:
    cells = []
    for build in builds:
        for topology in machines[build]:
            scenarios = _meant_for(topology, selections)
            cells.append(Cell(topology=topology, kernel=build.kernel, build=build, scenarios=scenarios))
    return tuple(cells)


def _skipped_by_host(reasons: Mapping[str, str]) -> tuple[Skipped, ...]:
    """Return what cannot be built or run here; `reasons` has a machine or a cell -> why."""
    return tuple(Skipped(what=what, reason=reason, by_host=True) for what, reason in reasons.items())


def _skipped_idle(topology: Topology) -> Skipped:
    return Skipped(what=topology.name, reason=f"runs only {', '.join(topology.scenarios or ())}")


def _meant_for(topology: Topology, selections: Sequence[Selection]) -> tuple[Selection, ...]:
    """Return the selected scenarios that a machine is meant for."""
    return tuple(selection for selection in selections if is_for(topology.scenarios, selection.scenario))


def is_for(scenarios: Iterable[str] | None, scenario: str) -> bool:
    """Whether a machine whose `scenarios` key has these globs (None: no such key) runs a scenario."""
    return scenarios is None or any(fnmatchcase(scenario, word) for word in scenarios)


def cell_key(topology: Topology, kernel: Kernel) -> CellKey:
    """`topology/kernel`."""
    return CellKey(topology.name, kernel.name)


def node_count(topology: Topology) -> int:
    """Return the number of NUMA nodes of a machine; one if it has no `numa` key."""
    return max(1, len(topology.numa))


def _impossible(
    topologies: Sequence[Topology], kernels: Sequence[Kernel], named: Collection[str]
) -> Mapping[CellKey, str]:
    """Return a cell -> why its kernel cannot be built for its machine; UsageError if the machine was given by name."""
    reasons: dict[CellKey, str] = {}
    for topology, kernel in product(topologies, kernels):
        if why := lacking_preset(topology.architecture, kernel.config):
            if topology.name in named:
                raise UsageError(f"{cell_key(topology, kernel)}: {why}")
            reasons[cell_key(topology, kernel)] = why
    return reasons


def build_of(topology: Topology, kernel: Kernel) -> Build:
    """Return the image of `kernel` that `topology` boots."""
    fragments = tuple(dict.fromkeys((*topology.fragments, *kernel.fragments)))
    return Build(kernel=kernel, arch=topology.arch, fragments=fragments)


def narrow_tests(words: Sequence[str], scenarios: Sequence[Selection]) -> tuple[Selection, ...]:
    """Return the selections that the words of --test (`scenario`, `scenario.case`, globs of both) match."""
    if not words:
        return tuple(scenarios)
    chosen: list[Selection] = []
    for word in words:
        scenario, _, case = word.partition(".")
        hits = [selection for selection in scenarios if fnmatchcase(selection.scenario, scenario)]
        if not hits:
            raise unknown("scenario", scenario, [selection.scenario for selection in scenarios])
        chosen += [replace(hit, cases=(case,)) for hit in hits] if case else hits
    merged = {selection.scenario: selection for selection in merge_selections(chosen)}
    names = dict.fromkeys(selection.scenario for selection in scenarios)
    return tuple(merged[name] for name in names if name in merged)


def merge_selections(selections: Iterable[Selection]) -> tuple[Selection, ...]:
    """Return one selection per scenario, in order of appearance; all of its cases if one of its selections has all."""
    merged: dict[str, Selection] = {}
    for selection in selections:
        before = merged.setdefault(selection.scenario, selection)
        cases = dict.fromkeys((*before.cases, *selection.cases)) if before.cases and selection.cases else ()
        merged[selection.scenario] = replace(selection, cases=tuple(cases))
    return tuple(merged.values())


def resolve_cases(planned: Plan, declared: Mapping[str, Collection[str]]) -> Plan:
    """Return the plan with globs of cases replaced by names; a scenario without a case left is dropped.

    `declared` has the names of every scenario's cases. UsageError for a glob that matches no case of any scenario.
    """
    selections = _selections(planned.cells)
    for selection in selections:
        for glob in selection.cases:
            _check_glob(glob, selections, declared)
    resolved = {selection: _resolved(selection, declared[selection.scenario]) for selection in selections}
    cells = []
    for cell in planned.cells:
        if scenarios := tuple(filter(None, map(resolved.__getitem__, cell.scenarios))):
            cells.append(replace(cell, scenarios=scenarios))
    return _with_cells(planned, cells)


def _check_glob(glob: str, selections: Sequence[Selection], declared: Mapping[str, Collection[str]]) -> None:
    """Raise UsageError if no scenario that is selected with this glob has a case that it matches."""
    names: list[str] = []
    for selection in selections:
        if glob in selection.cases:
            names += declared[selection.scenario]
    if not any(fnmatchcase(name, glob) for name in names):
        raise unknown("case", glob, names)


def _with_cells(planned: Plan, cells: Sequence[Cell]) -> Plan:
    """Return the plan with other cells, and of its builds only those that they need."""
    needed = {cell.build for cell in cells}
    builds = tuple(build for build in planned.builds if build in needed)
    return replace(planned, cells=tuple(cells), builds=builds)


def _selections(cells: Iterable[Cell]) -> tuple[Selection, ...]:
    """Return every selection that a cell runs, once."""
    return tuple(dict.fromkeys(chain.from_iterable(cell.scenarios for cell in cells)))


def repeated(planned: Plan, times: int) -> Plan:
    """Return the plan with every cell so many times: all cells once, then all of them again."""
    repeats = product(range(1, times + 1), planned.cells)
    return replace(planned, cells=tuple(replace(cell, repeat=number) for number, cell in repeats))


def _resolved(selection: Selection, names: Iterable[str]) -> Selection | None:
    """Return a selection with names for globs; None if its globs match none of the names."""
    if not selection.cases:
        return selection
    cases = tuple(name for name in names if any(fnmatchcase(name, glob) for glob in selection.cases))
    return replace(selection, cases=cases) if cases else None


def matches(word: str, name: str) -> bool:
    """Whether a word of the command line (name, glob, or path of a YAML file) matches this name."""
    return fnmatchcase(name, PurePath(word).stem if is_path(word) else word)


def _narrow(kind: str, words: Iterable[str], names: Sequence[str]) -> set[str]:
    """Return the names that any word matches; all of them if there are no words."""
    matched: set[str] = set()
    for word in words:
        hits = {name for name in names if matches(word, name)}
        if not hits:
            raise unknown(kind, word, names)
        matched |= hits
    return matched or set(names)


def _in_order(builds: Collection[Build]) -> tuple[Build, ...]:
    """Return the images: trees in the order of their first image, unpatched kernels first."""
    place = {tree: number for number, tree in enumerate(dict.fromkeys(build.tree for build in builds))}
    return tuple(sorted(builds, key=lambda build: (place[build.tree], not build.kernel.baseline)))


def _skipped(
    topologies: Sequence[Topology], kernels: Sequence[Kernel], topology_names: set[str], kernel_names: set[str]
) -> list[Skipped]:
    """Return the cells that the filters leave out."""
    skipped: list[Skipped] = []
    for topology, kernel in product(topologies, kernels):
        cell = str(cell_key(topology, kernel))
        if topology.name not in topology_names:
            skipped.append(Skipped(what=cell, reason="not selected by --topology"))
        elif kernel.name not in kernel_names:
            skipped.append(Skipped(what=cell, reason="not selected by --kernel"))
    return skipped


def _unselected(scenarios: Sequence[Selection], selections: Sequence[Selection]) -> list[Skipped]:
    """Return the scenarios that --test leaves out."""
    selected = {selection.scenario for selection in selections}
    names = [selection.scenario for selection in scenarios if selection.scenario not in selected]
    return [Skipped(what=name, reason="not selected by --test") for name in names]


def possible(planned: Plan, lacking: Mapping[str, str]) -> Plan:
    """Return the plan without the cells that this host cannot build or start.

    `lacking` has an architecture or a topology -> what the host lacks for it. A machine that was named raises
    InfraError; one that only a glob matched is skipped.
    """
    cells = []
    skipped: dict[str, str] = {}
    for cell in planned.cells:
        name = cell.topology.name
        reason = lacking.get(name) or lacking.get(cell.build.arch, "")
        if reason and name in planned.named:
            raise InfraError(f"{name}: {reason}")
        if reason:
            skipped[name] = reason
        else:
            cells.append(cell)
    return replace(_with_cells(planned, cells), skipped=(*planned.skipped, *_skipped_by_host(skipped)))


def in_order(planned: Plan, built: Collection[Build], seconds: Mapping[str, float]) -> Plan:
    """Return the plan with what can start at once first, and of that the longest: kernels are built while guests run.

    `seconds` has the name of each cell -> its expected duration.
    """
    builds = tuple(sorted(planned.builds, key=lambda build: build not in built))
    place = {build: number for number, build in enumerate(builds, start=1)} | dict.fromkeys(built, 0)
    cells = sorted(planned.cells, key=lambda cell: (place[cell.build], -seconds.get(cell.name, 0.0)))
    return replace(planned, builds=builds, cells=tuple(cells))
