# SPDX-License-Identifier: GPL-2.0-or-later
"""The version of an emulator that is installed here, and how two versions compare."""

from __future__ import annotations

import functools
import re

from lab.core import proc


def installed(program: str) -> str:
    """Return the version of an emulator, such as `7.2.22 (Debian 1:7.2+dfsg-7)`; empty if it is not installed."""
    path = proc.which(program)
    if path is None:
        return ""
    return _said_by(path)


@functools.cache
def _said_by(path: str) -> str:
    printed = proc.run([path, "--version"], timeout_s=60, check=False).output
    return printed.partition("\n")[0].removeprefix("QEMU emulator version ")


def release(text: str) -> tuple[int, int]:
    """Return major and minor number of a version; (0, 0) if it has none."""
    numbers = re.match(r"(\d+)\.(\d+)", text)
    if not numbers:
        return 0, 0
    return int(numbers[1]), int(numbers[2])
