# SPDX-License-Identifier: GPL-2.0-or-later
"""Read line counts of gcov: the counters as a guest keeps them, and the JSON that the tool `gcov` prints. Pure.

A kernel with CONFIG_GCOV_KERNEL has one file of counters (`.gcda`) for each instrumented object, below
/sys/kernel/debug/gcov and the path of its build directory. guest_tests/lab_gcov.h sets them to zero before each case
and appends them to a file of the guest after it:

    gcda <size in bytes> <path>\n<that many bytes>\n      for each object
    case <name>\n                                         behind the objects of a case

The counters mean nothing without the `.gcno` file that the compiler wrote beside the object; `gcov --json-format` puts
the two together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

GUEST_FILE = "/tmp/lab-gcov"

_HEADER = re.compile(rb"gcda ([0-9]{1,9}) (/[^\n\0]{1,4000})\n")
_CASE = re.compile(rb"case ([^\n\0]{1,400})\n")

Counts = Mapping[str, Mapping[int, int]]
"""Source file -> line, from 1 -> how often it ran. A line that was not compiled is missing."""


def split(data: bytes) -> dict[str, dict[str, bytes]]:
    """Return the counters that a guest kept: case -> path of the object's `.gcda` -> content.

    What follows the last whole case is left out: its case took the guest with it. ValueError if bytes in the middle are
    something else.
    """
    by_case: dict[str, dict[str, bytes]] = {}
    objects: dict[str, bytes] = {}
    position = 0
    while position < len(data):
        if case := _CASE.match(data, position):
            by_case[case[1].decode("utf-8", "replace")] = objects
            objects, position = {}, case.end()
            continue
        header = _HEADER.match(data, position)
        if header is None:
            if b"\n" not in data[position:]:
                break
            raise ValueError(f"the guest's counters are damaged at byte {position} of {len(data)}")
        start, size = header.end(), int(header[1])
        objects[header[2].decode("utf-8", "replace")] = data[start : start + size]
        position = start + size + 1
    return by_case


def parse(text: bytes) -> Iterator[tuple[str, dict[str, dict[int, int]]]]:
    """Yield, of what `gcov --json-format` prints, each file of counters with its counts: source -> line -> count.

    A line that belongs to several functions or instances (an inline function) has the sum of its counts. ValueError if
    the text is something else.
    """
    for document in _documents(text):
        try:
            yield str(document["data_file"]), _counts_by_file(document["files"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"gcov's output is not as expected: {error!r}") from None


def _counts_by_file(files: Any) -> dict[str, dict[int, int]]:
    found: dict[str, dict[int, int]] = {}
    for file in files:
        counts = found.setdefault(str(file["file"]), {})
        for line in file["lines"]:
            number = int(line["line_number"])
            counts[number] = counts.get(number, 0) + int(line["count"])
    return found


def _documents(text: bytes) -> Iterator[Any]:
    """The JSON documents of the output, one for each file of counters; there may be blank space between them."""
    decoder = json.JSONDecoder()
    rest = text.decode("utf-8", "replace")
    position = 0
    while (start := rest.find("{", position)) >= 0:
        document, position = decoder.raw_decode(rest, start)
        if "files" not in document:
            raise ValueError("gcov's output has no key `files`")
        yield document


def total(several: Iterable[Counts]) -> dict[str, dict[int, int]]:
    """Return the sum of line counts. A line that any of them compiled is in it."""
    found: dict[str, dict[int, int]] = {}
    for counts in several:
        for file, lines in counts.items():
            mine = found.setdefault(file, {})
            for line, count in lines.items():
                mine[line] = mine.get(line, 0) + count
    return found
