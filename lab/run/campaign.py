# SPDX-License-Identifier: GPL-2.0-or-later
"""Run a campaign from plan to evidence: open its directory, the guest factory and the screen, and run all cells."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from lab import __version__
from lab.build import kernel, programs, source
from lab.build.builder import Builder
from lab.build.kernel import BuiltKernel
from lab.core import proc, qemu_version
from lab.core.cache import Cache
from lab.core.errors import LabError, UsageError
from lab.core.outcome import Case, CellKey, Run
from lab.core.paths import absolute_word, user_path
from lab.core.progress import Progress, silent
from lab.core.untrusted import printable
from lab.evidence import read
from lab.evidence.metadata import (
    FILTER_OPTIONS,
    CampaignRecord,
    CaseSpec,
    CellRecord,
    CommandRecord,
    HostRecord,
    KernelRecord,
    Metadata,
    RootRecord,
    SkippedRecord,
    TopologyRecord,
)
from lab.evidence.write import RunDir
from lab.guests.factory import GuestFactory, open_factory
from lab.guests.vm import Hypervisor
from lab.host.doctor import available_memory
from lab.host.estimate import Packing, here, ordered
from lab.host.programs import require_suites
from lab.run import resume
from lab.run.keep_failed import GuestKeeper, KeptGuest
from lab.run.protocols import ElsewhereLike, ForesightLike, PlaceLike, Screen
from lab.run.reuse import EvidenceStore
from lab.run.runner import Runner
from lab.run.screen import screen
from lab.run.this_host import ThisHost
from lab.specs import suite
from lab.specs.arches import ARCHES
from lab.specs.library import Library
from lab.specs.model import CampaignSpec, Kernel, Topology
from lab.specs.plan import Build, Filters, Plan, Selection, merge_selections, repeated, resolve_cases

if TYPE_CHECKING:
    from lab.build.suites.prepare import Suites
    from lab.build.suites.reports import Reports

RESULTS = Path("results")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRun:
    """A plan with the directory for its evidence, which has metadata.json already."""

    plan: Plan
    run_dir: RunDir
    metadata: Metadata
    cases: Mapping[str, tuple[Case, ...]]
    kept: Mapping[str, tuple[Run, ...]] = field(default_factory=dict)
    """Cell's name -> the runs that a killed lab completed."""
    kernels: Mapping[CellKey, BuiltKernel] = field(default_factory=dict)
    """Cell -> the kernel of an earlier run, to be used without a build."""
    suites: Suites | Reports | None = None
    """The suites or reports to run in place of the lab's own scenarios."""
    fresh: bool = False
    """Start a guest for every cell, even if the campaign lets the baseline's evidence come from an earlier run."""
    cold: bool = False
    """Boot every guest, even if the cache has a saved one."""

    def evidence_store(self, cache: Cache, libvirt: str, *, uri: str | None) -> EvidenceStore | None:
        """Return the store of earlier evidence of baselines; None if every cell gets a guest of its own.

        `libvirt` is its version. Evidence is never reused with a daemon (`uri`): too little is known of its guests.
        """
        if self.fresh or uri or self.plan.root or not self.plan.spec.reuse_baseline:
            return None
        return EvidenceStore(cache=cache, libvirt=libvirt)

    @property
    def path(self) -> Path:
        return self.run_dir.path

    @property
    def resumed(self) -> bool:
        return self.metadata.connection is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignRequest:
    """A user's request: the words of the command line, recorded so that a killed run can be resumed."""

    campaign: str
    filters: Filters = field(default_factory=Filters)
    repeat: int = 1

    def plan(self, library: Library, packing: Packing) -> Plan:
        """Return the plan of the request on this host with the present files; UsageError if it has no cells."""
        planned = here(library.plan(self.campaign, self.filters), packing)
        if not planned.cells:
            raise UsageError(f"campaign {self.campaign}: nothing is left to run", hint="`lab plan` says why")
        return planned

    def record(self) -> CommandRecord:
        """Return the request as the `lab run` that metadata.json records; paths are made absolute."""
        options = {}
        for field_name, option in FILTER_OPTIONS.items():
            words = _absolute(field_name, getattr(self.filters, field_name))
            if words:
                options[option] = words
        if self.repeat > 1:
            options["--repeat"] = (str(self.repeat),)
        return CommandRecord(
            verb="run", arguments=(absolute_word(self.campaign),), options=options, arches=self.filters.arches
        )

    @classmethod
    def recorded(cls, metadata: Metadata, directory: Path) -> CampaignRequest:
        """Return the request that a run recorded; UsageError if it recorded none."""
        command = metadata.command
        if command and command.runs:
            command = command.runs
        if not command or command.verb != "run" or not _can_be_read(command):
            raise UsageError(f"{directory}: its metadata.json has no campaign to run, so it cannot be resumed")
        filters = {name: command.options.get(option, ()) for name, option in FILTER_OPTIONS.items()}
        return cls(
            campaign=command.arguments[0], filters=Filters(**filters, arches=command.arches), repeat=metadata.repeat
        )


def _can_be_read(command: CommandRecord) -> bool:
    """Return whether a `lab run` has one campaign, and only options and keys that this version knows."""
    unknown = command.options.keys() - {*FILTER_OPTIONS.values(), "--repeat"}
    return len(command.arguments) == 1 and not unknown and not command.model_extra


def _absolute(field_name: str, words: Sequence[str]) -> tuple[str, ...]:
    """Return the words of a filter in a form that means the same from any directory."""
    absolute = absolute_word
    if field_name == "programs":
        absolute = _absolute_path
    elif field_name == "suites":
        absolute = _absolute_suite
    elif field_name == "roots" and words:
        from lab.build.roots import root

        absolute = root.absolute
    return tuple(map(absolute, words))


def _absolute_path(word: str) -> str:
    return str(user_path(word).absolute())


def _absolute_suite(word: str) -> str:
    return suite.parse(word).word


def open_run(
    request: CampaignRequest,
    library: Library,
    cache: Cache,
    packing: Packing,
    output: Path | None,
    *,
    command: CommandRecord | None = None,
    progress: Progress = silent,
) -> OpenRun:
    """Make the run's directory before anything is built, so that every failure can be recorded.

    `command` is what the user typed if that is not `lab run`. UsageError for a case in --test or the campaign that no
    scenario has.
    """
    plan, declared, metadata, suites = _prepared(request, library, cache, packing, progress)
    if command:
        metadata = metadata.changed(command=command.changed(runs=request.record()))
    run_dir = RunDir.create(RESULTS, plan.name, metadata, output=output)
    return OpenRun(plan=plan, run_dir=run_dir, metadata=metadata, cases=declared, suites=suites)


def reopen_run(directory: Path, library: Library, cache: Cache, packing: Packing) -> OpenRun:
    """Resume a run that was killed: return its plan with the unfinished cells, and the runs that these completed.

    UsageError if the campaign differs from the recorded one, or if another lab is still running it.
    """
    evidence = read.load(directory)
    recorded, run_dir = evidence.metadata.changed(confirming=()), RunDir(directory)
    plan, declared, now, suites = _prepared(CampaignRequest.recorded(recorded, directory), library, cache, packing)
    if other := resume.difference(recorded, now):
        raise UsageError(f"{directory}: not the same campaign any more: {other}", hint="start a new run")
    _same_kernels(plan, recorded, directory, cache)
    run_dir.lock()
    if evidence.metadata.confirming:
        run_dir.write_metadata(recorded)
    evidence = read.load(directory)  # again: now the lock excludes other writers
    results = {(cell.topology, cell.kernel, cell.repeat): cell for cell in evidence.cells}
    kept: dict[str, tuple[Run, ...]] = {}
    unfinished = []
    for cell in plan.cells:
        result = results[cell.topology.name, cell.kernel.name, cell.repeat]
        if not resume.finished(result, cell.scenarios, declared):
            unfinished.append(cell)
            kept[cell.name] = resume.kept(result)
            run_dir.cell(cell.topology.name, cell.kernel.name, cell.repeat).rewind(kept[cell.name])
    return OpenRun(
        plan=replace(plan, cells=tuple(unfinished)),
        run_dir=run_dir,
        metadata=recorded.changed(resumed=[*recorded.resumed, _now()]),
        cases=declared,
        kept=kept,
        suites=suites,
    )


def _prepared(
    request: CampaignRequest, library: Library, cache: Cache, packing: Packing, progress: Progress = silent
) -> tuple[Plan, dict[str, tuple[Case, ...]], Metadata, Suites | Reports | None]:
    """Return the plan of a request, its cases, metadata.json as known before any build, and the suites or reports."""
    wanted = request.plan(library, packing)
    require_suites(asked.word for asked in wanted.suites)
    workshop = Builder.of(wanted, cache, progress)
    cases, suites = workshop.cases(), workshop.suites
    names: dict[str, list[str]] = {}
    for scenario, declared in cases.items():
        names[scenario] = [case.name for case in declared]
    plan = resolve_cases(wanted, names)
    selections = selections_of(plan)
    chosen = {name: tuple(selections[name].asked_cases(cases[name])) for name in sorted(selections)}
    metadata = describe(plan, chosen).changed(command=request.record(), repeat=request.repeat)
    metadata = _with_tests(metadata, plan, selections, suites)
    if plan.root:
        metadata = metadata.changed(root=root_record(workshop, plan, progress).document())
    return repeated(plan, request.repeat), chosen, metadata, suites


def root_record(workshop: Builder, plan: Plan, progress: Progress) -> RootRecord:
    """Make the root of a plan for each of its architectures, print what its makers note, and return its record."""
    keys: dict[str, str] = {}
    notes: dict[str, None] = {}
    for name in plan.arches:
        if built := workshop.root_of(ARCHES[name], progress):
            keys[name] = built.key
            notes |= dict.fromkeys(built.notes)
    for note in notes:
        progress(f"--root {plan.root}: {printable(note)}")
    return RootRecord.model_validate({"word": plan.root, "keys": keys, "notes": list(notes)})


def selections_of(plan: Plan) -> dict[str, Selection]:
    """Return scenario -> the merged selections of all cells of a plan."""
    everything: list[Selection] = []
    for cell in plan.cells:
        everything += cell.scenarios
    return {selection.scenario: selection for selection in merge_selections(everything)}


def open_plan(
    plan: Plan,
    cases: Mapping[str, tuple[Case, ...]],
    output: Path | None,
    *,
    kernels: Mapping[CellKey, BuiltKernel] | None = None,
    suites: Suites | Reports | None = None,
    command: CommandRecord,
    repeat: int = 1,
    root: RootRecord | None = None,
) -> OpenRun:
    """Make the directory of a run whose plan is not a campaign of the library; such a run cannot be resumed."""
    metadata = describe(plan, cases).changed(repeat=repeat, command=command)
    metadata = _with_tests(metadata, plan, cases, suites)
    if root is not None:
        metadata = metadata.changed(root=root.document())
    run_dir = RunDir.create(RESULTS, plan.name, metadata, output=output)
    return OpenRun(plan=plan, run_dir=run_dir, metadata=metadata, cases=cases, kernels=kernels or {}, suites=suites)


def _with_tests(metadata: Metadata, plan: Plan, names: Iterable[str], suites: Suites | Reports | None) -> Metadata:
    """Add the keys of the test programs, and the descriptions of suites or reports."""
    if suites:
        return metadata.changed(tests=suites.keys, **suites.described)
    return metadata.changed(tests=_tests(plan, names))


def _tests(plan: Plan, names: Iterable[str]) -> dict[str, dict[str, str] | None]:
    """Return architecture -> scenario -> the key of its program; None for an architecture without a compiler."""
    return {arch: test_keys(arch, plan.sources, names) for arch in plan.arches}


def test_keys(arch: str, sources: Sequence[Path], names: Iterable[str]) -> dict[str, str] | None:
    """Return scenario -> the key of its program, which changes when the program does.

    None if the compiler is missing: that is reported when the programs are built.
    """
    try:
        keys = programs.keys_of(ARCHES[arch], sources)
    except LabError:
        return None
    return {name: keys[name] for name in names}


def _same_kernels(plan: Plan, recorded: Metadata, directory: Path, cache: Cache) -> None:
    """Raise UsageError if a kernel's key has changed; one that needs the network is compared at the kernel's build."""
    for cell in plan.cells:
        build = recorded.builds.get(cell.key)
        now = kernel.key_of(cell.kernel, cell.topology, cache=cache) if build and cell.repeat == 1 else None
        if build and now and build.key != now:
            raise UsageError(
                f"{directory}: not the same kernel any more: {cell.key}: recorded {build.key}, now {now}",
                hint="start a new run",
            )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


Afterwards = Callable[[GuestFactory, KeptGuest], None]
"""A function to call with the kept guest, while it runs."""


def execute(
    opened: OpenRun,
    cache: Cache,
    *,
    console: Console,
    packing: Packing,
    uri: str | None,
    afterwards: Afterwards | None = None,
    elsewhere: ElsewhereLike | None = None,
    foresight: ForesightLike | None = None,
) -> Sequence[str]:
    """Run all cells, and return a sentence on each saved guest that was not used.

    The evidence is in the run's directory afterwards, even if the run is interrupted.

    With `afterwards`, the first guest that missed an expectation is kept and passed to it, if there is one. With
    `elsewhere`, the guests run on the hosts of a cluster, and libvirt is not opened on this host. With `foresight`,
    guests of this host confirm what a patch is going to fix while others still run.
    """
    keeper = GuestKeeper() if afterwards else None
    if not opened.plan.cells:
        return ()
    plan, expected = ordered(opened.plan, packing, cache)
    workshop = Builder(cache=cache, sources=plan.sources, kernels=opened.kernels, suites=opened.suites, root=plan.root)
    to_build = expected.build_s.keys()
    if elsewhere:
        metadata = _with_hosts(opened, elsewhere)
        placed = elsewhere.place(workshop, opened.run_dir)
        with source.held(), placed as place, screen(console, plan.cells, expected) as shown:
            _runner(opened, plan, place, metadata, shown, packing, to_build).run()
        return ()
    with source.held(), open_factory(workshop, uri=uri, saved=not opened.cold) as factory:
        with screen(console, plan.cells, expected) as shown:
            here = ThisHost(shop=factory, budget=packing.budget)
            metadata = _with_host(opened, factory.hypervisor)
            runner = _runner(opened, plan, here, metadata, shown, packing, to_build, keeper)
            runner.incremental = _incremental(plan, to_build, cache)
            runner.reuse = None if keeper else opened.evidence_store(cache, factory.hypervisor.version(), uri=uri)
            if runner.reuse and not opened.resumed:
                runner.foresight = foresight
            runner.run()
        if afterwards and keeper and keeper.kept:
            try:
                afterwards(factory, keeper.kept)
            finally:
                keeper.kept.guest.close()
    return factory.notes


def _incremental(plan: Plan, to_build: Collection[Build], cache: Cache) -> frozenset[Build]:
    """Return the builds that compile only what differs from an earlier kernel; none of a single one, which has no other
    to be built beside."""
    machines = {cell.build: cell.topology for cell in plan.cells if cell.build in to_build}
    if len(machines) < 2:
        return frozenset()
    found: set[Build] = set()
    for build, machine in machines.items():
        with suppress(LabError):  # the build itself reports what is wrong
            if kernel.is_incremental(build.kernel, machine, cache=cache):
                found.add(build)
    return frozenset(found)


def _runner(
    opened: OpenRun,
    plan: Plan,
    place: PlaceLike[Any],
    metadata: Metadata,
    shown: Screen,
    packing: Packing,
    to_build: Collection[Build],
    keeper: GuestKeeper | None = None,
) -> Runner[Any]:
    return Runner(
        plan=plan,
        place=place,
        run_dir=opened.run_dir,
        metadata=metadata,
        cases=opened.cases,
        builds=dict(opened.metadata.builds),
        kept=opened.kept,
        screen=shown,
        packing=packing,
        to_build=to_build,
        keeper=keeper,
    )


def _with_host(opened: OpenRun, hypervisor: Hypervisor) -> Metadata:
    """Return the metadata with the facts known once libvirt is open. A resumed run keeps its first facts."""
    if opened.resumed:
        return opened.metadata
    host = {**host_facts(), **emulators(opened.plan), "libvirt": hypervisor.version()}
    return opened.metadata.changed(host=host, connection=hypervisor.uri)


def _with_hosts(opened: OpenRun, elsewhere: ElsewhereLike) -> Metadata:
    """Return the metadata with the hosts of a cluster. A resumed run keeps its first hosts."""
    if opened.resumed:
        return opened.metadata
    return opened.metadata.changed(host=host_facts(), hosts=elsewhere.describe(), connection="cluster")


def describe(plan: Plan, cases: Mapping[str, Sequence[Case]]) -> Metadata:
    """Return the metadata as known before anything is built."""
    return Metadata(
        schema=1,
        pagelab=__version__,
        started=_now(),
        campaign=_campaign_record(plan.spec),
        host=HostRecord.model_validate(host_facts()),
        topologies={cell.topology.name: _topology_record(cell.topology) for cell in plan.cells},
        kernels={cell.kernel.name: _kernel_record(cell.kernel) for cell in plan.cells},
        cells=tuple(
            CellRecord(topology=cell.topology.name, kernel=cell.kernel.name) for cell in plan.cells if cell.repeat == 1
        ),
        skipped=tuple(SkippedRecord(what=skip.what, reason=skip.reason) for skip in plan.skipped if skip.by_host),
        cases={scenario: tuple(map(CaseSpec.of, declared)) for scenario, declared in cases.items()},
        programs=tuple(str(source) for source in plan.sources if source.is_file()),
    )


def _campaign_record(spec: CampaignSpec) -> CampaignRecord:
    fields = spec.model_dump(mode="json")
    if not fields["reuse_baseline"]:  # so that a run from before the key existed can be resumed
        del fields["reuse_baseline"]
    if not spec.reports:  # so that a run from before the key existed can be resumed
        del fields["reports"]
    return CampaignRecord.model_validate(fields)


def _topology_record(topology: Topology) -> TopologyRecord:
    return TopologyRecord.model_validate(topology.model_dump(mode="json"))


def _kernel_record(kernel: Kernel) -> KernelRecord:
    fields = kernel.model_dump(mode="json")
    for key in ("console_known", "coverage"):  # so that a run from before the key existed can be resumed
        if not fields[key]:
            del fields[key]
    return KernelRecord.model_validate(fields)


def host_facts() -> dict[str, object]:
    """Return the facts about the host for the run's metadata."""
    return {
        "machine": platform.machine(),
        "kernel": platform.release(),
        "system": _pretty_name(),
        "cpus": os.cpu_count(),
        "memory": available_memory(),
    }


def emulators(plan: Plan) -> dict[str, str]:
    """Return emulator -> version for the architectures of a plan; a missing one is reported when a guest starts."""
    versions = {}
    for name in dict.fromkeys(ARCHES[arch].qemu for arch in plan.arches):
        if proc.which(name):
            versions[name] = qemu_version.installed(name)
    return versions


def _pretty_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return "unknown"
