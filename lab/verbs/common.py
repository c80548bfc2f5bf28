# SPDX-License-Identifier: GPL-2.0-or-later
"""What several verbs share: options, where text goes, the library and the cache, one guest."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lab.core.errors import LabError, UsageError
from lab.verbs.completing import named
from lab.verbs.places import open_cache, open_library

if TYPE_CHECKING:
    from rich.console import Console

    from lab.guests.factory import BootableCell, GuestFactory
    from lab.specs.plan import Filters
    from lab.verdicts.compare import Summary

EXIT_INTERRUPTED = 130
Command = TypeVar("Command", bound=Callable[..., Any])


def console(*, stderr: bool = False) -> Console:
    """Where text goes. Plain without a terminal; rich honours NO_COLOR by itself."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=True)


def show(summary: Summary, out: Console) -> None:
    """The text report: as wide as the terminal and in its colours, or as it is in report.txt."""
    from lab import report
    from lab.run.screen import painted

    if out.is_terminal:
        out.print(painted(report.for_terminal(summary, out.width)), end="")
    else:
        out.print(report.render(summary, "text"), markup=False, end="")


def say_error(error: LabError) -> None:
    """One line (a compiler's own words may follow), and what to do about it. Others' words in it cannot do anything."""
    from lab.core.untrusted import printable

    print(f"lab: {printable(str(error))}", file=sys.stderr)


def size(_context: click.Context, _option: click.Parameter, value: str | None) -> int | None:
    """A size such as 8G, in bytes."""
    from lab.specs.model import parse_size

    try:
        return None if value is None else parse_size(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def configured(command: Command) -> Command:
    """The option that adds to the configuration of kernels."""
    return click.option(
        "--config",
        multiple=True,
        metavar="PRESET",
        shell_complete=named("configs"),
        help="Into every kernel: kasan, FILE.config, ...",
    )(command)


def filtered(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that narrow a campaign, or add to it; the same everywhere. The verb gets them as `filters`."""

    @wraps(command)
    def narrowed(
        topologies: Sequence[str],
        kernels: Sequence[str],
        tests: Sequence[str],
        config: Sequence[str],
        programs: Sequence[str],
        suites: Sequence[str],
        **others: Any,
    ) -> Any:
        return command(filters=filters_of(topologies, kernels, tests, config, programs, suites), **others)

    for option in (
        click.option(
            *("--suite", "suites"),
            multiple=True,
            metavar="SUITE",
            help="Instead of the scenarios: kselftest-mm, ltp:PATH, ...",
        ),
        with_programs,
        configured,
        tested,
        click.option(
            *("--kernel", "-k", "kernels"),
            multiple=True,
            metavar="K",
            shell_complete=named("kernels"),
            help="Only these kernels (or a file).",
        ),
        click.option(
            *("--topology", "-t", "topologies"),
            multiple=True,
            metavar="T",
            shell_complete=named("topologies"),
            help="Only these machines.",
        ),
    ):
        narrowed = option(narrowed)
    return narrowed


def tested(command: Command) -> Command:
    """The option that chooses scenarios and cases."""
    return click.option(
        *("--test", "tests"),
        multiple=True,
        metavar="GLOB",
        shell_complete=named("scenarios"),
        help="Only these scenarios or scenario.case.",
    )(command)


def with_programs(command: Command) -> Command:
    """The option that adds scenarios of the user's."""
    return click.option(
        *("--with", "programs"),
        multiple=True,
        metavar="FILE.c",
        type=click.Path(),
        help="A scenario of your own besides, compiled for every machine.",
    )(command)


def packed(command: Command) -> Command:
    """The options that say what may run at once."""
    for option in (
        click.option("--memory", callback=size, metavar="SIZE", help="For guests and compilers [what is available]."),
        click.option("--jobs", "-j", type=click.IntRange(1, 64), help="Guests at once [as CPUs and memory allow]."),
    ):
        command = option(command)
    return command


def connected(command: Command) -> Command:
    """The option that names a libvirt."""
    return click.option("--connect", metavar="URI", help="libvirt connection instead of the embedded driver.")(command)


def filters_of(
    topologies: Sequence[str] = (),
    kernels: Sequence[str] = (),
    tests: Sequence[str] = (),
    config: Sequence[str] = (),
    programs: Sequence[str] = (),
    suites: Sequence[str] = (),
) -> Filters:
    """What the words of a command line, and ARCH in the environment, make of a campaign."""
    from lab.specs import environment
    from lab.specs.plan import Filters

    return Filters(
        topologies=tuple(topologies),
        kernels=tuple(kernels),
        tests=tuple(tests),
        config=tuple(config),
        programs=tuple(programs),
        suites=tuple(suites),
        arches=environment.arches(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The one guest that a command line chooses, in its words."""

    topology: str
    kernel: str
    config: Sequence[str]
    connect: str | None


def on_guest(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that choose one guest, which the verb gets as `wanted`."""

    @wraps(command)
    def chosen(topology: str, kernel: str, config: Sequence[str], connect: str | None, **others: Any) -> Any:
        return command(wanted=Wanted(topology=topology, kernel=kernel, config=config, connect=connect), **others)

    for option in (
        configured,
        connected,
        click.option(
            *("--kernel", "-k"),
            required=True,
            metavar="K",
            shell_complete=named("kernels"),
            help="Name or YAML file.",
        ),
        click.option(
            *("--topology", "-t"),
            required=True,
            metavar="T",
            shell_complete=named("topologies"),
            help="Name or YAML file.",
        ),
    ):
        chosen = option(chosen)
    return chosen


@contextmanager
def builds_end_with_us() -> Iterator[None]:
    """On the way out of an interrupt, end the compilers too."""
    from lab.core import proc

    try:
        yield
    except BaseException:
        proc.abort()
        raise


@contextmanager
def one_guest(wanted: Wanted) -> Iterator[tuple[GuestFactory, BootableCell]]:
    """Everything for one cell, built where it is missing (said on stderr)."""
    from lab import arch
    from lab.build.builder import Builder
    from lab.guests.factory import open_factory

    library = open_library()
    topology = library.topology(wanted.topology)
    kernel = library.with_config(library.kernel(wanted.kernel), wanted.config)
    if why := arch.lacking_preset(topology.architecture, kernel.config):
        raise UsageError(f"{topology.name}/{kernel.name}: {why}")
    with (
        builds_end_with_us(),
        open_factory(Builder(cache=open_cache(), sources=library.scenario_sources), uri=wanted.connect) as factory,
    ):
        yield factory, factory.ready(topology, kernel, tell_on_stderr())


def tell_on_stderr() -> Callable[..., None]:
    """Progress of a build in one line that replaces itself on a terminal; nothing in a pipe."""
    if not sys.stderr.isatty():
        from lab.core.progress import silent

        return silent

    def tell(detail: str, *, done: float | None = None) -> None:
        share = f"{done:4.0%} " if done is not None else ""
        print(f"\r\x1b[Kbuilding {share}{detail[:60]}", end="", file=sys.stderr, flush=True)

    return tell
