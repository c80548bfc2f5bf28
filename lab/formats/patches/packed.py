# SPDX-License-Identifier: GPL-2.0-or-later
"""What patches and mailboxes are packed in -> their bytes; and words for a file that is no patch at all. Pure.

gzip, xz, bzip2             also several members behind one another
UTF-16 with its mark        as PowerShell's `git diff > FILE` writes it; UTF-8's mark is taken off
base64                      of a whole patch, as Gerrit and Gitiles send it
colours of a terminal       `git diff --color=always > FILE`
Apple Mail's .emlx          a mail with its length before it
a text signed with PGP      its dashes are not escaped any more
"""

from __future__ import annotations

import binascii
import bz2
import lzma
import re
import zlib
from collections.abc import Callable
from typing import Protocol

from lab.core.errors import InputError

MAX_UNPACKED = 64 << 20
"""Bytes that a compressed patch or mailbox may unpack to."""
GZIP = b"\x1f\x8b"
SUFFIXES = (".gz", ".xz", ".bz2")

_ARCHIVES: dict[bytes, str] = {
    b"PK\x03\x04": "a zip archive: unpack it, and name the directory",
    b"7z\xbc\xaf": "an archive of 7-Zip: unpack it, and name the directory",
    b"\x28\xb5\x2f\xfd": "a file packed with zstd: unpack it with `zstd -d`",
    b"# v2 git bundle": "a git bundle: `git fetch BUNDLE` brings its commits into the tree, REV..REV names them",
    b"# v3 git bundle": "a git bundle: `git fetch BUNDLE` brings its commits into the tree, REV..REV names them",
}
_TAR = (257, b"ustar", "a tar archive: unpack it, and name the directory")
_UTF16 = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_UTF8_MARK = b"\xef\xbb\xbf"
_BASE64 = re.compile(rb"[A-Za-z0-9+/\s]{40,}+={0,2}\s*")
_COLOUR = re.compile(rb"\x1b\[[0-9;]*[mK]")
_COLOURED = re.compile(rb"^\x1b\[[0-9;]*m(?:diff --git |--- |\+\+\+ )", re.MULTILINE)
_ENCODED = re.compile(rb"^Content-Transfer-Encoding:\s*(?:quoted-printable|base64)", re.MULTILINE | re.IGNORECASE)
_APPLE = re.compile(rb"\A\d{1,10}[ \t]*\r?\n(?=[!-9;-~]+:)")
"""The first line of a mail that Apple Mail has saved: how long it is."""
_SIGNED = b"-----BEGIN PGP SIGNED MESSAGE-----"
DIFF = re.compile(rb"^(?:diff --git |--- \S.*\n\+\+\+ )", re.MULTILINE)
"""The beginning of a diff of one file."""
_PAGE = (
    re.compile(rb"\A\s*<(?:!doctype html|html|head|body)\b", re.IGNORECASE),
    "a web page: fetch the patch as plain text",
)
_OTHERS = (
    _PAGE,
    (re.compile(rb"^\*\*\* .*\n--- .*\n\*{10,}", re.MULTILINE), "a context diff: make it with `diff -u`"),
    (re.compile(rb"^\d+(?:,\d+)?[acd]\d+(?:,\d+)?\n[<>] ", re.MULTILINE), "a plain diff: make it with `diff -u`"),
    (
        re.compile(rb"^[>| \t]+(?:diff --git |--- \S.*\n[>| \t]+\+\+\+ )", re.MULTILINE),
        "only a diff that is quoted or indented",
    ),
    (re.compile(rb"\A\s*\Z"), "an empty file"),
)


class _Decompressor(Protocol):
    """What zlib, lzma and bz2 have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


_PACKED: dict[bytes, tuple[str, Callable[[], _Decompressor]]] = {
    GZIP: ("gzip", lambda: zlib.decompressobj(wbits=31)),
    b"\xfd7zXZ\0": ("xz", lzma.LZMADecompressor),
    b"BZh": ("bzip2", bz2.BZ2Decompressor),
}


def unpacked(data: bytes, path: str) -> bytes:
    """Return a file's content without what it is packed in; InputError if it is damaged or too large."""
    return _plain_text(decompressed(data, path))


def decompressed(data: bytes, path: str) -> bytes:
    """Return the content of a file of gzip, xz or bzip2, of others the data; InputError if damaged or too large."""
    for magic, (name, make) in _PACKED.items():
        if data.startswith(magic):
            data = _members(data, magic, name, make, path)
    return data


def _members(data: bytes, magic: bytes, name: str, make: Callable[[], _Decompressor], path: str) -> bytes:
    whole = bytearray()
    try:
        while data.startswith(magic):
            member = make()
            whole += member.decompress(data, MAX_UNPACKED + 1 - len(whole))
            if len(whole) > MAX_UNPACKED:
                raise InputError(path, None, None, f"unpacks to more than {MAX_UNPACKED >> 20} MiB")
            if not member.eof:
                raise InputError(path, None, None, f"its {name} data ends too early")
            data = member.unused_data
    except (zlib.error, lzma.LZMAError, OSError) as error:
        raise InputError(path, None, None, f"is no sound {name} file: {error}") from None
    return bytes(whole)


def _plain_text(data: bytes) -> bytes:
    if encoding := _UTF16.get(data[:2]):
        data = data[2:].decode(encoding, "replace").encode()
    data = _APPLE.sub(b"", data.removeprefix(_UTF8_MARK))
    if _BASE64.fullmatch(data):
        data = _of_base64(data)
    if _COLOURED.search(data):
        data = _COLOUR.sub(b"", data)
    if data.startswith(_SIGNED):
        data = re.sub(rb"^- ", b"", data, flags=re.MULTILINE)
    return data


def _of_base64(data: bytes) -> bytes:
    """Return the patch that is encoded; the data itself if they are no patch in base64."""
    try:
        decoded = binascii.a2b_base64(data)
    except binascii.Error:
        return data
    return decoded if DIFF.search(decoded) else data


def archive(data: bytes) -> str:
    """Return what kind of archive a file is, in words; empty if it is none."""
    place, magic, words = _TAR
    if data[place : place + len(magic)] == magic:
        return words
    return next((kind for begins, kind in _ARCHIVES.items() if data.startswith(begins)), "")


def refuse_archive(data: bytes, path: str) -> None:
    """Raise InputError for an archive, which may look like a patch where what is in it is not compressed."""
    if kind := archive(data):
        raise InputError(path, None, None, f"expected a patch, found {kind}")


def refuse_page(data: bytes, path: str) -> None:
    """Raise InputError for a web page: in its patch `&lt;` stands for `<`."""
    page, words = _PAGE
    if page.search(data):
        raise InputError(path, None, None, f"expected a patch, found {words}")


def refuse_encoded(data: bytes, path: str) -> None:
    """Raise InputError for a mail that does not begin with its headers, so that its encoding would not be undone."""
    before = data[: match.start()] if (match := DIFF.search(data)) else data
    if _ENCODED.search(before):
        expected = "expected a mail to begin with its headers, found other text before them: its patch is encoded"
        raise InputError(path, None, None, expected)


def instead(data: bytes) -> str:
    """Return what a text without a patch is, in words."""
    for pattern, words in _OTHERS:
        if pattern.search(data):
            return words
    return "no text" if b"\0" in data else "no diff in it"
