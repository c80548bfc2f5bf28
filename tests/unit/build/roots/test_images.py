# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/build/roots/images.py: the image of the machine's architecture is found, whoever wrote it."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lab.arch.record import Arch
from lab.build.roots import images, root
from lab.core.cache import Cache
from lab.core.errors import UsageError
from lab.formats import cpio
from lab.specs.arches import ARCHES
from tests.unit.fixtures.tars import entry, tar

ARM64, X86 = ARCHES["arm64"], ARCHES["x86_64"]
Files = dict[str, bytes]


def blob(files: Files, data: bytes) -> str:
    digits = hashlib.sha256(data).hexdigest()
    files[f"blobs/sha256/{digits}"] = data
    return digits


def image(files: Files, architecture: str, layer: bytes = b"") -> tuple[dict[str, Any], dict[str, Any]]:
    """Add an image with one layer, /NAME; return its entry in manifest.json, and that in index.json."""
    layer_digits = blob(files, layer or tar(entry(f"opt/{architecture}")))
    config = blob(files, json.dumps({"architecture": architecture}).encode())
    manifest = {"config": {"digest": f"sha256:{config}"}, "layers": [{"digest": f"sha256:{layer_digits}"}]}
    digits = blob(files, json.dumps(manifest).encode())
    entry_of_index = {"digest": f"sha256:{digits}", "platform": {"architecture": architecture}}
    paths = {"Config": f"blobs/sha256/{config}", "Layers": [f"blobs/sha256/{layer_digits}"]}
    return {**paths, "RepoTags": [f"{architecture}:latest"]}, entry_of_index


def index(*manifests: object) -> bytes:
    return json.dumps({"manifests": manifests}).encode()


def written(files: Mapping[str, bytes], place: Path) -> Path:
    place.write_bytes(tar(*(entry(name, data) for name, data in files.items())))
    return place


def names_in(word: Path, tmp_path: Path, arch: Arch = ARM64) -> set[str]:
    made = root.build(str(word), arch, Cache(tmp_path / "cache"))
    return {node.name.removeprefix("newroot/") for node in cpio.read(made.archive().read_bytes())}


def test_docker_s_archive_of_several_images_has_one_for_the_machine(tmp_path: Path) -> None:
    files: Files = {}
    entries = [image(files, "amd64")[0], image(files, "arm64")[0]]
    files["manifest.json"] = json.dumps(entries).encode()
    word = written(files, tmp_path / "image.tar")
    assert "opt/arm64" in names_in(word, tmp_path)
    assert "opt/amd64" in names_in(word, tmp_path, X86)
    with pytest.raises(UsageError, match="is an image for x86_64 and arm64, not for riscv64"):
        names_in(word, tmp_path, ARCHES["riscv64"])


def test_an_index_beside_a_manifest_of_another_architecture_is_read(tmp_path: Path) -> None:
    files: Files = {}
    amd64, arm64 = image(files, "amd64"), image(files, "arm64")
    files |= {"manifest.json": json.dumps([amd64[0]]).encode(), "index.json": index(amd64[1], arm64[1])}
    packed = tmp_path / "image.tar.gz"
    packed.write_bytes(gzip.compress(written(files, tmp_path / "image.tar").read_bytes()))
    for word in (tmp_path / "image.tar", packed):
        assert "opt/arm64" in names_in(word, tmp_path)


def test_of_two_images_for_the_machine_the_first_is_taken_and_named(tmp_path: Path) -> None:
    files: Files = {}
    entries = [image(files, "arm64")[0], image(files, "arm64", tar(entry("other")))[0]]
    files["manifest.json"] = json.dumps(entries).encode()
    made = root.build(str(written(files, tmp_path / "image.tar")), ARM64, Cache(tmp_path / "cache"))
    assert made.notes == ("2 images for arm64; arm64:latest is taken",)


@pytest.mark.parametrize(("architecture", "named"), [("386", "i386"), ("mipsle", "mipsle"), ("wasm", "wasm")])
def test_an_image_for_another_architecture_is_refused_whatever_it_is(
    tmp_path: Path, architecture: str, named: str
) -> None:
    files: Files = {}
    files |= {"index.json": index(image(files, architecture)[1]), "oci-layout": b"{}"}
    with pytest.raises(UsageError, match=f"is an image for {named}, not for arm64"):
        names_in(written(files, tmp_path / "image.tar"), tmp_path)


def test_notes_on_how_an_image_was_built_are_no_image(tmp_path: Path) -> None:
    files: Files = {}
    note = {**image(files, "unknown")[1]}
    nested = blob(files, index(note, image(files, "arm64")[1]))
    files |= {"index.json": index({"digest": f"sha256:{nested}"}), "oci-layout": b"{}"}
    assert "opt/arm64" in names_in(written(files, tmp_path / "image.tar"), tmp_path)
    files["index.json"] = index(note)
    with pytest.raises(UsageError, match="is an image for no architecture, not for arm64"):
        names_in(written(files, tmp_path / "other.tar"), tmp_path)


def test_what_a_digest_names_has_that_digest(tmp_path: Path) -> None:
    for damaged in range(3):
        files: Files = {}
        files["index.json"] = index(image(files, "arm64", gzip.compress(tar(entry("a")), mtime=0))[1])
        name = sorted(name for name in files if name.startswith("blobs"))[damaged]
        files[name] += b"\n"
        with pytest.raises(UsageError, match=f"{name} is damaged: what is in it has another digest"):
            names_in(written(files, tmp_path / f"{damaged}.tar"), tmp_path)


def test_what_a_digest_names_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files: Files = {}
    files["index.json"] = index(image(files, "arm64")[1])
    monkeypatch.setattr(images, "MAX_BYTES", 1000)
    with pytest.raises(UsageError, match=r"blobs/sha256/\w+ is larger than 0 GiB"):
        names_in(written(files, tmp_path / "image.tar"), tmp_path)


@pytest.mark.parametrize("packing", ["xz", "bz2"])
def test_layers_may_be_packed_with_what_tars_are(tmp_path: Path, packing: str) -> None:
    files: Files = {}
    files["index.json"] = index(image(files, "arm64", tar(entry("a"), packing=packing))[1])
    assert "a" in names_in(written(files, tmp_path / "image.tar"), tmp_path)


def test_the_directory_of_an_image_is_no_root_of_blobs(tmp_path: Path) -> None:
    files: Files = {}
    manifest, in_index = image(files, "arm64")
    layer = tar(entry("opt/arm64"))
    config = json.dumps({"architecture": "arm64"}).encode()
    skopeo: Files = {hashlib.sha256(layer).hexdigest(): layer, hashlib.sha256(config).hexdigest(): config}
    digest = str(in_index["digest"]).removeprefix("sha256:")
    skopeo |= {"manifest.json": files[f"blobs/sha256/{digest}"], "version": b"Directory Transport Version: 1.1\n"}
    for number, every in enumerate(
        [{**files, "manifest.json": json.dumps([manifest]).encode()}, {**files, "index.json": index(in_index)}, skopeo]
    ):
        place = tmp_path / str(number)
        for name, data in every.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(data)
        assert "opt/arm64" in names_in(place, tmp_path)


def test_the_layer_of_a_directory_stays_in_it(tmp_path: Path) -> None:
    (tmp_path / "outside.tar").write_bytes(tar(entry("a")))
    (tmp_path / "image").mkdir()
    (tmp_path / "image/link.tar").symlink_to(tmp_path / "outside.tar")
    for layer in ("../outside.tar", str(tmp_path / "outside.tar"), "link.tar"):
        (tmp_path / "image/manifest.json").write_text(json.dumps([{"Layers": [layer]}]))
        with pytest.raises(UsageError, match=r"no \S+ in this image"):
            names_in(tmp_path / "image", tmp_path)


def test_a_root_may_have_a_file_of_that_name(tmp_path: Path) -> None:
    members = [entry("usr/bin/prog"), entry("manifest.json", b'{"name": "an app of the web"}')]
    (tmp_path / "root.tar").write_bytes(tar(*members))
    assert {"usr/bin/prog", "manifest.json"} <= names_in(tmp_path / "root.tar", tmp_path)
    subprocess.run(["tar", "-x", "-f", tmp_path / "root.tar", "--one-top-level=root"], cwd=tmp_path, check=True)
    assert {"usr/bin/prog", "manifest.json"} <= names_in(tmp_path / "root", tmp_path)
