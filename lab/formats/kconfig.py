# SPDX-License-Identifier: GPL-2.0-or-later
"""Kconfig fragments and .config files as values: parse, merge, and tell which requested symbols got lost. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from lab.core.errors import InputError

_SET = re.compile(r"CONFIG_(\w+)=(.*)")
_UNSET = re.compile(r"#\s*CONFIG_(\w+) is not set")
_VALUE = re.compile(r'[ymn]|-?\d+|0[xX][0-9a-fA-F]+|"(?:[^"\\]|\\.)*"')
_HEX = re.compile(r"0[xX][0-9a-fA-F]+")
_NUMBER = re.compile(r"-?\d+|0[xX][0-9a-fA-F]+")
_WISH = re.compile(r"\s*CONFIG_(\w+)=([ymn]|-?\d+|0[xX][0-9a-fA-F]+|\"[^\"]*\")\s*(?:#.*)?$")
_ENTRY = re.compile(r"\s*(?:menu)?config\s+(\w+)\s*")
_OPEN = re.compile(r"\s*(if|menu|choice)\b(.*)")
_OTHER = re.compile(r"\s*(?:comment|source|mainmenu)\b")
_CLOSE = re.compile(r"\s*(?:endif|endmenu|endchoice)\b")
_DEPENDS = re.compile(r"\s*depends\s+on\s+(.+)")


_BUILT_IN = {"m": "y"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolRequest:
    """One line of a fragment. `value` is as in a .config, `n` for `is not set`; `path` and `line` say who asked."""

    symbol: str
    value: str
    path: str
    line: int
    wish: bool = False
    """Whether the kernel can do without it: a wish that is not granted is reported, and is no error."""
    if_defined: bool = False
    """Whether a kernel whose Kconfig files do not define the symbol can do without it: then that is reported."""

    @property
    def place(self) -> str:
        return f"{self.path}:{self.line}"

    def __str__(self) -> str:
        if self.value == "n":
            return f"# CONFIG_{self.symbol} is not set"
        return f"CONFIG_{self.symbol}={self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A request that the final .config does not grant; `got` is what is there, `n` when nothing is."""

    request: SymbolRequest
    got: str

    def __str__(self) -> str:
        asked = self.request
        return f"CONFIG_{asked.symbol}: asked for {asked.value} at {asked.place}, got {self.got}"


def parse_fragment(text: str, path: Path | str) -> tuple[SymbolRequest, ...]:
    """Return the requests of a fragment, in order.

    A line is `CONFIG_X=value`, `# CONFIG_X is not set`, another comment, or blank; InputError names any other.
    """
    requests: list[SymbolRequest] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if request := _parse_line(line, path, number):
            requests.append(request)
    return tuple(requests)


def _parse_line(line: str, path: Path | str, number: int) -> SymbolRequest | None:
    stripped = line.strip()
    if match := _UNSET.fullmatch(stripped):
        return SymbolRequest(symbol=match[1], value="n", path=str(path), line=number)
    if not stripped or stripped.startswith("#"):
        return None
    match = _SET.fullmatch(stripped)
    if not match:
        expected = f"expected CONFIG_NAME=value or '# CONFIG_NAME is not set', got {stripped!r}"
        raise InputError(path, number, None, expected)
    if not _VALUE.fullmatch(match[2]):
        expected = f'expected y, m, n, a number or a "string", got {match[2]!r}'
        raise InputError(path, number, f"CONFIG_{match[1]}", expected)
    return SymbolRequest(symbol=match[1], value=match[2], path=str(path), line=number)


def parse_wishes(text: str, path: Path | str) -> tuple[SymbolRequest, ...]:
    """Return the requests of somebody else's fragment as wishes.

    A module, `=m`, becomes `y`: guests have no modules. Lines that are no requests are ignored.
    """
    wishes: list[SymbolRequest] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if match := _WISH.match(line):
            value = _BUILT_IN.get(match[2], match[2])
            wishes.append(SymbolRequest(symbol=match[1], value=value, path=str(path), line=number, wish=True))
        elif match := _UNSET.fullmatch(line.strip()):
            wishes.append(SymbolRequest(symbol=match[1], value="n", path=str(path), line=number, wish=True))
    return tuple(wishes)


def merge(fragments: Iterable[Sequence[SymbolRequest]]) -> tuple[SymbolRequest, ...]:
    """Return one request per symbol, the last one given; sorted by symbol, so that equal requests make equal text.

    A wish gives way to any other request.
    """
    by_symbol: dict[str, SymbolRequest] = {}
    for request in chain.from_iterable(fragments):
        if not request.wish or request.symbol not in by_symbol or by_symbol[request.symbol].wish:
            by_symbol[request.symbol] = request
    return tuple(sorted(by_symbol.values(), key=lambda request: request.symbol))


def render(requests: Iterable[SymbolRequest]) -> str:
    """Return the requests as .config lines, without their places: the text that a cache key is made of."""
    lines: list[str] = []
    for request in requests:
        lines.append(f"{request}\n")
        if request.wish:
            lines.append("# (a wish)\n")
    return "".join(lines)


def has_kasan(config: bytes) -> bool:
    """Whether a .config has the generic address sanitizer, which takes memory for its own use."""
    return b"\nCONFIG_KASAN_GENERIC=y\n" in config


SLOW = {"CONFIG_KASAN_GENERIC": 2.0, "CONFIG_PROVE_LOCKING": 1.5, "CONFIG_KCSAN": 3.0}
"""Symbols that make a whole kernel slow -> the factor by which the deadlines of its guests grow.

They are bounds. A kernel with KASAN, lockdep and patterns on the stack took 56 s to its ready line, one without 9 s.
"""


def slowness(config: bytes) -> float:
    """Return how many times longer a kernel may take for everything, by its .config."""
    return math.prod(factor for symbol, factor in SLOW.items() if b"\n%s=y\n" % symbol.encode() in config)


def parse_config(text: str) -> Mapping[str, str]:
    """Return symbol -> value of a .config, `n` for `is not set`."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        if match := _SET.fullmatch(line):
            values[match[1]] = match[2]
        elif match := _UNSET.fullmatch(line):
            values[match[1]] = "n"
    return values


def override(config: str, requests: Sequence[SymbolRequest]) -> str:
    """Return the .config of `make tinyconfig` with the requests in place of its own lines for their symbols.

    Its numbers are left out: each is a default that was computed without the requests, such as an order of pages for
    another page size, or the stack of a 32-bit kernel. `make olddefconfig` computes them anew.
    """
    asked = {request.symbol for request in requests}
    kept: list[str] = []
    for line in config.splitlines():
        values = parse_config(line)
        if not asked & set(values) and not any(map(_NUMBER.fullmatch, values.values())):
            kept.append(line)
    return "\n".join([*kept, render(requests)])


def lost(requests: Iterable[SymbolRequest], config: Mapping[str, str]) -> tuple[Lost, ...]:
    """Return the requests that the final .config does not grant. A symbol that is absent there counts as `n`."""
    return _not_granted((request for request in requests if not request.wish), config)


def refused(requests: Iterable[SymbolRequest], config: Mapping[str, str]) -> tuple[Lost, ...]:
    """Return the wishes that the final .config does not grant, each once."""
    wishes = {str(request): request for request in requests if request.wish}
    return _not_granted(wishes.values(), config)


def _not_granted(requests: Iterable[SymbolRequest], config: Mapping[str, str]) -> tuple[Lost, ...]:
    lost: list[Lost] = []
    for request in requests:
        got = config.get(request.symbol, "n")
        if not _same(request.value, got):
            lost.append(Lost(request=request, got=got))
    return tuple(lost)


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """Return `CONFIG_X: n -> y` for every symbol whose value differs; absent counts as `n`."""
    found: list[str] = []
    for symbol in sorted({*before, *after}):
        old, new = before.get(symbol, "n"), after.get(symbol, "n")
        if not _same(old, new):
            found.append(f"CONFIG_{symbol}: {old} -> {new}")
    return tuple(found)


def _same(asked: str, got: str) -> bool:
    return asked == got or (bool(_HEX.fullmatch(asked) and _HEX.fullmatch(got)) and int(asked, 16) == int(got, 16))


def defined_in(kconfig: str) -> frozenset[str]:
    """Return the symbols that one Kconfig file defines."""
    return frozenset(match[1] for line in kconfig.splitlines() if (match := _ENTRY.fullmatch(line)))


def depends_on(kconfig: str, symbol: str) -> tuple[str, ...] | None:
    """Return what a symbol depends on by one Kconfig file: its own `depends on`, and those of the blocks around it.

    None if the file does not define the symbol.
    """
    blocks: list[list[str]] = [[]]
    found: list[str] | None = None
    target: list[str] = []
    for line in kconfig.replace("\\\n", " ").splitlines():
        if match := _DEPENDS.fullmatch(line):
            target.append(" ".join(match[1].split()))
        elif match := _OPEN.match(line):
            target = []
            if match[1] == "if":
                target.append(match[2].strip())
            blocks.append(target)
        elif _CLOSE.match(line) and len(blocks) > 1:
            blocks.pop()
            target = []
        elif _OTHER.match(line):
            target = []
        elif match := _ENTRY.fullmatch(line):
            target = []
            if match[1] == symbol:
                found = target = [*(found or []), *chain.from_iterable(blocks)]
    if found is None:
        return None
    return tuple(dict.fromkeys(found))


def symbols_in(expressions: Iterable[str]) -> tuple[str, ...]:
    """Return the symbols that dependency expressions name, each once, in order."""
    return tuple(dict.fromkeys(re.findall(r"\b[A-Z][A-Z0-9_]*\b", " ".join(expressions))))
