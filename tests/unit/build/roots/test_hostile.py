# SPDX-License-Identifier: GPL-2.0-or-later
"""Hostile roots: tars and images that want to leave the root, to fill the disk or the memory, or to end early."""

from __future__ import annotations

import gzip
import io
import json
import resource
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.build.roots import root, tar, tree
from lab.build.roots.tree import RootTree
from lab.core.cache import Cache
from lab.core.errors import UsageError
from lab.specs.arches import ARCHES
from tests.unit.fixtures.tars import blob, entry, lay
from tests.unit.fixtures.tars import tar as packed

ARM64 = ARCHES["arm64"]
TEN_GIB = 10 << 30


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[RootTree]:
    with (tmp_path / "spool").open("w+b") as spool:
        yield RootTree(spool=spool, what="--root x")


def refused(tmp_path: Path, content: bytes) -> str:
    """Return the one line with which a tar is refused; nothing of it is left in the cache."""
    (tmp_path / "root.tar").write_bytes(content)
    cache = Cache(tmp_path / "cache")
    with pytest.raises(UsageError) as caught:
        root.build(str(tmp_path / "root.tar"), ARM64, cache)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "cache").glob("root/*"))
    return str(caught.value)


@pytest.mark.parametrize(
    "name", ["../etc/passwd", "a/../../b", "/../x", "a/.."], ids=["up", "inside", "absolute", "last"]
)
def test_a_name_with_two_dots_is_refused(tmp_path: Path, name: str) -> None:
    assert "leaves the root" in refused(tmp_path, packed(entry(name, b"x")))


def test_a_file_through_a_link_stays_in_the_root(empty: RootTree) -> None:
    lay(
        empty,
        entry("out", kind=tarfile.SYMTYPE, link="/../../../etc"),
        entry("up", kind=tarfile.SYMTYPE, link="../../../../etc"),
        entry("out/cron", b"1"),
        entry("up/passwd", b"2"),
    )
    assert {"etc/cron", "etc/passwd"} <= set(empty.nodes)


def test_devices_are_left_out_and_counted(empty: RootTree) -> None:
    kinds = (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)
    lay(empty, *(entry(f"dev/{number}", kind=kind) for number, kind in enumerate(kinds)))
    assert (empty.left_out, sorted(empty.nodes)) == (3, [])


def test_a_mount_point_that_is_a_link_becomes_a_directory(tmp_path: Path) -> None:
    """The guest mounts its /proc there, and would follow the link to its own files."""
    (tmp_path / "root.tar").write_bytes(packed(entry("proc", kind=tarfile.SYMTYPE, link="/bin"), entry("lab", b"x")))
    built = root.build(str(tmp_path / "root.tar"), ARM64, Cache(tmp_path / "cache"))
    with tarfile.open(fileobj=io.BytesIO(_as_tar(built.image, tmp_path))) as archive:
        kinds = {member.name: member.isdir() for member in archive}
    assert (kinds["proc"], kinds["lab"]) == (True, True)


def _as_tar(image: Path, tmp_path: Path) -> bytes:
    """Return a tar of an image's files, as unsquashfs lists and unpacks them."""
    from lab.core import proc

    proc.run(["unsquashfs", "-no-progress", "-dest", str(tmp_path / "unpacked"), str(image)], timeout_s=60)
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        archive.add(tmp_path / "unpacked", "")
    return made.getvalue()


def test_ten_gibibytes_of_zeros_are_refused_by_their_header(tmp_path: Path) -> None:
    member = tarfile.TarInfo("zeros")
    member.size = TEN_GIB
    content = gzip.compress(member.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20))
    assert "a file of 10240 MiB; at most 512 are taken" in refused(tmp_path, content)


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, b"Z", tarfile.CONTTYPE], ids=["device", "unknown", "contiguous"])
def test_bytes_that_would_only_be_skipped_are_bounded_too(tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("zeros")
    member.size, member.type = TEN_GIB, kind
    assert "a file of 10240 MiB" in refused(tmp_path, member.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20))


@pytest.mark.parametrize("kind", tar.LONG_HEADERS)
def test_a_header_of_ten_gibibytes_is_not_read_into_memory(tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("name")
    member.size, member.type = TEN_GIB, kind
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(tmp_path, packed(entry("a"))[:1024][:512] + member.tobuf(tarfile.GNU_FORMAT) + bytes(64 << 20))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 256 << 10


def test_many_gibibytes_in_small_files_are_refused_while_they_are_read(
    empty: RootTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "MAX_BYTES", 5000)
    with pytest.raises(UsageError, match="more than 0 GiB"):
        lay(empty, *(entry(str(number), bytes(1000)) for number in range(6)))


def test_one_name_again_and_again_is_bounded(empty: RootTree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "MAX_MEMBERS", 50)
    with pytest.raises(UsageError, match="more than 50 files in its layers"):
        lay(empty, *(entry("same") for _ in range(51)))


def test_a_damaged_header_in_the_middle_is_no_end(tmp_path: Path) -> None:
    content = bytearray(packed(entry("a", b"1"), entry("b", b"2")))
    content[1024 + 10] ^= 0xFF
    assert "damaged header" in refused(tmp_path, bytes(content))


def test_a_thousand_layers_are_refused_before_the_first_is_read(tmp_path: Path) -> None:
    place = tmp_path / "layout"
    layer = blob(place, packed(entry("a")))
    manifest = blob(place, json.dumps({"layers": [layer] * 1000}).encode())
    (place / "index.json").write_text(json.dumps({"manifests": [manifest]}))
    (place / "oci-layout").write_text("{}")
    with pytest.raises(UsageError, match="more than 128 layers"):
        root.build(str(place), ARM64, Cache(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([entry("x" * 300)], "too long"),
        ([entry("/".join(["d" * 200] * 30))], "too long"),
        ([entry("a", kind=tarfile.SYMTYPE, link="")], "a link to nothing"),
        ([entry("a", kind=tarfile.LNKTYPE, link="/etc/shadow")], "hard link to nothing"),
        (
            [
                entry("a", kind=tarfile.SYMTYPE, link="b"),
                entry("b", kind=tarfile.SYMTYPE, link="a"),
                entry("a/x"),
            ],
            "go round",
        ),
    ],
    ids=["part", "name", "empty link", "hard link", "loop"],
)
def test_what_no_file_system_holds_is_refused(
    tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]], message: str
) -> None:
    assert message in refused(tmp_path, packed(*members))
