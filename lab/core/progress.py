# SPDX-License-Identifier: GPL-2.0-or-later
"""How long work reports its progress; `lab/cli.py` decides how that looks."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called often and from any thread; must be cheap.

    It may raise only to end the work: a LabError, and only in the thread that began the work.
    """

    def __call__(self, detail: str, *, done: float | None = None) -> None:
        """`detail` is a short phrase (the directory being compiled, say); `done` a fraction 0..1 where it is known."""


def silent(detail: str, *, done: float | None = None) -> None:
    """Report nothing: for work that nobody watches."""
