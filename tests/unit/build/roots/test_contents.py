# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/build/roots/contents.py: a program of a root and what it is linked with, read from the image."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.build.roots import contents, root
from lab.build.roots.needed import Missing
from lab.build.roots.root import BuiltRoot
from lab.core import proc
from lab.core.cache import Cache
from lab.core.errors import UsageError
from tests.unit.fixtures.linked import HOST, LIBC, program


@pytest.fixture
def built(tmp_path: Path, library: Path) -> BuiltRoot:
    """A root in which /bin is a link, with a program and its own library, and without the C library."""
    tree = tmp_path / "tree"
    program(tree / "usr/bin/tool", library)
    (tree / "usr/lib").mkdir()
    (tree / "usr/lib/libf.so.1").write_bytes(library.read_bytes())
    (tree / "bin").symlink_to("usr/bin")
    (tree / "lib").symlink_to("/usr/lib")
    (tree / "usr/bin/alias").symlink_to("/bin/tool")
    (tree / "usr/bin/loop").symlink_to("loop")
    (tree / "usr").chmod(0o555)
    return root.build(str(tree), HOST, Cache(tmp_path / "cache"))


@pytest.mark.parametrize("word", ["tool", "/bin/tool", "/usr/bin/alias"])
def test_a_command_of_a_root_with_what_it_is_linked_with(built: BuiltRoot, word: str) -> None:
    needs = contents.needs(word, None, built, HOST)
    assert needs is not None
    assert [Path(name).name for name in needs.programs] == [Path(word).name, "libf.so.1"]
    assert LIBC in {missing.name for missing in needs.missing}, "that of the host does not count"
    assert not list((built.cache.root / "tmp").iterdir()), "nothing of it stays"


def test_a_program_of_the_host_has_the_libraries_of_the_root(built: BuiltRoot, tmp_path: Path, library: Path) -> None:
    mine = program(tmp_path / "mine", library)
    needs = contents.needs(str(mine), mine, built, HOST)
    assert needs is not None
    assert "/lab/mine" in needs.programs
    assert Missing(name="libf.so.1", wanted_by="mine") not in needs.missing


def test_what_a_root_does_not_have(built: BuiltRoot) -> None:
    with pytest.raises(UsageError, match=r"tree has no nothing$"):
        contents.needs("nothing", None, built, HOST)
    assert contents.needs("./relative", None, built, HOST) is None


LOADER = r"is started by \S+, which --root \S+ does not have"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("tol", r"has no tol; did you mean 'tool'\?"),
        ("/opt/tool", r"has no /opt/tool; did you mean '/usr/bin/tool'\?"),
        ("/bin/loop", r"has no /bin/loop"),
        ("/bin/alias", LOADER),
        ("tool", LOADER),
        ("script", r"script is started by /bin/lua, which"),
        ("through-env", r"through-env is started by luajit, which"),
        ("foreign", r"/usr/bin/foreign is a program for another processor, not for"),
        ("damaged", r"/usr/bin/damaged cannot be run: "),
        ("text", None),
        ("./relative", None),
    ],
)
def test_a_command_that_cannot_start_is_refused_before_the_boot(
    built: BuiltRoot, tmp_path: Path, word: str, message: str | None
) -> None:
    tree = tmp_path / "tree"
    (tree / "usr").chmod(0o755)
    bin_directory = tree / "usr/bin"
    (bin_directory / "script").write_text("#!/bin/lua -e\n")
    (bin_directory / "through-env").write_text("#! /usr/bin/env -S A=1 luajit\n")
    (bin_directory / "env").write_bytes(b"")
    (bin_directory / "text").write_text("words\n")
    data = bytearray((bin_directory / "tool").read_bytes())
    (bin_directory / "damaged").write_bytes(data[:80])
    data[18:20] = b"\x02\x00" if HOST.byteorder == "little" else b"\x00\x02"  # SPARC
    (bin_directory / "foreign").write_bytes(data)
    for file in bin_directory.iterdir():
        if not file.is_symlink():
            file.chmod(0o755)
    again = root.build(str(tree), HOST, built.cache)
    if message is None:
        contents.check(word, None, again, HOST, [])
        return
    with pytest.raises(UsageError, match=message):
        contents.check(word, None, again, HOST, [])


def test_what_is_copied_to_the_guest_counts(built: BuiltRoot, tmp_path: Path, library: Path) -> None:
    mine = program(tmp_path / "mine", library)
    with pytest.raises(UsageError, match=f"{mine} {LOADER}"):
        contents.check(str(mine), mine, built, HOST, [])
    contents.check(str(mine), mine, built, HOST, ["/lib64", "/lib"])
    contents.check("/in/p", None, built, HOST, ["/in"])


@pytest.mark.parametrize(
    ("path", "there"),
    [("/usr/bin/tool", True), ("/bin/tool", True), ("/bin/alias", True), ("/bin/loop", False), ("/bin", False)],
)
def test_a_path_of_a_root(built: BuiltRoot, path: str, there: bool) -> None:
    assert contents.has(built, path) is there


def test_the_listing_of_a_large_root_is_read_whole(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "a").mkdir(parents=True)
    (tree / "a/first").write_text("")
    (tree / "z").mkdir()
    for number in range(3 * proc.KEEP_LINES):
        (tree / f"z/{number}").write_text("")
    built = root.build(str(tree), HOST, Cache(tmp_path / "cache"))
    assert contents.has(built, "/a/first")
