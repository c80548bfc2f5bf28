# SPDX-License-Identifier: GPL-2.0-or-later
"""Words for files that are no ELF files, by their first bytes: programs of other systems, packages, archives. Pure."""

from __future__ import annotations

_FOREIGN: dict[bytes, str] = {
    b"MZ": "a program of Windows or DOS (PE)",
    b"\xfe\xed\xfa\xce": "a program of macOS (Mach-O)",
    b"\xfe\xed\xfa\xcf": "a program of macOS (Mach-O)",
    b"\xce\xfa\xed\xfe": "a program of macOS (Mach-O)",
    b"\xcf\xfa\xed\xfe": "a program of macOS (Mach-O)",
    b"\0asm": "WebAssembly",
    b"dex\n": "code of Android's virtual machine (DEX)",
    b"\xed\xab\xee\xdb": "an RPM package: `rpm2cpio FILE | cpio -idm` unpacks it",
    b"070701": "a cpio archive: `cpio -idm <FILE` unpacks it",
    b"070702": "a cpio archive: `cpio -idm <FILE` unpacks it",
    b"070707": "a cpio archive: `cpio -idm <FILE` unpacks it",
    b"\x28\xb5\x2f\xfd": "packed with zstd",
    b"\x04\x22\x4d\x18": "packed with lz4",
    b"\x02\x21\x4c\x18": "packed with lz4",
    b"\x89LZO": "packed with lzop: `lzop -d FILE` unpacks it",
    b"LZIP": "packed with lzip: `lzip -d FILE` unpacks it",
    b"\x1f\x9d": "packed with compress: `gzip -d FILE` unpacks it",
    b"\x27\x05\x19\x56": "an image for U-Boot (uImage)",
    b"\xd0\x0d\xfe\xed": "an image for U-Boot (FIT) or a device tree",
    b"BC\xc0\xde": "LLVM's bitcode, which is compiled first",
    b"MSCF": "a cabinet of Windows",
    b"QFI\xfb": "a disk image (qcow2)",
    b"7z\xbc\xaf\x27\x1c": "an archive of 7-Zip",
    b"Rar!": "a RAR archive",
    b"xar!": "a package of macOS (xar)",
    b"hsqs": "a squashfs image: `unsquashfs FILE` unpacks it",
    b"PK\x03\x04": "a zip archive",
    b"!<arch>\ndebian-binary": "a Debian package",
    b"!<arch>\n": "a static library (ar), which is linked and not loaded",
    b"!<thin>\n": "a static library (ar), which is linked and not loaded",
    b"\x1f\x8b": "packed with gzip",
    b"\xfd7zXZ\0": "packed with xz",
    b"BZh": "packed with bzip2",
    b"#!": "a script: what is loaded is the interpreter in its first line",
}
_WITHIN = (
    (0x438, b"\x53\xef", "an image of an ext file system: mount it, and name a directory or a tar"),
    (0x400, b"\xe2\xe1\xf5\xe0", "an erofs image: `fsck.erofs --extract=DIR FILE` unpacks it"),
    (0x8001, b"CD001", "an ISO 9660 image: `bsdtar -xf FILE` unpacks it"),
    (0x202, b"HdrS", "a kernel for x86 (bzImage)"),
    (0x1FE, b"\x55\xaa", "a disk image, or a boot sector"),
)
"""Offset, bytes that are there, words: of formats whose first bytes are free."""
LONGEST = 0x8001 + 5
"""Bytes of a file that `named` looks at, if there are as many."""
_FAT_64 = b"\xca\xfe\xba\xbf"
_FAT_OR_CLASS = b"\xca\xfe\xba\xbe"
"""Of a Mach-O for several processors and of Java's classes, which have the version 45 or more in place of a count."""
_FIRST_CLASS = 45
_APPIMAGES = (b"AI\x01", b"AI\x02")


def named(data: bytes) -> str:
    """Return what a file is that is no ELF file; empty if its first bytes say nothing."""
    if data.startswith(_FAT_OR_CLASS):
        is_class = int.from_bytes(data[4:8], "big") >= _FIRST_CLASS
        return "a class of Java" if is_class else "a program of macOS (Mach-O)"
    if data.startswith(_FAT_64):
        return "a program of macOS (Mach-O)"
    for magic, words in _FOREIGN.items():
        if data.startswith(magic):
            return words
    for offset, inside, words in _WITHIN:
        if data[offset : offset + len(inside)] == inside:
            return words
    return ""


def is_appimage(data: bytes) -> bool:
    """Whether an ELF file is an AppImage, whose programs are in the file system image behind it."""
    return data[8:11] in _APPIMAGES
