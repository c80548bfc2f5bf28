# SPDX-License-Identifier: GPL-2.0-or-later
"""Verbs that look: what this host can do, what there is to choose from, what would run; and `clean`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from lab.verbs.common import console, filtered, packed
from lab.verbs.completing import named
from lab.verbs.places import open_cache, open_library

if TYPE_CHECKING:
    from lab.specs.plan import Filters


@click.command()
@click.argument("campaign", default="quick", shell_complete=named("campaigns"))
@click.option("--install", is_flag=True, help="Install the packages that the campaign's machines need (apt).")
def doctor(campaign: str, install: bool) -> int:
    """What this host can do, what is missing, and the command that fixes it.

    \b
    lab doctor
    lab doctor all-arches
    """
    from lab.host import doctor as host

    arches = open_library().plan(campaign).arches
    if install:
        return host.install(arches)
    out = console()
    checks = host.checks(arches, cache_root=open_cache().root)
    for check in checks:
        out.print(check.line(), markup=False)
    return 0 if all(check.ok for check in checks) else 2


LISTS = ("topologies", "kernels", "scenarios", "campaigns", "arches")


@click.command("list")
@click.argument("what", type=click.Choice(LISTS))
@click.option("--json", "as_json", is_flag=True, help="For programs, with all there is to say.")
def list_(what: str, *, as_json: bool) -> None:
    """What there is to choose from.

    \b
    lab list topologies
    lab list scenarios
    lab list arches --json
    """
    from lab.verbs import listing

    if as_json:
        print(json.dumps(listing.entries(what, open_library(), open_cache()), indent=2))
        return
    out = console()
    for line in listing.lines(what, open_library(), open_cache()):
        out.print(line, markup=False)


@click.command()
@click.argument("campaign", shell_complete=named("campaigns"))
@filtered
@packed
def plan(campaign: str, filters: Filters, jobs: int | None, memory: int | None) -> None:
    """What would run, what of it is built, how long it will take, what is skipped and why; builds nothing.

    \b
    lab plan quick
    lab plan quick --topology 'arm64-*' --test 'limits.*'
    lab plan all-arches --config debug-vm
    """
    from lab.host import estimate
    from lab.verbs.plan_text import describe

    cache = open_cache()
    given = estimate.packing(cache, jobs=jobs, memory=memory)
    planned = estimate.here(open_library().plan(campaign, filters), given)
    if planned.suites:
        from lab.build import suites

        suites.check(planned, cache)
    console().print(describe(*estimate.look(planned, given, cache)), markup=False)


@click.command()
@click.option("--all", "everything", is_flag=True, help="Kernels and work trees too, not only leftovers.")
def clean(everything: bool) -> None:
    """Remove leftovers of killed labs from the cache, or (--all) the whole cache. Results are never touched.

    \b
    lab clean
    lab clean --all
    """
    freed = open_cache().clean(everything=everything)
    console().print(f"freed {freed / (1 << 20):.0f} MB below {open_cache().root}", markup=False)
