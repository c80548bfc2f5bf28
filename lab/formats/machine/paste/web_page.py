# SPDX-License-Identifier: GPL-2.0-or-later
"""HTML of a page with a listing -> the lines that the page shows, without the numbers that it puts beside them. Pure.

Sites put the number of a line into a cell, a link or a span of its own (`<td class="blob-num">`, `data-line-number=`,
`<a class="linenr">`), into a cell with the numbers of all lines, or into a first column without any mark. Such an
element is dropped if it has nothing but numbers in it. Tags that are not HTML's are left as they are.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

NumberedText = tuple[int, str]
"""The number of a line in the pasted text, and its text."""

_BREAKING = re.compile(
    r"pre|br|dl|p|div|tr|table|tbody|thead|tfoot|li|ul|ol|blockquote|html|body|head|h[1-6]|details|summary|hr|section"
)
_CELL = re.compile(r"t[dh]|d[td]")
_INLINE = re.compile(r"code|span|b|i|em|strong|a|font|samp|kbd|tt|u|s|mark|small|button|img|colgroup|col|caption|label")
_HIDDEN = re.compile(r"script|style|svg|template|title")
"""Elements whose text a page does not show as such."""
_KNOWN = re.compile("|".join((_BREAKING.pattern, _CELL.pattern, _INLINE.pattern, _HIDDEN.pattern)))
_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]{0,11})((?:\s[^<>]{0,4000})?|/)>|<!--.{0,4000}?-->", re.DOTALL)
_NUMBERING = re.compile(
    r"\bdata-(?:line|ln)(?:-?num(?:ber)?)?=|\b(?:class|id)=(?:[\"'][^\"']{0,200}?|)"
    r"(?:(?<=[\"'\s=-])(?:blob-num|lines?-?n(?:um|umber|umbers|r|os?)|lnt?|gutter|rowno)(?![a-z])"
    r"|line-?num|lineno|line-links)",
    re.IGNORECASE,
)
"""Attributes of an element that has the number of a line in it."""
_NUMBERS = re.compile(r"\s*(?:\d{1,6}\s*)*")
MAX_NUMBERS = 20_000
"""Tokens that an element with numbers may have."""
FEW_ROWS = 4
"""In fewer rows than this, a first column that ascends by one may be an accident."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Token:
    """A tag of HTML, or the text between two of them."""

    line: int
    text: str
    tag: str = ""
    """In lower case; empty for text."""
    closing: bool = False
    numbering: bool = False


@dataclass(slots=True, kw_only=True)
class _TableRow:
    """A row of a table: the lines of each of its cells."""

    line: int
    cells: list[list[NumberedText]] = field(default_factory=list)
    numbered: bool = False
    """Whether the number of a line was dropped, so that a row without text is an empty line."""


def shown(rows: Sequence[NumberedText]) -> list[NumberedText]:
    """Return the lines without tags and entities; the same ones if there are none."""
    plain = [(number, html.unescape(html.unescape(text)) if "&" in text else text) for number, text in rows]
    if not any("<" in text and _has_tag(text) for _, text in plain):
        return plain
    page = _Page()
    for token in _without_line_numbers(list(_tokens(plain))):
        page.take(token)
    return page.end()


def _has_tag(text: str) -> bool:
    return any(_KNOWN.fullmatch((match[2] or "").lower()) for match in _TAG.finditer(text))


def _tokens(rows: Iterable[NumberedText]) -> Iterator[_Token]:
    """Yield tags and texts; the end of a line is a text of its own, but within a tag."""
    held = ""
    first = 0
    for number, row in rows:
        first = first if held else number
        text = f"{held}\n{row}" if held else row
        opened = text.rfind("<")
        if opened > text.rfind(">") and len(text) - opened < 4000 and _opens_tag(text[opened:]):
            held = text
            continue
        held = ""
        yield from _of_text(first, text)
        yield _Token(line=first, text="\n")
    if held:
        yield from _of_text(first, held)


def _opens_tag(text: str) -> bool:
    """Whether a tag that HTML has begins here and is not closed on its line."""
    match = re.match(r"</?([A-Za-z]{1,11}\d?)\s+[a-z-]+=|<([A-Za-z]{1,11}\d?)\s*$", text)
    return match is not None and _KNOWN.fullmatch((match[1] or match[2]).lower()) is not None


def _of_text(line: int, text: str) -> Iterator[_Token]:
    start = at = 0
    for match in _TAG.finditer(text):
        tag = (match[2] or "").lower()
        if tag and not _KNOWN.fullmatch(tag):
            continue
        if match.start() > start:
            yield _Token(line=line, text=text[start : match.start()])
        at += text.count("\n", start, match.end())
        start = match.end()
        if tag:
            numbering = not match[1] and _NUMBERING.search(match[3]) is not None
            yield _Token(line=line + at, text=match[0], tag=tag, closing=bool(match[1]), numbering=numbering)
    if start < len(text):
        yield _Token(line=line + at, text=text[start:])


def _without_line_numbers(tokens: Sequence[_Token]) -> Iterator[_Token]:
    """Yield the tokens without hidden elements, and without those that have the numbers of lines alone.

    What is left of such an element with numbers is its tag without the end.
    """
    at = 0
    while at < len(tokens):
        token = tokens[at]
        at += 1
        if token.closing or not (_HIDDEN.fullmatch(token.tag) or token.numbering):
            yield token
            continue
        end = _end(tokens, at, token.tag)
        text = "".join(inner.text for inner in tokens[at:end] if not inner.tag)
        if _HIDDEN.fullmatch(token.tag):
            at = end
        elif _NUMBERS.fullmatch(text) and (_CELL.fullmatch(token.tag) or text.strip()):
            yield token
            at = end
        else:
            yield _Token(line=token.line, text=token.text, tag=token.tag)


def _end(tokens: Sequence[_Token], start: int, tag: str) -> int:
    """Return the place behind the end of the element that was opened before `start`."""
    depth = 1
    for at in range(start, min(len(tokens), start + MAX_NUMBERS)):
        token = tokens[at]
        if _CELL.fullmatch(tag) and (token.tag == "tr" or (_CELL.fullmatch(token.tag) and not token.closing)):
            return at
        if token.tag == tag:
            depth += -1 if token.closing else 1
            if not depth:
                return at + 1
    return min(len(tokens), start + MAX_NUMBERS) if _HIDDEN.fullmatch(tag) else start


class _Page:
    """The state between tags: the line that is being read, and the rows of a table."""

    def __init__(self) -> None:
        self.made: list[NumberedText] = []
        self.text = ""
        self.line = 0
        self.tagged = False
        """Whether the line of the text had a tag: if it has nothing else, the page shows no line there."""
        self.row: _TableRow | None = None
        self.rows: list[_TableRow] = []

    def take(self, token: _Token) -> None:
        """Read one tag or text."""
        if not token.tag and token.text == "\n":
            self._line_end(token.line)
        elif not token.tag:
            self.line = self.line if self.text.strip() else token.line
            self.text += token.text
        else:
            self.tagged = True
            self._tag(token)

    def end(self) -> list[NumberedText]:
        """Return the lines of the whole page."""
        self._break()
        self._end_row()
        self._end_table()
        return self.made

    def _line_end(self, line: int) -> None:
        if self.text.strip():
            self._break()
        elif not self.tagged:
            self._add((line, ""))
        self.tagged = False

    def _tag(self, token: _Token) -> None:
        if token.tag in ("tr", "table", "dl"):
            self._break()
            self._end_row()
            if token.tag != "tr":
                self._end_table()
            elif not token.closing:
                self.row = _TableRow(line=token.line)
        elif _CELL.fullmatch(token.tag):
            self._break()
            self._cell(token)
        elif token.numbering:
            if self.row:
                self.row.numbered = True
        elif _BREAKING.fullmatch(token.tag):
            self._break()

    def _cell(self, token: _Token) -> None:
        """Begin a cell, which may stand outside any row that was pasted."""
        if token.closing:
            return
        if token.tag == "dt":
            self._end_row()
        self.row = self.row or _TableRow(line=token.line)
        if token.numbering:
            self.row.numbered = True
        else:
            self.row.cells.append([])

    def _break(self) -> None:
        """End the line that is being read, if it has text."""
        if self.text.strip():
            self._add((self.line, self.text))
        self.text = ""

    def _add(self, row: NumberedText) -> None:
        if self.row and self.row.cells:
            self.row.cells[-1].append(row)
            return
        if row[1]:
            self._end_table()
        self.made.append(row)

    def _end_row(self) -> None:
        if self.row:
            self.rows.append(self.row)
        self.row = None

    def _end_table(self) -> None:
        """Take the lines of the rows so far; a row that has no cell yet stays open."""
        rows, self.rows = self.rows, []
        for row in _without_number_column(rows):
            self.made += _of_row(row)


def _without_number_column(rows: list[_TableRow]) -> list[_TableRow]:
    """Return the rows, those without the first of two cells if it has nothing but a number, one more in each row."""
    firsts = [row.cells[0] for row in rows if len(row.cells) == 2]
    found = [cell[0][1].strip() for cell in firsts if len(cell) == 1]
    if len(found) != len(rows) or len(rows) < FEW_ROWS or not all(re.fullmatch(r"\d{1,6}", text) for text in found):
        return rows
    if [int(text) for text in found] != list(range(int(found[0]), int(found[0]) + len(found))):
        return rows
    return [_TableRow(line=row.line, cells=row.cells[1:], numbered=True) for row in rows]


def _of_row(row: _TableRow) -> list[NumberedText]:
    """Return the lines of a row: one, as of a Markdown table, unless a cell has several."""
    if row.numbered and not any(row.cells):
        return [(row.line, "")]
    if len(row.cells) < 2 or any(len(cell) > 1 for cell in row.cells):
        return [line for cell in row.cells for line in cell]
    texts = ["".join(text for _, text in cell) for cell in row.cells]
    if not any(text.strip() for text in texts):
        return []
    return [(row.line, "".join(f"|{text} " for text in texts))]
