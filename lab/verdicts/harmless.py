# SPDX-License-Identifier: GPL-2.0-or-later
"""Complaints that a kernel's YAML lists as known and harmless (`console_known`): reported, and judged as nothing.

Only complaints that a kernel survives can be known: a panic or a reboot ends a run, whatever its title.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase, translate

from lab.core.outcome import BOOT_ATTEMPTS, CellResult
from lab.evidence.metadata import KnownLineRecord
from lab.formats import oops


@dataclass(frozen=True, slots=True, kw_only=True)
class HarmlessComplaint:
    """A complaint that was left out of a cell's judgement, how often it came, and why it counts as nothing."""

    topology: str
    kernel: str
    scenario: str
    title: str
    count: int
    reason: str


def reason_of(report: oops.Finding, known: Sequence[KnownLineRecord]) -> str | None:
    """Return why a complaint is harmless: the reason of the first glob that its title matches; None if none does."""
    if report.kind.deadly:
        return None
    return next((harmless.reason for harmless in known if re.match(translate(harmless.line), report.title)), None)


def of_release(known: Iterable[KnownLineRecord], release: str) -> tuple[KnownLineRecord, ...]:
    """Return the complaints that a kernel of this release may make; `release` is empty where it is not known."""
    return tuple(harmless for harmless in known if fnmatchcase(release, harmless.release))


def complaints(cell: CellResult, known: Sequence[KnownLineRecord]) -> Iterable[HarmlessComplaint]:
    """Return the harmless complaints on the consoles of a cell's runs, each title of a scenario once."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for run in cell.runs if known else ():
        for report in (*oops.scan(run.boot_console, boots=BOOT_ATTEMPTS), *oops.scan(run.console)):
            if (reason := reason_of(report, known)) is not None:
                counts[run.scenario, report.title, reason] += report.count
    for (scenario, title, reason), count in counts.items():
        yield HarmlessComplaint(
            topology=cell.topology, kernel=cell.kernel, scenario=scenario, title=title, count=count, reason=reason
        )
