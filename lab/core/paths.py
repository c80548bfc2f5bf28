# SPDX-License-Identifier: GPL-2.0-or-later
"""Paths as users write them, and where the lab's own data lies: in a checkout or inside an installed wheel."""

from __future__ import annotations

import os
import re
from pathlib import Path

from lab.core.errors import did_you_mean

IMAGE, PACKAGE = "image:", "debian:linux-image-"
"""How the source of a kernel begins that exists already: a file, or a package of the distribution."""
GUEST_ROOT = "newroot"
"""The directory of a guest that programs have as `/`, where they have a root of their own."""


def user_path(word: str | Path) -> Path:
    """The path with `~` and `~user` expanded; as it was written where that means nobody, so that it names no file."""
    try:
        return Path(word).expanduser()
    except RuntimeError:
        return Path(word)


def is_path(word: str) -> bool:
    """Whether a word of a command line is the path of a YAML file rather than a name or a glob of names."""
    return not is_prebuilt(word) and ("/" in word or word.endswith((".yaml", ".yml")))


def absolute_word(word: str) -> str:
    """Return a word of a command line in a form that means the same from any directory."""
    if word.startswith(IMAGE):
        return f"{IMAGE}{user_path(word.removeprefix(IMAGE)).absolute()}"
    return str(user_path(word).absolute()) if is_path(word) else word


def is_prebuilt(source: str) -> bool:
    """Whether the source of a kernel, or a word of a command line that names one, is a kernel that exists already."""
    return source.startswith((IMAGE, PACKAGE))


def prebuilt_name(source: str) -> str:
    """Return the name of a kernel that a command line names by its source alone."""
    rest = source.partition(":")[2]
    return re.sub(r"[^A-Za-z0-9._+-]", "-", Path(rest).name)


def data_root() -> Path:
    """The directory that holds images/, guest_tests/ and topologies/."""
    package = Path(__file__).resolve().parents[1]
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


def reports() -> Path:
    return guest_tests() / "reports"


def topologies() -> Path:
    return data_root() / "topologies"


def no_file(path: Path) -> str:
    """Return what there is in place of a file, with the nearest name if there is nothing."""
    try:
        if path.is_dir():
            return "is a directory"
        if path.is_symlink() and not path.exists():
            return "is a link that leads nowhere"
        if path.exists():
            return "is no regular file"
        return f"no such file{did_you_mean(path.name, (other.name for other in path.parent.iterdir()))}"
    except OSError as error:
        return error.strerror or "no such file"


def instead_of_file(path: Path) -> str:
    """Return what there is in place of a file, in words that fit behind "got"."""
    return no_file(path).removeprefix("is ")


def exists(path: Path) -> bool:
    """Whether a path names anything; False where that cannot be known: too long a name, no permission."""
    try:
        return path.exists()
    except OSError:
        return False


def is_file(path: Path) -> bool:
    """Whether a path names a regular file; False where that cannot be known: too long a name, no permission."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_directory(path: Path) -> bool:
    """Whether a path names a directory; False where that cannot be known."""
    try:
        return path.is_dir()
    except OSError:
        return False


def no_directory(path: Path) -> str:
    """Return why files cannot be written to a directory, which need not exist yet; empty if they can."""
    try:
        place = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
        if not place.is_dir():
            return f"{place} is no directory"
        return "" if os.access(place, os.W_OK | os.X_OK) else f"{place} is not writable"
    except OSError as error:
        return error.strerror or "not readable"
