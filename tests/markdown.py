# SPDX-License-Identifier: GPL-2.0-or-later
"""Read the Markdown of the README files: sections, tables, code, links, anchors and sentences. Pure.

Only what these files use is understood: `#` headings, tables with a line of dashes, code indented by four spaces, `- `
and `1. ` lists, `[text](target)` links.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_HEADING = re.compile(r"(#{1,6}) (.+)")
_ITEM = re.compile(r"(?:-|\d+\.) +")
_CELL_BORDER = re.compile(r"(?<!\\)\|")
_RULE = re.compile(r"\|(?:\s*:?-+:?\s*\|)+")
_LINK = re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)")
_SENTENCE_END = re.compile(r"(?<=[.!?])(?:\*\*)?\s+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading and its lines up to the next heading of the same or a higher level."""

    level: int
    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table: its headers, its rows as cells, and the line of the text on which each row stands (from 0)."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]

    def column(self, header: str) -> tuple[str, ...]:
        """Return the cells below one header; KeyError if there is no such header."""
        if header not in self.headers:
            raise KeyError(header)
        index = self.headers.index(header)
        return tuple(row[index] for row in self.rows)


def sections(text: str) -> tuple[Section, ...]:
    """Return every section, subsections within their parents and by themselves."""
    lines = text.splitlines()
    found = []
    for start, line in enumerate(lines):
        heading = _HEADING.fullmatch(line)
        if heading:
            level = len(heading[1])
            found.append(Section(level=level, title=heading[2], lines=tuple(_body(lines[start + 1 :], level))))
    return tuple(found)


def _body(lines: list[str], level: int) -> Iterator[str]:
    """Yield lines until a heading of this level or above."""
    for line in lines:
        heading = _HEADING.fullmatch(line)
        if heading and len(heading[1]) <= level:
            return
        yield line


def section(text: str, title: str) -> str:
    """Return the text below a heading, subsections included; KeyError unless exactly one section has this title."""
    found = [each for each in sections(text) if each.title == title]
    if len(found) != 1:
        raise KeyError(f"{len(found)} sections are called {title!r}")
    return "\n".join(found[0].lines)


def tables(text: str) -> tuple[Table, ...]:
    """Return every table, in order."""
    lines = text.splitlines()
    return tuple(_table(lines, number) for number, line in enumerate(lines) if number and _RULE.fullmatch(line))


def _table(lines: list[str], rule: int) -> Table:
    """Return the table whose line of dashes is line number `rule`."""
    rows, numbers = [], []
    for number in range(rule + 1, len(lines)):
        if not lines[number].startswith("|"):
            break
        rows.append(_cells(lines[number]))
        numbers.append(number)
    return Table(headers=_cells(lines[rule - 1]), rows=tuple(rows), lines=tuple(numbers))


def _cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in _CELL_BORDER.split(line)[1:-1])


def column(text: str, title: str, header: str) -> tuple[str, ...]:
    """Return the cells below one header, over all tables of a section that have it; KeyError if none has."""
    having = [table for table in tables(section(text, title)) if header in table.headers]
    if not having:
        raise KeyError(f"no table below {title!r} has a column {header!r}")
    return tuple(cell for table in having for cell in table.column(header))


def without_rows(text: str, cells: set[str]) -> str:
    """Return the text without the rows of tables that have one of these cells."""
    gone = set()
    for table in tables(text):
        for number, row in zip(table.lines, table.rows, strict=True):
            if cells.intersection(row):
                gone.add(number)
    return "\n".join(line for number, line in enumerate(text.splitlines()) if number not in gone) + "\n"


def code_spans(text: str) -> tuple[str, ...]:
    """Return what stands in backticks, in order."""
    return tuple(re.findall(r"`([^`]+)`", text))


def code_blocks(text: str) -> tuple[str, ...]:
    """Return every block that is indented by four spaces, without that indentation."""
    blocks: list[list[str]] = []
    inside = False
    for line in text.splitlines():
        if line.startswith("    "):
            if not inside:
                blocks.append([])
            blocks[-1].append(line[4:])
            inside = True
        elif inside and not line.strip():
            blocks[-1].append("")
        else:
            inside = False
    return tuple("\n".join(block).rstrip("\n") + "\n" for block in blocks)


def links(text: str) -> tuple[str, ...]:
    """Return the target of every link outside code, in order."""
    return tuple(target for line in _prose(text) for _, target in _LINK.findall(line))


def anchors(text: str) -> frozenset[str]:
    """Return the anchors that a heading gets on a hosting site: lower case, no punctuation, hyphens for spaces."""
    return frozenset(re.sub(r"[^\w\- ]", "", each.title.lower()).replace(" ", "-") for each in sections(text))


def sentences(text: str) -> Iterator[str]:
    """Yield every sentence of paragraphs, list items and cells of tables; a colon or semicolon ends none."""
    for block in _blocks(text):
        yield from (each for each in _SENTENCE_END.split(_LINK.sub(r"\1", block)) if each)


def _prose(text: str) -> Iterator[str]:
    """Yield the lines that are not code."""
    yield from (line for line in text.splitlines() if not line.startswith("    "))


def _blocks(text: str) -> Iterator[str]:
    """Yield paragraphs, list items, headings and cells, each as one line."""
    block: list[str] = []
    for line in (*_prose(text), ""):
        if line.startswith("|"):
            yield from _cells(line)
        if not line.strip() or line.startswith(("|", "#")) or _ITEM.match(line):
            if block:
                yield " ".join(block)
            block = []
        if line.strip() and not line.startswith(("|", "#")):
            block.append(_ITEM.sub("", line.strip(), count=1))
