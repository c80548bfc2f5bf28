# SPDX-License-Identifier: GPL-2.0-or-later
"""Renders printk's format strings with values such as a kernel has."""

from __future__ import annotations

import re
from collections.abc import Sequence

_CONVERSION = re.compile(
    r"%(?P<flags>[-+ #0]*)(?P<width>\d+|\*)?(?:\.(?P<precision>\d+|\*)?)?(?:hh|h|ll|l|L|z|t|j)?"
    r"(?P<type>[diouxXcsp%])(?P<extension>[A-Za-z]\w{0,3})?"
)
_POINTERS = (
    (re.compile(r"[SB]"), "own_function+0x10/0x20"),
    (re.compile(r"[sf]"), "own_function"),
    (re.compile(r"G"), "GFP_KERNEL"),
    (re.compile(r"[bt]"), "0-1"),
    (re.compile(r"V"), "own text"),
    (re.compile(r"OF"), "/own/node"),
    (re.compile(r"e"), "-EINVAL"),
)
_PLAIN_POINTER = re.compile(r"[xKap]?")


_CHOICE = re.compile(r'\?\s*"([^"]*)"')
_CALLS = {"print_tainted()": "Not tainted", "file": "mm/own.c"}


def render(text: str, arguments: Sequence[str] = ()) -> str:
    """Return a format string with every conversion replaced by a value that fits its argument's expression."""
    expressions = iter(arguments)

    def value(found: re.Match[str]) -> str:
        if found["type"] == "%":
            return _value(found)
        expression = next(expressions, "")
        choice = _CHOICE.search(expression)
        known = choice[1] if choice else _CALLS.get(expression)
        if found["type"] != "s" or known is None:
            return _value(found)
        return known + (found["extension"] or "")

    return _CONVERSION.sub(value, text).rstrip("\n")


def _value(found: re.Match[str]) -> str:
    kind, extension = found["type"], found["extension"] or ""
    if kind == "p":
        return _pointer(extension)
    if kind == "%":
        return "%" + extension
    width = int(found["width"]) if (found["width"] or "").isdigit() else 0
    if kind in "xX":
        prefix = "0x" * ("#" in found["flags"])
        return prefix + "12".rjust(width - len(prefix), "0" if "0" in found["flags"] else " ") + extension
    return {"s": "own", "c": "o"}.get(kind, "3") + extension


def _pointer(extension: str) -> str:
    """Return what `%p` with this extension prints; letters that belong to no extension follow as text."""
    for letters, shown in _POINTERS:
        if letters.match(extension):
            return shown
    return "ffff888000001000" + _PLAIN_POINTER.sub("", extension, count=1)
