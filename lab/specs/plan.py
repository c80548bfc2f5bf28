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
from itertools import product
from pathlib import Path, PurePath
from typing import TypeVar

from lab.core.errors import InfraError, UsageError, unknown
from lab.core.outcome import Case, CellKey
from lab.core.paths import is_path, is_prebuilt, prebuilt_name
from lab.specs.model import CampaignSpec, Kernel, Topology
from lab.specs.report import ReportPlan
from lab.specs.suite import Suite

Named = TypeVar("Named", Topology, Kernel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A scenario program and the globs of its cases to run; without globs, all of them."""

    scenario: str
    cases: tuple[str, ...] = ()

    def asked_cases(self, declared: Sequence[Case]) -> list[Case]:
        """Return the declared cases that this names; all of them if it names none."""
        return [case for case in declared if not self.cases or case.name in self.cases]

    def __str__(self) -> str:
        if not self.cases:
            return self.scenario
        return f"{self.scenario}.{{{','.join(self.cases)}}}"


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
    reports: tuple[str, ...] = ()
    """Of a campaign of reports only these, and the user's own."""
    roots: tuple[str, ...] = ()
    """What programs have as `/`, as --root names it: at most one."""

    @property
    def given(self) -> bool:
        """Whether the command line has any of these filters."""
        own = (self.programs, self.suites, self.reports, self.roots)
        return any((self.topologies, self.kernels, self.tests, self.config, *own))


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One kernel image. Topologies that need the same one share it."""

    kernel: Kernel
    arch: str
    fragments: tuple[str, ...]
    """Names of the config fragments, merged in this order."""
    image: str = ""
    """make's target of the image, where it is not the architecture's."""

    @property
    def tree(self) -> tuple[str, str, tuple[str, ...]]:
        """Builds with the same tree differ in series and image alone: the second costs an incremental build."""
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
        if self.repeat == 1:
            return str(self.key)
        return f"{self.key}/repeat-{self.repeat}"

    def of_release(self, release: str) -> Cell:
        """Return the cell with those complaints of its kernel that hold for the release that was built."""
        known = tuple(line for line in self.kernel.console_known if line.holds(release))
        return replace(self, kernel=self.kernel.model_copy(update={"console_known": known}))


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
    reports: tuple[ReportPlan, ...] = ()
    """Reports to reproduce instead of the lab's own scenarios; each cell has a selection for those that it runs."""
    root: str = ""
    """What the programs have as `/`, as --root names it; empty for the guests' own userland."""

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

    `named` are the topologies that were given by name: one that cannot boot a kernel is a UsageError, while
    one that only a glob matched is skipped. `left_out` is what was skipped before.
    """
    filters = filters or Filters()
    machines = narrowed("topology", filters.topologies, topologies)
    variants = narrowed("kernel", filters.kernels, kernels)
    selections = narrow_tests(filters.tests, scenarios)
    impossible = _impossible(machines, variants, named)
    busy, idle = _busy_and_idle(machines, selections)
    booted_by = _machines_of_builds(busy, variants, impossible)
    builds = in_build_order(booted_by)
    skipped = [
        *left_out,
        *_skipped(topologies, kernels, machines, variants),
        *_skipped_by_host(impossible),
        *_unselected(scenarios, selections),
        *map(_skipped_idle, idle),
    ]
    cells = _cells(builds, booted_by, selections)
    return Plan(spec=spec, builds=builds, cells=cells, named=frozenset(named), skipped=tuple(skipped))


def _busy_and_idle(
    topologies: Sequence[Topology], selections: Sequence[Selection]
) -> tuple[list[Topology], list[Topology]]:
    """Return the machines that a selected scenario is meant for, and the others."""
    busy: list[Topology] = []
    idle: list[Topology] = []
    for topology in topologies:
        if _meant_for(topology, selections):
            busy.append(topology)
        else:
            idle.append(topology)
    return busy, idle


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


def _skipped_by_host(reasons: Mapping[str, str] | Mapping[CellKey, str]) -> list[Skipped]:
    """Return what cannot be built or run here; `reasons` has a machine or a cell -> why."""
    skipped = []
    for what, reason in reasons.items():
        skipped.append(Skipped(what=str(what), reason=reason, by_host=True))
    return skipped


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
    """Return a cell -> why its kernel cannot be one of its machine; UsageError if the machine was given by name."""
    reasons: dict[CellKey, str] = {}
    for topology, kernel in product(topologies, kernels):
        if why := kernel.unfit_for(topology.architecture):
            if topology.name in named:
                raise UsageError(f"{cell_key(topology, kernel)}: {why}")
            reasons[cell_key(topology, kernel)] = why
    return reasons


def build_of(topology: Topology, kernel: Kernel) -> Build:
    """Return the image of `kernel` that `topology` boots."""
    fragments = tuple(dict.fromkeys((*topology.fragments, *kernel.fragments)))
    own = None if kernel.prebuilt else topology.mode.image
    return Build(kernel=kernel, arch=topology.arch, fragments=fragments, image=own.target if own else "")


def narrow_tests(words: Sequence[str], scenarios: Sequence[Selection]) -> tuple[Selection, ...]:
    """Return the selections that the words of --test (`scenario`, `scenario.case`, globs of both) match."""
    if not words:
        return tuple(scenarios)
    names = list(dict.fromkeys(selection.scenario for selection in scenarios))
    chosen: list[Selection] = []
    for word in words:
        chosen += _selected_by(word, scenarios, names)
    merged = merge_selections(chosen)
    return tuple(sorted(merged, key=lambda selection: names.index(selection.scenario)))


def _selected_by(word: str, scenarios: Sequence[Selection], names: Sequence[str]) -> list[Selection]:
    """Return the selections that one word of --test matches; UsageError if it matches none of the scenarios."""
    scenario, _, case = word.partition(".")
    hits = []
    for selection in scenarios:
        if not fnmatchcase(selection.scenario, scenario):
            continue
        if case:
            hits.append(replace(selection, cases=(case,)))
        else:
            hits.append(selection)
    if not hits:
        raise unknown("scenario", scenario, names)
    return hits


def merge_selections(selections: Iterable[Selection]) -> tuple[Selection, ...]:
    """Return one selection per scenario, in order of appearance; all of its cases if one of its selections has all."""
    merged: dict[str, Selection] = {}
    for selection in selections:
        before = merged.setdefault(selection.scenario, selection)
        cases: tuple[str, ...] = ()
        if before.cases and selection.cases:
            cases = tuple(dict.fromkeys((*before.cases, *selection.cases)))
        merged[selection.scenario] = replace(selection, cases=cases)
    return tuple(merged.values())


def resolve_cases(planned: Plan, declared: Mapping[str, Collection[str]]) -> Plan:
    """Return the plan with globs of cases replaced by names; a scenario without a case left is dropped.

    `declared` has the names of every scenario's cases. UsageError for a glob that matches no case of any scenario.
    """
    selections = _selections(planned.cells)
    for selection in selections:
        for glob in selection.cases:
            _check_glob(glob, selections, declared)
    cells = []
    for cell in planned.cells:
        scenarios = []
        for selection in cell.scenarios:
            if resolved := _resolved(selection, declared[selection.scenario]):
                scenarios.append(resolved)
        if scenarios:
            cells.append(replace(cell, scenarios=tuple(scenarios)))
    return _with_cells(planned, cells)


def _check_glob(glob: str, selections: Sequence[Selection], declared: Mapping[str, Collection[str]]) -> None:
    """Raise UsageError if no scenario that is selected with this glob has a case that it matches."""
    names: list[str] = []
    for selection in selections:
        if glob in selection.cases:
            names += declared[selection.scenario]
    if not any(_names_case(glob, name) for name in names):
        raise unknown("case", glob, names)


def _names_case(glob: str, name: str) -> bool:
    """Whether a glob matches the name of a case, or what stands behind the colon: `run_vmtests.sh:mremap`."""
    return fnmatchcase(name, glob) or fnmatchcase(name.partition(":")[2], glob)


def _with_cells(planned: Plan, cells: Sequence[Cell]) -> Plan:
    """Return the plan with other cells, and of its builds only those that they need."""
    needed = {cell.build for cell in cells}
    builds = tuple(build for build in planned.builds if build in needed)
    return replace(planned, cells=tuple(cells), builds=builds)


def _selections(cells: Iterable[Cell]) -> tuple[Selection, ...]:
    """Return every selection that a cell runs, once."""
    selections: dict[Selection, None] = {}
    for cell in cells:
        selections |= dict.fromkeys(cell.scenarios)
    return tuple(selections)


def repeated(planned: Plan, times: int) -> Plan:
    """Return the plan with every cell so many times: all cells once, then all of them again."""
    cells = []
    for number, cell in product(range(1, times + 1), planned.cells):
        cells.append(replace(cell, repeat=number))
    return replace(planned, cells=tuple(cells))


def _resolved(selection: Selection, names: Iterable[str]) -> Selection | None:
    """Return a selection with names for globs; None if its globs match none of the names."""
    if not selection.cases:
        return selection
    cases = []
    for name in names:
        if any(_names_case(glob, name) for glob in selection.cases):
            cases.append(name)
    if not cases:
        return None
    return replace(selection, cases=tuple(cases))


def matches(word: str, name: str) -> bool:
    """Whether a word of the command line (name, glob, path of a YAML file, or a kernel's source) matches this name."""
    if is_prebuilt(word):
        return name == prebuilt_name(word)
    if is_path(word):
        word = PurePath(word).stem
    return fnmatchcase(name, word)


def narrowed(kind: str, words: Collection[str], models: Sequence[Named]) -> list[Named]:
    """Return the models whose names any word matches; all of them if there are no words."""
    if not words:
        return list(models)
    names = [model.name for model in models]
    matched: set[str] = set()
    for word in words:
        hits = {name for name in names if matches(word, name)}
        if not hits:
            raise unknown(kind, word, names)
        matched |= hits
    return [model for model in models if model.name in matched]


def in_build_order(builds: Collection[Build]) -> tuple[Build, ...]:
    """Return the images: trees in the order of their first image, unpatched kernels first."""
    trees = [build.tree for build in builds]
    return tuple(sorted(builds, key=lambda build: (trees.index(build.tree), not build.kernel.baseline)))


def _skipped(
    topologies: Sequence[Topology],
    kernels: Sequence[Kernel],
    selected: Sequence[Topology],
    variants: Sequence[Kernel],
) -> list[Skipped]:
    """Return the cells that the filters leave out of all: those without a selected machine or kernel."""
    topology_names = {topology.name for topology in selected}
    kernel_names = {kernel.name for kernel in variants}
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
    skipped = []
    for selection in scenarios:
        if selection.scenario not in selected:
            skipped.append(Skipped(what=selection.scenario, reason="not selected by --test"))
    return skipped


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

    def start(cell: Cell) -> tuple[int, float]:
        """Return when a cell can start, as the number of its build, and how long it takes, negated."""
        number = 0
        if cell.build not in built:
            number = builds.index(cell.build) + 1
        return number, -seconds.get(cell.name, 0.0)

    return replace(planned, builds=builds, cells=tuple(sorted(planned.cells, key=start)))
