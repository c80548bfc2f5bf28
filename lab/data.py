# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the lab's own data (images/, guest_tests/, topologies/) lies: in a checkout or inside an installed wheel."""

from __future__ import annotations

import os
from pathlib import Path

from lab.paths import user_path


def data_root() -> Path:
    """The directory that holds images/, guest_tests/ and topologies/."""
    package = Path(__file__).resolve().parent
    bundled = package / "_data"
    return bundled if bundled.is_dir() else package.parent


def images() -> Path:
    return data_root() / "images"


def guest_tests() -> Path:
    return data_root() / "guest_tests"


def scenarios() -> tuple[Path, ...]:
    """Directories of scenario programs: the lab's own, then the user's (PAGELAB_SCENARIOS, colons between them)."""
    own = os.environ.get("PAGELAB_SCENARIOS", "").split(os.pathsep)
    return (guest_tests(), *(user_path(word).absolute() for word in own if word))


def topologies() -> Path:
    return data_root() / "topologies"
