# SPDX-License-Identifier: GPL-2.0-or-later
"""A directory as one tar file and back. What is unpacked may come from anywhere: names, kinds and sizes are checked."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from stat import S_IMODE, S_ISLNK, S_ISREG
from typing import BinaryIO, Literal

from lab.core.cache import explain_os_error
from lab.core.errors import InfraError

MAX_MEMBERS = 100_000
MODES = 0o755
CHUNK = 1 << 20


class TooLarge(InfraError):
    """A directory or a tar file has more bytes than may be sent."""


def size_of(directory: Path) -> int:
    """Return the bytes of the regular files below a directory."""
    return sum(facts.st_size for _, facts in _found(directory) if S_ISREG(facts.st_mode))


def _found(directory: Path) -> list[tuple[Path, os.stat_result]]:
    """What is below a directory, in the order of the names."""
    return [(path, path.lstat()) for path in sorted(directory.rglob("*"))]


def pack(directory: Path, to: Path | BinaryIO, *, limit: int | None = None) -> None:
    """Write the regular files and links below a directory to a tar file, in the order of their names.

    TooLarge if the files have more than `limit` bytes.
    """
    try:
        found = _found(directory)
        size = sum(facts.st_size for _, facts in found if S_ISREG(facts.st_mode))
        if limit is not None and size > limit:
            raise TooLarge(f"{size:,} bytes of files, at most {limit:,} are sent")
        with _opened(to, "w") as tar:
            for path, facts in found:
                _add(tar, path, str(path.relative_to(directory)), facts)
    except OSError as error:
        raise explain_os_error(error, str(directory)) from error


def _add(tar: tarfile.TarFile, path: Path, name: str, facts: os.stat_result) -> None:
    """Add a regular file or a link. Who owns it is left out, and a hard link is a file of its own."""
    member = tarfile.TarInfo(name)
    member.mode, member.mtime = S_IMODE(facts.st_mode), facts.st_mtime
    if S_ISLNK(facts.st_mode):
        member.type, member.linkname = tarfile.SYMTYPE, str(path.readlink())
        tar.addfile(member)
    elif S_ISREG(facts.st_mode):
        member.size = facts.st_size
        with path.open("rb") as file:
            tar.addfile(member, file)


def unpack(source: Path | BinaryIO, into: Path, *, limit: int, label: str = "") -> None:
    """Unpack a tar file into an empty directory.

    InfraError for a damaged file, a name outside the directory, a link out of it, a device, or more than `limit` bytes.
    `label` names the file in messages.
    """
    name = label or (source.name if isinstance(source, Path) else "a tar file")
    try:
        made = {into}
        with _opened(source, "r:") as tar:
            for member in _checked(tar, name, limit):
                _extract(tar, member, into / member.name, made)
    except tarfile.TarError as error:
        raise InfraError(f"{name} is damaged: {error}") from error
    except OSError as error:
        raise explain_os_error(error, str(into)) from error


def _opened(place: Path | BinaryIO, mode: Literal["r:", "w"]) -> tarfile.TarFile:
    """Open a tar file by its path, or one that is a file already."""
    return tarfile.open(place, mode) if isinstance(place, Path) else tarfile.open(fileobj=place, mode=mode)


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, to: Path, made: set[Path]) -> None:
    """Make the file or link of a checked member; its owner is whoever unpacks. `made` has the directories so far."""
    if to.parent not in made:
        to.parent.mkdir(parents=True, exist_ok=True)
        made.add(to.parent)
    if member.issym():
        to.symlink_to(member.linkname)
        return
    content = tar.extractfile(member)
    if content is None:
        raise InfraError(f"{member.name[:200]!r} has no content")
    with to.open("xb") as file:
        shutil.copyfileobj(content, file, CHUNK)
        file.flush()
        os.fchmod(file.fileno(), member.mode)
        os.utime(file.fileno(), (member.mtime, member.mtime))


def _checked(tar: tarfile.TarFile, label: str, limit: int) -> Iterator[tarfile.TarInfo]:
    """Yield the members that may be unpacked; InfraError for the first that may not."""
    total = 0
    links: set[PurePosixPath] = set()
    for number, member in enumerate(tar):
        name = PurePosixPath(member.name)
        inside = not name.is_absolute() and ".." not in name.parts and links.isdisjoint(name.parents)
        if number >= MAX_MEMBERS or not inside or not _harmless(member, name):
            raise InfraError(f"{label}: not unpacked: {member.name[:200]!r}")
        if member.issym():
            links.add(name)
        total += member.size
        if total > limit:
            raise TooLarge(f"{label}: more than {limit:,} bytes")
        member.mode &= MODES
        yield member


def _harmless(member: tarfile.TarInfo, name: PurePosixPath) -> bool:
    """Whether a member is a file, or a link that stays inside."""
    if member.issym():
        target = PurePosixPath(member.linkname)
        depth = len(name.parts) - 1 - target.parts.count("..")
        return not target.is_absolute() and depth >= 0
    return member.isreg()
