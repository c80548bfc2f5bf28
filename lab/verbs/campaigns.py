# SPDX-License-Identifier: GPL-2.0-or-later
"""Verbs that carry out a campaign: build its parts, run it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lab.core.errors import LabError, UsageError
from lab.core.progress import silent
from lab.core.untrusted import one_line, printable
from lab.verbs.common import (
    EXIT_INTERRUPTED,
    builds_end_with_us,
    connected,
    console,
    filtered,
    packed,
    say_error,
    show,
    tell_on_stderr,
)
from lab.verbs.completing import named
from lab.verbs.places import open_cache, open_library

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.guests.factory import GuestFactory
    from lab.host.estimate import Packing
    from lab.run.campaign import OpenRun
    from lab.run.keep_failed import KeptGuest
    from lab.specs.plan import Filters
    from lab.verdicts.compare import Summary


@click.command()
@click.argument("campaign", shell_complete=named("campaigns"))
@filtered
def build(campaign: str, filters: Filters) -> None:
    """Build kernels, userland and guest tests of a campaign; boots nothing.

    \b
    lab build quick
    lab build quick --config kasan
    """
    from lab.build.builder import Builder
    from lab.host import estimate
    from lab.run.screen import screen

    cache = open_cache()
    planned = estimate.here(open_library().plan(campaign, filters), estimate.packing(cache))
    with builds_end_with_us():
        workshop = Builder.of(planned, cache, tell_on_stderr())
    with screen(console(), planned.cells) as shown, builds_end_with_us():
        for cell in planned.cells:
            shown.cell(cell, "building")
            workshop.make(
                cell.topology, cell.kernel, lambda detail, *, done=None, c=cell: shown.building(c, detail, done)
            )
            shown.cell(cell, "built")


@click.command()
@click.argument("campaign", required=False, shell_complete=named("campaigns"))
@filtered
@click.option("--repeat", type=click.IntRange(1, 10_000), metavar="N", help="Every cell N times, each in a new guest.")
@click.option("--resume", type=click.Path(path_type=Path), metavar="DIR", help="Go on with a run that was stopped.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Directory of the run [results/TIME-CAMPAIGN].")
@packed
@connected
@click.option("--keep-failed", is_flag=True, help="Keep the guest in which something failed first, and ask what then.")
def run(
    campaign: str | None,
    filters: Filters,
    repeat: int | None,
    resume: Path | None,
    output: Path | None,
    jobs: int | None,
    memory: int | None,
    connect: str | None,
    keep_failed: bool,
) -> int:
    """Build what is missing, boot every machine with every kernel, run the scenarios, compare.

    With --repeat a case whose repeats do not agree is FLAKY: an expectation that is not met. --resume takes everything
    else from the run's directory: what is finished there is kept, what is not is run.

    With --keep-failed the guest in which an expectation was not met first stays as it is: when all is done you get a
    shell in it, or gdb on its kernel.

    Exit status: 0 every expectation met, 1 one was not, 2 the lab or its host failed, 64 bad input, 130 interrupted.

    \b
    lab run quick
    lab run quick -t arm64-64k-2node --test 'expand.a0*'
    lab run quick -k baseline -k ./my-kernel.yaml
    lab run quick --repeat 20 --test stress
    lab run quick --suite kselftest-mm
    lab run quick --suite ltp:~/ltp:mm
    lab run --resume results/latest
    lab run quick -t x86_64-4k-2node --keep-failed
    """
    from lab.host import estimate
    from lab.run.campaign import CampaignRequest, open_run, reopen_run

    cache, library = open_cache(), open_library()
    given = estimate.packing(cache, jobs=jobs, memory=memory)
    if resume:
        if campaign or filters.given or repeat or output:
            raise UsageError("--resume takes the campaign, its filters and its directory from the run: leave them away")
        return carry_out(reopen_run(resume, library, cache, given), given, connect, keep=keep_failed)
    if not campaign:
        raise UsageError("run what? expected a campaign, or --resume DIR", hint="`lab list campaigns`")
    wanted = CampaignRequest(campaign=campaign, filters=filters, repeat=repeat or 1)
    with builds_end_with_us():
        opened = open_run(wanted, library, cache, given, output, progress=tell_on_stderr())
    return carry_out(opened, given, connect, keep=keep_failed)


def carry_out(opened: OpenRun, given: Packing, uri: str | None, *, keep: bool = False) -> int:
    """Run what is to be run and report on it; the exit status."""
    return finish(opened, given, uri, keep=keep).exit_code


def finish(opened: OpenRun, given: Packing, uri: str | None, *, keep: bool = False) -> Summary:
    """Run what is to be run and report on it; when it was interrupted that is the end of the verb, after the report.

    With `keep` the user is asked what to do with the guest in which an expectation was not met first.
    """
    from lab.run import campaign

    reported: list[Summary] = []

    def afterwards(factory: GuestFactory, kept: KeptGuest) -> None:
        reported.append(tell(opened))
        ask(factory, kept)

    interrupted = False
    try:
        with builds_end_with_us():
            campaign.execute(
                opened,
                open_cache(),
                console=console(),
                packing=given,
                uri=uri,
                afterwards=afterwards if keep else None,
            )
    except KeyboardInterrupt:
        interrupted = True
        print("lab: interrupted; what was found is kept", file=sys.stderr)
    summary = reported[0] if reported else tell(opened)
    if interrupted:
        raise click.exceptions.Exit(EXIT_INTERRUPTED)
    return summary


def tell(opened: OpenRun) -> Summary:
    """The verdicts of a run: written to its directory, and shown."""
    from lab import report
    from lab.evidence import read
    from lab.host import history
    from lab.verdicts.compare import conclude

    out = console()
    found = read.load(opened.path)
    summary = conclude(found)
    history.record(open_cache(), found)
    report.write(opened.path, summary)
    show(summary, out)
    out.print(f"results: {opened.path}", markup=False)
    return summary


def ask(factory: GuestFactory, kept: KeptGuest) -> None:
    """What to do with a guest that was kept, until the user is done with it (or there is nobody to ask)."""
    from lab.guests.guest import Guest
    from lab.workflows import debug

    guest, ready = kept.guest, factory.ready(kept.cell.topology, kept.cell.kernel, silent)
    assert isinstance(guest, Guest)
    print(f"lab: kept: {one_line(kept.why)}", file=sys.stderr)
    deeds: dict[str, Callable[[], object]] = {
        "shell": guest.connection.shell,
        "gdb": lambda: debug.attach_gdb(guest, ready.topology.architecture, ready.products, factory.scratch, ()),
        "console": lambda: print(printable(guest.console.text(max(0, guest.console.size() - 8000)))),
    }
    while True:
        print(f"lab: {', '.join(deeds)} or end? ", end="", file=sys.stderr, flush=True)
        word = typed_line()
        if word is None or word == "end":
            return
        try:
            deeds.get(word, lambda: None)()
        except LabError as error:
            say_error(error)


def typed_line() -> str | None:
    """The next line of stdin and not a byte more, since what follows is the shell's; None at its end."""
    said = bytearray()
    while (byte := os.read(sys.stdin.fileno(), 1)) not in (b"", b"\n"):
        said += byte
    return said.decode("utf-8", "replace").strip() if said or byte else None
