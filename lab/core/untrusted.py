# SPDX-License-Identifier: GPL-2.0-or-later
"""Text from guests, made safe for terminals, XML and HTML, and short enough to read."""

from __future__ import annotations

from collections.abc import Iterable

MAX_LINE = 300


def printable(text: str) -> str:
    """Return the text with every character that a terminal or a parser could act upon spelled out (`\\x1b`).

    Newlines stay, tabs become spaces. The result has no control characters, no escape sequences, no bidirectional
    overrides, no lone surrogates and no non-characters, so it is also legal XML.
    """
    text = text.replace("\r\n", "\n").expandtabs(8)
    if text.replace("\n", "").isprintable():
        return text
    return "".join(char if char == "\n" or char.isprintable() else _spelled(char) for char in text)


def one_line(text: str, limit: int = MAX_LINE) -> str:
    """Return the text on one printable line of at most `limit` characters; an ellipsis marks a cut."""
    flat = " ".join(printable(text[: 4 * limit]).split())
    if len(flat) <= limit and len(text) <= 4 * limit:
        return flat
    return flat[: limit - 1] + "…"


def excerpt(lines: Iterable[str], *, max_lines: int = 60, max_line: int = MAX_LINE) -> str:
    """Join lines, printable, each cut at `max_line`; of more than `max_lines` lines leave out the middle."""
    kept = [line if len(line) <= max_line else line[: max_line - 1] + "…" for line in lines]
    if len(kept) > max_lines:
        head, tail = max_lines * 2 // 3, max_lines - max_lines * 2 // 3 - 1
        kept = [*kept[:head], f"... {len(kept) - head - tail} lines left out ...", *kept[-tail:]]
    return printable("\n".join(kept))


def _spelled(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
