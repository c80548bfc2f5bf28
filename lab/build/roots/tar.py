# SPDX-License-Identifier: GPL-2.0-or-later
"""Open tars of others. What Python's tarfile takes without a bound, or silently for the end, is an error here."""

from __future__ import annotations

import tarfile
from typing import IO, Self

MAX_HEADER = 1 << 20
"""Bytes of a header that continues in blocks of its own (pax, long names): tarfile reads it into memory."""
LONG_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


class BoundedMember(tarfile.TarInfo):
    """A member whose header is checked before anything is read because of it."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str | None, errors: str) -> Self:
        """Return the member of a header; tarfile.ReadError if it is damaged or too large.

        tarfile itself takes a damaged header behind the first one for the end of the archive.
        """
        try:
            member = super().frombuf(buf, encoding, errors)  # type: ignore[arg-type]
        except (tarfile.EOFHeaderError, tarfile.EmptyHeaderError):  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"damaged header: {error}") from None
        if member.size < 0 or (member.type in LONG_HEADERS and member.size > MAX_HEADER):
            raise tarfile.ReadError(f"a header of {member.size} bytes")
        return member


def open_again(file: IO[bytes]) -> tarfile.TarFile:
    """Open a plain tar from its beginning, to be read in any order."""
    file.seek(0)
    return tarfile.open(fileobj=file, mode="r:", tarinfo=BoundedMember)


def open_stream(file: IO[bytes]) -> tarfile.TarFile:
    """Open a plain tar that is read once from its beginning to its end."""
    return tarfile.open(fileobj=file, mode="r|", tarinfo=BoundedMember)
