# SPDX-License-Identifier: GPL-2.0-or-later
"""Files of all nodes that one command shows without their names, as `cat node*/cpulist` does: which is whose. Pure.

A shell sorts names as text, so node10 comes before node2. Linux may leave out numbers: three lines are of nodes 0-2, or
of nodes 0, 2 and 8. What else the text says about its nodes decides; where nothing does, nodes from 0 on are a guess
that is told. A line without text is a file without content: a node without CPUs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lab.formats.machine.cpu_list import format_list, parse_cpu_list
from lab.formats.machine.paste.pasted import Line
from lab.formats.machine.paste.shell_session import Section
from lab.formats.machine.statements import MAX_NODE, numbers, square

_GLOB = re.compile(
    r"(?:\S*/)?node(?:\*|\[\S{1,20}\]|\?)[*?]?/(cpulist|cpumap|distance|hugepages/hugepages-\d{1,9}kB/nr_hugepages)"
)
_ONLINE = re.compile(r"(?:\S*/)?node/online:?\s*(\d[\d,-]*)?")
_NAMED = re.compile(r"\bnode ?(\d{1,4})\b", re.IGNORECASE)
_CONTENTS = {
    "cpulist": re.compile(r"[\d,:-]+"),
    "cpumap": re.compile(r"[0-9a-f,]+"),
    "distance": re.compile(r"\d{1,3}(?: \d{1,3})*"),
}
_ONE_NUMBER = re.compile(r"\d{1,9}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedNodes:
    """What a text says about the numbers of its nodes."""

    online: tuple[int, ...] = ()
    """Empty if the text does not list them."""
    named: frozenset[int] = frozenset()
    """Those whose number comes up anywhere."""

    def numbers(self, count: int) -> tuple[int, ...]:
        """Return the numbers of so many nodes, ascending; empty if they cannot be known."""
        first = tuple(range(count))
        if self.online:
            return self.online if len(self.online) == count else ()
        if len(self.named) == count:
            return tuple(sorted(self.named))
        return first if self.named <= set(first) else ()

    @property
    def count(self) -> int:
        """How many nodes the text names."""
        return len(self.online or self.named)

    @property
    def guessed(self) -> bool:
        """Whether nothing names the nodes."""
        return not self.online and not self.named


@dataclass(slots=True, kw_only=True)
class GlobbedFiles:
    """The files that a command showed, each with its line."""

    files: list[tuple[str, Line]]
    note: str = ""
    damage: str = ""


def named_nodes(parts: Sequence[Section]) -> NamedNodes:
    """Return what the text says about the numbers of its nodes."""
    online: tuple[int, ...] = ()
    named = set[int]()
    for section in parts:
        first = next((line.text for line in section.lines if line.text), "")
        path = section.command.split()[-1] if section.command else ""
        if _ONLINE.fullmatch(path):
            online = online or _list(first)
        for text in (section.command, *(line.text for line in section.lines)):
            if (match := _ONLINE.fullmatch(text)) and match[1]:
                online = online or _list(match[1])
            if "ode" in text or "ODE" in text:
                named.update(map(int, _NAMED.findall(text)))
    return NamedNodes(online=online, named=frozenset(node for node in named if node < MAX_NODE))


def _list(text: str) -> tuple[int, ...]:
    try:
        return parse_cpu_list(text)
    except ValueError:
        return ()


def shown(paths: Sequence[str], lines: Sequence[Line], known: NamedNodes, *, last: bool) -> Iterator[GlobbedFiles]:
    """Yield the files of each path with a glob for nodes, as one command shows them; nothing if a path has none.

    `last`: the text ends behind the lines, so that an empty line there says nothing.
    """
    globs = [match[1] for path in paths if (match := _GLOB.fullmatch(path))]
    if not globs or len(globs) != len(paths):
        return
    rows = list(lines)
    while last and rows and not rows[-1].text:
        rows.pop()
    for place, name in enumerate(globs):
        mine = _rows(name, rows)
        if len(globs) > 1:
            text = [line for line in rows if line.text]
            share, rest = divmod(len(text), len(globs) - place)
            if rest or any(not _content(name).fullmatch(line.text) for line in text[:share]):
                return
            mine, rows = text[:share], text[share:]
        if any(line.text for line in mine):
            yield _named_files(name, mine, known, among=len(globs) > 1)


def _content(name: str) -> re.Pattern[str]:
    return _CONTENTS.get(name, _ONE_NUMBER)


def _rows(name: str, lines: Sequence[Line]) -> list[Line]:
    """Return the lines that have the content of the files, up to the first that has not, and empty ones.

    If there is an empty line between all of them, none is a file.
    """
    rows: list[Line] = []
    for line in lines:
        if line.text and not _content(name).fullmatch(line.text):
            break
        rows.append(line)
    texts = [line for line in rows if line.text]
    if name not in ("cpulist", "cpumap") or (len(texts) > 2 and len(rows) >= 2 * len(texts) - 1):
        return texts
    return rows


def _as_many(rows: list[Line], count: int) -> list[Line]:
    """Return the rows, with the one empty line among them as often as there are to be rows: readers join such lines.

    An empty line at the end is what a paste ends with, unless a row is missing.
    """
    empty = [place for place, line in enumerate(rows) if not line.text]
    if len(empty) == 1 and len(rows) <= count:
        return rows[: empty[0]] + [rows[empty[0]]] * (count - len(rows)) + rows[empty[0] :]
    return rows[:-1] if empty and empty[-1] == len(rows) - 1 else rows


def _named_files(name: str, found: list[Line], known: NamedNodes, *, among: bool) -> GlobbedFiles:
    rows = _as_many(found, known.count)
    count = len(rows)
    nodes = known.numbers(count)
    if not nodes:
        text = format_list(known.online or known.named)
        what = "are online" if known.online else "are named"
        damage = f"node*/{name} has {count} lines, and nodes {text} {what}: which line is whose is not known"
        return GlobbedFiles(files=[], damage=damage)
    order = sorted(nodes, key=str)
    if name == "distance":
        table = square(numbers(line.text) for line in rows)
        if not table or (nodes == tuple(range(count)) and not among):
            return GlobbedFiles(files=[])  # left to the reader of matrices
        order = [nodes[row.index(min(row))] for row in (numbers(line.text) for line in rows)]
    files = [(f"node{node}/{name}", line) for node, line in zip(order, rows, strict=True)]
    note = f"the lines of node*/{name} are taken for nodes {format_list(nodes)} in the order of a shell's glob"
    if known.guessed:
        note += "; a guess: nothing names them, and Linux may leave out numbers"
    if any(not line.text for line in rows):
        note += "; an empty one is a node without CPUs"
    return GlobbedFiles(files=files, note="" if name == "distance" else note)
