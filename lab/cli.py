# SPDX-License-Identifier: GPL-2.0-or-later
"""The command `lab`: the group of verbs, the one place that catches LabError and picks an exit code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, NoReturn, TextIO, cast

import click

from lab import __version__
from lab.core.errors import LabError
from lab.host.needs import LAB, NEEDS
from lab.verbs import campaigns, check, choose, cluster, guests, machines, mutating, patches, results, shells
from lab.verbs.common import EXIT_INTERRUPTED, print_error
from lab.verbs.programs import pages

EXIT_USAGE = 64
EXIT_OUTPUT_FAILED = 2
VERBS = (
    *(choose.doctor, choose.list_, choose.plan, choose.clean),
    *(campaigns.build, campaigns.run),
    *(guests.exec_, guests.shell, guests.console_, guests.gdb_),
    pages.pages,
    *(results.report, results.compare, results.replay, results.bundle),
    *(patches.try_, patches.bisect, check.check, mutating.mutate),
    machines.capture,
    *(cluster.worker, cluster.hosts_, cluster.cluster_, cluster.queue_, cluster.cache_),
    *(shells.completion, shells.man),
)


class Output:
    """A stdout that remembers a write error instead of raising it: a closed pipe must not abort a running campaign."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, operation: Callable[[], object]) -> None:
        if self.error is None:
            try:
                operation()
            except OSError as error:
                self.error = error
                # The interpreter flushes the rest of the buffer when it ends: let that go to /dev/null.
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def output_that_may_break() -> Iterator[Output]:
    """Replace sys.stdout by an Output while the block runs."""
    before = sys.stdout
    output = Output(before)
    sys.stdout = cast(TextIO, output)
    try:
        yield output
    finally:
        output.flush()
        sys.stdout = before


class Verbs(click.Group):
    """The group of verbs, which turns errors into exit statuses."""

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
        """Run a verb and return its exit status, or that of the error that ended it."""
        try:
            return super().main(*args, **kwargs) or 0
        except (click.exceptions.Abort, KeyboardInterrupt):
            print("lab: interrupted", file=sys.stderr)
            return EXIT_INTERRUPTED
        except click.ClickException as error:
            error.show()
            return EXIT_USAGE
        except LabError as error:
            print_error(error)
            return error.exit_code
        except BrokenPipeError:  # raised by output that is written as bytes, past Output
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0


def _leave(status: int) -> NoReturn:
    """Exit. If libvirt was used, skip its cleanup: closing it waits 1-2 s for guests that are already dead."""
    if "lab.guests.vm" in sys.modules:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _terminated(number: int, _frame: object) -> None:
    """Handle SIGTERM and SIGHUP as Ctrl-C: the results so far are saved, and no process stays behind."""
    raise KeyboardInterrupt(signal.Signals(number).name)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lab")
@click.pass_context
def main(context: click.Context) -> None:
    """Test a kernel patch on emulated machines: build with and without it, boot, compare.

    \b
    topology   an emulated machine: architecture, page size, CPUs, memory, nodes
    kernel     a source tree, perhaps with a series of patches
    scenario   a C program that runs in guests; its tests are its cases
    campaign   which scenarios to run on which topologies with which kernels
    cell       one kernel on one topology, TOPOLOGY/KERNEL: one guest

    \b
    lab doctor                       check this host, print what to install
    lab plan quick                   show what would run; build nothing
    lab run quick                    build, boot, test, compare
    lab try my.patch --tree ~/linux  test a patch of your own
    lab exec -t arm64-64k-2node -k baseline -- ./prog args
    """
    from lab.verbs import defaults

    assert isinstance(context.command, click.Group)
    context.default_map = defaults.read(context.command)


def checked(verb: click.Command) -> click.Command:
    """Let a verb check, before it does anything, that the programs it runs are installed; return it."""
    name, act = verb.name, verb.callback
    assert name is not None and act is not None

    @wraps(act)
    def act_if_possible(*args: Any, **kwargs: Any) -> Any:
        if NEEDS[f"{LAB}{name}"]:
            from lab.host import programs

            programs.require_verb(name)
        return act(*args, **kwargs)

    verb.callback = act_if_possible
    return verb


for verb in VERBS:
    main.add_command(checked(verb))
