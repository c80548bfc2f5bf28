# SPDX-License-Identifier: GPL-2.0-or-later
"""The help of every verb and option has the parts that a reader needs; each shared option is defined once."""

from __future__ import annotations

import re

import click
import pytest

from lab.cli import main

OPTIONS = [
    pytest.param(option, id=f"{verb}-{option.opts[0]}")
    for verb, command in main.commands.items()
    for option in command.params
    if isinstance(option, click.Option)
]


def paragraphs(verb: str) -> list[str]:
    return (main.commands[verb].help or "").split("\n\n")


@pytest.mark.parametrize("verb", sorted(main.commands))
def test_the_first_line_says_what_the_verb_does_and_fits_the_list_of_verbs(verb: str) -> None:
    first = paragraphs(verb)[0]
    assert re.fullmatch(r"[A-Z][a-z]+ [^\n]*\.", first)
    assert len(first) <= 60
    with click.Context(main, info_name="lab", terminal_width=80) as context:
        listed = main.get_help(context)
    assert re.search(rf"^  {verb} +{re.escape(first)}$", listed, re.MULTILINE)


@pytest.mark.parametrize("verb", sorted(main.commands))
def test_the_last_paragraph_has_two_examples_and_nothing_else(verb: str) -> None:
    marker, *lines = (line.strip() for line in paragraphs(verb)[-1].strip().splitlines())
    assert marker == "\b"
    assert len(lines) >= 2
    assert all(line.startswith(f"lab {verb} ") or line == f"lab {verb}" for line in lines)


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_says_what_it_does_and_its_default(option: click.Option) -> None:
    text = option.help or ""
    assert re.match(r"[A-Z][a-z]+ ", text)
    assert text.endswith(".")
    if not option.is_flag and not option.required:
        assert re.search(r"\[[^\]]+\]\.$", text), "the default belongs at the end, in brackets"


@pytest.mark.parametrize("option", OPTIONS)
def test_a_default_in_the_help_is_the_option_s_own(option: click.Option) -> None:
    if isinstance(option.default, int | float) and not option.is_flag:
        assert f"[{option.default:g}]" in (option.help or "")


def test_options_of_one_name_are_one_option() -> None:
    """What --output writes, the formats, how often --confirm runs, and whether -t and -k choose one or many differ."""
    helps: dict[str, set[str]] = {}
    for param in OPTIONS:
        (option,) = param.values
        assert isinstance(option, click.Option)
        helps.setdefault(option.opts[0], set()).add(option.help or "")
    several = {name for name, texts in helps.items() if len(texts) > 1}
    assert several <= {
        "--output",
        "--format",
        "--confirm",
        "--topology",
        "--kernel",
        "--memory",
        "--anyway",
        "--timeout",
    }
