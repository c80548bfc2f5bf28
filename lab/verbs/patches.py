# SPDX-License-Identifier: GPL-2.0-or-later
"""Verbs for a patch and a tree: `try` says what the patch does, `bisect` which commit did it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lab.core.errors import UsageError
from lab.core.paths import absolute_word, exists, is_file, user_path
from lab.core.untrusted import printable
from lab.verbs import completing, options
from lab.verbs.common import EXIT_INTERRUPTED, console, print_error, print_note
from lab.verbs.options import filters_of
from lab.verbs.places import open_cache, open_library
from lab.verbs.running import (
    builds_end_with_us,
    cluster_session,
    finish,
    keep_evidence,
    report_coverage,
    resources,
)

if TYPE_CHECKING:
    from lab.cluster.session import ClusterChoice, Session
    from lab.evidence.metadata import CommandRecord
    from lab.host.estimate import Packing
    from lab.run.campaign import OpenRun
    from lab.specs.library import Library
    from lab.verdicts.compare import Summary
    from lab.workflows.bisect import CommitJudge, JudgedCommit
    from lab.workflows.change import Change
    from lab.workflows.try_patch import Wish

TREE = click.option(
    "--tree",
    type=click.Path(path_type=Path),
    default=Path(),
    metavar="DIR",
    help="Use the kernel tree in DIR, which is only read [the current directory].",
)
MACHINES = click.option(
    *("--on", "--topology", "-t", "machines"),
    multiple=True,
    metavar="T",
    shell_complete=completing.TOPOLOGIES,
    help="Run on this machine: a name, a glob or a YAML file; may be repeated [one per page size, one with two nodes].",
)
BASE = click.option(
    "--base",
    default="",
    metavar="REV",
    help="Apply the patch to this commit, or `tree` for the tree as it is "
    "[its base-commit, else by --base-branches, else the tree as it is].",
)
BRANCHES = click.option(
    *("--base-branches", "branches"),
    multiple=True,
    metavar="GLOB",
    help="Apply the patch to the first of these branches and tags that its index lines fit; may be repeated [none].",
)
MIRROR = click.option(
    "--mirror",
    default="",
    metavar="URL|PATH",
    help="Get messages from this public-inbox, Maildir or mbox [https://lore.kernel.org/all].",
)
COMMAND = click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- CMD ARGS...]")
DEFAULT_TIMEOUT_S = 60.0
DEFAULT_CONFIRM = 1
TIMEOUT = click.option(
    "--timeout",
    type=options.TimeRange(),
    default=DEFAULT_TIMEOUT_S,
    metavar="SECONDS",
    help="End CMD after this many seconds, scaled up where the machine is emulated [60].",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchOptions:
    """Which patch is meant and what it is applied to, as it was typed."""

    tree: Path
    base: str
    branches: Sequence[str]
    mirror: str

    def typed(self) -> dict[str, tuple[str, ...]]:
        """Return the options as they are typed."""
        return _options(tree=[self.tree], base=[self.base], base_branches=self.branches, mirror=[self.mirror])

    def look_ahead(self) -> None:
        """Begin to look at the files of a tree that is no repository: it is the base, whatever the patch says."""
        from lab.build import source

        tree = user_path(self.tree)
        if is_file(tree / "Makefile") and not exists(tree / ".git") and not is_file(tree / "HEAD"):
            source.look_ahead(f"path:{tree.absolute()}", open_cache())

    def change(self, word: str) -> Change:
        """Return the change that a word means, once it is known to apply; remarks about it go to stderr."""
        from lab.workflows import change

        tree = user_path(self.tree)
        stdin = b""
        if word == change.STDIN:
            stdin = sys.stdin.buffer.read(change.MAX_INPUT + 1)
        asked = change.Asked(mirror=self.mirror, base=self.base, branches=self.branches, stdin=stdin)
        found = change.read(word, tree, asked)
        self.report(found)
        return found

    def report(self, found: Change) -> None:
        """Print remarks about a change and its base to stderr; DoesNotApply if it does not apply."""
        from lab.workflows import change

        for note in found.series.notes:
            print_note(f"note: {printable(note)}")
        if found.why:
            print_note(f"base: {printable(found.base)}: {printable(found.why)}")
        change.check(found, user_path(self.tree))


def patch_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which patch is meant and what it is applied to; the verb gets them as `chosen`."""

    @wraps(command)
    def decorated(tree: Path, base: str, branches: Sequence[str], mirror: str, **others: Any) -> Any:
        return command(chosen=PatchOptions(tree=tree, base=base, branches=branches, mirror=mirror), **others)

    for option in (MIRROR, BRANCHES, BASE, TREE):
        decorated = option(decorated)
    return decorated


@click.command("try")
@click.argument("patch", metavar="PATCH|MSGID|URL|REV..REV|uncommitted|-", type=click.Path())
@COMMAND
@patch_options
@MACHINES
@options.tests
@options.programs
@options.suites
@options.root
@click.option("--each", is_flag=True, help="Build a kernel for every patch of the series, with all patches before it.")
@options.provides
@options.config
@TIMEOUT
@options.repeat
@options.confirm(DEFAULT_CONFIRM)
@options.coverage
@options.fresh
@options.cold
@click.option(
    "--watch", is_flag=True, help="Try again whenever the patch, the tree or a program changes; Ctrl-C ends it."
)
@options.output("results/TIME-try")
@options.packed
@options.connect
@options.elsewhere
def try_(patch: str, command: Sequence[str], *, chosen: PatchOptions, watch: bool, **given: Any) -> int:
    """Test a kernel tree with and without a patch.

    The report lists what the patch fixed and what it broke.

    The patch is a file, a directory of patches, a mailbox, `-` for standard input, a message id or URL of a public
    archive (see --mirror), commits REV..REV of the tree, or `uncommitted` for what `git diff HEAD` prints there. Of a
    mailbox the newest complete version is taken. It is applied to the commit that the series names (base-commit), else
    to the first of --base-branches that its index lines fit, else to the tree as it is.

    Machines are one per page size and one with two nodes, or what --on names. Tests are all scenarios; or what --test
    names, a C file of your own (--with), a command (its exit status is the verdict, 125 is none), or a suite (--suite).
    What seems fixed or regressed runs once more on both kernels before it is called so (--confirm). What the tree
    without the patch does comes from an earlier run if machine, kernel, programs and emulator are the same (--fresh).

    `git rebase -x 'lab try HEAD^..HEAD --tree .' main` tries every commit of a branch.

    Exit status: as of `lab run`.

    \b
    lab try my.patch --tree ~/linux
    lab try 20261128101500.1234-1-somebody@example.org --tree ~/linux --mirror ~/Mail/linux-mm
    lab try v6.12..my-branch --tree ~/linux --on 'arm64-64k*' --test 'expand.*'
    lab try uncommitted --tree ~/linux --on x86_64-4k-2node --test expand --watch
    lab try my.patch --tree ~/linux --with ./mytest.c
    lab try my.patch --tree ~/linux --coverage
    lab try my.patch --tree ~/linux --suite kselftest-mm --on x86_64-4k
    lab try series/ --tree ~/linux --each -- sh -c 'grep -q thing /proc/vmstat'
    """
    from lab.build import source

    asked = TryOptions(patch=patch, command=command, chosen=chosen, **given)
    if watch:
        return _try_again_and_again(asked)
    with source.held():
        chosen.look_ahead()
        summary = asked.run(chosen.change(patch))
    from lab.workflows import try_patch

    if features := try_patch.unprovided(summary):
        meant = " ".join(f"--provides {feature}" for feature in features)
        print_note(f"note: cases that require {', '.join(features)} pass with the patch: add {meant} to expect that")
    return summary.exit_code


def _try_again_and_again(asked: TryOptions) -> int:
    """Try a change and try it again when it changes, print what turned, and end with the last exit status."""
    from lab.workflows import watch

    if asked.output:
        raise UsageError("--watch writes every run to a directory of its own: omit -o")
    files = [path for path in map(user_path, (asked.patch, *asked.programs)) if exists(path)]
    before: watch.Attempt | None = None
    attempts = watch.attempts(
        read=lambda: asked.chosen.change(asked.patch),
        programs=[path for path in files if path.is_file()],
        run=asked.run,
        report=print_error,
        events=watch.changes([user_path(asked.chosen.tree), *files]),
    )
    try:
        for now in attempts:
            for line in watch.turned(before, now) if before else ():
                print_note(line)
            print_note("waiting for the next change; Ctrl-C ends")
            before = now
    except KeyboardInterrupt:
        print_note("ended")
    return before.exit_code if before else EXIT_INTERRUPTED


@dataclass(frozen=True, slots=True, kw_only=True)
class TryOptions:
    """What is to be run with a patch, as it was typed."""

    patch: str
    command: Sequence[str] = ()
    chosen: PatchOptions
    machines: Sequence[str] = ()
    tests: Sequence[str] = ()
    programs: Sequence[str] = ()
    suites: Sequence[str] = ()
    root_: str | None = None
    each: bool = False
    provides: Sequence[str] = ()
    config: Sequence[str] = ()
    timeout: float = DEFAULT_TIMEOUT_S
    repeat: int | None = None
    confirm: int = DEFAULT_CONFIRM
    coverage: bool = False
    fresh: bool = False
    cold: bool = False
    output: Path | None = None
    jobs: int | None = None
    memory: int | None = None
    connect: str | None = None
    cluster: ClusterChoice | None = None

    def run(self, change: Change) -> Summary:
        """Run the campaign that tries a change, and report on it."""
        from lab.build import source

        with source.held():
            source.look_ahead(change.base, open_cache())  # while the rest of the lab is loaded
            return self._run(change)

    def _run(self, change: Change) -> Summary:
        from lab.build.edits import ahead
        from lab.host import programs
        from lab.run.campaign import CampaignRequest, open_run
        from lab.workflows import try_patch

        cache, library = open_cache(), open_library()
        library.select_topologies(self.machines)  # UsageError for a name that is none, before anything is made
        wish = self.wish(library)
        programs.require_suites(self.suites)
        own = (*self.programs, *map(str, try_patch.command_file(wish, cache)))
        filters = filters_of(tests=wish.tests, config=self.config, programs=own, suites=self.suites, root=self.root_)
        campaign = str(try_patch.prepare(change, wish, cache))
        wanted = CampaignRequest(campaign=campaign, filters=filters, repeat=self.repeat or 1)
        local = {"jobs": self.jobs, "memory": self.memory, "connect": self.connect, "root": self.root_}
        with cluster_session(self.cluster, **local) as session:
            packing = resources(session, self.jobs, self.memory)
            if session is None:
                ahead.begin(wanted.plan(library, packing), cache)
            opened = open_run(wanted, library, cache, packing, self.output, command=self.recorded())
            opened = replace(opened, cold=self.cold)
            summary = finish(opened, packing, self.connect, confirm=self.confirm, elsewhere=session)
            if self.coverage:
                report_coverage(opened, packing, self.connect, session)
        return summary

    def wish(self, library: Library) -> Wish:
        from lab.workflows import try_patch

        if self.suites and self.command:
            raise UsageError("--suite is run in place of scenarios, so a command adds nothing", hint="run them apart")
        return try_patch.Wish(
            topologies=[absolute_word(word) for word in self.machines] or _usual_machines(library, self.suites),
            scenarios=try_patch.scenarios(self.tests, self.programs),
            provides=self.provides,
            each=self.each,
            fresh=self.fresh,
            command=self.command,
            timeout_s=self.timeout,
        )

    def recorded(self) -> CommandRecord:
        """Return the command as it was typed, for metadata.json."""
        from lab.evidence.metadata import CommandRecord
        from lab.specs import environment

        options = _options(
            provides=self.provides,
            config=self.config,
            timeout=[self.timeout],
            suite=self.suites,
            **{"with": self.programs},
            confirm=_without_default(self.confirm),
            repeat=[self.repeat],
            on=self.machines,
            test=self.tests,
            root=[self.root_],
        )
        return CommandRecord(
            verb="try",
            arguments=(self.patch,),
            options={**_flags(each=self.each), **self.chosen.typed(), **options},
            program=tuple(self.command),
            arches=environment.arches(),
        )


def _options(**given: Sequence[object]) -> dict[str, tuple[str, ...]]:
    """Return options as they are typed, with their values; those that have their default are omitted."""
    options = {}
    for name, values in given.items():
        words = tuple(str(value) for value in values if value not in (Path(), DEFAULT_TIMEOUT_S, "", None))
        if words:
            options[f"--{name.replace('_', '-')}"] = words
    return options


def _flags(**given: bool) -> dict[str, tuple[str, ...]]:
    """Return the flags that were given, as they are typed."""
    return {f"--{name}": () for name, value in given.items() if value}


def _without_default(confirm: int) -> list[int]:
    """Return the value of --confirm; nothing for its default."""
    return [] if confirm == DEFAULT_CONFIRM else [confirm]


def _usual_machines(library: Library, suites: Sequence[str]) -> list[str]:
    """Return one machine per page size and one with two nodes, or for suites those of their campaign.

    Machines that this host cannot run are reported.
    """
    from lab.host import doctor
    from lab.specs import environment
    from lab.workflows import try_patch

    choose = try_patch.suite_machines if suites else try_patch.default_machines
    names, left = choose(library, environment.arches(), doctor.lacking_for)
    for line in left:
        print_note(f"not run on {line}")
    return names


@click.command()
@COMMAND
@TREE
@click.option(
    "--good", required=True, metavar="REV", help="Begin at this commit, where the tests pass; end there with --fixed."
)
@click.option(
    "--bad", required=True, metavar="REV", help="End at this later commit, where they do not; begin with --fixed."
)
@click.option("--fixed", is_flag=True, help="Find the commit that mended a case, not the one that broke it.")
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
@options.confirm(DEFAULT_CONFIRM)
@options.fresh
@options.output("results/TIME-bisect")
@options.packed
@options.connect
@options.elsewhere
def bisect(**given: Any) -> int:
    """Find the commit that made a case fail, or mended it.

    Runs git's bisection over kernels that are built, booted and tested.

    With --fixed it finds the commit that mended a case: --bad is the earlier end then, --good the later one.

    Both ends are judged first, and every commit runs in 1 + N guests (--confirm N); one whose runs disagree is
    skipped. A case that fails, crashes or hangs is bad; one that is skipped, or a kernel that does
    not build, lets git skip the commit, and so does a command's exit status 125. Without --test, --with and a command
    booting is what is asked. The tree is only read.

    Exit status: 0 found, 1 only narrowed down, 2 the lab failed, 64 bad input.

    \b
    lab bisect --tree ~/linux --good v6.11 --bad v6.12 -t arm64-64k --test expand.a01_grow_touch
    lab bisect --good HEAD~20 --bad HEAD -t x86_64-4k --with ./mytest.c
    lab bisect --fixed --bad v6.12 --good v6.13 -t x86_64-4k --with ./reproducer.c
    lab bisect --good HEAD~20 --bad HEAD -t x86_64-4k --test expand --hosts hosts.yaml
    lab bisect --good HEAD~20 --bad HEAD -t x86_64-4k -- grep -qx 0 /proc/sys/kernel/tainted
    """
    from lab.workflows import bisect as bisection

    asked = BisectOptions(**given)
    tree = user_path(asked.tree)
    local = {"jobs": asked.jobs, "memory": asked.memory, "connect": asked.connect}
    with cluster_session(asked.cluster, **local) as session, open_cache().scratch("bisect") as scratch:
        judge = asked.judge(session)
        result = bisection.bisect(tree, asked.good, asked.bad, scratch, judge, fixed=asked.fixed)
    print(result.log)
    wanted = "commit that fixed it" if asked.fixed else "first bad commit"
    if not result.exactly:
        print(f"The {wanted} is one of these; what is between them could not be judged:")
    for commit in result.commits:
        print((f"{wanted}: " if result.exactly else "  ") + bisection.title(tree, commit))
    return 0 if result.exactly else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class BisectOptions:
    """What is bisected and how a commit is judged, as it was typed."""

    tree: Path
    good: str
    bad: str
    topology: str
    command: Sequence[str] = ()
    fixed: bool = False
    tests: Sequence[str] = ()
    programs: Sequence[str] = ()
    config: Sequence[str] = ()
    timeout: float = DEFAULT_TIMEOUT_S
    no_boot: str | None = None
    confirm: int = DEFAULT_CONFIRM
    fresh: bool = False
    output: Path | None = None
    jobs: int | None = None
    memory: int | None = None
    connect: str | None = None
    cluster: ClusterChoice | None = None

    @property
    def asks(self) -> bool:
        """Whether a test is given, and not only booting is asked."""
        return bool(self.tests or self.programs or self.command)

    def recorded(self) -> CommandRecord:
        """Return the command as it was typed, for the metadata.json of its steps."""
        from lab.evidence.metadata import CommandRecord

        options = _options(
            tree=[self.tree],
            good=[self.good],
            bad=[self.bad],
            topology=[self.topology],
            test=self.tests,
            config=self.config,
            timeout=[self.timeout],
            no_boot=[self.no_boot],
            **{"with": self.programs},
            confirm=_without_default(self.confirm),
        )
        return CommandRecord(
            verb="bisect", options={**_flags(fixed=self.fixed), **options}, program=tuple(self.command)
        )

    def wish(self) -> Wish:
        from lab.workflows import try_patch

        return try_patch.Wish(
            topologies=[self.topology],
            scenarios=try_patch.scenarios(self.tests, self.programs),
            command=self.command if self.asks else ["true"],
            fresh=self.fresh,
            timeout_s=self.timeout,
        )

    def judge(self, session: Session | None) -> CommitJudge:
        """Return what judges a commit: a run of its kernel, in a directory of its own."""
        from lab.run.campaign import open_plan
        from lab.specs.plan import repeated
        from lab.workflows import bisect as bisection
        from lab.workflows import try_patch
        from lab.workflows.bisect import CommitVerdict

        cache, wish, tree = open_cache(), self.wish(), user_path(self.tree)
        own = [*self.programs, *map(str, try_patch.command_file(wish, cache))]
        library = open_library().with_programs(own)
        given = resources(session, self.jobs, self.memory)
        boots_badly = CommitVerdict(self.no_boot or ("skip" if self.asks else "bad"))
        place, times = self.output or _new_results(), 1 + self.confirm

        def judge(commit: str) -> JudgedCommit:
            kernel = library.with_config(bisection.kernel_at(tree, commit), self.config)
            number = len(list(place.iterdir())) + 1 if place.is_dir() else 1
            plan, cases = bisection.plan_of(library, library.topology(self.topology), kernel, wish, cache)
            directory = place / f"{number:02}-{commit[:12]}"
            opened = open_plan(repeated(plan, times), cases, directory, command=self.recorded(), repeat=times)
            summary = _carried_out(opened, given, self.connect, session)
            step = bisection.judged(commit, summary, boots_badly=boots_badly)
            print(f"{step.word:<5}{bisection.title(tree, commit)}: {step.why}", flush=True)
            return step

        return judge


def _carried_out(opened: OpenRun, given: Packing, uri: str | None, session: Session | None) -> Summary:
    """What a run of one kernel on one machine finds; progress goes to stderr."""
    from lab.report import registry as report
    from lab.run import campaign
    from lab.verdicts.compare import conclude_directory

    with builds_end_with_us():
        out = console(stderr=True)
        boots = replace(opened, cold=True)  # another kernel for every commit: a saved guest would not be used again
        campaign.execute(boots, open_cache(), console=out, packing=given, uri=uri, elsewhere=session)
    summary = conclude_directory(opened.path)
    if session is None:  # what another host saw says nothing of this one
        keep_evidence(opened, summary, uri)
    report.write(opened.path, summary)
    return summary


def _new_results() -> Path:
    from datetime import UTC, datetime

    from lab.run.campaign import RESULTS

    return RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-bisect"
