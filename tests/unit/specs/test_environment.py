# SPDX-License-Identifier: GPL-2.0-or-later
"""ARCH, CROSS_COMPILE and LLVM: what they mean, and that they mean nothing where they should not."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from lab.build import toolchain
from lab.core.errors import InfraError, UsageError
from lab.specs import environment
from lab.specs.arches import ARCHES
from lab.specs.library import Library
from lab.specs.plan import Filters


@pytest.mark.parametrize(
    ("word", "means"),
    [
        ("", ()),
        ("arm64", ("arm64",)),
        ("aarch64", ("arm64",)),
        ("x86", ("x86_64",)),
        ("powerpc", ("ppc44x", "ppc64", "ppc64le")),
    ],
)
def test_arch_in_every_spelling(monkeypatch: pytest.MonkeyPatch, word: str, means: tuple[str, ...]) -> None:
    monkeypatch.setenv("ARCH", word)
    assert environment.arches() == means


@pytest.mark.parametrize("word", ["arm64", "x86_64", "powerpc", "ppc64le", "riscv64", "mips64"])
def test_the_word_of_what_arch_means_means_the_same(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setenv("ARCH", word)
    meant = environment.arches()
    monkeypatch.setenv("ARCH", environment.word_of(meant))
    assert environment.arches() == meant


@pytest.mark.parametrize("names", [(), ("arm64", "x86_64"), ("unknown",)])
def test_there_is_no_word_for_what_arch_cannot_mean(names: tuple[str, ...]) -> None:
    assert environment.word_of(names) == ""


def test_an_arch_that_is_none_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCH", "arm46")
    with pytest.raises(UsageError, match="ARCH in the environment: unknown arch 'arm46'; did you mean 'arm64'"):
        environment.arches()


def test_arch_narrows_what_a_campaign_means_but_not_what_is_named() -> None:
    library = Library.shipped()
    narrowed = library.plan("quick", Filters(arches=("arm64",)))
    assert {cell.topology.name for cell in narrowed.cells} == {"arm64-64k-2node"}
    assert any("ARCH" in each.reason for each in narrowed.skipped if each.what == "x86_64-4k-2node")
    named = library.plan("quick", Filters(arches=("arm64",), topologies=("x86_64-4k-2node",)))
    assert {cell.topology.name for cell in named.cells} == {"x86_64-4k-2node"}


def test_cross_compile_is_for_the_kernels_of_arch_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("mine-gcc", "mine-ld"):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\necho {name} 99\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("CROSS_COMPILE", "mine-")
    assert environment.cross_compile(ARCHES["arm64"]) is None
    assert "means nothing without ARCH" in environment.remarks()[0]
    monkeypatch.setenv("ARCH", "arm64")
    assert environment.cross_compile(ARCHES["x86_64"]) is None
    chain = toolchain.for_kernels(ARCHES["arm64"])
    assert (chain.prefix, chain.cc, chain.version) == ("mine-", "mine-gcc", "mine-gcc 99, mine-ld 99")


def test_a_compiler_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLVM", "-nope")
    with pytest.raises(InfraError, match=r"no clang-nope \(LLVM is set in the environment\)"):
        toolchain.for_kernels(ARCHES["arm64"])


@pytest.mark.parametrize(("value", "compiler"), [("1", "clang"), ("-19", "clang-19"), ("/opt/", "/opt/clang")])
def test_llvm_as_the_makefile_spells_it(value: str, compiler: str) -> None:
    assert toolchain.Toolchain(prefix="", version="", key="", llvm=value).cc == compiler


def test_llvm_zero_is_gcc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLVM", "0")
    assert environment.llvm() == ""
    assert environment.remarks() == ()
