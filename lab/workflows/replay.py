# SPDX-License-Identifier: GPL-2.0-or-later
"""Repeat what a run did at one place with the same kernel, machine and cases, and name whatever differs."""

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
from lab.core.progress import silent
from lab.evidence.changes import first_difference
from lab.evidence.metadata import CommandRecord, HostRecord, Provenance, RootRecord
from lab.host.estimate import Packing, here
from lab.run import campaign
from lab.run.campaign import OpenRun
from lab.specs.arches import ARCHES
from lab.specs.library import Library
from lab.specs.plan import Plan, cell_key
from lab.verdicts.compare import Summary
from lab.verdicts.place import Spot, changed_build, changed_host, changed_programs


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """A replay: what was run at a place, and how this host's kernel, tests and userland differ from it."""

    spot: Spot
    command: CommandRecord
    plan: Plan
    kernel: BuiltKernel | None
    """The recorded kernel; None if the cache does not have it."""
    changed: tuple[str, ...]
    """Differences of kernel, tests and userland from the recorded ones: a replay would not be the same run."""
    noted: tuple[str, ...]
    """Differences of the host from the recorded one."""
    root: RootRecord | None = None
    """What its programs have as `/`; None for the guest's own userland."""

    @property
    def kernels(self) -> Mapping[CellKey, BuiltKernel]:
        """Return cell -> the recorded kernel; empty if the cache does not have it."""
        return {cell_key(self.spot.topology, self.spot.kernel): self.kernel} if self.kernel else {}


def prepare(spot: Spot, summary: Summary, library: Library, cache: Cache) -> Again:
    """Return the replay of a spot on this host. Builds nothing; InfraError if it cannot build for the machine."""
    _no_suite(spot, summary)
    sources = library.with_programs(summary.evidence.metadata.programs).scenario_sources
    planned = spot.plan()
    if was_root := summary.evidence.metadata.root:
        planned = replace(planned, root=was_root.word)
    built = kernel.recorded(spot.build, cache) if spot.build else None
    record = ARCHES[spot.topology.arch]
    programs = campaign.test_keys(record.name, sources, [name for name in spot.cases if _has(name, library, sources)])
    changed = [] if built else changed_kernel(spot, cache)
    changed += changed_programs(spot.programs, programs, list(spot.cases))
    was = summary.evidence.metadata.host
    root = _root_of(planned, cache)
    if root and was_root and (why := _changed_root(was_root, root)):
        changed.append(why)
    host = HostRecord.model_validate({**campaign.emulators(planned), "libvirt": was.libvirt})
    return Again(
        spot=spot,
        command=CommandRecord(verb="replay", arguments=(summary.evidence.source, spot.name)),
        plan=replace(planned, sources=tuple(sources)),
        kernel=built,
        changed=tuple(changed),
        noted=tuple(changed_host(was, host, record.qemu)),
        root=root,
    )


def _root_of(planned: Plan, cache: Cache) -> RootRecord | None:
    """Return the root that the replay's programs have as `/`, made if needed; None without one."""
    if not planned.root:
        return None
    return campaign.root_record(Builder(cache=cache, sources=(), root=planned.root), planned, silent)


def _changed_root(was: RootRecord, now: RootRecord) -> str:
    """Return how the root of a replay differs from the recorded one; empty if it does not."""
    for arch, key in now.keys.items():
        if line := first_difference(f"root {now.word} for {arch}", was.keys.get(arch), key):
            return line
    return ""


def _no_suite(spot: Spot, summary: Summary) -> None:
    """Raise UsageError for suites and reports.

    The programs of a suite come from the tested tree and are more than one file each. Those of a report are one file
    each, but a report is a campaign, which is run again just as fast.
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


def changed_kernel(spot: Spot, cache: Cache) -> list[str]:
    """Return how a kernel built now would differ; empty if it would not, or if its source is not fetched yet."""
    if spot.kernel.prebuilt:
        now = kernel.key_of(spot.kernel, spot.topology, cache=cache)
        if spot.build and now and now != spot.build.key:
            return [f"kernel: {spot.kernel.source} is another one today, build id {spot.build.build_id} then"]
        return []
    recipe = kernel.recipe_of(spot.kernel, spot.topology, cache=cache)
    if recipe is None:
        return []  # its source has to be fetched first; the build's key is compared then
    return changed_build(spot.build or Provenance(), recipe.provenance())


def require_same(again: Again) -> None:
    """Raise UsageError with the differences, if there are any."""
    if again.changed:
        raise UsageError(f"{again.spot.name} is not what was run: {'; '.join(again.changed)}", hint="--anyway runs it")


def open_replay(again: Again, cache: Cache, packing: Packing, output: Path | None) -> OpenRun:
    """Open a run's directory for a replay; UsageError if the scenarios no longer have its cases."""
    planned = here(again.plan, packing)
    declared = Builder(cache=cache, sources=planned.sources).cases()
    chosen = {}
    for scenario, names in again.spot.cases.items():
        known = {case.name: case for case in declared.get(scenario, ())}
        if gone := [name for name in names if name not in known]:
            raise UsageError(f"{scenario} has no case {', '.join(gone)} any more")
        chosen[scenario] = tuple(known[name] for name in names)
    planned = replace(planned, spec=planned.spec.model_copy(update={"name": "replay"}))
    return campaign.open_plan(planned, chosen, output, kernels=again.kernels, command=again.command, root=again.root)


def compared(then: Sequence[CaseRecord], now: Summary) -> tuple[list[str], bool]:
    """Return a line per case with the verdicts then and now, and whether all are the same; False without cases."""
    by_label = {(record.topology, record.kernel, record.label): record for record in now.records}
    lines, same = [], True
    for record in then:
        other = by_label.get((record.topology, record.kernel, record.label))
        verdict = other.verdict if other else "nothing"
        same = same and verdict == record.verdict
        lines.append(f"{record.label}: {record.verdict} then, {verdict} now")
    return lines, same and bool(lines)


def differences(spot: Spot, now: Summary) -> list[str]:
    """Return the differences between the two runs that are known only after the second one."""
    was, build = spot.build, now.evidence.metadata.build(spot.topology.name, spot.kernel.name)
    found = changed_build(was, build) if was and build else []
    if was and was.userland:
        found.append(first_difference("userland", was.userland, build.userland if build else None))
    found.append(first_difference("accelerator", spot.cell.accelerator, now.evidence.cells[0].accelerator))
    return [line for line in found if line]
