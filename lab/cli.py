# SPDX-License-Identifier: GPL-2.0-or-later
"""The command `lab`: verbs, progress, and the one place that catches LabError and picks an exit code.

Each verb imports what it needs when it runs, so that `lab exec` does not wait for reports and `lab list` not for
libvirt.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, TypeVar, cast

import click

from lab import __version__
from lab.errors import LabError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from lab.cache import Cache
    from lab.campaign import OpenRun
    from lab.factory import Factory, Ready
    from lab.library import Library
    from lab.outlook import Packing
    from lab.plan import Filters

EXIT_USAGE = 64
EXIT_LAB_FAILED = 125
"""`lab exec`: the lab's own failure, apart from the program's status (as env(1) and timeout(1) have it)."""
EXIT_INTERRUPTED = 130
EXIT_OUTPUT_FAILED = 2
Command = TypeVar("Command", bound=Callable[..., Any])


def console(*, stderr: bool = False) -> Console:
    """Where text goes. Plain without a terminal; rich honours NO_COLOR by itself."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=True)


def say_error(error: LabError) -> None:
    """One line (a compiler's own words may follow), and what to do about it. Others' words in it cannot do anything."""
    from lab.untrusted import printable

    print(f"lab: {printable(str(error))}", file=sys.stderr)


class Output:
    """stdout that is written to for as long as it takes it: a campaign is not lost because nobody reads on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        self._unless_broken(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._unless_broken(self._stream.flush)

    def _unless_broken(self, act: Callable[[], object]) -> None:
        if self.error is None:
            try:
                act()
            except OSError as error:
                self.error = error
                # What is left in the buffer goes where it does no harm when the interpreter ends.
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def output_that_may_break() -> Iterator[Output]:
    """sys.stdout as an Output."""
    before = sys.stdout
    output = Output(before)
    sys.stdout = cast(TextIO, output)
    try:
        yield output
    finally:
        output.flush()
        sys.stdout = before


class Verbs(click.Group):
    """The group of verbs, with errors sorted into exit codes."""

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        signal.signal(signal.SIGTERM, _terminated)
        signal.signal(signal.SIGHUP, _terminated)
        kwargs["standalone_mode"] = False
        with output_that_may_break() as output:
            status = self._status(*args, **kwargs)
        if output.error and not isinstance(output.error, BrokenPipeError):
            print(f"lab: stdout: {output.error.strerror}", file=sys.stderr)
            status = status or EXIT_OUTPUT_FAILED
        _leave(status)

    def _status(self, *args: Any, **kwargs: Any) -> int:
        """Run a verb; its exit status, or that of the error which ended it."""
        try:
            return super().main(*args, **kwargs) or 0
        except (click.exceptions.Abort, KeyboardInterrupt):
            print("lab: interrupted", file=sys.stderr)
            return EXIT_INTERRUPTED
        except click.ClickException as error:
            error.show()
            return EXIT_USAGE
        except LabError as error:
            say_error(error)
            return error.exit_code
        except BrokenPipeError:  # of what is passed on as bytes
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0


def _leave(status: int) -> NoReturn:
    """End the process. Where libvirt was open, without its good-byes: it waits seconds for guests that are dead."""
    if "lab.vm" in sys.modules:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _terminated(number: int, _frame: object) -> None:
    """SIGTERM and SIGHUP end a run as Ctrl-C does: what was found is kept, nothing is left running."""
    raise KeyboardInterrupt(signal.Signals(number).name)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lab")
def main() -> None:
    """An emulated-hardware kernel lab: a patch, two kernels, many machines, one verdict.

    \b
    lab doctor                       what this host can do, and what to install
    lab plan quick                   what would run; builds nothing
    lab run quick                    build, boot, test, compare
    lab exec -t arm64-64k-2node -k baseline -- ./prog args
    """


def _size(_context: click.Context, _option: click.Parameter, value: str | None) -> int | None:
    """A size such as 8G, in bytes."""
    from lab.model import parse_size

    try:
        return None if value is None else parse_size(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def configured(command: Command) -> Command:
    """The option that adds to the configuration of kernels."""
    return click.option("--config", multiple=True, metavar="PRESET", help="Into every kernel: kasan, FILE.config, ...")(
        command
    )


def filtered(command: Command) -> Command:
    """The options that narrow a campaign, or add to its kernels; the same on plan, build and run."""
    for option in (
        configured,
        click.option(
            "--suite", "suites", multiple=True, metavar="SUITE", help="Run instead: kselftest-mm, ltp:PATH, ..."
        ),
        click.option("--test", "tests", multiple=True, metavar="GLOB", help="Only these scenarios or scenario.case."),
        click.option("--kernel", "-k", "kernels", multiple=True, metavar="K", help="Only these kernels (or a file)."),
        click.option("--topology", "-t", "topologies", multiple=True, metavar="T", help="Only these machines."),
    ):
        command = option(command)
    return command


def on_guest(command: Command) -> Command:
    """The options that choose one cell."""
    for option in (
        configured,
        click.option("--connect", metavar="URI", help="libvirt connection instead of the embedded driver."),
        click.option("--kernel", "-k", "kernel_word", required=True, metavar="K", help="Name or YAML file."),
        click.option("--topology", "-t", "topology_word", required=True, metavar="T", help="Name or YAML file."),
    ):
        command = option(command)
    return command


def _filters(
    topologies: Sequence[str],
    kernels: Sequence[str],
    tests: Sequence[str],
    config: Sequence[str],
    suites: Sequence[str] = (),
) -> Filters:
    from lab.plan import Filters

    return Filters(
        topologies=tuple(topologies),
        kernels=tuple(kernels),
        tests=tuple(tests),
        config=tuple(config),
        suites=tuple(suites),
    )


def _library() -> Library:
    from lab.library import Library

    return Library.shipped()


def _cache() -> Cache:
    from lab.cache import Cache, default_root

    return Cache(default_root())


@main.command()
@click.argument("campaign", default="quick")
@click.option("--install", is_flag=True, help="Install the packages that the campaign's machines need (apt).")
def doctor(campaign: str, install: bool) -> int:
    """What this host can do, what is missing, and the command that fixes it.

    \b
    lab doctor
    lab doctor all-arches
    """
    from lab import host

    arches = _library().plan(campaign).arches
    if install:
        return host.install(arches)
    out = console()
    checks = host.checks(arches, cache_root=_cache().root)
    for check in checks:
        out.print(check.line(), markup=False)
    return 0 if all(check.ok for check in checks) else 2


LISTS = ("topologies", "kernels", "scenarios", "campaigns", "arches")


@main.command("list")
@click.argument("what", type=click.Choice(LISTS))
@click.option("--json", "as_json", is_flag=True, help="For programs, with all there is to say.")
def list_(what: str, *, as_json: bool) -> None:
    """What there is to choose from.

    \b
    lab list topologies
    lab list scenarios
    lab list arches --json
    """
    from lab import listing

    if as_json:
        print(json.dumps(listing.entries(what, _library(), _cache()), indent=2))
        return
    out = console()
    for line in listing.lines(what, _library(), _cache()):
        out.print(line, markup=False)


def packed(command: Command) -> Command:
    """The options that say what may run at once."""
    for option in (
        click.option("--memory", callback=_size, metavar="SIZE", help="For guests and compilers [what is available]."),
        click.option("--jobs", "-j", type=click.IntRange(1, 64), help="Guests at once [as CPUs and memory allow]."),
    ):
        command = option(command)
    return command


@main.command()
@click.argument("campaign")
@filtered
@packed
def plan(
    campaign: str,
    topologies: Sequence[str],
    kernels: Sequence[str],
    tests: Sequence[str],
    config: Sequence[str],
    suites: Sequence[str],
    jobs: int | None,
    memory: int | None,
) -> None:
    """What would run, what of it is built, how long it will take, what is skipped and why; builds nothing.

    \b
    lab plan quick
    lab plan quick --topology 'arm64-*' --test 'limits.*'
    lab plan all-arches --config debug-vm
    """
    from lab import outlook
    from lab.plan import describe

    cache = _cache()
    given = outlook.packing(cache, jobs=jobs, memory=memory)
    filters = _filters(topologies, kernels, tests, config, suites)
    planned = outlook.here(_library().plan(campaign, filters), given)
    if suites:
        from lab import suites as third_party

        third_party.check(planned, cache)
    console().print(describe(*outlook.look(planned, given, cache)), markup=False)


@main.command()
@click.argument("campaign")
@filtered
def build(
    campaign: str,
    topologies: Sequence[str],
    kernels: Sequence[str],
    tests: Sequence[str],
    config: Sequence[str],
    suites: Sequence[str],
) -> None:
    """Build kernels, userland and guest tests of a campaign; boots nothing.

    \b
    lab build quick
    lab build quick --config kasan
    """
    from lab import outlook
    from lab.factory import Workshop
    from lab.screen import screen

    cache = _cache()
    filters = _filters(topologies, kernels, tests, config, suites)
    planned = outlook.here(_library().plan(campaign, filters), outlook.packing(cache))
    workshop = Workshop.of(planned, cache, _tell_on_stderr())
    with screen(console(), planned.cells) as shown, _builds_end_with_us():
        for cell in planned.cells:
            shown.cell(cell, "building")
            workshop.make(
                cell.topology, cell.kernel, lambda detail, *, done=None, c=cell: shown.building(c, detail, done)
            )
            shown.cell(cell, "built")


@main.command()
@click.argument("campaign", required=False)
@filtered
@click.option("--repeat", type=click.IntRange(1, 10_000), metavar="N", help="Every cell N times, each in a new guest.")
@click.option("--resume", type=click.Path(path_type=Path), metavar="DIR", help="Go on with a run that was stopped.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Directory of the run [results/TIME-CAMPAIGN].")
@packed
@click.option("--connect", metavar="URI", help="libvirt connection instead of the embedded driver.")
def run(
    campaign: str | None,
    topologies: Sequence[str],
    kernels: Sequence[str],
    tests: Sequence[str],
    config: Sequence[str],
    suites: Sequence[str],
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
    lab run quick --suite kselftest-mm
    lab run quick --suite ltp:~/ltp:mm
    lab run --resume results/latest
    """
    from lab import outlook
    from lab.campaign import Request, open_run, reopen_run

    cache, library = _cache(), _library()
    given = outlook.packing(cache, jobs=jobs, memory=memory)
    if resume:
        if campaign or topologies or kernels or tests or config or suites or repeat or output:
            raise UsageError("--resume takes the campaign, its filters and its directory from the run: leave them away")
        return _campaign(reopen_run(resume, library, cache, given), given, connect)
    if not campaign:
        raise UsageError("run what? expected a campaign, or --resume DIR", hint="`lab list campaigns`")
    filters = _filters(topologies, kernels, tests, config, suites)
    wanted = Request(campaign=campaign, filters=filters, repeat=repeat or 1)
    return _campaign(open_run(wanted, library, cache, given, output, _tell_on_stderr()), given, connect)


def _campaign(opened: OpenRun, given: Packing, uri: str | None) -> int:
    """Run what is to be run and report on it, also when it was interrupted."""
    from lab import campaign, evidence, history, report
    from lab.compare import conclude

    out = console()
    cache = _cache()
    interrupted = False
    try:
        with _builds_end_with_us():
            campaign.execute(opened, cache, console=out, packing=given, uri=uri)
    except KeyboardInterrupt:
        interrupted = True
        print("lab: interrupted; what was found is kept", file=sys.stderr)
    found = evidence.load(opened.path)
    summary = conclude(found)
    history.record(cache, found)
    opened.run_dir.write_reports(summary)
    out.print(report.render(summary, "text"), markup=False)
    out.print(f"results: {opened.path}", markup=False)
    return EXIT_INTERRUPTED if interrupted else summary.exit_code


@contextmanager
def _builds_end_with_us() -> Iterator[None]:
    """On the way out of an interrupt, end the compilers too."""
    from lab import proc

    try:
        yield
    except BaseException:
        proc.abort()
        raise


@main.command("exec", context_settings={"ignore_unknown_options": True})
@on_guest
@click.argument("program")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.option("--timeout", type=click.FloatRange(min=0.1), default=60.0, help="Seconds on real hardware [60].")
def exec_(
    topology_word: str,
    kernel_word: str,
    config: Sequence[str],
    connect: str | None,
    program: str,
    args: Sequence[str],
    timeout: float,
) -> int:
    """Push a program into a guest, run it there, and exit with its status (125: the lab itself failed).

    A path of a file here is pushed, a C file (it may include lab.h) compiled for the guest first; anything else is a
    command of the guest.

    \b
    lab exec -t arm64-64k-2node -k baseline -- ./prog args
    lab exec -t x86_64-4k-2node -k expand-fault -- cat /proc/cmdline
    """
    from lab import oneshot

    try:
        with _one_guest(topology_word, kernel_word, config, connect) as (factory, ready):
            return oneshot.execute(factory, ready, program, args, timeout_s=timeout)
    except UsageError:
        raise
    except LabError as error:
        say_error(error)
        return EXIT_LAB_FAILED


@main.command()
@on_guest
def shell(topology_word: str, kernel_word: str, config: Sequence[str], connect: str | None) -> int:
    """An interactive shell in a fresh guest; `exit` ends both.

    \b
    lab shell -t arm64-64k-2node -k expand-fault
    """
    from lab import oneshot

    with _one_guest(topology_word, kernel_word, config, connect) as (factory, ready):
        return oneshot.shell(factory, ready)


@contextmanager
def _one_guest(
    topology_word: str, kernel_word: str, config: Sequence[str], uri: str | None
) -> Iterator[tuple[Factory, Ready]]:
    """Everything for one cell, built where it is missing (said on stderr)."""
    from lab import arch
    from lab.factory import open_factory

    library = _library()
    topology = library.topology(topology_word)
    kernel = library.with_config(library.kernel(kernel_word), config)
    if why := arch.lacking_preset(topology.record, kernel.config):
        raise UsageError(f"{topology.name}/{kernel.name}: {why}")
    with _builds_end_with_us(), open_factory(_cache(), uri=uri) as factory:
        yield factory, factory.ready(topology, kernel, _tell_on_stderr())


def _tell_on_stderr() -> Callable[..., None]:
    """Progress of a build in one line that replaces itself on a terminal; nothing in a pipe."""
    if not sys.stderr.isatty():
        from lab.progress import silent

        return silent

    def tell(detail: str, *, done: float | None = None) -> None:
        share = f"{done:4.0%} " if done is not None else ""
        print(f"\r\x1b[Kbuilding {share}{detail[:60]}", end="", file=sys.stderr, flush=True)

    return tell


@main.command()
@click.argument("directory", type=click.Path(path_type=Path), default=Path("results/latest"))
@click.option("--format", "form", default="text", help="text, html, json, junit or mail [text].")
def report(directory: Path, form: str) -> int:
    """Derive the verdicts of a run again from its evidence and print them; starts no guest.

    \b
    lab report
    lab report results/latest --format json
    """
    from lab import evidence
    from lab import report as reports

    gc.disable()  # all that is made here is kept to the end: to look for garbage in it takes a fifth of the time
    summary = evidence.conclude(directory)
    print(reports.render(summary, form), end="")
    return summary.exit_code


@main.command()
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
def compare(first: Path, second: Path) -> int:
    """What two runs found differently, case by case; starts no guest.

    Exit status: 0 nothing, 1 something, 64 they cannot be compared.

    \b
    lab compare results/20260102T030405Z-quick results/latest
    """
    from lab import evidence, versus
    from lab import report as reports

    compared = versus.compare(*(evidence.conclude(directory) for directory in (first, second)))
    print(reports.versus(compared), end="")
    return compared.exit_code


@main.command()
@click.option("--all", "everything", is_flag=True, help="Kernels and work trees too, not only leftovers.")
def clean(everything: bool) -> None:
    """Remove leftovers of killed labs from the cache, or (--all) the whole cache. Results are never touched.

    \b
    lab clean
    lab clean --all
    """
    freed = _cache().clean(everything=everything)
    console().print(f"freed {freed / (1 << 20):.0f} MB below {_cache().root}", markup=False)
