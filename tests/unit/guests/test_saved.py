# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/vm without a libvirt: saved guests get other names, and a daemon's emulators are found by theirs."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from lab.core.errors import InfraError
from lab.guests import vm

UUID = "82766c35-e30f-4f7d-81e6-5a7b8e4ad921"
XML = f"<domain type='qemu'>\n  <name>cell-77-000001</name>\n  <uuid>{UUID}</uuid>\n</domain>"
HEAD = b"LibvirtQemudSave" + bytes(72)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A saved guest: libvirt's header, the XML, and QEMU's stream, in which the name stands too."""
    path = tmp_path / "state"
    path.write_bytes(HEAD + XML.encode() + bytes(9) + b"<name>cell-77-000001</name>")
    return path


def test_a_saved_guest_gets_another_name_and_uuid_and_nothing_else_changes(image: Path) -> None:
    before = image.read_bytes()
    vm._rename(image, "cell-77-000002")
    vm._rename(image, "cell-77-000003")
    after = image.read_bytes()
    assert len(after) == len(before)
    found = re.search(rb"<uuid>(.{36})</uuid>", after)
    assert found
    assert found[1] != UUID.encode()
    restored = after.replace(found[1], UUID.encode()).replace(b"cell-77-000003", b"cell-77-000001", 1)
    assert restored == before


@pytest.mark.parametrize("name", ["cell-77-02", "cell-77-00000002"])
def test_a_name_of_another_length_does_not_fit(image: Path, name: str) -> None:
    before = image.read_bytes()
    with pytest.raises(InfraError, match="not a saved guest that can be called"):
        vm._rename(image, name)
    assert image.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"garbage", XML.encode(), HEAD + b"<domain/>"])
def test_what_is_no_saved_guest_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state"
    path.write_bytes(content)
    with pytest.raises(InfraError):
        vm._rename(path, "cell-77-000002")
    assert path.read_bytes() == content


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match="No such file"):
        vm._rename(tmp_path / "state", "cell-77-000002")


def test_a_daemons_emulator_is_found_by_the_name_it_carries() -> None:
    name = f"cell-{os.getpid()}-000001"
    process = subprocess.Popen(["sh", "-c", "sleep 60; true", "qemu", "-name", f"guest={name},debug-threads=on"])
    try:
        until = time.monotonic() + 5
        while vm._own_emulator(name) is None and time.monotonic() < until:
            time.sleep(0.01)
        assert vm._own_emulator(name) == process.pid
        assert vm._own_emulator(name[:-1]) is None
    finally:
        process.kill()
        process.wait()
