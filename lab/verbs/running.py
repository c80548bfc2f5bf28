# SPDX-License-Identifier: GPL-2.0-or-later
"""What verbs that build and boot share: carrying out a run, the guest that --keep-failed keeps, one guest by hand."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lab.core.errors import InfraError, LabError, UsageError
from lab.core.progress import silent
from lab.core.untrusted import one_line, printable
from lab.verbs.common import EXIT_INTERRUPTED, console, print_error, print_note, progress_on_stderr, show_report
from lab.verbs.places import open_cache, open_library

if TYPE_CHECKING:
    from lab.arch.record import Arch
    from lab.build.builder import Builder
    from lab.cluster.session import ClusterChoice, Session
    from lab.guests.factory import BootableCell, GuestFactory
    from lab.host.estimate import Packing
    from lab.run.campaign import OpenRun
    from lab.run.keep_failed import KeptGuest
    from lab.run.protocols import ElsewhereLike
    from lab.verbs.options import GuestChoice
    from lab.verdicts.compare import Summary
    from lab.workflows.one_guest import Workload

CONSOLE_TAIL = 8000
"""Bytes of a kept guest's console that are printed."""


@contextmanager
def builds_end_with_us() -> Iterator[None]:
    """End the compilers that this process started if the block is left by an exception."""
    from lab.core import proc

    try:
        yield
    except BaseException:
        proc.abort()
        raise


@contextmanager
def cluster_session(choice: ClusterChoice | None, **local: object) -> Iterator[Session | None]:
    """Connect to the cluster that a command line names; None if it names none.

    `local` are values of options that are for this computer alone: UsageError if one is given as well.
    """
    if choice is None:
        yield None
        return
    from lab.cluster.session import session

    for name, value in local.items():
        if value:
            raise UsageError(f"--{name.replace('_', '-')} is for guests on this computer, not for those of a cluster")
    with session(choice, lambda line: print_note(f"note: {line}")) as found:
        yield found


def resources(session: Session | None, jobs: int | None, memory: int | None) -> Packing:
    """Return what guests may use: of the hosts of a cluster, or of this computer."""
    from lab.host import estimate

    if session:
        return session.packing(open_cache())
    return estimate.packing(open_cache(), jobs=jobs, memory=memory)


@contextmanager
def run_places(
    cluster: ClusterChoice | None,
    builder: Builder,
    *,
    jobs: int | None,
    memory: int | None,
    connect: str | None,
    cold: bool,
) -> Iterator[tuple[ElsewhereLike, Packing]]:
    """Connect to a cluster, or open libvirt here: the place of several runs, and what their guests may use.

    Unless `cold`, guests begin from saved ones where the cache has some; none are added.
    """
    from lab.guests.factory import open_factory
    from lab.run.this_host import ThisComputer

    with cluster_session(cluster, jobs=jobs, memory=memory, connect=connect) as session:
        packing = resources(session, jobs, memory)
        if session:
            yield session, packing
            return
        with open_factory(builder, uri=connect, saved=not cold, keeps=False) as factory:
            yield ThisComputer(factory=factory, budget=packing.budget), packing
        print_factory_notes(factory.notes)


def finish(
    opened: OpenRun,
    given: Packing,
    uri: str | None,
    *,
    keep: bool = False,
    confirm: int = 0,
    elsewhere: Session | None = None,
) -> Summary:
    """Run what is left to run of a campaign, print the report, and return its verdicts.

    What seems fixed or regressed runs `confirm` times more on both kernels before the report. An interrupt ends the
    verb with status 130 after the report. With `keep` the user is offered the first guest that missed an expectation.
    """
    from lab.run import campaign
    from lab.run.confirm import Foresight

    reported: list[Summary] = []

    def report_and_offer(factory: GuestFactory, kept: KeptGuest) -> None:
        reported.append(report_run(opened))
        offer_guest(factory, kept)

    threading.Thread(target=_load_reports, name="reports", daemon=True).start()
    interrupted = False
    afterwards = report_and_offer if keep else None
    try:
        with builds_end_with_us():
            execute = partial(campaign.execute, console=console(), packing=given, uri=uri, elsewhere=elsewhere)
            foresight = Foresight(opened=opened) if confirm == 1 else None
            print_factory_notes(execute(opened, open_cache(), afterwards=afterwards, foresight=foresight))
            if again := to_confirm(opened, confirm):
                print_factory_notes(execute(again, open_cache()))
    except KeyboardInterrupt:
        interrupted = True
        print_note("interrupted; the results so far are saved")
    summary = reported[0] if reported else report_run(opened)
    if elsewhere is None:  # what another host saw says nothing of this one
        keep_evidence(opened, summary, uri)
    if interrupted:
        raise click.exceptions.Exit(EXIT_INTERRUPTED)
    return summary


def _load_reports() -> None:
    """Load the modules of the reports, while builds and guests are waited for: that takes as long as to write them."""
    from lab.report import registry

    registry.files()


def keep_evidence(opened: OpenRun, summary: Summary, uri: str | None) -> None:
    """Keep the baseline's evidence for later runs, and print in what it differs from what an earlier run saw."""
    from lab.run import confirm

    metadata = summary.evidence.metadata
    store = opened.evidence_store(open_cache(), metadata.host.libvirt or "", uri=uri)
    cells = (*opened.plan.cells, *confirm.on_record(opened, metadata))
    for note in store.keep(cells, summary) if store else ():
        print_note(f"note: {printable(note)}")


def report_coverage(opened: OpenRun, given: Packing, uri: str | None, elsewhere: Session | None = None) -> None:
    """Run the patched kernels of a run again with gcov, print which lines ran, and add that to the reports."""
    from lab.evidence import read
    from lab.report import registry as report
    from lab.report._patch import coverage as coverage_text
    from lab.run import campaign
    from lab.verdicts.compare import conclude
    from lab.workflows import coverage

    counting = coverage.counting_run(opened)
    if counting is None:
        print_note("note: --coverage: no kernel of this run has a series, so there are no lines to count")
        return
    print_note(f"counting lines with gcov, in {len(counting.plan.cells)} guests")
    with builds_end_with_us():
        out = console(stderr=True)
        campaign.execute(counting, open_cache(), console=out, packing=given, uri=uri, elsewhere=elsewhere)
    for coverage_of_kernel in coverage.collect_all(counting, open_cache()):
        text = "\n".join(coverage_text.text(coverage_of_kernel))
        print(printable(text))
        (counting.path / f"coverage-{coverage_of_kernel.kernel}.txt").write_text(text + "\n")
    report.write(opened.path, conclude(read.load(opened.path)))  # again, now with the coverage


def to_confirm(opened: OpenRun, times: int) -> OpenRun | None:
    """Return what runs again before it is called fixed or regressed; None if nothing does."""
    if not times:
        return None
    from lab.run import confirm
    from lab.verdicts.compare import conclude_directory

    again = confirm.again(opened, conclude_directory(opened.path), times)
    if again:
        print_note(f"running again what seems fixed or regressed, in {len(again.plan.cells)} cells")
    return again


def report_run(opened: OpenRun) -> Summary:
    """Derive the verdicts of a run, write the reports to its directory, print the text one, and return them."""
    from lab.evidence import read
    from lab.host import history
    from lab.report import registry as report
    from lab.verdicts.compare import conclude

    out = console()
    evidence = read.load(opened.path)
    summary = conclude(evidence)
    history.record(open_cache(), evidence)
    report.write(opened.path, summary)
    show_report(summary, out)
    out.print(f"results: {opened.path}", markup=False)
    return summary


def offer_guest(factory: GuestFactory, kept: KeptGuest) -> None:
    """Ask what to do with a kept guest, and do it, until the user answers `end` or stdin ends."""
    from lab.guests.guest import Guest
    from lab.workflows import debug

    guest, ready = kept.guest, factory.ready(kept.cell.topology, kept.cell.kernel, silent)
    assert isinstance(guest, Guest)
    actions: dict[str, Callable[[], object]] = {
        "shell": guest.connection.shell,
        "gdb": lambda: debug.attach_gdb(guest, ready.topology.architecture, ready.products, factory.scratch, ()),
        "console": lambda: print(printable(guest.console.text(max(0, guest.console.size() - CONSOLE_TAIL)))),
    }
    print_note(f"this guest is still running: {one_line(kept.why)}")
    answer_until_end(actions)


def answer_until_end(actions: dict[str, Callable[[], object]]) -> None:
    """Ask for one of the actions and carry it out, until the user answers `end` or stdin ends."""
    while True:
        print(f"lab: {', '.join(actions)} or end? ", end="", file=sys.stderr, flush=True)
        answer = typed_line()
        if answer is None or answer == "end":
            return
        if action := actions.get(answer):
            try:
                action()
            except LabError as error:
                print_error(error)


def typed_line() -> str | None:
    """Read one line of stdin and not a byte more, since a guest's shell reads what follows; None at its end."""
    line = bytearray()
    while (byte := os.read(sys.stdin.fileno(), 1)) not in (b"", b"\n"):
        line += byte
    at_end = not line and not byte
    return None if at_end else line.decode("utf-8", "replace").strip()


@contextmanager
def one_guest(choice: GuestChoice) -> Iterator[tuple[GuestFactory, BootableCell]]:
    """Build what is missing for one cell, with progress on stderr; yields what boots it."""
    from lab.build.builder import Builder
    from lab.guests.factory import open_factory
    from lab.host import doctor

    library = open_library()
    topology = library.topology(choice.topology)
    kernel = library.with_config(library.kernel(choice.kernel), choice.config)
    if why := kernel.unfit_for(topology.architecture):
        raise UsageError(f"{topology.name}/{kernel.name}: {why}")
    if why := doctor.lacking_for(topology):
        raise InfraError(f"{topology.name} cannot be built or booted on this host: {why}")
    builder = Builder(cache=open_cache(), sources=library.scenario_sources)
    with builds_end_with_us(), open_factory(builder, uri=choice.connect, saved=not choice.cold) as factory:
        try:
            yield factory, factory.ready(topology, kernel, progress_on_stderr())
        finally:  # a program that hangs may do so because of what the kernel complained of
            print_factory_notes(factory.notes)


def print_factory_notes(notes: Iterable[str]) -> None:
    """Print why saved guests were not used, what was not copied out of a guest, and what its kernel complained of."""
    for note in notes:
        print_note(f"note: {printable(note)}")


def load_of(
    words: Sequence[str],
    arch: Arch,
    root: str | None,
    volumes: Sequence[str],
    *,
    sysroot: Path | None = None,
    environment: Sequence[str] = (),
) -> Workload:
    """Return a command with its root, made if needed, with the copies that it gets and its environment."""
    load = _load_in(words, arch, root, volumes, sysroot)
    return replace(load, environment=tuple(environment))


def _load_in(
    words: Sequence[str], arch: Arch, root: str | None, volumes: Sequence[str], sysroot: Path | None
) -> Workload:
    from lab.workflows import one_guest as oneshot

    if root is None and not volumes:
        return oneshot.in_root(words, arch, None, (), sysroot=sysroot)
    from lab.build.roots import root as roots

    copies = [roots.copied(word) for word in volumes]
    if root is None:
        return oneshot.in_root(words, arch, None, copies, sysroot=sysroot)
    built = roots.build(root, arch, open_cache(), progress_on_stderr())
    for note in built.notes:
        print_note(f"--root {root}: {printable(note)}")
    return oneshot.in_root(words, arch, built, copies)
