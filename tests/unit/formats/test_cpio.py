# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/formats/cpio.py: what it writes is what cpio(1) reads, byte for byte the same each time."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lab.core import proc
from lab.formats import cpio

NODES = (
    cpio.file("init", b"#!/bin/sh\n", 0o755),
    cpio.symlink("bin/sh", "busybox"),
    cpio.file("bin/busybox", b"\0\1\2", 0o755),
    cpio.directory("root", 0o700),
    cpio.character_device("dev/console", 5, 1),
)


def test_header_of_one_file() -> None:
    raw = cpio.archive([cpio.file("a", b"xyz", 0o644)])
    fields = [int(raw[6 + 8 * n : 14 + 8 * n], 16) for n in range(13)]
    assert raw[:6] == b"070701"
    assert fields == [1, 0o100644, 0, 0, 1, 0, 3, 0, 0, 0, 0, 2, 0]
    assert raw[110:112] == b"a\0"
    assert raw[112:116] == b"xyz\0"
    assert raw[116:122] == b"070701"
    assert b"TRAILER!!!\0" in raw


def test_order_of_nodes_does_not_matter() -> None:
    assert cpio.archive(NODES) == cpio.archive(reversed(NODES))


def test_archives_can_follow_each_other() -> None:
    assert len(cpio.archive(NODES)) % cpio.BLOCK == 0
    assert len(cpio.archive([])) == cpio.BLOCK


@pytest.mark.parametrize("name", ["/init", "../init", "a//b", "./a", "", ".", "a/", "TRAILER!!!"])
def test_odd_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="plain relative path"):
        cpio.archive([cpio.file(name, b"")])


def test_a_name_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        cpio.archive([cpio.file("a", b""), cpio.file("a", b"")])


@pytest.mark.skipif(not shutil.which("cpio"), reason="no cpio here")
def test_cpio_reads_it() -> None:
    output = proc.run(["cpio", "--list", "--verbose", "--numeric-uid-gid"], input=cpio.archive(NODES)).output
    rows = [line.split() for line in output.splitlines() if not line.endswith("blocks")]
    assert [(row[0], row[2], row[3], row[-1]) for row in rows] == [
        ("drwxr-xr-x", "0", "0", "bin"),
        ("-rwxr-xr-x", "0", "0", "bin/busybox"),
        ("lrwxrwxrwx", "0", "0", "busybox"),
        ("drwxr-xr-x", "0", "0", "dev"),
        ("crw-------", "0", "0", "dev/console"),
        ("-rwxr-xr-x", "0", "0", "init"),
        ("drwx------", "0", "0", "root"),
    ]


@pytest.mark.skipif(not shutil.which("cpio"), reason="no cpio here")
def test_cpio_extracts_what_was_put_in(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5
    raw = cpio.archive([cpio.file("lab/sub/prog", data, 0o700)])
    proc.run(["cpio", "--extract", "--make-directories"], input=raw, cwd=tmp_path)
    assert (tmp_path / "lab/sub/prog").read_bytes() == data
    assert (tmp_path / "lab/sub/prog").stat().st_mode & 0o777 == 0o700
