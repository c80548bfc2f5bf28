# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/build/patched.py: the lines that a series adds, and the Kconfig symbol that a file is compiled with."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.build import patched, series
from lab.core.cache import Cache
from lab.core.errors import InfraError
from lab.formats.patches.patch import Content
from lab.specs.model import Kernel
from tests.unit.toy import diff

MAKEFILES = {
    "mm/Makefile": "mmu-y\t:= memory.o\nmmu-$(CONFIG_MMU) += mremap.o \\\n\tmmap.o\nobj-y := filemap.o $(mmu-y)\n"
    "obj-$(CONFIG_NUMA) += mempolicy.o\nobj-$(CONFIG_DAMON) += damon/\n",
    "mm/damon/Makefile": "obj-y := core.o\nobj-$(CONFIG_DAMON_VADDR) += ops-common.o vaddr.o\n",
    "fs/ext4/Makefile": "obj-$(CONFIG_EXT4_FS) += ext4.o\next4-y := balloc.o inode.o\n",
    "fs/loop/Makefile": "loop-y := loop.o\n",
}


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("mm/mempolicy.c", "NUMA"),
        ("mm/mremap.c", "MMU"),
        ("mm/mmap.c", "MMU"),
        ("mm/filemap.c", ""),
        ("mm/policy.c", ""),
        ("mm/damon/vaddr.c", "DAMON_VADDR"),
        ("mm/damon/core.c", "DAMON"),
        ("fs/ext4/inode.c", "EXT4_FS"),
        ("fs/loop/loop.c", ""),
        ("nowhere/a.c", ""),
    ],
)
def test_the_symbol_of_a_file(name: str, symbol: str) -> None:
    assert patched.symbol_of(name, lambda path: MAKEFILES.get(path, "")) == symbol


def test_the_lines_that_patches_add_and_the_rule_that_one_of_them_adds() -> None:
    tree = {"mm/Makefile": "obj-y := a.o\n", "mm/a.c": "int a;\nint b;\n"}
    text = diff("mm/a.c", tree["mm/a.c"], "int a;\nint c;\nint b;\n")
    text += diff("mm/Makefile", tree["mm/Makefile"], "obj-y := a.o\nobj-$(CONFIG_NEW) += new.o\n")
    for name in ("mm/new.c", "tools/testing/selftests/mm/test.c"):  # the second is no part of a kernel
        text += f"--- /dev/null\n+++ b/{name}\n@@ -0,0 +1 @@\n+int new;\n"
    patch = series.from_text("0001-new.patch", text.encode(), "0001-new.patch")

    def pristine(name: str) -> Content | None:
        return Content(data=tree[name].encode()) if name in tree else None

    files = patched.changed_lines([patch], pristine)
    assert {name: (file.added, file.symbol) for name, file in files.items()} == {
        "mm/a.c": ({2: "int c;"}, ""),
        "mm/new.c": ({1: "int new;"}, "NEW"),
    }
    assert files["mm/a.c"].content == b"int a;\nint c;\nint b;\n"


def test_a_source_that_was_not_fetched(tmp_path: Path) -> None:
    kernel = Kernel(name="patched", source="debian:linux-source-6.12", series="expand-fault")
    with pytest.raises(InfraError, match="has not been fetched yet"):
        patched.patched_files(kernel, Cache(tmp_path))
