# SPDX-License-Identifier: GPL-2.0-or-later
"""Every kind of complaint, of every architecture, in small consoles of our own: what it is, and what is none."""

from __future__ import annotations

from time import monotonic

import pytest

from lab.formats import oops
from lab.formats.oops import Finding, Kind

NOTHING = (
    "WARNING: The mand mount option is going away",
    "WARNING: fbcon: driver 'own' did not adjust its mode",
    "WARNING: kernel stack regs at ffff888000001000 in expand:80 has bad 'bp' value 0000000000000001",
    "WARNING: kernel stack frame pointer at ffff888000001000 in expand:80 has bad value 0000000000000001",
    "WARNING: /etc/own.conf is missing",
    "WARNING: possible data loss in own.db",
    "INFO: lockdep is turned off.",
    "INFO: NMI handler (own_nmi) took too long to run: 1.002 msecs",
    "kmemleak: Kernel memory leak detector initialized (mem pool available: 15700)",
    "traps: own[80] general protection fault ip:401000 sp:7ffc0000 error:0 in own[400000+1000]",
    "watchdog: CPU 1 became unstuck TB:12345",
    "own: finished job [#1] in time",
    "own: list [#1, #2]",
    "own: see issue [#42]",
    "fixed: own in own.c [#7]",
    "fixed own [#123456]",
    "own: page allocation failure: order:0, mode:0x40820(GFP_ATOMIC|__GFP_COMP), nodemask=(null)",
    "own: page allocation failure: order:4, mode:0x40cc0(GFP_KERNEL|__GFP_COMP), nodemask=(null)",
    "own: vmalloc error: size 8192, failed to allocate pages, mode:0xcc0(GFP_KERNEL), nodemask=(null)",
    "WARNING: [own advice] is at hand",
    "Linux version 6.12 is required by own",
    "general protection fault test of own: passed",
    "double fault tolerance of own: on",
    "Internal error: own assertion failed",
    "INFO: task list of own is not blocked",
    "Division by zero in kernel code of own: passed",
    "INFO: rcu_own detected nothing",
    "VFS: own: Close: file count is 0",
    "Data bus error, epc == 00400000, ra == 00400010",
    "own(80): unaligned trap at 0000000120001000: 0000000120001001 28 1",
    "own: pool_init: 3 buffers already free",
    "own: the pool is busy",
    "vmstat_refresh: nr_own 3",
    "Checked W+X mappings: passed, no W+X pages found",
    "own machine check expected.",
    "own_drain() shut the pool down",
    "WARNING: at least one of own is missing",
    "Memory failure: 0x1234: Sending SIGBUS to own:80 due to hardware memory corruption",
    "Memory failure: 0x1234: recovery action for dirty LRU page: Failed",
    "mce: [Hardware Error]: Machine check events logged",
    "EXT4-fs error (device own): own_lookup:12: inode #2: comm own: deleted inode referenced: 13",
    "own_net own0 eth0: NETDEV WATCHDOG: CPU: 1: transmit queue 0 timed out 5024 ms",
    "clocksource: timekeeping watchdog on CPU1: Marking clocksource 'own' as unstable because the skew is too large:",
    "workqueue: own_work hogged CPU for >10000us 4 times, consider switching to WQ_UNBOUND",
    "hrtimer: interrupt took 3000000 ns",
    "page dumped because: unmovable page",
    "own[80]: segfault at 0 ip 0000000000401000 sp 00007ffc error 4 in own[400000+1000]",
    "Disabling lock debugging due to kernel taint",
    "own: loading out-of-tree module taints kernel.",
    "oom_reaper: reaped process 80 (own), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB",
    "rcu: INFO: Stall ended before state dump start",
    "WARNING: own.py:12 at position 3",
    "WARNING: own:3:12 at the end of the line",
    "Oops: this face was not seen before",
    "Oops: own configuration error",
    "Oops - once more",
    "Unhandled exception. own.Error: no such file",
    "Unhandled exception: own.Error",
    "PANIC: Failed to open own.conf",
    "double fault: no",
    "Bad mode in own.conf: 0888",
    "CFI failure rate of own: 0",
    "Insufficient stack space for own",
    "kobject: 'own' (ffff888000001000): kobject_add_internal: parent: 'devices', set: 'devices'",
)
TITLES = (
    (Kind.HARD_LOCKUP, "watchdog: CPU3: Watchdog detected hard LOCKUP on cpu 3"),
    (Kind.HARD_LOCKUP, "watchdog: CPU 1 detected hard LOCKUP on other CPUs 0"),
    (Kind.HARD_LOCKUP, "watchdog: CPU 1 self-detected hard LOCKUP @ own_spin+0x10/0x20"),
    (Kind.HARD_LOCKUP, "watchdog: CPU 0 Hard LOCKUP"),
    (Kind.HARD_LOCKUP, "NMI watchdog: Watchdog detected hard LOCKUP on cpu 2"),
    (Kind.SOFT_LOCKUP, "watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [own:80]"),
    (Kind.BUG, "pagealloc: memory corruption"),
    (Kind.BUG, "pagealloc: single bit error"),
    (Kind.BUG, "mm/own-generic.c:54: bad pmd ffff888000001000(8000000012345067)"),
    (Kind.BUG, "arch/own/mm.c:7: bad pte 00012345."),
    (Kind.BUG, "_swap_info_get: Bad swap file entry 2400000000000001"),
    (Kind.BUG, "swap_own: Unused swap offset entry 00000007"),
    (Kind.BUG, "BUG: Bad page state in process own  pfn:00123"),
    (Kind.BUG, "BUG: Bad page map in process own  pte:00000123 pmd:00000456"),
    (Kind.BUG, "BUG own-64 (Not tainted): Poison overwritten"),
    (Kind.BUG, "BUG own cache (Tainted: G    B             ): Object already free"),
    (Kind.BUG, "BUG: scheduling while atomic: own/80/0x00000002"),
    (Kind.BUG, "BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 31s!"),
    (Kind.BUG, "list_del corruption. prev->next should be ffff888000001000, but was 0000000000000000"),
    (Kind.BUG, "usercopy: Kernel memory overwrite attempt detected to SLUB object 'own' (offset 0, size 9)!"),
    (Kind.BUG, "Kernel bug detected[#1]:"),
    (Kind.BUG, "Kernel BUG [#1]"),
    (Kind.BUG, "CPU 0 own(80): Kernel Bug 1"),
    (Kind.BUG, "kmemleak: 5 new suspected memory leaks (see /sys/kernel/debug/kmemleak)"),
    (Kind.HUNG_TASK, "unregister_netdevice: waiting for lo to become free. Usage count = 2"),
    (Kind.HUNG_TASK, "INFO: task own:80 blocked in I/O wait for more than 120 seconds."),
    (
        Kind.OOPS,
        "CPU 0 Unable to handle kernel paging request at virtual address 00000008, epc == 80123456, ra == 80123450",
    ),
    (Kind.OOPS, "Oops[#1]:"),
    (Kind.OOPS, "own trap in kernel code[#12]:"),
    (Kind.OOPS, "illegal operation: 0001 ilc:1 [#1] SMP "),
    (Kind.OOPS, "operand exception: 0015 ilc:2 [#1]PREEMPT SMP DEBUG_PAGEALLOC"),
    (Kind.OOPS, "load access fault [#1]"),
    (Kind.OOPS, "own(80): Kernel illegal instruction [#1]"),
    (Kind.OOPS, "CPU 0 own(80): Arithmetic fault 0"),
    (Kind.OOPS, "own(80): Instruction fault -1"),
    (Kind.OOPS, "bad frame format: 00000000"),
    (Kind.OOPS, "BAD KERNEL TRAP: 00000000"),
    (Kind.OOPS, "segment-related general protection fault: beec [#1] PREEMPT SMP"),
    (Kind.OOPS, "Bad pagetable: 000d [#1] SMP PTI"),
    (Kind.OOPS, "Internal error: undefined own: 0 [#1] SMP ARM"),
    (Kind.OOPS, "Oops: Exception in own mode, sig: 5 [#1]"),
    (Kind.OOPS, "BUG: Kernel NULL pointer dereference on read at 0x00000018"),
    (Kind.OOPS, "BUG: Unable to handle kernel instruction fetch"),
    (
        Kind.PANIC,
        "PANIC: invalid or fatal FRED event; event type 3 vector 14 error 0x0 aux 0x0 at 0010:0xffffffff81000000",
    ),
    (Kind.PANIC, "PANIC: early exception 0x0e IP 10:ffffffff81000000 error 0 cr2 0x8"),
    (Kind.LOCKDEP, "WARNING: bad contention detected!"),
    (Kind.LOCKDEP, "WARNING: bad unlock balance detected!"),
    (Kind.LOCKDEP, "WARNING: possible circular locking dependency detected"),
    (Kind.LOCKDEP, "WARNING: SOFTIRQ-safe -> SOFTIRQ-unsafe lock order detected"),
    (Kind.LOCKDEP, "WARNING: own/80 still has locks held!"),
    (Kind.LOCKDEP, "BUG: MAX_STACK_TRACE_ENTRIES too low!"),
    (Kind.LOCKDEP, "BUG: key ffff888000001000 has not been registered!"),
    (Kind.LOCKDEP, "[ BUG: Invalid wait context ]"),
    (Kind.WARNING, "WARNING: CPU: 1 PID: 80 at mm/own.c:12 own_fault+0x10/0x20"),
    (Kind.WARNING, "WARNING: mm/own.c:12 at own_fault+0x10/0x20, CPU#1: own/80"),
    (Kind.WARNING, "WARNING: at mm/own.c:12 own_fault+0x10/0x20()"),
    (Kind.WARNING, "WARNING: [!own_locked(folio) && order > 1] mm/own.c:12 at own_fault+0x10/0x20, CPU#1: own/80"),
    (Kind.BUG, "VFS: Busy inodes after unmount of own. Self-destruct in 5 seconds.  Have a nice day..."),
    (Kind.BUG, "BUG at own_validate:7599 (1)"),
    (Kind.WARNING, "WARN at own_validate:7599 (1)"),
    (Kind.BUG, "do_IRQ: stack overflow: 420"),
    (Kind.BUG, "stackcheck: own will most likely overflow kernel stack (sp:1, stk bottom-top:2-3)"),
    (Kind.BUG, "softirq: huh, entered softirq 3 NET_RX 00001000 with preempt_count 00000101, exited with 00000102?"),
    (Kind.KASAN, "BUG: KFENCE: use-after-free read in own_fault+0x10/0x20"),
    (Kind.KASAN, "BUG: KMSAN: uninit-value in own_fault+0x10/0x20"),
    (Kind.KASAN, "BUG: KCSAN: data-race in own_fault / own_write"),
    (Kind.UBSAN, "UBSAN: shift-out-of-bounds in mm/own.c:12:3"),
    (
        Kind.RCU_STALL,
        "rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 1-... } 21002 jiffies s: 1 root: 0x2/.",
    ),
    (Kind.RCU_STALL, "INFO: rcu_tasks detected stalls on tasks:"),
    (Kind.SOFT_LOCKUP, "NMI watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [own:80]"),
    (Kind.HARD_LOCKUP, "Watchdog CPU:1 Hard LOCKUP"),
    (Kind.OOPS, "BUG: stack guard page was hit at 00000000e1ed1a8f (stack is 0000000000000000..0000000000004000)"),
    (Kind.OOPS, "Internal error: own exception: 000000008a000000 [#1]  SMP"),
    (Kind.HUNG_TASK, "INFO: task own:80 can't die for more than 143 seconds."),
    (Kind.BUG, "VFS: Close: file count is 0"),
    (Kind.WARNING, "WARNING: at own_fault+0x10/0x20, CPU#1: own/80"),
    (Kind.WARNING, "WARNING: at 0xffffffff81000000, CPU#1: own/80"),
    (Kind.WARNING, "WARNING: rust/kernel/own.rs:12 at own_fault+0x10/0x20, CPU#1: own/80"),
    (Kind.OOPS, "Oops: 0002"),
    (Kind.OOPS, "OOPS: Bogus kernel PC [0000000000456789] in fault handler"),
    (Kind.OOPS, "COP2: Unhandled own access or invalid instruction[#3]:"),
    (Kind.OOPS, "Oops: 00000000"),
    (Kind.OOPS, "Oops: Kernel access of own area, sig: 11"),
    (Kind.OOPS, "Oops: own trap: 0000"),
    (Kind.OOPS, "Unhandled 64-bit el1h sync exception on CPU0, ESR 0x0000000002000000 -- Unknown/Uncategorized"),
    (Kind.OOPS, "Bad mode in FIQ handler detected"),
    (Kind.OOPS, "Fixing recursive fault but reboot is needed!"),
    (Kind.OOPS, "own(80): unhandled unaligned exception"),
    (Kind.OOPS, "die_if_kernel recursion detected."),
    (Kind.OOPS, "SUN4V-DTLB: Error at TPC[456789], tl 1"),
    (Kind.OOPS, "Unexpected kernel BRK exception at EL1"),
    (Kind.WARNING, "Unexpected kernel single-step exception at EL1"),
    (Kind.WARNING, "Kernel unaligned access at TPC[456789] own_fault+0x10/0x20"),
    (Kind.WARNING, "unchecked MSR access error: RDMSR from 0x123 at rIP: 0xffffffff81000000 (own_fault+0x10/0x20)"),
    (Kind.WARNING, "NOHZ tick-stop error: local softirq work is pending, handler #08!!!"),
    (Kind.WARNING, 'irq 17: nobody cared (try booting with the "irqpoll" option)'),
    (Kind.WARNING, "irq event 17: bogus return value ffffffea"),
    (Kind.WARNING, 'genirq: exiting task "own" (80) is an active IRQ thread (irq 17)'),
    (Kind.WARNING, "vmstat_refresh: nr_own -3"),
    (Kind.WARNING, "Inconsistency in POSIX message queue, no tree element, but supposedly messages should exist!"),
    (Kind.WARNING, "page_pool_own() stalled pool shutdown: id 3, 2 inflight 60 sec"),
    (Kind.WARNING, "sysfs: cannot create duplicate filename '/devices/own'"),
    (
        Kind.WARNING,
        "kobject (ffff888000001000): tried to init an initialized object, something is seriously wrong.",
    ),
    (Kind.BUG, "SLUB own-64: 3 partial slabs counted but counter=4"),
    (Kind.BUG, "SLUB: own-64 3 slabs counted but counter=4"),
    (Kind.BUG, "own-pci 0000:00:01.0: pool_check_block own, ffff888000001000 (corrupted)"),
    (Kind.BUG, "own-pci 0000:00:01.0: pool_block_err own, dma 0x0000000000001000 already free"),
    (Kind.BUG, "own-pci 0000:00:01.0: dma_pool_free own, ffff888000001000/0x0000000000001000 (bad dma)"),
    (Kind.BUG, "own-pci 0000:00:01.0: dma_pool_destroy own busy"),
    (Kind.BUG, "percpu_ref_own: percpu_ref_own(): percpu_ref underflow"),
    (Kind.BUG, "rcu: call_rcu(): Double-freed CB ffff888000001000->own_free+0x10/0x20()!!!"),
    (Kind.BUG, "own_recycle() page_pool refcnt 2 violation"),
    (Kind.BUG, "own-pci 0000:00:01.0: dma_pool_free own, ffff888000001000 (bad vaddr)/0x0000000000001000"),
    (Kind.BUG, "psi: inconsistent task state! task=80:own cpu=1 psi_flags=4 clear=0 set=4"),
    (Kind.BUG, "bad: scheduling from the idle thread!"),
    (Kind.BUG, "zsmalloc: Class-12 fullness group 3 is not empty"),
    (Kind.BUG, "IPv4: Attempt to release alive inet socket ffff888000001000"),
    (Kind.BUG, "neighbour: neighbour leakage"),
)


def scan(*messages: str, prefix: str = "[    1.000000] ") -> tuple[Finding, ...]:
    return oops.scan("".join(f"{prefix}{message}\n" for message in messages))


@pytest.mark.parametrize("message", NOTHING)
@pytest.mark.parametrize("prefix", ["", "[    1.000000] ", "[    1.000000][   T80] "])
def test_advice_and_programs_are_no_complaint(message: str, prefix: str) -> None:
    assert scan(message, prefix=prefix) == ()


@pytest.mark.parametrize(("kind", "message"), TITLES)
@pytest.mark.parametrize("prefix", ["", "[    1.000000] ", "[    1.000000][    C1] "])
def test_every_complaint_has_its_kind(kind: Kind, message: str, prefix: str) -> None:
    (finding,) = scan(message, prefix=prefix)
    assert finding.kind is kind
    assert finding.title == " ".join(message.split())


@pytest.mark.parametrize(
    "prefix",
    [
        "Jan 02 03:04:05 own kernel: ",
        "Jan  2 03:04:05 own kernel: [    1.000000] ",
        "2026-01-02T03:04:05.123456+01:00 own kernel: ",
        "kernel: ",
        "[Fri Jan  2 03:04:05 2026] ",
        "kern  :warn  : [    1.000000] ",
        "[  +0.000003] ",
        "[    1.000000] \x1b[31m\x1b[1m",
        "[    1.000000] [   T80] ",
        "[    1.000000 (0)] ",
        "4,1234,1000000,-;",
        "4,1234,1000000,-,caller=T80;",
        "[    1.000000][   T80]  ",
        "own login: [    1.000000] ",
        "\r\x1b[0m[    1.000000] ",
    ],
)
def test_a_complaint_is_found_behind_what_forwards_it(prefix: str) -> None:
    (finding,) = scan("BUG: KASAN: use-after-free in own_fault+0x10/0x20", prefix=prefix)
    assert finding.kind is Kind.KASAN


def test_a_program_that_names_the_kernel_is_not_its_log() -> None:
    assert scan("own: kernel: BUG: no", "my kernel: BUG: no", "4,5: BUG: no", prefix="") == ()


@pytest.mark.parametrize(
    "message",
    [
        "IPv6: BUG: Address fe80::1 on device own is missing its host route.",
        "own 0000:00:03.0 eth0: BUG! the ring is full when the queue is awake!",
        "own: own adapter 3: BUG: a packet has ended too early",
        "own_bitmap: BUG BUG BUG! p_addr:0000000012345678",
        "own: BUG -- txdp out of range",
        "NEIGH: BUG, double timer add, state is 12",
    ],
)
def test_a_driver_that_says_bug_complains_if_the_line_is_the_kernels(message: str) -> None:
    for prefix in ("[    1.000000] ", "[    1.000000][   T80] ", "Jan  2 03:04:05 own kernel: "):
        (finding,) = scan(message, prefix=prefix)
        assert (finding.kind, finding.title) == (Kind.BUG, " ".join(message.split()))
    assert scan(message, prefix="") == ()


@pytest.mark.parametrize(
    "message",
    [
        "systemd[1]: own: BUG: no",
        "own: see BUG: 3 of them",
        "ACPI BIOS Error (bug): own",
        "own: DEBUG: no",
        "own: BUGS",
    ],
)
def test_other_words_behind_a_name_are_no_complaint(message: str) -> None:
    assert scan(message) == ()


def test_an_allocation_that_fails_is_none_if_another_cpu_breaks_its_line() -> None:
    assert not scan(
        "own: page allocation failure: order:4, mode:0xcc0(GFP_KERNEL), nodemask=(null)",
        "own 0000:00:01.0: another line",
        ",cpuset=/,mems_allowed=0",
        "CPU: 1 UID: 0 PID: 80 Comm: own Not tainted 6.12.1 #1",
        "Call Trace:",
        " <TASK>",
        " dump_stack_lvl+0x5d/0x80",
        " warn_alloc+0x163/0x190",
        " </TASK>",
    )


def test_a_long_word_behind_the_counter_is_read_in_a_moment() -> None:
    start = monotonic()
    assert scan("own [#1] " + "A" * 300 + "!") == ()
    assert monotonic() - start < 1


def test_a_stack_with_the_lines_of_the_source_has_its_functions() -> None:
    (finding,) = scan(
        "WARNING: CPU: 1 PID: 80 at mm/own.c:12 own_fault+0x10/0x20",
        "RIP: 0010:own_fault (mm/own.c:12 mm/own.c:40 (discriminator 3)) ",
        "Call Trace:",
        " <TASK>",
        " ? own_guess (mm/own.c:7) ",
        " own_caller (./include/own.h:7 mm/own.c:80) own",
        " </TASK>",
    )
    assert finding.stack == ("own_fault", "own_caller")


@pytest.mark.parametrize(
    ("kind", "messages"),
    [
        (Kind.OOPS, ["BUG: Kernel NULL pointer dereference on read at 0x00000018", "Faulting instruction: 0x1"]),
        (Kind.OOPS, ["CPU 0 Unable to handle kernel paging request at virtual address 00000008, epc == 1, ra == 2"]),
        (Kind.BUG, ["kernel BUG at mm/own.c:12!"]),
        (Kind.BUG, ["Kernel bug at mm/own.c:12"]),
        (Kind.OOPS, ["Unable to handle kernel NULL pointer dereference", "tsk->context = 1", r"   \|/ ____ \|/"]),
        (Kind.OOPS, ["kernel tried to execute NX-protected page - exploit attempt? (uid: 0)"]),
        (Kind.PANIC, ["PANIC: invalid or fatal FRED event; event type 3"]),
        (Kind.OOPS, ["Data bus error, epc == 80123456, ra == 80123450"]),
        (Kind.OOPS, ["Unexpected kernel BRK exception at EL1"]),
    ],
)
@pytest.mark.parametrize(
    "die",
    [
        "Oops: Kernel access of own area, sig: 11 [#1]",
        "Oops[#1]:",
        "own(80): Kernel own instruction [#1]",
        "monitor event: 0040 ilc:2 [#1] SMP ",
        "Kernel BUG [#1]",
        "CPU 0 own(80): Kernel Bug 1",
        "Internal error: Oops - BUG: 00000000f2000800 [#1] PREEMPT SMP",
    ],
)
def test_what_die_prints_belongs_to_the_complaint_before_it(kind: Kind, messages: list[str], die: str) -> None:
    (finding,) = scan(*messages, die, "CPU: 0 PID: 80 Comm: own")
    assert finding.title == messages[0]
    assert finding.kind is kind
    assert die.rstrip() in finding.lines


@pytest.mark.parametrize(
    "warning", [[], ["------------[ cut here ]------------", "WARNING: mm/slub.c:1239 at own+0x1/0x2"]]
)
def test_slub_reports_in_its_own_words(warning: list[str]) -> None:
    dump = [f"Object   ffff88800000{number:04x}: 6b 6b 6b 6b  kkkk" for number in range(0, 4096, 16)]
    (finding,) = scan(
        "=============================================================================",
        "BUG own-64 (Not tainted): Poison overwritten",
        "-----------------------------------------------------------------------------",
        "0xffff888000001000-0xffff888000001001 @offset=64. First byte 0x61 instead of 0x6b",
        *dump,
        *warning,
        "Call Trace:",
        " own_free+0x10/0x20",
    )
    assert finding.kind is Kind.BUG
    assert "First byte 0x61 instead of 0x6b" in finding.lines[2]
    assert finding.stack == ("own_free",)


def test_the_text_of_a_warning_is_no_report_of_its_own() -> None:
    cut = "------------[ cut here ]------------"
    (finding,) = scan(cut, "list_del corruption, 1->next is NULL", "WARNING: CPU: 0 PID: 80 at lib/own.c:5 own+0x1/0x2")
    assert finding.kind is Kind.WARNING
    (finding,) = scan("list_add corruption. next is NULL", cut, "kernel BUG at lib/own.c:5!")
    assert finding.kind is Kind.BUG
    assert finding.lines[-1] == "kernel BUG at lib/own.c:5!"


def test_a_corrupted_list_is_a_bug_of_its_own_kind() -> None:
    (finding,) = scan(
        "list_del corruption. prev->next should be ffff888000001000, but was 0000000000000000",
        "------------[ cut here ]------------",
        "kernel BUG at lib/own.c:5!",
        "Oops: invalid opcode: 0000 [#1] SMP",
    )
    assert finding.kind is Kind.BUG


def test_the_trap_of_m68k_belongs_to_its_bug() -> None:
    (finding,) = scan(
        "kernel BUG at mm/own.c:12!",
        "*** TRAP #7 ***   FORMAT=0",
        "BAD KERNEL TRAP: 00000000",
        "PC: [<00001234>] inner+0x1/0x2",
        "Call Trace: [<00001238>] caller+0x1/0x2",
    )
    assert (finding.kind, finding.stack) == (Kind.BUG, ("inner", "caller"))


def test_what_follows_a_panic_is_its_own() -> None:
    panic, overflow = scan(
        "Insufficient stack space to handle exception!",
        *("CPU: 0 PID: 80 Comm: own", "pc : inner+0x1/0x2", "lr : caller+0x1/0x2"),
        "Kernel panic - not syncing: kernel stack overflow",
        *("CPU: 0 PID: 80 Comm: own", "Call trace:", " dump_stack_lvl+0x1/0x2", " panic+0x1/0x2"),
        *(" panic_bad_stack+0x1/0x2", " handle_bad_stack+0x1/0x2", " __bad_stack+0x1/0x2", " outer+0x1/0x2"),
    )
    assert (panic.kind, panic.stack) == (Kind.PANIC, ("outer",))
    assert (overflow.kind, overflow.stack) == (Kind.OOPS, ("inner",))


def test_a_task_may_have_a_newline_in_its_name() -> None:
    (finding,) = scan("INFO: task own", "task:80 blocked for more than 143 seconds.", "      Not tainted 6.12")
    assert (finding.kind, finding.title) == (
        Kind.HUNG_TASK,
        "INFO: task own task:80 blocked for more than 143 seconds.",
    )


def test_a_line_may_hold_two_messages() -> None:
    line = "[    1.000000] WARNING: CPU: 0 PID: 80 at mm/own.c:12 own+0x1/0x2[    1.000001] BUG: Bad own state\n"
    assert [finding.kind for finding in oops.scan(line)] == [Kind.BUG, Kind.WARNING]


@pytest.mark.parametrize(
    "prefix",
    [
        "<4>",
        "<4>[    1.000000] ",
        "\x00\x00",
        "\ufffd\x00\ufffd",
        "\r\x1b[0m",
        "    1.000000] ",
        "[    1.0000] ",
        ".000000] ",
        "ok 1 own[    1.000000] ",
    ],
)
def test_what_a_serial_port_adds_or_loses_before_a_message_hides_nothing(prefix: str) -> None:
    (finding,) = scan("BUG: scheduling while atomic: own/80/0x00000002", prefix=prefix)
    assert finding.title == "BUG: scheduling while atomic: own/80/0x00000002"


def test_an_indented_message_of_a_program_is_no_message_of_the_kernel() -> None:
    assert scan("    # BUG: own words", "  0.5: BUG: own words", "[1/3] BUG: own words", prefix="") == ()


CUT, END = "------------[ cut here ]------------", "---[ end trace 0000000000000000 ]---"
HEADER = "CPU: 0 UID: 0 PID: 80 Comm: own Not tainted 6.12.0 #1"
DUMPED = ("Call Trace:", " <TASK>", " dump_stack_lvl+0x1/0x2", " inner+0x1/0x2", " caller+0x1/0x2", " </TASK>")
WARNED = ("RIP: 0010:inner+0x1/0x2", "Code: 90", "Call Trace:", " <TASK>", " caller+0x1/0x2", " </TASK>")


@pytest.mark.parametrize("prefix", ["", "[    1.000000] ", "[    1.000000][   T80] "])
@pytest.mark.parametrize(
    ("title", "messages"),
    [
        ("irq 17: nobody came", ("irq 17: nobody came", HEADER, "Hardware name: own", *DUMPED)),
        ("own: something is wrong", ("own: something is wrong", HEADER, *DUMPED, "own: an ordinary line")),
        ("WARNIG: CP: 0 PD: 80 at mm/own.c", (CUT, "WARNIG: CP: 0 PD: 80 at mm/own.c", HEADER, *WARNED, END)),
        ("RIP: 0010:inner+0x1/0x2", ("** 12 printk messages dropped **", *WARNED, END)),
        ("(t=5250 jiffies g=-1187)", ("(t=5250 jiffies g=-1187)", HEADER, "Hardware name: own", *WARNED)),
        ("own: this device is broken", (CUT, "own: this device is broken")),
        (CUT, (CUT,)),
    ],
)
def test_a_report_without_a_known_title_is_a_warning(title: str, messages: tuple[str, ...], prefix: str) -> None:
    (finding,) = scan("own: an ordinary line", *messages, prefix=prefix)
    assert (finding.kind, finding.title) == (Kind.WARNING, title)
    assert finding.stack in (("inner", "caller"), ())
    assert bool(finding.stack) == (" caller+0x1/0x2" in messages)


def test_arm_shows_the_stack_of_a_report_without_a_known_title() -> None:
    trace = (" unwind_backtrace from show_stack+0x1/0x2", " show_stack from dump_stack_lvl+0x1/0x2")
    (finding,) = scan("own: wrong", HEADER, *trace, " dump_stack_lvl from inner+0x1/0x2", " inner from caller+0x1/0x2")
    assert finding.stack == ("inner", "caller")


def test_the_end_of_a_panic_is_enough() -> None:
    end = "---[ end Kernel panic - not syncing: own end ]---"
    (finding,) = scan("Krnel panic - nt syncing: own end", "Kernel Offset: disabled", end)
    assert (finding.kind, finding.title) == (Kind.PANIC, end)
    (finding,) = scan("Kernel panic - not syncing: own end", "Kernel Offset: disabled", end)
    assert finding.title == "Kernel panic - not syncing: own end"


@pytest.mark.parametrize(
    "messages",
    [
        ("sysrq: Show backtrace of all active CPUs", "NMI backtrace for cpu 0", HEADER, *DUMPED),
        ("sysrq: Show State", "task:own  state:S stack:0 pid:80", *WARNED[2:], "Showing all locks held in the system:"),
        ("sysrq: Show Regs", "", HEADER, *WARNED),
        ("8<--- cut here ---", "own: unhandled page fault (11) at 0x0", HEADER, "PC is at 0x10408", "Call trace: "),
        ("FAULT_INJECTION: forcing a failure.", "name failslab, interval 1, probability 0", HEADER, *DUMPED),
        ("own: page allocation failure: order:4, mode:0xcc0(GFP_KERNEL)", HEADER, *DUMPED, "Mem-Info:"),
        ("User process fault: interruption code 003b ilc:3 in own[1000+1000]", HEADER, "User PSW : 0705 0001"),
        ("8<--- cut here ---", "own: unhandled page fault (11) at 0x00000000, code 0x817", HEADER, "PC is at 0x1"),
        ("own[80]: unhandled signal 11 code 0x1 at 0x0 in own[10000+1000]", HEADER, "epc : 010462 ra : 01"),
    ],
)
def test_a_stack_that_is_shown_on_purpose_is_no_complaint(messages: tuple[str, ...]) -> None:
    assert scan(*messages, *["own: an ordinary line"] * 70) == ()


@pytest.mark.parametrize(
    "frames",
    [
        (" dump_stack_lvl+0x1/0x2", " should_fail_ex+0x1/0x2", " own_caller+0x1/0x2"),
        (" dump_stack_lvl+0x1/0x2", " dump_stack+0x1/0x2", " ? own_guess+0x1/0x2", " warn_alloc.cold+0x1/0x2"),
        (" unwind_backtrace from show_stack+0x1/0x2", " dump_stack_lvl from should_fail_ex+0x1/0x2"),
        (" dump_stack_lvl (lib/own.c:12)", " dump_header (mm/own.c:12)"),
        ("[<ffffffff80001234>] dump_stack_lvl+0x1/0x2", "[<ffffffff80001238>] nmi_cpu_backtrace+0x1/0x2"),
    ],
)
def test_a_stack_that_is_shown_on_purpose_needs_no_title(frames: tuple[str, ...]) -> None:
    """Messages of another CPU stand between its title and itself, or are taken for its title."""
    shown = ("name own, interval 1, probability 0", "own: an ordinary line", HEADER, "Call Trace:", *frames)
    assert scan(*shown, *["own: an ordinary line"] * 70) == ()
    (finding,) = scan(*shown, " </TASK>", "own: wrong", HEADER, *DUMPED)
    assert finding.kind is Kind.WARNING


def test_a_report_that_has_its_stack_is_not_continued_by_the_next_one() -> None:
    oops_, bug = scan("BUG: own complaint", HEADER, *DUMPED, "Oops: own trap: 0000 [#1] SMP", HEADER)
    assert (oops_.kind, bug.kind) == (Kind.OOPS, Kind.BUG)


def test_the_rest_of_a_report_that_is_too_long_is_no_report_of_its_own() -> None:
    title = "WARNING: possible circular locking dependency detected"
    (finding,) = scan(title, *[f"-> #{number} (own){{+.+.}}" for number in range(70)], HEADER, *DUMPED, END)
    assert finding.kind is Kind.LOCKDEP


REPORTS = (
    [
        "WARNING: CPU: 0 PID: 80 at mm/a.c:12 a_inner+0x1/0x2",
        "CPU: 0 PID: 80 Comm: a",
        "RIP: 0010:a_inner+0x1/0x2",
        "Code: 90 90",
        "Call Trace:",
        " <TASK>",
        " a_caller+0x1/0x2",
        " a_outer+0x1/0x2",
        " </TASK>",
    ],
    [
        "BUG: unable to handle page fault for address: ffff888000001000",
        "Oops: 0000 [#1] SMP",
        "CPU: 1 PID: 81 Comm: b",
        "RIP: 0010:b_inner+0x1/0x2",
        "Code: 90 90",
        "Call Trace:",
        " <TASK>",
        " b_caller+0x1/0x2",
        " b_outer+0x1/0x2",
        " </TASK>",
    ],
)
STACKS = {Kind.WARNING: ("a_inner", "a_caller", "a_outer"), Kind.OOPS: ("b_inner", "b_caller", "b_outer")}


def interleaved(first: str, second: str, *, by: int = 1) -> str:
    """Both REPORTS, `by` lines of one after as many of the other, behind the prefixes."""
    lines: list[str] = []
    for start in range(0, 12, by):
        for report, prefix in zip(REPORTS, (first, second), strict=True):
            lines += [f"{prefix}{line}\n" for line in report[start : start + by]]
    return "".join(lines)


@pytest.mark.parametrize("by", [1, 2, 3, 5, 12])
def test_reports_of_two_callers_are_told_apart(by: int) -> None:
    found = oops.scan(interleaved("[    1.000000][   T80] ", "[    1.000000][    C1] ", by=by))
    assert {finding.kind: finding.stack for finding in found} == STACKS


@pytest.mark.parametrize("by", [1, 12])
def test_reports_of_two_processors_are_told_apart(by: int) -> None:
    found = oops.scan(interleaved("[    1.000000] ", "[    1.000000] ", by=by))
    assert {finding.kind: finding.stack for finding in found} == STACKS


def test_a_report_without_a_stack_does_not_take_that_of_the_next() -> None:
    first, second = scan(
        "WARNING: lock held when returning to user space!",
        "own/80 is leaving the kernel with locks still held!",
        "BUG: sleeping function called from invalid context at mm/own.c:12",
        "in_atomic(): 1, irqs_disabled(): 0, non_block: 0, pid: 80, name: own",
        *("CPU: 1 PID: 80 Comm: own", "Call Trace:", " <TASK>", " own_sleep+0x1/0x2", " </TASK>"),
    )
    assert (first.kind, first.stack) == (Kind.BUG, ("own_sleep",))
    assert first.lines[1].startswith("in_atomic")
    assert (second.kind, len(second.lines)) == (Kind.LOCKDEP, 2)


STACKS_BY_ARCHITECTURE = {
    "x86_64": "RIP: 0010:inner+0x1/0x2/Code: 90/Call Trace:/ <TASK>/ caller+0x1/0x2/ ? guess+0x1/0x2",
    "i386": "EIP: inner+0x1/0x2/Code: 90/EAX: 00000000/Call Trace:/ caller+0x1/0x2",
    "arm64": "pc : inner+0x1/0x2/lr : guess+0x1/0x2/Call trace:/ inner+0x1/0x2 (P)/ caller+0x1/0x2/Code: 90",
    "arm": "PC is at inner+0x1/0x2/LR is at guess+0x1/0x2/Call trace: / inner from caller+0x1/0x2",
    "arm 6.1": "PC is at inner+0x1/0x2/[<c0001234>] (inner) from [<c0001238>] (caller+0x1/0x2)",
    "riscv64": "epc : inner+0x1/0x2/ ra : guess+0x1/0x2/Call Trace:/[<ffffffff80001234>] caller+0x1/0x2",
    "ppc64": "NIP [c000000000001234] inner+0x1/0x2/LR [c000000000001238] guess+0x1/0x2/Call Trace:/"
    "[c0000000ba50] [c000000000001238] guess+0x1/0x2 (unreliable)/[c0000000ba60] [c00000000000123c] caller+0x1/0x2",
    "s390x": "Krnl PSW : 0704c001 000abcd0 (inner+0x1/0x2)/Call Trace:/ [<000000000000abcd>] caller+0x1/0x2 ",
    "mips": "epc   : 80001234 inner+0x1/0x2/ra    : 80001238 guess+0x1/0x2/Call Trace:/[<80001238>] caller+0x1/0x2",
    "sparc64": "TPC: <inner+0x1/0x2>/RPC: <guess+0x1/0x2>/Call Trace:/[<0000000000456789>] caller+0x1/0x2",
    "alpha": "pc is at inner+0x1/0x2/ra is at guess+0x1/0x2/Trace:/[<fffffc0000310000>] caller+0x1/0x2",
    "m68k": "PC: [<00001234>] inner+0x1/0x2/Call Trace: [<00001238>] caller+0x1/0x2",
    "loongarch64": "   ra: 90000000 guess+0x1/0x2/  ERA: 90000004 inner+0x1/0x2/Call Trace:/"
    "[<90000008>] caller+0x1/0x2",
    "KASAN": "Call Trace:/ <TASK>/ dump_stack_lvl+0x1/0x2/ print_report+0x1/0x2/ kasan_report+0x1/0x2/"
    " __asan_load8+0x1/0x2/ inner+0x1/0x2/ caller+0x1/0x2/ </TASK>/Allocated by task 80:/ other+0x1/0x2",
    "KCSAN": "write to 0xffff888000001000 of 8 bytes by task 80 on cpu 0:/ inner+0x1/0x2/ caller+0x1/0x2//"
    "read to 0xffff888000001000 of 8 bytes by task 81 on cpu 1:/ other+0x1/0x2",
    "preemption": "Preemption disabled at:/[<ffffffff81234567>] other+0x1/0x2/CPU: 0 PID: 80/Call Trace:/"
    " dump_stack_lvl+0x1/0x2/ __might_resched+0x1/0x2/ inner+0x1/0x2/ caller+0x1/0x2",
    "s390x, a breaking event": "Call Trace:/ [<000000000000abcd>] inner+0x1/0x2 / [<000000000000abce>] caller+0x1/0x2 /"
    "Last Breaking-Event-Address:/ [<000000000000abcf>] other+0x1/0x2",
    "panic_on_warn": "Call Trace:/ panic+0x1/0x2/ check_panic_on_warn+0x1/0x2/ __warn+0x1/0x2/ report_bug+0x1/0x2/"
    "RIP: 0010:inner+0x1/0x2/ caller+0x1/0x2",
    "lockdep, as dmesg indents it": "          -> #0 (own){+.+.}-{3:3}:/ other+0x1/0x2/          stack backtrace:/"
    "Call Trace:/ print_circular_bug.cold+0x1/0x2/ inner+0x1/0x2/ caller+0x1/0x2",
    "lockdep": "-> #0 (own){+.+.}-{3:3}:/ other+0x1/0x2/stack backtrace:/CPU: 1 PID: 80/Call Trace:/"
    " dump_stack_lvl+0x1/0x2/"
    " print_circular_bug.cold+0x1/0x2/ __lock_acquire+0x1/0x2/ lock_acquire+0x1/0x2/ inner+0x1/0x2/ caller+0x1/0x2",
}


@pytest.mark.parametrize("printed", STACKS_BY_ARCHITECTURE.values(), ids=STACKS_BY_ARCHITECTURE)
def test_the_stack_is_the_complaints_own(printed: str) -> None:
    lines = printed.replace("/0x2", "|0x2").split("/")
    (finding,) = scan("BUG: own complaint", *(line.replace("|", "/") for line in lines))
    assert finding.stack == ("inner", "caller")
