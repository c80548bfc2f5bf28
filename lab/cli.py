# SPDX-License-Identifier: GPL-2.0-or-later
"""The command `lab`: the group of verbs, the one place that catches LabError and picks an exit code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TextIO, cast

import click

from lab import __version__, verbs
from lab.core.errors import LabError
from lab.verbs.common import EXIT_INTERRUPTED, say_error

EXIT_USAGE = 64
EXIT_OUTPUT_FAILED = 2


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
    if "lab.guests.vm" in sys.modules:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _terminated(number: int, _frame: object) -> None:
    """SIGTERM and SIGHUP end a run as Ctrl-C does: what was found is kept, nothing is left running."""
    raise KeyboardInterrupt(signal.Signals(number).name)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lab")
@click.pass_context
def main(context: click.Context) -> None:
    """An emulated-hardware kernel lab: a patch, two kernels, many machines, one verdict.

    \b
    lab doctor                       what this host can do, and what to install
    lab plan quick                   what would run; builds nothing
    lab run quick                    build, boot, test, compare
    lab exec -t arm64-64k-2node -k baseline -- ./prog args
    """
    from lab.verbs import defaults

    assert isinstance(context.command, click.Group)
    context.default_map = defaults.of(context.command)


for verb in verbs.every():
    main.add_command(verb)
