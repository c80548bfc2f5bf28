# SPDX-License-Identifier: GPL-2.0-or-later
"""What a campaign comes to: cells, kernel builds, selected tests, and what is left out and why. Pure: touches no disk.

Order matters, and is the plan's: the kernels of one source, architecture and configuration stand next to each other,
the unpatched one first, so that each but the first costs an incremental build; cells stand in the order in which
their kernels become ready, so that guests run while the next kernel is built.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path, PurePath

from lab.arch import lacking_preset
from lab.core.errors import InfraError, UsageError, unknown
from lab.core.outcome import Case, CellKey
from lab.core.paths import is_path
from lab.specs.model import CampaignSpec, Kernel, Topology
from lab.specs.suite import Suite


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A scenario program and the globs of its cases to run; no globs: all of them."""

    scenario: str
    cases: tuple[str, ...] = ()

    def asked_cases(self, declared: Sequence[Case]) -> list[Case]:
        """Return the declared cases that this names; all of them if it names none."""
        return [case for case in declared if not self.cases or case.name in self.cases]

    def __str__(self) -> str:
        return f"{self.scenario}.{{{','.join(self.cases)}}}" if self.cases else self.scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What the command line makes of a campaign. Names, globs and paths; `tests` also `scenario.case` globs."""

    topologies: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    config: tuple[str, ...] = ()
    """Config fragments (presets, files) for every kernel, merged last."""
    programs: tuple[str, ...] = ()
    """C files of the user's that are scenarios besides."""
    suites: tuple[str, ...] = ()
    """Suites of tests (`lab/specs/suite.py`) in place of the campaign's scenarios."""
    arches: tuple[str, ...] = ()
    """Architectures to which the environment narrows what a campaign means; none: all."""

    @property
    def given(self) -> bool:
        """Whether the command line says anything of all this."""
        return any((self.topologies, self.kernels, self.tests, self.config, self.programs, self.suites))


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One kernel image. Topologies that ask for the same one share it."""

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
    """A machine, a cell (`topology/kernel`) or a scenario that the campaign has and this plan leaves out."""

    what: str
    reason: str
    by_host: bool = False
    """Left out because it cannot be built or run here, not because it is not wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All there is to do, in the order in which to do it."""

    spec: CampaignSpec
    builds: tuple[Build, ...]
    cells: tuple[Cell, ...]
    skipped: tuple[Skipped, ...] = ()
    named: frozenset[str] = frozenset()
    """The topologies that were asked for by name, not by a glob."""
    sources: tuple[Path, ...] = ()
    """Where the programs of its scenarios are: directories, and single C files."""
    suites: tuple[Suite, ...] = ()
    """What is run in place of the lab's own scenarios."""

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
    """The plan for everything that is given, narrowed by `filters`; UsageError for a filter that nothing matches.

    `named` are the topologies that were asked for by name: one that cannot have a kernel's preset is a UsageError,
    where a topology that a glob meant is left out. `left_out` is what was left out before.
    """
    filters = filters or Filters()
    wanted_topologies = _narrow("topology", filters.topologies, [each.name for each in topologies])
    wanted_kernels = _narrow("kernel", filters.kernels, [each.name for each in kernels])
    selections = narrow_tests(filters.tests, scenarios)
    chosen = [each for each in topologies if each.name in wanted_topologies]
    variants = [each for each in kernels if each.name in wanted_kernels]
    impossible = _impossible(chosen, variants, named)
    idle = [topology for topology in chosen if not _meant_for(topology, selections)]
    machines: dict[Build, list[Topology]] = {}
    for topology, kernel in product((each for each in chosen if each not in idle), variants):
        if not impossible or cell_key(topology, kernel) not in impossible:
            machines.setdefault(build_of(topology, kernel), []).append(topology)
    builds = _in_order(machines)
    cells = [
        Cell(topology=topology, kernel=build.kernel, build=build, scenarios=_meant_for(topology, selections))
        for build in builds
        for topology in machines[build]
    ]
    return Plan(
        spec=spec,
        builds=builds,
        cells=tuple(cells),
        named=frozenset(named),
        skipped=(
            *left_out,
            *_skipped(topologies, kernels, wanted_topologies, wanted_kernels),
            *(Skipped(what=str(cell), reason=why, by_host=True) for cell, why in impossible.items()),
            *_unselected(scenarios, selections),
            *(Skipped(what=each.name, reason=f"runs {', '.join(each.scenarios or ())} alone") for each in idle),
        ),
    )


def _meant_for(topology: Topology, selections: Sequence[Selection]) -> tuple[Selection, ...]:
    """The scenarios that a machine is for, of those that were selected."""
    return tuple(each for each in selections if is_for(topology.scenarios, each.scenario))


def is_for(scenarios: Iterable[str] | None, scenario: str) -> bool:
    """Whether a machine that says this of its scenarios is for one of them."""
    return scenarios is None or any(fnmatchcase(scenario, word) for word in scenarios)


def cell_key(topology: Topology, kernel: Kernel) -> CellKey:
    return CellKey(topology.name, kernel.name)


def node_count(topology: Topology) -> int:
    """How many NUMA nodes a machine has; one where it says nothing about them."""
    return max(1, len(topology.numa))


def _impossible(
    topologies: Sequence[Topology], kernels: Sequence[Kernel], named: Collection[str]
) -> Mapping[CellKey, str]:
    """Cell -> why its kernel cannot be built for its machine; UsageError where the machine was asked for by name."""
    found: dict[CellKey, str] = {}
    for topology, kernel in product(topologies, kernels):
        if why := lacking_preset(topology.architecture, kernel.config):
            if topology.name in named:
                raise UsageError(f"{cell_key(topology, kernel)}: {why}")
            found[cell_key(topology, kernel)] = why
    return found


def build_of(topology: Topology, kernel: Kernel) -> Build:
    """The image of `kernel` that `topology` boots."""
    fragments = tuple(dict.fromkeys((*topology.fragments, *kernel.config)))
    return Build(kernel=kernel, arch=topology.arch, fragments=fragments)


def narrow_tests(words: Sequence[str], scenarios: Sequence[Selection]) -> tuple[Selection, ...]:
    """The selections that the words of --test (`scenario`, `scenario.case`, globs of both) leave."""
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
    """The plan with every glob of cases replaced by the names it means; scenarios that are left with none go.

    `declared` has the names of the cases of every scenario. UsageError for a glob that means none in any scenario.
    """
    selections = _selections(planned.cells)
    globs = dict.fromkeys(glob for each in selections for glob in each.cases)
    for glob in globs:
        names = [name for each in selections if glob in each.cases for name in declared[each.scenario]]
        if not any(fnmatchcase(name, glob) for name in names):
            raise unknown("case", glob, names)
    resolved = {each: _resolved(each, declared[each.scenario]) for each in selections}
    cells = tuple(
        replace(cell, scenarios=tuple(kept for each in cell.scenarios if (kept := resolved[each])))
        for cell in planned.cells
    )
    left = tuple(cell for cell in cells if cell.scenarios)
    builds = {cell.build for cell in left}
    return replace(planned, cells=left, builds=tuple(build for build in planned.builds if build in builds))


def _selections(cells: Iterable[Cell]) -> tuple[Selection, ...]:
    """All that any cell runs."""
    return tuple(dict.fromkeys(each for cell in cells for each in cell.scenarios))


def repeated(planned: Plan, times: int) -> Plan:
    """The plan with every cell so many times; all cells once, then all of them again."""
    numbers = range(1, times + 1)
    return replace(planned, cells=tuple(replace(cell, repeat=repeat) for repeat in numbers for cell in planned.cells))


def _resolved(selection: Selection, names: Iterable[str]) -> Selection | None:
    """A selection by names; None when its globs mean none of them."""
    if not selection.cases:
        return selection
    wanted = tuple(name for name in names if any(fnmatchcase(name, glob) for glob in selection.cases))
    return replace(selection, cases=wanted) if wanted else None


def matches(word: str, name: str) -> bool:
    """Whether a word of the command line (name, glob, or path of a YAML file) means this name."""
    return fnmatchcase(name, PurePath(word).stem if is_path(word) else word)


def _narrow(kind: str, words: Iterable[str], names: Sequence[str]) -> set[str]:
    """The names that any word means; all of them when there are no words."""
    wanted: set[str] = set()
    for word in words:
        hits = {name for name in names if matches(word, name)}
        if not hits:
            raise unknown(kind, word, names)
        wanted |= hits
    return wanted or set(names)


def _in_order(asked: Iterable[Build]) -> tuple[Build, ...]:
    """The images: trees in the order in which the campaign first asks for them, unpatched kernels first."""
    builds = tuple(asked)
    place = {tree: number for number, tree in enumerate(dict.fromkeys(build.tree for build in builds))}
    return tuple(sorted(builds, key=lambda build: (place[build.tree], not build.kernel.baseline)))


def _skipped(
    topologies: Sequence[Topology], kernels: Sequence[Kernel], chosen: set[str], variants: set[str]
) -> list[Skipped]:
    """The cells that the filters leave out."""
    left: list[Skipped] = []
    for topology in topologies:
        for kernel in kernels:
            why = "--topology" if topology.name not in chosen else "--kernel" if kernel.name not in variants else ""
            if why:
                left.append(Skipped(what=str(cell_key(topology, kernel)), reason=f"not selected by {why}"))
    return left


def _unselected(scenarios: Sequence[Selection], selections: Sequence[Selection]) -> list[Skipped]:
    kept = {each.scenario for each in selections}
    return [
        Skipped(what=each.scenario, reason="not selected by --test") for each in scenarios if each.scenario not in kept
    ]


def possible(planned: Plan, lacking: Mapping[str, str]) -> Plan:
    """The plan without the cells that this host cannot build or start.

    `lacking` says what for which architecture, or for which topology. InfraError where the machine was asked for by
    name: who says its name wants it, who says `*` wants what there is.
    """

    def why(cell: Cell) -> str:
        return lacking.get(cell.topology.name) or lacking.get(cell.build.arch, "")

    for cell in planned.cells:
        if why(cell) and cell.topology.name in planned.named:
            raise InfraError(f"{cell.topology.name}: {why(cell)}")
    cells = tuple(cell for cell in planned.cells if not why(cell))
    gone = {cell.topology.name: why(cell) for cell in planned.cells if why(cell)}
    left = {cell.build for cell in cells}
    return replace(
        planned,
        cells=cells,
        builds=tuple(build for build in planned.builds if build in left),
        skipped=(*planned.skipped, *(Skipped(what=what, reason=reason, by_host=True) for what, reason in gone.items())),
    )


def in_order(planned: Plan, built: Collection[Build], seconds: Mapping[str, float]) -> Plan:
    """The plan with what can start at once first, and of that the longest: kernels are built while guests run.

    `seconds` has how long each cell is going to take, by name.
    """
    builds = tuple(sorted(planned.builds, key=lambda build: build not in built))
    place = {build: 0 if build in built else number for number, build in enumerate(builds, start=1)}
    cells = sorted(planned.cells, key=lambda cell: (place[cell.build], -seconds.get(cell.name, 0.0)))
    return replace(planned, builds=builds, cells=tuple(cells))
