# SPDX-License-Identifier: GPL-2.0-or-later
"""The static look: of which files the segments are aligned to less than a page, before anything boots.

Files are read where they are: in directories, Debian packages, tars and zips (APK, wheel, jar), which are not unpacked.
"""

from __future__ import annotations

import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from debian.arfile import ArError
from debian.debfile import DebError, DebFile

from lab.arch.record import Arch
from lab.build.roots.needed import read_regular
from lab.core.errors import UsageError
from lab.core.sizes import KIB
from lab.formats import elf_program
from lab.formats.elf_program import ElfProgram
from lab.specs.arches import of_program

MAX_MEMBERS = 200_000
MAX_MEMBER = 512 << 20
"""Bytes of one program in an archive."""
MAX_READ = 8 << 30
"""Bytes of all programs in an archive, unpacked."""
ARCHIVES = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, DebError, ArError, EOFError, OSError)
"""What the readers of archives raise for damaged ones."""
READ = "programs, Debian packages, tars and zips (APK, wheel, jar) are read"
UNREADABLE = (*ARCHIVES, ValueError, RuntimeError, NotImplementedError, struct.error)


@dataclass(frozen=True, slots=True, kw_only=True)
class LookedAt:
    """One program or library, and on which page sizes of its architecture it cannot be loaded."""

    name: str
    arch: str
    align: int
    """The least alignment of its PT_LOAD segments, in bytes."""
    problems: Mapping[int, str]
    """Page size -> why."""

    @property
    def mend(self) -> str:
        """The linker's option that aligns it for all page sizes on which it cannot be loaded; empty if it can."""
        if not self.problems:
            return ""
        return elf_program.linker_option(max(self.problems))


def look_at(name: str, program: ElfProgram, arch: Arch) -> LookedAt:
    """Return what the headers of a file say about the page sizes of its architecture."""
    problems = {}
    for size in sorted(arch.page_sizes):
        if problem := elf_program.alignment_problem(program, size):
            problems[size] = problem.reason
    least = min(segment.align for segment in program.segments)
    return LookedAt(name=name, arch=arch.name, align=least, problems=problems)


def check(paths: list[Path]) -> tuple[LookedAt, ...]:
    """Return a look at every program and library in some files, directories and packages.

    UsageError for a path that is not there, an archive that is damaged or too large, and paths without a program.
    """
    files: list[LookedAt] = []
    for path in paths:
        for name, data, stored_at in _files(path):
            if (looked := _look_at(name, data, stored_at)) is not None:
                files.append(looked)
    if not files:
        names = ", ".join(map(str, paths))
        raise UsageError(f"{names}: no program or library of an architecture of the lab", hint="see `lab list arches`")
    return tuple(files)


def _look_at(name: str, data: bytes, stored_at: int | None) -> LookedAt | None:
    """Return a look at one file; None if it is nothing that is loaded, or of an unknown architecture."""
    if not elf_program.is_elf(data):
        return None
    try:
        program = elf_program.parse(data)
    except ValueError:
        return None
    arch = of_program(program.machine)
    if arch is None:
        return None
    looked = look_at(name, program, arch)
    if stored_at is None:
        return looked
    problems = dict(looked.problems)
    for size in arch.page_sizes:
        if stored_at % size and size > min(arch.page_sizes):
            reason = f"stored in the archive at offset {stored_at}, no multiple of {size // KIB} KiB (zipalign -P)"
            problems.setdefault(size, reason)
    return LookedAt(name=name, arch=looked.arch, align=looked.align, problems=problems)


def _files(path: Path) -> Iterator[tuple[str, bytes, int | None]]:
    """Yield name, content and, for a library that is mapped from within an APK, its offset there."""
    if path.is_dir():
        for number, file in enumerate(sorted(path.rglob("*"))):
            if number > MAX_MEMBERS:
                raise UsageError(f"{path} has more than {MAX_MEMBERS} files")
            if file.is_file() and not file.is_symlink():
                yield str(file), read_regular(file), None
        return
    if not path.is_file():
        raise UsageError(f"{path} is no file and no directory")
    try:
        yield from _of_file(path)
    except UNREADABLE as error:
        reason = str(error).partition("\n")[0].rstrip(":")
        raise UsageError(f"{path} cannot be read: {reason}", hint=READ) from None


def _of_file(path: Path) -> Iterator[tuple[str, bytes, int | None]]:
    with path.open("rb") as file:
        head = file.read(8)
    if head.startswith(b"!<arch>\n"):
        with DebFile(str(path)).data.tgz() as archive:
            yield from _of_tar(path, archive)
    elif head.startswith(b"PK"):
        yield from _of_zip(path)
    elif head.startswith(b"\x7fELF"):
        yield str(path), read_regular(path), None
    else:
        with tarfile.open(path) as archive:
            yield from _of_tar(path, archive)


def _of_tar(path: Path, archive: tarfile.TarFile) -> Iterator[tuple[str, bytes, int | None]]:
    room = _Room(path)
    for member in archive:
        room.member()
        file = archive.extractfile(member) if member.isreg() else None
        data = room.program(file, member.size) if file else b""
        if data:
            yield f"{path}: {member.name}", data, None


def _of_zip(path: Path) -> Iterator[tuple[str, bytes, int | None]]:
    room = _Room(path)
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            room.member()
            with archive.open(member) as file:
                data = room.program(file, member.file_size)
            if data:
                yield f"{path}: {member.filename}", data, _stored_at(path, member)


def _stored_at(path: Path, member: zipfile.ZipInfo) -> int | None:
    """Return where a library's bytes begin in an APK that stores it as it is, which Android maps; else None."""
    if path.suffix != ".apk" or member.compress_type != zipfile.ZIP_STORED:
        return None
    with path.open("rb") as file:
        file.seek(member.header_offset)
        header = file.read(30)
    name_size, extra_size = struct.unpack_from("<HH", header, 26)
    return int(member.header_offset + 30 + name_size + extra_size)


class _Room:
    """What may still be read of an archive."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.members = 0
        self.bytes = 0

    def member(self) -> None:
        self.members += 1
        if self.members > MAX_MEMBERS:
            raise UsageError(f"{self.path} has more than {MAX_MEMBERS} files")

    def program(self, file: IO[bytes], size: int) -> bytes:
        """Return the bytes of a member that is an ELF file; empty if it is none."""
        head = file.read(64)
        if not elf_program.is_elf(head):
            return b""
        self.bytes += size
        if size > MAX_MEMBER or self.bytes > MAX_READ:
            raise UsageError(f"{self.path}: its programs are larger than the lab reads")
        whole = io.BytesIO(head)
        whole.seek(0, io.SEEK_END)
        whole.write(file.read(MAX_MEMBER))
        return whole.getvalue()


# ---- Text -----------------------------------------------------------------------------------------------------------


def render(looked: tuple[LookedAt, ...]) -> list[str]:
    """Return the lines that say which files cannot be loaded on which page sizes, and what mends them."""
    lines = []
    bad = [file for file in looked if file.problems]
    for file in bad:
        sizes = ", ".join(f"{size // KIB}K" for size in file.problems)
        lines.append(f"{file.name} ({file.arch}): cannot be loaded with pages of {sizes}")
        lines += [f"    {reason}" for reason in dict.fromkeys(file.problems.values())]
        lines.append(f"    link it with {file.mend}")
    result = "all can be loaded on every page size of their architecture"
    if bad:
        result = f"{len(bad)} cannot be loaded on every page size of their architecture"
    lines.append(f"programs and libraries looked at: {len(looked)}; {result}")
    return lines
