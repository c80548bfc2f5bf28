# SPDX-License-Identifier: GPL-2.0-or-later
"""Read line counts of gcov: the counters as a guest sends them, and the JSON that the tool `gcov` prints. Pure.

A kernel with CONFIG_GCOV_KERNEL has one file of counters (`.gcda`) for each instrumented object, below
/sys/kernel/debug/gcov and the path of its build directory. What `READ` prints in a guest is

    gcda <size in bytes> <path>\n<that many bytes>\n

for each of them, and `end\n` behind the last. The counters mean nothing without the `.gcno` file that the compiler wrote
beside the object; `gcov --json-format` puts the two together.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

DIRECTORY = "/sys/kernel/debug/gcov"
MOUNT = f"[ -d {DIRECTORY} ] || mount -t debugfs debugfs /sys/kernel/debug"
RESET = f"{{ {MOUNT}; }} && echo 1 >{DIRECTORY}/reset"
READ = (
    f"find {DIRECTORY} -name '*.gcda' | while read -r path; do "
    'cat "$path" >/tmp/.gcda && echo "gcda $(wc -c </tmp/.gcda) $path" && cat /tmp/.gcda && echo; done; '
    "rm -f /tmp/.gcda; echo end"
)
MAX_COUNTERS = 16 << 20
"""Bytes of all counters of a guest; a file of the kernel has some ten KiB."""

_HEADER = re.compile(rb"gcda ([0-9]{1,9}) (/[^\n\0]{1,4000})\n")

Counts = Mapping[str, Mapping[int, int]]
"""Source file -> line, from 1 -> how often it ran. A line that was not compiled is missing."""


def split(data: bytes) -> dict[str, bytes]:
    """Return the counters that a guest sent: path of the object's `.gcda` -> content.

    ValueError if the data is not what `READ` prints, or if it does not come to its end.
    """
    found: dict[str, bytes] = {}
    position = 0
    while not data.startswith(b"end\n", position):
        header = _HEADER.match(data, position)
        if header is None:
            raise ValueError(f"the guest's counters are damaged at byte {position} of {len(data)}")
        size, end = int(header[1]), header.end()
        if len(data) < end + size + 1:
            raise ValueError(f"the guest's counters end early: {len(data)} bytes")
        found[header[2].decode("utf-8", "replace")] = data[end : end + size]
        position = end + size + 1
    return found


def parse(text: bytes) -> dict[str, dict[int, int]]:
    """Return the line counts in the output of `gcov --json-format`, plain or gzip'd; ValueError if it is no such output.

    A line that belongs to several functions or instances (an inline function) has the sum of its counts.
    """
    if text.startswith(b"\x1f\x8b"):
        try:
            text = gzip.decompress(text)
        except (OSError, EOFError) as error:
            raise ValueError(f"gcov's output is damaged: {error}") from None
    found: dict[str, dict[int, int]] = {}
    for document in _documents(text):
        for file in document["files"]:
            counts = found.setdefault(str(file["file"]), {})
            for line in file["lines"]:
                number = int(line["line_number"])
                counts[number] = counts.get(number, 0) + int(line["count"])
    return found


def _documents(text: bytes) -> Iterator[Any]:
    """The JSON documents of the output: one a line, one for each file of counters."""
    for line in text.decode("utf-8", "replace").splitlines():
        if line.startswith("{"):
            document = json.loads(line)
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
