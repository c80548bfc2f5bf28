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
from pathlib import PurePath

from lab.errors import unknown
from lab.model import CampaignSpec, Kernel, Topology, format_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A scenario program and the globs of its cases to run; no globs: all of them."""

    scenario: str
    cases: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.scenario}.{{{','.join(self.cases)}}}" if self.cases else self.scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What the command line narrows a campaign to. Names, globs and paths; `tests` also `scenario.case` globs."""

    topologies: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()


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
    def place(self) -> str:
        """`topology/kernel`."""
        return f"{self.topology.name}/{self.kernel.name}"

    @property
    def name(self) -> str:
        """`topology/kernel`, or `topology/kernel/repeat-2`; also the guest's directory below cells/ of a run."""
        return self.place if self.repeat == 1 else f"{self.place}/repeat-{self.repeat}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A cell (`topology/kernel`) or a scenario that the campaign has and this plan leaves out."""

    what: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All there is to do, in the order in which to do it."""

    spec: CampaignSpec
    builds: tuple[Build, ...]
    cells: tuple[Cell, ...]
    skipped: tuple[Skipped, ...] = ()

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
) -> Plan:
    """The plan for everything that is given, narrowed by `filters`; UsageError for a filter that nothing matches."""
    filters = filters or Filters()
    wanted_topologies = _narrow("topology", filters.topologies, [each.name for each in topologies])
    wanted_kernels = _narrow("kernel", filters.kernels, [each.name for each in kernels])
    selections = narrow_tests(filters.tests, scenarios)
    chosen = [each for each in topologies if each.name in wanted_topologies]
    variants = [each for each in kernels if each.name in wanted_kernels]
    builds = _builds(chosen, variants)
    cells = [
        Cell(topology=topology, kernel=build.kernel, build=build, scenarios=selections)
        for build in builds
        for topology in chosen
        if build == build_of(topology, build.kernel)
    ]
    return Plan(
        spec=spec,
        builds=builds,
        cells=tuple(cells),
        skipped=(
            *_skipped(topologies, kernels, wanted_topologies, wanted_kernels),
            *_unselected(scenarios, selections),
        ),
    )


def build_of(topology: Topology, kernel: Kernel) -> Build:
    """The image of `kernel` that `topology` boots."""
    fragments = tuple(dict.fromkeys((*topology.fragments, *kernel.config)))
    return Build(kernel=kernel, arch=topology.arch, fragments=fragments)


def narrow_tests(words: Sequence[str], scenarios: Sequence[Selection]) -> tuple[Selection, ...]:
    """The selections that the words of --test (`scenario`, `scenario.case`, globs of both) leave."""
    if not words:
        return tuple(scenarios)
    kept: dict[str, tuple[str, ...]] = {}
    for word in words:
        scenario, _, case = word.partition(".")
        hits = [each for each in scenarios if fnmatchcase(each.scenario, scenario)]
        if not hits:
            raise unknown("scenario", scenario, [each.scenario for each in scenarios])
        for hit in hits:
            kept[hit.scenario] = _union(kept.get(hit.scenario), (case,) if case else hit.cases)
    return tuple(
        Selection(scenario=each.scenario, cases=kept[each.scenario]) for each in scenarios if each.scenario in kept
    )


def _union(before: tuple[str, ...] | None, cases: tuple[str, ...]) -> tuple[str, ...]:
    """Both selections of one scenario's cases together; an empty one means all of them."""
    if before is None:
        return cases
    return tuple(dict.fromkeys((*before, *cases))) if before and cases else ()


def resolve_cases(planned: Plan, declared: Mapping[str, Collection[str]]) -> Plan:
    """The plan with every glob of cases replaced by the names it means; scenarios that are left with none go.

    `declared` has the names of the cases of every scenario. UsageError for a glob that means none in any scenario.
    """
    selections = planned.cells[0].scenarios if planned.cells else ()
    globs = dict.fromkeys(glob for each in selections for glob in each.cases)
    for glob in globs:
        names = [name for each in selections if glob in each.cases for name in declared[each.scenario]]
        if not any(fnmatchcase(name, glob) for name in names):
            raise unknown("case", glob, names)
    resolved = tuple(kept for each in selections if (kept := _resolved(each, declared[each.scenario])))
    cells = tuple(replace(cell, scenarios=resolved) for cell in planned.cells)
    return replace(planned, cells=cells)


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


def is_path(word: str) -> bool:
    """Whether a word is the path of a file and not a name or glob of names."""
    return "/" in word or word.endswith((".yaml", ".yml"))


def _narrow(kind: str, words: Iterable[str], names: Sequence[str]) -> set[str]:
    """The names that any word means; all of them when there are no words."""
    wanted: set[str] = set()
    for word in words:
        hits = {name for name in names if matches(word, name)}
        if not hits:
            raise unknown(kind, word, names)
        wanted |= hits
    return wanted or set(names)


def _builds(topologies: Sequence[Topology], kernels: Sequence[Kernel]) -> tuple[Build, ...]:
    """Every image once: trees in the order in which the campaign first asks for them, unpatched kernels first."""
    asked = list(dict.fromkeys(build_of(topology, kernel) for topology in topologies for kernel in kernels))
    trees = list(dict.fromkeys(build.tree for build in asked))
    return tuple(sorted(asked, key=lambda build: (trees.index(build.tree), not build.kernel.baseline)))


def _skipped(
    topologies: Sequence[Topology], kernels: Sequence[Kernel], chosen: set[str], variants: set[str]
) -> list[Skipped]:
    """The cells that the filters leave out."""
    left: list[Skipped] = []
    for topology in topologies:
        for kernel in kernels:
            why = "--topology" if topology.name not in chosen else "--kernel" if kernel.name not in variants else ""
            if why:
                left.append(Skipped(what=f"{topology.name}/{kernel.name}", reason=f"not selected by {why}"))
    return left


def _unselected(scenarios: Sequence[Selection], selections: Sequence[Selection]) -> list[Skipped]:
    kept = {each.scenario for each in selections}
    return [
        Skipped(what=each.scenario, reason="not selected by --test") for each in scenarios if each.scenario not in kept
    ]


def describe(plan: Plan) -> str:
    """The plan as `lab plan` shows it."""
    lines = [f"campaign {plan.name}" + (f": {plan.spec.description}" if plan.spec.description else "")]
    lines += _section("kernels to build", _build_rows(plan.builds))
    lines += _section("guests", [_cell_row(cell) for cell in plan.cells])
    if plan.cells:
        how = "a fresh guest for each" if plan.spec.isolation == "fresh" else "one guest for all of them"
        lines += ["", f"scenarios, {how}: {', '.join(map(str, plan.cells[0].scenarios)) or 'none'}"]
    lines += _section("skipped", [(each.what, each.reason) for each in plan.skipped]) if plan.skipped else []
    return "\n".join(lines)


def _build_rows(builds: Sequence[Build]) -> list[tuple[str, ...]]:
    seen: set[object] = set()
    rows: list[tuple[str, ...]] = []
    for build in builds:
        kernel = build.kernel
        what = f"{kernel.source} + {kernel.series}" if kernel.series else kernel.source
        cost = "incremental" if build.tree in seen else "full"
        rows.append((build.arch, kernel.name, what, cost, " ".join(build.fragments)))
        seen.add(build.tree)
    return rows


def _cell_row(cell: Cell) -> tuple[str, ...]:
    machine = cell.topology
    nodes = max(1, len(machine.numa))
    return (
        machine.name,
        cell.kernel.name,
        f"{format_size(machine.page_size)} pages",
        f"{machine.vcpus} CPU{'s' * (machine.vcpus > 1)}",
        f"{nodes} node{'s' * (nodes > 1)}",
        format_size(machine.total_memory),
    )


def _section(title: str, rows: Sequence[tuple[str, ...]]) -> list[str]:
    """A headed table of plain text."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return ["", f"{title} ({len(rows)}):", *table]
