# SPDX-License-Identifier: GPL-2.0-or-later
"""Find the first place in which two JSON values differ, as one line of text. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping


def first_difference(name: str, was: object, now: object) -> str:
    """Return where two JSON values differ first, `name.key: recorded X, now Y`; empty if they do not."""
    for place, one, other in _differences(name, was, now):
        return f"{place}: recorded {_short(one)}, now {_short(other)}"
    return ""


def _differences(place: str, was: object, now: object) -> Iterator[tuple[str, object, object]]:
    """Return where two JSON values differ, as deep in them as possible."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys((*was, *now)):
            yield from _differences(f"{place}.{key}", was.get(key), now.get(key))
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for index, (one, other) in enumerate(zip(was, now, strict=True)):
            yield from _differences(f"{place}[{index}]", one, other)
    elif was != now:
        yield place, was, now


def _short(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
