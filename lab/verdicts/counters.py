# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's books: counters of its memory before and after a program, and which of them did not come back. Pure.

The counters are read by the shell that runs the program, in the same SSH command, with builtins alone: a fork costs
15 ms under emulation, all of this 6. What the kernel keeps per CPU is folded in and what it keeps for no reason but
speed is dropped first (`stat_refresh`, `drop_caches`), and what is freed lazily gets time by asking again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lab.core.outcome import Books

_HUGE = "hugepages/hugepages-*/"
_FILES = (
    f"/sys/kernel/mm/{_HUGE}free_hugepages",
    f"/sys/kernel/mm/{_HUGE}resv_hugepages",
    f"/sys/devices/system/node/node[0-9]*/{_HUGE}free_hugepages",
)
# The kernel logs drop_caches until it is told 4. Its `tainted` gives a read of single bytes, the shell's, the first of
# them only; and zoneinfo is long: these two are grep's. `count:` are the free pages that each CPU keeps for itself, of
# which meminfo knows nothing: up to an eighth of the memory.
READ = (
    "{ echo 1 > /proc/sys/vm/stat_refresh; echo 4 > /proc/sys/vm/drop_caches; echo 3 > /proc/sys/vm/drop_caches; } "
    "2> /dev/null; "
    "while read -r k v _; do case $k in "
    "Committed_AS:|Shmem:|AnonPages:|MemAvailable:|SReclaimable:|SUnreclaim:) echo $k $v;; "
    f"esac; done < /proc/meminfo; for k in {' '.join(_FILES)}; do "
    '[ -r "$k" ] && read -r v < "$k" && echo "$k: $v"; done; '
    "grep -h -e count: -e '^[0-9]' /proc/zoneinfo /proc/sys/kernel/tainted"
)
"""A shell command that prints the books, `name: number` a line."""
TAINTED = "tainted"
PAGE, CPUS, QUARANTINE = "page_kB", "cpus", "quarantine_kB"
"""What the lab adds to the books: bounds depend on the machine, and on what its kernel keeps of freed memory."""
PER_CPU = "per_cpu_pages"
_LINE = re.compile(rb"(\S+:)?\s*(\d{1,18})")
_PLACE = re.compile(r"/sys/(?:kernel/mm|devices/system/node/(node\d+))/hugepages/hugepages-(\d+)kB/(\w+)_hugepages")
MAX_LINES = 4096


def wrap(command: str, mark: str) -> str:
    """The shell command with the books read before and after it, each behind a line with the mark; keeps its status."""
    return f"books() {{ echo; echo {mark}; {READ}; echo {mark}; return $1; }}; books 0; {command}; books $?"


def split(stdout: bytes, mark: str) -> tuple[bytes, Books | None, Books | None]:
    """What the program itself wrote, and the books before and after it; None for books that are not there whole.

    The mark is new for every run, and the first and the last books are the shell's: what a program prints between them
    is its own.
    """
    line = mark.encode() + b"\n"
    head, tail = b"\n" + line, b"\n" + line
    before = after = None
    if stdout.startswith(head) and (end := stdout.find(line, len(head))) >= 0:
        before = parse(stdout[len(head) : end])
        stdout = stdout[end + len(line) :]
    if before is not None and stdout.endswith(line):
        start = stdout.rfind(tail, 0, len(stdout) - len(line) + 1)
        if start >= 0:
            after = parse(stdout[start + len(tail) : len(stdout) - len(line)])
            stdout = stdout[:start]
    return stdout, before, after


def parse(text: bytes) -> Books:
    """`name: number` lines; meminfo's are kB, pages of huge pages are counted: `free.2048kB`, `node0.free.2048kB`."""
    found: dict[str, int] = {}
    for line in text.split(b"\n", MAX_LINES)[:MAX_LINES]:
        if matched := _LINE.fullmatch(line.strip()):
            name = _name((matched[1] or b"tainted:")[:-1].decode("ascii", "replace"))
            found[name] = int(matched[2]) + (found.get(name, 0) if name == PER_CPU else 0)
    return found


def _name(said: str) -> str:
    if place := _PLACE.fullmatch(said):
        node, size, what = place.groups()
        return f"{f'{node}.' if node else ''}{what}.{size}kB"
    return {"count": PER_CPU}.get(said, said)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """By how much a counter may move the wrong way: so many kB, pages, and pages for every CPU.

    `slab`: objects that were freed count, too, as long as the address sanitizer has them in quarantine.
    """

    kb: int = 0
    pages: int = 0
    per_cpu: int = 0
    slab: bool = False

    def of(self, books: Books) -> int:
        """In kB, on the machine that the books are of."""
        kept = books.get(QUARANTINE, 0) if self.slab else 0
        return self.kb + kept + books.get(PAGE, 4) * (self.pages + self.per_cpu * books.get(CPUS, 1))


# Measured over 144 runs of the scenarios of `quick` on both machines and kernels (x86_64 with 4K pages, arm64 with 64K;
# four CPUs each) on a busy host. The worst that was seen, in kB: Committed_AS, Shmem and huge pages never moved;
# AnonPages 24 and 128, SReclaimable 276 and 320, SUnreclaim 796 and 1088, free memory 888 and 3008.
#
# Committed_AS and Shmem are exact once the per-CPU differences are folded in. The room is for the ssh daemon, whose
# heap grows by 128 KiB at a time, and for the shell that reads the books.
# Slab: what a kernel cache keeps per CPU and node once it was used, and its last, half empty pages (+2304 kB by
# `stress` on ppc64le with 64K pages, hash MMU, two CPUs).
# Free memory is judged as MemAvailable with the per-CPU lists added: alone it moved by up to 34 MB for no reason.
BOUNDS = {
    "Committed_AS": Bound(kb=256, pages=16),
    "Shmem": Bound(per_cpu=1),
    "AnonPages": Bound(kb=256, pages=16),
    "SReclaimable": Bound(kb=1024, per_cpu=8, slab=True),
    "SUnreclaim": Bound(kb=1024, pages=16, per_cpu=8, slab=True),
    "free memory": Bound(kb=2048, per_cpu=16, slab=True),
}


def measures(*, page_size: int, cpus: int, memory: int, kasan: bool) -> Books:
    """What the lab adds to a guest's books; sizes in bytes.

    The address sanitizer keeps what was freed from being used again, up to 1/32 of the memory (mm/kasan/quarantine.c);
    on a machine of 1 GiB programs left 6 to 13 MB there.
    """
    kept = {QUARANTINE: memory // 32 >> 10} if kasan else {}
    return {PAGE: page_size >> 10, CPUS: cpus, **kept}


def leaks(before: Books, after: Books) -> tuple[str, ...]:
    """What did not come back, in words; empty when all is within its bound. Huge pages have none: they are counted."""
    return (*_moved(before, after), *_huge(before, after))


def _moved(before: Books, after: Books) -> Iterator[str]:
    for name, bound in BOUNDS.items():
        was, now = _value(before, name), _value(after, name)
        if was is None or now is None:
            continue
        lost = was - now if name == "free memory" else now - was
        if lost > bound.of(after):
            yield f"{name} {now - was:+} kB (allowed: {bound.of(after)} kB)"


def _value(books: Books, name: str) -> int | None:
    if name != "free memory":
        return books.get(name)
    available, pages = books.get("MemAvailable"), books.get(PER_CPU)
    return None if available is None or pages is None else available + pages * books.get(PAGE, 4)


def _huge(before: Books, after: Books) -> Iterator[str]:
    """Huge pages of the machine's pools that are no longer free, or still reserved."""
    for name, was in before.items():
        head, _, size = name.rpartition(".")
        if not size.endswith("kB") or (now := after.get(name, was)) == was:
            continue
        node, _, what = head.rpartition(".")
        place = f" on {node}" if node else ""
        yield f"huge pages of {size}{place}: {'free' if what == 'free' else 'reserved'} {now}, was {was}"


# What a bit of /proc/sys/kernel/tainted stands for (Documentation/admin-guide/tainted-kernels.rst).
_TAINTS = "PFSRMBUDAWCIOELKXTNJ"


def taint(before: Books | None, after: Books | None) -> str:
    """The letters of the taints that were added, as an oops shows them; empty where there are none."""
    if before is None or after is None:
        return ""
    added = after.get(TAINTED, 0) & ~before.get(TAINTED, 0)
    return "".join(_TAINTS[bit] if bit < len(_TAINTS) else f"({bit})" for bit in range(64) if added >> bit & 1)
