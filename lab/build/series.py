# SPDX-License-Identifier: GPL-2.0-or-later
"""Find the series of patches for a kernel's version, read it, and compute the files that it changes in a tree.

images/series/<series>/<kernel version>/NNNN-*.patch, or a directory or a single patch of the user's.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from lab.arch.record import Arch
from lab.core.errors import InputError, UsageError, unknown
from lab.core.paths import user_path
from lab.formats.patches import patch
from lab.specs.model import JOINT

_VERSION = re.compile(r"(\d+\.\d+)(?:\.(\d+))?")
_SUFFIXES = (".patch", ".diff")
QUILT = "series"
_LEVELS = frozenset({"-p0", "-p1", "-pab", "-p", "0", "1"})
"""Options in quilt's file; which of them is right the names in a patch tell."""
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
    """Patches in the order in which they are applied. `name` is None for an unpatched kernel."""

    name: str | None
    patches: tuple[Patch, ...] = ()

    @property
    def sha256(self) -> str:
        """Return the hex SHA-256 over the patches' hashes, in order; empty without patches."""
        if not self.patches:
            return ""
        hashes = (item.sha256 for item in self.patches)
        return hashlib.sha256("".join(hashes).encode()).hexdigest()

    @property
    def touched(self) -> frozenset[str]:
        """Return every path in the tree that a patch adds, changes or removes."""
        names: set[str] = set()
        for item in self.patches:
            for change in item.changes:
                names.update(filter(None, (change.old, change.new)))
        return frozenset(names)


NONE = Series(name=None)


def load(name: str | None, version: str, *, root: Path) -> Series:
    """Return the series called `name` for a tree of this kernel version; `root` is images/series.

    `name` may also be a path (with a slash, or ending in .patch): of a directory of patches, of a directory with one
    directory per version like those below `root`, or of one patch. Or it is several of these joined
    by JOINT, whose patches are applied in this order. UsageError if there is none, InputError if a patch is malformed.
    """
    if name is None:
        return NONE
    patches: list[Patch] = []
    for part in name.split(JOINT):
        patches += _patches(part, version, root)
    return Series(name=name, patches=tuple(patches))


def _patches(name: str, version: str, root: Path) -> Iterator[Patch]:
    place = _user_path(name) if _is_path(name) else _named(name, root)
    if not place.is_dir():
        yield _read(place)
        return
    yield from map(_read, _patches_in(place) or _for_version(place, name, version))


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


def _for_version(directory: Path, name: str, version: str) -> list[Path]:
    """Return the patches for a kernel version: those of its major.minor (6.12), later ones in place of earlier ones.

    A directory such as 6.12.118 has the patches that are other ones from that version on. Each takes the place of the
    patch with its number, or its name if that has no number; all others stay those of 6.12.
    """
    match = _VERSION.match(version)
    minor, level = (match[1], int(match[2] or 0)) if match else (version, 0)
    places = {path.name: found for path in directory.iterdir() if path.is_dir() and (found := _patches_in(path))}
    if minor not in places:
        have = ", ".join(sorted(places)) or "none"
        hint = f"there are patches for: {have}; add {directory / minor}/0001-*.patch"
        raise UsageError(f"series {name} has no patches for kernel {version}", hint=hint)
    patches = places[minor]
    levels = [int(known[len(minor) + 1 :]) for known in places if re.fullmatch(rf"{re.escape(minor)}\.\d+", known)]
    for later in sorted(each for each in levels if each <= level):
        patches = _replaced(patches, places[f"{minor}.{later}"])
    return patches


def _replaced(patches: Sequence[Path], later: Iterable[Path]) -> list[Path]:
    """Return patches with later ones in the places of those that have their number or name; new ones come last."""
    left: dict[str, list[Path]] = {}
    for path in later:
        left.setdefault(_number(path), []).append(path)
    replaced = frozenset(left)
    result = []
    for path in patches:
        number = _number(path)
        result += left.pop(number, []) if number in replaced else [path]
    return [*result, *chain.from_iterable(left.values())]


def _number(path: Path) -> str:
    """Return the number that a patch's name begins with; the whole name if it begins with none."""
    found = re.match(r"\d+", path.name)
    return found[0] if found else path.name


def _patches_in(directory: Path) -> list[Path]:
    found = [path for path in directory.iterdir() if path.suffix in _SUFFIXES and path.is_file()]
    return listed(directory) or sorted((path for path in found if not path.name.startswith(".")), key=by_number)


def by_number(path: Path) -> list[tuple[int, str]]:
    """Return the parts of a file's name to sort it by: `2.patch` comes before `10.patch`."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def listed(directory: Path) -> list[Path]:
    """Return the patches that quilt's file `series` lists, in its order; none if there is no such file.

    InputError, with its line, for a patch that is not there and for an option that is not -p0 or -p1. InputError for a
    file that lists nothing, since it does not say which of the patches beside it are meant.
    """
    listing = next((place for place in (directory / QUILT, directory / "patches" / QUILT) if place.is_file()), None)
    if listing is None:
        return []
    files = []
    for number, line in enumerate(listing.read_text(errors="replace").splitlines(), start=1):
        name, *options = line.partition("#")[0].split() or [""]
        if set(options) - _LEVELS:
            raise InputError(listing, number, None, f"expected NAME or NAME -p1, got {line.strip()!r}")
        if name and not (listing.parent / name).is_file():
            raise InputError(listing, number, None, f"names {name}, which is not there")
        if name:
            files.append(listing.parent / name)
    if not files:
        raise InputError(listing, None, None, "expected the names of patches, one per line, found none")
    return files


def fixes_of(arch: Arch) -> tuple[Patch, ...]:
    """Return the patches that an architecture's record has for trees that do not compile for it."""
    where = f"lab/arch/{arch.name}.py"
    return tuple(from_text(reason, text.encode(), where) for reason, text in arch.fixes.items())


def from_text(name: str, data: bytes, where: str) -> Patch:
    """Return a patch from its text; InputError, with the line in `where`, if it is malformed."""
    return Patch(name=name, path=Path(where), sha256=hashlib.sha256(data).hexdigest(), changes=patch.parse(data, where))


def applicable(patches: Iterable[Patch], pristine: patch.Lookup) -> tuple[Patch, ...]:
    """Return those of some independent patches that apply to a tree as it is."""
    return tuple(candidate for candidate in patches if _applies(candidate, pristine))


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
    """Apply the patches in order and return every changed path -> its content, None if it was removed.

    DoesNotApply names the patch, the file and the hunk, AlreadyApplied a patch that the tree has. Nothing is written.
    """
    tree = patch.Tree(pristine)
    left = list(patches)
    while left:
        before = dict(tree.changed)
        try:
            for change in left[0].changes:
                tree.apply(change, left[0].name)
        except patch.DoesNotApply:
            _check_not_there(left, patch.Tree(pristine, before))
            raise
        del left[0]
    return tree.changed


def _check_not_there(left: Sequence[Patch], tree: patch.Tree) -> None:
    """Raise AlreadyApplied if a tree has the first of some patches, or all of them, of which later ones change more."""
    name = left[0].name
    if patch.is_applied(left[0].changes, tree.get):
        raise patch.AlreadyApplied(f"{name}: already applied: the tree has all of it") from None
    if patch.is_applied([change for item in left for change in item.changes], tree.get):
        raise patch.AlreadyApplied(
            f"{name}: already applied, as the {len(left) - 1} after it: the tree has all of them"
        ) from None
