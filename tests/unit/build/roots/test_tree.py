# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/build/roots/tree.py and root.py: roots are put together, and hostile ones are refused or harmless."""

from __future__ import annotations

import io
import json
import os
import re
import stat
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.build.roots import image, root, tree
from lab.build.roots.tree import RootTree
from lab.core.cache import Cache
from lab.core.errors import InfraError, UsageError
from lab.formats import cpio
from lab.specs.arches import ARCHES
from tests.unit.fixtures.refused import refuse, refuse_directory
from tests.unit.fixtures.tars import blob, entry, lay, tar

ARM64 = ARCHES["arm64"]


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[RootTree]:
    with (tmp_path / "spool").open("w+b") as spool:
        yield RootTree(spool=spool, what="--root x")


def test_a_root_is_written_below_its_directory(empty: RootTree, tmp_path: Path) -> None:
    lay(empty, entry("./usr/bin/prog", b"x", mode=0o4755), entry("bin", kind=tarfile.SYMTYPE, link="usr/bin"))
    assert empty.write(tmp_path / "a.cpio", "newroot") == len(b"x") + len("usr/bin")
    nodes = {node.name: node for node in cpio.read((tmp_path / "a.cpio").read_bytes())}
    assert list(nodes) == ["newroot", "newroot/bin", "newroot/usr", "newroot/usr/bin", "newroot/usr/bin/prog"]
    assert nodes["newroot/usr/bin/prog"].mode == stat.S_IFREG | 0o4755
    assert nodes["newroot/bin"].data == b"usr/bin"


@pytest.mark.parametrize("name", ["../etc/passwd", "a/../../b", "/../x"])
def test_a_name_that_leaves_the_root_is_refused(empty: RootTree, name: str) -> None:
    with pytest.raises(UsageError, match="a name that leaves the root"):
        lay(empty, entry(name, b"x"))


def test_a_file_through_an_absolute_link_stays_inside(empty: RootTree) -> None:
    lay(empty, entry("etc", kind=tarfile.SYMTYPE, link="/../../outside"), entry("etc/passwd", b"x"))
    assert "outside/passwd" in empty.nodes


def test_links_that_go_round_are_refused(empty: RootTree) -> None:
    with pytest.raises(UsageError, match="links that go round"):
        lay(
            empty,
            entry("a", kind=tarfile.SYMTYPE, link="b"),
            entry("b", kind=tarfile.SYMTYPE, link="a"),
            entry("a/x", b"x"),
        )


def test_devices_and_pipes_are_left_out(empty: RootTree) -> None:
    lay(empty, entry("dev/sda", kind=tarfile.BLKTYPE), entry("pipe", kind=tarfile.FIFOTYPE))
    assert (empty.nodes, empty.left_out) == ({}, 2)


def test_a_hard_link_to_nothing_is_refused(empty: RootTree) -> None:
    with pytest.raises(UsageError, match="a hard link to nothing"):
        lay(empty, entry("a", kind=tarfile.LNKTYPE, link="/etc/shadow"))


def test_sizes_and_numbers_are_bounded(empty: RootTree, monkeypatch: pytest.MonkeyPatch) -> None:
    huge = tarfile.TarInfo("zeros")
    huge.size = 10 << 30
    with pytest.raises(UsageError, match="a file of 10240 MiB"):
        empty._add(tarfile.TarFile(fileobj=io.BytesIO(tar()), mode="r"), huge)
    monkeypatch.setattr(tree, "MAX_BYTES", 3)
    with pytest.raises(UsageError, match="more than"):
        lay(empty, entry("a", b"xx"), entry("b", b"xx"))
    monkeypatch.undo()
    monkeypatch.setattr(tree, "MAX_NODES", 1)
    with pytest.raises(UsageError, match="more than 1 files"):
        lay(empty, entry("c"), entry("d"))
    monkeypatch.setattr(tree, "MAX_LAYERS", 3)
    with pytest.raises(UsageError, match="more than 3 layers"):
        for _ in range(1000):
            lay(empty)


def test_whiteouts_remove_what_lower_layers_have(empty: RootTree) -> None:
    lay(empty, entry("a/one"), entry("a/two"), entry("b/x"), entry("b/y"))
    lay(empty, entry("a/.wh.one"), entry("b/new"), entry("b/.wh..wh..opq"))
    assert sorted(empty.nodes) == ["a", "a/two", "b", "b/new"]


def test_a_whiteout_leaves_what_its_own_layer_has(empty: RootTree) -> None:
    lay(empty, entry("a/old"), entry("shared", b"x"))
    lay(
        empty,
        entry("a/hard", kind=tarfile.LNKTYPE, link="shared"),
        entry("a/new"),
        entry("a/.wh.new"),
        entry("a/.wh..wh..opq"),
    )
    assert sorted(empty.nodes) == ["a", "a/hard", "a/new", "shared"]


def test_a_layer_replaces_a_link_by_a_directory_and_the_other_way_round(empty: RootTree) -> None:
    lay(empty, entry("lib", kind=tarfile.SYMTYPE, link="usr/lib"), entry("usr/lib/x"), entry("var/run/old"))
    lay(
        empty, entry("lib", kind=tarfile.DIRTYPE), entry("lib/new"), entry("var/run", kind=tarfile.SYMTYPE, link="/run")
    )
    assert sorted(empty.nodes) == ["lib", "lib/new", "usr", "usr/lib", "usr/lib/x", "var", "var/run"]
    assert empty.nodes["lib"].is_directory
    assert empty.nodes["var/run"].is_link


def test_packages_leave_links_to_directories_as_dpkg_does(empty: RootTree) -> None:
    empty.merges = True
    lay(empty, entry("lib", kind=tarfile.SYMTYPE, link="usr/lib"), entry("usr/lib/x"), entry("run/old"))
    lay(empty, entry("lib", kind=tarfile.DIRTYPE), entry("lib/new"), entry("run", kind=tarfile.SYMTYPE, link="/x"))
    assert sorted(empty.nodes) == ["lib", "run", "run/old", "usr", "usr/lib", "usr/lib/new", "usr/lib/x"]


def test_a_file_below_a_file_of_a_lower_layer_makes_it_a_directory(empty: RootTree, tmp_path: Path) -> None:
    lay(empty, entry("a", b"file"))
    lay(empty, entry("a/b", b"x"))
    assert empty.nodes["a"].is_directory
    image.write(empty, tmp_path / "image", Cache(tmp_path / "cache"))


def test_many_whiteouts_cost_what_they_remove(empty: RootTree) -> None:
    """Each looked at every name there is: 100,000 of them took hours."""
    names = [f"d{number % 100}/{number}" for number in range(20_000)]
    lay(empty, *(entry(name) for name in names))
    before = time.process_time()
    lay(empty, *(entry(f"{name.partition('/')[0]}/.wh.{name.partition('/')[2]}") for name in names))
    assert time.process_time() - before < 10
    assert sorted(empty.nodes) == sorted({name.partition("/")[0] for name in names})


def test_a_file_that_is_too_large_is_named(empty: RootTree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "MAX_FILE", 1)
    with pytest.raises(UsageError, match=r"at most 0 are taken: usr/lib/large\.so$"):
        lay(empty, entry("usr/lib/large.so", b"xx"))


# ---- Whole roots ----------------------------------------------------------------------------------------------------


def built(word: Path, tmp_path: Path) -> dict[str, bytes]:
    made = root.build(str(word), ARM64, Cache(tmp_path / "cache"))
    return {node.name.removeprefix("newroot/"): node.data for node in cpio.read(made.archive().read_bytes())}


@pytest.mark.parametrize("program", ["zstd", "lz4"])
def test_a_tar_that_a_program_unpacks_is_a_root(tmp_path: Path, program: str) -> None:
    whole = tar(entry("usr/bin/prog", b"x"))
    data = subprocess.run([program, "-qc"], input=whole, stdout=subprocess.PIPE, check=True).stdout
    (tmp_path / "root.tar").write_bytes(data)
    assert built(tmp_path / "root.tar", tmp_path)["usr/bin/prog"] == b"x"
    (tmp_path / "root.tar").write_bytes(data[:-6])
    with pytest.raises(UsageError, match=rf"no tar that can be read: {program} cannot unpack it: (?!\S*/)"):
        built(tmp_path / "root.tar", tmp_path)


@pytest.mark.parametrize("packing", ["", "gz", "xz", "bz2"])
def test_a_tar_in_any_packing_gets_users_and_mount_points(tmp_path: Path, packing: str) -> None:
    (tmp_path / "root.tar").write_bytes(tar(entry("usr/bin/prog", b"x"), packing=packing))
    files = built(tmp_path / "root.tar", tmp_path)
    assert files["usr/bin/prog"] == b"x"
    assert files["etc/passwd"].startswith(b"root:x:0:0:")
    assert {"proc", "sys", "dev", "tmp", "run"} <= set(files)


def test_a_directory_is_a_root(tmp_path: Path) -> None:
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "root/etc/passwd").write_text("me:x:1:1::/:/bin/sh\n")
    (tmp_path / "root/link").symlink_to("/etc/passwd")
    files = built(tmp_path / "root", tmp_path)
    assert files["etc/passwd"] == b"me:x:1:1::/:/bin/sh\n"
    assert files["link"] == b"/etc/passwd"


def test_an_oci_layout_and_its_archive_are_roots(tmp_path: Path) -> None:
    place = tmp_path / "layout"
    layers = [
        blob(place, tar(entry("a/one", b"1"), packing="gz")),
        blob(place, tar(entry("a/.wh.one"), entry("two", b"2"))),
    ]
    manifest = blob(place, json.dumps({"layers": layers}).encode())
    (place / "index.json").write_text(json.dumps({"manifests": [manifest]}))
    (place / "oci-layout").write_text("{}")
    with tarfile.open(tmp_path / "layout.tar", "w") as archive:
        archive.add(place, ".")
    with tarfile.open(tmp_path / "plain.tar", "w") as archive:
        for path in sorted(place.rglob("*")):
            archive.add(path, str(path.relative_to(place)), recursive=False)
    for word in (place, tmp_path / "plain.tar", tmp_path / "layout.tar"):
        files = built(word, tmp_path)
        assert files["two"] == b"2"
        assert "a/one" not in files


@pytest.mark.parametrize(
    "index", ["[]", "{", '{"manifests": []}', '{"manifests": [{"digest": "../../etc/passwd"}]}', '{"manifests": [{}]}']
)
def test_a_manifest_that_is_none_is_one_line(tmp_path: Path, index: str) -> None:
    (tmp_path / "layout").mkdir()
    (tmp_path / "layout/oci-layout").write_text("{}")
    (tmp_path / "layout/index.json").write_text(index)
    with pytest.raises(UsageError) as caught:
        built(tmp_path / "layout", tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"PK\3\4" + bytes(600), "it is a zip archive (expected a directory"),
        (b"hsqs" + bytes(600), "it is a squashfs image: `unsquashfs FILE` unpacks it (expected"),
        (bytes(0x438) + b"\x53\xef" + bytes(4096), "it is an image of an ext file system"),
        (bytes(0x8001) + b"CD001" + bytes(4096), "it is an ISO 9660 image"),
        (bytes(10240), "no tar that can be read: it has no files"),
        (b"words", "no tar that can be read: damaged header"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(UsageError, match=re.escape(says)):
        built(tmp_path / "file", tmp_path)


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("", "--root: the name of the root is empty"),
        ("ubuntu:noble", "nothing is fetched from a registry (`docker save -o image.tar ubuntu:noble`"),
        ("docker://ghcr.io/a/b:1", "`skopeo copy docker://ghcr.io/a/b:1 oci-archive:image.tar`"),
        ("/dev/null", "--root /dev/null: is no regular file"),
        ("./rootfs.ta", "--root ./rootfs.ta: no such file; did you mean 'rootfs.tar'?"),
        ("x" * 300, "File name too long"),
    ],
)
def test_a_word_that_names_no_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, says: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rootfs.tar").write_bytes(b"")
    with pytest.raises(UsageError, match=re.escape(says)):
        root.build(word, ARM64, Cache(tmp_path / "cache"))
    with pytest.raises(UsageError, match=re.escape(says)):
        root.check(word)


def test_names_of_files_may_be_any_bytes(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path / "root") + b"/\xff\xfe")).write_bytes(b"x")
    assert built(tmp_path / "root", tmp_path)[os.fsdecode(b"\xff\xfe")] == b"x"


def test_a_directory_that_cannot_be_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "root/secret").mkdir(parents=True)
    (tmp_path / "root/file").write_bytes(b"x")
    refuse_directory("secret", monkeypatch)
    with pytest.raises(UsageError, match=r"secret: Permission denied .a tar can be made of it as root"):
        built(tmp_path / "root", tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(UsageError, match=r"file: Permission denied .a tar can be made of it as root"):
        built(tmp_path / "root", tmp_path)


CUT_OFF = tar(entry("a", b"x" * 3000), packing="gz")[:-60]


@pytest.mark.parametrize("content", [b"", b"text", b"\x1f\x8bno", CUT_OFF], ids=["empty", "text", "no gzip", "cut off"])
def test_a_file_that_is_no_tar_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(UsageError) as caught:
        built(tmp_path / "file", tmp_path)
    assert "\n" not in str(caught.value)


# ---- Copies ---------------------------------------------------------------------------------------------------------


def test_a_copy_names_both_ends(tmp_path: Path) -> None:
    (tmp_path / "dir/sub").mkdir(parents=True)
    (tmp_path / "dir/sub/file").write_text("x")
    copies = [root.copied(f"{tmp_path / 'dir'}:/src")]
    root.write_copies(copies, tmp_path / "copies.cpio")
    names = [node.name for node in cpio.read((tmp_path / "copies.cpio").read_bytes())]
    assert names == ["src", "src/sub", "src/sub/file"]
    for word in ("/src", f"{tmp_path}:src", f"{tmp_path}:/a/../b", "missing:/src"):
        with pytest.raises(UsageError):
            root.copied(word)


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("prog:/src:ro", "expected HOST:/GUEST without 'ro': it is a copy, and nothing is shared"),
        ("prg:/src", "prg: no such file; did you mean 'prog'?"),
        ("/dev/zero:/src", "/dev/zero: is no regular file"),
        ("prog:/", "a file needs a name in the guest, such as /prog"),
        ("prog:/proc/x", "the guest mounts something on /proc, which would hide the copy"),
        ("prog:/./dev//x", "the guest mounts something on /dev"),
    ],
)
def test_a_copy_that_would_not_be_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("prog").write_bytes(b"x")
    with pytest.raises(UsageError, match=re.escape(says)):
        root.copied(word)


def test_a_directory_may_be_copied_over_the_root_of_the_guest(tmp_path: Path) -> None:
    (tmp_path / "dir/opt").mkdir(parents=True)
    (tmp_path / "dir/opt/file").write_text("x")
    root.write_copies([root.copied(f"{tmp_path / 'dir'}:/")], tmp_path / "copies.cpio")
    assert [node.name for node in cpio.read((tmp_path / "copies.cpio").read_bytes())] == ["opt", "opt/file"]


def test_a_copy_without_a_root_has_the_time_of_the_file(tmp_path: Path) -> None:
    """`make` in the guest compares times: all of them were 1970."""
    (tmp_path / "prog").write_bytes(b"x")
    os.utime(tmp_path / "prog", (1_700_000_000, 1_700_000_000))
    root.write_copies([root.copied(f"{tmp_path / 'prog'}:/src/prog")], tmp_path / "copies.cpio")
    times = {node.name: node.mtime for node in cpio.read((tmp_path / "copies.cpio").read_bytes())}
    assert times == {"src": 0, "src/prog": 1_700_000_000}


def test_what_comes_out_is_regular_files_below_the_directory(tmp_path: Path) -> None:
    data = tar(
        entry("./a", kind=tarfile.DIRTYPE),
        entry("./a/b", b"1", mode=0o4755),
        entry("./a/open", b"1", mode=0o266),
        entry("./link", kind=tarfile.SYMTYPE, link="/etc"),
        entry("link/x", b"2"),
        entry("pipe", kind=tarfile.FIFOTYPE),
    )
    assert root.write_out(data, tmp_path / "out") == ("link", "pipe")
    assert (tmp_path / "out/link/x").read_bytes() == b"2"
    assert (tmp_path / "out/a/open").stat().st_mode & 0o7777 == 0o644
    assert (tmp_path / "out/a/b").read_bytes() == b"1"
    assert (tmp_path / "out/a/b").stat().st_mode & 0o7777 == 0o755
    assert not (tmp_path / "out/link").is_symlink()
    with pytest.raises(UsageError, match="leaves the directory"):
        root.write_out(tar(entry("../x", b"")), tmp_path / "out")
    with pytest.raises(UsageError, match="no whole tar"):
        root.write_out(data[:700], tmp_path / "out2")


def test_a_place_that_takes_no_files_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InfraError, match=r"--out: .*/file.*: (Not a directory|File exists)"):
        root.write_out(tar(entry("a", b"x")), tmp_path / "file/out")
