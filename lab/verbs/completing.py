# SPDX-License-Identifier: GPL-2.0-or-later
"""What the shell offers behind Tab: names from directory listings alone, so that it is there at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from lab.core.errors import LabError
from lab.verbs.places import open_library

if TYPE_CHECKING:
    from lab.specs.library import Library

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def completer(listing: Callable[[Library], Iterable[str]]) -> Completer:
    """Return what completes the names of a listing, and files where a path is being typed."""

    def complete(_context: click.Context, _option: click.Parameter, word: str) -> list[CompletionItem]:
        if word.startswith((".", "/", "~")):
            return [CompletionItem(word, type="file")]
        try:
            return matching(listing(open_library()), word)
        except LabError:
            return []

    return complete


TOPOLOGIES = completer(lambda library: library.topologies())
KERNELS = completer(lambda library: library.kernels())
REPORTS = completer(lambda library: library.reports())
SCENARIOS = completer(lambda library: library.scenarios())
CAMPAIGNS = completer(lambda library: library.campaigns())
CONFIGS = completer(lambda library: library.configs())


def cells(context: click.Context, _option: click.Parameter, word: str) -> list[CompletionItem]:
    """Complete `TOPOLOGY/KERNEL/SCENARIO.CASE` from the metadata of a run's directory."""
    from lab.evidence.read import read_metadata

    try:
        metadata = read_metadata(Path(context.params["directory"]))
    except LabError:
        return []
    places = [str(cell.key) for cell in metadata.cells]
    cases = [f"{scenario}.{case.name}" for scenario, declared in metadata.cases.items() for case in declared]
    for place in places:
        if word.startswith(f"{place}/"):
            return matching((f"{place}/{case}" for case in cases), word)
    return matching(places, word)


def matching(names: Iterable[str], word: str) -> list[CompletionItem]:
    """Return the names that begin with a word, as the shell wants them."""
    return [CompletionItem(name) for name in names if name.startswith(word)]
