# SPDX-License-Identifier: GPL-2.0-or-later
"""What has happened to a patch on its way, judged by the line at which it stops being one: words for an error. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

_HEADERS = (b"diff --git ", b"--- ", b"@@ ")
_NO_BREAK = ("\u00a0".encode(), b"\xa0")
_LONG_DASHES = tuple(dash.encode() for dash in "\u2014\u2013")
_LEFT_OUT = (b"...", b"[...]", b"[..]", b"<...>", b"[snip]", b"<snip>", "\u2026".encode())
_NO_REST = (b" ", b"\t", b"\\", *(sign + mark for sign in (b"+", b"-") for mark in (b"\t", b"{", b"}", b"#", b"/")))
"""How no end of a wrapped line begins: as context does, or as code behind the sign of a line of a hunk."""
_TABS = 8
NARROWEST = 50
"""Characters: no mailer wraps lines that are shorter."""


def of_hunk_line(lines: Sequence[bytes], at: int) -> str:
    """Return what may have happened where the line `at` should be one of a hunk, and is none."""
    raw = lines[at]
    before = lines[at - 1].rstrip(b"\r\n")
    if raw.startswith(_HEADERS):
        return ": the hunk before this line holds fewer lines than it says"
    if before.endswith(b"="):
        return f": line {at} ends in `=`, as in quoted-printable: the encoding of the mail was not undone"
    if raw.startswith(_NO_BREAK):
        return ": it begins with a no-break space, which stands there for a blank; was the patch pasted?"
    if raw.strip() in _LEFT_OUT:
        return ": were lines of the patch left out there?"
    if _is_rest(lines, at, _rooms(lines)):
        return wrapped_at(at)
    return ": was the line before it wrapped, or are blanks lost? was the patch pasted, or its mail reformatted?"


def of_count(lines: Sequence[bytes], first: int, at: int) -> str:
    """Return why a hunk of the lines `first` to `at` may have more of them than it says; empty if nothing shows."""
    rooms = _rooms(lines)
    for place in range(first + 1, min(at + 1, len(lines))):
        if _is_rest(lines, place, rooms):
            return wrapped_at(place)
    return ""


def of_header(lines: Sequence[bytes], at: int) -> str:
    """Return what may have happened where the names or the hunk of a file should be; empty if nothing shows."""
    line = lines[at].rstrip(b"\r\n") if at < len(lines) else b""
    following = lines[at + 1] if at + 1 < len(lines) else b""
    if line in (b"---", b"+++") or line.startswith(b"b/"):
        return wrapped_at(at if line.startswith(b"b/") else at + 1)
    if not line and following.startswith((b"index ", b"--- ", b"+++ ", b"@@ ")):
        return ": a blank line is behind every line; was the patch pasted?"
    if line.startswith(_LONG_DASHES):
        return ": hyphens have become a long dash; was the patch pasted?"
    return ""


def wrapped_at(number: int) -> str:
    """Return the words for a line, by its number from 1, that a mailer seems to have continued in the next one."""
    return f": line {number} seems to be wrapped, with its end in line {number + 1}; send patches with whole lines"


def _is_rest(lines: Sequence[bytes], at: int, rooms: Sequence[int]) -> bool:
    """Whether the line `at` seems to be the end of the one before it, which a mailer wrapped.

    That one ends in a blank (format=flowed), or no line of the diff is so long that the next word had room in it.
    """
    before, words = lines[at - 1].rstrip(b"\r\n"), lines[at].split()
    if not words or not before.strip() or lines[at].startswith(_NO_REST):
        return False
    if before.endswith(b" ") and before.strip(b" +-"):
        return True
    for measure, room in zip(_MEASURES, rooms, strict=True):
        if measure(_text(before)) + 1 + len(_text(words[0])) > room >= NARROWEST:
            return True
    return False


_MEASURES: tuple[Callable[[str], int], ...] = (len, lambda text: len(text.expandtabs(_TABS)))
"""How long a text is: a tab counts as one, as some mailers have it, or goes to the next eighth column."""


def _rooms(lines: Sequence[bytes]) -> list[int]:
    """Return the length of the longest line of a diff by each measure, up to its last blank: no mailer wraps a word."""
    texts = [_text(line).rpartition(" ")[0] for line in _diff_lines(lines)]
    return [max(map(measure, texts), default=0) for measure in _MEASURES]


def _diff_lines(lines: Sequence[bytes]) -> Sequence[bytes]:
    """Return the lines from the first header of a diff on."""
    for number, line in enumerate(lines):
        if line.startswith(_HEADERS):
            return lines[number:]
    return lines


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip("\r\n")
