# SPDX-License-Identifier: GPL-2.0-or-later
"""Read bootable kernel images of distributions: what is packed in them, and the build id that their guests show. Pure.

An image is one of: an EFI program with a packed kernel (`zimg`, arm64 and riscv), x86's bzImage, a kernel packed with
gzip, xz, bzip2, zstd or lz4, arm64's plain Image, or an ELF file. Python has no zstd and no lz4: the caller brings what
unpacks them.
"""

from __future__ import annotations

import bz2
import io
import lzma
import re
import struct
import zlib
from collections.abc import Callable

from lab.formats import elf, elf_program

MAX_KERNEL = 512 << 20
OTHERS = {b"\x28\xb5\x2f\xfd": "zstd", b"\x02\x21\x4c\x18": "lz4"}
"""First bytes of what a program unpacks -> its name. The kernel's lz4 is the format that lz4 calls legacy."""
Unpack = Callable[[str, bytes], bytes]
"""Unpacks data with a program that is named; ValueError for data that is damaged."""
NOTE = re.compile(rb"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0(.{20})", re.DOTALL)
"""The GNU build id in a little-endian .notes section: 20 bytes."""
VDSO = 4096
"""Bytes behind the beginning of an ELF file within a kernel, a vDSO, in which its own build id is."""
IMAGES = {b"ARM\x64": (2, 1, 183), b"RSC\x05": (2, 1, 243)}
"""Magic number of an Image, at offset 56 -> width, byte order and machine as an ELF header has them."""
NOT_BOOTED = {
    b"\x27\x05\x19\x56": "it is an image for U-Boot (uImage), and not the Image in it",
    b"\xd0\x0d\xfe\xed": "it is an image for U-Boot (FIT), and not the Image in it",
}
"""First bytes of what holds a kernel and is not booted by QEMU -> what it is."""
UNIFIED = b".linux\0\0"
"""The section of a unified kernel image (systemd-stub) with its kernel, in the table of an EFI program."""
BANNER = re.compile(rb"Linux version ([!-~]{1,100}) ")


def no_program(name: str, data: bytes) -> bytes:
    """Refuse what a program unpacks, for callers that have none."""
    raise ValueError(f"it is packed with {name} ({len(data)} bytes)")


def unpacked(image: bytes, unpack: Unpack = no_program) -> bytes:
    """Return the kernel in an image; the image itself if nothing is packed in it. ValueError if it is damaged."""
    for begin, what in NOT_BOOTED.items():
        if image.startswith(begin):
            raise ValueError(what)
    if image.startswith(b"MZ") and UNIFIED in image[:4096]:
        raise ValueError("it is a unified kernel image: `objcopy -O binary --only-section=.linux` takes the kernel out")
    try:
        if image[4:8] == b"zimg":
            start, size = struct.unpack_from("<II", image, 8)
            return _unpack(image[start : start + size], unpack)
        if image[0x202:0x206] == b"HdrS":
            return _unpack(_of_bzimage(image), unpack)
        return _unpack(image, unpack)
    except (struct.error, OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise ValueError(f"damaged kernel image: {error}") from None


def _of_bzimage(image: bytes) -> bytes:
    """Return the payload of a bzImage: Documentation/arch/x86/boot.rst, payload_offset and payload_length."""
    sectors = image[0x1F1] or 4
    offset, size = struct.unpack_from("<II", image, 0x248)
    start = (sectors + 1) * 512 + offset
    return image[start : start + size]


def _unpack(data: bytes, unpack: Unpack) -> bytes:
    if data.startswith(b"\x1f\x8b"):
        return _bounded(zlib.decompressobj(zlib.MAX_WBITS | 16), data)
    if data.startswith((b"\xfd7zXZ\0", b"\x5d\0\0")):
        return _bounded(lzma.LZMADecompressor(), data)
    if data.startswith(b"BZh"):
        return _bounded(bz2.BZ2Decompressor(), data)
    if data[:4] in OTHERS:
        return _without_size(OTHERS[data[:4]], data, unpack)
    if data.startswith(b"\x89LZO"):
        raise ValueError("it is packed with lzo, which the lab does not unpack")
    return data


def _without_size(program: str, data: bytes, unpack: Unpack) -> bytes:
    """Unpack data behind which the kernel's makefile may have written four bytes, the size (`size_append`, 6.12)."""
    try:
        return unpack(program, data)
    except ValueError:
        return unpack(program, data[:-4])


def _bounded(unpacker: object, data: bytes) -> bytes:
    result: bytes = unpacker.decompress(data, MAX_KERNEL)  # type: ignore[attr-defined]
    if len(result) >= MAX_KERNEL:
        raise ValueError(f"it unpacks to more than {MAX_KERNEL >> 20} MiB")
    if not unpacker.eof:  # type: ignore[attr-defined]
        raise ValueError("damaged: it ends early")
    return result


def build_id_note(kernel: bytes) -> bytes:
    """Return the note with the build id of an unpacked kernel; ValueError if it cannot be told from others.

    A kernel has several: one of its own, and one in every vDSO, which is an ELF file within it.
    """
    if elf.machine(kernel) is not None:
        return elf_program.section(io.BytesIO(kernel), ".notes")
    notes = []
    for match in NOTE.finditer(kernel):
        if b"\x7fELF" not in kernel[max(0, match.start() - VDSO) : match.start()]:
            notes.append(match[0])
    if not notes and BANNER.search(kernel) is None:
        raise ValueError("it is no kernel: neither a build id nor a banner `Linux version ...` is in it")
    if len(set(notes)) != 1:
        raise ValueError(f"{len(set(notes))} build ids in it, of which one should be the kernel's")
    return notes[0]


def machine(kernel: bytes) -> tuple[int, int, int] | None:
    """Return the ELF header's width, byte order and machine for which a kernel is; None if it does not say.

    An Image has no ELF header, but a magic number of its own: Documentation/arch/arm64/booting.rst and
    Documentation/arch/riscv/boot-image-header.rst.
    """
    return elf.machine(kernel) or IMAGES.get(kernel[56:60])


def release(kernel: bytes) -> str:
    """Return the release in a kernel's banner, as `uname -r` prints it; ValueError if there is none."""
    match = BANNER.search(kernel)
    if match is None:
        raise ValueError("no banner `Linux version ...` in it")
    return match[1].decode("ascii")


# ---- Modules --------------------------------------------------------------------------------------------------------


def unpacked_module(name: str, data: bytes, unpack: Unpack = no_program) -> bytes:
    """Return the ELF file of a module by its file's name; ValueError if it is damaged or packed with something else."""
    try:
        if name.endswith(".ko.xz"):
            return _bounded(lzma.LZMADecompressor(), data)
        if name.endswith(".ko.gz"):
            return _bounded(zlib.decompressobj(zlib.MAX_WBITS | 16), data)
    except (lzma.LZMAError, zlib.error, EOFError) as error:
        raise ValueError(f"{name} is damaged: {error}") from None
    if name.endswith(".ko.zst"):
        return unpack("zstd", data)
    if name.endswith(".ko"):
        return data
    raise ValueError(f"{name}: packed with what the lab does not unpack")


def depends(module: bytes) -> tuple[str, ...]:
    """Return the names of the modules that a module needs, from its section .modinfo."""
    for field in elf_program.section(io.BytesIO(module), ".modinfo").split(b"\0"):
        key, _, value = field.partition(b"=")
        if key == b"depends":
            return tuple(name for name in value.decode("ascii", "replace").split(",") if name)
    return ()
