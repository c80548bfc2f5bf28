# SPDX-License-Identifier: GPL-2.0-or-later
"""What a person writes about a machine in a sentence or in a form: `8 vCPUs, 64 GB of RAM`, `two NUMA nodes`. Guesses.

A text speaks of many amounts. Nothing is taken of a kind of which two different ones are named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lab.formats.machine.paste.pasted import Line
from lab.formats.machine.statements import Statement, Value, size

SOURCE = "prose"
_WORDS = {"two": 2, "four": 4, "eight": 8}
_COUNT = rf"(?P<count>\d{{1,4}}|{'|'.join(_WORDS)})"
_AMOUNT = r"(?P<count>\d{1,5}(?:[.,]\d)?) ?(?P<unit>[GT])i?B"
_KINDS = (
    ("cpu_count", re.compile(rf"(?<![-\w]){_COUNT}[ -](?:vCPUs?|logical (?:CPUs?|cores|processors)|CPUs)\b")),
    ("cpu_count", re.compile(r"(?:^|.*\s)v?CPUs?: (?P<count>\d{1,4})(?:,.*|$)")),
    ("node_count", re.compile(rf"\b{_COUNT}[ -]NUMA[ -](?:nodes?|domains)\b", re.IGNORECASE)),
    (
        "memory",
        re.compile(rf"\b{_AMOUNT} (?:of )?(?:DDR\d\w{{0,2}} )?(?:ECC )?(?:RAM|DRAM|(?:main |system )?memory)\b", re.I),
    ),
    ("memory", re.compile(rf"(?:^|.*\W)(?:RAM|(?:System )?[Mm]emory|Memory): ~?{_AMOUNT}\b")),
    ("memory", re.compile(rf"\bvCPUs?,? (?:and )?{_AMOUNT}\b", re.IGNORECASE)),
)
_MODEL = re.compile(r"(?:[-*]\s)?(?:CPU|Processor)(?: model)?: (?P<name>(?=.*[A-Za-z]{3}).{4,80})", re.IGNORECASE)
MAX_SENTENCE = 1000
"""Characters of a line."""


def read(lines: Sequence[Line]) -> Iterator[Statement]:
    """The only CPUs, memory, nodes and processor that sentences name."""
    named: dict[str, dict[Value, int]] = {}
    for line in lines:
        if len(line.text) > MAX_SENTENCE:
            continue
        for key, value in _named(line.text):
            named.setdefault(key, {}).setdefault(value, line.number)
    for key, values in named.items():
        if len(values) == 1:
            value, number = next(iter(values.items()))
            yield Statement(key=key, value=value, line=number, source=SOURCE, guess="the words of a person")


def _named(text: str) -> Iterator[tuple[str, Value]]:
    """(key, value) of everything that a line names."""
    for key, pattern in _KINDS:
        for match in pattern.finditer(text):
            if key == "memory":
                yield key, size(match["count"], match["unit"])
            else:
                yield key, _WORDS.get(match["count"].lower(), 0) or int(match["count"])
    if model := _MODEL.fullmatch(text):
        yield "model", model["name"]
