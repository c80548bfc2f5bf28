# SPDX-License-Identifier: GPL-2.0-or-later
"""What the shell offers behind Tab: names from directory listings alone, so that it is there at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from lab.core.errors import LabError
from lab.verbs.places import open_library

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def named(kind: str) -> Completer:
    """Completes the names of a kind (`topologies`, `kernels`, ...), and files where a path is being typed."""

    def complete(_context: click.Context, _option: click.Parameter, word: str) -> list[CompletionItem]:
        if word.startswith((".", "/", "~")):
            return [CompletionItem(word, type="file")]
        try:
            return matching(getattr(open_library(), kind)(), word)
        except LabError:
            return []

    return complete


def cells(context: click.Context, _option: click.Parameter, word: str) -> list[CompletionItem]:
    """Completes `TOPOLOGY/KERNEL/SCENARIO.CASE` from what a run's directory says of itself."""
    try:
        metadata = json.loads((Path(context.params["directory"]) / "metadata.json").read_text())
        places = [f"{each['topology']}/{each['kernel']}" for each in metadata["cells"]]
        cases = [f"{name}.{case['name']}" for name, declared in metadata["cases"].items() for case in declared]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    inside = [f"{place}/{case}" for place in places if word.startswith(f"{place}/") for case in cases]
    return matching(inside or places, word)


def matching(names: Iterable[str], word: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(word)]
