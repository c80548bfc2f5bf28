# SPDX-License-Identifier: GPL-2.0-or-later
"""The vocabulary of verdicts: how a program ended, the outcome of a case, and whether it was expected.

A case is BROKEN until evidence proves another outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from operator import attrgetter
from typing import NamedTuple

BOOT_ATTEMPTS = 2
"""How often a cell's first guest is started. If its kernel booted but SSH failed it is started again, because the lab
failed and not the kernel. The console log then contains that many boots."""


class CellKey(NamedTuple):
    """The names of a cell's topology and kernel; as text `topology/kernel`."""

    topology: str
    kernel: str

    def __str__(self) -> str:
        return f"{self.topology}/{self.kernel}"

    @classmethod
    def parse(cls, text: str) -> CellKey:
        """Return the key for the text `topology/kernel`; ValueError for any other text."""
        topology, slash, kernel = text.partition("/")
        if not (topology and slash and kernel) or "/" in kernel:
            raise ValueError(f"expected TOPOLOGY/KERNEL, got {text!r}")
        return cls(topology, kernel)


class Outcome(StrEnum):
    """The outcome of one case."""

    PASS = "PASS"
    FAIL = "FAIL"
    SKIP = "SKIP"
    CRASH = "CRASH"  # killed by a signal it did not expect, or the kernel oopsed or panicked under it
    HANG = "HANG"  # did not end by its deadline
    LEAK = "LEAK"  # ended, but memory that it had allocated was not freed
    FLAKY = "FLAKY"  # repeats of the case had different outcomes
    BROKEN = "BROKEN"  # the lab failed, or there is no evidence


class Cause(StrEnum):
    """The cause of an outcome: a closed vocabulary for programs; `CaseRecord.reason` explains it to users."""

    PASSED = "passed"
    FAILED = "failed"  # an assertion of the case did not hold
    SKIPPED = "skipped"

    # CRASH: of the program, or of the kernel under it (the names of lab/formats/oops.py's kinds).
    SIGNAL = "signal"  # killed by a signal it did not expect; the reason names it
    PANIC = "panic"
    REBOOT = "reboot"  # the guest restarted or switched itself off
    OOPS = "oops"
    BUG = "bug"
    KASAN = "kasan"
    UBSAN = "ubsan"
    LOCKDEP = "lockdep"
    HARD_LOCKUP = "hard-lockup"
    SOFT_LOCKUP = "soft-lockup"
    RCU_STALL = "rcu-stall"
    HUNG_TASK = "hung-task"
    WARNING = "warning"
    FAULT_OOM = "fault-oom"  # VM_FAULT_OOM leaked out to the page fault handler
    OOM_KILL = "oom-kill"  # a victim of the OOM killer
    CONTAINED_OOM = "contained-oom"  # of the OOM killer of a cgroup, cpuset or memory policy
    TAINT = "taint"  # the kernel tainted itself and printed nothing on the console

    # HANG.
    TEST_HANG = "test-hang"  # did not end in time; the guest still answered
    UNKILLABLE = "unkillable"  # did not end in time, and could not be killed either
    KERNEL_HANG = "kernel-hang"  # did not end in time, and the guest did not answer any more

    LEAK = "leak"
    FLAKY = "flaky"

    # BROKEN: of the test.
    SET_UP = "set-up"  # the case's preparation failed
    NO_RESULT = "no-result"  # the program ended without a result line for the case
    CONTRADICTION = "contradiction"  # its output contradicts itself, its exit status or its declaration
    NOT_REACHED = "not-reached"  # something before the case ended the run
    FLOOD = "flood"  # wrote more than the lab stores
    # BROKEN: of the guest or the connection to it.
    INVALID = "invalid"  # the guest is not the requested machine
    NO_BOOT = "no-boot"
    SSH_LOST = "ssh-lost"
    QEMU_DEAD = "qemu-dead"  # the emulator's process ended or was killed
    # BROKEN: of the lab and its host.
    LIBVIRT = "libvirt"
    DISK_FULL = "disk-full"
    BUILD = "build"
    INTERRUPTED = "interrupted"  # the lab was stopped or killed before it ran the case
    DAMAGED = "damaged"  # evidence on disk is incomplete or was changed
    NO_GUEST = "no-guest"  # the next guest could not be started
    LAB = "lab"  # any other failure of the lab


class Expected(StrEnum):
    """The expected outcome of a case on a kernel: PASS if the kernel provides all that the case requires, else FAIL."""

    PASS = "PASS"
    FAIL = "FAIL"


class Delta(StrEnum):
    """The difference between the outcomes of a case on two kernels of one topology."""

    FIXED = "fixed"
    REGRESSED = "regressed"
    SAME = "same"
    NO_VERDICT = "no verdict"


class End(StrEnum):
    """How a scenario program ended, as the host saw it."""

    EXITED = "exited"  # `status` is its exit status
    SIGNALLED = "signalled"  # `signal` is the signal's name without SIG, as SSH reports it
    DEADLINE = "deadline"  # still running when its deadline passed, in a guest that still answers
    UNRESPONSIVE = "unresponsive"  # still running when its deadline passed, and the guest did not answer either
    FLOODED = "flooded"  # wrote more than the bound and was cut off
    LOST = "lost"  # the SSH connection ended without an exit status
    PANIC = "panic"  # the console showed the kernel dying
    QEMU_DEAD = "qemu-dead"  # the emulator's process ended
    INTERRUPTED = "interrupted"  # the lab was stopped or killed; the output may lack the last minute
    NOT_RUN = "not-run"  # never started; `note` says why


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command in a guest ended. `status` is its exit status where `end` is EXITED (128+N: killed by signal N)."""

    end: End
    status: int | None
    stdout: bytes
    stderr: bytes
    duration_s: float
    note: str = ""


Books = Mapping[str, int]
"""Counters of a guest's memory by name (see lab/verdicts/counters.py)."""
Watch = Callable[[], End | None]
"""Polled a few times a second; returns what happened to the guest, None if it is well."""
Papers = Callable[[], Mapping[str, str]]
"""Returns the evidence files of a guest, name -> text. Their length is limited; their content is not trusted."""


def no_papers() -> Mapping[str, str]:
    """Return no files: those of a guest that has none, or whose files cannot be read any more."""
    return {}


class CellStatus(StrEnum):
    """The status of one guest, topology × kernel."""

    OK = "OK"  # booted and verified; its records count
    INVALID = "INVALID"  # booted, but is not the requested machine; nothing was run
    NO_BOOT = "NO_BOOT"  # the kernel under test did not reach user space
    BROKEN = "BROKEN"  # the lab failed: build, libvirt, disk, SSH


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenEvidence:
    """What a program does on one side of a report: its exit status, or the signal that ends it, and what it prints."""

    exit: int | None = None
    signal: str = ""
    """Without SIG; empty if the program exits."""
    prints: tuple[str, ...] = ()
    """Globs, each of which matches a line."""


SHOWS, HEALTHY = "shows", "healthy"
"""The sides of a report: the machines on which it shows, and those on which it does not. Each is a case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case as the scenario program declares it (from its `--list`)."""

    scenario: str
    name: str
    requires: frozenset[str] = frozenset()
    description: str = ""
    timeout_s: float = 10.0
    sides: Mapping[str, SeenEvidence] = field(default_factory=dict)
    """Of a report's case: side -> what is seen there. The case has the name of the side that its machine is on."""
    places: frozenset[str] = frozenset()
    """The cells, `topology/kernel`, in which the case runs; empty for all."""

    def expected(self, provides: frozenset[str]) -> Expected:
        """Return PASS if `provides` contains all that the case requires, else FAIL."""
        return Expected.PASS if self.requires <= provides else Expected.FAIL


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One execution of a scenario program in a guest: the evidence a verdict is computed from.

    `ktap` and `stderr` are the program's output (bounded, undecodable bytes replaced); `console` is the console output
    from the start of the program until shortly after its end. `boot_console` is what the kernel printed while its guest
    booted, if this was the first program and the kernel complained; else empty. `attempt` counts from 1. `cases` has
    the names of the requested cases, none for all: after a crash the cases that were not reached can be run on their
    own. `before` and `after` are the guest's memory counters before and after the program, None if they could not be
    read. `damage` describes how the files of this run differ from what was written, empty if they do not.
    """

    scenario: str
    attempt: int = 1
    end: End
    status: int | None = None
    signal: str | None = None
    duration_s: float = 0.0
    ktap: str = ""
    stderr: str = ""
    console: str = ""
    boot_console: str = ""
    note: str = ""
    cases: tuple[str, ...] = ()
    before: Books | None = None
    after: Books | None = None
    damage: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """One difference between a guest and the requested machine."""

    fact: str
    asked: str
    got: str

    def __str__(self) -> str:
        return f"{self.fact}: asked {self.asked}, got {self.got}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The measured cost of an operation in a guest: the median of `rounds`, and the bounds of their middle half."""

    median: int
    low: int
    high: int
    rounds: int
    unit: str
    """`instructions`, or `ns` if a processor and not an emulator executes them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CaseVerdict:
    """What became of a case, without its place and its time: most cells of a campaign share a few of them.

    `met` is None if there is no verdict (SKIP). The first line of `excerpt` is the `reason`, which explains the outcome
    to users; evidence follows. All of it is printable. `counts` has the number of times that each outcome occurred, if
    the cell was run more than once. `saw` are the expected signals, errnos and sizes that the case observed, `cost` is
    what it measured; both are empty if the guest's output about them is ambiguous. It is hashed by its identity.
    """

    scenario: str
    case: str
    outcome: Outcome
    expected: Expected
    met: bool | None
    attempt: int = 1
    cause: Cause = Cause.LAB
    counts: tuple[tuple[Outcome, int], ...] = ()
    excerpt: str = ""
    saw: tuple[str, ...] = ()
    cost: Cost | None = None
    host: str = ""
    """The host of a cluster whose guest it is from; empty for this computer, and for guests of several hosts."""
    by_host: tuple[tuple[str, Outcome], ...] = ()
    """Host -> its outcome, if the case is FLAKY because it depends on the host."""

    @property
    def reason(self) -> str:
        return self.excerpt.partition("\n")[0]

    @property
    def label(self) -> str:
        return f"{self.scenario}.{self.case}"

    @property
    def verdict(self) -> str:
        """The outcome; for CRASH, HANG and BROKEN with its cause: `CRASH (panic)`."""
        if self.outcome in (Outcome.CRASH, Outcome.HANG, Outcome.BROKEN):
            return f"{self.outcome} ({self.cause})"
        return self.outcome.value


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseRecord(CaseVerdict):
    """One line of results.json: one case on one cell."""

    topology: str
    kernel: str
    duration_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The host's resources that an emulator used: peak memory (bytes), CPU time and life time (seconds).

    `wait_s` is the time that its threads were runnable and waited for a CPU.
    """

    peak: int
    cpu_s: float
    wait_s: float
    life_s: float

    @property
    def cpus(self) -> float:
        """The average number of CPUs that it would have kept busy on an idle host."""
        return (self.cpu_s + self.wait_s) / self.life_s if self.life_s > 0 else 0.0

    def __add__(self, other: Usage) -> Usage:
        """Return the usage of two emulators that ran one after the other."""
        return Usage(
            peak=max(self.peak, other.peak),
            cpu_s=self.cpu_s + other.cpu_s,
            wait_s=self.wait_s + other.wait_s,
            life_s=self.life_s + other.life_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """An earlier run whose evidence of a cell is used by a later run."""

    run: str
    """Its directory."""
    started: str
    """When it began, in ISO 8601."""

    def __str__(self) -> str:
        return f"{self.run} of {self.started}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedState:
    """A guest that an earlier lab verified and saved in the cache."""

    key: str
    saved: str
    """When it was saved, in ISO 8601."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellResult:
    """The result of one guest: its status and the runs in it. `console` is the end of its console if it is not OK.

    `repeat` counts from 1; `cause` is the cause of a status that is not OK.
    """

    topology: str
    kernel: str
    repeat: int = 1
    status: CellStatus
    cause: Cause = Cause.LAB
    accelerator: str = ""
    host: str = ""
    """The host of a cluster that ran it; empty for the computer of the run itself."""
    host_attempt: int = 1
    """Which attempt counts, of those on several hosts."""
    host_load: float = 0.0
    """The host's load average when it began."""
    host_fetch_s: float = 0.0
    """How long the host took to fetch what the guests boot from."""
    host_run_s: float = 0.0
    """How long the guests of the attempt ran there."""
    boot_s: float | None = None
    restores_s: tuple[float, ...] = ()
    """For every guest that was restored instead: seconds until it answered."""
    saved_guest: SavedState | None = None
    """The state in the cache that its first guest was restored from; None if that one booted."""
    reason: str = ""
    mismatches: tuple[Mismatch, ...] = ()
    runs: Sequence[Run] = ()
    console: str = ""
    usage: Usage | None = None
    """The sum over all its emulators; None if it could not be measured."""
    origin: Origin | None = None
    """The earlier run that this evidence was taken from; None if the guest belongs to this run."""
    papers: Papers = field(default=no_papers, compare=False, repr=False)
    """Returns its evidence files for reports; reads them again at every call."""

    @property
    def key(self) -> CellKey:
        return CellKey(self.topology, self.kernel)

    def with_runs(self, runs: Sequence[Run]) -> CellResult:
        """Return this guest with other runs (dataclasses.replace takes three times as long)."""
        values = dict(zip(_CELL_FIELDS, _cell_values_of(self), strict=True))
        values["runs"] = runs
        return CellResult(**values)

    @property
    def name(self) -> str:
        """The name `topology / kernel`, from the second repeat on with its number."""
        again = f" (repeat {self.repeat})" if self.repeat > 1 else ""
        return f"{self.topology} / {self.kernel}{again}"

    @property
    def why(self) -> str:
        """The first line of `reason`; an excerpt follows it (of a compiler's output, or the end of a console)."""
        return self.reason.partition("\n")[0]


_CELL_FIELDS = tuple(each.name for each in fields(CellResult))
_cell_values_of = attrgetter(*_CELL_FIELDS)


def met(outcome: Outcome, expected: Expected) -> bool | None:
    """Return whether an outcome is the expected one; None for SKIP, which proves neither.

    Only FAIL meets an expected FAIL: a crash or a hang on the baseline is a finding and does not show that the case
    detects the missing feature.
    """
    if outcome is Outcome.SKIP:
        return None
    return outcome is (Outcome.PASS if expected is Expected.PASS else Outcome.FAIL)
