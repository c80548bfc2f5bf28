# SPDX-License-Identifier: GPL-2.0-or-later
"""What `make series-check` makes of a tree, and of what compilers print; the compilers themselves take minutes."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import Mock

import pytest

from lab.core.errors import InfraError
from lab.formats import kconfig
from lab.formats.patches.patch import Content
from tests.series_check import __main__ as series_check
from tests.series_check.tree import CHECKERS, WARNING, Tree, _configure


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A tree whose files are hard links to those of the pristine one."""
    pristine, root = tmp_path / "pristine", tmp_path / "root"
    (pristine / "mm").mkdir(parents=True)
    (root / "src/mm").mkdir(parents=True)
    (pristine / "mm/shmem.c").write_text("as it was\n")
    os.link(pristine / "mm/shmem.c", root / "src/mm/shmem.c")
    return Tree(pristine=pristine, root=root, arch="x86")


def test_a_patched_file_leaves_the_pristine_one_alone(tree: Tree) -> None:
    tree.switch({"mm/shmem.c": Content(b"patched\n"), "mm/new.c": Content(b"new\n")})
    assert (tree.src / "mm/shmem.c").read_text() == "patched\n"
    assert (tree.src / "mm/new.c").read_text() == "new\n"
    assert (tree.pristine / "mm/shmem.c").read_text() == "as it was\n"
    assert tree.dirty.exists()


def test_switching_back_restores_what_was_changed(tree: Tree) -> None:
    tree.switch({"mm/shmem.c": Content(b"patched\n"), "mm/new.c": Content(b"new\n")})
    tree.switch({})
    assert (tree.src / "mm/shmem.c").read_text() == "as it was\n"
    assert not (tree.src / "mm/new.c").exists()
    assert not tree.dirty.exists()


@pytest.mark.parametrize(
    ("line", "file", "text"),
    [
        ("../mm/a.c:12:5: warning: unused variable 'x' [-W]", "../mm/a.c", "warning: unused variable 'x' [-W]"),
        ("../mm/a.c:12:5: error: no such field", "../mm/a.c", "error: no such field"),
        ("mm/a.c:7: warning: missing prototype", "mm/a.c", "warning: missing prototype"),
    ],
)
def test_a_warning_is_known_without_its_line(line: str, file: str, text: str) -> None:
    match = WARNING.search(line)
    assert match
    assert (match["file"], match["text"]) == (file, text)


def test_what_make_says_of_itself_is_no_warning() -> None:
    assert not WARNING.search("make[3]: *** [../scripts/Makefile.build:203: mm/a.o] Error 1")


MAKEFILE = """
tinyconfig: ; @mkdir -p $(O); touch $(O)/.config
olddefconfig: ;
prepare: ; @echo llvm-ar: not found; false
mm/shmem.o: ; @echo cannot compile; false
"""
ON = "grep -q '^# CONFIG_SHMEM is not set' $(O)/.config && echo CONFIG_SHMEM=y > $(O)/.config"


def test_a_tree_that_cannot_be_prepared_is_an_error(tree: Tree) -> None:
    (tree.src / "Makefile").write_text(MAKEFILE)
    with pytest.raises(InfraError, match="gcc W=1: the tree cannot be prepared: llvm-ar: not found"):
        _configure(tree, CHECKERS[0], ())
    assert not (tree.root / "gcc/ready").exists()


def test_a_symbol_that_cannot_be_turned_off_is_an_error(tree: Tree) -> None:
    (tree.src / "Makefile").write_text(MAKEFILE.replace("olddefconfig: ;", f"olddefconfig: ; @{ON}"))
    checker = next(each for each in CHECKERS if each.without == "SHMEM")
    with pytest.raises(InfraError, match=r"gcc W=1 without SHMEM: CONFIG_SHMEM: asked for n at .*, got y"):
        _configure(tree, checker, kconfig.parse_fragment("CONFIG_SHMEM=y", "asked"))
    assert not (tree.root / "gcc-SHMEM/ready").exists()


def test_a_checker_that_compiles_nothing_is_an_error(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree.src / "Makefile").write_text(MAKEFILE)
    monkeypatch.setattr(series_check, "CHECKERS", CHECKERS[:1])
    monkeypatch.setattr(series_check, "_targets", lambda patch: ["mm/shmem.o"])
    with pytest.raises(InfraError, match=r"gcc W=1: compiles no file of the series, even unpatched: cannot compile"):
        series_check._plain(tree, [Mock()])
