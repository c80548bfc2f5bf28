# SPDX-License-Identifier: GPL-2.0-or-later
"""What `lab list` shows: a line (or a few) for everything there is to choose from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from lab import data, guestbuild
from lab.arch import ARCHES
from lab.cache import Cache
from lab.library import Library
from lab.model import format_size
from lab.outcome import Case


def lines(what: str, library: Library, cache: Cache) -> list[str]:
    """The listing called `what`: topologies, kernels, scenarios, campaigns or arches."""
    listings: Mapping[str, Callable[[], list[str]]] = {
        "topologies": lambda: _topologies(library),
        "kernels": lambda: _kernels(library),
        "scenarios": lambda: _scenarios(library, guestbuild.cases(data.scenarios(), cache)),
        "campaigns": lambda: _campaigns(library),
        "arches": _arches,
    }
    return listings[what]()


def table(rows: Iterable[Sequence[str]]) -> list[str]:
    """Rows of text in columns."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)] if rows else []
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _topologies(library: Library) -> list[str]:
    found = [library.topology(name) for name in library.topologies()]
    return table(
        (
            each.name,
            format_size(each.page_size),
            f"{each.vcpus} CPU",
            f"{max(1, len(each.numa))} node",
            each.description,
        )
        for each in found
    )


def _kernels(library: Library) -> list[str]:
    found = [library.kernel(name) for name in library.kernels()]
    return table(
        (each.name, each.source, each.series or "-", " ".join(sorted(each.provides)) or "-", each.description)
        for each in found
    )


def _scenarios(library: Library, cases: Mapping[str, tuple[Case, ...]]) -> list[str]:
    shown: list[str] = []
    for name in library.scenarios():
        declared = cases.get(name, ())
        shown.append(f"{name} ({len(declared)} cases)")
        rows = [(f"  {each.name}", " ".join(sorted(each.requires)) or "-", each.description) for each in declared]
        shown += table(rows)
    return shown


def _campaigns(library: Library) -> list[str]:
    found = [library.campaign(name).spec for name in library.campaigns()]
    return table((each.name, each.description) for each in found)


def _arches() -> list[str]:
    shown: list[str] = []
    for arch in ARCHES.values():
        pages = " ".join(format_size(size) for size in sorted(arch.page_sizes))
        nodes = f"no NUMA: {arch.no_numa}" if arch.no_numa else "NUMA"
        shown.append(f"{arch.name}: {arch.bits} bit, {arch.byteorder}-endian, pages {pages}, {nodes}, {arch.machine}")
        shown += [f"  {name}: {reason}" for name, reason in arch.notes.items()]
    return shown
