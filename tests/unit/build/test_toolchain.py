# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/build/toolchain.py: what kbuild gets as its compiler."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lab.build.toolchain import Toolchain

MAKEFILE = """\
all: ; @$(MAKE) --no-print-directory --file inner
"""
INNER = """\
all: plain.o kernel/configs.o entry.o vmlinux
%.o: %.c ; @echo '$@: $(CC)'
%.o: ../%.c ; @echo '$@: $(CC)'
kernel/%.o: ../kernel/%.c ; @echo '$@: $(CC)'
%.o: %.S ; @echo '$@: $(CC)'
vmlinux: plain.o ; @echo '$@: $(CC)'
"""
GCC = Toolchain(prefix="cross-", version="", key="")


@pytest.fixture
def ccache(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with ccache, whose user has set none of its variables."""
    monkeypatch.setattr("lab.core.proc.which", lambda program: f"/usr/bin/{program}")
    for name in ("CCACHE_DEPEND", "CCACHE_NODEPEND"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("ccache")
@pytest.mark.parametrize("below", ["", "build"], ids=["in the tree", "in an O= directory"])
def test_files_that_may_embed_others_are_compiled_without_depend_mode(tmp_path: Path, below: str) -> None:
    """kbuild hands CC to a make of each directory; ccache's depend mode does not see what `.incbin` includes."""
    directory = tmp_path / below
    for place in (tmp_path, directory):
        (place / "kernel").mkdir(parents=True, exist_ok=True)
    for name in ("plain.c", "kernel/configs.c"):
        (tmp_path / name).touch()
    (directory / "entry.S").touch()
    (directory / "Makefile").write_text(MAKEFILE)
    (directory / "inner").write_text(INNER)
    made = subprocess.run(
        ["make", f"CC={GCC.kernel_cc(['kernel/configs.c'])}"], cwd=directory, capture_output=True, text=True, check=True
    )
    assert made.stdout.splitlines() == [
        "plain.o: CCACHE_DEPEND=1 ccache cross-gcc",
        "kernel/configs.o: ccache cross-gcc",
        "entry.o: ccache cross-gcc",
        "vmlinux: ccache cross-gcc",
    ]


@pytest.mark.usefixtures("ccache")
def test_a_user_who_sets_the_mode_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    assert GCC.kernel_cc(None) == "ccache cross-gcc"
    monkeypatch.setenv("CCACHE_NODEPEND", "1")
    assert GCC.kernel_cc([]) == "ccache cross-gcc"


def test_without_ccache_there_is_no_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.core.proc.which", lambda _: None)
    assert GCC.kernel_cc([]) == "cross-gcc"
