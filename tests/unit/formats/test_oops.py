# SPDX-License-Identifier: GPL-2.0-or-later
"""The console scan: golden consoles of two architectures, and whatever hypothesis can think of."""

from __future__ import annotations

import re
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.formats import oops
from lab.formats.oops import Finding, Kind

GOLDEN = Path(__file__).parents[2] / "golden" / "console"

# Console -> every report on it, worst first, as kind and the words that must be in its title.
EXPECTED: dict[str, list[tuple[Kind, str]]] = {
    "x86_64-clean": [],
    "x86_64-panic": [(Kind.PANIC, "sysrq triggered crash")],
    "x86_64-oops-null": [(Kind.OOPS, "kernel NULL pointer dereference, address: 0000000000000018")],
    "x86_64-oops-panic": [
        (Kind.PANIC, "Fatal exception"),
        (Kind.OOPS, "unable to handle page fault for address: ffffea0010000008"),
    ],
    "x86_64-gpf": [(Kind.OOPS, "general protection fault")],
    "x86_64-bug": [(Kind.BUG, "kernel BUG at mm/shmem.c:1312!")],
    "x86_64-bad-page": [(Kind.BUG, "Bad rss-counter state")],
    "x86_64-sleeping": [(Kind.BUG, "sleeping function called from invalid context")],
    "x86_64-warning": [(Kind.WARNING, "mm/shmem.c:245 shmem_unacct_size")],
    "x86_64-kasan": [(Kind.KASAN, "slab-use-after-free in shmem_fault")],
    "x86_64-ubsan": [(Kind.UBSAN, "shift-out-of-bounds in mm/shmem.c:2411:19")],
    "x86_64-lockdep": [(Kind.LOCKDEP, "possible circular locking dependency detected")],
    "x86_64-soft-lockup": [(Kind.SOFT_LOCKUP, "CPU#1 stuck for 22s! [expand:93]")],
    "x86_64-hard-lockup": [(Kind.HARD_LOCKUP, "hard LOCKUP on cpu 2")],
    "x86_64-rcu-stall": [(Kind.RCU_STALL, "rcu_preempt detected stalls")],
    "x86_64-hung-task": [(Kind.HUNG_TASK, "task expand:93 blocked for more than 120 seconds")],
    "x86_64-oom": [(Kind.OOM_KILL, "Killed process 93 (limits)")],
    "x86_64-oom-memcg": [(Kind.CONTAINED_OOM, "Killed process 93 (limits)")],
    "x86_64-oom-mempolicy": [(Kind.CONTAINED_OOM, "Killed process 99 (numa_policy)")],
    "x86_64-fault-oom": [(Kind.FAULT_OOM, "VM_FAULT_OOM leaked out")],
    "x86_64-reboot": [(Kind.REBOOT, "SeaBIOS"), (Kind.REBOOT, "Linux version 6.12.95")],
    "arm64-oops-null": [(Kind.OOPS, "NULL pointer dereference at virtual address 0000000000000018")],
    "arm64-bug": [(Kind.PANIC, "Oops - BUG: Fatal exception"), (Kind.BUG, "kernel BUG at mm/shmem.c:1312!")],
    "arm64-init-killed": [(Kind.PANIC, "Attempted to kill init!")],
    "arm64-warning-7": [(Kind.WARNING, "mm/shmem.c:245 at shmem_unacct_size")],
    "arm64-rcu-stall": [(Kind.RCU_STALL, "rcu_sched self-detected stall on CPU")],
    "arm64-suspicious-rcu": [(Kind.LOCKDEP, "suspicious RCU usage")],
    "arm64-glued": [(Kind.WARNING, "mm/shmem.c:245")],
    # The whole console of a cell of the campaign `quick`, where a case has its cgroup run out of memory.
    "x86_64-real-run": [(Kind.CONTAINED_OOM, "Memory cgroup out of memory: Killed process")],
    "arm64-real-run": [(Kind.CONTAINED_OOM, "Memory cgroup out of memory: Killed process")],
    "arm64-poweroff": [(Kind.REBOOT, "Power down")],
    # What the sample `faults` makes of guests of the lab, from the start of the program until its end was known.
    "x86_64-real-panic": [(Kind.PANIC, "sysrq triggered crash")],
    "arm64-real-panic": [(Kind.PANIC, "sysrq triggered crash")],
    # What lkdtm makes of a kernel with sanitizers (the sample `kernel_faults`).
    "x86_64-real-warning": [(Kind.WARNING, "drivers/misc/lkdtm/bugs.c:112 lkdtm_WARNING")],
    "x86_64-real-bug": [(Kind.BUG, "kernel BUG at drivers/misc/lkdtm/bugs.c:105!")],
    "x86_64-real-oops": [
        (Kind.OOPS, "kernel NULL pointer dereference, address: 0000000000000000"),
        (Kind.KASAN, "null-ptr-deref in lkdtm_EXCEPTION"),
    ],
    "x86_64-real-soft-lockup": [(Kind.SOFT_LOCKUP, "CPU#1 stuck for 6s! [kernel_faults:85]")],
    "x86_64-real-rcu-stall": [(Kind.RCU_STALL, "rcu_preempt self-detected stall on CPU")],
    "x86_64-real-hung-task": [(Kind.HUNG_TASK, "task kernel_faults:85 blocked for more than 2 seconds")],
    "x86_64-real-use-after-free": [(Kind.KASAN, "slab-use-after-free in lkdtm_READ_AFTER_FREE")],
    "x86_64-real-array-bounds": [(Kind.UBSAN, "array-index-out-of-bounds in ../drivers/misc/lkdtm/bugs.c:406:16")],
    "x86_64-real-lock-kept": [
        (Kind.BUG, "sleeping function called from invalid context at fs/file_table.c:452"),
        (Kind.BUG, "scheduling while atomic: kernel_faults/84/0x00000002"),
        (Kind.LOCKDEP, "lock held when returning to user space!"),
    ],
    "x86_64-real-reset": [(Kind.REBOOT, "sysrq: Resetting")],
    "arm64-real-reset": [(Kind.REBOOT, "sysrq: Resetting")],
    "x86_64-real-power-off": [(Kind.REBOOT, "reboot: Power down")],
    "arm64-real-power-off": [(Kind.REBOOT, "reboot: Power down")],
    "arm64-real-oom-kill": [(Kind.OOM_KILL, "Killed process 80 (faults)")],
    "x86_64-real-blocked": [],  # asked what hangs: a show of states and stacks, no complaint
}


def scan(name: str) -> tuple[Finding, ...]:
    # A whole boot has one banner; the other consoles are slices of a run, where a banner means a reboot.
    return oops.scan((GOLDEN / f"{name}.log").read_text(), boots=1 if name.endswith(("clean", "real-run")) else 0)


def test_every_golden_console_has_an_expectation() -> None:
    assert sorted(EXPECTED) == sorted(path.stem for path in GOLDEN.glob("*.log"))


@pytest.mark.parametrize("name", EXPECTED)
def test_golden(name: str) -> None:
    found = scan(name)
    assert [finding.kind for finding in found] == [kind for kind, _ in EXPECTED[name]]
    for finding, (_, words) in zip(found, EXPECTED[name], strict=True):
        assert words in finding.title
        assert words in "\n".join(finding.lines)
        assert not any(re.match(r"\[ *\d+\.\d{6}\]", line) for line in finding.lines), "time stamps are taken off"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("x86_64-oops-null", "RIP: 0010:shmem_fault+0x4e/0x1f0"),
        ("x86_64-warning", "shmem: accounting underflow"),
        ("x86_64-kasan", "Read of size 8 at addr ffff888005c3a0e8 by task expand/93"),
        ("x86_64-oom", "dropbear invoked oom-killer: gfp_mask"),
        ("x86_64-hung-task", "rwsem_down_write_slowpath+0x1f2/0x5a0"),
        ("arm64-oops-null", "pc : shmem_fault+0x38/0x1c0"),
        ("arm64-bug", "SMP: stopping secondary CPUs"),
    ],
)
def test_excerpts_hold_what_a_reader_needs(name: str, line: str) -> None:
    assert line in "\n".join(scan(name)[0].lines)


@pytest.mark.parametrize(
    ("name", "stack"),
    [
        ("x86_64-real-panic", "sysrq_handle_crash < __handle_sysrq < write_sysrq_trigger < proc_reg_write"),
        # A return address behind a call that never returns belongs to whatever comes next.
        ("arm64-real-panic", "send_sig_all < __handle_sysrq < write_sysrq_trigger < proc_reg_write"),
        ("x86_64-oops-null", "shmem_fault"),
        ("arm64-oops-null", "shmem_fault < __do_fault"),
        ("x86_64-oom-memcg", ""),
    ],
)
def test_the_first_stack_is_told_by_its_functions(name: str, stack: str) -> None:
    found = " < ".join(scan(name)[0].stack)
    assert found.startswith(stack)
    assert bool(found) == bool(stack)


def test_an_excerpt_ends_where_the_kernel_says() -> None:
    assert "an ordinary line long after" not in "\n".join(scan("x86_64-oops-null")[0].lines)


@pytest.mark.parametrize(("name", "times"), [("x86_64-fault-oom", 500), ("x86_64-bad-page", 2), ("x86_64-warning", 2)])
def test_the_same_report_again_is_counted(name: str, times: int) -> None:
    (finding,) = scan(name)
    assert finding.count == times
    assert f"({times} times)" in str(finding)


def test_a_banner_is_a_reboot_only_where_no_boot_is_due() -> None:
    banner = "[    0.000000] Linux version 6.12.95 (x)\n"
    assert oops.scan(banner, boots=1) == ()
    assert [finding.kind for finding in oops.scan(banner * 2, boots=1)] == [Kind.REBOOT]
    assert oops.scan(banner)[0].kind.deadly


def test_a_banner_that_a_program_shows_is_no_reboot() -> None:
    banner = "Linux version 6.12.95 (x) #1\n"
    assert oops.scan(f"[    1.000000] own: hello\n{banner}") == ()
    assert [finding.kind for finding in oops.scan(f"own: hello\n{banner}")] == [Kind.REBOOT]
    assert [finding.kind for finding in oops.scan(f"[    1.000000] own\n[    0.000000] {banner}")] == [Kind.REBOOT]


def test_what_a_program_says_is_not_the_kernel() -> None:
    """A title counts at the start of a message only."""
    assert oops.scan("expand: I saw a BUG: in my soup\n[    1.000000] expand: Kernel panic - not syncing\n") == ()


def test_lines_are_printable_and_short() -> None:
    (finding,) = oops.scan("[    1.000000] BUG: \x1b[2J\x00" + "A" * 100_000 + "\n")
    assert "\x1b" not in finding.title
    assert "\\x1b[2J" in finding.title
    assert len(finding.title) <= oops.MAX_LINE


def test_tail_is_the_last_words() -> None:
    console = "[    1.000000] first\n" + "[    2.000000] more\n" * 50 + "\n\n[    3.000000] last\n"
    assert oops.tail(console)[-1] == "last"
    assert len(oops.tail(console, 5)) == 5


def test_the_states_that_were_asked_for_are_shown_from_their_beginning() -> None:
    """A running CPU's trace may be longer than what is kept of a console: its first lines name the CPU and the task."""
    trace = "".join(f"[    3.000000]  function_{number}+0x1/0x2\n" for number in range(40))
    console = (
        "[    1.000000] sysrq: Show Blocked State\n[    1.000000] sysrq: Show backtrace of all active CPUs\n"
        "[    2.000000] sysrq: Show Blocked State\n[    2.000000] task:reader state:D\n"
        + trace
        + "[    3.000000] sysrq: Show backtrace of all active CPUs\n[    3.000000] NMI backtrace for cpu 1\n"
        + trace
    )
    shown = oops.states(console)
    assert shown[:3] == ("sysrq: Show Blocked State", "task:reader state:D", " function_0+0x1/0x2")
    assert shown[12:14] == ("sysrq: Show backtrace of all active CPUs", "NMI backtrace for cpu 1")
    assert len(shown) == 24
    assert oops.states("[    1.000000] sysrq: Show backtrace of all active CPUs\n") == ()
    assert len(oops.states("sysrq: Show Blocked State\n")) == 1


TITLES = st.sampled_from(
    [line for path in sorted(GOLDEN.glob("*.log")) for line in path.read_text().split("\n")[:40] if line]
)


@given(st.lists(st.one_of(TITLES, st.text(max_size=60)), max_size=80).map("\n".join))
def test_never_raises_and_is_bounded(console: str) -> None:
    found = oops.scan(console)
    assert len(found) <= oops.MAX_FINDINGS
    assert all(len(finding.lines) <= oops.MAX_LINES for finding in found)
    assert all(len(line) <= oops.MAX_LINE and line.isprintable() for finding in found for line in finding.lines)


def test_many_reports_are_bounded() -> None:
    console = "".join(f"[    1.000000] BUG: thing {chr(97 + n % 26) * (n % 40 + 1)}\n---[ end x\n" for n in range(5000))
    assert len(oops.scan(console)) == oops.MAX_FINDINGS


def test_the_worst_are_kept_of_many() -> None:
    """Kills that a test provokes, each of another program, must not hide what the kernel complains of behind them."""
    kills = [f"Memory cgroup out of memory: Killed process 80 ({'x' * n})" for n in range(1, oops.MAX_FINDINGS + 9)]
    lines = [*kills, "WARNING: CPU: 0 PID: 80 at mm/own.c:12", "BUG: own complaint", *kills]
    found = oops.scan("".join(f"[    1.000000] {line}\n" for line in lines))
    assert len(found) == oops.MAX_FINDINGS
    assert [finding.kind for finding in found[:3]] == [Kind.BUG, Kind.WARNING, Kind.CONTAINED_OOM]
    assert found[2].title == kills[0]


@pytest.mark.parametrize("talk", [500, 1000, 1015, 1030, 5000])
def test_a_complaint_behind_much_talk_without_a_newline_is_found(talk: int) -> None:
    line = f"{'.' * talk}[    1.000000] own: hello[    1.000001] WARNING: CPU: 0 PID: 80 at mm/own.c:12 own+0x1/0x2\n"
    (finding,) = oops.scan(f"first\n{line}[    1.000002] own: hello\n")
    assert (finding.kind, finding.line) == (Kind.WARNING, 2)
    assert finding.title == "WARNING: CPU: 0 PID: 80 at mm/own.c:12 own+0x1/0x2"


def test_a_flood_is_scanned_in_a_moment() -> None:
    """Ten megabytes in one line, and as many short lines that look almost like something."""
    assert oops.scan("x" * 10_000_000) == ()
    assert oops.scan("rcu: [#] fault INFO: almost\n" * 100_000) == ()
    assert oops.scan("[    1.000000]" * 100_000) == ()


STACK = """\
CPU: 0 UID: 0 PID: 9 Comm: own Not tainted 7.2.0 #1
Call Trace:
 <TASK>
 dump_stack_lvl+0x5d/0x80
 inner+0x1/0x2
 </TASK>
"""


@pytest.mark.parametrize(
    "title",
    [
        "own: page allocation stall for 10 secs: order:0, mode:0xcc0(GFP_KERNEL) nodemask=0,cpuset=/,mems_allowed=0",
        "own: vmemmap alloc failure: order:9, mode:0xcc0(GFP_KERNEL), nodemask=(null)",
        "own: own alloc failure: order:9, mode:0x4cc0(GFP_KERNEL|__GFP_RETRY_MAYFAIL), nodemask=0-1",
        "The following trace is a kernel self test and not a bug!",
        "percpu: allocation failed, size=8192 align=8 atomic=0, alloc from reserved chunk failed",
        "mm: GUP no longer grows the stack in own (99): 7f0000000000-7f0000001000 (7f0000000000)",
    ],
)
def test_a_stack_that_is_shown_for_an_allocation_is_no_report(title: str) -> None:
    assert oops.scan(f"{title}\n{STACK}") == ()


def test_a_fault_that_arm_shows_is_the_kernels_only_if_it_dies() -> None:
    fault = "8<--- cut here ---\nUnhandled fault: alignment exception (0x011) at 0x00010001\n[00010001] *pgd=0\n"
    assert oops.scan(fault) == oops.scan(fault.partition("\n")[2]) == ()
    (finding,) = oops.scan(f"{fault}Internal error: : 11 [#1] SMP ARM\nPC is at inner+0x1/0x2\n")
    assert (finding.kind, finding.stack) == (Kind.OOPS, ("inner",))
    assert any(line.startswith("Unhandled fault: alignment") for line in finding.lines)


WORDS = (
    *("BUG: Bad page state", "------------[ cut here ]------------", "CPU: 0 PID: 1 Comm: x", "Call Trace:"),
    *("RIP: 0010:f+0x1/0x2", " dump_stack_lvl+0x1/0x2", "---[ end trace 0 ]---", "x invoked oom-killer: gfp", "plain"),
    *("Ker\x1b[0mnel panic - not syncing: x", "INFO: task a", "b:1 blocked for more than 3 s", "Modules linked in: x"),
    *("---[ end Kernel panic - not syncing: x ]---", "[    1.000000] ", "\r", "kernel ", "fault"),
)


@given(st.lists(st.sampled_from(WORDS), max_size=12), st.sampled_from(["\n", " ", "\n[    1.000000] "]))
def test_what_is_not_scanned_holds_no_report(words: list[str], between: str) -> None:
    console = between.join(words)
    if not oops._may_hold_report(console):
        with mock.patch.object(oops, "_may_hold_report", return_value=True):
            assert oops.scan(console) == ()


@pytest.mark.parametrize("name", EXPECTED)
def test_each_line_of_a_console_that_is_not_scanned_holds_no_report(name: str) -> None:
    for line in (GOLDEN / f"{name}.log").read_text().split("\n"):
        if not oops._may_hold_report(line):
            with mock.patch.object(oops, "_may_hold_report", return_value=True):
                assert oops.scan(line) == ()


def test_an_ordinary_console_is_not_scanned() -> None:
    assert not oops._may_hold_report("[    3.123456] random: crng init done\n" * 9)


@pytest.mark.parametrize("path", ["guest_tests/lab_mark.h", "lab/report/page.js"])
def test_whoever_writes_or_reads_the_beginning_of_a_case_has_the_same_words(path: str) -> None:
    assert oops.CASE_MARK in (Path(__file__).parents[3] / path).read_text()
