# SPDX-License-Identifier: GPL-2.0-or-later
"""A place in a run's evidence, `TOPOLOGY/KERNEL[/repeat-N][/SCENARIO[.CASE]]`, and what was run there. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pydantic import ValidationError

from lab.core.errors import UsageError, did_you_mean, unknown
from lab.core.outcome import CaseRecord, CellKey, CellResult
from lab.core.validation import first_invalid
from lab.evidence.changes import first_difference
from lab.evidence.metadata import CaseSpec, HostRecord, Provenance, Recorded
from lab.specs.model import CampaignSpec, Kernel, Spec, Topology
from lab.specs.plan import Plan, Selection, plan
from lab.verdicts.compare import Summary

Model = TypeVar("Model", bound=Spec)
_REPEAT = re.compile(r"repeat-([0-9]{1,5})")
_KERNEL_FACTS = (
    "source",
    "source_sha256",
    "series",
    "series_sha256",
    "patches",
    "config_sha256",
    "compiler",
    "build_id",
)
"""Facts of a build that are named if they differ from the recorded ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """What was run at one place: the machine, the kernel, the cases, and their records."""

    topology: Topology
    kernel: Kernel
    cell: CellResult
    cases: Mapping[str, tuple[str, ...]]
    """Scenario -> the names of the selected cases."""
    records: tuple[CaseRecord, ...]
    """The records of these cases, over all repeats."""
    build: Provenance | None
    """What the kernel was built from; None if it was never built."""
    programs: Mapping[str, str]
    """Scenario -> key of its program; empty in runs of labs that did not record it."""
    spec: CampaignSpec
    name: str
    """`topology/kernel/scenario.case`, as far as it was given."""

    @property
    def selections(self) -> tuple[Selection, ...]:
        return tuple(Selection(scenario=scenario, cases=cases) for scenario, cases in self.cases.items())

    def plan(self) -> Plan:
        """Return a plan of this place alone."""
        return plan(self.spec, [self.topology], [self.kernel], self.selections, named=[self.topology.name])


def find(summary: Summary, word: str) -> Spot:
    """Return what was run at a place of a run; UsageError with the nearest match if there is no such place."""
    key, test = _split(word)
    if key not in summary.repeats:
        raise unknown("cell", str(key), map(str, summary.repeats))
    repeat = 1
    if again := _REPEAT.match(test):
        repeat, test = int(again[1]), test[again.end() :].lstrip("/")
    for cell in summary.repeats[key]:
        if cell.repeat == repeat:
            return _spot(summary, cell, test)
    raise UsageError(f"{key}: was not run {repeat} times")


def _split(word: str) -> tuple[CellKey, str]:
    """Return the cell and what follows it. A path below the directory cells/ is accepted too."""
    topology, _, rest = word.rpartition("cells/")[2].strip("/").partition("/")
    kernel, _, test = rest.partition("/")
    if not (topology and kernel):
        raise UsageError(f"expected TOPOLOGY/KERNEL[/SCENARIO[.CASE]], got {word!r}")
    return CellKey(topology, kernel), test


def _spot(summary: Summary, cell: CellResult, test: str) -> Spot:
    metadata = summary.evidence.metadata
    source = summary.evidence.source
    key = CellKey(cell.topology, cell.kernel)
    cases = _cases(metadata.cases, test)
    records = tuple(record for record in summary.of_cell(*key) if record.case in cases.get(record.scenario, ()))
    topology = _model(Topology, metadata.topologies.get(cell.topology), f"{source}: topology {cell.topology}")
    return Spot(
        topology=topology,
        kernel=_model(Kernel, metadata.kernels.get(cell.kernel), f"{source}: kernel {cell.kernel}"),
        cell=cell,
        cases=cases,
        records=records,
        build=metadata.builds.get(key),
        programs=metadata.program_keys(topology.arch),
        spec=_model(CampaignSpec, metadata.campaign, f"{source}: campaign"),
        name=f"{key}/{test}" if test else str(key),
    )


def _cases(declared: Mapping[str, Sequence[CaseSpec]], test: str) -> dict[str, tuple[str, ...]]:
    """Return the cases that `SCENARIO[.CASE]` means among those that were run; all of them if it is empty."""
    names = {scenario: tuple(case.name for case in cases) for scenario, cases in declared.items()}
    if not test:
        return names
    scenario, _, case = test.partition(".")
    if scenario not in names:
        raise unknown("scenario", scenario, names)
    if not case:
        return {scenario: names[scenario]}
    if case not in names[scenario]:
        raise UsageError(f"{scenario} has no case {case!r}{did_you_mean(case, names[scenario])}")
    return {scenario: (case,)}


def _model(model: type[Model], record: Recorded | None, what: str) -> Model:
    """Return a model from metadata.json; UsageError if another version of the lab wrote it, or it is damaged."""
    try:
        return model.model_validate(record.document() if record else None)
    except ValidationError as error:
        key, expected = first_invalid(error)
        raise UsageError(f"{what}: {key}: {expected}", hint="recorded by another version of the lab?") from None


def changed_build(was: Provenance, now: Provenance) -> list[str]:
    """Return in what a kernel differs from the recorded one, a line for each fact; empty if its key is the same."""
    if was.key == now.key:
        return []
    facts = [name for name in _KERNEL_FACTS if name in now.document()]
    differences = _differences(was, now, facts)
    if not differences:
        return ["kernel: its configuration or the way it is built"]
    return [f"kernel: {difference}" for difference in differences]


def _differences(was: Recorded, now: Recorded, keys: Iterable[str]) -> list[str]:
    """Return a line for each key whose values differ."""
    before, after = was.document(), now.document()
    lines: list[str] = []
    for key in keys:
        if line := first_difference(key, before.get(key), after.get(key)):
            lines.append(line)
    return lines


def changed_programs(was: Mapping[str, str], now: Mapping[str, str] | None, scenarios: Sequence[str]) -> list[str]:
    """Return a line for each test program that is not the recorded one, or one line if none was recorded."""
    if not was:
        return ["tests: the run did not record what they were built from"]
    lines: list[str] = []
    for name in scenarios:
        if (now or {}).get(name) != was.get(name):
            lines.append(f"test {name}: its source, a header or the compiler")
    return lines


def changed_host(was: HostRecord, now: HostRecord, emulator: str) -> list[str]:
    """Return a line for each difference between hosts that guests may notice."""
    return _differences(was, now, (emulator, "libvirt"))
