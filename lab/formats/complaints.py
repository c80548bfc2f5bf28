# SPDX-License-Identifier: GPL-2.0-or-later
"""The kinds of a kernel's complaints and the message that opens each, on every architecture that Linux 6.1 to 7.x has.

Only the start of a message is matched, so that a program that quotes the kernel is not taken for it. Two rules cover
most: `die()` prints a counter, `[#1]`, on nearly every architecture; WARN() prints where it stands (`WARNING: CPU: 0
PID: 1 at `, since 6.18 `WARNING: mm/shmem.c:1 at ` or `WARNING: [condition] mm/shmem.c:1 at `), so any other
`WARNING: ` is a driver's or a program's advice. BUG behind the name of a driver is a complaint if the line is known to
be the kernel's, by its time stamp.

Two messages that are no crash are complaints all the same. kmemleak's count of suspected leaks is a BUG: the detector
is only in kernels that were built to use it. `unregister_netdevice: waiting for lo to become free` is a hung task: the
kernel prints it after ten seconds of waiting for a reference that somebody lost, and goes on waiting.

An allocation that fails is none: every caller has to expect it, and a test that takes all memory provokes it. Nor is
what is wrong outside the kernel: memory that a test declares faulty (`Memory failure: `), machine checks, what a file
system says of the data on its disk, and an emulated clock or network card that is late.
"""

from __future__ import annotations

import re
from enum import StrEnum


class Kind(StrEnum):
    """What a report is about, worst first."""

    PANIC = "panic"
    REBOOT = "unexpected reboot"
    OOPS = "oops"
    BUG = "BUG"
    KASAN = "sanitizer"
    """Of KASAN, KFENCE, KMSAN and KCSAN."""
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
        """Whether nothing runs after it."""
        return self in (Kind.PANIC, Kind.REBOOT)

    @property
    def provoked(self) -> bool:
        """Whether a test may cause it on purpose, so that it is no complaint about the kernel."""
        return self is Kind.CONTAINED_OOM


_DIE_COUNTER = re.compile(r"\[#\d{1,4}\]:?[A-Z0-9_ ]*\s*")
"""With the words of the configuration behind it, such as `PREEMPT SMP`; one that is off may leave its blank."""
_DIE_CODE = re.compile(r"(?:.{0,400}(?:: [0-9a-f]{1,16}|\bilc:\d|, sig: \d{1,3})|.{1,16}\(\d{1,10}\): .{1,200}?) ?")
"""What stands before the counter if there is a colon, which a program may have behind its name: a code or a task."""
_DIE_GLUED = re.compile(r"(?<=\w)\[#\d{1,4}\]:")
_MAX_DIE = 400
"""Characters of a message of die() before its counter."""
_KERNEL_BUG = re.compile(r"(?i:kernel bug(?: detected)?) ?\[#")
# Architectures whose die() has no counter: alpha, whose task stands in front, and m68k.
_DIE_ALPHA = re.compile(
    r"(?:CPU \d{1,4} )?.{1,16}\(\d{1,10}\): (Oops|Arithmetic fault|Instruction fault|Kernel Bug) -?\d+"
)
_DIE_M68K = re.compile(r"(?:Oops|bad frame format|BAD KERNEL TRAP): [0-9a-f]{8}\s*$")

# Matched at the start of a message; the first that fits decides.
_TITLES: tuple[tuple[Kind, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        (
            Kind.PANIC,
            r"Kernel panic - not syncing"
            # Printed where panic() cannot be called yet, or any more.
            r"|(?:traps: |fred: |x86/\w{1,10}: )?PANIC: (?!double fault)(?:early exception"
            r"|invalid or fatal FRED|Failed to decode instruction"
            r"|Failure in communication|Unsupported exit-code)",
        ),
        (
            Kind.REBOOT,
            r"Linux version \d{1,2}\.\d{1,3}\S* \(|reboot: (?:Restarting system|Power down|System halted)"
            r"|SeaBIOS \(version|sysrq: (?:Resetting|Power Off)",
        ),
        (Kind.KASAN, r"BUG: (?:KASAN|KFENCE|KMSAN|KCSAN): "),
        (Kind.UBSAN, r"(?:traps: )?UBSAN: "),
        (
            Kind.HARD_LOCKUP,
            r"(?:NMI )?watchdog: (?:CPU ?\d{1,5}:? )?(?:BUG: )?(?:Watchdog detected "
            r"|(?:self-)?detected )?[hH]ard LOCKUP"
            r"|(?:NMI watchdog: |watchdog: )?(?:BUG: NMI )?Watchdog detected (?:hard )?LOCKUP"
            r"|(?:Watchdog )?CPU[ :]\d{1,5} Hard LOCKUP",
        ),
        (Kind.SOFT_LOCKUP, r"(?:(?:NMI )?watchdog: )?BUG: soft lockup|(?:smp: )?csd: .{1,40} non-responsive CSD lock"),
        (
            Kind.LOCKDEP,
            r"WARNING: (?:possible (?:circular|recursive|irq) |inconsistent lock state|suspicious RCU usage"
            r"|bad unlock|bad contention|held lock freed"
            r"|lock held when|.{1,20}-safe -> .{1,20}-unsafe|Nested lock|nested lock|invalid wait|chain_key collision"
            r"|.{0,40} still has locks held)"
            r"|BUG: (?:Invalid wait context|MAX_[A-Z_]{1,40} too low|key \S{1,20} has not been registered"
            r"|looking up invalid subclass)"
            r"|INFO: trying to register non-static key|\[ (?:BUG|INFO): |INFO: (?:possible (?:circular"
            r"|recursive|irq) |inconsistent lock|suspicious RCU)",
        ),
        (
            Kind.RCU_STALL,
            r"(?:rcu: )?INFO: (?:rcu\w*|srcu\w*|\S{1,20}) (?:self-)?detected (?:expedited )?stall"
            r"|(?:rcu: )?INFO: rcu\w* (?:self-)?detected(?: expedited)?\s*$"
            r"|(?:rcu: )?\S{1,20} kthread (?:timer wakeup|starved)",
        ),
        (
            Kind.HUNG_TASK,
            r"INFO: task .{1,80} (?:blocked (?:for|on|in) |can't die for )"
            r"|unregister_netdevice: waiting for .{1,40} to become free",
        ),
        (
            Kind.OOPS,
            r"BUG: (?:[kK]ernel NULL pointer|[uU]nable to handle|invalid or fatal FRED|.{0,20}stack guard page"
            r"|TASK stack"
            r"|IRQ stack|FP instruction issued in kernel|unsupported FP instruction in kernel)"
            r"|(?:CPU \d{1,5} )?Unable to handle kernel"
            r"|Internal error: Oops|O(?:ops|OPS)(?:\[#|: (?:.{1,200}[ :])?(?:0[0-9a-f]{3}|[0-9a-f]{8,16})(?: |\s*$)"
            r"|: .{1,60}, sig: \d)|OOPS: (?:Bogus kernel PC|RPC|Fault was to) "
            r"|general protection fault(?:[,:]| in |\s*$)"
            r"|double fault(?:: \d|, error|\s*$)|(?:traps: )?PANIC: double fault"
            r"|Insufficient stack space to handle exception"
            r"|Unhandled (?:[\w -]{1,40} exception on CPU\d|fault|prefetch)"
            r"|Bad mode in .{1,40} handler|kernel tried to execute|unable to execute userspace code"
            r"|Kernel attempted to \w{1,10} user page"
            r"|.{1,20}: Corrupted page table at address|CFI failure at |BAD KERNEL BUSERR"
            r"|\*\*\* .{1,40} \*\*\* {1,4}FORMAT="
            r"|Unrecoverable (?:exception|[A-Z][\w/]{1,12} Unavailable)|Bad kernel stack pointer"
            r"|Machine check in kernel mode"
            r"|Unexpected TM Bad Thing|VMX/Altivec assist exception in kernel"
            r"|Facility .{1,40} exception in kernel mode"
            r"|Kernel stack overflow|Bad unaligned kernel access|SError Interrupt on"
            r"|Fixing recursive fault but reboot is needed|Unexpected kernel BRK exception at EL1"
            r"|(?:Data|Instruction) bus error, epc ==|SUN4V-[ID]TLB: Error at TPC\["
            r"|.{1,16}\(\d{1,10}\): unhandled unaligned exception|die_if_kernel recursion detected",
        ),
        (
            Kind.BUG,
            r"[kK]ernel (?:BUG|bug) at |Kernel bug detected|BUG: |BUG .{1,80} \((?:Not tainted|Tainted:.{0,80})\): "
            r"|pagealloc: (?:memory corruption|single bit error)"
            r"|[^\s:]{1,100}:(?:\d{1,6}:)? bad (?:pte|pmd|pud|p4d|pgd)\b"
            r"|(?:\w{1,40}: )?(?:Bad|Unused) swap (?:file|offset) entry [0-9a-f]|unrecognized swap entry 0x"
            r"|Slab corruption|slab error in |(?:usercopy: )?Kernel memory (?:exposure|overwrite) attempt detected"
            r"|list_(?:add|del)(?:_rcu)? (?:double add|corruption)|(?:\w{1,20}: )?detected buffer overflow"
            r"|PAGETABLE BUG #\d|Division by zero in kernel\.|kmemleak: \d{1,9} new suspected memory leak"
            r"|(?:kmemleak: )?unreferenced object 0x"
            r"|tree is corrupted: |VFS: (?:Busy inodes after unmount|Close: file count is (?:zero|0))"
            r"|do_IRQ: stack overflow: |stackcheck: "
            r"|softirq: huh, entered softirq |BUG at \S{1,100}:\d{1,7} \(\d",
        ),
        (  # The kernel's own counts, lists and states contradict each other; no stack is printed with these.
            Kind.BUG,
            r"SLUB:? .{1,80} slabs counted but counter=|zsmalloc: Class-\d{1,5} fullness group \w{1,10} is not empty"
            r"|(?:.{1,80}: )?(?:dma_)?pool_\w{1,20} .{1,80} "
            r"(?:\((?:corrupted|bad dma|bad vaddr)\)\S{0,30}|already free)\s*$"
            r"|(?:.{1,80}: )?dma_pool_destroy .{1,60} busy\s*$"
            r"|(?:\w{1,60}: )?\w{1,60}\(\)(?:: (?:percpu_ref underflow|Double-freed CB )| page_pool refcnt -?\d)"
            r"|psi: (?:task underflow|inconsistent task state)!|bad: scheduling from the idle thread!"
            r"|(?:\w{1,20}: )?Attempt to release (?:TCP socket in state|alive )|(?:neighbour: )?neighbour leakage\s*$",
        ),
        (
            Kind.WARNING,
            r"WARNING: (?:CPU: \d{1,5} PID: \d{1,10} at |at (?:\S{1,200}(?:\.[chS]:\d|\+0x)|0x[0-9a-f]{8})"
            r"|(?:\[.{1,300}\] )?\S{1,200}\.(?:[chS]|rs):\d{1,7} at )"
            r"|WARN at \S{1,100}:\d{1,7} \(\d",
        ),
        (  # The same where the kernel can go on as if nothing were.
            Kind.WARNING,
            r"NOHZ tick-stop error: |unchecked MSR access error: |Kernel unaligned access at TPC\["
            r"|Unexpected kernel single-step exception at EL1"
            r"|irq (?:event )?\d{1,9}: (?:nobody cared|bogus return value)"
            r"|(?:genirq: )?exiting task .{1,40} is an active IRQ thread|Inconsistency in POSIX message queue"
            r"|vmstat_refresh: \w{1,40} -\d|(?:\w{1,60}: )?\w{1,60}\(\) stalled pool shutdown: "
            r"|sysfs: cannot create duplicate filename|kobject:? .{1,200}, something is seriously wrong",
        ),
        (Kind.FAULT_OOM, r"Huh VM_FAULT_OOM leaked"),
        (Kind.CONTAINED_OOM, r"Memory cgroup out of memory: |Out of memory \(.{1,40}cgroup"),
        (Kind.OOM_KILL, r"Out of memory(?: \(oom_kill_allocating_task\))?: Killed"),
    )
)
_HINT_WORDS = (
    "panic|PANIC|Linux version|reboot:|sysrq:|SeaBIOS|BUG|kernel|Kernel|UBSAN|LOCKUP|WARNING|INFO:|csd:|kthread|nable"
    "|Internal error|ops|OPS|fault|[#|nsufficient|Unhandled|Bad|BAD|bad |tried to|VM_FAULT_OOM|ut of memory"
    "|page table|CFI|FORMAT=|Unrecoverable|Unexpected TM|VMX|Facility|SError|pagealloc|swap |slab|Slab|list_|overflow"
    "|Division|kmemleak|unreferenced|corrupted|unregister_net|VFS: |stackcheck|softirq: huh|WARN at"
    "|bus error, epc|TLB: Error|unaligned|recursion detected|zsmalloc|pool_|pool refcnt|underflow|Double-freed|psi: "
    "|idle thread|Attempt to release|leakage|tick-stop|MSR access|nobody cared|bogus return|IRQ thread|Inconsistency"
    "|vmstat_refresh|pool shutdown|duplicate filename|seriously wrong"
)
_HINTS = tuple(_HINT_WORDS.split("|"))
"""Every title holds one of these, so that any other message costs little."""


def may_be_title(text: str) -> bool:
    """Whether a part of the text may be a title: False is certain (`in` is much faster than a pattern of all words)."""
    return any(map(text.__contains__, _HINTS))


def classify(message: str) -> Kind | None:
    """Return the kind of report that a message (without its time stamp) opens; None if it opens none."""
    if not may_be_title(message):
        return None
    if is_die(message):
        return Kind.BUG if _KERNEL_BUG.search(message) or "Kernel Bug" in message else Kind.OOPS
    return next((kind for kind, pattern in _TITLES if pattern.match(message)), None)


_BEHIND_A_NAME = re.compile(r"(?:[\w./-]{1,40}:? (?:[\w.:/-]{1,40} ){0,4})?[\w.:/-]{1,40}: BUG(?:[:!,]| BUG| --)")


def names_a_bug(message: str) -> bool:
    """Whether a driver or another part says BUG behind its name. Programs do so too: ask it of a kernel's line only."""
    return "BUG" in message and _BEHIND_A_NAME.match(message) is not None


def is_die(message: str) -> bool:
    """Whether die() of some architecture printed the message."""
    counter = message.find("[#", 1, _MAX_DIE)
    if counter > 0 and _DIE_COUNTER.fullmatch(message, counter):
        known = _DIE_CODE.fullmatch(message, 0, counter) or _DIE_GLUED.match(message, counter)
        return ": " not in message[:counter] or known is not None
    return bool(_DIE_ALPHA.match(message) or _DIE_M68K.match(message))


_PREAMBLE = re.compile(
    r"kernel tried to execute|unable to execute userspace|Kernel attempted to|Unhandled (?:fault|prefetch)"
    r"|CFI failure"
    r"|Machine check in kernel|Facility |Unrecoverable |Unexpected TM|VMX/Altivec|\*\*\* |Kernel stack overflow"
    r"|list_|(?:usercopy: )?Kernel memory |(?:\w{1,20}: )?detected buffer|(?:traps: )?PANIC: (?:double|invalid)"
    r"|BUG: .{1,20}stack"
    r"|BAD KERNEL BUSERR|SError|Bad kernel stack pointer|Insufficient stack|Bad mode in|Slab corruption|slab error in"
    r"|Unexpected kernel BRK|(?:Data|Instruction) bus error"
)


def is_preamble(title: str) -> bool:
    """Whether a title only announces a report that has a title of its own, such as `kernel BUG at`."""
    return _PREAMBLE.match(title) is not None


_FOR_PROGRAMS_TOO = re.compile(r"Unhandled (?:fault|prefetch)|(?:Data|Instruction) bus error")


def needs_die(title: str) -> bool:
    """Whether a title is a complaint only if die() follows: arm and mips print it for a program's fault too."""
    return _FOR_PROGRAMS_TOO.match(title) is not None


_SINGLE = re.compile(
    r"BUG: (?:Bad rss-counter state|non-zero pgtables_bytes|Bad page (?:map|state): \d)|[^\s:]{1,100}:\d{1,6}: bad p"
    r"|(?:\w{1,40}: )?(?:Bad|Unused) swap|unregister_netdevice: |kmemleak: |tree is corrupted|VFS: |softirq: huh"
    r"|SLUB:? |zsmalloc: |psi: |.{0,40}(?:Attempt to release|neighbour leakage|page_pool refcnt|stalled pool)|NOHZ "
    r"|Kernel unaligned access|Unexpected kernel single|vmstat_refresh: |Inconsistency in|Fixing recursive fault"
)
_SINGLE_KINDS = frozenset({Kind.FAULT_OOM, Kind.OOM_KILL, Kind.CONTAINED_OOM, Kind.REBOOT})


def is_single(kind: Kind, title: str) -> bool:
    """Whether a report is its title alone: what follows on the console is about something else."""
    return kind in _SINGLE_KINDS or _SINGLE.match(title) is not None
