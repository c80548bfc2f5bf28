# SPDX-License-Identifier: GPL-2.0-or-later
"""`make bench ARGS="efficiency case campaign"` and `ARGS="repeats N"`: whole campaigns, with their kernels built.

What guests take is what the host's kernel counted for their emulators, as the run's journals have it. The lab's own CPU
time is that of its process, to which emulators do not belong; all it does is in it, from the interpreter's start to the
reports.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.core.outcome import CellStatus, Outcome
from lab.verdicts.compare import Summary, conclude_directory

ROOT = Path(__file__).parents[2]
LAB = [sys.executable, "-m", "lab"]
CORES = os.cpu_count() or 1
MACHINES = ("x86_64-4k-2node", "arm64-64k-2node")
KERNELS = ("baseline", "expand-fault")
REPEATS = 200
FRESH = """\
description: every scenario on two machines and two kernels, a fresh guest for each
topologies: [{machines}]
kernels: [{kernels}]
scenarios: ["*"]
isolation: fresh
"""
Row = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A finished campaign: seconds on the clock, CPU seconds of the lab and of the emulators, and what it came to."""

    wall_s: float
    lab_s: float
    guests_s: float
    summary: Summary

    @property
    def share(self) -> float:
        """The part of the host that guests had, of 1."""
        return self.guests_s / (self.wall_s * CORES)


def run(campaign: str, *narrowed: str, options: Sequence[str] = ()) -> Ran:
    """Build what a campaign needs, as narrowed, run it, and read what it left."""
    subprocess.run([*LAB, "build", campaign, *narrowed], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory(prefix="pagelab-bench-") as place:
        started = time.monotonic()
        process = subprocess.Popen(
            [*LAB, "run", campaign, *narrowed, *options, "-o", f"{place}/run"], cwd=ROOT, stdout=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in (0, 1, 2):
            raise SystemExit(f"lab run {campaign} failed with status {process.returncode}")
        summary = conclude_directory(Path(place, "run"))
    guests_s = sum(cell.usage.cpu_s for cell in summary.evidence.cells if cell.usage)
    return Ran(wall_s=wall_s, lab_s=usage.ru_utime + usage.ru_stime, guests_s=guests_s, summary=summary)


def efficiency() -> list[Row]:
    """How much of the host the guests of `pagesizes` have, from the command's start to its end."""
    return rows_of("pagesizes", run("pagesizes"))


def campaign() -> list[Row]:
    """Two machines, two kernels, all scenarios, a fresh guest for each."""
    with tempfile.TemporaryDirectory(prefix="pagelab-bench-") as place:
        fresh = Path(place, "fresh.yaml")
        fresh.write_text(FRESH.format(machines=", ".join(MACHINES), kernels=", ".join(KERNELS)))
        return rows_of("2 x 2, fresh", run(str(fresh)))


def rows_of(name: str, ran: Ran) -> list[Row]:
    """SystemExit where a guest was not OK, or nobody counted its CPU time: the sums would be too small."""
    cells = ran.summary.evidence.cells
    if bad := [cell.name for cell in cells if cell.status is not CellStatus.OK or cell.usage is None]:
        raise SystemExit(f"{name}: no guest, or no count of its CPU time: {', '.join(bad)}")
    records = f"{len(cells)} cells, {len(ran.summary.records)} records"
    return [
        (name, f"wall time; {records}", f"{ran.wall_s:.1f} s", "", "", ""),
        (name, f"guests' CPU time, of {CORES} cores", f"{ran.guests_s:.1f} s", "", "", f"{ran.share:.2f}"),
        (name, "lab's own CPU time", f"{ran.lab_s:.1f} s", "", "", f"{ran.lab_s / (ran.wall_s * CORES):.3f}"),
        own_cpu(name, ran),
    ]


def case() -> list[Row]:
    """The lab's own CPU time for each case of `quick`."""
    return [own_cpu("quick", run("quick"))]


def own_cpu(name: str, ran: Ran) -> Row:
    spent = ran.lab_s / len(ran.summary.records)
    return name, "lab's own CPU time for a case", f"{spent * 1000:.1f} ms", "", "", ""


def repeats(args: Sequence[str]) -> list[Row]:
    """`repeats [N [CAMPAIGN [MACHINE]]]`: two cells N times over (200), and how many of their verdicts are not what the
    others are."""
    defaults = (str(REPEATS), "quick", MACHINES[0])
    times, campaign, machine = (*args, *defaults[len(args) :])[: len(defaults)]
    if len(args) > len(defaults) or not times.isdecimal():
        raise SystemExit(f"repeats [N [CAMPAIGN [MACHINE]]]: got {' '.join(args)}")
    ran = run(campaign, "--topology", machine, options=("--repeat", times))
    counts = [[number for _, number in record.counts] for record in ran.summary.records]
    verdicts = sum(map(sum, counts))
    differ = verdicts - sum(max(each, default=0) for each in counts)
    name = f"{campaign}, {machine}, 2 cells x {times}"
    return [
        (name, "wall time", f"{ran.wall_s:.0f} s", "", "", ""),
        (name, f"verdicts that differ, of {verdicts}", str(differ), "", "", ""),
        (name, f"{Outcome.FLAKY} records, of {len(counts)}", str(len(ran.summary.flaky)), "", "", ""),
        (name, "records without evidence", str(len(ran.summary.broken)), "", "", ""),
    ]
