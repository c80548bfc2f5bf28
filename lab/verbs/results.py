# SPDX-License-Identifier: GPL-2.0-or-later
"""Verbs for what runs left behind: report, compare, run again, pack."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import click

from lab.core.errors import UsageError
from lab.verbs.common import builds_end_with_us, connected, console, packed, show, tell_on_stderr
from lab.verbs.completing import cells
from lab.verbs.places import open_cache, open_library


@click.command()
@click.argument("directory", type=click.Path(path_type=Path), default=Path("results/latest"))
@click.option("--format", "form", default="text", help="text, html, mail, json, junit, ktap or kcidb [text].")
def report(directory: Path, form: str) -> int:
    """Derive the verdicts of a run again from its evidence and print them; starts no guest.

    \b
    lab report
    lab report results/latest --format json
    """
    from lab import report as reports
    from lab.verdicts.compare import conclude_directory

    gc.disable()  # all that is made here is kept to the end: to look for garbage in it takes a fifth of the time
    summary = conclude_directory(directory)
    if form == "text":
        show(summary, console())
    else:
        print(reports.render(summary, form), end="")
    return summary.exit_code


@click.command()
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
def compare(first: Path, second: Path) -> int:
    """What two runs found differently, case by case; starts no guest.

    Exit status: 0 nothing, 1 something, 64 they cannot be compared.

    \b
    lab compare results/20260102T030405Z-quick results/latest
    """
    from lab import report as reports
    from lab.verdicts import two_runs
    from lab.verdicts.compare import conclude_directory

    compared = two_runs.compare(*(conclude_directory(directory) for directory in (first, second)))
    print(reports.versus(compared), end="")
    return compared.exit_code


DIRECTORY = click.argument("directory", type=click.Path(path_type=Path))
CELL = click.argument("cell", metavar="CELL[/SCENARIO[.CASE]]", shell_complete=cells)


@click.command()
@DIRECTORY
@CELL
@click.option("--anyway", is_flag=True, help="Run it also where kernel or tests are not the same any more.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Directory of the run [results/TIME-replay].")
@packed
@connected
def replay(
    directory: Path,
    cell: str,
    *,
    anyway: bool,
    output: Path | None,
    jobs: int | None,
    memory: int | None,
    connect: str | None,
) -> int:
    """Run a cell of a run, or one of its cases, again: the same kernel, machine and programs.

    The kernel is the very one of the run where the cache still has it. What is not the same any more is named, and
    nothing is run then unless --anyway is given.

    Exit status: 0 what was found comes again, 1 something else does, 2 the lab failed, 64 bad input, or not the same
    any more.

    \b
    lab replay results/latest x86_64-4k-2node/baseline/expand.a01_grow_touch
    lab replay results/latest arm64-64k-2node/expand-fault
    """
    from lab.host import estimate
    from lab.verbs.campaigns import finish
    from lab.verdicts.compare import conclude_directory
    from lab.verdicts.place import find
    from lab.workflows import replay as again

    then = conclude_directory(directory)
    cache = open_cache()
    wanted = again.look(find(then, cell), then, open_library(), cache)
    for line in wanted.noted:
        print(f"lab: note: {line}", file=sys.stderr)
    for line in wanted.changed if anyway else ():
        print(f"lab: not the same: {line}", file=sys.stderr)
    if not anyway:
        again.require_same(wanted)
    given = estimate.packing(cache, jobs=jobs, memory=memory)
    now = finish(again.open_replay(wanted, cache, given, output), given, connect)
    lines, same = again.compared(wanted.spot.records, now)
    for line in [*(f"not the same: {line}" for line in again.differences(wanted.spot, now)), *lines]:
        print(line)
    return 0 if same else max(1, now.exit_code if now.broken else 1)


@click.command()
@DIRECTORY
@CELL
@click.option("--anyway", is_flag=True, help="Pack it also where kernel or tests are not the same any more.")
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), metavar="FILE.tar.gz", help="[CELL-SCENARIO.CASE.tar.gz]"
)
def bundle(directory: Path, cell: str, *, anyway: bool, output: Path | None) -> None:
    """A tarball with which anybody who has QEMU, and no lab, sees what was found.

    In it: kernel, initrd with the test, its source, the configuration, the domain's XML, console and results of the
    run, and reproduce.sh, which boots the guest, runs the test and says whether the recorded result came again.

    \b
    lab bundle results/latest x86_64-4k-2node/baseline/expand.a01_grow_touch
    lab bundle results/latest arm64-64k-2node/expand-fault -o failing-cell.tar.gz
    """
    from lab.build.builder import Builder
    from lab.verdicts.compare import conclude_directory
    from lab.verdicts.place import find
    from lab.workflows import bundle as packing
    from lab.workflows import replay as again

    summary = conclude_directory(directory)
    cache = open_cache()
    wanted = again.look(find(summary, cell), summary, open_library(), cache)
    to = output or Path(f"{wanted.spot.name.replace('/', '-')}.tar.gz")
    if not to.name.endswith(".tar.gz"):
        raise UsageError(f"-o: expected FILE.tar.gz, got {to}")
    if to.exists():
        raise UsageError(f"{to} is there already", hint="choose another name with -o")
    if not anyway:
        again.require_same(wanted)
    workshop = Builder(cache=cache, sources=wanted.plan.sources, kernels=wanted.kernels)
    with builds_end_with_us():
        products = workshop.make(wanted.spot.topology, wanted.spot.kernel, tell_on_stderr())
    packing.write(to, wanted.spot, summary, products, wanted.plan.sources)
    print(f"{to}: {to.stat().st_size / (1 << 20):.1f} MB; unpack it anywhere and run: sh reproduce.sh")
