# SPDX-License-Identifier: GPL-2.0-or-later
"""Read packed files: gzip, xz, lzma and bzip2 by Python, zstd and lz4 by their programs, all within a bound."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from lab.core import proc
from lab.core.errors import InfraError
from lab.core.this_host import install_command

PROGRAMS: Mapping[bytes, str] = {
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"\x02\x21\x4c\x18": "lz4",
}
"""First bytes of what a program unpacks -> its name. lz4 has two formats; the kernel's is the legacy one."""
OPENERS: Mapping[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"\xfd7zXZ\0": lzma.LZMAFile,
    b"\x5d\0\0": lzma.LZMAFile,
    b"BZh": bz2.BZ2File,
}
"""First bytes of what Python unpacks -> the class that does."""
TO: Mapping[str, tuple[str, ...]] = {"zstd": ("-o",), "lz4": ()}
"""Program -> its option for the file that it writes."""
DAMAGE = (OSError, EOFError, lzma.LZMAError, zlib.error)
"""What reading a packed file raises if it is damaged."""
BEGINS = (*PROGRAMS, *OPENERS)
UNPACK_S = 900.0


def is_packed(head: bytes) -> bool:
    """Whether the first bytes of a file are those of a packed one that is read here."""
    return head.startswith(BEGINS)


@contextmanager
def opened(file: IO[bytes], scratch: Path | None = None, *, limit: int) -> Iterator[IO[bytes]]:
    """Yield what is packed in a file, to be read; the file itself if it is not packed.

    What a program unpacks is in a file of at most `limit` bytes below `scratch`, by default a directory of its own that
    is removed at the end. ValueError, or one of `DAMAGE` while it is read, for a damaged file; InfraError without the
    program.
    """
    head = file.read(max(map(len, BEGINS)))
    file.seek(0)
    for begin, opener in OPENERS.items():
        if head.startswith(begin):
            with _of_python(opener, file) as content:
                yield content
            return
    program = PROGRAMS.get(head[:4])
    if program is None:
        yield file
        return
    with TemporaryDirectory(prefix="pagelab-packed-", dir=scratch) as place:
        with Path(place, "packed").open("wb") as out:
            shutil.copyfileobj(file, out)
        unpack(program, Path(place, "packed"), Path(place, "plain"), limit=limit)
        with Path(place, "plain").open("rb") as content:
            yield content


@contextmanager
def _of_python(opener: Callable[[Any], Any], file: IO[bytes]) -> Iterator[IO[bytes]]:
    if opener is gzip.GzipFile:
        with gzip.GzipFile(fileobj=file) as content:
            yield content  # type: ignore[misc]
        return
    with opener(file) as content:
        yield content


def unpack(program: str, packed: Path, out: Path, *, limit: int) -> None:
    """Unpack a file with a program to a file of at most `limit` bytes; ValueError if it is damaged or larger."""
    if proc.which(program) is None:
        raise InfraError(f"{program} is not installed, and unpacks this file", hint=install_command([program]))
    words = [program, "--decompress", "--quiet", "--force", str(packed), *TO[program], str(out)]
    try:
        proc.run(["prlimit", f"--fsize={limit}", *words], timeout_s=UNPACK_S)
    except proc.ProcError as error:
        said = re.sub(rf"(^|\s)\S*/{packed.name}\b", "", error.output)  # zstd prints the end of a long path alone
        reason = " ".join(said.removeprefix(f"{program}:").split()).strip(" :") or "it is damaged or too large"
        raise ValueError(f"{program} cannot unpack it: {reason}") from None
