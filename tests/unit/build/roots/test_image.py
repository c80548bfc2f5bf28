# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/build/roots/image.py: roots as squashfs images, and what a kernel needs to mount one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lab.build.roots import image, root
from lab.build.roots.root import package_names
from lab.core import proc
from lab.core.cache import Cache
from lab.core.errors import InfraError, UsageError
from lab.formats import cpio
from lab.specs.arches import ARCHES
from tests.unit.fixtures.tars import entry
from tests.unit.fixtures.tars import tar as packed

ARM64 = ARCHES["arm64"]
FULL = b"CONFIG_SQUASHFS=y\nCONFIG_SQUASHFS_ZLIB=y\nCONFIG_OVERLAY_FS=y\nCONFIG_VIRTIO_BLK=y\n"


@pytest.fixture
def tar_file(tmp_path: Path) -> Path:
    (tmp_path / "root.tar").write_bytes(packed(entry("usr/bin/su", b"x", mode=0o4755), entry("etc/hosts", b"h\n")))
    return tmp_path / "root.tar"


def test_an_image_holds_the_files_with_their_modes_and_owners(tar_file: Path, tmp_path: Path) -> None:
    built = root.build(str(tar_file), ARM64, Cache(tmp_path / "cache"))
    listed = proc.run(["unsquashfs", "-lln", str(built.image)], timeout_s=60).output.splitlines()
    lines = {line.rpartition("squashfs-root/")[2]: line for line in listed if "squashfs-root/" in line}
    assert lines["usr/bin/su"].startswith("-rwsr-xr-x 0/0")
    assert lines["tmp"].startswith("drwxrwxrwt")
    assert {"proc", "sys", "dev", "run", "lab", "etc/passwd", "etc/resolv.conf"} <= lines.keys()


def test_the_same_root_is_the_same_image(tar_file: Path, tmp_path: Path) -> None:
    images = []
    for name in ("one", "two"):
        images.append(root.build(str(tar_file), ARM64, Cache(tmp_path / name)).image.read_bytes())
    assert images[0] == images[1]


def test_a_host_without_the_program_is_told_its_package(
    tar_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proc, "which", lambda name: None if name == image.PROGRAM else shutil.which(name))
    with pytest.raises(InfraError, match="squashfs-tools"):
        root.build(str(tar_file), ARM64, Cache(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("config", "modules", "absent"),
    [
        (FULL, (), ()),
        (FULL.replace(b"CONFIG_SQUASHFS=y", b"# CONFIG_SQUASHFS is not set"), (), ("CONFIG_SQUASHFS",)),
        (FULL.replace(b"OVERLAY_FS=y", b"OVERLAY_FS=m"), (), ("CONFIG_OVERLAY_FS",)),
        (FULL.replace(b"OVERLAY_FS=y", b"OVERLAY_FS=m"), ("overlay",), ()),
        (FULL.replace(b"CONFIG_SQUASHFS_ZLIB=y\n", b""), (), ("CONFIG_SQUASHFS_ZLIB",)),
    ],
    ids=["built in", "off", "module without a file", "module", "packing"],
)
def test_a_kernel_mounts_a_root_with_what_is_built_in_or_loaded(
    tmp_path: Path, config: bytes, modules: tuple[str, ...], absent: tuple[str, ...]
) -> None:
    listed = "".join(f"/lib/modules/{name}.ko\n" for name in modules)
    (tmp_path / "modules.cpio").write_bytes(cpio.archive([cpio.file(image.LIST, listed.encode())]))
    assert image.lacking(config, tmp_path / "modules.cpio") == absent


def test_no_module_is_an_empty_archive(tmp_path: Path) -> None:
    (tmp_path / "modules.cpio").write_bytes(b"")
    assert image.lacking(FULL, tmp_path / "modules.cpio") == ()
    assert image.lacking(FULL, None) == ()


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("", []),
        ("+bash", ["bash"]),
        ("+libstdc++6+redis-server", ["libstdc++6", "redis-server"]),
        ("+g+++make", ["g++", "make"]),
        ("+g++", ["g++"]),
        ("+libc6.1+x", ["libc6.1", "x"]),
    ],
)
def test_plus_signs_in_the_names_of_packages(words: str, names: list[str]) -> None:
    assert package_names(words) == names


@pytest.mark.parametrize("word", ["debian:", "debian:trixie+", "debian:trixie++a", "debian:trixie+A", "debian:../x"])
def test_a_word_that_names_no_packages_is_refused_before_anything_is_fetched(tmp_path: Path, word: str) -> None:
    with pytest.raises(
        UsageError, match=r"expected debian:SUITE|expected names of packages|is no release on the mirrors"
    ):
        root.build(word, ARM64, Cache(tmp_path / "cache"))
