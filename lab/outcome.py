# SPDX-License-Identifier: GPL-2.0-or-later
"""Vocabulary of verdicts: how a program ended, what became of a case, and whether that was expected.

Pessimism is the rule: a case is BROKEN until evidence says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """What happened to one case."""

    PASS = "PASS"
    FAIL = "FAIL"
    SKIP = "SKIP"
    CRASH = "CRASH"  # killed by a signal it did not expect, or the kernel oopsed or panicked under it
    HANG = "HANG"  # did not end by its deadline
    BROKEN = "BROKEN"  # the lab's own fault, or no evidence at all


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
    DEADLINE = "deadline"  # still running when its deadline passed
    FLOODED = "flooded"  # wrote more than the bound and was cut off
    LOST = "lost"  # the SSH connection ended without an exit status
    PANIC = "panic"  # the console showed the kernel dying
    QEMU_DEAD = "qemu-dead"  # the emulator's process ended
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


Watch = Callable[[], End | None]
"""Asked a few times a second: what has happened to the guest, None while it is well."""


class CellStatus(StrEnum):
    """What became of one guest, topology × kernel."""

    OK = "OK"  # booted and verified; its records count
    INVALID = "INVALID"  # booted, but is not the machine that was asked for; nothing was run
    NO_BOOT = "NO_BOOT"  # the kernel under test never got to user space
    BROKEN = "BROKEN"  # the lab failed: build, libvirt, disk, SSH


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case as the scenario program declares it (from its `--list`)."""

    scenario: str
    name: str
    requires: frozenset[str] = frozenset()
    description: str = ""
    timeout_s: float = 10.0

    def expected(self, provides: frozenset[str]) -> Expected:
        """PASS where `provides` covers all that the case requires, FAIL elsewhere."""
        return Expected.PASS if self.requires <= provides else Expected.FAIL


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One execution of a scenario program in a guest: the evidence a verdict is computed from.

    `ktap` and `stderr` are what the guest said (bounded, undecodable bytes replaced); `console` is what the console
    said from the start of the program until shortly after its end. `attempt` counts from 1. `cases` are the names that
    were asked for, empty for all of them: after a crash the cases that were not reached can be run on their own.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """One way in which a guest is not the machine that was asked for."""

    fact: str
    asked: str
    got: str

    def __str__(self) -> str:
        return f"{self.fact}: asked {self.asked}, got {self.got}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One line of results.json: one case on one cell. `met` is None when there is no verdict (SKIP).

    The first line of `excerpt` says in words why the outcome is what it is (`reason`); evidence follows. Printable.
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
    excerpt: str = ""

    @property
    def reason(self) -> str:
        return self.excerpt.partition("\n")[0]

    @property
    def label(self) -> str:
        return f"{self.scenario}.{self.case}"


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
class CellResult:
    """One guest: what became of it and the runs in it. `console` is the end of its console where it is not OK."""

    topology: str
    kernel: str
    status: CellStatus
    accelerator: str = ""
    boot_s: float | None = None
    restores_s: tuple[float, ...] = ()
    """For every guest that was restored instead: seconds until it answered."""
    reason: str = ""
    mismatches: tuple[Mismatch, ...] = ()
    runs: tuple[Run, ...] = field(default_factory=tuple)
    console: str = ""
    usage: Usage | None = None
    """Of all its emulators together; None when nobody could tell."""

    @property
    def why(self) -> str:
        """The first line of `reason`; what follows it is an excerpt (a compiler's words, a console's end)."""
        return self.reason.partition("\n")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that a run left on disk, before any verdict: metadata.json as it is, and every cell of the campaign."""

    metadata: Mapping[str, Any]
    cells: tuple[CellResult, ...]
    source: str = ""
    """The run's directory, for messages and links."""


def met(outcome: Outcome, expected: Expected) -> bool | None:
    """Whether an outcome is the expected one; None for SKIP, which proves nothing either way.

    Only a plain FAIL meets an expected FAIL: a crash or a hang on the baseline is a finding, not power.
    """
    if outcome is Outcome.SKIP:
        return None
    return outcome.value == expected.value
