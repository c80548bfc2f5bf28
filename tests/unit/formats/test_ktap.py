# SPDX-License-Identifier: GPL-2.0-or-later
"""KTAP: golden logs of real damage, and whatever hypothesis can think of."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.formats import ktap
from lab.formats.ktap import Flaw, Result

GOLDEN = Path(__file__).parents[2] / "golden" / "ktap"
LOGS = sorted(GOLDEN.glob("*.ktap"))


def read(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.stem)
def test_golden(log: Path) -> None:
    """PAGELAB_UPDATE_GOLDEN=1 rewrites the expectations; read the difference before you commit it."""
    got = json.dumps(asdict(ktap.parse(read(log))), indent=1) + "\n"
    expected = log.with_suffix(".json")
    if os.environ.get("PAGELAB_UPDATE_GOLDEN"):
        expected.write_text(got)
    assert got == expected.read_text()


def flaws(name: str) -> set[Flaw]:
    return {defect.flaw for defect in ktap.parse(read(GOLDEN / f"{name}.ktap")).defects}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("good", set()),
        ("directives", set()),
        ("carriage_returns", set()),
        ("no_version", {Flaw.NO_VERSION}),
        ("no_plan", {Flaw.NO_PLAN}),
        ("plan_too_long", {Flaw.TOO_FEW}),
        ("plan_too_short", {Flaw.TOO_MANY}),
        ("plan_repeated", {Flaw.PLAN_REPEATED}),
        ("plan_last", {Flaw.LATE_PLAN}),
        ("repeated", {Flaw.NUMBER_REPEATED, Flaw.NAME_REPEATED, Flaw.NUMBER_ODD}),
        ("truncated", {Flaw.TRUNCATED, Flaw.TOO_FEW}),
        ("bad_bytes", {Flaw.BAD_BYTES, Flaw.UNKNOWN_LINE}),
        ("empty", {Flaw.EMPTY, Flaw.NO_PLAN}),
        ("skip_all", set()),
        ("bail_out", {Flaw.BAIL_OUT, Flaw.TOO_FEW}),
        (
            "forged",
            {Flaw.VERSION_REPEATED, Flaw.PLAN_REPEATED, Flaw.NUMBER_REPEATED, Flaw.NAME_REPEATED, Flaw.TOO_MANY},
        ),
    ],
)
def test_every_damage_has_its_name(name: str, expected: set[Flaw]) -> None:
    assert flaws(name) - {Flaw.NUMBER_ODD} == expected - {Flaw.NUMBER_ODD}


@pytest.mark.parametrize(
    ("line", "count", "skip"),
    [
        ("1..0 # no huge pages here", 0, "no huge pages here"),
        ("1..0 # SKIP no huge pages", 0, "no huge pages"),
        ("1..0 # skip: why", 0, "why"),
        ("1..0 #SKIP", 0, ""),
        ("1..2 # two of them", 2, None),
        ("1..2 # skipping nothing", 2, None),
        ("1..0", 0, None),
    ],
)
def test_a_plan_may_have_a_comment(line: str, count: int, skip: str | None) -> None:
    document = ktap.parse(f"TAP version 14\n{line}\n")
    assert document.plan is not None
    assert (document.plan.count, document.plan.skip or None) == (count, skip or None)
    assert document.has(Flaw.TOO_FEW) == (count > 0)


NESTED = {
    "with its plan first": "    1..2\n    ok 1 a\n    not ok 2 b\n",
    "with a comment behind its plan": "    1..2 # two of them\n    ok 1 a\n    not ok 2 b\n",
    "deeper than its plan": "  1..2\n    ok 1 a\n    not ok 2 b\n",
    "with its plan last": "    ok 1 a\n    not ok 2 b\n    1..2\n",
    "without a plan": "    ok 1 a\n    not ok 2 b\n",
    "deeper within a comment": "# 1..2\n#   ok 1 a\n#   not ok 2 b\n",
}


@pytest.mark.parametrize("nested", NESTED.values(), ids=NESTED)
@pytest.mark.parametrize(
    "stamp", ["", "[    1.234567] ", "[    1.2] ", "[   12.345678][   T80] ", "<6>[    1.234567][    C1] "]
)
def test_results_nest_in_many_ways(nested: str, stamp: str) -> None:
    text = f"KTAP version 1\n1..2\n{nested}not ok 1 suite\nok 2 other\n"
    document = ktap.parse("".join(f"{stamp}{line}\n" for line in text.splitlines()))
    assert [result.name for result in document.results] == ["suite", "other"]
    assert [(child.name, child.ok) for child in document.results[0].children] == [("a", True), ("b", False)]
    assert document.orphans == ()
    assert not document.has(Flaw.NO_PLAN)


def test_a_document_in_comments_may_be_the_first_that_its_program_prints() -> None:
    nested = "  # TAP version 13\n  # 1..2\n  # ok 1 a\n  # not ok 2 b\n"
    (test,) = results(f"1..1\n{nested}  not ok 1 inner\nnot ok 1 test\n")
    assert [child.name for child in test.children] == ["inner"]
    assert [child.name for child in test.children[0].children] == ["a", "b"]


def test_ordinary_output_that_begins_with_ok_is_no_result() -> None:
    """The plan tells: all of its results have numbers."""
    (test,) = results("1..1\n  1..2\n  ok let us go\n  # one\n  ok 1 a\n  not ok at all\n  ok 2 b\nok 1 test\n")
    assert [child.name for child in test.children] == ["a", "b"]
    assert [child.diagnostics for child in test.children] == [("ok let us go", "one"), ("not ok at all",)]


def test_results_need_no_numbers() -> None:
    (test,) = results("1..1\n  1..2\n  ok a\n  not ok b\nok 1 test\n")
    assert [child.name for child in test.children] == ["a", "b"]


def test_the_results_of_a_suite_that_died_are_kept() -> None:
    """KUnit's log, where the kernel oopsed in the first suite and ended in the second."""
    document = ktap.parse(
        "[    1.000000] KTAP version 1\n[    1.000000] 1..2\n"
        "[    1.000000]     KTAP version 1\n[    1.000000]     # Subtest: one\n[    1.000000]     1..2\n"
        "[    1.000000]     ok 1 a\n"
        "[    1.000000] BUG: own complaint\n"
        "[    1.000000]     KTAP version 1\n[    1.000000]     # Subtest: two\n[    1.000000]     1..2\n"
        "[    1.000000]     ok 1 b\n"
    )
    assert document.results == ()
    assert [result.name for result in document.orphans] == ["a", "b"]
    assert document.has(Flaw.ORPHANS)
    assert not document.has(Flaw.VERSION_REPEATED)


def test_time_stamps_within_a_programs_stream_are_its_own_words() -> None:
    """A test that prints the kernel's log must not report KUnit's results as its own."""
    document = ktap.parse("KTAP version 1\n1..1\n[    1.000000] ok 1 kunit\nok 1 a\n")
    assert [result.name for result in document.results] == ["a"]
    assert document.results[0].diagnostics == ("[    1.000000] ok 1 kunit",)


def test_a_version_behind_the_plan_is_no_flaw() -> None:
    document = ktap.parse("1..1\nTAP version 13\nok 1 a\n")
    assert document.defects == ()
    assert [result.name for result in document.results] == ["a"]


def test_a_version_behind_a_result_is_a_flaw() -> None:
    document = ktap.parse("1..2\nok 1 a\nTAP version 13\nok 2 b\n")
    assert [defect.flaw for defect in document.defects] == [Flaw.LATE_VERSION]


def results(text: str) -> tuple[Result, ...]:
    return ktap.parse(text).results


def test_diagnostics_belong_to_the_next_result() -> None:
    first, second = results("# a\nok 1 x\n# b\n# duration_ms=12.5\nnot ok 2 y\n")
    assert first.diagnostics == ("a",)
    assert first.duration_ms is None
    assert second.diagnostics == ("b",)
    assert second.duration_ms == 12.5


def test_what_follows_the_last_result_is_of_the_case_that_was_running() -> None:
    assert ktap.parse("1..2\nok 1 a\n# touching page 3\n").trailing == ("touching page 3",)


@pytest.mark.parametrize(
    ("line", "name", "directive", "reason"),
    [
        ("ok 1 a", "a", "", ""),
        ("ok 1 - a b", "a b", "", ""),
        ("ok a", "a", "", ""),
        ("ok 1", "", "", ""),
        ("ok 1 # SKIP all of it", "", "SKIP", "all of it"),
        ("ok 1 a # SKIP", "a", "SKIP", ""),
        ("ok 1 a # skip: why", "a", "SKIP", "why"),
        ("ok 1 a#b # TODO x", "a#b", "TODO", "x"),
        ("ok 1 a # SKIPPED why", "a", "SKIP", "why"),
        ("ok 1 # XPASS was to fail", "", "XPASS", "was to fail"),
        ("ok 1 recover # error handling", "recover # error handling", "", ""),
        ("not ok 1 mmap #timeout of 5", "mmap #timeout of 5", "", ""),
        ("ok 1 a # b # SKIP why", "a # b", "SKIP", "why"),
        ("ok 1 a # SKIPPING is no directive", "a # SKIPPING is no directive", "", ""),
        ("not ok 1 a # CRASH signal=11 # core", "a", "CRASH", "signal=11 # core"),
    ],
)
def test_result_lines(line: str, name: str, directive: str, reason: str) -> None:
    (result,) = results(f"{line}\n")
    assert (result.name, result.directive, result.reason) == (name, directive, reason)


def test_a_result_without_its_newline_is_none() -> None:
    document = ktap.parse("1..1\nok 1 grow")
    assert document.results == ()
    assert document.has(Flaw.TRUNCATED)


def test_only_a_newline_ends_a_line() -> None:
    """str.splitlines would let a case print a vertical tab and forge a result of another one."""
    document = ktap.parse("1..1\n# said\x0bok 1 forged\x85ok 1 forged\u2028ok 1 forged\nok 1 a\n")
    assert [result.name for result in document.results] == ["a"]


def test_events_come_one_by_one() -> None:
    """The stream of a running program can be followed."""
    consumed: list[str] = []

    def source() -> Iterator[str]:
        for line in ("1..2\n", "ok 1 a\n", "ok 2 b\n"):
            consumed.append(line)
            yield line

    stream = ktap.events(source())
    assert isinstance(next(stream), ktap.KtapPlan)
    assert consumed == ["1..2\n"]
    assert isinstance(next(stream), Result)
    assert consumed == ["1..2\n", "ok 1 a\n"]


def test_nested_results_are_children_of_their_parent() -> None:
    first, second = results(read(GOLDEN / "kunit.ktap"))
    assert [child.name for child in first.children] == ["list_test_add", "list_test_del"]
    assert [child.name for child in first.children[1].children] == ["one", "two"]
    assert [child.name for child in second.children] == ["other"]


def test_endless_talk_is_bounded() -> None:
    talk = "".join(f"# line {number}\n" for number in range(5000))
    (result,) = results(f"{talk}ok 1 a\n")
    assert len(result.diagnostics) == ktap.KEEP_FIRST + ktap.KEEP_LAST + 1
    assert result.diagnostics[0] == "line 0"
    assert result.diagnostics[-1] == "line 4999"


def test_endless_results_are_bounded() -> None:
    document = ktap.parse("".join(f"ok {number} c{number}\n" for number in range(1, ktap.MAX_RESULTS + 500)))
    assert len(document.results) == ktap.MAX_RESULTS
    assert document.has(Flaw.OVERFLOW)


def test_a_very_long_line_is_cut() -> None:
    (result,) = results("ok 1 " + "x" * 10_000_000 + "\n")
    assert len(result.name) < ktap.MAX_LINE


def test_depth_is_bounded() -> None:
    text = "".join("  " * depth + "KTAP version 1\n" for depth in range(200))
    assert ktap.parse(text + "ok 1 a\n").results[0].name == "a"


LINE = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [
            *("KTAP version 1", "TAP version 13", "1..3", "1..0 # SKIP none", "ok", "not ok", "ok 99999999999 z"),
            *("ok 1 a", "not ok 2 b # TIMEOUT x", "ok 3 c # SKIP y", "# talk", "# duration_ms=4", "# Subtest: s"),
            *("Bail out! no", "1..2 # two of them", "[    1.2] ok 4 d", "[    1.234567][   T80]     not ok 5 e"),
        ]
    ),
)
PREFIX = st.sampled_from(["", "  ", "    ", "# ", "# # ", "\t"])
STREAM = st.lists(st.tuples(PREFIX, LINE).map("".join), max_size=60).map("\n".join)


def depth_of(result: Result) -> int:
    return 1 + max(map(depth_of, result.children), default=0)


@given(st.one_of(STREAM, STREAM.map("{}\n".format), st.text()))
def test_never_raises_and_keeps_no_more_than_came(text: str) -> None:
    document = ktap.parse(text)
    assert len(document.results) <= text.count("ok")
    assert len(document.defects) <= ktap.MAX_DEFECTS
    assert all(depth_of(result) <= ktap.MAX_DEPTH for result in document.results)
    assert all(1 <= result.line <= text.count("\n") for result in document.results)


CALM_LINE = st.one_of(
    st.builds(
        "{} {} {}{}".format,
        st.sampled_from(["ok", "not ok"]),
        st.integers(1, 4),
        st.sampled_from(["a", "b", "c.d", "e f", "- g", ""]),
        st.sampled_from(
            ["", "", " # SKIP", " # SKIP  why ", " # skip: why", " # TIMEOUT x # SKIP y", " # SKIPPING", "#"]
        ),
    ),
    st.sampled_from(
        ["# duration_ms=4", "#duration_ms=1.5 ", "# said", "#", "#  x", "# \ufffd", "# Subtest: x", "", "talk"]
    ),
    st.sampled_from(
        ["# KTAP version 1", "  KTAP version 1", "1..2", "# 1..2", "# \t", "Bail out!", "# # ok 1 a", "# ok 1 a"]
    ),
)


def numbered(lines: list[str]) -> list[str]:
    """The result lines numbered as they come."""
    number = itertools.count(1)
    return [re.sub(r"^(not ok|ok) \d", lambda found: f"{found[1]} {next(number)}", line) for line in lines]


@given(
    st.lists(CALM_LINE, max_size=8).flatmap(lambda lines: st.sampled_from([lines, numbered(lines)])),
    st.integers(0, 4),
    st.sampled_from(["\n", "\n", "", "\n\n"]),
)
def test_the_quick_way_finds_what_the_thorough_one_does(lines: list[str], count: int, end: str) -> None:
    text = "\n".join(["KTAP version 1", f"1..{count}", *lines]) + end
    assert ktap._calm(text) in (None, ktap._parse(text))


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.stem)
def test_the_quick_way_is_for_streams_without_a_defect(log: Path) -> None:
    text = read(log)
    assert ktap._calm(text) in (None, ktap._parse(text))
    assert ktap._calm(text) is None or not ktap._parse(text).defects


def test_an_ordinary_stream_goes_the_quick_way() -> None:
    text = "KTAP version 1\n1..2\n# a.c:3: x\n# duration_ms=1.5\nnot ok 1 a\nok 2 b # SKIP why\n"
    assert ktap._calm(text) == ktap._parse(text)


@given(st.binary(max_size=300))
def test_any_bytes(raw: bytes) -> None:
    ktap.parse(raw.decode("utf-8", "replace"))


@given(STREAM, st.integers(min_value=0))
def test_a_cut_never_makes_a_result_up(text: str, cut: int) -> None:
    """What a torn stream reports at the top level is the beginning of what the whole one reports."""
    whole = [(result.name, result.ok) for result in ktap.parse(text).results]
    torn = [(result.name, result.ok) for result in ktap.parse(text[: cut % (len(text) + 1)]).results]
    assert torn == whole[: len(torn)]


OWN = ("TAP version 13", "1..3", "ok 1 - one", "not ok 2 - two", "ok 3 - three # SKIP none here")


@pytest.mark.parametrize(
    "prefix",
    [
        "<6>[    1.500000][   T80] ",
        "Jan  2 03:04:05 own kernel: [    1.500000] ",
        "Jan 02 03:04:05 own run.sh[80]: ",
        "[Fri Jan  2 03:04:05 2026] ",
        "2026-01-02T03:04:05.123Z ",
        "[2026-01-02 03:04:05] ",
        "[03:04:05] ",
        "03:04:05.123 ",
        "\x1b[32m",
    ],
)
def test_what_a_runner_puts_before_each_line_is_taken_off(prefix: str) -> None:
    document = ktap.parse("".join(f"{prefix}{line}\n" for line in OWN))
    assert [(result.name, result.ok, result.directive) for result in document.results] == [
        ("one", True, ""),
        ("two", False, ""),
        ("three", True, "SKIP"),
    ]
    assert document.plan is not None
    assert not document.defects


def test_a_message_of_the_kernel_before_the_newline_is_no_part_of_the_name() -> None:
    document = ktap.parse("KTAP version 1\n1..2\nok 1 - one # SKIP none[   12.345678] mm: own\n\nok 2 - two [1.5]\n")
    assert [(result.name, result.directive, result.reason) for result in document.results] == [
        ("one", "SKIP", "none"),
        ("two [1.5]", "", ""),
    ]
    assert document.results[0].diagnostics == ("[   12.345678] mm: own",)


def test_a_time_in_a_line_is_no_stamp_of_all() -> None:
    document = ktap.parse("KTAP version 1\n1..1\n12:00:00 ok 1 - too early\nok 1 - one\n")
    assert [result.name for result in document.results] == ["one"]


@pytest.mark.parametrize("text", ["\ufeff" + "\n".join(OWN) + "\n", "\r\r\n".join(OWN) + "\r\r\n"])
def test_marks_of_other_systems_at_the_ends_are_no_flaw(text: str) -> None:
    document = ktap.parse(text)
    assert (len(document.results), document.defects) == (3, ())


def test_what_looks_like_results_in_yaml_is_none() -> None:
    text = "TAP version 13\n1..2\nnot ok 1 - one\n  ---\n  got: |\n    ok 1 - fake\n  ...\nok 2 - two\n"
    document = ktap.parse(text)
    assert [(result.name, result.children) for result in document.results] == [("one", ()), ("two", ())]
    assert document.results[1].diagnostics == ("  ---", "  got: |", "    ok 1 - fake", "  ...")
    assert not document.defects


def test_yaml_without_an_end_ends_with_its_indentation() -> None:
    document = ktap.parse("TAP version 13\n1..2\nok 1 - one\n  ---\n  x: 1\nok 2 - two\n")
    assert [result.name for result in document.results] == ["one", "two"]
