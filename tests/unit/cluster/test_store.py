# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/cluster/store.py and pack.py: what is fetched is what was stored, and nothing leaves its directory."""

from __future__ import annotations

import io
import os
import tarfile
import time
from pathlib import Path

import pytest

pytest.importorskip("fsspec", reason="the extra pagelab[cluster] is not installed")

from lab.cluster import pack
from lab.cluster import store as stores
from lab.cluster.store import Damaged, Store
from lab.core.cache import Cache
from lab.core.errors import InfraError, UsageError

KEY = "0123abcd"


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    made = tmp_path / "entry"
    (made / "below").mkdir(parents=True)
    (made / "kernel").write_bytes(b"image" * 1000)
    (made / "below" / "tool").write_text("#!/bin/sh\n")
    (made / "below" / "tool").chmod(0o755)
    (made / "link").symlink_to("below/tool")
    return made


def store_at(tmp_path: Path, url: str = "") -> Store:
    return Store(url=url or str(tmp_path / "store"), scratch=tmp_path / "scratch")


def tar_with(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return path


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_an_artefact_comes_back_as_it_was(tmp_path: Path, entry: Path, form: str) -> None:
    store = store_at(tmp_path, form.format(tmp_path / "store"))
    assert not store.has("kernel", KEY)
    assert store.put("kernel", KEY, entry)
    assert not store.put("kernel", KEY, entry), "it is there"
    into = tmp_path / "into"
    into.mkdir()
    assert store.get("kernel", KEY, into)
    assert (into / "kernel").read_bytes() == b"image" * 1000
    assert os.access(into / "below/tool", os.X_OK)
    assert (into / "link").readlink() == Path("below/tool")
    assert [(each.kind, each.key) for each in store.artefacts()] == [("kernel", KEY)]


def test_in_memory_too(tmp_path: Path, entry: Path) -> None:
    """Any file system of fsspec's will do."""
    store = store_at(tmp_path, f"memory://{tmp_path.name}")
    store.put("kernel", KEY, entry)
    into = tmp_path / "into"
    into.mkdir()
    assert store.get("kernel", KEY, into)
    assert store.prune(-1)[0] == 2


def test_a_changed_byte_is_noticed_and_the_entry_is_built(tmp_path: Path, entry: Path) -> None:
    store = store_at(tmp_path)
    store.put("kernel", KEY, entry)
    tar = next((tmp_path / "store/kernel").glob("*.tar"))
    raw = bytearray(tar.read_bytes())
    raw[len(raw) // 2] ^= 1
    tar.write_bytes(raw)
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(Damaged, match="SHA-256"):
        store.get("kernel", KEY, into)
    said: list[str] = []
    store.warn = said.append
    made = Cache(tmp_path / "cache", store).entry("kernel", KEY, lambda path: (path / "own").touch())
    assert [path.name for path in made.iterdir()] == ["own"]
    assert "is damaged" in said[0]


def test_a_cache_reads_through_and_writes_back(tmp_path: Path) -> None:
    built: list[str] = []

    def make(entry: Path) -> None:
        built.append("built")
        (entry / "image").write_text("image")

    first = Cache(tmp_path / "first", store_at(tmp_path)).entry("kernel", KEY, make)
    second = Cache(tmp_path / "second", store_at(tmp_path)).entry("kernel", KEY, make)
    assert built == ["built"]
    assert (first / "image").read_text() == (second / "image").read_text()
    assert Cache(tmp_path / "third", store_at(tmp_path)).obtain("kernel", KEY)
    assert not Cache(tmp_path / "fourth", store_at(tmp_path)).obtain("kernel", "ffff")
    Cache(tmp_path / "fifth", store_at(tmp_path)).entry("sources", KEY, make)
    assert built == ["built", "built"], "source trees are not shared"


def test_a_store_that_cannot_be_written_stops_no_build(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    said: list[str] = []
    store = store_at(tmp_path)
    store.warn = said.append
    made = Cache(tmp_path / "cache", store).entry("kernel", KEY, lambda path: (path / "own").touch())
    assert (made / "own").exists()
    assert any("not stored" in line for line in said)


def test_old_things_are_pruned(tmp_path: Path, entry: Path) -> None:
    store = store_at(tmp_path)
    store.put("kernel", KEY, entry)
    store.upload(entry / "kernel", "evidence/run.1/m@k.attempt-1.tar")
    week_ago = time.time() - 7 * 86400
    for path in (tmp_path / "store/kernel").iterdir():
        os.utime(path, (week_ago, week_ago))
    files, size = store.prune(86400.0)
    assert files == 2
    assert size > 5000
    assert store.evidence("run.1") == ["m@k.attempt-1.tar"]


def test_an_unknown_store_is_an_error_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="store nosuch://x"):
        store_at(tmp_path, "nosuch://x")


@pytest.mark.parametrize(
    "member",
    [
        tarfile.TarInfo("../outside"),
        tarfile.TarInfo("/etc/passwd"),
        tarfile.TarInfo("a/../../b"),
    ],
    ids=["above", "absolute", "above-within"],
)
def test_nothing_is_unpacked_outside(tmp_path: Path, member: tarfile.TarInfo) -> None:
    tar = tar_with(tmp_path / "x.tar", member)
    (tmp_path / "into").mkdir()
    with pytest.raises(InfraError, match="not unpacked"):
        pack.unpack(tar, tmp_path / "into", limit=1000)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["into", "x.tar"]


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.LNKTYPE])
def test_no_device_pipe_or_hard_link_is_unpacked(tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("thing")
    member.type, member.linkname = kind, "/etc/shadow"
    tar = tar_with(tmp_path / "x.tar", member)
    (tmp_path / "into").mkdir()
    with pytest.raises(InfraError, match="not unpacked"):
        pack.unpack(tar, tmp_path / "into", limit=1000)


@pytest.mark.parametrize(("target", "good"), [("/etc/shadow", False), ("../../x", False), ("b", True), ("../b", True)])
def test_links_stay_inside(tmp_path: Path, target: str, good: bool) -> None:
    member = tarfile.TarInfo("a/link")
    member.type, member.linkname = tarfile.SYMTYPE, target
    tar = tar_with(tmp_path / "x.tar", member)
    (tmp_path / "into").mkdir()
    if good:
        pack.unpack(tar, tmp_path / "into", limit=1000)
        return
    with pytest.raises(InfraError, match="not unpacked"):
        pack.unpack(tar, tmp_path / "into", limit=1000)


def test_nothing_is_unpacked_below_a_link(tmp_path: Path) -> None:
    """A link that stays inside by its text may lead outside by way of another link."""
    outer, inner = tarfile.TarInfo("a/b/c/outer"), tarfile.TarInfo("a/b/c/outer/inner")
    outer.type, outer.linkname = tarfile.SYMTYPE, "../../.."
    inner.type, inner.linkname = tarfile.SYMTYPE, "../../../.."
    tar = tar_with(tmp_path / "x.tar", outer, inner)
    (tmp_path / "into").mkdir()
    with pytest.raises(InfraError, match="not unpacked: 'a/b/c/outer/inner'"):
        pack.unpack(tar, tmp_path / "into", limit=1000)


@pytest.mark.parametrize("small", [0, stores.SMALL], ids=["by-file", "in-memory"])
@pytest.mark.parametrize("form", ["{}", "memory://evidence-{}"])
def test_evidence_comes_back_as_it_was(
    tmp_path: Path, entry: Path, form: str, small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "SMALL", small)
    where = store_at(tmp_path, form.format(tmp_path / "store"))
    sha256, size = where.send(entry, "evidence/run/x.tar", limit=1 << 20)
    into = tmp_path / "into"
    into.mkdir()
    where.receive("evidence/run/x.tar", into, sha256=sha256, size=size, limit=1 << 20)
    assert (into / "kernel").read_bytes() == b"image" * 1000
    assert (into / "below/tool").stat().st_mtime == pytest.approx((entry / "below/tool").stat().st_mtime, abs=1.0)
    for wrong in ({"sha256": "0" * 64, "size": size}, {"sha256": sha256, "size": 1}):
        if small or wrong["size"] == size:
            with pytest.raises(Damaged, match=r"x\.tar is damaged: SHA-256"):
                where.receive("evidence/run/x.tar", tmp_path / "other", limit=1 << 20, **wrong)  # type: ignore[arg-type]
    with pytest.raises(pack.TooLarge):
        where.send(entry, "evidence/run/y.tar", limit=100)


def test_a_tar_file_is_bounded_both_ways(tmp_path: Path, entry: Path) -> None:
    with pytest.raises(pack.TooLarge):
        pack.pack(entry, tmp_path / "x.tar", limit=100)
    pack.pack(entry, tmp_path / "x.tar")
    (tmp_path / "into").mkdir()
    with pytest.raises(pack.TooLarge):
        pack.unpack(tmp_path / "x.tar", tmp_path / "into", limit=100)


def test_a_torn_tar_file_is_damaged(tmp_path: Path, entry: Path) -> None:
    pack.pack(entry, tmp_path / "x.tar")
    raw = (tmp_path / "x.tar").read_bytes()
    (tmp_path / "x.tar").write_bytes(raw[: len(raw) // 3])
    (tmp_path / "into").mkdir()
    with pytest.raises(InfraError):
        pack.unpack(tmp_path / "x.tar", tmp_path / "into", limit=1 << 20)


def test_hosts_with_one_process_id_write_to_files_of_their_own(
    tmp_path: Path, entry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, renamed = store_at(tmp_path), list[str]()
    move = store._files.mv

    def noted(temporary: str, path: str) -> None:
        renamed.append(temporary)
        move(temporary, path)

    monkeypatch.setattr(store._files, "mv", noted)
    for _ in range(2):
        store.put("kernel", KEY, entry, again=True)
    assert len(renamed) == len(set(renamed)) == 4, "two artefacts, each with its description"
    assert not list((tmp_path / "store").rglob("*.part"))
