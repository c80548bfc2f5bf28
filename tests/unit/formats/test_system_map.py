# SPDX-License-Identifier: GPL-2.0-or-later
"""System.map as an ELF file: binutils read it, for every word size and byte order."""

from __future__ import annotations

import io
import struct
import subprocess

import pytest

from lab.formats import elf_program
from lab.formats.system_map import elf_of, functions_at

MAP = """\
0000000000000000 A fixed_percpu_data
ffffffff81000000 T _stext
ffffffff81000000 T _text
ffffffff81115260 t shmem_fault
ffffffff811152a0 T vmf_insert
ffffffff82000000 D init_task
ffffffff82000400 B _end
"""


def like(*, wide: bool, little: bool, machine: int, flags: int) -> bytes:
    """The head of an ELF file for a machine."""
    order = "<" if little else ">"
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if little else 2, 1]) + bytes(9)
    shape = f"{order}HHI{'QQQ' if wide else 'III'}I"
    return (ident + struct.pack(shape, 2, machine, 1, 0, 0, 0, flags)).ljust(64, b"\0")


def nm(data: bytes, tmp_path: object) -> dict[str, str]:
    path = f"{tmp_path}/symbols"
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(data)
    done = subprocess.run(["nm", "-n", path], capture_output=True, text=True, check=True, timeout=60)
    return {name: f"{address} {kind}" for address, kind, name in map(str.split, done.stdout.splitlines())}


def test_binutils_see_names_addresses_and_kinds(tmp_path: object) -> None:
    found = nm(elf_of(MAP, like(wide=True, little=True, machine=62, flags=0)), tmp_path)
    assert found["shmem_fault"] == "ffffffff81115260 T"
    assert "fixed_percpu_data" not in found
    assert set(found) >= {"_stext", "vmf_insert", "init_task", "_end"}


@pytest.mark.parametrize(("wide", "little"), [(True, True), (True, False), (False, True), (False, False)])
def test_every_shape_is_an_elf_file(wide: bool, little: bool) -> None:
    narrow = "\n".join(line[8:] for line in MAP.splitlines()) + "\n"
    made = elf_of(MAP if wide else narrow, like(wide=wide, little=little, machine=21, flags=2))
    assert b"\0shmem_fault\0" in elf_program.section(io.BytesIO(made), ".strtab")
    entry = 24 if wide else 16
    assert len(elf_program.section(io.BytesIO(made), ".symtab")) == entry * 7
    order = "<" if little else ">"
    assert struct.unpack_from(f"{order}H", made, 18) == (21,)
    assert struct.unpack_from(f"{order}I", made, 48 if wide else 36) == (2,)


def test_an_address_is_named_by_the_function_around_it() -> None:
    addresses = [0xFFFFFFFF81115260, 0xFFFFFFFF8111529F, 0xFFFFFFFF811152A0, 0xFFFFFFFF82000010, 0xFD09A, 0]
    assert functions_at(MAP, addresses) == [
        *("shmem_fault+0x0", "shmem_fault+0x3f", "vmf_insert+0x0"),
        *("0xffffffff82000010", "0xfd09a", "0x0"),  # data, firmware, nothing
    ]
    assert functions_at("", [0x123]) == ["0x123"]


def test_what_is_neither_map_nor_elf_is_refused() -> None:
    with pytest.raises(ValueError, match="no symbols"):
        elf_of("", like(wide=True, little=True, machine=62, flags=0))
    with pytest.raises(ValueError, match="not an ELF"):
        elf_of(MAP, b"#!/bin/sh")
