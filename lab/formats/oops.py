# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds what the kernel had to say on a console: a pure, bounded scan for panics, oopses, warnings and their kin.

A report is its title line and the lines that follow, up to the kernel's own end marker, the next report of another
kind, or MAX_LINES. The titles are those of Linux 6.1 to 7.x on x86_64 and arm64 (lib/bug.c, kernel/panic.c,
arch/*/mm/fault.c, kernel/locking/lockdep.c, kernel/watchdog.c, kernel/rcu/tree_stall.h, mm/oom_kill.c, mm/kasan).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum

from lab.core.untrusted import one_line, printable

MAX_FINDINGS = 40
MAX_LINES = 60
MAX_LINE = 240
MAX_FRAMES = 12
SCAN_LINE = 1024
"""Only so much of a line is looked at."""


class Kind(StrEnum):
    """What a report is about, worst first."""

    PANIC = "panic"
    REBOOT = "unexpected reboot"
    OOPS = "oops"
    BUG = "BUG"
    KASAN = "KASAN"
    UBSAN = "UBSAN"
    LOCKDEP = "lockdep"
    HARD_LOCKUP = "hard lockup"
    SOFT_LOCKUP = "soft lockup"
    RCU_STALL = "RCU stall"
    HUNG_TASK = "hung task"
    WARNING = "WARNING"
    FAULT_OOM = "VM_FAULT_OOM leaked"
    OOM_KILL = "OOM-killer victim"
    CONTAINED_OOM = "OOM-killer victim in a cgroup, cpuset or memory policy"

    @property
    def deadly(self) -> bool:
        """Nothing runs after it."""
        return self in (Kind.PANIC, Kind.REBOOT)

    @property
    def provoked(self) -> bool:
        """A test may do it on purpose, and it says nothing against the kernel."""
        return self is Kind.CONTAINED_OOM


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One report: its text without time stamps, its title's line (from 1), and how often that title came."""

    kind: Kind
    title: str
    line: int
    lines: tuple[str, ...] = ()
    count: int = 1

    def __str__(self) -> str:
        times = f" ({self.count} times)" if self.count > 1 else ""
        told = self.kind.lower() in self.title.lower()
        return self.title + times if told else f"{self.kind}: {self.title}{times}"

    @property
    def stack(self) -> tuple[str, ...]:
        """The functions of the first stack in it, innermost first, without those that only print it."""
        frames: list[str] = []
        for line in self.lines:
            frame = _FRAME.match(line)
            if frame and frame[1] not in _PRINTERS and frame[1] not in frames[-1:]:
                frames.append(frame[1])
            if frames and _STACK_ENDS.match(line):
                break
        return tuple(frames[:MAX_FRAMES])


# x86 names the innermost function behind RIP, arm64 behind pc; guesses of the unwinder (`? `) are left out.
_FRAME = re.compile(r"\s*(?:RIP: [0-9a-f]{4}:|pc : |NIP \[[0-9a-f]+\] )?([A-Za-z_][\w.]*)\+0x[0-9a-f]+/0x[0-9a-f]+")
_STACK_ENDS = re.compile(r"\s*</TASK>|Code: |Mem-Info:|Freed by task|Allocated by task")
_PRINTERS = frozenset({"dump_backtrace", "show_stack", "dump_stack_lvl", "dump_stack", "show_regs"})

# Matched at the start of a message; the first that fits decides.
_TITLES: tuple[tuple[Kind, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        (Kind.PANIC, r"Kernel panic - not syncing"),
        (
            Kind.REBOOT,
            r"Linux version \d|reboot: (?:Restarting system|Power down|System halted)|SeaBIOS \(version"
            r"|sysrq: (?:Resetting|Power Off)",
        ),
        (Kind.KASAN, r"BUG: (?:KASAN|KFENCE|KMSAN|KCSAN): "),
        (Kind.UBSAN, r"UBSAN: "),
        (Kind.SOFT_LOCKUP, r"(?:watchdog: )?BUG: soft lockup"),
        (Kind.HARD_LOCKUP, r"(?:NMI )?watchdog: (?:Watchdog detected|BUG:) hard LOCKUP"),
        (
            Kind.LOCKDEP,
            r"WARNING: (?:possible (?:circular|recursive|irq)|inconsistent lock state|suspicious RCU usage|bad unlock"
            r"|held lock freed|lock held when|.{1,20}-safe -> .{1,20}-unsafe|Nested lock|nested lock|invalid wait"
            r"|.{0,40} still has locks held)|BUG: (?:Invalid wait context|MAX_LOCKDEP|MAX_LOCK_DEPTH)"
            r"|INFO: trying to register non-static key|\[ BUG: ",
        ),
        (Kind.RCU_STALL, r"(?:rcu: )?INFO: rcu\w* (?:self-)?detected|rcu: .{0,40}kthread (?:timer wakeup|starved)"),
        (Kind.HUNG_TASK, r"INFO: task .{1,80} blocked (?:in|for more)"),
        (
            Kind.OOPS,
            r"BUG: (?:kernel NULL pointer|unable to handle|stack guard page|TASK stack|IRQ stack)"
            r"|Unable to handle kernel|Internal error: |Oops(?::| -)|general protection fault|double fault"
            r"|(?:invalid opcode|divide error|stack segment|int3|traps|alignment check|bounds): [0-9a-f]{4} \[#"
            r"|Insufficient stack space|Unhandled (?:64-bit|exception)|Bad mode in|kernel tried to execute"
            r"|(?:traps: )?PANIC: double fault",
        ),
        (Kind.BUG, r"kernel BUG at |BUG: "),
        (Kind.WARNING, r"WARNING: "),
        (Kind.FAULT_OOM, r"Huh VM_FAULT_OOM leaked"),
        (Kind.CONTAINED_OOM, r"Memory cgroup out of memory: |Out of memory \(.{1,40}cgroup"),
        (Kind.OOM_KILL, r"Out of memory(?: \(oom_kill_allocating_task\))?: Killed"),
    )
)
# Any title holds one of these, so that other lines cost one cheap search.
_HINT = re.compile(
    r"panic|PANIC|cut here|Linux version|reboot:|sysrq:|SeaBIOS|BUG|UBSAN|LOCKUP|WARNING|INFO:|rcu:|Unable"
    r"|Internal error|Oops|fault|\[#|Insufficient|Unhandled|Bad mode|tried to|VM_FAULT_OOM|ut of memory|oom-kill"
)
_STAMP = re.compile(r"\[\s*\d{1,8}\.\d{6}\](?:\[\s*[TC]\d{1,8}\])? ?")
_END = re.compile(r"---\[ end ")
_CUT_HERE = re.compile(r"-{4,}\[ cut here \]")
_OOM_START = re.compile(r".{1,40} invoked oom-killer: ")
_CONTAINED = re.compile(r"oom-kill:constraint=CONSTRAINT_(?:MEMCG|CPUSET|MEMORY_POLICY)")
# Titles that belong to the report before them: `BUG: unable to handle ...`, arm64's memory abort information in a dozen
# lines, then `Oops: 0002 [#1]` or `Internal error: ...`.
_MORE = re.compile(r"Oops|Internal error: |invalid opcode|rcu: .{0,40}kthread")
_HAS_MORE = {Kind.OOPS: {Kind.OOPS, Kind.BUG}, Kind.RCU_STALL: {Kind.RCU_STALL}}
_SAME_REPORT_LINES = 20


def scan(console: str, *, boots: int = 0) -> tuple[Finding, ...]:
    """Reports on a console, worst kind first. `boots` is how many kernel banners are right (0 in a run's slice)."""
    scanner = _Scanner(boots)
    for number, line in enumerate(_lines(console), start=1):
        scanner.line(number, line)
    return scanner.findings()


def tail(console: str, lines: int = 12) -> tuple[str, ...]:
    """The last lines with something on them, without time stamps: what to show when nothing was found."""
    last = [message(line) for line in console[-lines * SCAN_LINE :].split("\n")]
    return tuple(_shown(line) for line in last if line.strip())[-lines:]


def message(line: str) -> str:
    """What the kernel said, without the time stamp, and without what a program had left on the line before it."""
    starts = [stamp.end() for stamp in _STAMP.finditer(line[:SCAN_LINE])]
    return line[starts[-1] if starts else 0 : SCAN_LINE]


def _shown(said: str) -> str:
    """A line as an excerpt has it: printable, its indentation kept, not too long."""
    return printable(said[: MAX_LINE * 2]).rstrip()[:MAX_LINE]


def _lines(text: str) -> Iterator[str]:
    start = 0
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        yield text[start : min(end, start + SCAN_LINE)].rstrip("\r")
        start = end + 1


@dataclass(slots=True, kw_only=True)
class _Open:
    """A report that is being read."""

    kind: Kind
    title: str
    line: int
    lines: list[str] = field(default_factory=list)


class _Scanner:
    def __init__(self, boots: int) -> None:
        self.boots_left = boots
        self.open: _Open | None = None
        self.found: dict[tuple[Kind, str], Finding] = {}
        self.prelude: list[str] = []
        self.prelude_room = 0
        self.oom_contained = False

    def line(self, number: int, raw: str) -> None:
        said = message(raw)
        kind = self._kind(said) if _HINT.search(said) else None
        if kind and not self._continues(kind, said, number):
            self._close()
            self.open = _Open(kind=kind, title=one_line(said, MAX_LINE), line=number, lines=self.prelude)
            self._expect(0)
        self._keep(said)

    def findings(self) -> tuple[Finding, ...]:
        self._close()
        worst = list(Kind)
        return tuple(sorted(self.found.values(), key=lambda finding: (worst.index(finding.kind), finding.line)))

    def _kind(self, said: str) -> Kind | None:
        """The kind of report that this line opens, if it does."""
        if _CUT_HERE.match(said):
            self._expect(4)  # a WARN's own text stands between this line and its title
            return None
        if _OOM_START.match(said):
            self.oom_contained = False
            self._expect(MAX_LINES // 2)
            return None
        if _CONTAINED.match(said):
            self.oom_contained = True
        kind = next((kind for kind, pattern in _TITLES if pattern.match(said)), None)
        if kind is Kind.REBOOT and said.startswith(("Linux version", "SeaBIOS")) and self.boots_left:
            self.boots_left -= said.startswith("Linux version")
            return None
        return Kind.CONTAINED_OOM if kind is Kind.OOM_KILL and self.oom_contained else kind

    def _expect(self, lines: int) -> None:
        """A report's title is still to come: keep up to so many lines for it."""
        if lines:
            self._close()
        self.prelude, self.prelude_room = [], lines

    def _continues(self, kind: Kind, said: str, number: int) -> bool:
        """Whether a title belongs to the report that is open already."""
        report = self.open
        if report is None or number - report.line > _SAME_REPORT_LINES:
            return False
        return report.kind in _HAS_MORE.get(kind, ()) and _MORE.match(said) is not None

    def _keep(self, said: str) -> None:
        if self.open is None:
            if self.prelude_room:
                self.prelude.append(_shown(said))
                self.prelude_room -= 1
            return
        self.open.lines.append(_shown(said))
        if _END.match(said) or len(self.open.lines) >= MAX_LINES or self.open.kind in _SHORT:
            self._close()

    def _close(self) -> None:
        report, self.open = self.open, None
        if report is None:
            return
        key = (report.kind, _NUMBERS.sub("#", report.title))
        if before := self.found.get(key):
            self.found[key] = replace(before, count=before.count + 1)
        elif len(self.found) < MAX_FINDINGS:
            lines = tuple(line for line in report.lines if line)
            self.found[key] = Finding(kind=report.kind, title=report.title, line=report.line, lines=lines)


# One-line reports: what follows them is something else.
_SHORT = frozenset({Kind.FAULT_OOM, Kind.OOM_KILL, Kind.CONTAINED_OOM, Kind.REBOOT})
# Reports that differ only in numbers (addresses, process ids) are one report that came again.
_NUMBERS = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{8,16}\b|\d+")
