# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/formats/elf_program.py: what the host's linker writes is read, and damaged files are one kind of error."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from lab.core.sizes import KIB
from lab.formats import elf_program
from lab.formats.elf_program import ElfProgram, LoadSegment


def linked(place: Path, *options: str) -> bytes:
    source = b"int data = 3; int main(void) { return data; }"
    subprocess.run(["gcc", "-x", "c", "-", "-o", place, *options], input=source, check=True)
    return place.read_bytes()


def test_a_dynamic_program(tmp_path: Path) -> None:
    program = elf_program.parse(linked(tmp_path / "prog", "-Wl,-rpath,/a:/b", "-Wl,--enable-new-dtags"))
    assert program.executable
    assert program.interpreter.startswith("/lib")
    assert program.needed == ("libc.so.6",)
    assert program.runpath == ("/a", "/b")
    assert program.rpath == ()


@pytest.mark.parametrize("named", ["ld.so", "./lib/ld.so"])
def test_a_loader_without_an_absolute_path(tmp_path: Path, named: str) -> None:
    made = linked(tmp_path / "prog", f"-Wl,--dynamic-linker={named}")
    with pytest.raises(ValueError, match=f"its PT_INTERP is '{named}': expected an absolute path"):
        elf_program.parse(made)


def test_an_empty_loader_is_not_that_of_a_static_program(tmp_path: Path) -> None:
    made = linked(tmp_path / "prog")
    path = elf_program.parse(made).interpreter.encode()
    with pytest.raises(ValueError, match="its PT_INTERP is ''"):
        elf_program.parse(made.replace(path, b"\0" * len(path), 1))


@pytest.mark.parametrize("aligned", [4 * KIB, 16 * KIB, 64 * KIB])
@pytest.mark.parametrize("options", [(), ("-shared",)], ids=["program", "library"])
def test_the_linker_s_option_decides_on_which_page_sizes_a_file_loads(
    tmp_path: Path, aligned: int, options: tuple[str, ...]
) -> None:
    made = linked(tmp_path / "a", *options, "-fPIC", elf_program.linker_option(aligned), "-Wl,-z,noseparate-code")
    program = elf_program.parse(made)
    for page_size in (4 * KIB, 16 * KIB, 64 * KIB):
        problem = elf_program.alignment_problem(program, page_size)
        assert (problem is None) == (page_size <= aligned), problem
        if problem:
            assert problem.reason.startswith(f"PT_LOAD aligned to {aligned // KIB} KiB")


def test_segments_that_share_a_page_with_other_permissions() -> None:
    shared = {"file_size": 100, "memory_size": 100, "align": 64 * KIB}
    program = ElfProgram(
        machine=(2, 1, 183),
        executable=True,
        segments=(
            LoadSegment(offset=0, address=0x400000, flags=5, **shared),
            LoadSegment(offset=0x1000, address=0x401000, flags=6, **shared),
        ),
    )
    assert elf_program.alignment_problem(program, 4 * KIB) is None
    problem = elf_program.alignment_problem(program, 16 * KIB)
    assert problem is not None
    assert "different permissions share a page of 16 KiB" in problem.reason


def test_an_object_file_and_text_are_no_programs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="an object file"):
        elf_program.parse(linked(tmp_path / "a.o", "-c"))
    with pytest.raises(ValueError, match="not an ELF file"):
        elf_program.parse(b"#!/bin/sh\n")


def test_a_damaged_file_is_a_value_error(tmp_path: Path) -> None:
    """Single bytes of the headers, changed at random: parsed or refused, and never another exception."""
    good = linked(tmp_path / "a")
    generator = random.Random(7)
    refused = 0
    for _ in range(300):
        data = bytearray(good)
        for _ in range(3):
            data[generator.randrange(4, 1200)] = generator.randrange(256)
        try:
            elf_program.parse(bytes(data))
        except ValueError:
            refused += 1
    assert refused
    for size in range(0, 1200, 50):
        with pytest.raises(ValueError, match=r"."):
            elf_program.parse(good[:size])
