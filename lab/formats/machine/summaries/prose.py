# SPDX-License-Identifier: GPL-2.0-or-later
"""What a person writes about a machine in a sentence or in a form: `8 vCPUs, 64 GB of RAM`, `16K pages`. Guesses.

A text speaks of many amounts. Nothing is taken of a kind of which two different ones are named. What each node has
counts as often as there are nodes: `two NUMA nodes with 8 CPUs each`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from lab.core.sizes import KIB
from lab.formats.machine.paste.pasted import Line
from lab.formats.machine.statements import Statement, Value, size

SOURCE = "prose"
CPUS_EACH = "CPUs of each node"
_WORDS = {"two": 2, "four": 4, "eight": 8}
_COUNT = rf"(?P<count>\d{{1,4}}|{'|'.join(_WORDS)})"
_AMOUNT = r"(?P<count>\d{1,5}(?:[.,]\d)?) ?(?P<unit>[GT])i?B"
_CPUS = rf"(?<![-\w]){_COUNT}[ -](?:vCPUs?|logical (?:CPUs?|cores|processors)|CPUs)\b"
_EACH = r"(?: each\b| (?:per|on each|in each|on every) (?:NUMA )?(?:node|domain)\b)"
_PAGE_SIZE = r"(?:(4|8|16|64|256) ?K(?:i?B)?|(4096|8192|16384|65536|262144)[ -]?bytes?)"
_KINDS = (
    ("cpu_count", re.compile(rf"{_CPUS}(?!{_EACH})")),
    (CPUS_EACH, re.compile(rf"{_CPUS}(?={_EACH})")),
    ("cpu_count", re.compile(r"(?:^|.*\s)v?CPUs?: (?P<count>\d{1,4})(?:,.*|$)")),
    ("node_count", re.compile(rf"\b{_COUNT}[ -]NUMA[ -](?:nodes?|domains)\b", re.IGNORECASE)),
    (
        "memory",
        re.compile(rf"\b{_AMOUNT} (?:of )?(?:DDR\d\w{{0,2}} )?(?:ECC )?(?:RAM|DRAM|(?:main |system )?memory)\b", re.I),
    ),
    ("memory", re.compile(rf"(?:^|.*\W)(?:RAM|(?:System )?[Mm]emory|Memory): ~?{_AMOUNT}\b")),
    ("memory", re.compile(rf"\bvCPUs?,? (?:and )?{_AMOUNT}\b", re.IGNORECASE)),
)
_PAGE = re.compile(
    rf"\b(?:(?:page[ -]?size(?:[:=]| is| of)?|pages (?:of|are)) ?{_PAGE_SIZE}"
    rf"|{_PAGE_SIZE}[ -](?:base[ -])?(?:pages?(?:[ -]size)?|kernels?))\b",
    re.IGNORECASE,
)
_OTHER_PAGES = re.compile(r"huge|innodb|sql|database|b-?tree|nand|flash|block|buffer|swap file", re.IGNORECASE)
"""In sentences about pages that are not the machine's."""
_MODEL = re.compile(
    r"(?:[-*]\s)?(?:CPU|Processor)(?: model)?: (?P<name>(?=.*[A-Za-z]{3})(?!\d+ (?:UID|PID): ).{4,80})", re.IGNORECASE
)
MAX_SENTENCE = 1000
"""Characters of a line."""


def read(lines: Sequence[Line]) -> Iterator[Statement]:
    """The only CPUs, memory, nodes, page size and processor that sentences name."""
    yield from _only(lines, _named)


def read_page_size(lines: Sequence[Line]) -> Iterator[Statement]:
    """The only page size that sentences name, for a text that describes the machine otherwise."""
    yield from _only(lines, _page_sizes)


def _only(lines: Sequence[Line], names: Callable[[str], Iterable[tuple[str, Value]]]) -> Iterator[Statement]:
    """What `names` finds in the lines, as far as they name one of its kind alone."""
    named: dict[str, dict[Value, int]] = {}
    for line in lines:
        if len(line.text) > MAX_SENTENCE:
            continue
        for key, value in names(line.text):
            named.setdefault(key, {}).setdefault(value, line.number)
    _multiply(named)
    for key, values in named.items():
        if len(values) == 1:
            value, number = next(iter(values.items()))
            yield Statement(key=key, value=value, line=number, source=SOURCE, guess="the words of a person")


def _multiply(named: dict[str, dict[Value, int]]) -> None:
    """Turn the CPUs of each node into those of the machine, unless its nodes are not counted or its CPUs are."""
    each, nodes = named.pop(CPUS_EACH, {}), named.get("node_count", {})
    if "cpu_count" in named or len(each) != 1 or len(nodes) != 1:
        return
    ((count, line),), (number,) = each.items(), nodes
    if isinstance(count, int) and isinstance(number, int):
        named["cpu_count"] = {count * number: line}


def _named(text: str) -> Iterator[tuple[str, Value]]:
    """(key, value) of everything that a line names."""
    for key, pattern in _KINDS:
        for match in pattern.finditer(text):
            if key == "memory":
                yield key, size(match["count"], match["unit"])
            else:
                yield key, _WORDS.get(match["count"].lower(), 0) or int(match["count"])
    yield from _page_sizes(text)
    if model := _MODEL.fullmatch(text):
        yield "model", model["name"]


def _page_sizes(text: str) -> Iterator[tuple[str, Value]]:
    for match in () if _OTHER_PAGES.search(text) else _PAGE.finditer(text):
        kib = match[1] or match[3]
        yield "page_size", int(kib) * KIB if kib else int(match[2] or match[4])
