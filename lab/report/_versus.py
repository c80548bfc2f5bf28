# SPDX-License-Identifier: GPL-2.0-or-later
"""Two runs against each other as text, in the words of report.txt: what became worse, better, or other."""

from __future__ import annotations

from collections.abc import Iterable

from lab.core.outcome import Delta
from lab.report import _words as words
from lab.report import text
from lab.report._layout import WIDTH, wrap
from lab.verdicts.compare import CaseDelta
from lab.verdicts.two_runs import Comparison

_TITLES = {Delta.REGRESSED: "REGRESSED", Delta.FIXED: "FIXED"}
OTHER = "NEITHER BETTER NOR WORSE"


def render(comparison: Comparison, width: int = WIDTH) -> str:
    """Plain printable text, newline at its end."""
    sections = [
        wrap(_headline(comparison), width),
        *(_section(title, _of(comparison, title), comparison, width) for title in (*_TITLES.values(), OTHER)),
        [line for note in comparison.notes for line in wrap(note, width)],
        wrap(_sentence(comparison), width),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _of(comparison: Comparison, title: str) -> list[CaseDelta]:
    return [delta for delta in comparison.changed if _TITLES.get(delta.delta, OTHER) == title]


def _headline(comparison: Comparison) -> str:
    first, second = comparison.first.evidence.source, comparison.second.evidence.source
    counts = {title: len(_of(comparison, title)) for title in (*_TITLES.values(), OTHER)}
    said = [f"{number} {title.lower()}" for title, number in counts.items() if number or title != OTHER]
    said += [f"{len(comparison.deltas) - len(comparison.changed)} the same"]
    return f"from {first} to {second}: {', '.join(said)}"


def _section(title: str, deltas: Iterable[CaseDelta], comparison: Comparison, width: int) -> list[str]:
    """`REGRESSED with expand-fault on both topologies, PASS -> FAIL: 3 cases`, and their names."""
    groups: dict[str, list[CaseDelta]] = {}
    for delta in deltas:
        groups.setdefault(f"{delta.before} -> {delta.after}", []).append(delta)
    every = tuple(dict.fromkeys(topology for topology, _ in comparison.common))
    lines: list[str] = []
    for change, same in groups.items():
        for (kernel, where), group in words.by_places(same, every).items():
            cases = [(delta.scenario, delta.case) for delta in group]
            lines += text.cases(f"{title} with {kernel} {where}, {change}", cases, width, "")
    return lines


def _sentence(comparison: Comparison) -> str:
    number = len(comparison.changed)
    every = len(comparison.deltas)
    said = f"{number} of {every} outcomes differ" if number else f"all {every} outcomes are the same"
    return f"exit {comparison.exit_code}: {said} in the {words.count(len(comparison.common), 'cell')} of both runs"
