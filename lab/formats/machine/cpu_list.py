# SPDX-License-Identifier: GPL-2.0-or-later
"""Lists and masks of CPUs in every notation that Linux and its tools print.

`0 1 2`, `0-3,8`, `0, 1, 2`, `0 - 3`, `0-62:2` (every second one), `0-63:1/4` (one of every four), `0-15 (16)` (with
their number); masks `00ff00ff,00000000` of the kernel and `0x000000ff,,0x0` of hwloc.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise

MAX_CPU = 1 << 12
MAX_LIST = 64 << 10
"""Characters."""
_PART = re.compile(r"(\d{1,5})(?:-(\d{1,5})(?::(\d{1,5})(?:/(\d{1,5}))?)?)?")
_COUNT = re.compile(r"\((\d{1,5})(?:\s*CPUs?)?\)", re.IGNORECASE)
_DASH = re.compile(r"\s?-\s?")
_MASK = re.compile(r"(?:0x)?[0-9a-fA-F]{1,32}(?:,(?:0x)?[0-9a-fA-F]{0,8})*")
_NOTHING = ("", "-", "none", "n/a", "(none)", "null")


def parse_cpu_list(text: str) -> tuple[int, ...]:
    """The CPU numbers in ascending order; ValueError if the text is no list, names a CPU twice or was cut."""
    if len(text) > MAX_LIST:
        raise ValueError("the list is too long")
    count = _COUNT.search(text)
    if count:
        text = text[: count.start()] + text[count.end() :]
    if text.strip().lower() in _NOTHING:
        return ()
    if ".." in text:
        raise ValueError("the list is abbreviated with '...'")
    cpus: list[int] = []
    for part in _DASH.sub("-", text).replace(",", " ").split():
        cpus.extend(_part(part))
    if len(set(cpus)) != len(cpus):
        raise ValueError("a CPU is listed twice")
    if count and int(count[1]) != len(cpus):
        raise ValueError(f"the list has {len(cpus)} CPUs, and says that it has {count[1]}")
    return tuple(sorted(cpus))


def _part(part: str) -> range | list[int]:
    match = _PART.fullmatch(part)
    if not match:
        raise ValueError(f"{part[:20]!r} is no CPU number")
    first, last = int(match[1]), int(match[2] or match[1])
    used, group = 1, int(match[3] or 1)
    if match[4]:
        used, group = int(match[3]), int(match[4])
    if last < first or last >= MAX_CPU or not group:
        raise ValueError(f"{part[:20]!r} is no range of CPUs")
    if used == 1:
        return range(first, last + 1, group)
    return [cpu for cpu in range(first, last + 1) if (cpu - first) % group < used]


def parse_mask(text: str) -> tuple[int, ...]:
    """The CPU numbers of a hexadecimal mask, whose words are of 32 bits; ValueError if it is none."""
    text = text.strip()
    if len(text) > MAX_CPU // 2 or not _MASK.fullmatch(text):
        raise ValueError("no mask of CPUs")
    value = 0
    for word in text.split(","):
        value = value << 32 | int(word or "0", 16)
    return tuple(bit for bit in range(value.bit_length()) if value >> bit & 1)


def is_ascending(values: tuple[int, ...]) -> bool:
    """Whether every number is above the one before it."""
    return all(low < high for low, high in pairwise(values))


def format_list(numbers: Iterable[int]) -> str:
    """The numbers as a list with ranges: `0-3,8`."""
    parts: list[str] = []
    first = last = -2
    for number in sorted(set(numbers)):
        if number == last + 1:
            last = number
            parts[-1] = f"{first}-{last}"
            continue
        first = last = number
        parts.append(str(number))
    return ",".join(parts)
