# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/verdicts/coverage.py: which lines of a patch ran, where and by which cases."""

from __future__ import annotations

import pytest

from lab.verdicts.coverage import Coverage, UncompiledFile, of

ADDED = {"mm/a.c": {10: "x();", 11: "y();", 12: "/* z */", 20: "w();"}, "mm/b.c": {5: "v();"}}
COMPILED = {"pc": {"mm/a.c": {9: 0, 10: 0, 11: 0, 20: 0}}, "arm": {"mm/a.c": {10: 0, 20: 0}}}
COUNTED = {
    "pc": {"expand.a01": {"mm/a.c": {10: 3, 11: 0}}, "guards.i01": {"mm/a.c": {10: 1}}},
    "arm": {"expand.a01": {"mm/a.c": {10: 1, 20: 0}}},
}


def found() -> Coverage:
    return of("patched", ADDED, COMPILED, COUNTED, {"mm/b.c": "SHMEM"}, {"mm/a.c": "a diff"})


def test_a_line_has_its_machines_and_cases() -> None:
    line = next(each for each in found().lines if each.place == "mm/a.c:10")
    assert line.compiled == ("pc", "arm")
    assert line.ran == {"pc": ("expand.a01", "guards.i01"), "arm": ("expand.a01",)}
    assert line.times == 5
    assert found().cases("mm/a.c", 10) == {"expand.a01", "guards.i01"}


def test_what_ran_nowhere_is_listed() -> None:
    assert found().summary() == "coverage: 1 of 3 changed lines ran; not: mm/a.c:11, :20"


def test_lines_that_follow_each_other_are_a_range() -> None:
    counted = {"pc": {"a.b": {"mm/a.c": {20: 1}}}}
    assert (
        of("k", ADDED, COMPILED, counted, {}, {}).summary() == "coverage: 1 of 3 changed lines ran; not: mm/a.c:10-11"
    )


def test_all_ran() -> None:
    counted = {"pc": {"a.b": {"mm/a.c": {10: 1, 11: 1, 20: 1}}}}
    assert of("k", ADDED, COMPILED, counted, {}, {}).summary() == "coverage: 3 of 3 changed lines ran"


INLINED = {
    1: "bool fits(struct inode *inode, pgoff_t end)",
    2: "{",
    3: "\treturn !grows(inode) ||",
    4: "\t       end <= pages(inode);",
    5: "}",
}


def test_the_first_lines_of_what_ran_ran_too() -> None:
    """gcc 12 counts line 4 alone where it has put the function into its caller."""
    compiled = {"pc": {"mm/a.c": {1: 0, 3: 0, 4: 0}}}
    counted = {"pc": {"a.b": {"mm/a.c": {1: 0, 3: 0, 4: 7}}}}
    coverage = of("k", {"mm/a.c": INLINED}, compiled, counted, {}, {})
    assert coverage.summary() == "coverage: 3 of 3 changed lines ran"
    assert coverage.cases("mm/a.c", 1) == coverage.cases("mm/a.c", 3) == {"a.b"}
    assert [line.times for line in coverage.lines] == [7, 0, 7, 7, 0]


@pytest.mark.parametrize("end", [";", "}", "out:", "*/", "#define x \\"])
def test_a_line_that_ends_a_statement_is_not_begun_by_the_next(end: str) -> None:
    compiled = {"pc": {"mm/a.c": {1: 0, 2: 0}}}
    counted = {"pc": {"a.b": {"mm/a.c": {1: 0, 2: 7}}}}
    texts = {"mm/a.c": {1: f"x {end}", 2: "y();"}}
    assert of("k", texts, compiled, counted, {}, {}).summary() == "coverage: 1 of 2 changed lines ran; not: mm/a.c:1"


@pytest.mark.parametrize("between", [{3: "y();"}, {2: "x();", 3: "y();"}])
def test_what_is_not_the_next_line_says_nothing(between: dict[int, str]) -> None:
    """A line of the tree that the patch leaves as it is, or a statement without code of its own, is between."""
    compiled = {"pc": {"mm/a.c": {1: 0, 3: 0}}}
    counted = {"pc": {"a.b": {"mm/a.c": {1: 0, 3: 7}}}}
    texts = {"mm/a.c": {1: "if (x)", **between}}
    assert of("k", texts, compiled, counted, {}, {}).summary() == "coverage: 1 of 2 changed lines ran; not: mm/a.c:1"


def test_a_file_that_no_machine_compiles_has_its_symbol() -> None:
    assert found().uncompiled == (UncompiledFile(file="mm/b.c", symbol="SHMEM"),)


def test_it_is_read_back_the_same() -> None:
    assert Coverage.model_validate_json(found().model_dump_json()) == found()
