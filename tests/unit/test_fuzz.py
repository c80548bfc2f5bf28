# SPDX-License-Identifier: GPL-2.0-or-later
"""Every reader of what others wrote: a second of fuzzing each, what fuzzing has found, and work that grows linearly."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from lab.core.errors import InputError
from tests.fuzz.engine import Fuzzer, lines_executed, peak, smaller
from tests.fuzz.targets import COMMON, TARGETS, Target, directory

SECONDS = 0.4
LINEAR = 10.0
"""How many times as many lines four times the input may execute: 4 if they grow linearly, 16 if quadratically."""
FEW_LINES = 5000
"""Below that the fixed part of reading hides how the rest grows."""
MEMORY, FACTOR = 2 << 20, 200
"""Bytes of memory at the peak: for any input, and for a byte of it."""


@pytest.fixture(scope="module", autouse=True)
def leave_nothing() -> Iterator[None]:
    yield
    shutil.rmtree(directory(), ignore_errors=True)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_a_moment_of_fuzzing(target: Target) -> None:
    fuzzer = Fuzzer(target=target)
    fuzzer.run(seconds=SECONDS)
    assert not [(each.why, each.data[:200]) for each in fuzzer.crashes.values()]
    assert fuzzer.corpus


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_work_grows_with_the_input(target: Target) -> None:
    for unit in (*COMMON, *target.words, *target.units):
        assert_linear(target, unit)


def assert_linear(target: Target, unit: bytes) -> None:
    """Read a text that repeats `unit`, and one of four times its length."""
    small, large = (unit * (size // len(unit)) for size in (target.large // 16, target.large // 4))
    before, spent = lines_executed(target, small), lines_executed(target, large)
    if spent > FEW_LINES:
        assert spent < LINEAR * before, f"{unit!r}: {before} lines, and {spent} for four times as much"


def quadratic(data: bytes) -> None:
    for start in range(len(data)):
        for _ in data[start:]:
            pass


def test_quadratic_work_is_found() -> None:
    target = Target(name="quadratic", read=quadratic, seeds=lambda: [], large=2048)
    with pytest.raises(AssertionError, match="for four times as much"):
        assert_linear(target, b"x")


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_memory_is_bounded(target: Target) -> None:
    units = (*COMMON, *target.words, *target.units)
    data = b"".join(unit * (target.large // len(units) // len(unit)) for unit in units)
    assert peak(target, data) < MEMORY + FACTOR * len(data)


FOUND: tuple[tuple[str, bytes], ...] = (
    ("listing", b"[" * 100_000),
    ("patch", b"--- a/mm/a\x1b[2Jc\n+++ b/../x\n"),
    ("patch", b"--- a/m\n+++ m/c\n@@ -3 +1," + b"9" * 5000 + b" @@\n"),
    ("listing", b'{"name":"a","timeout_s":1' + b"0" * 400 + b"}\n"),
    ("topology", b"[1,E0"),
    ("kernel", b"s: e1"),
    ("kernel", b"source: path:./~-"),
    ("kernel", b"source: debian:l2\nseries: expan" + b"9" * 300),
    ("fragment", b"9" * 30_000),
    ("config", b"CONFIG_A=0x"),
)
"""What fuzzing has found, as small as it could be made."""


@pytest.mark.parametrize(("name", "data"), FOUND)
def test_what_was_found_stays_mended(name: str, data: bytes) -> None:
    TARGETS[name].run(data)


# The fuzzer itself.


def fragile(data: bytes) -> None:
    """Breaks on a word that no seed holds, behind two steps that the lines reached tell apart."""
    if b"x" in data:
        raise InputError("my.file", 1, None, "no x")
    assert not data.startswith(b"bu" + b"g")


def test_the_fuzzer_finds_a_defect_and_makes_it_small() -> None:
    target = Target(name="fragile", read=fragile, seeds=lambda: [b"hello"], words=(b"bug",))
    fuzzer = Fuzzer(target=target)
    fuzzer.run(seconds=20, runs=3000)
    (crash,) = fuzzer.crashes.values()
    assert "AssertionError" in crash.why
    assert smaller(crash, target).data == b"bug"


def test_errors_of_the_house_are_no_defects() -> None:
    target = Target(name="fragile", read=fragile, seeds=lambda: [b"x"])
    target.run(b"x")
