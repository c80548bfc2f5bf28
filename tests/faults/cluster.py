# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults of a cluster: of its hosts, its network, its store and its certificates.

Hosts are network namespaces with an address each. Their workers are processes whose guests only sleep
(tests/cluster_fakes.py); engine, TLS, schedule, store, evidence and fence are real. Real guests on such hosts are in
tests/integration/test_cluster.py.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

from lab.cluster import attempts, certificates
from lab.cluster.attempts import Became
from tests.faults.fault import Expect, Fault
from tests.faults.place import ROOT, SLACK, Done, FaultDirectory, NotInjected
from tests.namespaces import Namespaces, namespaces, unavailable

CELLS = 8
HOSTS = ("a", "b", "c")
SECONDS = 4.0
"""How long a cell takes."""
LATE_S = 25.0
"""How long a cell takes, so that a host that joins meanwhile finds others waiting."""
LOST_S = 5.0
MEMORY_GROUPS = Path("/sys/fs/cgroup/memory")
INCOMPLETE = 2
TIMEOUT_S = 150.0
OK = " ".join(["OK"] * CELLS)


@dataclass(slots=True, kw_only=True)
class HostsUnderTest:
    """A scheduler, workers and a lab that runs CELLS cells, each a process in a namespace."""

    here: FaultDirectory
    net: Namespaces
    certs: Path
    lost_s: float = LOST_S
    """After how many seconds a host is thought lost; users have 60."""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"tls://{self.net.hub_address}:8786"

    def start(self, name: str, prefix: Sequence[str], *words: str) -> subprocess.Popen[bytes]:
        with (self.here.path / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "tests.cluster_fakes", *words],
                cwd=self.here.path,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes[name] = process
        return process

    def scheduler(self) -> None:
        self.start("scheduler", self.net.hub, "scheduler", self.address, str(self.certs / "lab"), str(self.lost_s))

    def worker(
        self, name: str, *, certs: Path | None = None, seconds: float = SECONDS, options: Sequence[str] = ()
    ) -> None:
        cache = self.here.path / f"cache-{name}"
        directory = certs or self.certs / name
        words = ["worker", self.address, name, str(directory), str(cache), str(seconds), str(self.lost_s), *options]
        self.start(name, self.net.at(name), *words)

    def lab(self, hosts: int, *options: str) -> subprocess.Popen[bytes]:
        """Start a lab that waits for so many hosts."""
        place = [self.address, str(self.certs / "lab"), str(self.here.path)]
        words = ["lab", *place, str(CELLS), str(self.lost_s), str(hosts), *options]
        return self.start("lab", self.net.hub, *words)

    def until(self, condition: Callable[[], object], what: str, timeout_s: float = 60.0) -> None:
        end = time.monotonic() + timeout_s * SLACK
        while not condition():
            if time.monotonic() > end:
                raise NotInjected(f"{what} never came: {self.said('lab')[-500:]}")
            time.sleep(0.05)

    def placed_on(self, host: str) -> int:
        """How many attempts were sent to a host."""
        found = attempts.read(self.here.output)
        return sum(each.host == host and each.became is Became.PLACED for each in found)

    def counted(self) -> int:
        return sum(each.became is Became.COUNTS for each in attempts.read(self.here.output))

    def said(self, name: str) -> str:
        path = self.here.path / f"{name}.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def finish(self) -> Done:
        """Wait for the lab; say what was counted twice, and what is still running of those that should have ended."""
        status = self.processes["lab"].wait(TIMEOUT_S * SLACK)
        counting = [each for each in attempts.read(self.here.output) if each.became is Became.COUNTS]
        counts = Counter(each.cell for each in counting)
        twice = sorted(cell for cell, count in counts.items() if count > 1)
        by_host = Counter(each.host for each in counting)
        hosts = ", ".join(f"{host} {count}" for host, count in sorted(by_host.items()))
        found = f"{self.said('lab')}\ncounting attempts: {hosts}; counted twice: {len(twice)}\n"
        return Done(status=status, stdout=found, stderr="")

    def close(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()


Injection = Callable[[HostsUnderTest], None]


def injected(
    act: Injection,
    *,
    hosts: Sequence[str] = HOSTS,
    lab: Sequence[str] = (),
    lost_s: float = LOST_S,
    seconds: float = SECONDS,
    builds: Mapping[str, float] = MappingProxyType({}),
) -> Callable[[FaultDirectory], Done]:
    """A campaign on hosts, to which something is done while it runs. `builds` has how long each takes to build."""

    def inject(here: FaultDirectory) -> Done:
        if why := unavailable():
            raise NotInjected(f"skipped: {why}")
        certs = here.path / "certs"
        certificates.make(certs, ["lab", *HOSTS])
        with namespaces(*HOSTS) as net:
            under = HostsUnderTest(here=here, net=net, certs=certs, lost_s=lost_s)
            try:
                under.scheduler()
                for name in hosts:
                    options = ["--builds", str(builds[name])] if name in builds else []
                    under.worker(name, seconds=seconds, options=options)
                under.lab(len(hosts), *lab)
                act(under)
                return under.finish()
            finally:
                under.close()

    return inject


def _busy(under: HostsUnderTest, host: str = "a") -> None:
    under.until(lambda: under.placed_on(host), f"a cell on {host}")
    under.here.remember()


def _kill(under: HostsUnderTest) -> None:
    _busy(under)
    under.processes["a"].kill()


def _freeze(under: HostsUnderTest) -> None:
    """Stop a worker until it is thought lost, then let it go on while its cells run elsewhere."""
    _busy(under)
    under.processes["a"].send_signal(signal.SIGSTOP)
    under.until(lambda: "host a was lost" in under.said("lab"), "the loss of a")
    under.processes["a"].send_signal(signal.SIGCONT)


def _cut_off(under: HostsUnderTest) -> None:
    _busy(under)
    under.net.cut_off("a")


def _comes_back(under: HostsUnderTest) -> None:
    _kill(under)
    under.until(lambda: "host a left" in under.said("lab"), "the loss of a")
    under.worker("a", seconds=0.5)


def _joins(under: HostsUnderTest) -> None:
    """Start a second worker when the first has all it can do."""
    _busy(under)
    under.worker("c", seconds=0.5)


def _leaves(under: HostsUnderTest) -> None:
    """End a worker as its user would."""
    _busy(under)
    under.processes["a"].send_signal(signal.SIGTERM)
    under.until(lambda: under.processes["a"].poll() is not None, "the end of a", 90.0)


def _nothing(under: HostsUnderTest) -> None:
    _busy(under)


def _slow_network(under: HostsUnderTest) -> None:
    """Slow every link down, and lose a third of what is sent, until the lab has ended."""
    for name in HOSTS:
        under.net.slow_down(name, "2mbit")
    with under.net.losing_a_third(*HOSTS):
        _busy(under)
        under.processes["lab"].wait(TIMEOUT_S * SLACK)


def _kill_scheduler(under: HostsUnderTest) -> None:
    """Workers whose scheduler is gone end, and so does the run; another scheduler goes on with it."""
    under.until(lambda: under.counted() > 0, "a finished cell")
    under.here.remember()
    under.processes["scheduler"].kill()
    for name in HOSTS:
        under.until(lambda name=name: under.processes[name].poll() is not None, f"the end of {name}", 90.0)  # type: ignore[misc]
    if (status := under.processes["lab"].wait(TIMEOUT_S)) != INCOMPLETE:
        raise NotInjected(f"the run without a scheduler ended with {status}")
    under.scheduler()
    for name in HOSTS:
        under.worker(name, seconds=0.5)
    under.lab(1, "resume")


def _kill_client(under: HostsUnderTest) -> None:
    """Kill the lab, and go on with --resume: what had come back counts, and nothing counts twice."""
    under.until(lambda: under.counted() > 0, "a finished cell")
    under.here.remember()
    under.processes["lab"].kill()
    under.processes["lab"].wait()
    under.lab(1, "resume")


def _damage_artefact(under: HostsUnderTest) -> None:
    """Change a byte of every stored kernel as soon as it is there; hosts that join later fetch it."""
    kernels = under.here.path / "store/kernel"
    under.until(lambda: list(kernels.glob("*.json")), "a stored kernel")
    for tar in kernels.glob("*.tar"):
        raw = bytearray(tar.read_bytes())
        raw[len(raw) // 2] ^= 0xFF
        tar.write_bytes(raw)
    for name in ("b", "c"):
        under.worker(name, seconds=0.5)


def _other_lab(under: HostsUnderTest) -> None:
    under.worker("c", options=["--lab", "0123456789ab"])


def _wrong_clock(under: HostsUnderTest) -> None:
    under.worker("c", options=["--clock", "86400"])


def _full_disk(under: HostsUnderTest) -> None:
    under.worker("c", options=["--disk-full"])


def _kill_builder(under: HostsUnderTest) -> None:
    """Kill the host that builds a kernel; another one that can begins it again."""
    building = re.compile(r"build of \S+ on ([bc])$", re.MULTILINE)
    under.until(lambda: building.search(under.said("lab")), "a build")
    under.here.remember()
    found = building.search(under.said("lab"))
    under.processes[found[1] if found else "b"].kill()


def _build_elsewhere(under: HostsUnderTest) -> None:
    under.until(lambda: "on b" in under.said("lab"), "a build on b")
    under.here.remember()


def _out_of_memory(under: HostsUnderTest) -> None:
    """Take a worker's memory away, so that the kernel kills it."""
    _busy(under)
    with limited_memory(under.processes["a"].pid):
        under.until(lambda: under.processes["a"].poll() is not None, "the end of a")


@contextmanager
def limited_memory(pid: int) -> Iterator[None]:
    """Hold a process in a group that has no memory left, while the block runs."""
    group = MEMORY_GROUPS / f"pagelab-fault-{pid}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text("65536")
        (group / "cgroup.procs").write_text(str(pid))
    except OSError as error:
        raise NotInjected(f"skipped: no group of processes with a limit of memory: {error}") from None
    try:
        yield
    finally:
        with suppress(OSError):
            group.rmdir()


def _expired(under: HostsUnderTest) -> None:
    """A worker whose certificate has expired cannot join, and says why."""
    old = under.here.path / "old"
    (old).mkdir()
    for name in ("ca-key.pem", "ca.pem"):
        (old / name).write_bytes((under.certs / name).read_bytes())
    certificates.make(old, ["c"], days=1, now=datetime.now(UTC) - timedelta(days=30))
    under.worker("c", certs=old / "c")
    under.until(lambda: under.processes["c"].poll() is not None, "the end of c", 90.0)


def _other_authority(under: HostsUnderTest) -> None:
    other = under.here.path / "other"
    certificates.make(other, ["c"])
    under.worker("c", certs=other / "c")
    under.until(lambda: under.processes["c"].poll() is not None, "the end of c", 90.0)


def _fault(name: str, what: str, inject: Callable[[FaultDirectory], Done], says: str = "", **expect: object) -> Fault:
    told = rf"(?s){says}.*counted twice: 0" if says else "counted twice: 0"
    given: dict[str, object] = {"status": 0, "cell": OK, "disk": 64, **expect}
    return Fault(name=f"cluster-{name}", what=what, inject=inject, expect=Expect(says=told, **given))  # type: ignore[arg-type]


FAULTS = (
    _fault("worker-killed", "a worker is killed with SIGKILL", injected(_kill), "host a was lost"),
    _fault("worker-frozen", "a worker is stopped, thought lost, and goes on", injected(_freeze), "host a was lost"),
    _fault("worker-cut-off", "a host's link goes down", injected(_cut_off), "host a was lost"),
    _fault(
        "comes-back",
        "a worker is killed and started again",
        injected(_comes_back, hosts=("a", "b"), seconds=LATE_S),
        "host a left the cluster.*counting attempts: a [1-9]",
    ),
    _fault(
        "joins",
        "a host joins in the middle",
        injected(_joins, hosts=("a",), seconds=LATE_S),
        "counting attempts: a [1-9], c [1-9]",
    ),
    _fault(
        "out-of-memory", "the kernel kills a worker for want of memory", injected(_out_of_memory), "host a was lost"
    ),
    _fault(
        "builds-elsewhere",
        "one host of three has a compiler, and the lab has none",
        injected(_build_elsewhere, lab=("builds",), builds={"b": 1.0}),
        r"build of m0000/patched on b.*counting attempts: a [1-9], b [1-9], c [1-9]",
    ),
    _fault(
        "builder-killed",
        "the host that builds a kernel is killed",
        injected(_kill_builder, lab=("builds",), builds={"b": 6.0, "c": 6.0}),
        "build on [bc]: .*counting attempts",
    ),
    _fault("leaves", "a worker is ended", injected(_leaves), "host a was lost.*counting attempts: b [1-9], c [1-9]"),
    _fault("full-disk", "a host has no room left", injected(_full_disk, hosts=("a", "b")), "disk full"),
    _fault("other-lab", "a host has another version of the lab", injected(_other_lab, hosts=("a", "b")), "another lab"),
    _fault(
        "wrong-clock", "a host's clock is a day off", injected(_wrong_clock, hosts=("a", "b")), r"clock is \+86400 s"
    ),
    _fault("slow-network", "2 Mbit/s, and a third of the packets lost", injected(_slow_network, lost_s=60.0)),
    _fault("damaged-artefact", "a stored kernel is changed", injected(_damage_artefact, hosts=("a",)), "is damaged"),
    _fault("expired", "a worker's certificate has expired", injected(_expired, hosts=("a", "b"))),
    _fault("other-authority", "a worker's certificate is another CA's", injected(_other_authority, hosts=("a", "b"))),
    _fault("client-killed", "the lab is killed, and goes on", injected(_kill_client)),
    _fault(
        "too-much-evidence",
        "a guest's console is larger than what is sent",
        injected(_nothing, lab=("small",)),
        "3 attempts failed",
        status=2,
        cell=" ".join(["BROKEN"] * CELLS),
    ),
    _fault("scheduler-killed", "the scheduler is killed, another goes on", injected(_kill_scheduler), "was lost"),
)
