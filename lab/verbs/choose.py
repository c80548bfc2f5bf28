# SPDX-License-Identifier: GPL-2.0-or-later
"""Verbs that show what this host can do, what there is to choose from and what would run; and `clean`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from lab.verbs import completing, options
from lab.verbs.common import console
from lab.verbs.places import open_cache, open_library

if TYPE_CHECKING:
    from lab.core.cache import Cache
    from lab.specs.plan import Filters, Plan


@click.command()
@click.argument("campaign", default="quick", shell_complete=completing.CAMPAIGNS)
@click.option("--install", is_flag=True, help="Install the missing Debian packages with apt-get, as root or with sudo.")
def doctor(campaign: str, install: bool) -> int:
    """Check this host, and print the commands that mend it.

    Checks what the machines of CAMPAIGN [quick] need, and what single verbs, suites and make targets need.

    Exit status: 0 the lab works here, though perhaps with limits (warn), 2 something is missing (fail).

    \b
    lab doctor
    lab doctor all-arches
    """
    from lab.host import doctor as host
    from lab.host import programs

    arches = open_library().plan(campaign).arches
    if install:
        return host.install(arches)
    out = console()
    checks = [*host.checks(arches, cache_root=open_cache().root), *programs.checks()]
    for check in checks:
        out.print(check.line(), markup=False)
    return 0 if all(check.ok for check in checks) else 2


LISTS = ("topologies", "kernels", "scenarios", "campaigns", "reports", "arches")


@click.command("list")
@click.argument("what", type=click.Choice(LISTS))
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every detail, instead of a table.")
def list_(what: str, *, as_json: bool) -> None:
    """List what there is to choose from.

    \b
    lab list topologies
    lab list scenarios
    lab list arches --json
    """
    from lab.verbs.text import listing

    if as_json:
        print(json.dumps(listing.entries(what, open_library(), open_cache()), indent=2))
        return
    out = console()
    for line in listing.lines(what, open_library(), open_cache()):
        out.print(line, markup=False)


@click.command()
@click.argument("campaign", shell_complete=completing.CAMPAIGNS)
@options.filtered
@options.packed
def plan(campaign: str, filters: Filters, jobs: int | None, memory: int | None) -> None:
    """Show what a campaign would run; build nothing.

    Shows which kernels have to be built, how long it takes, and what is skipped and why. The estimate uses the times of
    earlier runs on this host.

    \b
    lab plan quick
    lab plan quick --topology 'arm64-*' --test 'limits.*'
    lab plan all-arches --config debug-vm
    """
    from lab.host import estimate
    from lab.verbs.text.plan import describe

    cache = open_cache()
    given = estimate.packing(cache, jobs=jobs, memory=memory)
    planned = estimate.here(open_library().plan(campaign, filters), given)
    if planned.root:
        from lab.build.roots import root

        root.check(planned.root)
    if planned.suites:
        from lab.build.suites import prepare

        prepare.check(planned, cache)
    elif not planned.reports:
        _check_cases(planned, cache)
    console().print(describe(*estimate.ordered(planned, given, cache)), markup=False)


def _check_cases(planned: Plan, cache: Cache) -> None:
    """Raise UsageError for a glob of --test that matches no case, as far as the cases are known without building."""
    from lab.build import programs
    from lab.specs.plan import resolve_cases

    if known := programs.known_cases(planned.sources, cache):
        resolve_cases(planned, {scenario: [case.name for case in cases] for scenario, cases in known.items()})


@click.command()
@click.option(
    "--all", "everything", is_flag=True, help="Remove built kernels and work trees too: the next run builds them again."
)
def clean(everything: bool) -> None:
    """Remove leftovers, or everything, from the cache.

    Leftovers are what killed labs did not remove. Results are never removed. The cache is $PAGELAB_CACHE
    [~/.cache/pagelab].

    \b
    lab clean
    lab clean --all
    """
    freed = open_cache().clean(everything=everything)
    console().print(f"freed {freed / (1 << 20):.0f} MB below {open_cache().root}", markup=False)
