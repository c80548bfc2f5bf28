# SPDX-License-Identifier: GPL-2.0-or-later
"""Deadlines: one is made for a task and passed to everything that waits for a part of it, which never extends it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from lab.core.errors import DeadlineExceeded


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """A moment on the monotonic clock (seconds) by which `what` must have happened."""

    at: float
    what: str
    budget_s: float

    @classmethod
    def after(cls, seconds: float, what: str, *, scale: float = 1.0) -> Deadline:
        """Return the deadline `seconds` times `scale` from now; see `Accelerator.slowdown` for the scale of guests."""
        budget = seconds * scale
        return cls(at=time.monotonic() + budget, what=what, budget_s=budget)

    @property
    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at - time.monotonic())

    @property
    def expired(self) -> bool:
        return self.remaining == 0.0

    def check(self) -> None:
        """Raise DeadlineExceeded once the deadline has passed."""
        if self.expired:
            raise DeadlineExceeded(f"{self.what}: not done within {self.budget_s:.1f} s")

    def wait_for(self, condition: Callable[[], bool], *, interval_s: float = 0.02) -> None:
        """Poll `condition` until it is true; DeadlineExceeded if the deadline passes first.

        `condition` may raise to end the wait early, for example when the guest has died.
        """
        while not condition():
            self.check()
            time.sleep(min(interval_s, self.remaining))


def pause(seconds: float) -> None:
    """Sleep for a short, known time if there is no condition to poll, such as for a clock's step."""
    time.sleep(max(0.0, seconds))
