# SPDX-License-Identifier: GPL-2.0-or-later
"""Verbs that carry out a campaign: build its parts, run it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from lab.core.errors import UsageError
from lab.verbs import completing, options
from lab.verbs.common import console, progress_on_stderr
from lab.verbs.places import open_cache, open_library
from lab.verbs.running import builds_end_with_us, cluster_session, finish, report_coverage, resources

if TYPE_CHECKING:
    from lab.cluster.session import ClusterChoice
    from lab.host.estimate import Packing
    from lab.run.campaign import OpenRun
    from lab.specs.plan import Filters


REPORTS = "reports"
"""The campaign that `lab run --report` runs where none is named."""
SUITES = "suites"
"""The same for `lab run --suite`: machines with the memory that suites ask for."""


@click.command()
@click.argument("campaign", shell_complete=completing.CAMPAIGNS)
@options.filtered
def build(campaign: str, filters: Filters) -> None:
    """Build what a campaign needs; boot nothing.

    Builds kernels, the guests' userland and tests, unless they are in the cache.

    \b
    lab build quick
    lab build quick --config kasan
    """
    from lab.build.builder import Builder
    from lab.host import estimate, programs
    from lab.run.protocols import CellState
    from lab.run.screen import screen

    cache = open_cache()
    planned = open_library().plan(campaign, filters)
    programs.require_suites(suite.word for suite in planned.suites)
    planned = estimate.here(planned, estimate.packing(cache))
    with builds_end_with_us():
        workshop = Builder.of(planned, cache, progress_on_stderr())
    with screen(console(), planned.cells) as shown, builds_end_with_us():
        for cell in planned.cells:
            shown.cell(cell, CellState.BUILDING)
            workshop.make(
                cell.topology, cell.kernel, lambda detail, *, done=None, c=cell: shown.building(c, detail, done)
            )
            shown.cell(cell, CellState.BUILT)


def _usual_campaign(filters: Filters) -> str | None:
    """Return the campaign for reports or suites where none is named; None if the command line has neither."""
    if filters.reports:
        return REPORTS
    return SUITES if filters.suites else None


@click.command()
@click.argument("campaign", required=False, shell_complete=completing.CAMPAIGNS)
@options.filtered
@options.repeat
@options.resume
@options.output("results/TIME-CAMPAIGN")
@options.packed
@options.connect
@options.elsewhere
@options.confirm(0)
@options.coverage
@options.fresh
@options.cold
@click.option(
    "--keep-failed",
    is_flag=True,
    help="Keep the first guest that misses an expectation, and offer a shell or gdb in it when the run is over.",
)
def run(
    campaign: str | None,
    filters: Filters,
    repeat: int | None,
    resume: Path | None,
    output: Path | None,
    jobs: int | None,
    memory: int | None,
    connect: str | None,
    cluster: ClusterChoice | None,
    confirm: int,
    coverage: bool,
    fresh: bool,
    cold: bool,
    keep_failed: bool,
) -> int:
    """Run a campaign: build, boot, test, compare.

    Boots every kernel on every machine and runs the scenarios there. Only what the cache lacks is built. Results,
    consoles and reports are written to a directory below results/; results/latest points to the newest one.

    With --repeat, a case whose repeats disagree is FLAKY, which misses its expectation.
    With --report, a report is reproduced, of the campaign `reports` if none is named. With --suite, a suite takes the
    place of the scenarios; without a campaign it runs on the machines of `suites`, which have the memory it asks for.
    With --confirm, a case that seems fixed or regressed between two kernels runs again on both before it is called so.
    With --coverage, patched kernels run once more with gcov; the lines of their patches that ran nowhere are listed.

    A campaign with `reuse_baseline` takes the evidence of kernels without a series from an earlier run if all that it
    depends on is the same; --fresh starts guests for them.

    Guests are restored from the cache where it has one that was verified and saved; --cold boots them all.

    With --resume, everything else comes from the run's directory. Cells that are finished there are not run again.

    Exit status: 0 all expectations met, 1 one or more missed, 2 the lab or its host failed or the run is incomplete, 64
    bad input, 130 interrupted.

    \b
    lab run quick
    lab run quick -t arm64-64k-2node --test 'expand.a0*'
    lab run quick -k baseline -k ./my-kernel.yaml
    lab run quick --repeat 20 --test stress
    lab run quick --suite kselftest-mm
    lab run --suite ltp:~/ltp:mm
    lab run quick -t x86_64-4k-2node --root debian:trixie
    lab run quick -t x86_64-4k-2node --coverage
    lab run --report ./my-report.yaml
    lab run --resume results/latest
    lab run quick -t x86_64-4k-2node --keep-failed
    lab run quick --hosts hosts.yaml
    """
    if resume and (campaign or filters.given or repeat or output):
        raise UsageError("--resume takes the campaign, its filters and its directory from the run: omit them")
    if not campaign and not resume:
        campaign = _usual_campaign(filters)
    if resume:
        _not_of_a_resumed_run("confirm", "coverage")
    elif not campaign:
        raise UsageError("which campaign? expected its name, or --resume DIR", hint="`lab list campaigns`")
    local = {"jobs": jobs, "memory": memory, "connect": connect, "keep_failed": keep_failed, "root": filters.roots}
    with cluster_session(cluster, **local) as session:
        given = resources(session, jobs, memory)
        opened = _opened(campaign, filters, repeat, resume, output, given)
        opened, times = replace(opened, fresh=fresh, cold=cold), confirm if campaign else 0
        summary = finish(opened, given, connect, keep=keep_failed, confirm=times, elsewhere=session)
        if coverage and campaign:
            report_coverage(opened, given, connect, session)
    return summary.exit_code


def _opened(
    campaign: str | None,
    filters: Filters,
    repeat: int | None,
    resume: Path | None,
    output: Path | None,
    given: Packing,
) -> OpenRun:
    """Return a new run of a campaign, or the one that is resumed."""
    from lab.run.campaign import CampaignRequest, open_run, reopen_run

    cache, library = open_cache(), open_library()
    with builds_end_with_us():
        if campaign:
            request = CampaignRequest(campaign=campaign, filters=filters, repeat=repeat or 1)
            return open_run(request, library, cache, given, output, progress=progress_on_stderr())
        assert resume
        return reopen_run(resume, library, cache, given)


def _not_of_a_resumed_run(*options_of_new_runs: str) -> None:
    """Raise UsageError if one of these options was typed; a default from the settings is not meant for this run."""
    context = click.get_current_context()
    for name in options_of_new_runs:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise UsageError(
                f"--{name} is carried out behind a whole run, and --resume runs what is left of one: omit it",
                hint="run the campaign again; what is built stays in the cache",
            )
