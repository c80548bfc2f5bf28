# SPDX-License-Identifier: GPL-2.0-or-later
"""Plain text in columns: paragraphs, rows, tables that become lists where they would be too narrow."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import zip_longest

from lab.core.untrusted import printable

WIDTH = 100
NARROWEST = 12
"""If a column would be narrower, and a cell does not fit into it, the table is printed as a list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutLine:
    """A row of a table; one without cells is a paragraph across all of it."""

    title: str
    cells: Sequence[str] = ()
    indent: str = ""


def table(columns: Sequence[str], lines: Sequence[LayoutLine], width: int, *, right: bool = False) -> list[str]:
    """Return rows below the names of their columns; with `right`, cells end at the same place (numbers)."""
    first, widest = 0, max(map(len, columns))
    for line in lines:
        if line.cells:
            first = max(first, len(line.indent + line.title))
            widest = max(widest, *map(len, line.cells))
    room = (width - first - 2 * len(columns)) // max(1, len(columns))
    if room < min(NARROWEST, widest):
        return _list(columns, lines, width)
    room = min(room, widest)
    shown = _cells("", columns, first, room, right)
    for line in lines:
        if line.cells:
            shown += _cells(line.indent + line.title, line.cells, first, room, right)
        else:
            shown += wrap(line.title, width, line.indent)
    return shown


def _cells(title: str, cells: Sequence[str], first: int, room: int, right: bool) -> list[str]:
    columns = []
    for cell in cells:
        broken = textwrap.wrap(printable(cell), room) or [""]
        if right:
            broken = [text.rjust(room) for text in broken]
        columns.append(broken)
    return row(title, columns, first, room)


def _list(columns: Sequence[str], lines: Iterable[LayoutLine], width: int) -> list[str]:
    """Return a paragraph for each row of a table."""
    shown: list[str] = []
    for line in lines:
        text = line.title
        if line.cells:
            cells = "; ".join(map(" ".join, zip(columns, line.cells, strict=True)))
            text = f"{line.title}: {cells}"
        shown += wrap(text, width, line.indent)
    return shown


def column(parts: Sequence[str], room: int) -> list[str]:
    """Return the lines of a cell, broken between its parts only."""
    if len(short := ", ".join(parts)) <= room:
        return [short]
    whole = ", ".join(part.replace(" ", "\N{NO-BREAK SPACE}") for part in parts)
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in textwrap.wrap(whole, room, break_on_hyphens=False)]


def row(title: str, columns: Sequence[Sequence[str]], first: int, room: int) -> list[str]:
    """Return the lines of a row: the title in a column `first` wide, every cell in one of `room`."""
    lines = []
    for texts in zip_longest(*columns, fillvalue=""):
        cells = "".join(f"  {text:<{room}.{room}}" for text in texts)
        lines.append(f"{title:<{first}}{cells}".rstrip())
        title = ""
    return lines


def wrap(text: str, width: int, indent: str = "") -> list[str]:
    """Return printable lines of at most `width`, continued two columns further in; a word that is too long is cut."""
    flat = " ".join(printable(text).split())
    if flat and len(indent) + len(flat) <= width:
        return [indent + flat]  # of thousands of lines most are short: textwrap takes fifty times as long
    return textwrap.wrap(flat, width, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False)


class Role(Enum):
    """What a heading announces, from which a terminal's colour follows."""

    GOOD = "the series does what it is for"
    BAD = "an expectation about the kernel was not met"
    NO_VERDICT = "the lab cannot tell, or the guest was another machine"


class Heading(str):
    """A line of a report with a role."""

    __slots__ = ("role",)

    def __new__(cls, text: str, role: Role) -> Heading:
        line = super().__new__(cls, text)
        line.role = role
        return line

    role: Role


def heading(text: str, width: int, role: Role) -> list[str]:
    """Return wrapped lines of which the first has a role."""
    first, *more = wrap(text, width)
    return [Heading(first, role), *more]


def clip(line: str, width: int) -> str:
    """Return the line, cut to the width; an ellipsis shows that it was longer."""
    if len(line) <= width:
        return line
    return line[: width - 1] + "…"
