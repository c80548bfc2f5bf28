# SPDX-License-Identifier: GPL-2.0-or-later
"""Render reports by the name of their format, and write those that have a file into a run's directory.

A format has `render(summary) -> str` and FILE: the name of its file in a run's directory, None if it has none there.
One whose text may be long also has `pieces(summary)`, which yields the same text in parts.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from lab import report as room
from lab.core.cache import write_atomic
from lab.core.errors import unknown
from lab.evidence.metadata import Evidence
from lab.verdicts.compare import Summary, conclude
from lab.verdicts.two_runs import Comparison

if TYPE_CHECKING:
    from rich.text import Text

REGISTRY = __name__.rpartition(".")[2]
"""This module, which is no format."""
NARROWEST = 60
"""The least width of a report in columns, however narrow the terminal is."""


def formats() -> tuple[str, ...]:
    """Return the names of all formats."""
    names = []
    for module in pkgutil.iter_modules(room.__path__):
        if not module.name.startswith("_") and module.name != REGISTRY:
            names.append(module.name)
    return tuple(sorted(names))


def render(evidence: Evidence | Summary, format: str) -> str:
    """Return the report in one format, with a newline at its end; UsageError with the choices for an unknown format."""
    return str(_module(format).render(_concluded(evidence)))


def pieces(evidence: Evidence | Summary, format: str) -> Iterator[str]:
    """Yield the report in one format in parts, so that a long one is not in memory at once."""
    module, summary = _module(format), _concluded(evidence)
    if hasattr(module, "pieces"):
        yield from module.pieces(summary)
    else:
        yield module.render(summary)


def for_terminal(summary: Summary, width: int) -> Text:
    """Return the text report for a terminal of so many columns, headings in colour, without counts and versions."""
    terminal = importlib.import_module(f"{room.__name__}._terminal")
    painted: Text = terminal.render(summary, max(NARROWEST, width))
    return painted


def versus(comparison: Comparison) -> str:
    """Return the comparison of two runs as text."""
    return str(importlib.import_module(f"{room.__name__}._versus").render(comparison))


def files() -> dict[str, str]:
    """Return file name -> format of every report that has a file in a run's directory."""
    names: dict[str, str] = {}
    for format in formats():
        if file := _module(format).FILE:
            names[file] = format
    return names


def write(directory: Path, summary: Summary) -> tuple[Path, ...]:
    """Write every report that has a file into a run's directory, each in one step; return their paths."""
    written = []
    for name, format in files().items():
        text = pieces(summary, format)
        write_atomic(directory / name, (piece.encode("utf-8", "replace") for piece in text))
        written.append(directory / name)
    return tuple(written)


def _concluded(evidence: Evidence | Summary) -> Summary:
    if isinstance(evidence, Summary):
        return evidence
    return conclude(evidence)


def _module(name: str) -> ModuleType:
    if name not in formats():
        raise unknown("report format", name, formats())
    return importlib.import_module(f"{room.__name__}.{name}")
