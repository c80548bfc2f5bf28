# SPDX-License-Identifier: GPL-2.0-or-later
"""What in a kernel tree is a complaint: the calls that print one, their files, and the kinds they should have."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.formats.complaints import Kind
from tests.kernel_words import c_source
from tests.kernel_words.printf import render

ARCHITECTURES = ("alpha", "arm", "arm64", "loongarch", "m68k", "mips", "powerpc", "riscv", "s390", "sparc", "x86")
_ARCH_FILES = ("kernel/*.c", "kernel/cpu/*.c", "mm/*.c", "entry/*.c", "include/asm/bug.h")


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """One message that a tree can print: where it stands, what the console shows, and what kinds it may have."""

    path: str
    line: int
    message: str
    kinds: frozenset[Kind]

    @property
    def area(self) -> str:
        """The architecture, or the file of what all architectures share."""
        parts = self.path.split("/")
        return f"arch/{parts[1]}" if parts[0] == "arch" else self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Calls of files whose message, where it begins as `starts` says, should be of one of `kinds`.

    `frame` is what the called function puts around the message that it is given (`%s`).
    """

    paths: tuple[str, ...]
    names: str
    kinds: frozenset[Kind]
    starts: str = ""
    frame: str = ""


_PRINTERS = r"pr_(?:emerg|alert|crit|err|warn|info)(?:_ratelimited|_once)?|printk(?:_deferred|_once|_ratelimited)?"
_SEVERE = r"pr_(?:emerg|alert|crit)(?:_ratelimited|_once)?"
_BUGS = frozenset({Kind.BUG})
_OOPSES = frozenset({Kind.OOPS, Kind.BUG, Kind.PANIC})
_ANY = frozenset(Kind)
RULES = (
    Rule(
        paths=("kernel/locking/lockdep.c", "kernel/locking/rtmutex*.c"),
        names=f"{_PRINTERS}|print_lockdep_off",
        starts=r"WARNING: |BUG: |\[ BUG|INFO: trying",
        kinds=frozenset({Kind.LOCKDEP}),
    ),
    Rule(
        paths=("kernel/watchdog*.c", "arch/powerpc/kernel/watchdog.c"),
        names=_SEVERE,
        kinds=frozenset({Kind.HARD_LOCKUP}),
        starts=r".*[hH]ard LOCKUP",
    ),
    Rule(paths=("kernel/watchdog.c",), names=_SEVERE, kinds=frozenset({Kind.SOFT_LOCKUP}), starts=r".*soft lockup"),
    Rule(
        paths=("kernel/rcu/*.[ch]",),
        names=_PRINTERS,
        kinds=frozenset({Kind.RCU_STALL}),
        starts=r"(?:rcu: )?(?:INFO: .*stall|.* kthread (?:starved|timer))",
    ),
    Rule(paths=("kernel/hung_task.c",), names=_PRINTERS, kinds=frozenset({Kind.HUNG_TASK}), starts=r"INFO: task"),
    Rule(
        paths=("net/core/dev.c",),
        names=_PRINTERS,
        kinds=frozenset({Kind.HUNG_TASK}),
        starts=r"unregister_netdevice: wait",
    ),
    Rule(paths=("kernel/smp.c",), names=_PRINTERS, kinds=frozenset({Kind.SOFT_LOCKUP}), starts=r".*non-responsive"),
    Rule(
        paths=("mm/kasan/*.c", "mm/kfence/*.c", "mm/kmsan/*.c", "kernel/kcsan/*.c"),
        names=_PRINTERS,
        kinds=frozenset({Kind.KASAN}),
        starts=r"BUG: ",
    ),
    Rule(
        paths=("mm/slub.c", "mm/slab.c"),
        names=r"slab_bug|slab_err|object_err",
        frame="BUG kmalloc-64 (Not tainted): %s",
        kinds=_BUGS,
    ),
    Rule(paths=("mm/slub.c", "mm/slab.c"), names=_PRINTERS, starts=r"BUG|Slab corruption|slab error", kinds=_BUGS),
    Rule(paths=("mm/page_poison.c",), names=_PRINTERS, kinds=_BUGS),
    Rule(
        paths=(
            "include/asm-generic/pgtable.h",
            "mm/pgtable-generic.c",
            "arch/*/mm/*.c",
            "arch/*/include/asm/pgtable*.h",
        ),
        names=_PRINTERS + "|pgd_ERROR|pmd_ERROR|pud_ERROR|p4d_ERROR|pte_ERROR",
        starts=r".*: bad p",
        kinds=_BUGS,
    ),
    Rule(paths=("mm/swapfile.c",), names=_PRINTERS, starts=r".*(?:Bad|Unused) swap", kinds=_BUGS),
    Rule(
        paths=("mm/*.c", "kernel/*.c", "kernel/*/*.c", "lib/*.c", "net/core/*.c", "arch/*/kernel/*.c", "arch/*/mm/*.c"),
        names=_PRINTERS,
        starts=r"BUG: |[kK]ernel (?:BUG|bug)",
        kinds=_ANY - {Kind.WARNING},
    ),
    Rule(
        paths=("include/asm-generic/bug.h", "arch/*/include/asm/bug.h"),
        names=_PRINTERS,
        starts=r"BUG: |[kK]ernel BUG",
        kinds=_BUGS,
    ),
    Rule(
        paths=(
            "mm/memory.c",
            "mm/filemap.c",
            "mm/page_alloc.c",
            "mm/usercopy.c",
            "mm/vmalloc.c",
            "kernel/fork.c",
            "lib/string_helpers.c",
        ),
        names=_SEVERE,
        kinds=_BUGS,
    ),
    Rule(
        paths=("mm/slub.c", "mm/zsmalloc.c", "kernel/sched/psi.c", "kernel/rcu/t*.c", "net/*/*.c"),
        names=_PRINTERS,
        starts=r".*(?:slabs counted but|is not empty$|: Double-freed CB"
        r"|task (?:underflow|inconsistent task state)!|Attempt to release (?:TCP|alive)|page_pool refcnt)",
        kinds=_BUGS,
    ),
    Rule(
        paths=("kernel/time/*.c", "kernel/irq/*.c", "ipc/*.c", "lib/kobject.c", "fs/sysfs/*.c", "arch/*/mm/extable.c"),
        names=f"{_PRINTERS}|pr_warn_once",
        starts=r"NOHZ tick-stop|unchecked MSR|irq .*(?:nobody cared|bogus return)|.*is an active IRQ thread"
        r"|Inconsistency in|.*seriously wrong|sysfs: cannot create dup",
        kinds=frozenset({Kind.WARNING}),
    ),
    Rule(paths=("lib/list_debug.c",), names=r"CHECK_DATA_CORRUPTION|" + _PRINTERS, starts=r"list_", kinds=_BUGS),
    Rule(
        paths=("lib/ubsan.c",), names="ubsan_prologue", frame="UBSAN: %s in mm/own.c:3:3", kinds=frozenset({Kind.UBSAN})
    ),
    Rule(paths=("kernel/panic.c", "lib/bug.c"), names=_PRINTERS, starts=r"WARNING: ", kinds=frozenset({Kind.WARNING})),
    Rule(paths=("mm/kmemleak.c",), names=f"{_PRINTERS}|kmemleak_warn", starts=r".*suspected", kinds=_BUGS),
    Rule(
        paths=("mm/*.c", "kernel/*.c", "kernel/*/*.c", "init/*.c", "arch/*/kernel/*.c", "arch/*/mm/*.c"),
        names=r"panic|nmi_panic",
        frame="Kernel panic - not syncing: %s",
        kinds=frozenset({Kind.PANIC}),
    ),
    *(
        Rule(paths=tuple(f"arch/{arch}/{files}" for files in _ARCH_FILES), names=_SEVERE, kinds=_OOPSES)
        for arch in ARCHITECTURES
    ),
    *(
        Rule(
            paths=tuple(
                f"arch/{arch}/{name}" for name in ("kernel/traps*.c", "mm/fault*.c", "mm/extable.c", "kernel/early*.c")
            ),
            names=f"{_PRINTERS}|early_printk",
            starts=r"(?:\w+: )?(?:Unable to|Oops|OOPS|PANIC|\*\*\*|BAD|Bad|Kernel(?! unaligned)|\w+ bus error, epc)"
            r"|own\(3\): unhandled",
            kinds=_OOPSES,
        )
        for arch in ARCHITECTURES
    ),
)

_TALK = re.compile(r"(?:pr|dev|netdev)_(?:info|notice|debug|dbg)(?:_ratelimited|_once)?|printk(?:_deferred)?")
_TALK_FILES = ("mm", "kernel", "lib", "init", "fs", "block", "ipc", "net/core", "drivers/base", "drivers/virtio")
_ALSO_TALK = ("drivers/block", "drivers/char", "drivers/tty", "drivers/net", "drivers/acpi", "drivers/pci")
_TALK_LEVELS = ("KERN_INFO", "KERN_NOTICE", "KERN_DEBUG")


def talk(tree: Path) -> Iterator[Complaint]:
    """Yield what a tree prints that is no complaint by its level: information, notices, debugging. It has no kind."""
    folders = [*_TALK_FILES, *_ALSO_TALK, *(f"arch/{arch}" for arch in ARCHITECTURES)]
    for path in sorted({path for folder in folders for path in (tree / folder).rglob("*.[ch]")}):
        text = c_source.without_comments(path.read_text(errors="replace"))
        known = c_source.strings_of(text, path.stem)
        before = c_source.prefix_of(text, known)
        for call in c_source.calls(text, _TALK):
            if call.name.startswith("printk") and not call.arguments[0].startswith(_TALK_LEVELS):
                continue
            given, arguments = _message(call, known)
            shown = render((before if call.name.startswith("pr_") else "") + (given or ""), arguments)
            for message in filter(str.strip, shown.split("\n")):
                where = path.relative_to(tree).as_posix()
                yield Complaint(path=where, line=call.line, message=message, kinds=frozenset())


_DIES = (
    r"die|die_if_kernel|__die|die_addr|die_32|arm_notify_die|arm64_notify_die|do_trap_error|do_error_trap|do_trap"
    r"|DO_ERROR(?:_INFO)?|die_mce|bad_super_trap|unaligned_panic"
)


def complaints(tree: Path) -> Iterator[Complaint]:
    """Yield what the rules find in a tree, each message once."""
    seen: set[tuple[str, str]] = set()
    for found in _all(tree):
        if (found.path, found.message) not in seen:
            seen.add((found.path, found.message))
            yield found


def _all(tree: Path) -> Iterator[Complaint]:
    for rule in RULES:
        for path in _files(tree, rule.paths):
            yield from _by_rule(tree, path, rule)
    for arch in ARCHITECTURES:
        yield from _by_die(tree, arch)


def _files(tree: Path, patterns: tuple[str, ...]) -> list[Path]:
    found = {path for pattern in patterns for path in tree.glob(pattern)}
    kept = (path for path in found if not re.search(r"test|selftest|xmon|kdb", path.name))
    return sorted(path for path in kept if not path.match("arch/*") or _arch(tree, path) in ("", *ARCHITECTURES))


def _arch(tree: Path, path: Path) -> str:
    parts = path.relative_to(tree).parts
    return parts[1] if parts[0] == "arch" else ""


def _by_rule(tree: Path, path: Path, rule: Rule) -> Iterator[Complaint]:
    text = c_source.without_comments(path.read_text(errors="replace"))
    known = c_source.strings_of(text, path.stem)
    before = c_source.prefix_of(text, known)
    if _arch(tree, path) and _arch(tree, path) not in ARCHITECTURES:
        return
    for call in c_source.calls(text, re.compile(rule.names)):
        given, arguments = _message(call, known)
        if not given or not given.strip():
            continue
        shown = before + given if call.name.startswith("pr_") else given
        message = rule.frame.replace("%s", render(given)) if rule.frame else render(shown, arguments)
        message = message.lstrip("\n").partition("\n")[0]
        if message.strip() and re.match(rule.starts, message):
            yield Complaint(path=path.relative_to(tree).as_posix(), line=call.line, message=message, kinds=rule.kinds)


def _message(call: c_source.Call, known: Mapping[str, str]) -> tuple[str | None, tuple[str, ...]]:
    """Return the first argument that is a text, and the arguments behind it; None if none is."""
    for number, argument in enumerate(call.arguments, start=1):
        text = c_source.literal(argument, known)
        if text is not None:
            return text, call.arguments[number:]
    return None, ()


# The frames of die().


def _by_die(tree: Path, arch: str) -> Iterator[Complaint]:
    """Yield what die() of an architecture prints for every text that the architecture gives to it."""
    paths = _files(tree, tuple(f"arch/{arch}/{files}" for files in _ARCH_FILES))
    texts = {path: c_source.without_comments(path.read_text(errors="replace")) for path in paths}
    frame = _die_frame(arch, texts)
    for path, text in texts.items():
        known = c_source.strings_of(text, path.stem)
        for call in c_source.calls(text, re.compile(_DIES)):
            given, _ = _message(call, known)
            if given is None:
                continue
            bug = re.search(r"kernel bug", given, re.IGNORECASE)
            yield Complaint(
                path=path.relative_to(tree).as_posix(),
                line=call.line,
                message=_framed(frame, render(given)),
                kinds=frozenset({Kind.BUG if bug else Kind.OOPS}),
            )


_DIE_FRAME = re.compile(r"%s.{0,40}\[#%d\]")
_FRAMES_WITHOUT_COUNTER = {"alpha": "%s(%d): %s %ld", "m68k": "%s: %08x"}


def _die_frame(arch: str, texts: Mapping[Path, str]) -> str:
    """Return the format of the line that die() prints; LookupError if the architecture has none that is known."""
    for path, text in texts.items():
        known = c_source.strings_of(text, path.stem)
        for call in c_source.calls(text, re.compile(_PRINTERS)):
            given = _message(call, known)[0] or ""
            if _DIE_FRAME.search(given) or given.strip("\n") == _FRAMES_WITHOUT_COUNTER.get(arch):
                return given
    raise LookupError(f"arch/{arch}: no message with a counter, [#%d], that die() prints")


def _framed(frame: str, text: str) -> str:
    """Put a text in the place of the last `%s` before the counter."""
    head, counter, tail = frame.partition("[#")
    before, _, after = head.rpartition("%s")
    return render(before) + text + render(after + counter) + render(tail.replace("%s", " SMP", 1).replace("%s", ""))
