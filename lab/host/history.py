# SPDX-License-Identifier: GPL-2.0-or-later
"""Read and write how much time, memory and CPU machines and scenarios took on this host: a file in the cache.

    history.json  {"schema": 1, "machines": {"x86_64-4k": {"boot_s", "peak", "cpus", "case_s": {scenario: s}, "seen"}},
                   "cases": {scenario: [name, ...]}}

A machine whose kernel has more config fragments has an entry of its own, `x86_64-4k+kasan`. A damaged file counts as
missing. The size is bounded: the machines that ran last stay.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lab.core.cache import Cache, write_atomic
from lab.core.outcome import CellResult, CellStatus, End, Usage
from lab.evidence.metadata import Evidence
from lab.formats import ktap
from lab.specs.model import Kernel, Topology
from lab.specs.plan import Cell, Selection

FILE = "history.json"
MAX_BYTES = 4 << 20
MAX_MACHINES = 500
MAX_SCENARIOS = 100
MAX_CASES = 500
NEWER = 0.5
"""Weight of the newest measurement against all before it."""
DEFAULT_BOOT_S = 6.0
DEFAULT_CASE_S = 0.2
DEFAULT_CASES = 12
"""The number of cases assumed for a scenario that this host never ran; typical of emulated guests on two cores."""

Seconds = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


class _HistoryModel(BaseModel):
    model_config = ConfigDict(extra="ignore")


class Measured(_HistoryModel):
    """The use of guests of one machine. `peak`: the emulator's most memory, bytes; `cpus`: host CPUs that it needed."""

    boot_s: Seconds = DEFAULT_BOOT_S
    peak: Annotated[int, Field(ge=0)] = 0
    cpus: Annotated[float, Field(ge=0, le=1024, allow_inf_nan=False)] = 0.0
    case_s: Annotated[dict[str, Seconds], Field(max_length=MAX_SCENARIOS)] = {}
    """Scenario -> seconds per case."""
    seen: float = 0.0
    """The time of the last run, in seconds since the epoch."""


class _File(_HistoryModel):
    schema_: Literal[1] = Field(default=1, alias="schema")
    machines: dict[str, Measured] = {}
    cases: dict[str, list[str]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Measurements of earlier runs."""

    machines: Mapping[str, Measured] = field(default_factory=dict)
    cases: Mapping[str, Collection[str]] = field(default_factory=dict)

    def machine(self, cell: Cell) -> Measured | None:
        """Return what guests of a cell's machine took; None if there was none."""
        return self.machines.get(key(cell.topology, cell.kernel))

    def seconds(self, cell: Cell) -> float:
        """Return the expected seconds of a cell."""
        measured = self.machine(cell) or Measured()
        seconds = measured.boot_s
        for selection in cell.scenarios:
            seconds += measured.case_s.get(selection.scenario, DEFAULT_CASE_S) * self._count(selection)
        return seconds

    def _count(self, selection: Selection) -> int:
        """Return how many cases a selection has; a default if its scenario never ran."""
        names = self.cases.get(selection.scenario)
        if names is None:
            return DEFAULT_CASES
        return sum(any(fnmatchcase(name, glob) for glob in selection.cases or ("*",)) for name in names)


def key(topology: Topology, kernel: Kernel) -> str:
    """Return the name of a machine in the history."""
    return "+".join((topology.name, *kernel.config))


def load(cache: Cache) -> History:
    """Return the history in the cache; an empty one if there is none."""
    file = _read(cache)
    return History(machines=file.machines, cases=file.cases)


def record(cache: Cache, evidence: Evidence) -> None:
    """Add the measurements of a run, except those of guests of earlier runs. Two labs may do so at once."""
    measured = []
    for cell in evidence.cells:
        if cell.status is CellStatus.OK and cell.boot_s is not None and cell.origin is None:
            measured.append(cell)
    if not measured:
        return
    with cache.lock("history"):
        kept = _read(cache)
        for cell in measured:
            name = "+".join((cell.topology, *_config(evidence, cell.kernel)))
            kept.machines[name] = _updated(kept.machines.get(name), cell)
        for scenario, declared in evidence.metadata.cases.items():
            names = (*kept.cases.get(scenario, ()), *(case.name for case in declared))
            kept.cases[scenario] = list(dict.fromkeys(names))[-MAX_CASES:]
        kept.machines = dict(sorted(kept.machines.items(), key=lambda item: item[1].seen)[-MAX_MACHINES:])
        kept.cases = dict(list(kept.cases.items())[-MAX_SCENARIOS:])
        write_atomic(cache.root / FILE, kept.model_dump_json(by_alias=True).encode())


def _read(cache: Cache) -> _File:
    path = cache.root / FILE
    try:
        if path.stat().st_size <= MAX_BYTES:
            return _File.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        pass
    return _File()


def _config(evidence: Evidence, kernel: str) -> list[str]:
    return list(evidence.metadata.kernel(kernel).config)


def _updated(before: Measured | None, cell: CellResult) -> Measured:
    case_s = dict(before.case_s) if before else {}
    wanted = before.cpus or None if before else None
    for run in cell.runs:
        if run.end is End.EXITED and (count := len(ktap.parse(run.ktap).results)):
            case_s[run.scenario] = _mixed(case_s.get(run.scenario), run.duration_s / count)
    return Measured(
        boot_s=_mixed(before.boot_s if before else None, cell.boot_s or 0.0),
        peak=max(before.peak if before else 0, cell.usage.peak if cell.usage else 0),
        cpus=_mixed(wanted, cell.usage.cpus) if cell.usage and _had_idle_time(cell.usage) else wanted or 0.0,
        case_s=dict(list(case_s.items())[-MAX_SCENARIOS:]),
        seen=time.time(),
    )


def _had_idle_time(usage: Usage) -> bool:
    """Return whether the host had idle CPU time: if threads wait longer than they run, their need is unknown."""
    return usage.wait_s <= usage.cpu_s


def _mixed(before: float | None, now: float) -> float:
    return round(now if before is None else before + NEWER * (now - before), 4)
