# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/workflows/pages/look.py: every container that a program comes in, and the ones that are damaged."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import struct
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

import pytest

from lab.core.errors import UsageError
from lab.core.sizes import KIB
from lab.formats import elf_program
from lab.specs.arches import ARCHES
from lab.workflows.pages import check_report, look
from lab.workflows.pages.look import Checked
from tests.unit.fixtures.linked import link
from tests.unit.fixtures.refused import refuse, refuse_directory

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
    looked = look.check([tmp_path]).files
    old = next(each for each in looked if each.name.endswith("libold.so"))
    assert list(old.problems) == [16 * KIB, 64 * KIB]
    assert old.mend == "link it with -Wl,-z,max-page-size=65536"
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
        (looked,) = look.check([tmp_path / name]).files
        assert list(looked.problems) == [16 * KIB, 64 * KIB], name


def test_a_library_that_an_apk_stores_has_to_be_aligned_there(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.apk", "w", zipfile.ZIP_STORED) as apk:
        apk.writestr("lib/arm64-v8a/liba.so", library(64 * KIB))
    (looked,) = look.check([tmp_path / "a.apk"]).files
    assert list(looked.problems) == [16 * KIB, 64 * KIB]
    assert "zipalign" in looked.problems[16 * KIB]
    assert looked.mend == "align it in the archive with zipalign -P 64"


def test_a_program_of_an_architecture_with_one_page_size_has_no_problem(tmp_path: Path) -> None:
    (tmp_path / "a.so").write_bytes(library(4 * KIB, machine=62))
    (looked,) = look.check([tmp_path / "a.so"]).files
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


def zipped(files: dict[str, bytes]) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return whole.getvalue()


def tarred(files: dict[str, bytes], mode: Literal["w", "w:gz"] = "w") -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode=mode) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return whole.getvalue()


OLD = library(4 * KIB)


@pytest.mark.parametrize(
    ("name", "content", "inner"),
    [
        ("set.apks", zipped({"base.apk": zipped({"lib/arm64-v8a/a.so": OLD})}), "base.apk: lib/arm64-v8a/a.so"),
        ("app.war", zipped({"WEB-INF/lib/x.jar": zipped({"a.so": OLD})}), "WEB-INF/lib/x.jar: a.so"),
        ("image.tar", tarred({"x/layer.tar": tarred({"usr/a.so": OLD})}), "x/layer.tar: usr/a.so"),
        ("oci.tar", tarred({"blobs/sha256/ab": tarred({"usr/a.so": OLD}, "w:gz")}), "blobs/sha256/ab: usr/a.so"),
        ("app.pex", b"#!/usr/bin/env python3\n" + zipped({"a.so": OLD}), "a.so"),
    ],
)
def test_archives_in_archives_and_in_directories_are_looked_into(
    tmp_path: Path, name: str, content: bytes, inner: str
) -> None:
    (tmp_path / name).write_bytes(content)
    (looked,) = look.check([tmp_path / name]).files
    assert looked.name == f"{tmp_path / name}: {inner}"
    assert looked.problems
    if name != "app.pex":
        assert [each.name for each in look.check([tmp_path]).files] == [looked.name]


def test_archives_without_end_are_named(tmp_path: Path) -> None:
    content = zipped({"a.so": OLD})
    for _ in range(look.MAX_DEPTH + 1):
        content = zipped({"inner.zip": content, "b.so": OLD})
    (tmp_path / "deep.zip").write_bytes(content)
    checked = look.check([tmp_path / "deep.zip"])
    assert len(checked.files) == look.MAX_DEPTH + 1
    assert list(checked.left_out) == [f"an archive in {look.MAX_DEPTH} others"]


def test_what_is_left_out_is_named(tmp_path: Path) -> None:
    for name, content in {
        "good.so": library(64 * KIB),
        "a.o": OLD[:16] + b"\1\0" + OLD[18:],
        "core": OLD[:16] + b"\4\0" + OLD[18:],
        "cut.so": OLD[:-0x150],
        "ia64.so": library(64 * KIB, machine=50),
        "x.deb": b"!<arch>\nno deb",
        "x.AppImage": OLD[:8] + b"AI\x02" + OLD[11:],
        "notes.txt.gz": b"\x1f\x8bno tar",
        "notes.txt": b"text",
    }.items():
        (tmp_path / name).write_bytes(content)
    checked = look.check([tmp_path])
    assert sorted(Path(each.name).name for each in checked.files) == ["good.so", "x.AppImage"]
    assert {reason: [Path(name).name for name in names] for reason, names in checked.left_out.items()} == {
        "an object file or a kernel module, which is linked first": ["a.o"],
        "a core dump": ["core"],
        "a segment ends behind the end of the file: is it cut off?": ["cut.so"],
        "of an architecture that the lab does not have (64 bit, little-endian, ELF machine 50)": ["ia64.so"],
        "an archive that cannot be read": ["x.deb"],
        "files in an AppImage, which `--appimage-extract` unpacks": ["x.AppImage"],
    }
    assert f"left out, a core dump: {tmp_path / 'core'}" in look.render(checked.files, checked.left_out)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "x is empty"),
        (b"text\n", "x is no program and no archive"),
        (b"MZ", "x is a program of Windows or DOS (PE)"),
        (struct.pack(">II", 0xCAFEBABE, 2), "x is a program of macOS (Mach-O)"),
        (struct.pack(">II", 0xCAFEBABE, 61), "x is a class of Java"),
        (b"\xed\xab\xee\xdb", "x is an RPM package: `rpm2cpio FILE | cpio -idm` unpacks it"),
        (b"!<arch>\na.o/", "x is a static library (ar)"),
        (b"\x28\xb5\x2f\xfd", "x cannot be read: zstd cannot unpack it: Read error"),
        (gzip.compress(b"words", mtime=0), "x cannot be read: it is no tar"),
        (b"#!/bin/sh\n", "x is a script: what is loaded is the interpreter in its first line"),
        (b"!<thin>\n", "x is a static library (ar)"),
        (bytes(0x438) + b"\x53\xef" + bytes(4096), "x is an image of an ext file system"),
        (bytes(0x8001) + b"CD001", "x is an ISO 9660 image"),
        (bytes(10240), "x is no program and no archive"),
        (OLD[:16] + b"\1\0" + OLD[18:], "x: an object file or a kernel module"),
        (library(KIB, machine=50), "x: of an architecture that the lab does not have"),
        (OLD[:100], "x: damaged ELF file, cut off or garbled"),
    ],
)
def test_a_file_that_is_named_and_not_looked_at_is_an_error(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "good.so").write_bytes(library(64 * KIB))
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(UsageError) as caught:
        look.check([tmp_path / "good.so", tmp_path / "x"])
    assert says in str(caught.value)


def test_a_path_to_nothing_is_told_with_the_nearest_name(tmp_path: Path) -> None:
    (tmp_path / "libfoo.so").write_bytes(OLD)
    with pytest.raises(UsageError, match=r"libfo.so: no such file; did you mean 'libfoo.so'\?"):
        look.check([tmp_path / "libfo.so"])
    with pytest.raises(UsageError, match=r"/dev/null: is no regular file"):
        look.check([Path("/dev/null")])


def test_a_static_pie_is_a_program_and_no_library(tmp_path: Path) -> None:
    source = "int main(void) { return 0; }"
    link(source, tmp_path / "prog", "-static-pie")
    assert elf_program.parse((tmp_path / "prog").read_bytes()).executable
    link(source, tmp_path / "lib.so", "-shared")
    assert not elf_program.parse((tmp_path / "lib.so").read_bytes()).executable


def packed_with(program: str, data: bytes) -> bytes:
    return subprocess.run([program, "-qc"], input=data, stdout=subprocess.PIPE, check=True).stdout


@pytest.mark.parametrize(
    ("name", "content", "inner"),
    [
        ("a.tar.zst", packed_with("zstd", tarred({"a.so": OLD})), ": a.so"),
        ("a.tar.lz4", packed_with("lz4", tarred({"a.so": OLD})), ": a.so"),
        ("a.tar.lzma", lzma.compress(tarred({"a.so": OLD}), format=lzma.FORMAT_ALONE), ": a.so"),
        ("prog.gz", gzip.compress(OLD, mtime=0), ""),
        ("prog.zst", packed_with("zstd", OLD), ""),
        ("setup", library(64 * KIB) + zipped({"a.so": OLD}), ": a.so"),
    ],
)
def test_whatever_it_is_packed_with_is_looked_at(tmp_path: Path, name: str, content: bytes, inner: str) -> None:
    (tmp_path / name).write_bytes(content)
    for path in (tmp_path / name, tmp_path):
        bad = [looked.name for looked in look.check([path]).files if looked.problems]
        assert bad == [f"{tmp_path / name}{inner}"]


def test_what_is_packed_alone_and_not_loaded_is_named(tmp_path: Path) -> None:
    module = OLD[:16] + b"\1\0" + OLD[18:]
    (tmp_path / "a.tar").write_bytes(tarred({"m.ko.xz": lzma.compress(module), "b.so": OLD}))
    checked = look.check([tmp_path / "a.tar"])
    assert list(checked.left_out.values()) == [[f"{tmp_path / 'a.tar'}: m.ko.xz"]]


def damaged_tar() -> bytes:
    content = bytearray(tarred({"good.so": library(64 * KIB), "old.so": OLD}))
    content[1024 + 20] ^= 0xFF  # the header of the second member
    return bytes(content)


def test_a_damaged_header_is_no_end_of_a_tar(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(damaged_tar())
    with pytest.raises(UsageError, match="cannot be read: a damaged tar: damaged header"):
        look.check([tmp_path / "a.tar"])
    (tmp_path / "a.tar").write_bytes(tarred({"blobs/sha256/ab": damaged_tar()}))
    checked = look.check([tmp_path / "a.tar"])
    assert list(checked.left_out) == ["an archive that cannot be read"]


def test_a_package_that_is_cut_off_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.deb").write_bytes(b"!<arch>\ndebian-binary   0           0     0     100644  4         `\n2.0\n")
    with pytest.raises(UsageError, match="a Debian package without its files: is it cut off"):
        look.check([tmp_path / "a.deb"])


def test_a_member_that_cannot_be_unpacked_hides_no_other(tmp_path: Path) -> None:
    content = bytearray(zipped({"secret.txt": b"x", "a.so": OLD}))
    content[6] |= 1  # encrypted, in the header and in the directory
    content[content.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    checked = look.check([tmp_path / "a.zip"])
    assert len(checked.files) == 1
    assert checked.left_out == {look.LOCKED: [f"{tmp_path / 'a.zip'}: secret.txt"]}


def test_a_name_cannot_write_a_line_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tarred({"x.so\nall can be loaded": OLD, "y.so\nno": OLD[:100]}))
    checked = look.check([tmp_path / "a.tar"])
    lines = look.render(checked.files, checked.left_out)
    assert lines[0].endswith("a.tar: x.so\\nall can be loaded (arm64): cannot be loaded with pages of 16K, 64K")
    assert lines[-2].endswith("a.tar: y.so\\nno")


def test_a_directory_that_cannot_be_read_is_left_out_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locked").mkdir()
    (tmp_path / "a.so").write_bytes(OLD)
    refuse_directory("locked", monkeypatch)
    assert look.check([tmp_path]).left_out == {"Permission denied": [f"{tmp_path / 'locked'}/"]}
    monkeypatch.setattr(Path, "is_dir", refuse)
    with pytest.raises(UsageError, match=r"a\.so cannot be read: Permission denied"):
        look.check([tmp_path / "a.so"])


def test_a_segment_without_bytes_in_the_file_may_be_anywhere_in_it(tmp_path: Path) -> None:
    """Linux maps nothing for it, so its offset does not count."""
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = struct.pack("<HHIQQQIHHHHHH", 2, 183, 1, 0x400000, 64, 0, 0, 64, 56, 2, 64, 0, 0)
    text = struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0, 0x100, 0x100, 64 * KIB)
    bss = struct.pack("<IIQQQQQQ", 1, 6, 0x100, 0x420000, 0, 0, 0x1000, 64 * KIB)
    (tmp_path / "prog").write_bytes((ident + header + text + bss).ljust(0x200, b"\0"))
    (looked,) = look.check([tmp_path / "prog"]).files
    assert looked.problems == {}


# ---- The answer in every format -------------------------------------------------------------------------------------


def hostile() -> Checked:
    bad = look.LookedAt(
        name="a<script>.so\nb", arch="arm64", align=4 * KIB, problems={16 * KIB: "too \x1b[31mlittle & <b>"}
    )
    good = look.LookedAt(name="good.so", arch="arm64", align=64 * KIB, problems={})
    return Checked(files=(bad, good), left_out={"damaged <i>": ["x\ny.so"]})


def test_a_check_is_written_in_every_format() -> None:
    assert set(check_report.FORMATS) == {"text", "json", "junit", "html"}
    document = json.loads(check_report.as_json(hostile()))
    assert document["exit_status"] == 1
    assert document["files"][0]["problems"] == {"16384": "too \x1b[31mlittle & <b>"}
    suite = ElementTree.fromstring(check_report.junit(hostile()))[0]
    assert suite.attrib["failures"] == "1"
    assert suite.attrib["skipped"] == "1"
    assert [case.attrib["name"] for case in suite] == ["a<script>.so\\nb", "good.so", "x\\ny.so"]


def test_no_format_of_a_check_passes_markup_or_escapes_on() -> None:
    page = check_report.html(hostile())
    assert "<script>.so" not in page
    assert "&lt;script&gt;.so\\nb" in page
    for form in check_report.FORMATS.values():
        assert "\x1b" not in form(hostile())
    assert "x\\ny.so" in check_report.text(hostile())
