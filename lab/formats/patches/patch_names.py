# SPDX-License-Identifier: GPL-2.0-or-later
r"""Names of files in the headers of a diff, as git and diff write them. Pure.

    field   := name | name TAB anything | name BLANK time | `"` escaped `"`
    name    := prefix `/` path | path          (prefix: a b i w c o, or any directory)
    escaped := what C has: \n, \", \\, \303

git quotes a name with bytes that are no printable ASCII, and ends one that has blanks with a tab.
"""

from __future__ import annotations

import re

_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(rb"\\([0-3][0-7]{2}|.)", re.DOTALL)
_LETTERS = {b"a": b"\a", b"b": b"\b", b"t": b"\t", b"n": b"\n", b"v": b"\v", b"f": b"\f", b"r": b"\r"}
_TIME = re.compile(
    rb"\s+(?:\d{4}-\d\d-\d\d \d\d:\d\d(?::\d\d(?:\.\d+)?)?(?: [+-]\d{4})?"
    rb"|[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?: [A-Z+\d-]+)? \d{4}(?: [+-]\d{4})?)\s*$"
)
_EPOCH = re.compile(
    rb"(?:1970-01-01|1969-12-31) \d\d:\d\d:\d\d|\bJan  1 \d\d:\d\d:\d\d 1970|\bDec 31 \d\d:\d\d:\d\d 1969"
)
DEV_NULL = b"/dev/null"
_KERNEL_DIRECTORIES = frozenset(
    b"Documentation arch block certs crypto drivers fs include init io_uring ipc kernel lib mm net rust samples scripts"
    b" security sound tools usr virt".split()
)


def of_field(field: bytes) -> bytes:
    """Return the name that follows `--- ` or `+++ `, without its time stamp and quotes; the prefix stays."""
    if quoted := _QUOTED.match(field):
        return _unescaped(quoted[1])
    return _TIME.sub(b"", field.partition(b"\t")[0]).rstrip()


def says_no_file(field: bytes) -> bool:
    """Whether a field names no file: /dev/null, or the time stamp of one that is missing (`diff -N`)."""
    return of_field(field) == DEV_NULL or bool(_EPOCH.search(field[len(of_field(field)) :]))


def of_git_line(rest: bytes) -> tuple[bytes, bytes] | None:
    """Return both names, prefixes off, of what follows `diff --git `.

    Unquoted names with blanks are divided where both halves name the same file. None if no division does, as in a
    rename, whose own lines have the names.
    """
    for old, new in _divisions(rest):
        if old == new and not old.startswith((b"a/", b"b/")):
            return old, new
        if (name := stripped(old)) and name == stripped(new):
            return name, name
    return None


def _divisions(rest: bytes) -> list[tuple[bytes, bytes]]:
    """Return every way to read a line as two names."""
    if first := _QUOTED.match(rest):
        return [(_unescaped(first[1]), of_field(rest[first.end() :].strip()))]
    if second := re.search(rb'\s(".*")\s*$', rest):
        return [(rest[: second.start()].strip(), of_field(second[1]))]
    blanks = (match.start() for match in re.finditer(rb" ", rest))
    return [(rest[:place], rest[place + 1 :].rstrip()) for place in blanks]


def is_of_kernel(name: bytes) -> bool:
    """Whether a name has no prefix: its first directory is one at the top of a kernel tree."""
    first, slash, _ = name.partition(b"/")
    return bool(slash) and first in _KERNEL_DIRECTORIES


def stripped(name: bytes) -> bytes | None:
    """Return the name without its first directory, as `-p1` does; None if there is none."""
    _, slash, rest = name.partition(b"/")
    return rest.lstrip(b"/") if slash and rest.strip(b"/") else None


def unquoted(name: bytes) -> bytes:
    """Return the name of a `rename from` line, which is quoted where it must be."""
    quoted = _QUOTED.fullmatch(name)
    return _unescaped(quoted[1]) if quoted else name


def _unescaped(text: bytes) -> bytes:
    def plain(match: re.Match[bytes]) -> bytes:
        code = match[1]
        return bytes([int(code, 8)]) if len(code) == 3 else _LETTERS.get(code, code)

    return _ESCAPE.sub(plain, text)
