# SPDX-License-Identifier: GPL-2.0-or-later
"""Run one step of a build (configure, make, a compiler) with progress, ccache and an error that shows the cause."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lab.build import toolchain
from lab.core import proc
from lab.core.errors import BuildError
from lab.core.progress import Progress
from lab.formats import build_log

LAST_LINES = 10
"""How much of the output an error shows when no line of it looks like the cause."""
ENGLISH = {"LC_ALL": "C", "LANG": "C"}
"""For messages with plain quotes, which `build_log` recognises."""


def run(
    argv: Sequence[str],
    *,
    cwd: Path,
    failure: str,
    timeout_s: float,
    label: str = "",
    progress: Progress | None = None,
    answers: bytes | None = None,
    check: bool = True,
    nice: int = 0,
    repeatable: bool = False,
) -> list[str]:
    """Run a command in `cwd` and return the lines of its output.

    With a `progress`, report the command and each file that kbuild announces, after `label`. `answers` is the
    command's standard input. BuildError with the message `failure` if the command cannot start, runs longer than
    `timeout_s` or, with `check`, exits with an error; its hint is the command to paste if the step is `repeatable`,
    which one in a scratch directory is not.
    """

    def report(line: str) -> None:
        words = line.split()
        if progress and words and line.startswith("  "):  # kbuild's short form: `  CC      libbb/appletlib.o`
            progress(f"{label}: {words[-1]}")

    if progress:
        progress(f"{label}: {argv[0]}")
    try:
        done = proc.run(
            argv,
            cwd=cwd,
            env={**ENGLISH, **toolchain.ccache_environment(cwd)},
            input=answers,
            timeout_s=timeout_s,
            check=check,
            on_line=report,
            whole=True,
            nice=nice,
        )
    except proc.ProcError as error:
        lines = error.output.splitlines()
        excerpt = build_log.excerpt(lines) or "\n".join([*lines[-LAST_LINES:], error.message])
        raise BuildError(failure, hint=error.hint if repeatable else None, excerpt=excerpt) from error
    return done.output.splitlines()
