# SPDX-License-Identifier: GPL-2.0-or-later
"""Vocabulary of verdicts: how a program ended, what became of a case, and whether that was expected.

Pessimism is the rule: a case is BROKEN until evidence says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

BOOT_ATTEMPTS = 2
"""Starts of a cell's first guest: one whose kernel came up but whose SSH did not is started again, since that is the
lab's trouble and not the kernel's. Its console then has so many boots."""


class CellKey(NamedTuple):
    """Which cell: the names of its topology and of its kernel. As text `topology/kernel`."""

    topology: str
    kernel: str

    def __str__(self) -> str:
        return f"{self.topology}/{self.kernel}"

    @classmethod
    def parse(cls, text: str) -> CellKey:
        """The key that `topology/kernel` names; ValueError for any other text."""
        topology, slash, kernel = text.partition("/")
        if not (topology and slash and kernel) or "/" in kernel:
            raise ValueError(f"expected TOPOLOGY/KERNEL, got {text!r}")
        return cls(topology, kernel)


class Outcome(StrEnum):
    """What happened to one case."""

    PASS = "PASS"
    FAIL = "FAIL"
    SKIP = "SKIP"
    CRASH = "CRASH"  # killed by a signal it did not expect, or the kernel oopsed or panicked under it
    HANG = "HANG"  # did not end by its deadline
    LEAK = "LEAK"  # ended, but memory it had taken did not come back
    FLAKY = "FLAKY"  # repeats of the same case do not agree
    BROKEN = "BROKEN"  # the lab's own fault, or no evidence at all


class Cause(StrEnum):
    """Why an outcome is what it is: a closed vocabulary for programs; `CaseRecord.reason` says it in words."""

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
    TAINT = "taint"  # the kernel tainted itself without a word on the console

    # HANG.
    TEST_HANG = "test-hang"  # did not end in time; the guest still answered
    UNKILLABLE = "unkillable"  # did not end in time, and could not be killed either
    KERNEL_HANG = "kernel-hang"  # did not end in time, and the guest did not answer any more

    LEAK = "leak"
    FLAKY = "flaky"

    # BROKEN: of the test.
    SET_UP = "set-up"  # the case could not even try
    NO_RESULT = "no-result"  # the program ended without a result line for the case
    CONTRADICTION = "contradiction"  # its words contradict each other, its exit status or its declaration
    NOT_REACHED = "not-reached"  # something before the case ended the run
    FLOOD = "flood"  # wrote more than the lab keeps
    # BROKEN: of the guest or its way to us.
    INVALID = "invalid"  # the guest is not the machine that was asked for
    NO_BOOT = "no-boot"
    SSH_LOST = "ssh-lost"
    QEMU_DEAD = "qemu-dead"  # the emulator's process ended or was killed
    # BROKEN: of the lab and its host.
    LIBVIRT = "libvirt"
    DISK_FULL = "disk-full"
    BUILD = "build"
    INTERRUPTED = "interrupted"  # the lab was stopped or killed before it came to this
    DAMAGED = "damaged"  # evidence on disk is torn or not what was written
    NO_GUEST = "no-guest"  # the next guest could not be had
    LAB = "lab"  # anything else that went wrong in the lab


class Expected(StrEnum):
    """What a case should do on a kernel: PASS when the kernel provides all it requires, else FAIL."""

    PASS = "PASS"
    FAIL = "FAIL"


class Delta(StrEnum):
    """The same case on two kernels of one topology."""

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
    INTERRUPTED = "interrupted"  # the lab was stopped or killed; what had been told until (a minute before) then
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
"""Asked a few times a second: what has happened to the guest, None while it is well."""
Papers = Callable[[], Mapping[str, str]]
"""Reads the files that a guest left, name -> text: each bounded, none of them checked, all of it anybody's words."""


def no_papers() -> Mapping[str, str]:
    """Of a guest that left none, or none that can be had any more."""
    return {}


class CellStatus(StrEnum):
    """What became of one guest, topology × kernel."""

    OK = "OK"  # booted and verified; its records count
    INVALID = "INVALID"  # booted, but is not the machine that was asked for; nothing was run
    NO_BOOT = "NO_BOOT"  # the kernel under test never got to user space
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
        """PASS where `provides` covers all that the case requires, FAIL elsewhere."""
        return Expected.PASS if self.requires <= provides else Expected.FAIL


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One execution of a scenario program in a guest: the evidence a verdict is computed from.

    `ktap` and `stderr` are what the guest said (bounded, undecodable bytes replaced); `console` is what the console
    said from the start of the program until shortly after its end. `attempt` counts from 1. `cases` are the names that
    were asked for, empty for all of them: after a crash the cases that were not reached can be run on their own.
    `before` and `after` are the guest's books round the program, None where they could not be taken. `damage` says in
    what its files are not what was written, empty when they are whole.
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
    note: str = ""
    cases: tuple[str, ...] = ()
    before: Books | None = None
    after: Books | None = None
    damage: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """One way in which a guest is not the machine that was asked for."""

    fact: str
    asked: str
    got: str

    def __str__(self) -> str:
        return f"{self.fact}: asked {self.asked}, got {self.got}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one operation took in a guest: the median of `rounds`, and the two values between which half of them lie."""

    median: int
    low: int
    high: int
    rounds: int
    unit: str
    """`instructions`, or `ns` where instructions run on a processor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseRecord:
    """One line of results.json: one case on one cell. `met` is None when there is no verdict (SKIP).

    The first line of `excerpt` says in words why the outcome is what it is (`reason`); evidence follows. Printable.
    `counts` has how often each outcome came, where the cell was run more than once. `saw` are the signals, errnos and
    sizes that the case met as it should, `cost` what it measured; both only as far as the guest says so without doubt.
    """

    topology: str
    kernel: str
    scenario: str
    case: str
    outcome: Outcome
    expected: Expected
    met: bool | None
    duration_s: float | None = None
    attempt: int = 1
    cause: Cause = Cause.LAB
    counts: tuple[tuple[Outcome, int], ...] = ()
    excerpt: str = ""
    saw: tuple[str, ...] = ()
    cost: Cost | None = None

    @property
    def reason(self) -> str:
        return self.excerpt.partition("\n")[0]

    @property
    def label(self) -> str:
        return f"{self.scenario}.{self.case}"

    @property
    def verdict(self) -> str:
        """The outcome, with its cause where that says more: `CRASH (panic)`."""
        told = self.outcome in (Outcome.CRASH, Outcome.HANG, Outcome.BROKEN)
        return f"{self.outcome} ({self.cause})" if told else self.outcome.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What an emulator took of the host: most memory it had (bytes), CPU time, and how long it lived (seconds).

    `wait_s` is for how long its threads could have run and did not, since others had the CPUs.
    """

    peak: int
    cpu_s: float
    wait_s: float
    life_s: float

    @property
    def cpus(self) -> float:
        """How many CPUs it would have kept busy, on the average, had it had them to itself."""
        return (self.cpu_s + self.wait_s) / self.life_s if self.life_s > 0 else 0.0

    def __add__(self, other: Usage) -> Usage:
        """Both, one after the other."""
        return Usage(
            peak=max(self.peak, other.peak),
            cpu_s=self.cpu_s + other.cpu_s,
            wait_s=self.wait_s + other.wait_s,
            life_s=self.life_s + other.life_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A run whose evidence of a cell is used by a later one."""

    run: str
    """Its directory."""
    started: str
    """When it began, in ISO 8601."""

    def __str__(self) -> str:
        return f"{self.run} of {self.started}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CellResult:
    """One guest: what became of it and the runs in it. `console` is the end of its console where it is not OK.

    `repeat` counts from 1; `cause` is that of a status that is not OK.
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
    boot_s: float | None = None
    restores_s: tuple[float, ...] = ()
    """For every guest that was restored instead: seconds until it answered."""
    reason: str = ""
    mismatches: tuple[Mismatch, ...] = ()
    runs: tuple[Run, ...] = field(default_factory=tuple)
    console: str = ""
    usage: Usage | None = None
    """Of all its emulators together; None when nobody could tell."""
    origin: Origin | None = None
    """The earlier run that this evidence was taken from; None if the guest belongs to this run."""
    papers: Papers = field(default=no_papers, compare=False, repr=False)
    """What it left on disk, for who wants to show it: read anew at every call."""

    @property
    def name(self) -> str:
        """`topology / kernel`, with its number from the second repeat on."""
        again = f" (repeat {self.repeat})" if self.repeat > 1 else ""
        return f"{self.topology} / {self.kernel}{again}"

    @property
    def why(self) -> str:
        """The first line of `reason`; what follows it is an excerpt (a compiler's words, a console's end)."""
        return self.reason.partition("\n")[0]


def met(outcome: Outcome, expected: Expected) -> bool | None:
    """Whether an outcome is the expected one; None for SKIP, which proves nothing either way.

    Only a plain FAIL meets an expected FAIL: a crash or a hang on the baseline is a finding, not power.
    """
    if outcome is Outcome.SKIP:
        return None
    return outcome is (Outcome.PASS if expected is Expected.PASS else Outcome.FAIL)
