# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds calls in C source and the format strings among their arguments; reads text, understands no C beyond that."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

MAX_CALL = 4000
"""Characters of a call's arguments; what is longer is no call that prints."""

_COMMENT_OR_STRING = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|//[^\n]*|/\*.*?\*/', re.DOTALL)
_TOKEN = re.compile(r'\s+|(?P<text>"(?:\\.|[^"\\\n])*")|(?P<word>[A-Za-z_]\w*)')
_DEFINED = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(\w+)[ \t]+((?:\\\n|[^\n])*)", re.MULTILINE)
_ARRAY = re.compile(r'\bchar\s*\*?\s*(?:const\s+)?(\w+)\s*(?:\[\w*\])?[\w\s]*=\s*("(?:\\.|[^"\\\n])*")')
_PR_FMT = re.compile(r"^[ \t]*#[ \t]*define[ \t]+pr_fmt\(\w+\)[ \t]+([^\n]*)", re.MULTILINE)
_ESCAPE = re.compile(r"\\(x[0-9a-f]{1,2}|[0-7]{1,3}|.)")
_KNOWN: Mapping[str, str] = {
    "PRIx64": "llx",
    "PRIu64": "llu",
    "REG_FMT": "%016lx",
    "HW_ERR": "[Hardware Error]: ",
    "FW_BUG": "[Firmware Bug]: ",
    "S_SMP": " SMP",
    "S_PREEMPT": " PREEMPT",
    "S_ISA": " ARM",
    "__func__": "own_function",
    "__FUNCTION__": "own_function",
    "__FILE__": "mm/own.c",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call: its line, the function's name, and its arguments as they stand."""

    line: int
    name: str
    arguments: tuple[str, ...]


def without_comments(text: str) -> str:
    """Return C source with its comments blanked out, its lines kept."""

    def blank(found: re.Match[str]) -> str:
        return found[0] if found[0][0] in "\"'" else re.sub(r"[^\n]", " ", found[0])

    return _COMMENT_OR_STRING.sub(blank, text)


def calls(text: str, names: re.Pattern[str]) -> Iterator[Call]:
    """Yield the calls of functions whose whole name matches, in source without comments."""
    for found in re.finditer(r"\b([A-Za-z_]\w*) ?\(", text):
        if names.fullmatch(found[1]):
            arguments = _arguments(text, found.end())
            if arguments is not None:
                yield Call(line=text.count("\n", 0, found.start()) + 1, name=found[1], arguments=arguments)


def _arguments(text: str, start: int) -> tuple[str, ...] | None:
    """Split what stands between the parentheses at its commas; None if the closing one is missing."""
    parts: list[str] = []
    depth, begin, at = 0, start, start
    while at < min(len(text), start + MAX_CALL):
        char = text[at]
        if string := _COMMENT_OR_STRING.match(text, at):
            at = string.end()
            continue
        if char in "([{":
            depth += 1
        elif char in ")]}":
            if depth == 0:
                return (*parts, text[begin:at].strip())
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[begin:at].strip())
            begin = at + 1
        at += 1
    return None


def strings_of(text: str, stem: str) -> dict[str, str]:
    """Return the names in a source file that stand for a text: macros and constant arrays."""
    known = {**_KNOWN, "KBUILD_MODNAME": stem}
    for found in _DEFINED.finditer(text):
        if (value := literal(found[2].replace("\\\n", " "), known)) is not None:
            known.setdefault(found[1], value)
    for found in _ARRAY.finditer(text):
        known.setdefault(found[1], literal(found[2], known) or "")
    return known


def prefix_of(text: str, known: Mapping[str, str]) -> str:
    """Return what pr_fmt() puts before each message of a file."""
    found = _PR_FMT.search(text)
    return (literal(re.sub(r"\b(?:fmt|x)\b.*", "", found[1]), known) or "") if found else ""


def literal(argument: str, known: Mapping[str, str]) -> str | None:
    """Return the text of adjacent string literals and names of texts; None for any other expression."""
    parts: list[str] = []
    at, quoted = 0, False
    while at < len(argument):
        found = _TOKEN.match(argument, at)
        if not found:
            return None
        at = found.end()
        if found["text"]:
            quoted = True
            parts.append(_unescaped(found["text"][1:-1]))
        elif word := found["word"]:
            if word not in known and not word.startswith("KERN_"):
                return None
            quoted = quoted or word in known
            parts.append(known.get(word, ""))
    return "".join(parts) if quoted else None


def _unescaped(text: str) -> str:
    simple = {"n": "\n", "t": "\t"}
    return _ESCAPE.sub(lambda found: simple.get(found[1], found[1] if len(found[1]) == 1 else ""), text)
