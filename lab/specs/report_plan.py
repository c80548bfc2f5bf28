# SPDX-License-Identifier: GPL-2.0-or-later
"""The plan of a campaign of reports: each report runs in the cells that it names, and nowhere else. Reads no file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from lab.core.errors import unknown
from lab.core.outcome import HEALTHY, SHOWS, CellKey
from lab.specs.model import CampaignSpec, Kernel, Topology
from lab.specs.plan import Build, Cell, Filters, Plan, Selection, Skipped, build_of, in_build_order, narrowed
from lab.specs.report import ReportPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """One side of a report in one cell."""

    report: ReportPlan
    cell: CellKey
    side: str
    topology: Topology
    kernel: Kernel

    @property
    def selection(self) -> Selection:
        return Selection(scenario=self.report.name, cases=(self.side,))


def plan_reports(
    spec: CampaignSpec,
    reports: Sequence[ReportPlan],
    kernels: Mapping[str, Kernel],
    filters: Filters,
    *,
    others: Sequence[str] = (),
) -> Plan:
    """Return the plan for these reports, narrowed by `filters`; UsageError for a filter that matches nothing.

    `kernels` has every kernel by its name, `others` the names of those that only the command line has.
    """
    excluding = _Excluding.of(filters, reports, kernels)
    wanted: list[_Place] = []
    skipped: list[Skipped] = []
    for place in _places(reports, kernels, others):
        if why := excluding.why(place):
            skipped.append(Skipped(what=f"{place.cell}: {place.report.name}", reason=why))
        else:
            wanted.append(place)
    cells = _cells(wanted)
    running = {place.report.name for place in wanted}
    return Plan(
        spec=spec,
        builds=tuple(dict.fromkeys(cell.build for cell in cells)),
        cells=cells,
        skipped=tuple(skipped),
        named=frozenset(filters.topologies),
        reports=tuple(report for report in reports if report.name in running),
    )


def _places(reports: Iterable[ReportPlan], kernels: Mapping[str, Kernel], others: Sequence[str]) -> Iterator[_Place]:
    for report in reports:
        machines = {topology.name: topology for topology in report.topologies}
        for cell, side in report.places(others):
            topology, kernel = machines[cell.topology], kernels[cell.kernel]
            yield _Place(report=report, cell=cell, side=side, topology=topology, kernel=kernel)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Excluding:
    """What the filters of the command line leave of a campaign of reports."""

    topologies: frozenset[str]
    kernels: frozenset[str]
    filters: Filters

    @classmethod
    def of(cls, filters: Filters, reports: Sequence[ReportPlan], kernels: Mapping[str, Kernel]) -> _Excluding:
        """Return the filters with what their words match; UsageError for one that matches nothing."""
        topologies: list[Topology] = []
        for report in reports:
            topologies += report.topologies
        names = [report.name for report in reports]
        for word in filters.tests:
            scenario, _, case = word.partition(".")
            if not any(fnmatchcase(name, scenario) for name in names):
                raise unknown("report", scenario, names)
            if case and not any(fnmatchcase(side, case) for side in (SHOWS, HEALTHY)):
                raise unknown("case", case, (SHOWS, HEALTHY))
        return cls(
            topologies=_names(narrowed("topology", filters.topologies, topologies)),
            kernels=_names(narrowed("kernel", filters.kernels, list(kernels.values()))),
            filters=filters,
        )

    def why(self, place: _Place) -> str:
        """Return why a place is not in the plan; empty if it is."""
        arches = self.filters.arches
        if place.topology.name not in self.topologies:
            return "not selected by --topology"
        if place.kernel.name not in self.kernels:
            return "not selected by --kernel"
        if not self._tested(place):
            return "not selected by --test"
        if arches and not self.filters.topologies and place.topology.arch not in arches:
            return f"ARCH in the environment restricts the campaign to {', '.join(arches)}"
        return place.kernel.unfit_for(place.topology.architecture)

    def _tested(self, place: _Place) -> bool:
        for word in self.filters.tests:
            scenario, _, case = word.partition(".")
            if fnmatchcase(place.report.name, scenario) and fnmatchcase(place.side, case or "*"):
                return True
        return not self.filters.tests


def _names(models: Iterable[Topology | Kernel]) -> frozenset[str]:
    return frozenset(model.name for model in models)


def _cells(places: Iterable[_Place]) -> tuple[Cell, ...]:
    """Return the cells of these places, one for each machine and kernel, in the order in which kernels are built."""
    together: dict[CellKey, list[_Place]] = {}
    for place in places:
        together.setdefault(place.cell, []).append(place)
    machines: dict[Build, list[CellKey]] = {}
    for key, here in together.items():
        machines.setdefault(build_of(here[0].topology, here[0].kernel), []).append(key)
    cells: list[Cell] = []
    for build in in_build_order(machines):
        for key in machines[build]:
            selections = tuple(place.selection for place in together[key])
            cells.append(
                Cell(topology=together[key][0].topology, kernel=build.kernel, build=build, scenarios=selections)
            )
    return tuple(cells)
