# SPDX-License-Identifier: GPL-2.0-or-later
"""Verbs that carry out a campaign: build its parts, run it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lab.errors import UsageError
from lab.verbs.common import EXIT_INTERRUPTED, builds_end_with_us, connected, console, filtered, packed
from lab.verbs.completing import named
from lab.verbs.places import open_cache, open_library

if TYPE_CHECKING:
    from lab.campaign import OpenRun
    from lab.compare import Summary
    from lab.outlook import Packing
    from lab.plan import Filters


@click.command()
@click.argument("campaign", shell_complete=named("campaigns"))
@filtered
def build(campaign: str, filters: Filters) -> None:
    """Build kernels, userland and guest tests of a campaign; boots nothing.

    \b
    lab build quick
    lab build quick --config kasan
    """
    from lab import outlook
    from lab.factory import Workshop
    from lab.screen import screen

    cache = open_cache()
    planned = outlook.here(open_library().plan(campaign, filters), outlook.packing(cache))
    workshop = Workshop(cache=cache, sources=planned.sources)
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
def run(
    campaign: str | None,
    filters: Filters,
    repeat: int | None,
    resume: Path | None,
    output: Path | None,
    jobs: int | None,
    memory: int | None,
    connect: str | None,
) -> int:
    """Build what is missing, boot every machine with every kernel, run the scenarios, compare.

    With --repeat a case whose repeats do not agree is FLAKY: an expectation that is not met. --resume takes everything
    else from the run's directory: what is finished there is kept, what is not is run.

    Exit status: 0 every expectation met, 1 one was not, 2 the lab or its host failed, 64 bad input, 130 interrupted.

    \b
    lab run quick
    lab run quick -t arm64-64k-2node --test 'expand.a0*'
    lab run quick -k baseline -k ./my-kernel.yaml
    lab run quick --repeat 20 --test stress
    lab run --resume results/latest
    """
    from lab import outlook
    from lab.campaign import Request, open_run, reopen_run

    cache, library = open_cache(), open_library()
    given = outlook.packing(cache, jobs=jobs, memory=memory)
    if resume:
        if campaign or filters.given or repeat or output:
            raise UsageError("--resume takes the campaign, its filters and its directory from the run: leave them away")
        return carry_out(reopen_run(resume, library, cache, given), given, connect)
    if not campaign:
        raise UsageError("run what? expected a campaign, or --resume DIR", hint="`lab list campaigns`")
    wanted = Request(campaign=campaign, filters=filters, repeat=repeat or 1)
    return carry_out(open_run(wanted, library, cache, given, output), given, connect)


def carry_out(opened: OpenRun, given: Packing, uri: str | None) -> int:
    """Run what is to be run and report on it; the exit status."""
    return finish(opened, given, uri).exit_code


def finish(opened: OpenRun, given: Packing, uri: str | None) -> Summary:
    """Run what is to be run and report on it; when it was interrupted that is the end of the verb, after the report."""
    from lab import campaign, evidence, history, report
    from lab.compare import conclude

    out = console()
    cache = open_cache()
    interrupted = False
    try:
        with builds_end_with_us():
            campaign.execute(opened, cache, console=out, packing=given, uri=uri)
    except KeyboardInterrupt:
        interrupted = True
        print("lab: interrupted; what was found is kept", file=sys.stderr)
    summary = conclude(evidence.load(opened.path))
    history.record(cache, summary.evidence)
    opened.run_dir.write_reports(summary)
    out.print(report.render(summary, "text"), markup=False)
    out.print(f"results: {opened.path}", markup=False)
    if interrupted:
        raise click.exceptions.Exit(EXIT_INTERRUPTED)
    return summary
