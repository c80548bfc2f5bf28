# SPDX-License-Identifier: GPL-2.0-or-later
"""Verbs for finished runs: report, compare, replay, bundle."""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path

import click

from lab.core.errors import UsageError
from lab.verbs import completing, options
from lab.verbs.common import console, print_note, progress_on_stderr, show_report
from lab.verbs.places import open_cache, open_library
from lab.verbs.running import builds_end_with_us, finish


@click.command()
@click.argument("directory", type=click.Path(path_type=Path), default=Path("results/latest"))
@click.option(
    *("--format", "form"),
    default="text",
    metavar="FORMAT",
    help="Print in this format: text, html, mail, json, junit, ktap or kcidb [text].",
)
def report(directory: Path, form: str) -> int:
    """Print a run's report; start no guest.

    The verdicts are derived again from the evidence in the run's directory.

    DIRECTORY is that of the run [results/latest].

    Exit status: that of the run, as `lab run` has it.

    \b
    lab report
    lab report results/latest --format json
    """
    from lab.report import registry as reports
    from lab.verdicts.compare import conclude_directory

    gc.disable()  # nothing made here becomes garbage, and the collector takes a fifth of the time
    summary = conclude_directory(directory, on_all_cores=True)
    gc.freeze()  # nor does it when the process ends
    if form == "text":
        show_report(summary, console())
    else:
        for piece in reports.pieces(summary, form):
            print(piece, end="")
    return summary.exit_code


@click.command()
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
def compare(first: Path, second: Path) -> int:
    """Compare the results of two runs; start no guest.

    Prints the cases whose results differ.

    Exit status: 0 no difference, 1 one or more differences, 64 the runs cannot be compared.

    \b
    lab compare results/20260102T030405Z-quick results/latest
    lab compare results/20260102T030405Z-quick results/latest > differences.txt
    """
    from lab.report import registry as reports
    from lab.verdicts import two_runs
    from lab.verdicts.compare import conclude_directory

    compared = two_runs.compare(conclude_directory(first), conclude_directory(second))
    print(reports.versus(compared), end="")
    return compared.exit_code


DIRECTORY = click.argument("directory", type=click.Path(path_type=Path))
CELL = click.argument("cell", metavar="CELL[/SCENARIO[.CASE]]", shell_complete=completing.cells)


@click.command()
@DIRECTORY
@CELL
@click.option("--anyway", is_flag=True, help="Run it even if the kernel or the tests have changed since.")
@options.output("results/TIME-replay")
@options.cold
@options.packed
@options.connect
def replay(
    directory: Path,
    cell: str,
    *,
    anyway: bool,
    output: Path | None,
    cold: bool,
    jobs: int | None,
    memory: int | None,
    connect: str | None,
) -> int:
    """Run a cell, or one of its cases, again.

    Runs it on the same kernel and machine. Boots the very kernel of the run if it is still in the cache. If kernel,
    tests or userland have changed since, the changes are listed and nothing runs, unless --anyway is given.

    Exit status: 0 the same results, 1 other results, 2 the lab failed, 64 bad input, or something has changed.

    \b
    lab replay results/latest x86_64-4k-2node/baseline/expand.a01_grow_touch
    lab replay results/latest arm64-64k-2node/expand-fault
    """
    from lab.host import estimate
    from lab.verdicts.compare import conclude_directory
    from lab.verdicts.place import find
    from lab.workflows import replay as again

    then = conclude_directory(directory)
    cache = open_cache()
    wanted = again.prepare(find(then, cell), then, open_library(), cache)
    for line in wanted.noted:
        print_note(f"note: {line}")
    if not anyway:
        again.require_same(wanted)
    for line in wanted.changed:
        print_note(f"changed: {line}")
    given = estimate.packing(cache, jobs=jobs, memory=memory)
    now = finish(replace(again.open_replay(wanted, cache, given, output), cold=cold), given, connect)
    lines, same = again.compared(wanted.spot.records, now)
    for line in again.differences(wanted.spot, now):
        print(f"changed: {line}")
    for line in lines:
        print(line)
    if same:
        return 0
    return max(1, now.exit_code) if now.broken else 1


@click.command()
@DIRECTORY
@CELL
@click.option("--anyway", is_flag=True, help="Pack it even if the kernel or the tests have changed since.")
@click.option(
    *("--output", "-o"),
    type=click.Path(path_type=Path),
    metavar="FILE.tar.gz",
    help="Write the tarball to this file [CELL-SCENARIO.CASE.tar.gz].",
)
def bundle(directory: Path, cell: str, *, anyway: bool, output: Path | None) -> None:
    """Pack a cell into a tarball that boots with plain QEMU.

    Whoever unpacks it needs QEMU but not pagelab: `sh reproduce.sh` boots the guest, runs the test and prints whether
    the recorded result was reproduced. It contains the kernel and its
    configuration, the initrd with the test, the test's source, and the console and results of the run.

    Exit status: 0 written, 2 the lab failed, 64 bad input, or something has changed.

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
    wanted = again.prepare(find(summary, cell), summary, open_library(), cache)
    if wanted.root:
        raise UsageError(
            f"{wanted.spot.name} ran in the root {wanted.root.word}, which no bundle has",
            hint="`lab replay` runs it again in its root",
        )
    to = output or Path(f"{wanted.spot.name.replace('/', '-')}.tar.gz")
    if not to.name.endswith(".tar.gz"):
        raise UsageError(f"-o: expected FILE.tar.gz, got {to}")
    if to.exists():
        raise UsageError(f"{to} already exists", hint="choose another name with -o")
    if not anyway:
        again.require_same(wanted)
    workshop = Builder(cache=cache, sources=wanted.plan.sources, kernels=wanted.kernels)
    with builds_end_with_us():
        products = workshop.make(wanted.spot.topology, wanted.spot.kernel, progress_on_stderr())
    packing.write(to, wanted.spot, summary, products, wanted.plan.sources)
    print(f"{to}: {to.stat().st_size / (1 << 20):.1f} MB; unpack it anywhere and run: sh reproduce.sh")
