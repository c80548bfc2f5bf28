# SPDX-License-Identifier: GPL-2.0-or-later
"""The options that several verbs share, each defined once, and the groups in which verbs take them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import wraps
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from lab.verbs import completing

if TYPE_CHECKING:
    from lab.cluster.session import ClusterChoice
    from lab.specs.plan import Filters

BASELINE = "baseline"
Command = TypeVar("Command", bound=Callable[..., Any])


MIN_MEMORY = 16 << 20
"""Bytes in which no guest of the lab runs."""


def parse_size_option(_context: click.Context, _option: click.Parameter, value: str | None) -> int | None:
    """Return the bytes of a size such as 8G; a callback of click's, None if the option was not given."""
    from lab.specs.model import parse_size

    if value is None:
        return None
    try:
        return parse_size(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def parse_memory_option(context: click.Context, option: click.Parameter, value: str | None) -> int | None:
    """Return the bytes of a size that memory can have, as parse_size_option: `8` is hardly meant as bytes."""
    size = parse_size_option(context, option, value)
    if size is not None and size < MIN_MEMORY:
        raise click.BadParameter(f"expected at least {MIN_MEMORY >> 20}M, such as 2G, got {value!r}")
    return size


class NumberRange(click.FloatRange):
    """A number within limits. Those of click do not keep `nan` out, and nothing waits for an infinite time."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number; click.BadParameter for anything else."""
        number = super().convert(value, param, ctx)
        if not isfinite(number):
            self.fail(f"{value!r} is no number that can be reached.", param, ctx)
        return number


class TimeRange(NumberRange):
    """How long something may take, in seconds; MAX_DAYS is more than any program may, and less than a timer takes."""

    MAX_DAYS = 100

    def __init__(self) -> None:
        super().__init__(0.1, self.MAX_DAYS * 86400)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the seconds; click.BadParameter with the limits for anything else."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            limits = f"at least {self.min}, at most {self.max} ({self.MAX_DAYS} days)"
            self.fail(f"expected seconds, {limits}, got {value!r}", param, ctx)


# Options, by what they choose. Those with a short name are functions, since verbs differ in whether they repeat.


def refuse_unknown_option(context: click.Context, _argument: click.Parameter, value: Any) -> Any:
    """Return a program's words; NoSuchOption if the first is an option, which the verb then does not have.

    The verbs that run a program leave all options that they do not know to it, so click reports none.
    """
    words = [value] if isinstance(value, str) else value
    first = next(iter(words), "")
    if words and not first.strip():
        raise click.BadParameter("the name of a program is empty", ctx=context)
    if first.startswith("-") and first != "-":
        known = [name for parameter in context.command.params for name in parameter.opts]
        raise click.NoSuchOption(first, possibilities=get_close_matches(first, known), ctx=context)
    return value


def topology(command: Command) -> Command:
    """Add the option that chooses one machine."""
    return click.option(
        *("--topology", "-t"),
        required=True,
        metavar="T",
        shell_complete=completing.TOPOLOGIES,
        help="Use this machine: a name from `lab list topologies`, or a YAML file.",
    )(command)


def topologies(command: Command) -> Command:
    """Add the option that narrows a campaign to some machines."""
    return click.option(
        *("--topology", "-t", "topologies"),
        multiple=True,
        metavar="T",
        shell_complete=completing.TOPOLOGIES,
        help="Use only this machine: a name, a glob or a YAML file; may be repeated [the campaign's].",
    )(command)


def kernel(command: Command) -> Command:
    """Add the option that chooses one kernel."""
    return click.option(
        *("--kernel", "-k"),
        required=True,
        metavar="K",
        shell_complete=completing.KERNELS,
        help="Boot this kernel: a name from `lab list kernels`, or a YAML file.",
    )(command)


def kernel_or_baseline(command: Command) -> Command:
    """Add the option that chooses one kernel, for verbs that are about a program and not about a kernel."""
    return click.option(
        *("--kernel", "-k"),
        default=BASELINE,
        metavar="K",
        shell_complete=completing.KERNELS,
        help="Boot this kernel: a name from `lab list kernels`, a YAML file, or one that exists already, such as "
        f"debian:linux-image-arm64-16k or image:FILE [{BASELINE}].",
    )(command)


def kernels_or_baseline(command: Command) -> Command:
    """Add the option that chooses kernels for machines of several page sizes."""
    return click.option(
        *("--kernel", "-k", "kernels"),
        multiple=True,
        default=(BASELINE,),
        metavar="K",
        shell_complete=completing.KERNELS,
        help="Boot this kernel, as exec does; may be repeated: each machine boots the first that has pages of its size "
        f"[{BASELINE}].",
    )(command)


def sysroot(command: Command) -> Command:
    """Add the option that names a directory with libraries for the guest."""
    return click.option(
        "--sysroot",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Take loader and libraries of a program from DIR, which is laid out like the guest's /, and from nowhere "
        "else [this host's libraries for the architecture].",
    )(command)


def root(command: Command) -> Command:
    """Add the option that names what programs of a guest have as `/`."""
    return click.option(
        *("--root", "root_"),
        metavar="ROOT",
        help="Run the program in this root: debian:SUITE+PACKAGE+..., a directory, a tar, or an OCI or docker image "
        "[the guest's small userland].",
    )(command)


def _environment(_context: click.Context, _option: click.Parameter, values: Sequence[str]) -> Sequence[str]:
    """Return the words of --env; BadParameter for one that sets nothing."""
    for value in values:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*=.*", value, re.DOTALL):
            raise click.BadParameter(f"expected NAME=VALUE, got {value!r}")
    return values


def environment(command: Command) -> Command:
    """Add the option that sets variables of a program's environment in the guest."""
    return click.option(
        *("--env", "-e", "environment"),
        multiple=True,
        callback=_environment,
        metavar="NAME=VALUE",
        help="Set a variable in the program's environment, which has nothing of this host's; may be repeated [none].",
    )(command)


def volumes(command: Command) -> Command:
    """Add the option that copies files to a guest."""
    return click.option(
        *("--volume", "-v", "volumes"),
        multiple=True,
        metavar="HOST:/GUEST",
        help="Copy a file or directory of this host to the guest; nothing is shared; may be repeated [none].",
    )(command)


def kernels(command: Command) -> Command:
    """Add the option that narrows a campaign to some kernels."""
    return click.option(
        *("--kernel", "-k", "kernels"),
        multiple=True,
        metavar="K",
        shell_complete=completing.KERNELS,
        help="Use only this kernel: a name, a glob or a YAML file; may be repeated [the campaign's].",
    )(command)


def tests(command: Command) -> Command:
    """Add the option that chooses scenarios and cases."""
    return click.option(
        *("--test", "tests"),
        multiple=True,
        metavar="GLOB",
        shell_complete=completing.SCENARIOS,
        help="Run only the scenarios, or the cases SCENARIO.CASE, that match; may be repeated [all].",
    )(command)


def config(command: Command) -> Command:
    """Add the option that adds to the configuration of kernels."""
    return click.option(
        "--config",
        multiple=True,
        metavar="PRESET",
        shell_complete=completing.CONFIGS,
        help="Add a preset, such as kasan, or a FILE.config to the configuration of every kernel; "
        "may be repeated [none].",
    )(command)


def programs(command: Command) -> Command:
    """Add the option that names scenarios of the user's own."""
    return click.option(
        *("--with", "programs"),
        multiple=True,
        metavar="FILE.c",
        type=click.Path(),
        help="Compile this scenario of yours for every machine and run it; may be repeated [none].",
    )(command)


def suites(command: Command) -> Command:
    """Add the option that names suites of tests from elsewhere."""
    return click.option(
        *("--suite", "suites"),
        multiple=True,
        metavar="SUITE",
        help="Run this suite in place of the scenarios: kselftest-COLLECTION, vma, kunit:GLOB or "
        "ltp:PATH[:FILTER]; may be repeated [none].",
    )(command)


def reports(command: Command) -> Command:
    """Add the option that names reports to reproduce."""
    return click.option(
        *("--report", "reports"),
        multiple=True,
        metavar="REPORT",
        shell_complete=completing.REPORTS,
        help="Reproduce only this report: a name, a glob or a YAML file; may be repeated [the campaign's].",
    )(command)


def repeat(command: Command) -> Command:
    """Add the option that repeats cells."""
    return click.option(
        "--repeat",
        type=click.IntRange(1, 10_000),
        metavar="N",
        help="Run every cell N times, each time in a guest of its own [1].",
    )(command)


def coverage(command: Command) -> Command:
    """Add the option that counts which lines of a patch run."""
    return click.option(
        "--coverage",
        is_flag=True,
        help="Run patched kernels once more with gcov, and list which lines of their patches ran [do not count].",
    )(command)


def provides(command: Command) -> Command:
    """Add the option that names what a patch adds."""
    return click.option(
        "--provides",
        multiple=True,
        metavar="FEATURE",
        help="Expect the patch to add FEATURE: cases that require it must fail without the patch; "
        "may be repeated [none].",
    )(command)


def resume(command: Command) -> Command:
    """Add the option that goes on in a directory."""
    return click.option(
        "--resume",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Continue the stopped run in DIR [start a new run].",
    )(command)


def confirm(times: int) -> Callable[[Command], Command]:
    """Return the option that says how often a change between kernels is seen again before it is reported."""
    return click.option(
        "--confirm",
        type=click.IntRange(0, 100),
        default=times,
        metavar="N",
        help=f"Run what seems fixed or regressed N times more on both kernels; FLAKY if the runs disagree [{times}].",
    )


def fresh(command: Command) -> Command:
    """Add the option that starts a guest for the baseline, too."""
    return click.option(
        "--fresh",
        is_flag=True,
        help="Run kernels without a series again [take the evidence of an earlier run if nothing has changed].",
    )(command)


def cold(command: Command) -> Command:
    """Add the option that boots every guest."""
    return click.option(
        "--cold",
        is_flag=True,
        help="Boot every guest [restore one that was verified and saved earlier, if nothing has changed].",
    )(command)


def output(default: str) -> Callable[[Command], Command]:
    """Return the option that names the directory of a run; `default` is shown."""
    return click.option(
        *("--output", "-o"),
        type=click.Path(path_type=Path),
        metavar="DIR",
        help=f"Write the run to this directory [{default}].",
    )


def connect(command: Command) -> Command:
    """Add the option that names a libvirt connection."""
    return click.option(
        "--connect",
        metavar="URI",
        help="Use this libvirt connection, such as qemu:///system [the embedded driver, which needs no daemon].",
    )(command)


def jobs(command: Command) -> Command:
    """Add the option that limits how many guests run at once."""
    return click.option(
        *("--jobs", "-j"),
        type=click.IntRange(1, 64),
        metavar="N",
        help="Run at most N guests at once [as many as CPUs and memory allow].",
    )(command)


def memory(command: Command) -> Command:
    """Add the option that limits the memory of all that runs at once."""
    return click.option(
        "--memory",
        callback=parse_memory_option,
        metavar="SIZE",
        help="Give guests and compilers at most SIZE bytes in all, such as 8G [the memory available].",
    )(command)


# Groups of them.


def elsewhere(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that name a cluster; the verb gets them as `cluster`, None if guests run on this computer."""

    @wraps(command)
    def placed(hosts: Path | None, cluster: str | None, certs: str | None, **others: Any) -> Any:
        return command(cluster=cluster_choice(hosts, cluster, certs), **others)

    for option in (CERTS, CLUSTER, HOSTS):
        placed = option(placed)
    return placed


def cluster_choice(hosts: Path | None, address: str | None, certs: str | None) -> ClusterChoice | None:
    """Return the cluster that a command line names; None if it names none."""
    if not hosts and not address:
        return None
    if hosts and address:
        raise click.UsageError("--hosts and --cluster each name a cluster: give one of them")
    from lab.cluster.session import ClusterChoice
    from lab.specs import settings

    store = settings.load().settings.cache_remote
    return ClusterChoice(hosts=hosts, address=address or "", certs=certs or "", store=store)


HOSTS = click.option(
    "--hosts",
    type=click.Path(path_type=Path),
    metavar="FILE.yaml",
    help="Run guests and builds on the hosts of this file, and start a worker on each [this computer].",
)
CLUSTER = click.option(
    "--cluster",
    metavar="tls://HOST:PORT",
    help="Run guests and builds on the workers of this Dask scheduler [this computer].",
)
CERTS = click.option(
    "--certs",
    metavar="DIR",
    help="Use the certificate in DIR, from `lab cluster certs` [~/.config/pagelab/certs].",
)


def packed(command: Command) -> Command:
    """Add the options that limit what runs at once."""
    return jobs(memory(command))


def filtered(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that narrow a campaign or add to it; the verb gets them as `filters`."""

    @wraps(command)
    def narrowed(
        topologies: Sequence[str],
        kernels: Sequence[str],
        tests: Sequence[str],
        config: Sequence[str],
        programs: Sequence[str],
        suites: Sequence[str],
        reports: Sequence[str],
        root_: str | None,
        **others: Any,
    ) -> Any:
        filters = filters_of(topologies, kernels, tests, config, programs, suites, reports, root=root_)
        return command(filters=filters, **others)

    return topologies(kernels(tests(config(programs(suites(reports(root(narrowed))))))))


def filters_of(
    topologies: Sequence[str] = (),
    kernels: Sequence[str] = (),
    tests: Sequence[str] = (),
    config: Sequence[str] = (),
    programs: Sequence[str] = (),
    suites: Sequence[str] = (),
    reports: Sequence[str] = (),
    *,
    root: str | None = None,
) -> Filters:
    """Return the filters that a command line, and ARCH in the environment, put on a campaign."""
    from lab.specs import environment
    from lab.specs.plan import Filters

    return Filters(
        topologies=tuple(topologies),
        kernels=tuple(kernels),
        tests=tuple(tests),
        config=tuple(config),
        programs=tuple(programs),
        suites=tuple(suites),
        reports=tuple(reports),
        arches=environment.arches(),
        roots=(root,) if root else (),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestChoice:
    """The one guest that a command line chooses, by the names that were typed."""

    topology: str
    kernel: str
    config: Sequence[str]
    connect: str | None
    cold: bool = True
    """Boot the guest even if the cache has a saved one."""


def on_guest(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose one guest; the verb gets them as `choice`."""
    return topology(kernel(config(connect(_with_choice(command)))))


def on_guest_of_baseline(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the same options with a kernel that need not be chosen."""
    return topology(kernel_or_baseline(config(connect(_with_choice(command)))))


def restored(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --cold to a verb that takes one guest as `choice`; without the option its guest may be a restored one."""

    @wraps(command)
    def chosen(choice: GuestChoice, *, cold: bool, **others: Any) -> Any:
        return command(choice=replace(choice, cold=cold), **others)

    return cold(chosen)


def _with_choice(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return the verb with its four options as one argument."""

    @wraps(command)
    def chosen(topology: str, kernel: str, config: Sequence[str], connect: str | None, **others: Any) -> Any:
        choice = GuestChoice(topology=topology, kernel=kernel, config=config, connect=connect)
        return command(choice=choice, **others)

    return chosen
