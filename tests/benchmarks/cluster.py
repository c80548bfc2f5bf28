# SPDX-License-Identifier: GPL-2.0-or-later
"""The cluster's numbers: the pure schedule with hosts that fail, and cells that only sleep on workers of this computer.

`make bench ARGS=cluster` prints the simulation, `make bench ARGS='cluster live [CELLS [SECONDS]]'` both.
"""

from __future__ import annotations

import heapq
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lab.cluster import certificates, engine
from lab.core.deadline import Deadline
from lab.core.outcome import CellStatus
from lab.evidence import read
from lab.evidence.write import RunDir
from lab.host.schedule import Budget, Demand, Schedule, Task
from lab.run import campaign
from tests.cluster_fakes import GUESTS, machines, run_cells
from tests.unit.fakes import CASES

ROOT = Path(__file__).parents[2]
CELLS, HOSTS = 10_000, 100
SLOTS = 8
"""CPUs of a simulated host; every guest takes one."""
FAILURES = 20
BACK_S = 600.0
"""How long a host that failed is away."""
WORKERS = 8
LIVE_CELLS, LIVE_S = 1000, 3.0


def cluster(words: Sequence[str]) -> None:
    """Print what is asked for."""
    for failures in (0, FAILURES):
        print(Simulation(seed=1, failures=failures).run())
    if words and words[0] == "live":
        given = [float(word) for word in words[1:]]
        cells, seconds = (*given, LIVE_CELLS, LIVE_S)[:2] if len(given) != 1 else (given[0], LIVE_S)
        print(live(int(cells), seconds))


@dataclass(slots=True, kw_only=True)
class Simulation:
    """CELLS cells of 10 to 120 s on HOSTS hosts, of which some fail and come back, by the pure schedule."""

    seed: int
    failures: int
    now: float = 0.0
    over: float = 0.0
    """When the last cell ended."""
    lost: int = 0
    done: set[str] = field(default_factory=set)
    ends: list[tuple[float, int, str, str]] = field(default_factory=list)
    """Time, order, what happens (`end`, `fail`, `back`), and to which task or host."""
    started: dict[str, tuple[float, Task]] = field(default_factory=dict)
    schedule: Schedule = field(default_factory=Schedule)
    order: int = 0

    def run(self) -> str:
        """Simulate, check that every cell ended once, and return a line."""
        chance = random.Random(self.seed)
        budget = Budget(memory=64 << 30, cpus=float(SLOTS), guests=SLOTS)
        began = time.process_time()
        for number in range(HOSTS):
            self.schedule.join(f"h{number}", budget, ["start x", "start y"] if number % 2 else ["start x"])
        work = 0.0
        for number in range(CELLS):
            seconds = chance.uniform(10, 120)
            work += seconds
            needs = frozenset({"start y" if number % 5 == 0 else "start x"})
            demand = Demand(memory=(1 + number % 4) << 30, cpus=1.0)
            self.schedule.add(Task(name=str(number), demand=demand, seconds=seconds, needs=needs))
        for _ in range(self.failures):
            self._at(chance.uniform(0, work / HOSTS / SLOTS), "fail", f"h{chance.randrange(HOSTS)}")
        self._start()
        while self.ends:
            self.now, _, what, name = heapq.heappop(self.ends)
            getattr(self, f"_{what}")(name)
            self._start()
        cpu_s = time.process_time() - began
        assert self.done == {str(number) for number in range(CELLS)}, "a cell was lost"
        bound = work / HOSTS / SLOTS + 120
        return (
            f"{CELLS} cells on {HOSTS} hosts, {self.failures} failures: makespan {self.over:.0f} s, "
            f"bound of longest-first {bound:.0f} s, efficiency {work / (self.over * HOSTS * SLOTS):.3f}, "
            f"{self.lost} attempts lost, 0 cells lost or twice; {cpu_s / CELLS * 1000:.2f} ms of CPU for a cell"
        )

    def _at(self, when: float, what: str, name: str) -> None:
        self.order += 1
        heapq.heappush(self.ends, (when, self.order, what, name))

    def _start(self) -> None:
        for task in self.schedule.start():
            self.started[task.name] = (self.now, task)
            self._at(self.now + task.seconds, "end", task.name)

    def _end(self, name: str) -> None:
        began, task = self.started.get(name, (-1.0, None))
        if task is None or abs(began + task.seconds - self.now) > 1e-6:
            return  # of an attempt that was lost
        assert name not in self.done, "a cell ended twice"
        self.done.add(name)
        self.over = self.now
        del self.started[name]
        self.schedule.done(name)

    def _fail(self, host: str) -> None:
        names = self.schedule.running_on(host)
        self.schedule.leave(host)
        for name in names:
            _, task = self.started.pop(name)
            self.schedule.done(name)
            self.schedule.add(replace(task, host="", avoids=task.avoids | {host}))
            self.lost += 1
        self._at(self.now + BACK_S, "back", host)

    def _back(self, host: str) -> None:
        budget = Budget(memory=64 << 30, cpus=float(SLOTS), guests=SLOTS)
        self.schedule.join(host, budget, ["start x", "start y"] if int(host[1:]) % 2 else ["start x"])


def live(cells: int, seconds: float) -> str:
    """Run cells that sleep on WORKERS worker processes of this computer, through TLS, store, evidence and fence."""
    with tempfile.TemporaryDirectory(prefix="pagelab-bench-") as name:
        path = Path(name)
        hosts = [f"w{number}" for number in range(WORKERS)]
        certificates.make(path / "certs", ["lab", *hosts])
        lab = path / "certs/lab"
        with engine.scheduler("tls://127.0.0.1:0", lab) as started:
            processes = [_worker(path, started.address, host, seconds) for host in hosts]
            try:
                with engine.connected(started.inside, lab) as connection:
                    Deadline.after(120, "workers").wait_for(lambda: len(connection.members()) == WORKERS)
                    planned = machines(cells)
                    metadata = campaign.describe(planned, CASES)
                    run_dir = RunDir.create(path, "bench", metadata, output=path / "run")
                    began, before = time.monotonic(), _cpu_s()
                    run_cells(connection, planned, run_dir, metadata)
                    wall, cpu = time.monotonic() - began, _cpu_s() - before
            finally:
                for process in processes:
                    process.kill()
                    process.wait()
        good = sum(cell.status is CellStatus.OK for cell in read.load(run_dir.path).cells)
    ideal = cells * seconds / (WORKERS * GUESTS)
    return (
        f"{cells} cells of {seconds:g} s on {WORKERS} workers of {GUESTS} guests: {good} OK; makespan {wall:.1f} s, "
        f"all slots busy {ideal:.1f} s, efficiency {ideal / wall:.3f}; CPU of lab and scheduler "
        f"{cpu / cells * 1000:.1f} ms for a cell; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs"
    )


def _worker(path: Path, address: str, host: str, seconds: float) -> subprocess.Popen[bytes]:
    words = [address, host, str(path / "certs" / host), str(path / f"cache-{host}"), str(seconds), "60"]
    with (path / f"{host}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.cluster_fakes", "worker", *words],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
