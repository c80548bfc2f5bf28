# SPDX-License-Identifier: GPL-2.0-or-later
"""The text report as a mail to a kernel list wants it: a subject, 72 columns, nothing but plain text."""

from __future__ import annotations

from lab.compare import Summary
from lab.report import _words as words
from lab.report import text

FILE = None
WIDTH = 72


def render(summary: Summary) -> str:
    """`Subject:` line, empty line, body."""
    subject = f"Subject: [pagelab] {words.headline(summary)}"
    if len(subject) > WIDTH:
        subject = f"{subject[: WIDTH - 3]}..."
    return f"{subject}\n\n{text.render(summary, WIDTH)}"
