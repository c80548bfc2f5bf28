# SPDX-License-Identifier: GPL-2.0-or-later
"""The errors the lab raises on purpose, sorted by whose fault they are.

Everything here derives from `LabError`; `lab/cli.py` is the one place that catches it, prints it and picks the
exit code. Anything else that escapes is a defect of the lab and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from lab.core.outcome import Cause


class LabError(Exception):
    """A failure that the lab expects and reports without a traceback.

    `message` states what happened, `hint` what to do about it (if possible a command to type). `cause` becomes the
    cause of the cases that could not be run because of the error.
    """

    exit_code = 2
    cause: ClassVar[Cause] = Cause.LAB

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        if not self.hint:
            return self.message
        return f"{self.message} ({self.hint})"


class UsageError(LabError):
    """The user's arguments or files are wrong: nothing was built, started or deleted."""

    exit_code = 64


MAX_MESSAGE = 10_000
"""Most characters of an error about a file, because the line that it quotes may have any length."""


class InputError(UsageError):
    """A file of the user's is wrong at a known place.

    Prints as `FILE:LINE: KEY: what was expected; did you mean 'X'?`, one line.
    """

    def __init__(
        self, path: Path | str, line: int | None, key: str | None, expected: str, *, nearest: str | None = None
    ) -> None:
        place = f"{path}:{line}" if line else str(path)
        text = ": ".join(part for part in (place, key, expected) if part)
        if nearest:
            text += f"; did you mean {nearest!r}?"
        if len(text) > MAX_MESSAGE:
            text = f"{text[:MAX_MESSAGE]}..."
        super().__init__(text)
        self.path, self.line, self.key, self.expected, self.nearest = str(path), line, key, expected, nearest


class InfraError(LabError):
    """The lab or its host failed; the error says nothing about the kernel under test."""


class DiskFull(InfraError):
    """There is no room left on one of the host's disks."""

    cause = Cause.DISK_FULL


class LibvirtError(InfraError):
    """libvirt refused a request, or the connection to it failed."""

    cause = Cause.LIBVIRT


class _WithExcerpt(LabError):
    """An error with its evidence: `excerpt`, some lines of a program's or a kernel's output."""

    def __init__(self, message: str, *, hint: str | None = None, excerpt: str = "") -> None:
        super().__init__(message, hint=hint)
        self.excerpt = excerpt

    def __str__(self) -> str:
        if not self.excerpt:
            return super().__str__()
        return f"{super().__str__()}\n{self.excerpt}"


class BuildError(_WithExcerpt):
    """A kernel, a guest test or the userland did not build; the excerpt is from the compiler's output."""

    cause = Cause.BUILD


class BootError(_WithExcerpt):
    """The kernel under test did not reach the guest's ready line; the excerpt is the end of its console."""

    cause = Cause.NO_BOOT


class GuestLost(LabError):
    """A guest that had booted stopped answering (connection lost, QEMU dead, kernel panicked)."""

    cause = Cause.SSH_LOST


class DeadlineExceeded(LabError):
    """A deadline passed; the message names the awaited event and the time limit."""


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """Return the choice most like `word`, capitals aside; None if none is like it."""
    by_small: dict[str, str] = {}
    for choice in choices:
        by_small.setdefault(choice.lower(), choice)
    for small in difflib.get_close_matches(word.lower(), list(by_small), n=1, cutoff=0.5):
        return by_small[small]
    return None


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return `; did you mean 'X'?` for the end of a message; empty if no choice is like `word`."""
    near = nearest(word, choices)
    if near is None:
        return ""
    return f"; did you mean {near!r}?"


def unknown(kind: str, word: str, choices: Iterable[str]) -> UsageError:
    """Return the error for a name that is not in a registry, with the choices and the nearest one."""
    listed = sorted(choices)
    return UsageError(
        f"unknown {kind} {word!r}{did_you_mean(word, listed)}", hint=f"choices: {', '.join(listed) or 'none'}"
    )
