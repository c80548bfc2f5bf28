# SPDX-License-Identifier: GPL-2.0-or-later
"""`make bench ARGS=report`: plan and report of a campaign of 10,000 cells with 100 cases each.

Each is a process of its own, measured whole.

The campaign has 5,000 machines, two kernels, four scenarios of 25 cases. Its evidence lies on disk as a run leaves it
(journal, KTAP and console of every cell, no two alike), written beforehand and in the page cache. What is measured is
the plan, of machines and kernels that are in memory; `lab report`: interpreter and imports, reading and checking all
evidence, the verdicts, the text; and, apart, `lab report --format json`.
"""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest import mock

from lab.core.outcome import CellStatus, End, Run, Usage
from lab.evidence.metadata import Metadata
from lab.evidence.write import RunDir
from lab.specs.arches import ARCHES
from lab.specs.model import CampaignSpec, Kernel, Topology
from lab.specs.plan import Plan, Selection, plan

ROOT = Path(__file__).parents[2]
MACHINES, SCENARIOS, CASES = 5_000, 4, 25
KERNELS = ("baseline", "expand-fault")
FEATURE = "shm-expand"
BOOKS = (
    *("Committed_AS", "Shmem", "AnonPages", "MemFree", "SReclaimable", "SUnreclaim", "per_cpu_pages"),
    *("free.2048kB", "resv.2048kB", "node0.free.2048kB", "node1.free.2048kB", "tainted", "page_kB", "cpus"),
)
# A process tells its peak itself: what wait4 has also counts what its parent had when it forked.
MEASURED = """
import atexit, re, runpy, sys
status = lambda: open("/proc/self/status").read()
atexit.register(lambda: sys.stderr.write(re.search(r"VmHWM:\\s+(\\d+)", status())[1]))
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
Row = tuple[str, ...]


def many_cells(machines: int = MACHINES) -> Iterator[Row]:
    """A row for the plan and for each report: seconds of the whole process, and the most memory it had."""
    what = f"{machines * len(KERNELS):,} cells of {SCENARIOS * CASES} cases"
    with tempfile.TemporaryDirectory(prefix="pagelab-bench-") as place:
        write(Path(place), machines)
        for name, command in {
            "plan": ("tests.benchmarks.synthetic", str(machines)),
            "lab report": ("lab", "report", place),
            "lab report --format json": ("lab", "report", place, "--format", "json"),
        }.items():
            cpu_before = cpu_of_children()
            seconds, peak_kb = spent(command)
            yield what, name, f"{seconds:.2f} s", "", "", f"{peak_kb >> 10} MB"
            yield what, "of it: CPU time", f"{cpu_of_children() - cpu_before:.2f} s", "", "", ""


def cpu_of_children() -> float:
    """CPU seconds of all processes that have ended below this one, which other work on the host does not add to."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def spent(command: Sequence[str]) -> tuple[float, int]:
    """Seconds of a whole process, `python -m COMMAND`, and the most memory it had (kB)."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *command],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1, 2) or not done.stderr.isdecimal():
        raise SystemExit(f"{' '.join(command)} failed with status {done.returncode}: {done.stderr[-400:]}")
    return time.monotonic() - started, int(done.stderr)


# The campaign.


def planned(machines: int) -> Plan:
    """Machines of every architecture and page size, each with two kernels."""
    kinds = [(arch.name, size) for arch in ARCHES.values() for size in arch.page_sizes]
    topologies = [
        Topology.model_validate({"name": f"machine-{number}", "arch": arch, "page_size": size, "memory": 512 << 20})
        for number in range(machines)
        for arch, size in [kinds[number % len(kinds)]]
    ]
    baseline, patched = KERNELS
    kernels = [
        Kernel(name=baseline, source="debian:linux-source-6.12"),
        Kernel(name=patched, source="debian:linux-source-6.12", series=patched, provides=frozenset({FEATURE})),
    ]
    spec = CampaignSpec(name="synthetic", topologies=("*",), kernels=("*",))
    return plan(spec, topologies, kernels, [Selection(scenario=f"scenario{number}") for number in range(SCENARIOS)])


def write(directory: Path, machines: int) -> None:
    """Put the evidence of a finished run there, by the lab's own writer; only nothing waits for the disk."""
    dice = random.Random(1)
    cells = [(f"machine-{number}", kernel) for number in range(machines) for kernel in KERNELS]
    with mock.patch("os.fsync"):
        run = RunDir.create(directory, "synthetic", metadata(cells), output=directory)
        for topology, kernel in cells:
            write_cell(run, topology, kernel, dice)


def metadata(cells: Sequence[tuple[str, str]]) -> Metadata:
    """metadata.json of the run; a fifth of the cases needs what the second kernel has."""
    build = {"source": "debian:linux-source-6.12 6.12.95-1", "compiler": "gcc 12.2.0", "release": "6.12.95"}
    case = [{"name": f"case_{number}", "requires": [] if number % 5 else [FEATURE]} for number in range(CASES)]
    document = {
        "schema": 1,
        "pagelab": "0.1.0",
        "campaign": {"name": "synthetic"},
        "kernels": {
            kernel: {"source": build["source"], "series": kernel if number else None, "provides": [FEATURE][:number]}
            for number, kernel in enumerate(KERNELS)
        },
        "cells": [{"topology": topology, "kernel": kernel} for topology, kernel in cells],
        "cases": {f"scenario{number}": case for number in range(SCENARIOS)},
        "builds": {
            "/".join(cell): {**build, "config_sha256": cell[0], "series_sha256": cell[1], "build_id": "/".join(cell)}
            for cell in cells
        },
    }
    return Metadata.model_validate(document)


def write_cell(run: RunDir, topology: str, kernel: str, dice: random.Random) -> None:
    """One guest: a boot of 10 kB on the console, a restored guest and a line or two there for every scenario."""
    place = run.cell(topology, kernel)
    said = "".join(f"[{n / 100:12.6f}] {dice.getrandbits(64):016x} an ordinary line of a boot\n" for n in range(180))
    place.console.write_text(said)
    place.boot(accelerator="tcg", boot_s=round(dice.uniform(1, 9), 3), login_s=0.2)
    place.finish(CellStatus.OK)
    for number in range(SCENARIOS):
        start = place.console_size()
        with place.console.open("a") as console:
            console.write(f"[{number + 2:5d}.{dice.randrange(10**6):06d}] random: crng init done\n")
        before = {name: dice.randrange(10**6) for name in BOOKS}
        ktap = stream(kernel, dice)
        run_of = Run(
            scenario=f"scenario{number}",
            end=End.EXITED,
            status=int("not ok" in ktap),
            duration_s=round(dice.uniform(1, 9), 3),
            ktap=ktap,
            before=before,
            after=before | {"SUnreclaim": before["SUnreclaim"] + dice.randrange(99)},
        )
        place.run(run_of, console_from=start)
        place.usage(Usage(peak=dice.randrange(1 << 30), cpu_s=dice.uniform(1, 9), wait_s=1.0, life_s=9.0))


def stream(kernel: str, dice: random.Random) -> str:
    """What a scenario says: a duration for each case, a reason for each that fails, now and then a skip or a defect.

    The lines are in the order in which lab.h prints them.
    """
    lines = ["KTAP version 1", f"1..{CASES}"]
    for number in range(CASES):
        duration = f"# duration_ms={dice.randrange(1, 5000)}"
        must_fail, chance = kernel == KERNELS[0] and number % 5 == 0, dice.random()
        if must_fail or chance < 0.0001:
            lines.append(f"# scenario.c:{dice.randrange(999)}: touch: expected 0, got SIGBUS BUS_ADRERR")
            lines += [duration, f"not ok {number + 1} case_{number}"]
        else:
            skip = " # SKIP needs 2 nodes, has 1" if chance > 0.99 else ""
            lines += [duration, f"ok {number + 1} case_{number}{skip}"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(len(planned(int(sys.argv[1])).cells))
