# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run did at one place, again: the same kernel, machine and cases, or the names of what is not the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lab.build import kernel
from lab.build.builder import Builder
from lab.build.kernel import BuiltKernel
from lab.core.cache import Cache
from lab.core.errors import UsageError
from lab.core.outcome import CaseRecord, CellKey
from lab.evidence.metadata import CommandRecord, HostRecord, Provenance
from lab.host.estimate import Packing, here
from lab.run import campaign
from lab.run.campaign import OpenRun
from lab.specs.arches import ARCHES
from lab.specs.library import Library
from lab.specs.plan import Plan, cell_key
from lab.verdicts.changes import first_difference
from lab.verdicts.compare import Summary
from lab.verdicts.place import Spot, changed_build, changed_host, changed_programs


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """What was run, as it can be had now."""

    spot: Spot
    command: CommandRecord
    plan: Plan
    kernel: BuiltKernel | None
    """The very kernel that was booted, where it is in the cache."""
    changed: tuple[str, ...]
    """In what kernel, tests and userland are not what they were: a replay of it would be another run."""
    noted: tuple[str, ...]
    """In what the host is not what it was."""

    @property
    def kernels(self) -> Mapping[CellKey, BuiltKernel]:
        """Cell -> the recorded kernel, where there is one."""
        return {cell_key(self.spot.topology, self.spot.kernel): self.kernel} if self.kernel else {}


def look(spot: Spot, summary: Summary, library: Library, cache: Cache) -> Again:
    """What a spot comes to now. Builds nothing; InfraError when this host cannot build for its machine."""
    _no_suite(spot, summary)
    sources = library.with_programs(summary.evidence.metadata.programs).scenario_sources
    planned = spot.plan()
    found = kernel.recorded(spot.build, cache) if spot.build else None
    record = ARCHES[spot.topology.arch]
    programs = campaign.test_keys(record.name, sources, [name for name in spot.cases if _has(name, library, sources)])
    changed = [] if found else _changed_kernel(spot, cache)
    changed += changed_programs(spot.programs, programs, list(spot.cases))
    was = summary.evidence.metadata.host
    host = HostRecord.model_validate({**campaign.emulators(planned), "libvirt": was.libvirt})
    return Again(
        spot=spot,
        command=CommandRecord(verb="replay", arguments=(summary.evidence.source, spot.name)),
        plan=replace(planned, sources=tuple(sources)),
        kernel=found,
        changed=tuple(changed),
        noted=tuple(changed_host(was, host, record.qemu)),
    )


def _no_suite(spot: Spot, summary: Summary) -> None:
    """UsageError for tests that are not ours: their programs are the tested tree's, and not one file each.

    Those of reports are, and a report is a campaign that is run again as fast.
    """
    if reports := sorted(summary.evidence.metadata.reports.keys() & spot.cases.keys()):
        words = summary.evidence.metadata.command
        named = words.options.get("--report", reports) if words else reports
        options = " ".join(f"--report {name}" for name in named)
        hint = f"lab run {options} -t {spot.topology.name} -k {spot.kernel.name} runs it again"
        raise UsageError(f"{spot.name}: {reports[0]} is a report, of which no single place is repeated", hint=hint)
    if found := sorted(summary.suites.intersection(spot.cases)):
        word = summary.evidence.metadata.suites[found[0]].word
        hint = f"lab run CAMPAIGN -t {spot.topology.name} --suite {word} runs it on all kernels of the campaign"
        raise UsageError(f"{spot.name}: {found[0]} is a suite, of which no single place can be had again", hint=hint)


def _has(name: str, library: Library, sources: Sequence[Path]) -> bool:
    return name in library.scenarios() or any(source.stem == name for source in sources)


def _changed_kernel(spot: Spot, cache: Cache) -> list[str]:
    """In what the kernel is another one when it is built anew."""
    recipe = kernel.recipe_of(spot.kernel, spot.topology, cache=cache)
    if recipe is None:
        return []  # its source has to be fetched first; the build's key is compared then
    return changed_build(spot.build or Provenance(), recipe.provenance())


def require_same(again: Again) -> None:
    """UsageError that names what has changed."""
    if again.changed:
        raise UsageError(f"{again.spot.name} is not what was run: {'; '.join(again.changed)}", hint="--anyway runs it")


def open_replay(again: Again, cache: Cache, packing: Packing, output: Path | None) -> OpenRun:
    """A run's directory for a replay; UsageError when the scenarios do not have its cases any more."""
    planned = here(again.plan, packing)
    declared = Builder(cache=cache, sources=planned.sources).cases()
    chosen = {}
    for scenario, names in again.spot.cases.items():
        known = {case.name: case for case in declared.get(scenario, ())}
        if gone := [name for name in names if name not in known]:
            raise UsageError(f"{scenario} has no case {', '.join(gone)} any more")
        chosen[scenario] = tuple(known[name] for name in names)
    planned = replace(planned, spec=planned.spec.model_copy(update={"name": "replay"}))
    return campaign.open_plan(planned, chosen, output, kernels=again.kernels, command=again.command)


def compared(then: Sequence[CaseRecord], now: Summary) -> tuple[list[str], bool]:
    """A line per case, what was found and what is found; whether all is the same."""
    found = {(record.topology, record.kernel, record.label): record for record in now.records}
    lines, same = [], True
    for record in then:
        other = found.get((record.topology, record.kernel, record.label))
        said = other.verdict if other else "nothing"
        same = same and said == record.verdict
        lines.append(f"{record.label}: {record.verdict} then, {said} now")
    return lines, same and bool(lines)


def differences(spot: Spot, now: Summary) -> list[str]:
    """In what was run now is not what was run then, as far as only the run itself could tell."""
    was, build = spot.build, now.evidence.metadata.build(spot.topology.name, spot.kernel.name)
    found = changed_build(was, build) if was and build else []
    if was and was.userland:
        found.append(first_difference("userland", was.userland, build.userland if build else None))
    found.append(first_difference("accelerator", spot.cell.accelerator, now.evidence.cells[0].accelerator))
    return [line for line in found if line]
