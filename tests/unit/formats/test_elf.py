# SPDX-License-Identifier: GPL-2.0-or-later
"""lab.elf: sections of either width and byte order, and the build id among notes."""

from __future__ import annotations

import io
import struct

import pytest

from lab.formats import elf, elf_program


def note(name: bytes, kind: int, content: bytes, order: str) -> bytes:
    def padded(raw: bytes) -> bytes:
        return raw + b"\0" * (-len(raw) % 4)

    return struct.pack(f"{order}III", len(name), len(content), kind) + padded(name) + padded(content)


def file(order: str, wide: bool, sections: dict[str, bytes]) -> bytes:
    """A minimal ELF file: header, contents, section header table."""
    header_size, word = (64, "Q") if wide else (52, "I")
    names = b"\0" + b"".join(name.encode() + b"\0" for name in (*sections, ".shstrtab"))
    contents, table = b"", b""
    for name, content in {**sections, ".shstrtab": names}.items():
        fields = (names.index(b"\0" + name.encode() + b"\0") + 1, 1, 0, 0, header_size + len(contents), len(content))
        tail = (0, 0, 4, 0)
        shape = f"{order}II{word * 4}II{word * 2}" if wide else f"{order}{'I' * 10}"
        table += struct.pack(shape, *fields, *tail)
        contents += content
    count, size = len(sections) + 1, len(table) // (len(sections) + 1)
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + b"\0" * 9
    head = struct.pack(
        f"{order}HHI{word * 3}IHHHHHH", 2, 62, 1, 0, 0, header_size + len(contents), 0, 0, 0, 0, size, count, count - 1
    )
    return ident + head + contents + table


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("wide", [True, False])
def test_section_and_build_id(order: str, wide: bool) -> None:
    notes = note(b"Linux\0", 0x101, b"abcde", order) + note(b"GNU\0", 3, bytes(range(20)), order)
    data = file(order, wide, {".text": b"code", ".notes": notes})
    assert elf_program.section(io.BytesIO(data), ".notes") == notes
    assert elf_program.section(io.BytesIO(data), ".text") == b"code"
    assert elf.build_id(notes, "little" if order == "<" else "big") == bytes(range(20)).hex()


def test_what_is_missing_is_said() -> None:
    data = file("<", True, {".text": b"x"})
    with pytest.raises(ValueError, match=r"no section \.notes"):
        elf_program.section(io.BytesIO(data), ".notes")
    with pytest.raises(ValueError, match="not an ELF file"):
        elf_program.section(io.BytesIO(b"MZ" + data), ".notes")
    with pytest.raises(ValueError, match="damaged"):
        elf_program.section(io.BytesIO(data[:-70]), ".text")
    with pytest.raises(ValueError, match="no GNU build id"):
        elf.build_id(note(b"Linux\0", 3, b"abcd", "<"), "little")
