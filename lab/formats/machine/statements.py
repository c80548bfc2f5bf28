# SPDX-License-Identifier: GPL-2.0-or-later
"""The common result of the readers of machine descriptions: one statement for each thing that a text states."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from lab.core.sizes import GIB, KIB, MIB
from lab.formats.machine.cpu_list import MAX_CPU
from lab.formats.machine.paste.pasted import Line

Value = int | str | tuple[int, ...]
DAMAGE = "damage"
"""Key of a statement about a part of the text that is cut off or contradicts itself; its value says what is wrong."""
NOTE = "note"
"""Key of a statement about something that the reader mended or chose; its value says what it did."""
MAX_NODE = 1024
MOST = {"cpu_count": MAX_CPU, "processors": MAX_CPU, "cpus": MAX_CPU, "node_count": MAX_NODE}
"""Keys of statements that count -> the most that a machine can have."""
MAX_STATEMENTS = 8 * MAX_NODE
"""That one reader makes of a text: what goes on behind them is no machine."""
MAX_NUMBERS = 64 * 4096
"""CPUs and distances in the statements of one reader."""
_NUMBERS = re.compile(r"\d{1,4}(?:[ \t]+\d{1,4})*[ \t]*")
_ELLIPSIS = re.compile(
    r"\.{3,}|\[\s*(?:\.{2,}|snip\w*|cut|truncated|omitted|etc\.?)\s*\]|<\s*(?:snip\w*|cut|truncated[^<>]*)\s*>"
    r"|-+\s*(?:8<|>8|snip\w*|more)\b.*|\(?(?:output )?(?:truncated|snipped|omitted|elided)\)?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchMarks:
    """By what some texts tell an architecture that they do not name. Architectures are as `uname -m` prints them."""

    srat: Mapping[str, str]
    """What SRAT calls a CPU -> the architecture."""
    boot: tuple[tuple[re.Pattern[str], str], ...]
    """(what a line of the kernel's log has, architecture)."""
    cpuinfo: tuple[tuple[str, re.Pattern[str], str], ...]
    """(key of /proc/cpuinfo, what its whole value matches, architecture)."""
    config: tuple[tuple[tuple[re.Pattern[str], ...], str], ...] = ()
    """(lines that the configuration of a kernel has together, architecture)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One thing that a text states about a machine, or about one of its nodes.

    Keys: arch, byteorder, page_size, cpus (a count for the machine, numbers for a node), online, offline, threads,
    memory (bytes), nodes (numbers), node_count, distance (a row), columns (the nodes of a distance table's columns),
    model, virtual_bits, hugepages (as `hugepages SIZE`), hugepage_size, thp, shmem_thp, cmdline, fact (as `fact KEY`),
    release, pool (as `pool SIZE`, of huge pages of which the number is not stated), system
    (another one than Linux), topology (it is one of the lab's), DAMAGE, NOTE.
    """

    key: str
    value: Value
    line: int
    source: str
    """The command or file whose output it is, such as `numactl -H`."""
    node: int | None = None
    block: int = 0
    """Statements of one source with the same number belong to one output of it."""
    guess: str = ""
    """Why this is a guess. Empty for what the text states."""
    file: str = ""


def amount(value: Value) -> int:
    """How many numbers a value has."""
    return len(value) if isinstance(value, tuple) else 1


def bounded(statements: Iterable[Statement]) -> Iterator[Statement]:
    """The statements of one reader, as far as a text about machines can have them, and none of impossible nodes.

    A count that no machine has is damage: lists of so many CPUs are made of it otherwise.
    """
    numbers_left = MAX_NUMBERS
    for count, statement in enumerate(statements):
        if statement.node is not None and statement.node >= MAX_NODE:
            continue
        numbers_left -= amount(statement.value)
        if count >= MAX_STATEMENTS or numbers_left < 0:
            return
        yield _possible(statement)


def _possible(statement: Statement) -> Statement:
    """Return the statement; damage in place of a count that no machine has."""
    most = MOST.get(statement.key)
    if most is None or not isinstance(statement.value, int) or statement.value <= most:
        return statement
    counted = "nodes" if statement.key == "node_count" else "CPUs"
    text = f"{statement.source} counts {statement.value} {counted}, and at most {most} are read"
    return replace(statement, key=DAMAGE, value=text)


def in_blocks(outputs: Iterable[Iterable[Statement]]) -> Iterator[Statement]:
    """The statements of several outputs, each in a block of its own.

    Where one says of something another value than before, another output begins: that of another machine, or a later
    one of the same.
    """
    block = 0
    for statements in outputs:
        block += 1
        stated: dict[tuple[str, str, int | None], Value] = {}
        for statement in statements:
            what = (statement.source, statement.key, statement.node)
            repeatable = statement.key in (DAMAGE, NOTE, "seen")
            if not repeatable and stated.get(what, statement.value) != statement.value:
                block += 1
                stated = {}
            stated[what] = statement.value
            yield replace(statement, block=block)


def is_numbers(text: str) -> bool:
    """Whether a line has decimal numbers alone."""
    return bool(_NUMBERS.fullmatch(text))


def is_ellipsis(text: str) -> bool:
    """Whether a line only says that something was left out: `...`, `[snip]`, `<truncated>`."""
    return bool(_ELLIPSIS.fullmatch(text.strip()))


def numbers(text: str) -> tuple[int, ...]:
    """The decimal numbers of a text that has nothing else; empty if it has anything else."""
    if not is_numbers(text):
        return ()
    return tuple(map(int, text.split()))


def size(number: str, unit: str) -> int:
    """Bytes of `16 GB`, `1.5 GiB`, `64 kB`: every unit means a power of 1024, as in the tools that print them."""
    scale = {"": 1, "k": KIB, "m": MIB, "g": GIB, "t": GIB << 10}[unit[:1].lower().replace("b", "")]
    return int(float(number.replace(",", ".")) * scale)


def square(rows: Iterable[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """A distance matrix whose rows came in any order, sorted by where each row has its smallest number.

    Empty if the rows are no square, or if two of them have their smallest number in the same place.
    """
    table = list(rows)
    sorted_rows = dict[int, tuple[int, ...]]()
    for row in table:
        if len(row) != len(table) or row.count(min(row)) != 1:
            return []
        sorted_rows[row.index(min(row))] = row
    if len(sorted_rows) != len(table):
        return []
    return [sorted_rows[index] for index in range(len(table))]


def runs_of_numbers(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """The runs of consecutive lines that have numbers alone."""
    run: list[Line] = []
    for line in lines:
        if is_numbers(line.text):
            run.append(line)
            continue
        if run:
            yield run
        run = []
    if run:
        yield run
