# SPDX-License-Identifier: GPL-2.0-or-later
"""The verb for b4 and other tools that hand over a mail: `check` says whether its patch is well."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any

import click

from lab.core.errors import LabError
from lab.core.paths import user_path
from lab.core.untrusted import printable
from lab.verbs import options
from lab.verbs.common import print_error
from lab.verbs.patches import COMMAND, MACHINES, TIMEOUT, PatchOptions, TryOptions, patch_options

if TYPE_CHECKING:
    from lab.workflows.check import Answer


@click.command()
@COMMAND
@click.option("--b4", "as_json", is_flag=True, help="Print the answer as the JSON that b4 review reads.")
@patch_options
@MACHINES
@options.tests
@options.programs
@options.suites
@options.config
@TIMEOUT
@options.confirm(1)
@options.output("results/TIME-try")
@options.packed
@options.connect
def check(command: Sequence[str], *, as_json: bool, chosen: PatchOptions, **given: Any) -> int:
    """Check the patch in a mail on standard input, for b4.

    The mail is a patch or the cover letter of a series, as b4 hands it to its check commands. What runs is as of `lab
    try`. A patch that is m/n is tried with those before it, all of which come from the thread or the branch that b4
    keeps, or from an archive (--mirror). A patch that is a commit of the checked-out branch is tried on its parent.

    With --b4 the answer is JSON, for review-series-check-cmd and review-perpatch-check-cmd. Without, it is lines as
    checkpatch prints them, for prep-perpatch-check-cmd and am-perpatch-check-cmd. The report goes to stderr; without
    --b4 only to a terminal.

    Exit status: 0 well, or an answer was printed as JSON; 1 the patch fails, 2 nothing was found out.

    \b
    lab check --on x86_64-4k --test 'guards.*' <0001-my.patch
    lab check --b4 --tree ~/linux --on x86_64-4k <cover.eml
    """
    # b4 prep takes every line on stderr for a failure.
    report = sys.stderr if as_json or sys.stderr.isatty() else io.StringIO()
    with redirect_stdout(report), redirect_stderr(report):
        answer = _answer(TryOptions(patch="-", command=command, chosen=chosen, **given))
    if as_json:
        print(answer.as_json())
        return 0
    for line in answer.as_lines():
        print(printable(line))
    return {"pass": 0, "fail": 1}.get(answer.status, 2)


def _answer(asked: TryOptions) -> Answer:
    """Return what a run of the patch on standard input means; an error of the lab is an answer, too."""
    from lab.workflows import change
    from lab.workflows import check as checking

    chosen = asked.chosen
    where = change.Asked(mirror=chosen.mirror, base=chosen.base, branches=chosen.branches)
    data = sys.stdin.buffer.read(change.MAX_INPUT + 1)
    try:
        tracking = checking.Tracking.load(os.environ.get(checking.TRACKING, ""))
        found = checking.read(data, tracking, user_path(chosen.tree), where)
        chosen.report(found)
        summary = asked.run(found)
    except LabError as error:
        print_error(error)
        return checking.failed(error)
    return checking.answer(summary)
