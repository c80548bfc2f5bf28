# SPDX-License-Identifier: GPL-2.0-or-later
"""The section on the reports that a run reproduces, in words that every format takes."""

from __future__ import annotations

from collections.abc import Sequence

from lab.core.outcome import CaseRecord
from lab.core.untrusted import one_line
from lab.report._layout import Role, heading, wrap
from lab.verdicts.compare import Summary
from lab.verdicts.reported import ReportResult


def title(summary: Summary) -> str:
    """Return how many of the reports are as reported."""
    reports = summary.reported
    as_reported = sum(report.as_reported for report in reports)
    return f"{as_reported} of {len(reports)} as reported"


def place(record: CaseRecord) -> str:
    """Return where a report was run, and what became of it there."""
    return f"{record.topology} with {record.kernel}: {record.verdict}: {record.reason}"


def facts(report: ReportResult) -> list[str]:
    """Return the lines on a report, its links first: what changed, and what became of it in each cell."""
    lines = [one_line(link, 400) for link in report.report.links]
    if report.report.what_changed:
        lines.append(f"changed: {one_line(report.report.what_changed, 400)}")
    return [*lines, *map(place, report.results)]


def lines(summary: Summary, width: int) -> list[str]:
    """Return the section as text; nothing if no report was run."""
    reports = summary.reported
    if not reports:
        return []
    found = heading(f"REPORTS: {title(summary)}", width, _role(reports))
    for report in reports:
        found += wrap(f"{report.name}, {report.state}: {one_line(report.report.title, 400)}", width, "  ")
        for fact in facts(report):
            found += wrap(fact, width, "    ")
    return found


def _role(reports: Sequence[ReportResult]) -> Role:
    if any(report.unmet for report in reports):
        return Role.BAD
    if any(report.missing_sides for report in reports):
        return Role.NO_VERDICT
    return Role.GOOD
