# SPDX-License-Identifier: GPL-2.0-or-later
"""Paths as users write them."""

from __future__ import annotations

from pathlib import Path


def user_path(word: str | Path) -> Path:
    """The path with `~` and `~user` expanded; as it was written where that means nobody, so that it names no file."""
    try:
        return Path(word).expanduser()
    except RuntimeError:
        return Path(word)
