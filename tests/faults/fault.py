# SPDX-License-Identifier: GPL-2.0-or-later
"""What a fault is: something injected, and what must come of it."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

from lab.core.errors import LabError
from tests.faults.place import Done, FaultDirectory, NotInjected, place

MEGABYTE = 1 << 20
REPORTS = ("report.txt", "report.html", "results.json", "junit.xml")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufffe\uffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Expect:
    """What must come of a fault. A cell's status and outcomes may be alternatives, `HANG|CRASH`."""

    status: int
    """The lab's exit status; -N: ended by signal N."""
    cell: str = ""
    """Status of the campaign's one cell; empty where there is none."""
    cases: Mapping[str, str] = field(default_factory=dict)
    """`scenario.case` -> outcome in the report."""
    says: str = ""
    """A pattern that the error message, or the report, must match."""
    memory: int = 160
    """MiB that the lab itself may take at most."""
    disk: int = 8
    """MiB that the results may take at most."""

    def __str__(self) -> str:
        outcomes = (f"{label} {outcome}" for label, outcome in self.cases.items())
        said = f"'{self.says}'" if self.says else ""
        return ", ".join(filter(None, (f"exit {self.status}", self.cell, *outcomes, said)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One row of the table."""

    name: str
    what: str
    inject: Callable[[FaultDirectory], Done]
    """Injects the fault; the last lab that it ran is the one that counts."""
    expect: Expect
    quick: bool = False
    """Whether it takes but seconds and so is part of CI."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultResult:
    """What came of a fault."""

    fault: Fault
    got: str
    wrong: tuple[str, ...]
    lost: tuple[str, ...]
    orphans: tuple[str, ...]
    memory: int
    disk: int

    @property
    def good(self) -> bool:
        return not (self.wrong or self.lost or self.orphans)


def run(fault: Fault) -> FaultResult:
    """Inject a fault at a place of its own, and compare."""
    with place() as here:
        wrong: list[str] = []
        try:
            done = fault.inject(here)
        except (NotInjected, subprocess.TimeoutExpired) as error:
            done = Done(status=-999, stdout="", stderr="")
            wrong.append(str(error))
        orphans = here.left_behind()
        seen = _Seen(here, done, read=bool(fault.expect.cell))
        wrong += seen.differences(fault.expect) + seen.dirt()
        return FaultResult(
            fault=fault,
            got=seen.words(fault.expect),
            wrong=tuple(wrong),
            lost=tuple(seen.lost()),
            orphans=tuple(orphans),
            memory=here.peak_rss,
            disk=here.peak_disk,
        )


class _Seen:
    """What is to be seen of a fault afterwards: exit status, messages, reports."""

    def __init__(self, here: FaultDirectory, done: Done, *, read: bool) -> None:
        self.here = here
        self.done = done
        self.unreadable = ""
        self.cell = ""
        self.outcomes: dict[str, str] = {}
        self.reasons: dict[str, str] = {}
        if read:
            self._read()

    def _read(self) -> None:
        try:
            summary = self.here.verdicts()
        except LabError as error:
            self.unreadable = str(error)
            return
        self.cell = " ".join(cell.status.value for cell in summary.evidence.cells)
        self.outcomes = {record.label: record.outcome.value for record in summary.records}
        self.reasons = {record.label: record.reason for record in summary.records}
        self.reasons |= {cell.topology: cell.reason for cell in summary.evidence.cells}
        self.reasons |= {f"{cell.topology}!": "; ".join(map(str, cell.mismatches)) for cell in summary.evidence.cells}

    def differences(self, expect: Expect) -> list[str]:
        """In what it is not as expected."""
        found = []
        if self.done.status != expect.status:
            found.append(f"exit {self.done.status}: {self.done.stderr[-300:].strip()}")
        if self.cell not in expect.cell.split("|"):
            found.append(f"cell {self.cell or self.unreadable or 'none'}")
        for label, outcome in expect.cases.items():
            if self.outcomes.get(label, "no record") not in outcome.split("|"):
                found.append(f"{label} {self.outcomes.get(label, 'has no record')}: {self.reasons.get(label, '')}")
        if expect.says and not re.search(expect.says, self._everything()):
            found.append(f"does not say {expect.says!r} but {self._everything()[-600:]!r}")
        if self.here.peak_rss > expect.memory * MEGABYTE:
            found.append(f"took {self.here.peak_rss >> 20} MiB of memory")
        if self.here.peak_disk > expect.disk * MEGABYTE:
            found.append(f"took {self.here.peak_disk >> 20} MiB of disk")
        return found

    def words(self, expect: Expect) -> str:
        """What came, in the words of the expectation."""
        outcomes = (f"{label} {self.outcomes.get(label, 'none')}" for label in expect.cases)
        found = re.search(expect.says, self._everything()) if expect.says else None
        said = f"'{found[0]}'" if found else ""
        return ", ".join(filter(None, (f"exit {self.done.status}", self.cell, *outcomes, said)))

    def _everything(self) -> str:
        return "\n".join([*self.reasons.values(), self.done.stdout, self.done.stderr, self.unreadable])

    def lost(self) -> list[str]:
        """Verdicts that stood when the fault came and do not stand now."""
        return [
            f"{label} {outcome}"
            for label, outcome in self.here.finished.items()
            if self.outcomes.get(label) != outcome.value
        ]

    def dirt(self) -> list[str]:
        """What must never be: a traceback, control characters on the terminal or in a report, broken XML or JSON."""
        said = "".join(each.stdout + each.stderr for each in self.here.said)
        found = ["a traceback: " + said[said.index("Traceback") :][-800:]] if "Traceback" in said else []
        found += ["control characters on the terminal"] if _CONTROL.search(said) else []
        for name in REPORTS:
            path = self.here.output / name
            if path.exists():
                found += [f"{name}: {trouble}" for trouble in _trouble(path)]
        return found


def _trouble(path: Path) -> list[str]:
    text = path.read_bytes().decode("utf-8")
    found = ["control characters"] if _CONTROL.search(text) else []
    if path.suffix == ".html" and re.search(r"<script>alert", text):
        found.append("a guest's markup")
    if path.suffix == ".xml":
        ET.fromstring(text)
    if path.suffix == ".json":
        json.loads(text)
    return found
