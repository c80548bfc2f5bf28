# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads and changes libvirt's file of a saved guest: the XML in its head, and a run's public key in its memory. Pure.

The file begins with a header of libvirt's: a magic string, five numbers, 14 unused ones. Behind it are the domain's XML
and a second document (the cookie), filled up with zeros to the length that the header states. QEMU's migration stream
follows, in which the pages of the guest's memory are stored as they are.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from lab.core.errors import InfraError

MAGIC = b"LibvirtQemudSave"
_HEADER = struct.Struct("=16sIIIII56x")
MAX_HEAD = 1 << 20
"""The longest head that is read: libvirt's has some 70 kB."""
VERSION = 2
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&apos;"})
"""How libvirt writes these characters in an attribute. The standard library's own has all of urllib behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The head of a saved guest's file: libvirt's header, the XML and the cookie."""

    length: int
    """Bytes of the head in the file; the migration stream begins behind them."""
    was_running: int
    compressed: int
    xml: bytes
    cookie: bytes

    @classmethod
    def parse(cls, start: bytes) -> Head:
        """Read the head from the first MAX_HEAD bytes of a file; InfraError if they are of another format."""
        if len(start) < _HEADER.size:
            raise InfraError("not a saved guest: too short")
        magic, version, length, was_running, compressed, cookie_at = _HEADER.unpack_from(start)
        end = _HEADER.size + length
        if magic != MAGIC or version != VERSION or compressed or end > len(start) or cookie_at > length:
            raise InfraError("not a saved guest, or one of another version of libvirt")
        data = start[_HEADER.size : end]
        xml, cookie = data, b""
        if cookie_at:
            xml, cookie = data[:cookie_at], data[cookie_at:]
        return cls(
            length=end,
            was_running=was_running,
            compressed=compressed,
            xml=xml.split(b"\0", 1)[0],
            cookie=cookie.split(b"\0", 1)[0],
        )

    def changed(self, words: Mapping[str, str]) -> bytes:
        """Return a head of the same length with other words in its XML; InfraError if it lacks one, or has no room."""
        xml = self.xml
        for old, new in words.items():
            before = _escaped(old)
            if before not in xml:
                raise InfraError(f"the saved guest's XML does not have {old}")
            xml = xml.replace(before, _escaped(new))
        cookie_at = len(xml) + 1 if self.cookie else 0
        data = xml + b"\0" + self.cookie
        room = self.length - _HEADER.size
        if len(data) >= room:
            raise InfraError("the saved guest's XML has no room for longer names")
        header = _HEADER.pack(MAGIC, VERSION, room, self.was_running, self.compressed, cookie_at)
        return header + data.ljust(room, b"\0")


def _escaped(text: str) -> bytes:
    return text.translate(_ESCAPES).encode()


def forms(public_key: str) -> tuple[bytes, bytes]:
    """Return the two forms in which a guest's memory has a public key: as text, and as the 32 bytes of an Ed25519 key.

    The text is in authorized_keys; the bytes are what is left of the login that used the key.
    """
    body = public_key.split()[1]
    return body.encode(), base64.b64decode(body)[-32:]


class Searched(Protocol):
    """What `places` searches: bytes, or a file that is mapped into memory."""

    def find(self, needle: bytes, start: int, /) -> int: ...


def places(memory: Searched, needle: bytes) -> Iterator[int]:
    """Yield every offset at which `needle` begins."""
    at = memory.find(needle, 0)
    while at >= 0:
        yield at
        at = memory.find(needle, at + 1)
