# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/core/untrusted.py: what others wrote shows on a terminal and does nothing there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.core.untrusted import MAX_LINE, excerpt, one_line, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\n", "plain\n"),
        ("a\r\nb", "a\nb"),
        ("a\tb", "a       b"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\u202eabc", "\\u202eabc"),
        ("\ud800", "\\ud800"),
        ("\U000e0001", "\\U000e0001"),
        ("\uffff\x00", "\\uffff\\x00"),
        ("größer 𝒳", "größer 𝒳"),
    ],
)
def test_characters_that_could_do_something_are_spelled_out(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_nothing_that_is_left_can_do_anything(text: str) -> None:
    shown = printable(text)
    assert shown.replace("\n", "").isprintable()
    assert printable(shown) == shown


@given(st.text(max_size=2000), st.integers(min_value=1, max_value=50))
def test_one_line_is_one_line_of_bounded_length(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert len(line) <= limit
    assert line.isprintable()


def test_what_one_line_cuts_off_is_shown() -> None:
    assert one_line("a \n b") == "a b"
    assert one_line("x" * MAX_LINE) == "x" * MAX_LINE
    assert one_line("x" * (MAX_LINE + 1)) == "x" * (MAX_LINE - 1) + "…"
    assert one_line("x" + " " * 5 * MAX_LINE + "y").startswith("x")


def test_an_excerpt_leaves_out_the_middle_and_counts_it() -> None:
    lines = excerpt((f"line {number}" for number in range(100)), max_lines=10).split("\n")
    assert len(lines) == 10
    assert lines[0] == "line 0"
    assert lines[-1] == "line 99"
    assert lines[6] == "... 91 lines left out ..."
    assert excerpt(["a", "b" * 20], max_line=10) == "a\n" + "b" * 9 + "…"
