# SPDX-License-Identifier: GPL-2.0-or-later
"""Verbs for a patch and a tree: `try` says what the patch does, `bisect` which commit did it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lab.core.paths import absolute_word, user_path
from lab.verbs import completing, options
from lab.verbs.common import console, print_note
from lab.verbs.options import filters_of
from lab.verbs.places import open_cache, open_library
from lab.verbs.running import builds_end_with_us, finish

if TYPE_CHECKING:
    from lab.host.estimate import Packing
    from lab.run.campaign import OpenRun, Typed
    from lab.specs.library import Library
    from lab.verdicts.compare import Summary
    from lab.workflows.bisect import CommitJudge, JudgedCommit

TREE = click.option(
    "--tree",
    type=click.Path(path_type=Path),
    default=Path(),
    metavar="DIR",
    help="Use the kernel tree in DIR, which is only read [the current directory].",
)
COMMAND = click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- CMD ARGS...]")
DEFAULT_TIMEOUT_S = 60.0
TIMEOUT = click.option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    default=DEFAULT_TIMEOUT_S,
    metavar="SECONDS",
    help="End CMD after this many seconds, scaled up where the machine is emulated [60].",
)


@click.command("try")
@click.argument("patch", metavar="PATCH|REV..REV", type=click.Path())
@COMMAND
@TREE
@click.option(
    *("--on", "machines"),
    multiple=True,
    metavar="T",
    shell_complete=completing.TOPOLOGIES,
    help="Run on this machine: a name, a glob or a YAML file; may be repeated [one per page size, one with two nodes].",
)
@options.tests
@options.programs
@click.option("--each", is_flag=True, help="Build a kernel for every patch of the series, with all patches before it.")
@click.option(
    "--provides",
    multiple=True,
    metavar="FEATURE",
    help="Expect the patch to add FEATURE: cases that require it must fail without the patch; may be repeated [none].",
)
@options.config
@TIMEOUT
@options.repeat
@options.output("results/TIME-try")
@options.packed
@options.connect
def try_(
    patch: str,
    command: Sequence[str],
    *,
    tree: Path,
    machines: Sequence[str],
    tests: Sequence[str],
    programs: Sequence[str],
    each: bool,
    provides: Sequence[str],
    config: Sequence[str],
    timeout: float,
    repeat: int | None,
    output: Path | None,
    jobs: int | None,
    memory: int | None,
    connect: str | None,
) -> int:
    """Test a kernel tree with and without a patch.

    The report lists what the patch fixed and what it broke.

    The patch is a file, a directory of patches, a mailbox, or commits REV..REV of the tree. Machines are one per page
    size and one with two nodes, or what --on names. Tests are all scenarios; or what --test names, a C file of your own
    (--with), a command (its exit status is the verdict, 125 is none).

    Exit status: as of `lab run`.

    \b
    lab try my.patch --tree ~/linux
    lab try v6.12..my-branch --tree ~/linux --on 'arm64-64k*' --test 'expand.*'
    lab try my.patch --tree ~/linux --with ./mytest.c
    lab try series/ --tree ~/linux --each -- sh -c 'grep -q thing /proc/vmstat'
    """
    from lab.host import estimate
    from lab.run.campaign import CampaignRequest, Typed, open_run
    from lab.workflows import try_patch

    cache, library = open_cache(), open_library()
    library.select_topologies(machines)  # only for its error: a wrong name is reported before the patch is read
    typed = Typed(
        words=[
            *("lab", "try", patch, *(["--each"] if each else [])),
            *_options(tree=[tree], provides=provides, config=config, timeout=[timeout], **{"with": programs}),
        ],
        on="--on",
        machines=machines,
        tests=tests,
        rest=["--", *command] if command else [],
    )
    wish = try_patch.Wish(
        topologies=[absolute_word(word) for word in machines] or _usual_machines(library),
        scenarios=try_patch.scenarios(tests, programs),
        provides=provides,
        each=each,
        command=command,
        timeout_s=timeout,
    )
    change = try_patch.read([patch], user_path(tree))
    own = (*programs, *map(str, try_patch.command_file(wish, cache)))
    filters = filters_of(tests=wish.tests, config=config, programs=own)
    wanted = CampaignRequest(campaign=str(try_patch.prepare(change, wish, cache)), filters=filters, repeat=repeat or 1)
    given = estimate.packing(cache, jobs=jobs, memory=memory)
    summary = finish(open_run(wanted, library, cache, given, output, typed=typed), given, connect)
    if features := try_patch.unprovided(summary):
        meant = " ".join(f"--provides {feature}" for feature in features)
        print_note(f"note: cases that require {', '.join(features)} pass with the patch: add {meant} to expect that")
    return summary.exit_code


def _options(**given: Sequence[object]) -> list[str]:
    """Options as they are typed; those that have their default are left away."""
    return [
        str(word)
        for name, values in given.items()
        for value in values
        if value not in (Path(), DEFAULT_TIMEOUT_S)
        for word in (f"--{name.replace('_', '-')}", value)
    ]


def _usual_machines(library: Library) -> list[str]:
    """One machine per page size and one with two nodes; what this host lacks is told."""
    from lab.host import doctor
    from lab.specs import environment
    from lab.workflows import try_patch

    names, left = try_patch.default_machines(library, environment.arches(), doctor.lacking)
    for line in left:
        print_note(f"not run on {line}")
    return names


@click.command()
@COMMAND
@TREE
@click.option("--good", required=True, metavar="REV", help="Begin at this commit, where the tests pass.")
@click.option("--bad", required=True, metavar="REV", help="End at this later commit, where they do not.")
@options.topology
@options.tests
@options.programs
@options.config
@TIMEOUT
@click.option(
    "--no-boot",
    type=click.Choice(["bad", "good", "skip"]),
    help="Judge a commit whose kernel does not boot as bad, good or skip [skip; bad if no test is given].",
)
@options.output("results/TIME-bisect")
@options.packed
@options.connect
def bisect(command: Sequence[str], *, tree: Path, good: str, bad: str, **parameters: Any) -> int:
    """Find the commit that made a case fail.

    Runs git's bisection over kernels that are built, booted and tested.

    Both ends are judged first. A case that fails, crashes or hangs is bad; one that is skipped, or a kernel that does
    not build, lets git skip the commit, and so does a command's exit status 125. Without --test, --with and a command
    booting is what is asked. The tree is only read.

    Exit status: 0 found, 1 only narrowed down, 2 the lab failed, 64 bad input.

    \b
    lab bisect --tree ~/linux --good v6.11 --bad v6.12 -t arm64-64k --test expand.a01_grow_touch
    lab bisect --good HEAD~20 --bad HEAD -t x86_64-4k --with ./mytest.c
    lab bisect --good HEAD~20 --bad HEAD -t x86_64-4k -- grep -qx 0 /proc/sys/kernel/tainted
    """
    from lab.host import programs
    from lab.workflows import bisect as bisection

    programs.require("lab bisect")
    typed = _bisect_typed(tree, command, good, bad, **parameters)
    tree = user_path(tree)
    judge = _judge(tree, command, typed, **parameters)
    with open_cache().scratch("bisect") as scratch:
        found = bisection.bisect(tree, good, bad, scratch, judge)
    print(found.log)
    if not found.exactly:
        print("The first bad commit is one of these; what is between them could not be judged:")
    for commit in found.commits:
        print(("first bad commit: " if found.exactly else "  ") + bisection.title(tree, commit))
    return 0 if found.exactly else 1


def _bisect_typed(
    tree: Path,
    command: Sequence[str],
    good: str,
    bad: str,
    *,
    topology: str,
    tests: Sequence[str],
    programs: Sequence[str],
    config: Sequence[str],
    timeout: float,
    no_boot: str | None,
    **_: object,
) -> Typed:
    """The bisection as it was typed, for the reports of its steps."""
    from lab.run.campaign import Typed

    words = _options(
        tree=[tree],
        good=[good],
        bad=[bad],
        topology=[topology],
        test=tests,
        config=config,
        timeout=[timeout],
        no_boot=[no_boot] if no_boot else [],
        **{"with": programs},
    )
    return Typed(words=["lab", "bisect", *words], rest=["--", *command] if command else [])


def _judge(
    tree: Path,
    command: Sequence[str],
    typed: Typed,
    *,
    topology: str,
    tests: Sequence[str],
    programs: Sequence[str],
    config: Sequence[str],
    timeout: float,
    no_boot: str | None,
    output: Path | None,
    jobs: int | None,
    memory: int | None,
    connect: str | None,
) -> CommitJudge:
    """What judges a commit: a run of its kernel, in a directory of its own."""
    from lab.host import estimate
    from lab.run.campaign import open_plan
    from lab.workflows import bisect as bisection
    from lab.workflows import try_patch
    from lab.workflows.bisect import CommitVerdict

    cache = open_cache()
    asked = bool(tests or programs or command)
    wish = try_patch.Wish(
        topologies=[topology],
        scenarios=try_patch.scenarios(tests, programs),
        command=command if asked else ["true"],
        timeout_s=timeout,
    )
    library = open_library().with_programs([*programs, *map(str, try_patch.command_file(wish, cache))])
    given = estimate.packing(cache, jobs=jobs, memory=memory)
    boots_badly = CommitVerdict(no_boot or ("skip" if asked else "bad"))
    place = output or _new_results()

    def judge(commit: str) -> JudgedCommit:
        kernel = library.with_config(bisection.kernel_at(tree, commit), config)
        number = len(list(place.iterdir())) + 1 if place.is_dir() else 1
        plan, cases = bisection.plan_of(library, library.topology(topology), kernel, wish, cache)
        opened = open_plan(plan, cases, place / f"{number:02}-{commit[:12]}", typed=typed)
        summary = _carried_out(opened, given, connect)
        step = bisection.judged(commit, summary, boots_badly=boots_badly)
        print(f"{step.word:<5}{bisection.title(tree, commit)}: {step.why}", flush=True)
        return step

    return judge


def _carried_out(opened: OpenRun, given: Packing, uri: str | None) -> Summary:
    """What a run of one kernel on one machine finds; progress goes to stderr."""
    from lab import report
    from lab.run import campaign
    from lab.verdicts.compare import conclude_directory

    with builds_end_with_us():
        campaign.execute(opened, open_cache(), console=console(stderr=True), packing=given, uri=uri)
    summary = conclude_directory(opened.path)
    report.write(opened.path, summary)
    return summary


def _new_results() -> Path:
    from datetime import UTC, datetime

    from lab.run.campaign import RESULTS

    return RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-bisect"
