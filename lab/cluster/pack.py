# SPDX-License-Identifier: GPL-2.0-or-later
"""A directory as one tar file and back. What is unpacked may come from anywhere: names, kinds and sizes are checked."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from lab.core.cache import explain_os_error
from lab.core.errors import InfraError
from lab.core.sizes import MIB

MAX_MEMBERS = 100_000
MODES = 0o755


class TooLarge(InfraError):
    """A directory or a tar file has more bytes than may be sent."""


def size_of(directory: Path) -> int:
    """Return the bytes of the regular files below a directory."""
    return sum(path.stat().st_size for path in _files(directory))


def pack(directory: Path, to: Path, *, limit: int | None = None) -> None:
    """Write the regular files and links below a directory to a tar file, in the order of their names.

    TooLarge if the files have more than `limit` bytes.
    """
    size = size_of(directory)
    if limit is not None and size > limit:
        raise TooLarge(f"{size / MIB:.1f} MiB of files, at most {limit / MIB:.1f} MiB are sent")
    try:
        with tarfile.open(to, "w") as tar:
            for path in sorted(directory.rglob("*")):
                if path.is_file() or path.is_symlink():
                    tar.add(path, arcname=str(path.relative_to(directory)), recursive=False, filter=_anonymous)
    except OSError as error:
        raise explain_os_error(error, str(to)) from error


def unpack(tar_file: Path, into: Path, *, limit: int) -> None:
    """Unpack a tar file into an empty directory.

    InfraError for a damaged file, a name outside the directory, a link out of it, a device, or more than `limit` bytes.
    """
    try:
        with tarfile.open(tar_file, "r:") as tar:
            for member in _checked(tar, tar_file.name, limit):
                tar.extract(member, into, set_attrs=True)
    except tarfile.TarError as error:
        raise InfraError(f"{tar_file.name} is damaged: {error}") from error
    except OSError as error:
        raise explain_os_error(error, str(into)) from error


def _checked(tar: tarfile.TarFile, label: str, limit: int) -> Iterator[tarfile.TarInfo]:
    """Yield the members that may be unpacked; InfraError for the first that may not."""
    total = 0
    for number, member in enumerate(tar):
        name = PurePosixPath(member.name)
        inside = not name.is_absolute() and ".." not in name.parts
        if number >= MAX_MEMBERS or not inside or not _harmless(member, name):
            raise InfraError(f"{label}: not unpacked: {member.name[:200]!r}")
        total += member.size
        if total > limit:
            raise TooLarge(f"{label}: more than {limit / MIB:.1f} MiB")
        member.mode &= MODES
        yield member


def _harmless(member: tarfile.TarInfo, name: PurePosixPath) -> bool:
    """Whether a member is a file, or a link that stays inside."""
    if member.issym():
        target = PurePosixPath(member.linkname)
        depth = len(name.parts) - 1 - target.parts.count("..")
        return not target.is_absolute() and depth >= 0
    return member.isreg()


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out who owns a file, and make a hard link a file of its own."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _files(directory: Path) -> Iterator[Path]:
    for path in directory.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield path
