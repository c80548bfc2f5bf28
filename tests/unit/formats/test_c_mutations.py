# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/formats/c_mutations.py: each operator on a small function; line numbers stay; other lines are left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.formats.c_mutations import Mutation, functions, mutations

SOURCE = b"""\
#define MARK VM_SHARED

static int resize(struct inode *inode, long *old, long size, long other)
{
\tint error;

\tspin_lock(&inode->lock);
\t*old = inode->size;
\terror = charge(size, other);
\tif (!error && size > 0)
\t\ti_size_write(inode, size);
\tspin_unlock(&inode->lock);
\tif (size >= MAX) {
\t\tuncharge(size);
\t\treturn -ENOMEM;
\t}
\tsmp_mb();
\tlist_for_each_entry(page, &inode->pages, lru) {
\t\tput(READ_ONCE(page));
\t}
\treturn round_up(size, 8) + 1;
}
"""
EVERY_LINE = range(1, SOURCE.count(b"\n") + 1)


def found(source: bytes = SOURCE, lines: object = EVERY_LINE) -> tuple[Mutation, ...]:
    return mutations(source, list(lines))  # type: ignore[call-overload]


def texts(operator: str) -> list[str]:
    """What the mutated lines look like, without their indentation, for each mutation of an operator."""
    shown = []
    for mutation in found():
        if mutation.operator == operator:
            after = mutation.apply(SOURCE).split(b"\n")
            before = SOURCE.split(b"\n")
            shown.append("|".join(a.decode().strip() for a, b in zip(after, before, strict=True) if a != b))
    return shown


@pytest.mark.parametrize(
    ("operator", "after"),
    [
        ("negate-condition", "if (!(!error && size > 0))"),
        ("drop-operand", "if (!error)"),
        ("drop-operand", "if (size > 0)"),
        ("comparison", "if (!error && size >= 0)"),
        ("comparison", "if (size > MAX) {"),
        ("arithmetic", "return round_up(size, 8) - 1;"),
        ("arithmetic", "return round_up(size, 8);"),
        ("constant", "return round_up(size, 9) + 1;"),
        ("flag", "#define MARK VM_MAYSHARE"),
        ("error-code", "return -EINVAL;"),
        ("error-code", "return 0;"),
        ("function", "return round_down(size, 8) + 1;"),
        ("swap-arguments", "error = charge(other, size);"),
        ("remove-statement", "i_size_write(inode, size);".replace("i_size_write(inode, size);", ";")),
        ("forget-step", ";"),
        ("barrier", ";"),
        ("barrier", "put((page));"),
        ("lock", ";|;"),
        ("lock", "*old = inode->size;|spin_lock(&inode->lock);"),
        ("early-return", "if (1) return 0; spin_lock(&inode->lock);"),
    ],
)
def test_an_operator(operator: str, after: str) -> None:
    assert after in texts(operator)


def test_the_forgotten_step_is_the_one_before_the_error() -> None:
    (mutation,) = (each for each in found() if each.operator == "forget-step")
    assert (mutation.line, mutation.function, mutation.what) == (14, "resize", "uncharge(size); -> nothing")


def test_the_last_return_stays() -> None:
    assert not any("return round_up" in each.what and each.operator == "remove-statement" for each in found())


def test_lines_stay_lines() -> None:
    assert {each.apply(SOURCE).count(b"\n") for each in found()} == {SOURCE.count(b"\n")}


def test_a_statement_of_several_lines_leaves_its_lines() -> None:
    source = b"void f(void)\n{\n\tcall(1,\n\t     2);\n\tg();\n}\n"
    (removed,) = (each for each in mutations(source, [3]) if each.operator == "remove-statement")
    assert removed.apply(source) == b"void f(void)\n{\n\t;\n\n\tg();\n}\n"


def test_only_the_lines_that_are_asked_for() -> None:
    assert {each.line for each in mutations(SOURCE, [10, 13])} == {10, 13}
    assert mutations(SOURCE, []) == ()


def test_no_two_mutations_are_the_same() -> None:
    texts_after = [each.apply(SOURCE) for each in found()]
    assert len(texts_after) == len(set(texts_after))
    assert SOURCE not in texts_after


def test_what_the_parser_does_not_understand_is_left_alone() -> None:
    source = b"int f(void)\n{\n\tif (a ==) {\n\t\tb();\n\t}\n\treturn 1;\n}\n"
    assert not any(each.operator == "comparison" for each in mutations(source, range(1, 8)))


def test_functions_and_their_lines() -> None:
    assert functions(SOURCE) == {"resize": (3, 22)}


@given(st.binary(max_size=300))
def test_anything_is_parsed(data: bytes) -> None:
    for mutation in mutations(data, range(1, data.count(b"\n") + 2)):
        assert mutation.apply(data).count(b"\n") == data.count(b"\n")
