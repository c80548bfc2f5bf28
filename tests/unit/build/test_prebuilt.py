# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/build/prebuilt.py and lab/formats/kernel_image.py: kernels that exist, of toy images that have what is read."""

from __future__ import annotations

import gzip
import lzma
import shutil
import struct
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydantic import ValidationError

from lab.build import kernel, prebuilt, programs
from lab.build.roots import apt
from lab.core.cache import Cache
from lab.core.errors import InfraError, UsageError
from lab.core.sizes import KIB, MIB
from lab.formats import cpio, kernel_image
from lab.specs.arches import ARCHES
from lab.specs.model import Kernel, Topology
from lab.workflows import replay

ID = bytes(range(20))
NOTE = struct.pack("<III4s", 4, 20, 3, b"GNU\0") + ID
VDSO = b"\x7fELF" + bytes(500) + struct.pack("<III4s", 4, 20, 3, b"GNU\0") + bytes(20)
RELEASE = "6.12.1-toy"
IMAGE = b"MZ" + bytes(62) + NOTE + bytes(8192) + VDSO + f"Linux version {RELEASE} (toy)".encode()
CONFIG = "CONFIG_ARM64_16K_PAGES=y\nCONFIG_VIRTIO_NET=m\n"


def module(*needs: str) -> bytes:
    """An ELF file with a section .modinfo."""
    info = f"license=GPL\0depends={','.join(needs)}\0".encode()
    names = b"\0.modinfo\0.shstrtab\0"
    header = struct.pack("<HHIQQQIHHHHHH", 1, 183, 1, 0, 0, 64 + len(info) + len(names), 0, 64, 0, 0, 64, 3, 2)
    sections = bytes(64)
    sections += struct.pack("<IIQQQQIIQQ", 1, 1, 0, 0, 64, len(info), 0, 0, 1, 0)
    sections += struct.pack("<IIQQQQIIQQ", 10, 3, 0, 0, 64 + len(info), len(names), 0, 0, 1, 0)
    return b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + header + info + names + sections


@pytest.fixture
def boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of a kernel as a package has them; returns the image."""
    (tmp_path / "loader").write_bytes(b"static loader")
    monkeypatch.setattr(programs, "compile_one", lambda arch, source, cache: tmp_path / "loader")
    modules = tmp_path / "lib/modules/toy/kernel/drivers"
    modules.mkdir(parents=True)
    (modules / "virtio_net.ko.xz").write_bytes(lzma.compress(module("net_failover")))
    (modules / "net_failover.ko").write_bytes(module("failover"))
    (modules / "failover.ko").write_bytes(module())
    (modules / "sound.ko").write_bytes(module())
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot/config-toy").write_text(CONFIG)
    (tmp_path / "boot/vmlinuz-toy").write_bytes(IMAGE)
    return tmp_path / "boot/vmlinuz-toy"


def machine(size: int) -> Topology:
    return Topology(name="m", arch="arm64", page_size=size, memory=256 * MIB)


def test_a_kernel_with_its_modules_is_an_entry_like_any_other(boot: Path, tmp_path: Path) -> None:
    spec = Kernel(name="toy", source=f"image:{boot}")
    cache = Cache(tmp_path / "cache")
    assert not kernel.is_built(spec, machine(16 * KIB), cache=cache)
    built = kernel.build(spec, machine(16 * KIB), cache=cache)
    assert built.provenance.build_id == ID.hex()
    assert built.provenance.release == RELEASE
    assert built.image.read_bytes() == IMAGE
    assert built.modules is not None
    nodes = {node.name: node.data for node in cpio.read(built.modules.read_bytes())}
    listed = nodes["lib/modules/list"].decode().split()
    assert listed == [f"/lib/modules/{name}.ko" for name in ("failover", "net_failover", "virtio_net")]
    assert "lib/modules/sound.ko" not in nodes
    assert kernel.is_built(spec, machine(16 * KIB), cache=cache)
    assert kernel.recorded(built.provenance, cache) == built


def test_a_machine_with_other_pages_is_refused(boot: Path, tmp_path: Path) -> None:
    spec = Kernel(name="toy", source=f"image:{boot}")
    with pytest.raises(UsageError, match="toy has no pages of 64 KiB, as m asks: CONFIG_ARM64_64K_PAGES"):
        kernel.build(spec, machine(64 * KIB), cache=Cache(tmp_path / "cache"))


def test_nothing_can_be_added_to_it(boot: Path, tmp_path: Path) -> None:
    for added in ({"config": ("kasan",)}, {"series": "expand"}):
        with pytest.raises(ValidationError, match="nothing can be added to image:"):
            Kernel.model_validate({"name": "toy", "source": f"image:{boot}", **added})


def test_it_may_have_features_without_a_series(boot: Path) -> None:
    kernel_spec = Kernel(name="toy", source=f"image:{boot}", provides=frozenset({"shm-expand"}))
    assert kernel_spec.prebuilt


def test_what_a_suite_wishes_for_is_reported(boot: Path, tmp_path: Path) -> None:
    presets = tmp_path / "images/config"
    presets.mkdir(parents=True)
    (presets / "kselftest-mm.config").write_text("CONFIG_ARM64_16K_PAGES=y\nCONFIG_USERFAULTFD=y\n")
    spec = Kernel(name="toy", source=f"image:{boot}").model_copy(update={"config": ("wish:kselftest-mm",)})
    cache = Cache(tmp_path / "cache")
    built = kernel.build(spec, machine(16 * KIB), cache=cache, images=tmp_path / "images")
    assert built.provenance.refused == ("CONFIG_USERFAULTFD=y",)


def test_its_key_is_that_of_image_configuration_and_modules(boot: Path, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    copy = tmp_path / "copy"
    shutil.copytree(boot.parent.parent / "boot", copy / "boot")
    shutil.copytree(boot.parent.parent / "lib", copy / "lib")
    other = Kernel(name="other", source=f"image:{copy / 'boot/vmlinuz-toy'}")
    first = kernel.build(Kernel(name="toy", source=f"image:{boot}"), machine(16 * KIB), cache=cache)
    second = kernel.build(other, machine(16 * KIB), cache=cache)
    assert second.provenance.key == first.provenance.key
    assert second.provenance.source == other.source, "the same content may have another name"
    (copy / "lib/modules/toy/kernel/drivers/failover.ko").write_bytes(module() + b"changed")
    assert prebuilt.key_of(other, ARCHES["arm64"], cache) != first.provenance.key


def test_a_kernel_of_another_architecture_is_refused(boot: Path, tmp_path: Path) -> None:
    boot.write_bytes(IMAGE[:56] + b"RSC\x05" + IMAGE[60:])
    with pytest.raises(UsageError, match="is a kernel for riscv64, not for arm64"):
        kernel.build(Kernel(name="toy", source=f"image:{boot}"), machine(16 * KIB), cache=Cache(tmp_path / "cache"))


def test_a_replay_names_an_image_that_changed(boot: Path, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    spec = Kernel(name="toy", source=f"image:{boot}")
    built = kernel.build(spec, machine(16 * KIB), cache=cache)
    spot = cast(Any, SimpleNamespace(kernel=spec, topology=machine(16 * KIB), build=built.provenance))
    assert replay.changed_kernel(spot, cache) == []
    boot.write_bytes(IMAGE + b"another")
    (line,) = replay.changed_kernel(spot, cache)
    assert line == f"kernel: image:{boot} is another one today, build id {ID.hex()} then"


@pytest.mark.parametrize(
    ("image", "why"),
    [(b"MZ", "it is no kernel"), (IMAGE + bytes(9000) + NOTE[:-1] + b"x", "2 build ids"), (NOTE, "no banner")],
)
def test_what_cannot_be_verified_is_refused(boot: Path, tmp_path: Path, image: bytes, why: str) -> None:
    boot.write_bytes(image)
    with pytest.raises(UsageError, match=f"guests with it cannot be verified: .*{why}"):
        kernel.build(Kernel(name="toy", source=f"image:{boot}"), machine(16 * KIB), cache=Cache(tmp_path / "cache"))


def test_an_image_without_a_configuration_is_refused(boot: Path, tmp_path: Path) -> None:
    boot.with_name("config-toy").unlink()
    with pytest.raises(UsageError, match="no config-toy beside vmlinuz-toy"):
        prebuilt.key_of(Kernel(name="toy", source=f"image:{boot}"), ARCHES["arm64"], Cache(tmp_path / "cache"))


def zstd(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-q", "-c"], input=data, capture_output=True, check=True).stdout


@pytest.mark.skipif(shutil.which("zstd") is None, reason="no zstd")
@pytest.mark.parametrize("tail", [b"", struct.pack("<I", len(IMAGE))], ids=["alone", "with its size"])
def test_a_kernel_and_modules_that_are_packed_with_zstd(boot: Path, tmp_path: Path, tail: bytes) -> None:
    boot.write_bytes(zstd(IMAGE) + tail)
    (found,) = boot.parent.parent.glob("lib/modules/toy/kernel/drivers/net_failover.ko")
    found.with_name("net_failover.ko.zst").write_bytes(zstd(module("failover")))
    found.unlink()
    built = kernel.build(Kernel(name="toy", source=f"image:{boot}"), machine(16 * KIB), cache=Cache(tmp_path / "cache"))
    assert built.image.read_bytes() == IMAGE
    assert built.modules is not None
    nodes = {node.name: node.data for node in cpio.read(built.modules.read_bytes())}
    assert nodes["lib/modules/net_failover.ko"] == module("failover")


@pytest.mark.skipif(shutil.which("lz4") is None, reason="no lz4")
@pytest.mark.parametrize("tail", [b"", struct.pack("<I", len(IMAGE))], ids=["alone", "with its size"])
def test_a_kernel_that_is_packed_with_lz4(boot: Path, tmp_path: Path, tail: bytes) -> None:
    packed = subprocess.run(["lz4", "-l", "-q", "-c"], input=IMAGE, capture_output=True, check=True).stdout
    boot.write_bytes(packed + tail)
    built = kernel.build(Kernel(name="toy", source=f"image:{boot}"), machine(16 * KIB), cache=Cache(tmp_path / "cache"))
    assert built.image.read_bytes() == IMAGE


@pytest.mark.skipif(shutil.which("zstd") is None, reason="no zstd")
def test_damaged_zstd_is_one_line(boot: Path, tmp_path: Path) -> None:
    boot.write_bytes(zstd(IMAGE)[:-9])
    with pytest.raises(UsageError, match="cannot be verified: zstd cannot unpack it") as caught:
        kernel.build(Kernel(name="toy", source=f"image:{boot}"), machine(16 * KIB), cache=Cache(tmp_path / "cache"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "data"),
    [("a.ko.xz", lzma.compress(module())[:-20]), ("a.ko.gz", gzip.compress(module())[:-9]), ("a.ko.lz4", b"x")],
)
def test_a_module_that_cannot_be_unpacked_is_an_error(name: str, data: bytes) -> None:
    with pytest.raises(ValueError, match=r"damaged|does not unpack"):
        kernel_image.unpacked_module(name, data)


def test_images_are_unpacked() -> None:
    packed = gzip.compress(IMAGE)
    zimg = b"MZ\0\0zimg" + struct.pack("<II", 64, len(packed)) + bytes(48) + packed
    bzimage = bytearray(0x400) + lzma.compress(IMAGE)
    bzimage[0x1F1], bzimage[0x202:0x206] = 1, b"HdrS"
    struct.pack_into("<II", bzimage, 0x248, 0, len(bzimage) - 0x400)
    for image in (IMAGE, packed, zimg, bytes(bzimage)):
        assert kernel_image.unpacked(image) == IMAGE
    for damaged in (packed[:50] + b"x" * 30, b"\x28\xb5\x2f\xfdzstd", b"MZ\0\0zimg"):
        with pytest.raises(ValueError, match=r"damaged|packed with|build id"):
            kernel_image.build_id_note(kernel_image.unpacked(damaged))


# ---- What people name -----------------------------------------------------------------------------------------------


def built(image: Path, tmp_path: Path) -> kernel.BuiltKernel:
    return kernel.build(Kernel(name="toy", source=f"image:{image}"), machine(16 * KIB), cache=Cache(tmp_path / "cache"))


def refused(image: Path, tmp_path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        built(image, tmp_path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_link_to_an_image_has_the_configuration_and_the_modules_of_what_it_leads_to(
    boot: Path, tmp_path: Path
) -> None:
    (tmp_path / "vmlinuz").symlink_to("boot/vmlinuz-toy")
    entry = built(tmp_path / "vmlinuz", tmp_path)
    assert entry.modules is not None
    assert entry.modules.stat().st_size


@pytest.mark.parametrize(
    ("image", "config"),
    [
        ("Image", "config"),
        ("Image", ".config"),
        ("tree/arch/arm64/boot/Image.gz", "tree/.config"),
        ("vmlinux", ".config"),
    ],
)
def test_an_image_without_a_version_has_the_configuration_beside_it_or_of_its_tree(
    boot: Path, tmp_path: Path, image: str, config: str
) -> None:
    place = tmp_path / "place"
    (place / image).parent.mkdir(parents=True)
    (place / image).write_bytes(IMAGE)
    assert "beside" in refused(place / image, tmp_path)
    (place / config).write_text(CONFIG.replace("=m", "=y"))
    assert built(place / image, tmp_path).provenance.build_id == ID.hex()


def test_a_configuration_that_is_missing_is_named(tmp_path: Path) -> None:
    for name, says in (("Image", "no config or .config beside Image"), ("vmlinuz-6", "no config-6 beside vmlinuz-6")):
        (tmp_path / name).write_bytes(IMAGE)
        assert says in refused(tmp_path / name, tmp_path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "it is no kernel: neither a build id nor a banner"),
        (b"words", "it is no kernel"),
        (b"\x27\x05\x19\x56" + bytes(60) + IMAGE, "it is an image for U-Boot (uImage)"),
        (b"\xd0\x0d\xfe\xed" + bytes(60), "it is an image for U-Boot (FIT)"),
        (b"MZ" + bytes(500) + b".linux\0\0" + IMAGE, "it is a unified kernel image: `objcopy"),
        (IMAGE.replace(NOTE, bytes(len(NOTE))), "0 build ids in it"),
    ],
)
def test_what_is_no_kernel_that_boots_is_one_line(boot: Path, tmp_path: Path, content: bytes, says: str) -> None:
    boot.write_bytes(content)
    assert says in refused(boot, tmp_path)


def test_a_kernel_whose_guests_have_no_network_is_refused_before_it_boots(boot: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "lib")
    assert refused(boot, tmp_path).endswith(
        "CONFIG_VIRTIO_NET=m, and virtio_net.ko is in no directory lib/modules/X for vmlinuz-toy: "
        "the lab could not reach a guest with it"
    )
    boot.with_name("config-toy").write_text("CONFIG_ARM64_16K_PAGES=y\n")
    assert "CONFIG_VIRTIO_NET is not set" in refused(boot, tmp_path)


def test_a_kernel_that_only_root_may_read_is_one_line(
    boot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may read everything, so the refusal is made here."""

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    assert refused(boot, tmp_path).endswith("vmlinuz-toy: Permission denied (name a copy that this user may read)")


def test_a_damaged_module_is_named(boot: Path, tmp_path: Path) -> None:
    (module_file,) = (tmp_path / "lib").rglob("virtio_net.ko.xz")
    module_file.write_bytes(lzma.compress(b"no ELF"))
    assert "virtio_net.ko.xz: not an ELF file" in refused(boot, tmp_path)


def test_the_nearest_package_is_named_when_no_release_has_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def opened(release: str, *_: object) -> SimpleNamespace:
        if release == "sid":
            raise InfraError("sid: no such mirror", hint="a long command")
        return SimpleNamespace(names=lambda begin: [f"{begin}arm64-16k", f"{begin}arm64"], versions=lambda names: ())

    monkeypatch.setattr(apt, "releases_from", lambda: ("trixie", "sid"))
    monkeypatch.setattr(apt, "open_release", opened)
    spec = Kernel(name="toy", source="debian:linux-image-arm64-16")
    with pytest.raises(UsageError) as caught:
        kernel.build(spec, machine(16 * KIB), cache=Cache(tmp_path / "cache"))
    assert str(caught.value) == (
        "no package linux-image-arm64-16 for arm64; did you mean 'linux-image-arm64-16k'? "
        "(tried: trixie; sid: no such mirror)"
    )
