# SPDX-License-Identifier: GPL-2.0-or-later
"""Deadlines: scaled once, never renewed, and a waiter that learns of an early death."""

from __future__ import annotations

import time

import pytest

from lab.core.deadline import Deadline
from lab.core.errors import BootError, DeadlineExceeded


def test_scaled_and_counting_down() -> None:
    deadline = Deadline.after(2, "x", scale=10)
    assert deadline.budget_s == 20
    assert 19 < deadline.remaining <= 20
    assert not deadline.expired
    deadline.check()


def test_expired_says_what_was_waited_for() -> None:
    deadline = Deadline.after(0, "booting")
    assert deadline.remaining == 0
    with pytest.raises(DeadlineExceeded, match=r"booting: not done within 0\.0 s"):
        deadline.check()


def test_wait_ends_with_the_condition() -> None:
    answers = iter([False, False, True])
    Deadline.after(5, "x").wait_for(lambda: next(answers), interval_s=0.001)
    assert next(answers, None) is None


def test_wait_gives_up_at_the_deadline_and_not_before() -> None:
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        Deadline.after(0.1, "x").wait_for(lambda: False, interval_s=0.01)
    assert 0.09 < time.monotonic() - started < 2


def test_a_condition_may_report_an_early_death() -> None:
    def dead() -> bool:
        raise BootError("gone")

    with pytest.raises(BootError):
        Deadline.after(60, "x").wait_for(dead)
