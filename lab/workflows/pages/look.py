# SPDX-License-Identifier: GPL-2.0-or-later
"""The static look: of which files the segments are aligned to less than a page, before anything boots.

Files are read where they are: in directories, Debian packages, tars and zips (APK, wheel, jar), also nested and packed
ones, which are not unpacked to disk. What is left out (object files, damaged ones, other architectures) is named.
"""

from __future__ import annotations

import io
import os
import struct
import tarfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, BinaryIO, cast

from debian.arfile import ArError, ArFile

from lab.arch.record import Arch
from lab.build.roots import packed, tar
from lab.build.roots.needed import read_regular
from lab.core.errors import LabError, UsageError
from lab.core.paths import no_file
from lab.core.sizes import KIB
from lab.core.untrusted import printable
from lab.formats import elf, elf_program, file_kinds
from lab.formats.elf_program import ElfProgram
from lab.specs.arches import of_program

MAX_MEMBERS = 200_000
MAX_MEMBER = 512 << 20
"""Bytes of one program in an archive."""
MAX_READ = 8 << 30
"""Bytes of all programs in an archive, unpacked."""
MAX_UNPACKED = 4 << 30
"""Bytes of an archive that a program unpacks to a file."""
READ = "programs, Debian packages, tars and zips (APK, wheel, jar) are read"
ELF, ZIP, DEB = b"\x7fELF", b"PK\3\4", b"!<arch>\ndebian-binary"
TAR, TAR_AT = b"ustar", 257
ARCHIVE_BEGINS = (ZIP, b"PK\5\6", DEB)
HEAD = 512
PACKAGES: tuple[str, ...] = (".deb", ".rpm", ".apk", ".whl", ".jar", ".zip", ".tar", ".tgz", ".snap")
PACKAGES += tuple(f".tar.{packer}" for packer in ("gz", "xz", "bz2", "zst", "lz4", "lzma"))
"""Ends of names of archives; one that cannot be read is named."""
MAX_DEPTH = 4
"""Of archives within archives."""
MAX_NAMED = 3
UNREADABLE = (
    *(tarfile.TarError, zipfile.BadZipFile, ArError, struct.error, ValueError, RuntimeError, NotImplementedError),
    *packed.DAMAGE,
)
"""What the readers of archives raise for damaged ones."""
NO_TAR = "it is no tar, or a damaged one"
LOCKED = "encrypted, or packed in a way that the lab does not unpack"


@dataclass(frozen=True, slots=True, kw_only=True)
class LookedAt:
    """One program or library, and on which page sizes of its architecture it cannot be loaded."""

    name: str
    arch: str
    align: int
    """The least alignment of its PT_LOAD segments, in bytes."""
    problems: Mapping[int, str]
    """Page size -> why."""
    stored: frozenset[int] = frozenset()
    """The page sizes on which it cannot be loaded only because of where it lies in an archive."""

    @property
    def mend(self) -> str:
        """What aligns it for all page sizes on which it cannot be loaded; empty if it can be loaded on all."""
        words = []
        if linked := self.problems.keys() - self.stored:
            words.append(f"link it with {elf_program.linker_option(max(linked))}")
        if self.stored:
            words.append(f"align it in the archive with zipalign -P {max(self.stored) // KIB}")
        return ", and ".join(words)


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

    @property
    def exit_status(self) -> int:
        """1: a file cannot be loaded on some page size of its architecture; 0: none was found that cannot."""
        return int(any(looked.problems for looked in self.files))


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
        hint = "; ".join(left_out_lines(left_out)) or "see `lab list arches`"
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
        try:
            if self.path.is_dir():
                self._directory()
                return
            if not self.path.is_file() or not self.path.name:
                raise UsageError(f"{self.path}: {no_file(self.path)}")
            with self.path.open("rb") as file:
                self._named(file)
        except LabError:
            raise
        except UNREADABLE as error:
            raise UsageError(f"{self.path} cannot be read: {_reason(error)}", hint=READ) from None

    def _directory(self) -> None:
        """Look at the files of a directory and of those below it; links are not followed."""
        for file in sorted(self._below()):
            self._member()
            try:
                if not file.is_file() or file.is_symlink():
                    continue
                with file.open("rb") as content:
                    self._inner(str(file), content, file.stat().st_size, depth=0)
            except OSError as error:
                self._leave_out(error.strerror or "unreadable", str(file))

    def _below(self) -> Iterator[Path]:
        """Yield every file below the directory; a directory that cannot be read is left out by name."""

        def unreadable(error: OSError) -> None:
            self._leave_out(error.strerror or "unreadable", f"{error.filename}/")

        for place, _, names in os.walk(self.path, onerror=unreadable):
            for name in names:
                yield Path(place, name)

    def _named(self, file: BinaryIO) -> None:
        """Look at a file that the user named: it has to be something that is looked at."""
        head = file.read(file_kinds.LONGEST)
        file.seek(0)
        kind = file_kinds.named(head)
        if head.startswith(ELF):
            try:
                self._program(str(self.path), read_regular(self.path), None, depth=0)
            except ValueError as error:
                raise UsageError(f"{self.path}: {error}") from None
        elif is_archive(head) or zipfile.is_zipfile(file) or (not kind and _is_old_tar(file)):
            self._archive(str(self.path), file, depth=0)
        else:
            kind = kind or ("no program and no archive" if head else "empty")
            raise UsageError(f"{self.path} is {kind}", hint=READ)

    def _archive(self, name: str, file: IO[bytes], depth: int) -> None:
        file.seek(0)
        head = file.read(HEAD)
        file.seek(0)
        if head.startswith(DEB):
            self._unpacked(name, _data_of(file), depth)
        elif head.startswith(ZIP) or (not packed.is_packed(head) and zipfile.is_zipfile(file)):
            self._zip(name, file, depth)
        else:
            file.seek(0)
            self._unpacked(name, file, depth)

    def _unpacked(self, name: str, file: IO[bytes], depth: int) -> None:
        """Look at a tar, which may be packed, or at a program that is packed alone."""
        with packed.opened(file, limit=MAX_UNPACKED) as content:
            head = content.read(HEAD)
            if head.startswith(ELF):
                try:
                    self._program(name, self._rest(head, content, len(head)), None, depth=depth)
                except ValueError as error:
                    self._leave_out(str(error), name)
                return
            content.seek(0)
            before = self.members
            try:
                with tar.open_stream(content) as archive:
                    self._tar(name, archive, depth)
            except tarfile.TarError as error:
                if self.members == before:
                    raise ValueError(NO_TAR) from None
                raise ValueError(f"a damaged tar: {error}") from None

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
                inner = f"{name}: {member.filename}"
                try:
                    file = archive.open(member)
                except (RuntimeError, NotImplementedError):
                    self._leave_out(LOCKED, inner)
                    continue
                with file:
                    at = _stored_at(name, outer, member)
                    self._inner(inner, file, member.file_size, depth=depth, stored_at=at)

    def _inner(self, name: str, file: IO[bytes], size: int, *, depth: int, stored_at: int | None = None) -> None:
        """Look at a file of a directory or an archive, which need not be anything that is looked at."""
        head = file.read(HEAD)
        if head.startswith(ELF):
            data = self._rest(head, file, size)
            try:
                self._program(name, data, stored_at, depth=depth)
            except ValueError as error:
                self._leave_out(str(error), name)
        elif is_archive(head) or name.endswith(PACKAGES):
            self._nested(name, io.BytesIO(self._rest(head, file, size)), depth)

    def _nested(self, name: str, file: IO[bytes], depth: int) -> None:
        """Look into an archive within another or in a directory; what only looks like one is passed over."""
        if depth >= MAX_DEPTH:
            self._leave_out(f"an archive in {MAX_DEPTH} others", name)
            return
        before = self.members
        try:
            self._archive(name, file, depth + 1)
        except UNREADABLE:
            if name.endswith(PACKAGES) or self.members > before:
                self._leave_out("an archive that cannot be read", name)

    def _program(self, name: str, data: bytes, stored_at: int | None, *, depth: int) -> None:
        """Look at a program or library; ValueError, with the reason, if it is none that is looked at.

        A zip behind a program, of one that unpacks itself, is looked into.
        """
        program, arch = _loadable(data)
        if file_kinds.is_appimage(data):
            self._leave_out("files in an AppImage, which `--appimage-extract` unpacks", name)
        looked = look_at(name, program, arch)
        self.files.append(looked if stored_at is None else _stored(looked, arch, stored_at))
        if zipfile.is_zipfile(behind := io.BytesIO(data)):
            self._nested(name, behind, depth)

    def _leave_out(self, reason: str, name: str) -> None:
        self.left_out.setdefault(reason, []).append(name)

    def _member(self) -> None:
        self.members += 1
        if self.members > MAX_MEMBERS:
            raise UsageError(f"{self.path} has more than {MAX_MEMBERS} files")

    def _rest(self, head: bytes, file: IO[bytes], size: int) -> bytes:
        """Return the whole of a file whose first bytes are read already; it is known to have `size` bytes or more."""
        if size > MAX_MEMBER or self.bytes + size > MAX_READ:
            raise UsageError(f"{self.path}: its programs are larger than the lab reads")
        whole = io.BytesIO(head)
        whole.seek(0, io.SEEK_END)
        whole.write(file.read(MAX_MEMBER + 1 - len(head)))
        self.bytes += whole.tell()
        if whole.tell() > MAX_MEMBER or self.bytes > MAX_READ:
            raise UsageError(f"{self.path}: its programs are larger than the lab reads")
        return whole.getvalue()


def _is_old_tar(file: IO[bytes]) -> bool:
    """Whether a file is a tar of the format that has no magic number."""
    file.seek(0)
    try:
        with tar.open_stream(file) as archive:
            return archive.next() is not None
    except tarfile.TarError:
        return False


def _data_of(file: IO[bytes]) -> IO[bytes]:
    """Return the part of a Debian package with its files; ValueError if it has none."""
    for member in ArFile(fileobj=cast(BinaryIO, file)).getmembers():
        if member.name.startswith("data.tar"):
            return io.BytesIO(member.read())
    raise ValueError("a Debian package without its files: is it cut off?")


def _reason(error: Exception) -> str:
    """Return why a file could not be read, in words for people."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).partition("\n")[0].rstrip(":") or "it is damaged"


def is_archive(head: bytes) -> bool:
    """Whether a file is an archive that is looked into, or packed so that it may be one."""
    return head.startswith(ARCHIVE_BEGINS) or packed.is_packed(head) or head[TAR_AT : TAR_AT + len(TAR)] == TAR


def _stored(looked: LookedAt, arch: Arch, stored_at: int) -> LookedAt:
    """Return a look at a library that is mapped from within an archive, where it begins at an offset."""
    problems = dict(looked.problems)
    for size in arch.page_sizes:
        if stored_at % size and size > min(arch.page_sizes):
            reason = f"stored in the archive at offset {stored_at}, no multiple of {size // KIB} KiB (zipalign -P)"
            problems.setdefault(size, reason)
    return replace(looked, problems=problems, stored=frozenset(problems.keys() - looked.problems.keys()))


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
        lines.append(f"{name_in_one_line(file.name)} ({file.arch}): cannot be loaded with pages of {sizes}")
        lines += [f"    {reason}" for reason in dict.fromkeys(file.problems.values())]
        lines.append(f"    {file.mend}")
    result = "all can be loaded on every page size of their architecture"
    if bad:
        result = f"{len(bad)} cannot be loaded on every page size of their architecture"
    lines += left_out_lines(left_out or {})
    lines.append(f"programs and libraries looked at: {len(looked)}; {result}")
    return lines


def left_out_lines(left_out: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a line per reason why files were left out, with the first of their names."""
    lines = []
    for reason, names in left_out.items():
        more = f", and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
        lines.append(f"left out, {reason}: {', '.join(map(name_in_one_line, names[:MAX_NAMED]))}{more}")
    return lines


def name_in_one_line(name: str) -> str:
    """Return the name of a file, of which others may have chosen any character, on one line."""
    return printable(name).replace("\n", "\\n")
