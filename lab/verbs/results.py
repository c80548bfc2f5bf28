# SPDX-License-Identifier: GPL-2.0-or-later
"""Verbs for what runs left behind; they start no guest unless they say so."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("directory", type=click.Path(path_type=Path), default=Path("results/latest"))
@click.option("--format", "form", default="text", help="text, html, json, junit or mail [text].")
def report(directory: Path, form: str) -> int:
    """Derive the verdicts of a run again from its evidence and print them; starts no guest.

    \b
    lab report
    lab report results/latest --format json
    """
    from lab import evidence
    from lab import report as reports
    from lab.compare import conclude

    summary = conclude(evidence.load(directory))
    print(reports.render(summary, form), end="")
    return summary.exit_code


@click.command()
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
def compare(first: Path, second: Path) -> int:
    """What two runs found differently, case by case; starts no guest.

    Exit status: 0 nothing, 1 something, 64 they cannot be compared.

    \b
    lab compare results/20260102T030405Z-quick results/latest
    """
    from lab import evidence, versus
    from lab import report as reports
    from lab.compare import conclude

    compared = versus.compare(*(conclude(evidence.load(directory)) for directory in (first, second)))
    print(reports.versus(compared), end="")
    return compared.exit_code
