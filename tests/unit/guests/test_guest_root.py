# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/guests/guest_root.py: a root comes on a disk where the kernel can mount it, and in the initramfs elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from lab.build.kernel import BuiltKernel
from lab.build.roots import root
from lab.build.roots.root import BuiltRoot
from lab.core.cache import Cache
from lab.core.errors import GuestLost, UsageError
from lab.core.outcome import End, Ended
from lab.evidence.metadata import Provenance
from lab.guests import guest_root
from lab.guests.domain import QEMU_NS, domain_xml
from lab.guests.guest import stdout_of
from lab.guests.qemu_command import qemu_command
from lab.specs.model import Topology
from tests.unit.fixtures.machines import machine
from tests.unit.fixtures.tars import entry, tar

FULL = b"CONFIG_SQUASHFS=y\nCONFIG_SQUASHFS_ZLIB=y\nCONFIG_OVERLAY_FS=y\nCONFIG_VIRTIO_BLK=y\n"


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def built(tmp_path: Path, cache: Cache) -> BuiltRoot:
    (tmp_path / "root.tar").write_bytes(tar(entry("bin/prog", b"x")))
    return root.build(str(tmp_path / "root.tar"), TOPOLOGY.architecture, cache)


TOPOLOGY = Topology.model_validate({"name": "x", "arch": "x86_64", "page_size": "4K", "memory": "256M"})


def kernel(tmp_path: Path, config: bytes) -> BuiltKernel:
    (tmp_path / "config").write_bytes(config)
    none = tmp_path / "none"
    return BuiltKernel(
        image=none, system_map=none, notes=none, log=none, config=tmp_path / "config", provenance=Provenance()
    )


def test_a_kernel_that_can_mount_it_gets_the_root_on_a_disk(built: BuiltRoot, cache: Cache, tmp_path: Path) -> None:
    fitted = guest_root.fit(built, TOPOLOGY, kernel(tmp_path, FULL), cache)
    assert (fitted.disk, fitted.archives, fitted.note) == (built.image, (), "")


def test_another_kernel_gets_it_in_memory_and_says_why(built: BuiltRoot, cache: Cache, tmp_path: Path) -> None:
    fitted = guest_root.fit(built, TOPOLOGY, kernel(tmp_path, b""), cache)
    assert fitted.disk is None
    assert [archive.name for archive in fitted.archives] == ["root.cpio"]
    assert fitted.note.startswith("the kernel has no CONFIG_SQUASHFS, CONFIG_OVERLAY_FS")


def test_a_root_in_memory_must_fit(built: BuiltRoot, cache: Cache, tmp_path: Path) -> None:
    large = replace(built, size=100 << 20)
    with pytest.raises(UsageError, match="x has 256 MiB of memory; with 100 MiB of files it takes 360"):
        guest_root.fit(large, TOPOLOGY, kernel(tmp_path, b""), cache)
    guest_root.fit(large, TOPOLOGY, kernel(tmp_path, FULL), cache)


def test_the_disk_is_read_only_in_both_ways_to_start_a_machine() -> None:
    rooted = replace(machine("arm64-64k-2node"), disk=Path("/a,b/root.squashfs"))
    document = ET.fromstring(domain_xml(rooted))
    arguments = [each.get("value") or "" for each in document.iter(f"{{{QEMU_NS}}}arg")]
    for words in (arguments, list(qemu_command(rooted))):
        drive = words[words.index("-drive") + 1]
        assert "readonly=on" in drive.split(",")
        assert drive.endswith("file=/a,,b/root.squashfs")
        assert "virtio-blk-pci,drive=root0,serial=pagelab-root" in words
    assert "-drive" not in qemu_command(machine("arm64-64k-2node"))


def test_programs_are_started_in_the_root() -> None:
    assert guest_root.in_root(("ls", "a b")) == "/lab/enter /newroot - ls 'a b'"
    assert guest_root.in_root(("tar",), "/src", own=True) == "/lab/enter --own /newroot /src tar"


@pytest.mark.parametrize(
    ("end", "status", "note", "stderr", "reason"),
    [
        (End.EXITED, 1, "", b"no such device\n", "mounting the root: exited no such device"),
        (End.DEADLINE, None, "after 60 s", b"", "mounting the root: deadline after 60 s"),
    ],
)
def test_a_command_of_the_labs_own_that_fails(
    end: End, status: int | None, note: str, stderr: bytes, reason: str
) -> None:
    ended = Ended(end=end, status=status, stdout=b"", stderr=stderr, duration_s=1.0, note=note)
    with pytest.raises(GuestLost) as caught:
        stdout_of(ended, "mounting the root")
    assert caught.value.message == reason


def test_a_command_of_the_labs_own_that_exits_with_0() -> None:
    ended = Ended(end=End.EXITED, status=0, stdout=b"done\n", stderr=b"a warning", duration_s=1.0)
    assert stdout_of(ended, "mounting the root") == "done\n"
