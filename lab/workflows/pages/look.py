# SPDX-License-Identifier: GPL-2.0-or-later
"""The static look: of which files the segments are aligned to less than a page, before anything boots.

Files are read where they are: in directories, Debian packages, tars and zips (APK, wheel, jar), also nested ones, which
are not unpacked. What is left out (object files, damaged ones, other architectures) is named.
"""

from __future__ import annotations

import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, BinaryIO

from debian.arfile import ArError
from debian.debfile import DebError, DebFile

from lab.arch.record import Arch
from lab.build.roots.needed import read_regular
from lab.core.errors import UsageError
from lab.core.paths import no_file
from lab.core.sizes import KIB
from lab.formats import elf, elf_program, file_kinds
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
ELF, ZIP, DEB = b"\x7fELF", b"PK\3\4", b"!<arch>\ndebian-binary"
TAR, TAR_AT = b"ustar", 257
ARCHIVE_BEGINS = (ZIP, b"PK\5\6", DEB, b"\x1f\x8b", b"\xfd7zXZ\0", b"BZh")
HEAD = 512
PACKAGES: tuple[str, ...] = (".deb", ".rpm", ".apk", ".whl", ".jar", ".zip", ".tar", ".tgz", ".snap")
PACKAGES += tuple(f".tar.{packer}" for packer in ("gz", "xz", "bz2", "zst"))
"""Ends of names of archives; one that cannot be read is named."""
MAX_DEPTH = 4
"""Of archives within archives."""
MAX_NAMED = 3
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A look at some files, and why others were not looked at: reason -> names."""

    files: tuple[LookedAt, ...]
    left_out: Mapping[str, Sequence[str]]


def check(paths: list[Path]) -> Checked:
    """Return a look at every program and library in some files, directories and archives, also nested ones.

    UsageError for a path that is not there or nothing that is looked at, for an archive that is damaged or too large,
    and for paths without a program.
    """
    files: list[LookedAt] = []
    left_out: dict[str, list[str]] = {}
    for path in paths:
        walk = _Walk(path)
        walk.begin()
        files += walk.files
        for reason, found in walk.left_out.items():
            left_out.setdefault(reason, []).extend(found)
    if not files:
        names = ", ".join(map(str, paths))
        hint = "; ".join(_left_out(left_out)) or "see `lab list arches`"
        raise UsageError(f"{names}: no program or library of an architecture of the lab", hint=hint)
    return Checked(files=tuple(files), left_out=left_out)


def _loadable(data: bytes) -> tuple[ElfProgram, Arch]:
    """Return a program or library and its architecture; ValueError, with the reason, if it is not looked at."""
    machine = elf.machine(data)
    if machine is None:
        raise ValueError("a damaged ELF file")
    program = elf_program.parse(data)
    arch = of_program(program.machine)
    if arch is None:
        raise ValueError(f"of an architecture that the lab does not have ({elf.described(machine)})")
    return program, arch


class _Walk:
    """The files of one path, with those in its archives, and what may still be read of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files: list[LookedAt] = []
        self.left_out: dict[str, list[str]] = {}
        self.members = 0
        self.bytes = 0

    def begin(self) -> None:
        if self.path.is_dir():
            self._directory()
            return
        if not self.path.is_file():
            raise UsageError(f"{self.path}: {no_file(self.path)}")
        try:
            with self.path.open("rb") as file:
                self._named(file)
        except tarfile.ReadError:
            raise UsageError(f"{self.path} cannot be read: it is no tar, or a damaged one", hint=READ) from None
        except UNREADABLE as error:
            reason = str(error).partition("\n")[0].rstrip(":")
            raise UsageError(f"{self.path} cannot be read: {reason}", hint=READ) from None

    def _directory(self) -> None:
        """Look at the files of a directory and of those below it; links are not followed."""
        for file in sorted(self.path.rglob("*")):
            self._member()
            if not file.is_file() or file.is_symlink():
                continue
            try:
                with file.open("rb") as content:
                    self._inner(str(file), content, file.stat().st_size, depth=0)
            except OSError as error:
                self.left_out.setdefault(error.strerror or "unreadable", []).append(str(file))

    def _named(self, file: BinaryIO) -> None:
        """Look at a file that the user named: it has to be something that is looked at."""
        head = file.read(HEAD)
        file.seek(0)
        if head.startswith(ELF):
            data = read_regular(self.path)
            try:
                self._program(str(self.path), data, None)
            except ValueError as error:
                raise UsageError(f"{self.path}: {error}") from None
        elif is_archive(head) or zipfile.is_zipfile(file):
            self._archive(str(self.path), file, depth=0)
        else:
            kind = file_kinds.named(head) or ("no program and no archive" if head else "empty")
            raise UsageError(f"{self.path} is {kind}", hint=READ)

    def _archive(self, name: str, file: BinaryIO, depth: int) -> None:
        file.seek(0)
        head = file.read(HEAD)
        file.seek(0)
        if head.startswith(DEB):
            with DebFile(fileobj=file).data.tgz() as archive:
                self._tar(name, archive, depth)
        elif head.startswith(ZIP) or zipfile.is_zipfile(file):
            self._zip(name, file, depth)
        else:
            file.seek(0)
            with tarfile.open(fileobj=file) as archive:
                self._tar(name, archive, depth)

    def _tar(self, name: str, archive: tarfile.TarFile, depth: int) -> None:
        for member in archive:
            self._member()
            file = archive.extractfile(member) if member.isreg() else None
            if file:
                self._inner(f"{name}: {member.name}", file, member.size, depth=depth)

    def _zip(self, name: str, outer: IO[bytes], depth: int) -> None:
        with zipfile.ZipFile(outer) as archive:
            for member in archive.infolist():
                self._member()
                with archive.open(member) as file:
                    at = _stored_at(name, outer, member)
                    self._inner(f"{name}: {member.filename}", file, member.file_size, depth=depth, stored_at=at)

    def _inner(self, name: str, file: IO[bytes], size: int, *, depth: int, stored_at: int | None = None) -> None:
        """Look at a file of a directory or an archive, which need not be anything that is looked at."""
        head = file.read(HEAD)
        if head.startswith(ELF):
            data = self._rest(head, file, size)
            try:
                self._program(name, data, stored_at)
            except ValueError as error:
                self.left_out.setdefault(str(error), []).append(name)
        elif is_archive(head) or name.endswith(PACKAGES):
            self._nested(name, head, file, size, depth)

    def _nested(self, name: str, head: bytes, file: IO[bytes], size: int, depth: int) -> None:
        """Look into an archive within another or in a directory; what only looks like one is passed over."""
        if depth >= MAX_DEPTH:
            self.left_out.setdefault(f"an archive in {MAX_DEPTH} others", []).append(name)
            return
        try:
            self._archive(name, io.BytesIO(self._rest(head, file, size)), depth + 1)
        except UNREADABLE:
            if name.endswith(PACKAGES):
                self.left_out.setdefault("an archive that cannot be read", []).append(name)

    def _program(self, name: str, data: bytes, stored_at: int | None) -> None:
        """Look at a program or library; ValueError, with the reason, if it is none that is looked at."""
        program, arch = _loadable(data)
        if file_kinds.is_appimage(data):
            self.left_out.setdefault("files in an AppImage, which `--appimage-extract` unpacks", []).append(name)
        looked = look_at(name, program, arch)
        self.files.append(looked if stored_at is None else _stored(looked, arch, stored_at))

    def _member(self) -> None:
        self.members += 1
        if self.members > MAX_MEMBERS:
            raise UsageError(f"{self.path} has more than {MAX_MEMBERS} files")

    def _rest(self, head: bytes, file: IO[bytes], size: int) -> bytes:
        """Return the whole of a file whose first bytes are read already."""
        self.bytes += size
        if size > MAX_MEMBER or self.bytes > MAX_READ:
            raise UsageError(f"{self.path}: its programs are larger than the lab reads")
        whole = io.BytesIO(head)
        whole.seek(0, io.SEEK_END)
        whole.write(file.read(MAX_MEMBER))
        return whole.getvalue()


def is_archive(head: bytes) -> bool:
    """Whether a file is an archive that is looked into, or packed so that it may be one."""
    return head.startswith(ARCHIVE_BEGINS) or head[TAR_AT : TAR_AT + len(TAR)] == TAR


def _stored(looked: LookedAt, arch: Arch, stored_at: int) -> LookedAt:
    """Return a look at a library that is mapped from within an archive, where it begins at an offset."""
    problems = dict(looked.problems)
    for size in arch.page_sizes:
        if stored_at % size and size > min(arch.page_sizes):
            reason = f"stored in the archive at offset {stored_at}, no multiple of {size // KIB} KiB (zipalign -P)"
            problems.setdefault(size, reason)
    return replace(looked, problems=problems)


def _stored_at(name: str, outer: IO[bytes], member: zipfile.ZipInfo) -> int | None:
    """Return where a library's bytes begin in an APK that stores it as it is, which Android maps; else None."""
    if not name.lower().endswith(".apk") or member.compress_type != zipfile.ZIP_STORED:
        return None
    back = outer.tell()
    outer.seek(member.header_offset)
    header = outer.read(30)
    outer.seek(back)
    name_size, extra_size = struct.unpack_from("<HH", header, 26)
    return int(member.header_offset + 30 + name_size + extra_size)


# ---- Text -----------------------------------------------------------------------------------------------------------


def render(looked: Sequence[LookedAt], left_out: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """Return the lines that say which files cannot be loaded on which page sizes, what mends them, what is left out."""
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
    lines += _left_out(left_out or {})
    lines.append(f"programs and libraries looked at: {len(looked)}; {result}")
    return lines


def _left_out(left_out: Mapping[str, Sequence[str]]) -> list[str]:
    lines = []
    for reason, names in left_out.items():
        more = f", and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
        lines.append(f"left out, {reason}: {', '.join(names[:MAX_NAMED])}{more}")
    return lines
