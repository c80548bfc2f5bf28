# SPDX-License-Identifier: GPL-2.0-or-later
"""Read what a loader reads of a program: its segments, its interpreter and its libraries. The door to pyelftools."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, BinaryIO

from lab.core.sizes import KIB
from lab.formats import elf

if TYPE_CHECKING:
    from elftools.elf.elffile import ELFFile

MAX_SEGMENTS = 4096
MAX_ENTRIES = 65536
"""Entries of a dynamic section: real ones have some dozens."""
DF_1_PIE = 0x08000000
KINDS = {"ET_REL": "an object file or a kernel module, which is linked first", "ET_CORE": "a core dump"}
DAMAGE = (KeyError, IndexError, TypeError, AttributeError, OverflowError, AssertionError)
"""What pyelftools raises beside its own error for files that are damaged on purpose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSegment:
    """One PT_LOAD header; addresses and sizes in bytes, `flags` as in p_flags."""

    offset: int
    address: int
    file_size: int
    memory_size: int
    align: int
    flags: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ElfProgram:
    """A program or a shared library."""

    machine: tuple[int, int, int]
    """Width, byte order and number of the machine, as `elf.machine` returns them."""
    executable: bool
    """Whether the kernel starts it, also a static-pie; a library is mapped by the dynamic loader."""
    segments: tuple[LoadSegment, ...]
    entry: int = 0
    interpreter: str = ""
    needed: tuple[str, ...] = ()
    rpath: tuple[str, ...] = ()
    runpath: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignmentProblem:
    """Why a file cannot be loaded on a page size."""

    page_size: int
    reason: str


def is_elf(data: bytes) -> bool:
    """Whether the first bytes of a file are those of an ELF file."""
    return elf.machine(data[:64]) is not None


def wants_loader(data: bytes) -> bool:
    """Whether a program is linked dynamically; ValueError if it is no ELF file or damaged."""
    with _reading(data[:64]):
        segments = _opened(io.BytesIO(data)).iter_segments("PT_INTERP")
        return next(segments, None) is not None


def section(file: BinaryIO, name: str) -> bytes:
    """Return the bytes of the section called `name`; ValueError if it is no ELF file or has no such section.

    A section that takes no room in the file (SHT_NOBITS) is empty.
    """
    head = file.read(64)
    with _reading(head):
        found = _opened(file).get_section_by_name(name)
        if found is None:
            raise ValueError(f"no section {name}")
        if found["sh_type"] == "SHT_NOBITS":
            return b""
        file.seek(found["sh_offset"])
        return file.read(found["sh_size"])


def load() -> None:
    """Load pyelftools while there is nothing else to do. The first reader of a program would do it."""
    import elftools.elf.elffile  # noqa: F401


def _opened(file: BinaryIO) -> ELFFile:
    """Return pyelftools' reader of a file. It is imported here: that takes 40 ms, and most runs read no program."""
    from elftools.elf.elffile import ELFFile

    return ELFFile(file)


@contextmanager
def _reading(head: bytes) -> Iterator[None]:
    """Raise ValueError for a file whose first bytes are not those of an ELF file, and for what pyelftools raises."""
    from elftools.common.exceptions import ELFError

    if not is_elf(head):
        raise ValueError("not an ELF file")
    try:
        yield
    except (ELFError, *DAMAGE) as error:
        raise ValueError(f"damaged ELF file, cut off or garbled: {error}") from None


def parse(data: bytes) -> ElfProgram:
    """Return a program's headers; ValueError if it is no ELF file, damaged, or nothing that is loaded."""
    with _reading(data[:64]):
        return _parsed(data)


def _parsed(data: bytes) -> ElfProgram:
    file = _opened(io.BytesIO(data))
    if file["e_type"] not in ("ET_EXEC", "ET_DYN"):
        raise ValueError(KINDS.get(str(file["e_type"]), "an ELF file of a kind that nothing loads"))
    if file.num_segments() > MAX_SEGMENTS:
        raise ValueError(f"more than {MAX_SEGMENTS} program headers")
    segments: list[LoadSegment] = []
    interpreter, names, is_pie = None, dict[str, list[str]](), False
    for segment in file.iter_segments():
        header = segment.header
        if header.p_type == "PT_LOAD":
            segments.append(_load_segment(header, len(data)))
        elif header.p_type == "PT_INTERP":
            interpreter = _text(data[header.p_offset : header.p_offset + min(header.p_filesz, 4096)])
        elif header.p_type == "PT_DYNAMIC":
            names, is_pie = _dynamic(segment)
    if not segments:
        raise ValueError("it has no segment to load")
    if interpreter is not None and not interpreter.startswith("/"):
        raise ValueError(f"its PT_INTERP is {interpreter!r}: expected an absolute path, such as /lib/ld.so.1")
    return ElfProgram(
        machine=elf.machine(data) or (0, 0, 0),
        executable=file["e_type"] == "ET_EXEC" or bool(interpreter) or is_pie,
        entry=file["e_entry"],
        segments=tuple(segments),
        interpreter=interpreter or "",
        needed=tuple(names.get("DT_NEEDED", ())),
        rpath=_directories(names.get("DT_RPATH", ())),
        runpath=_directories(names.get("DT_RUNPATH", ())),
    )


def _load_segment(header: Any, size: int) -> LoadSegment:
    if header.p_offset + header.p_filesz > size:
        raise ValueError("a segment ends behind the end of the file: is it cut off?")
    if header.p_filesz > header.p_memsz:
        raise ValueError("a segment has more bytes in the file than in memory")
    return LoadSegment(
        offset=header.p_offset,
        address=header.p_vaddr,
        file_size=header.p_filesz,
        memory_size=header.p_memsz,
        align=header.p_align,
        flags=header.p_flags,
    )


def _dynamic(segment: Any) -> tuple[dict[str, list[str]], bool]:
    """Return the strings of a dynamic section by their tags, and whether it is of a program (DF_1_PIE)."""
    names: dict[str, list[str]] = {}
    is_pie = False
    attributes = {"DT_NEEDED": "needed", "DT_RPATH": "rpath", "DT_RUNPATH": "runpath"}
    for count, tag in enumerate(segment.iter_tags()):
        if count > MAX_ENTRIES:
            raise ValueError(f"more than {MAX_ENTRIES} entries in its dynamic section")
        kind = str(tag.entry.d_tag)
        if kind in attributes:
            names.setdefault(kind, []).append(str(getattr(tag, attributes[kind])))
        elif kind == "DT_FLAGS_1":
            is_pie = bool(tag.entry.d_val & DF_1_PIE)
    return names, is_pie


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _directories(values: list[str] | tuple[()]) -> tuple[str, ...]:
    return tuple(part for value in values for part in value.split(":") if part)


# ---- Page sizes -----------------------------------------------------------------------------------------------------


def alignment_problem(program: ElfProgram, page_size: int) -> AlignmentProblem | None:
    """Return why a file cannot be loaded with pages of a size; None if it can.

    Linux (load_elf_binary) maps a segment at its address rounded down to a page, from an offset that is rounded by as
    much, and refuses an offset that is no multiple of the page. Two segments on one page end up with the permissions
    of the second. glibc refuses a library whose segments are aligned to less than a page, or to no multiple of one.
    """
    for reason in _reasons(program, page_size):
        return AlignmentProblem(page_size=page_size, reason=reason)
    return None


def _reasons(program: ElfProgram, page_size: int) -> Iterator[str]:
    least = min(segment.align for segment in program.segments)
    aligned = f"PT_LOAD aligned to {_size(least)}"
    for segment in program.segments:
        nothing_mapped = program.executable and not segment.file_size and not segment.address % page_size
        if (segment.address - segment.offset) % page_size and not nothing_mapped:
            yield f"{aligned}, and its address and file offset differ by no multiple of {_size(page_size)}"
    if not program.executable and least % page_size:
        yield f"{aligned}: the loader refuses a library with less than a page ({_size(page_size)})"
    filled = (segment for segment in program.segments if segment.memory_size)
    for first, second in pairwise(sorted(filled, key=lambda segment: segment.address)):
        last_page = (first.address + first.memory_size - 1) // page_size
        if last_page >= second.address // page_size and first.flags != second.flags:
            yield f"{aligned}: two segments with different permissions share a page of {_size(page_size)}"


def linker_option(page_size: int) -> str:
    """Return the option of the linker, as the compiler takes it, that aligns segments to a page size."""
    return f"-Wl,-z,max-page-size={page_size}"


def _size(value: int) -> str:
    if value >= KIB and not value % KIB:
        return f"{value // KIB} KiB"
    return f"{value} byte{'' if value == 1 else 's'}"
