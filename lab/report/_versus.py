# SPDX-License-Identifier: GPL-2.0-or-later
"""Two runs against each other as text, in the words of report.txt: what became worse, better, or other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lab.core.outcome import Delta
from lab.report import _words as words
from lab.report import text
from lab.report._layout import WIDTH, wrap
from lab.verdicts.compare import CaseDelta
from lab.verdicts.two_runs import Comparison

_TITLES = {Delta.REGRESSED: "REGRESSED", Delta.FIXED: "FIXED"}
OTHER = "NEITHER BETTER NOR WORSE"


def render(comparison: Comparison, width: int = WIDTH) -> str:
    """Return plain printable text, with a newline at its end."""
    by_title = _by_title(comparison)
    sections = [wrap(_headline(comparison, by_title), width)]
    for title, deltas in by_title.items():
        sections.append(_section(title, deltas, comparison, width))
    notes: list[str] = []
    for note in comparison.notes:
        notes += wrap(note, width)
    sections += [notes, wrap(_sentence(comparison), width)]
    return words.joined_sections(sections)


def _by_title(comparison: Comparison) -> dict[str, list[CaseDelta]]:
    """Return the title of each section -> the cases that differ in that way."""
    found: dict[str, list[CaseDelta]] = {title: [] for title in (*_TITLES.values(), OTHER)}
    for delta in comparison.changed:
        found[_TITLES.get(delta.delta, OTHER)].append(delta)
    return found


def _headline(comparison: Comparison, by_title: Mapping[str, Sequence[CaseDelta]]) -> str:
    first, second = comparison.first.evidence.source, comparison.second.evidence.source
    counts: list[str] = []
    for title, deltas in by_title.items():
        if deltas or title != OTHER:
            counts.append(f"{len(deltas)} {title.lower()}")
    counts.append(f"{len(comparison.deltas) - len(comparison.changed)} the same")
    return f"from {first} to {second}: {', '.join(counts)}"


def _section(title: str, deltas: Iterable[CaseDelta], comparison: Comparison, width: int) -> list[str]:
    """Return `REGRESSED with expand-fault on both topologies, PASS -> FAIL: 3 cases`, and their names."""
    groups: dict[str, list[CaseDelta]] = {}
    for delta in deltas:
        groups.setdefault(f"{delta.before} -> {delta.after}", []).append(delta)
    every = tuple(dict.fromkeys(topology for topology, _ in comparison.common))
    lines: list[str] = []
    for change, same in groups.items():
        for (kernel, where), group in words.by_places(same, every).items():
            cases = list(words.labels(group))
            lines += text.cases(f"{title} with {kernel} {where}, {change}", cases, width, "")
    return lines


def _sentence(comparison: Comparison) -> str:
    number = len(comparison.changed)
    every = len(comparison.deltas)
    result = f"{number} of {every} outcomes differ" if number else f"all {every} outcomes are the same"
    return f"exit {comparison.exit_code}: {result} in the {words.count(len(comparison.common), 'cell')} of both runs"
