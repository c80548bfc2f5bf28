# SPDX-License-Identifier: GPL-2.0-or-later
"""Series of patches: finds the one for a kernel's version, reads it, and computes the files that it makes of a tree.

images/series/<series>/<kernel version>/NNNN-*.patch, or a directory or a single patch of the user's.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.core.errors import InputError, UsageError, unknown
from lab.core.paths import user_path
from lab.formats import patch
from lab.specs.model import JOINT

_VERSION = re.compile(r"(\d+\.\d+)(?:\.\d+)?(.*)")
_SUFFIXES = (".patch", ".diff")
MAX_PATCH = 64 << 20
"""Bytes; the largest patch between two releases of a kernel has some 50 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """One patch of a series: its file's name, hex SHA-256 of its content, and what it changes."""

    name: str
    path: Path
    sha256: str
    changes: tuple[patch.FileChange, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Patches in the order they are applied; none for a kernel as it is (`name` is None then)."""

    name: str | None
    patches: tuple[Patch, ...] = ()

    @property
    def sha256(self) -> str:
        """Hex SHA-256 over the patches' hashes, in order; empty for no series."""
        if not self.patches:
            return ""
        return hashlib.sha256("".join(each.sha256 for each in self.patches).encode()).hexdigest()

    @property
    def touched(self) -> frozenset[str]:
        """Every path in the tree that a patch makes, changes or removes."""
        changes = (change for each in self.patches for change in each.changes)
        return frozenset(name for change in changes for name in (change.old, change.new) if name)


NONE = Series(name=None)


def load(name: str | None, version: str, *, root: Path) -> Series:
    """The series called `name` for a tree of this kernel version; `root` is images/series.

    `name` may also be a path (with a slash, or ending in .patch): of a directory of patches, of a directory with one
    directory per version like those below `root`, or of one patch. Or it is several of all these with JOINT between
    them, whose patches follow each other. UsageError when there is none, InputError when a patch is malformed.
    """
    if name is None:
        return NONE
    patches = (each for part in name.split(JOINT) for each in _patches(part, version, root))
    return Series(name=name, patches=tuple(patches))


def _patches(name: str, version: str, root: Path) -> Iterator[Patch]:
    found = _user_path(name) if _is_path(name) else _named(name, root)
    if found.is_dir() and not _patches_in(found):
        found = _for_version(found, name, version)
    yield from map(_read, _patches_in(found) if found.is_dir() else [found])


def _is_path(name: str) -> bool:
    return "/" in name or name.startswith(("~", ".")) or name.endswith(_SUFFIXES)


def _user_path(name: str) -> Path:
    path = user_path(name).absolute()
    if not path.exists():
        raise UsageError(f"series {name}: no such file or directory: {path}")
    return path


def _named(name: str, root: Path) -> Path:
    choices = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    if name not in choices:
        raise unknown("series", name, choices)
    return root / name


def _for_version(directory: Path, name: str, version: str) -> Path:
    """The subdirectory for a kernel version: the exact one (6.12.117), else major.minor (6.12)."""
    choices = sorted(path.name for path in directory.iterdir() if path.is_dir() and _patches_in(path))
    match = _VERSION.match(version)
    for candidate in (version, match[1] if match else version):
        if candidate in choices:
            return directory / candidate
    have = ", ".join(choices) or "none"
    hint = f"there are patches for: {have}; add {directory / (match[1] if match else version)}/0001-*.patch"
    raise UsageError(f"series {name} has no patches for kernel {version}", hint=hint)


def _patches_in(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if path.suffix in _SUFFIXES and path.is_file())


def fix(name: str, text: str, where: str) -> Patch:
    """A patch that the lab itself carries, from its text; `where` says in messages which file that is in."""
    return from_text(name, text.encode(), where)


def from_text(name: str, data: bytes, where: str) -> Patch:
    """A patch from its text; InputError, with the line in `where`, when it is malformed."""
    return Patch(name=name, path=Path(where), sha256=hashlib.sha256(data).hexdigest(), changes=patch.parse(data, where))


def applicable(patches: Iterable[Patch], pristine: patch.Lookup) -> tuple[Patch, ...]:
    """Those of independent patches that apply to a tree as it is."""
    return tuple(each for each in patches if _applies(each, pristine))


def _applies(candidate: Patch, pristine: patch.Lookup) -> bool:
    try:
        changed_files([candidate], pristine)
    except patch.DoesNotApply:
        return False
    return True


def _read(path: Path) -> Patch:
    try:
        if not path.is_file():
            raise InputError(path, None, None, "expected a file with a patch")
        with path.open("rb") as file:
            data = file.read(MAX_PATCH + 1)
        if len(data) > MAX_PATCH:
            raise InputError(path, None, None, f"expected a patch of at most {MAX_PATCH >> 20} MiB")
    except OSError as error:
        raise InputError(path, None, None, f"cannot read the patch: {error.strerror}") from error
    return from_text(path.name, data, str(path))


def changed_files(patches: Iterable[Patch], pristine: patch.Lookup) -> dict[str, patch.Content | None]:
    """Return what the patches, one upon the other, make of a tree: every touched path -> its content, None if removed.

    DoesNotApply names the patch, the file and the hunk, AlreadyApplied a patch that the tree has. Nothing is written.
    """
    tree = patch.Tree(pristine)
    for each in patches:
        before = dict(tree.changed)
        try:
            for change in each.changes:
                tree.apply(change, each.name)
        except patch.DoesNotApply:
            if patch.is_applied(each.changes, patch.Tree(pristine, before).get):
                raise patch.AlreadyApplied(f"{each.name}: already applied: the tree has all of it") from None
            raise
    return tree.changed
