# SPDX-License-Identifier: GPL-2.0-or-later
"""Read bootable kernel images of distributions: what is packed in them, and the build id that their guests show. Pure.

An image is one of: an EFI program with a packed kernel (`zimg`, arm64 and riscv), x86's bzImage, a kernel packed with
gzip or xz, arm64's plain Image, or an ELF file.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import struct
import zlib

from lab.formats import elf, elf_program

MAX_KERNEL = 512 << 20
NOTE = re.compile(rb"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0(.{20})", re.DOTALL)
"""The GNU build id in a little-endian .notes section: 20 bytes."""
VDSO = 4096
"""Bytes behind the beginning of an ELF file within a kernel, a vDSO, in which its own build id is."""
BANNER = re.compile(rb"Linux version ([!-~]{1,100}) ")


def unpacked(image: bytes) -> bytes:
    """Return the kernel in an image; the image itself if nothing is packed in it. ValueError if it is damaged."""
    try:
        if image[4:8] == b"zimg":
            start, size = struct.unpack_from("<II", image, 8)
            return _unpack(image[start : start + size])
        if image[0x202:0x206] == b"HdrS":
            return _unpack(_of_bzimage(image))
        return _unpack(image)
    except (struct.error, OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise ValueError(f"damaged kernel image: {error}") from None


def _of_bzimage(image: bytes) -> bytes:
    """Return the payload of a bzImage: Documentation/arch/x86/boot.rst, payload_offset and payload_length."""
    sectors = image[0x1F1] or 4
    offset, size = struct.unpack_from("<II", image, 0x248)
    start = (sectors + 1) * 512 + offset
    return image[start : start + size]


def _unpack(data: bytes) -> bytes:
    if data.startswith(b"\x1f\x8b"):
        return _bounded(zlib.decompressobj(zlib.MAX_WBITS | 16), data)
    if data.startswith((b"\xfd7zXZ\0", b"\x5d\0\0")):
        return _bounded(lzma.LZMADecompressor(), data)
    if data.startswith(b"BZh"):
        return _bounded(bz2.BZ2Decompressor(), data)
    if data.startswith((b"\x28\xb5\x2f\xfd", b"\x02!L\x18", b"\x04\x22\x4d\x18", b"\x89LZO")):
        raise ValueError("it is packed with zstd, lz4 or lzo, which the lab does not unpack")
    return data


def _bounded(unpacker: object, data: bytes) -> bytes:
    result: bytes = unpacker.decompress(data, MAX_KERNEL)  # type: ignore[attr-defined]
    if len(result) >= MAX_KERNEL:
        raise ValueError(f"it unpacks to more than {MAX_KERNEL >> 20} MiB")
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
    if len(set(notes)) != 1:
        raise ValueError(f"{len(set(notes))} build ids in it, of which one should be the kernel's")
    return notes[0]


def release(kernel: bytes) -> str:
    """Return the release in a kernel's banner, as `uname -r` prints it; ValueError if there is none."""
    match = BANNER.search(kernel)
    if match is None:
        raise ValueError("no banner `Linux version ...` in it")
    return match[1].decode("ascii")


# ---- Modules --------------------------------------------------------------------------------------------------------


def unpacked_module(name: str, data: bytes) -> bytes:
    """Return the ELF file of a module by its file's name; ValueError for a packer that the lab does not know."""
    if name.endswith(".ko.xz"):
        return lzma.decompress(data)
    if name.endswith(".ko.gz"):
        return gzip.decompress(data)
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
