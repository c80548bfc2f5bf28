# SPDX-License-Identifier: GPL-2.0-or-later
"""Make scenario programs of the programs of reports, each compiled once for each architecture.

The program of a report is images/suite/suite.c, which starts the reporter's program and prints how it ended and what
it printed; what that means is decided on the host. Beside it is NAME.d with the program and the list of its cases.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.arch.record import Arch
from lab.build import programs
from lab.build.programs import GuestTests
from lab.build.suites.built import Test
from lab.build.suites.prepare import ENTRY, LIST
from lab.core import paths
from lab.core.cache import Cache, digest
from lab.core.errors import LabError
from lab.core.outcome import HEALTHY, SHOWS, Case, CellKey
from lab.core.progress import Progress
from lab.specs.arches import ARCHES
from lab.specs.model import Kernel
from lab.specs.plan import Plan
from lab.specs.report import CANNOT_TELL, ReportPlan, Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """The reports of a campaign, as programs and cases."""

    cache: Cache
    reports: tuple[ReportPlan, ...]
    sides: Mapping[str, Mapping[CellKey, str]]
    """Report -> cell that runs it -> side."""
    arches: tuple[str, ...]

    @classmethod
    def of(cls, planned: Plan, cache: Cache) -> Reports:
        """Return the reports of a plan. Builds nothing."""
        sides: dict[str, dict[CellKey, str]] = {}
        for cell in planned.cells:
            for selection in cell.scenarios:
                [side] = selection.cases
                sides.setdefault(selection.scenario, {})[cell.key] = side
        reports = tuple(report for report in planned.reports if report.name in sides)
        return cls(cache=cache, reports=reports, sides=sides, arches=planned.arches)

    @property
    def cases(self) -> Mapping[str, tuple[Case, ...]]:
        """Report's name -> its cases: a case for each side that some cell is on."""
        return {report.name: report.cases(self.sides[report.name]) for report in self.reports}

    @property
    def keys(self) -> Mapping[str, Mapping[str, str] | None]:
        """Architecture -> report's name -> a key of its program; None where the compiler is missing."""
        return {name: self._keys(ARCHES[name]) for name in self.arches}

    def _keys(self, arch: Arch) -> Mapping[str, str] | None:
        keys: dict[str, str] = {}
        try:
            for report in self.reports:
                [key] = programs.keys_of(arch, [report.program]).values()
                keys[report.name] = digest(key, _list(report))
        except LabError:
            return None
        return keys

    @property
    def described(self) -> Mapping[str, object]:
        """What metadata.json has of them: `reports`, the words of each report."""
        described: dict[str, object] = {}
        for plan in self.reports:
            report = plan.report
            described[plan.name] = {
                "title": report.title,
                "links": list(report.links),
                "what_changed": report.what_changed or "",
            }
        return {"reports": described}

    def programs(self, arch: Arch, kernel: Kernel, progress: Progress) -> GuestTests:  # noqa: ARG002
        """Return the programs for guests of an architecture, each with its files beside it in NAME.d."""
        driver = programs.compile_one(arch, paths.images() / "suite" / "suite.c", self.cache)
        entries: dict[str, Path] = {}
        for report in self.reports:
            progress(f"report: {report.name}")
            parts = _ReportParts(
                report=report, driver=driver, program=programs.compile_one(arch, report.program, self.cache)
            )
            entries[report.name] = self.cache.entry(ENTRY, parts.key, parts.assemble)
        keys = [entry.name for entry in entries.values()]
        return GuestTests(programs={name: entry / name for name, entry in entries.items()}, key=digest(*keys))


def _list(plan: ReportPlan) -> str:
    """Return the list of the cases, as images/suite/suite.c reads it."""
    sides = {SHOWS: plan.report.shows, HEALTHY: plan.report.healthy}
    return "".join(_test(plan, name, side).line() for name, side in sides.items())


def _test(plan: ReportPlan, name: str, side: Side) -> Test:
    return Test(
        name=name,
        style="report",
        timeout_s=float(plan.report.timeout_s),
        directory=".",
        command=_needing(plan.report.needs_config) + shlex.join(["exec", f"./{plan.program.stem}", *side.arguments]),
    )


def _needing(symbols: tuple[str, ...]) -> str:
    """Return shell text that ends as a program does that cannot try, if the kernel lacks one of the symbols."""
    if not symbols:
        return ""
    cannot = CANNOT_TELL[0]
    return (
        f"for each in {' '.join(symbols)}; do zcat /proc/config.gz | grep -q ^CONFIG_$each=y || "
        f'{{ echo "the kernel has no CONFIG_$each"; exit {cannot}; }}; done; '
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _ReportParts:
    """What the program of a report is put together from."""

    report: ReportPlan
    driver: Path
    program: Path

    @property
    def key(self) -> str:
        return digest(ENTRY, self.report.name, self.program.parent.name, self.driver.parent.name, _list(self.report))

    def assemble(self, into: Path) -> None:
        """Put the program and the files beside it into a directory, as hard links to other cache entries."""
        beside = into / f"{self.report.name}.d"
        beside.mkdir()
        os.link(self.driver, into / self.report.name)
        os.link(self.program, beside / self.report.program.stem)
        (beside / LIST).write_text(_list(self.report))
