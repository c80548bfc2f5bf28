# SPDX-License-Identifier: GPL-2.0-or-later
"""The text report for a terminal: the same words, with its headings in colour."""

from __future__ import annotations

from rich.text import Text

from lab.report import text
from lab.report._layout import Heading, Role
from lab.verdicts.compare import Summary

STYLES = {Role.GOOD: "bold green", Role.BAD: "bold red", Role.NO_VERDICT: "bold yellow"}


def render(summary: Summary, width: int) -> Text:
    """Return the brief report, at most `width` columns wide."""
    painted = Text()
    for line in text.lines(summary, min(width, text.WIDTH), brief=True):
        if isinstance(line, Heading):
            painted.append(line, STYLES[line.role])
        else:
            painted.append(line)
        painted.append("\n")
    return painted
