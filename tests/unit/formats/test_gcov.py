# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/formats/gcov.py: what a guest keeps of each case, what gcov prints, and what is damaged."""

from __future__ import annotations

import json

import pytest

from lab.formats import gcov

PATH = "/sys/kernel/debug/gcov/tree/mm/shmem.gcda"


def record(data: bytes, path: str = PATH) -> bytes:
    return f"gcda {len(data)} {path}\n".encode() + data + b"\n"


def test_the_counters_of_each_case() -> None:
    kept = record(b"a\nb") + record(b"", "/other.gcda") + b"case first\n" + record(b"\0case x\n") + b"case second\n"
    assert gcov.split(kept) == {
        "first": {PATH: b"a\nb", "/other.gcda": b""},
        "second": {PATH: b"\0case x\n"},
    }


def test_a_case_that_took_the_guest_with_it_is_left_out() -> None:
    whole = record(b"abc") + b"case first\n"
    rest = record(b"0123456789")
    for end in range(len(rest)):
        assert gcov.split(whole + rest[:end]) == {"first": {PATH: b"abc"}}


def test_other_bytes_in_the_middle_are_damage() -> None:
    with pytest.raises(ValueError, match="damaged at byte 11 of 25"):
        gcov.split(b"case first\nwhat is this\nx\n"[:25])


def document(name: str, lines: list[tuple[int, int]]) -> str:
    counted = [{"line_number": number, "count": count, "function_name": "f"} for number, count in lines]
    return json.dumps({"data_file": name, "files": [{"file": "../mm/shmem.c", "lines": counted}]})


@pytest.mark.parametrize("between", ["\n", "\n\n", ""])
def test_what_gcov_prints(between: str) -> None:
    text = between.join([document("a.gcda", [(3, 1), (4, 0), (3, 2)]), document("b.gcda", [])])
    assert list(gcov.parse(text.encode())) == [
        ("a.gcda", {"../mm/shmem.c": {3: 3, 4: 0}}),
        ("b.gcda", {"../mm/shmem.c": {}}),
    ]


def test_what_gcov_does_not_print() -> None:
    with pytest.raises(ValueError, match="no key `files`"):
        list(gcov.parse(b"{}"))


def test_a_sum_keeps_lines_that_never_ran() -> None:
    assert gcov.total([{"a": {1: 0, 2: 1}}, {"a": {2: 2}, "b": {7: 0}}]) == {"a": {1: 0, 2: 3}, "b": {7: 0}}
