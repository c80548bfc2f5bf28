# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/workflows/pages/look.py: every container that a program comes in, and the ones that are damaged."""

from __future__ import annotations

import io
import struct
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from lab.core.errors import UsageError
from lab.core.sizes import KIB
from lab.specs.arches import ARCHES
from lab.workflows.pages import look

ARM64 = ARCHES["arm64"]


def library(align: int, machine: int = 183) -> bytes:
    """A shared library of arm64 with two segments, aligned to `align`."""
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, 2, 64, 0, 0)
    text = struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, 0x100, 0x100, align)
    data = struct.pack("<IIQQQQQQ", 1, 6, 0x100, align + 0x100, align + 0x100, 0x100, 0x100, align)
    return (ident + header + text + data).ljust(0x200, b"\0")


def test_a_library_with_4k_names_the_pages_and_the_option(tmp_path: Path) -> None:
    (tmp_path / "libold.so").write_bytes(library(4 * KIB))
    (tmp_path / "libnew.so").write_bytes(library(64 * KIB))
    looked = look.check([tmp_path])
    old = next(each for each in looked if each.name.endswith("libold.so"))
    assert list(old.problems) == [16 * KIB, 64 * KIB]
    assert old.mend == "-Wl,-z,max-page-size=65536"
    lines = look.render(looked)
    assert lines[0].endswith("libold.so (arm64): cannot be loaded with pages of 16K, 64K")
    assert lines[-1].endswith("2; 1 cannot be loaded on every page size of their architecture")


def test_a_debian_package_a_tar_and_a_wheel_are_looked_into(tmp_path: Path) -> None:
    tree = tmp_path / "pkg"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text("Package: p\nVersion: 1\nArchitecture: arm64\nMaintainer: n <n@example>\n"
                                         "Description: d\n")  # fmt: skip
    (tree / "usr/lib").mkdir(parents=True)
    (tree / "usr/lib/libp.so").write_bytes(library(4 * KIB))
    subprocess.run(["dpkg-deb", "-Zxz", "--build", tree, tmp_path / "p.deb"], check=True, stdout=subprocess.DEVNULL)
    with tarfile.open(tmp_path / "p.tar.xz", "w:xz") as archive:
        archive.add(tree / "usr", "usr")
    with zipfile.ZipFile(tmp_path / "p.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr("p/libp.so", library(4 * KIB))
    for name in ("p.deb", "p.tar.xz", "p.whl"):
        (looked,) = look.check([tmp_path / name])
        assert list(looked.problems) == [16 * KIB, 64 * KIB], name


def test_a_library_that_an_apk_stores_has_to_be_aligned_there(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.apk", "w", zipfile.ZIP_STORED) as apk:
        apk.writestr("lib/arm64-v8a/liba.so", library(64 * KIB))
    (looked,) = look.check([tmp_path / "a.apk"])
    assert list(looked.problems) == [16 * KIB, 64 * KIB]
    assert "zipalign" in looked.problems[16 * KIB]


def test_a_program_of_an_architecture_with_one_page_size_has_no_problem(tmp_path: Path) -> None:
    (tmp_path / "a.so").write_bytes(library(4 * KIB, machine=62))
    (looked,) = look.check([tmp_path / "a.so"])
    assert (looked.arch, looked.problems) == ("x86_64", {})


def bomb(tmp_path: Path) -> Path:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.so", library(4 * KIB) + bytes(look.MAX_MEMBER >> 4))
    return tmp_path / "bomb.zip"


def test_what_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = bomb(tmp_path)
    monkeypatch.setattr(look, "MAX_MEMBER", 1 << 20)
    with pytest.raises(UsageError, match="larger than the lab reads"):
        look.check([path])
    monkeypatch.setattr(look, "MAX_MEMBERS", 0)
    with pytest.raises(UsageError, match="more than 0 files"):
        look.check([path])


@pytest.mark.parametrize("content", [b"", b"PK\3\4 no zip", b"!<arch>\nno deb", b"\x1f\x8bno gzip", b"text\n"])
def test_a_file_that_is_nothing_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(UsageError) as caught:
        look.check([tmp_path / "file"])
    assert "\n" not in str(caught.value)


def test_a_cut_off_archive_is_one_line(tmp_path: Path) -> None:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz") as archive:
        member = tarfile.TarInfo("a.so")
        member.size = len(library(4 * KIB))
        archive.addfile(member, io.BytesIO(library(4 * KIB)))
    (tmp_path / "a.tgz").write_bytes(whole.getvalue()[:-40])
    with pytest.raises(UsageError, match=r"a\.tgz cannot be read"):
        look.check([tmp_path / "a.tgz"])
