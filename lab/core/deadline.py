# SPDX-License-Identifier: GPL-2.0-or-later
"""Time as a deadline: made once, passed down, never renewed by whoever waits on it."""

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
        """`seconds` from now on real hardware, stretched by `scale` (see `Accelerator.slowdown`)."""
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
        """Poll `condition` until it is true; DeadlineExceeded when it never was.

        `condition` may raise to report an early death, so that nobody waits for a guest that is gone.
        """
        while not condition():
            self.check()
            time.sleep(min(interval_s, self.remaining))


def pause(seconds: float) -> None:
    """Let a short time pass that is known beforehand and that nothing tells the end of, such as a clock's step."""
    time.sleep(max(0.0, seconds))
