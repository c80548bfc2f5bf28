# SPDX-License-Identifier: GPL-2.0-or-later
"""The functions of a kernel report's stack, as every architecture of Linux prints it.

The innermost function stands behind the program counter (x86 `RIP:`, arm64 `pc :`, riscv `epc :`, powerpc `NIP`, s390
`Krnl PSW`, ...) where the report is about an exception, and its callers in the trace that follows. Guesses of the
unwinder (`? f+0x1/0x2`, `(unreliable)`) are left out, and so are the frames that only print the report.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

MAX_FRAMES = 12

_NAME = r"([A-Za-z_$][\w.$]{0,200})"
_OFFSET = r"(?:\+0x[0-9a-f]{1,16}/0x[0-9a-f]{1,16}|(?= \([\w./-]{1,200}\.[chS]:\d))"
"""Behind a function; scripts/decode_stacktrace.sh puts the line of the source there instead."""
_ADDRESS = r"(?:\(?\[?[\[<](?:0x)?[0-9a-f]{1,16}[\]>]\]?\)? )"
_PROGRAM_COUNTER = re.compile(
    r"\s*(?:(?:RIP: [0-9a-f]{4}|E?IP): ?|pc : |(?:pc|PC) is at |epc *: +|NIP |TPC: <|PC: "
    r"|Krnl PSW : \S{1,40} \S{1,40} \("
    r"|ERA: +)"
    rf"(?:\[<?[0-9a-f]{{1,16}}>?\] |[0-9a-f]{{8,16}} )?{_NAME}{_OFFSET}"
)
_FRAME = re.compile(rf"\s*(?:Call Trace: ?)?{_ADDRESS}{{0,2}}\s*{_NAME}{_OFFSET}(?!.{{0,80}}\(unreliable\))")
_ARM_FRAME = re.compile(rf"\s*(?:\[<[0-9a-f]{{8}}>\] \()?{_NAME}\)? from (?:\[<[0-9a-f]{{8}}>\] \()?{_NAME}{_OFFSET}")
_NEXT_PART = re.compile(
    r"\s*(?:</TASK>|Mem-Info:|(?:Freed|Allocated|freed|allocated) (?:by|in) |Uninit was |Local variable "
    r"|Last potentially "
    r"|Reported by |(?:read|write).{1,60} by (?:task|interrupt)|kfence-#|-{3}\[ end |CPU: \d|NMI backtrace for"
    r"|Showing all locks|INFO: |-> #\d)"
)
"""What follows a stack: the same report's next part, which may have a stack of its own."""
_LAST_PART = re.compile(r"\s*stack backtrace:")
"""Lockdep shows earlier stacks first; its complaint's own follows this line."""
_ELSEWHERE = re.compile(r"Preemption disabled at:|\s*Last Breaking-Event-Address:")
"""The line behind one of these names a function that is no frame of the stack."""
_IN_TRACE = re.compile(r"\s*(?:RIP|EIP|Code|RSP|EAX|RAX|RDX|RBP|R\d\d|FS|CR2|DR\d): ?")

_REPORTERS = re.compile(
    r"_*(?:dump_backtrace|show_stack\w*|show_trace\w*|dump_stack\w*|show_regs|sched_show_task|panic|vpanic"
    r"|nmi_panic|warn"
    r"|warn_slowpath\w*|warn_printk|report_bug\w*|handle_bug|exc_invalid_op|asm_exc_invalid_op|bug_handler"
    r"|brk_handler"
    r"|print_report|print_address_description|kasan_report\w*|kasan_check_range|check_region_inline"
    r"|check_memory_region"
    r"|asan_(?:report_)?(?:load|store)\w*|asan_mem(?:cpy|set|move)|hwasan_\w+|kmsan_\w+|msan_\w+|kcsan_\w+|tsan_\w+"
    r"|kfence_report_error|kfence_handle_page_fault|end_report|report_suppressed\w*|ubsan_\w+|handle_overflow"
    r"|print_(?:circular_bug|usage_bug|irq_inversion_bug|bad_irq_dependency|unlock_imbalance_bug|deadlock_bug"
    r"|bad_page"
    r"|bad_pte|lock_contention_bug|freed_lock_bug|held_locks_bug)\w*|check_noncircular|check_prevs?_add"
    r"|validate_chain"
    r"|check_deadlock|check_irq_usage|check_usage\w*|mark_lock\w*|mark_usage|lock_acquire|lock_release|lock_contended"
    r"|lockdep_rcu_suspicious|lockdep_\w+|bad_page|might_(?:sleep|resched)\w*|cant_sleep|cant_migrate|schedule_bug"
    r"|slab_err|slab_bug|object_err|print_trailer|slab_fix|check_bytes_and_report|slub_debug\w*|spin_(?:bug|dump)"
    r"|print_stall|print_other_cpu_stall|print_cpu_stall|rcu_dump_cpu_stacks|nmi_cpu_backtrace\w*|dump_cpu_task"
    r"|nmi_trigger_cpumask_backtrace|trigger_single_cpu_backtrace|die|die_if_kernel|do_kernel_fault|oops_\w+"
    r"|unwind_backtrace|check_panic_on_warn|dump_header|warn_alloc|panic_bad_stack|handle_bad_stack|bad_stack)"
    r"(?:\.(?:constprop|isra|part|cold|llvm)[\w.]*)*"
)
"""Functions that print a report, or that catch what they report: no part of what went wrong."""


def is_program_counter(line: str) -> bool:
    """Whether a line says which function of the kernel was running."""
    return _PROGRAM_COUNTER.match(line) is not None


_DUMPED = re.compile(r"\bdump_stack(?:_lvl)?(?:\+0x| from | \()")
_ON_PURPOSE = re.compile(
    r"\b(?:fail_dump|should_fail\w*|warn_alloc\w*|dump_header|nmi_cpu_backtrace|pcpu_alloc\w*|backtrace_test\w*)"
    r"(?:\.\w+)*(?:\+0x| \()"
)
"""Functions that call dump_stack() though nothing is wrong: injected failures, failed allocations, sysrq, a test."""


def is_shown_on_purpose(lines: Sequence[str]) -> bool:
    """Whether every dump_stack() among the lines was called by a function that shows a stack though nothing is wrong.

    Its title may have got lost among the messages of other CPUs; dump_stack() itself is never torn by another one.
    """
    dumps = [at for at, line in enumerate(lines) if _DUMPED.search(line)]
    last = [at for at in dumps if at + 1 not in dumps]  # dump_stack() may be called by itself
    return bool(last) and all(_ON_PURPOSE.search(" ".join(lines[at : at + 3])) for at in last)


def functions(lines: Sequence[str]) -> tuple[str, ...]:
    """Return the functions of a report's own stack, innermost first, at most MAX_FRAMES."""
    at = next((number for number, line in enumerate(lines) if _LAST_PART.match(line)), 0)
    frames: list[str] = []
    traced = elsewhere = False
    for line in lines[at:]:
        names = () if elsewhere else _names(line)
        elsewhere = _ELSEWHERE.match(line) is not None
        if traced and _NEXT_PART.match(line) and not (names or _IN_TRACE.match(line)):
            break
        traced = traced or bool(names and not _PROGRAM_COUNTER.match(line))
        for name in names:
            _append(frames, name)
    return tuple(frames[:MAX_FRAMES])


def _append(frames: list[str], name: str) -> None:
    """Add a function, unless it is the last one again or a reporter within which everything so far is one too."""
    if name in frames[-1:]:
        return
    if frames or not _REPORTERS.fullmatch(name):
        frames.append(name)


def _names(line: str) -> tuple[str, ...]:
    """Return the functions that a line names as frames: one, or two in arm's `f from g+0x1/0x2`."""
    if match := _ARM_FRAME.match(line):
        return match[1], match[2]
    match = _PROGRAM_COUNTER.match(line) or _FRAME.match(line)
    return (match[1],) if match else ()
