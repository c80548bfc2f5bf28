# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/verbs/options.py: an option that a verb does not have is no program of the user's."""

from __future__ import annotations

from collections.abc import Sequence

import click
import pytest

from lab.cli import main


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (("exec", "-t", "x86_64-4k", "--cols", "--", "true"), "--cold"),
        (("exec", "-t", "x86_64-4k", "--kernl", "baseline", "true"), "--kernel"),
        (("pages", "--numma", "--", "true"), "--numa"),
        (("pages", "--chekc", "/bin/true"), "--check"),
    ],
)
def test_a_mistyped_option_is_not_taken_for_a_program(words: Sequence[str], near: str) -> None:
    with pytest.raises(click.NoSuchOption) as caught:
        click.Group.main(main, list(words), standalone_mode=False)
    assert near in (caught.value.possibilities or ())


@pytest.mark.parametrize("words", [("-",), ("true", "--cols"), ("--", "true", "-x")])
def test_options_behind_a_program_are_its_own(words: Sequence[str]) -> None:
    command = main.commands["exec"]
    context = command.make_context("exec", ["-t", "x86_64-4k", *words])
    program, *args = [word for word in words if word != "--"]
    assert context.params["program"] == program
    assert context.params["args"] == tuple(args)


@pytest.mark.parametrize("verb", [("exec", "-t", "x86_64-4k"), ("pages",), ("try", "my.patch")])
@pytest.mark.parametrize("seconds", ["nan", "inf", "1e400", "0", "-1", "1e9", "5s", ""])
def test_a_time_that_never_comes_is_refused(verb: Sequence[str], seconds: str) -> None:
    with pytest.raises(click.BadParameter) as caught:
        click.Group.main(main, [*verb, "--timeout", seconds, "--", "true"], standalone_mode=False)
    assert caught.value.message.startswith("expected seconds, at least 0.1, at most 8640000 (100 days), got ")
