# SPDX-License-Identifier: GPL-2.0-or-later
"""What every verb prints with: the console, a report, an error, the progress of a build."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from lab.core.errors import LabError

if TYPE_CHECKING:
    from rich.console import Console

    from lab.core.progress import Progress
    from lab.verdicts.compare import Summary

EXIT_INTERRUPTED = 130


def console(*, stderr: bool = False) -> Console:
    """Return the console to print to: plain text if it is no terminal; rich honours NO_COLOR by itself."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=True)


def show_report(summary: Summary, out: Console) -> None:
    """Print the text report: fitted to a terminal and coloured there, otherwise as it is in report.txt."""
    from lab.report import registry as report

    if out.is_terminal:
        out.print(report.for_terminal(summary, out.width), end="")
    else:
        out.file.write(report.render(summary, "text"))
        out.file.flush()


def print_error(error: LabError) -> None:
    """Print an error, its hint and its excerpt to stderr, with control characters made visible."""
    from lab.core.untrusted import printable

    print(f"lab: {printable(str(error))}", file=sys.stderr)


def print_note(text: str) -> None:
    """Print a line to stderr that is neither an error nor part of the result."""
    print(f"lab: {text}", file=sys.stderr)


QUIET_S, EVERY_S = 10.0, 30.0
"""Seconds of building before the first line is printed in a pipe, and between two lines."""


class _Lines:
    """Prints the progress of a build that takes long in a pipe: a log shows then that, and what, the lab builds."""

    def __init__(self) -> None:
        self.due_s: float | None = None

    def __call__(self, detail: str, *, done: float | None = None) -> None:
        now_s = time.monotonic()
        if self.due_s is None:
            self.due_s = now_s + QUIET_S
        if now_s < self.due_s:
            return
        self.due_s = now_s + EVERY_S
        print_note(f"building {_share(done)}{detail}")


def progress_on_stderr() -> Progress:
    """Return a printer of build progress: a line that replaces itself on a terminal, lines now and then in a pipe."""
    if not sys.stderr.isatty():
        return _Lines()

    def print_progress(detail: str, *, done: float | None = None) -> None:
        print(f"\r\x1b[Kbuilding {_share(done)}{detail[:60]}", end="", file=sys.stderr, flush=True)

    return print_progress


def _share(done: float | None) -> str:
    return "" if done is None else f"{done:.0%} "
