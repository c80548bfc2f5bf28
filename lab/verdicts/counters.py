# SPDX-License-Identifier: GPL-2.0-or-later
"""Compare the counters of a guest's memory from before and after a program, and find what was not freed. Pure.

The shell that runs the program reads the counters in the same SSH command, with builtins alone: a fork costs 15 ms
under emulation, all of this 6 ms. First, the console shows warnings again, in case a program has turned them off: the
kernel is judged by it. Then per-CPU counters are folded in and caches are dropped (`stat_refresh`,
`drop_caches`). Memory that is freed lazily gets time, since the counters are read again if they show a leak.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from lab.core.outcome import Books

_HUGE = "hugepages/hugepages-*/"
_FILES = (
    f"/sys/kernel/mm/{_HUGE}free_hugepages",
    f"/sys/kernel/mm/{_HUGE}resv_hugepages",
    f"/sys/devices/system/node/node[0-9]*/{_HUGE}free_hugepages",
)
# The kernel logs drop_caches until 4 has been written to it. The shell reads single bytes, of which a number in
# /proc/sys returns only the first. Of `printk` that is enough: 15, as after an oops, becomes 7, and warnings stay.
# Of `tainted` it is not, and zoneinfo is long: grep reads these two. `count:` is the number of free pages that each CPU
# keeps for itself. meminfo does not include them, and they are up to an eighth of the memory.
READ = (
    "{ read -r k v < /proc/sys/kernel/printk; case $k in [0-6]) echo 7 > /proc/sys/kernel/printk;; esac; "
    "echo 1 > /proc/sys/vm/stat_refresh; echo 4 > /proc/sys/vm/drop_caches; echo 3 > /proc/sys/vm/drop_caches; } "
    "2> /dev/null; "
    "while read -r k v _; do case $k in "
    "Committed_AS:|Shmem:|AnonPages:|MemFree:|'Active(file):'|'Inactive(file):'|SReclaimable:|SUnreclaim:|VmallocUsed:)"
    " echo $k $v;; "
    f"esac; done < /proc/meminfo; for k in {' '.join(_FILES)}; do "
    '[ -r "$k" ] && read -r v < "$k" && echo "$k: $v"; done; '
    "grep -h -e count: -e '^[0-9]' /proc/zoneinfo /proc/sys/kernel/tainted"
)
"""A shell command that prints the counters, one `name: number` per line."""
TAINTED = "tainted"
PAGE, CPUS, QUARANTINE, CHUNK = "page_kB", "cpus", "quarantine_kB", "percpu_chunk_kB"
"""Names of the counters that the lab adds: bounds depend on the machine, on the freed memory that KASAN keeps, and on
what the kernel keeps of a chunk of per-CPU memory."""
CHUNK_BLOCKS = 64 << 10
"""Bytes of what else is allocated for a chunk: sparc64's had 24 KiB beside pointers and bits, x86_64's 52 KiB."""
PER_CPU = "per_cpu_pages"
FREE = "free memory"
"""MemFree, the per-CPU lists, and what the kernel can take back of caches: pages of files and slab."""
_FREE = ("MemFree", "Active(file)", "Inactive(file)", "SReclaimable")
_LINE = re.compile(rb"(\S+:)?\s*(\d{1,18})")
_PLACE = re.compile(r"/sys/(?:kernel/mm|devices/system/node/(node\d+))/hugepages/hugepages-(\d+)kB/(\w+)_hugepages")
MAX_LINES = 4096


def wrap(command: str, mark: str) -> str:
    """Return the shell command with the counters read before and after it, after a line with the mark each time.

    The exit status is that of the command.
    """
    return f"books() {{ echo; echo {mark}; {READ}; echo {mark}; return $1; }}; books 0; {command}; books $?"


def split(stdout: bytes, mark: str) -> tuple[bytes, Books | None, Books | None]:
    """Return what the program itself printed, and the counters before and after it; None for incomplete counters.

    The mark is new for every run, and the shell prints the first and the last counters: everything between them is the
    program's own output.
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
    """Parse `name: number` lines: kB from meminfo, numbers of huge pages as `free.2048kB` and `node0.free.2048kB`."""
    counters: dict[str, int] = {}
    for line in text.split(b"\n", MAX_LINES)[:MAX_LINES]:
        if matched := _LINE.fullmatch(line.strip()):
            name = _name((matched[1] or b"tainted:")[:-1].decode("ascii", "replace"))
            number = int(matched[2])
            if name == PER_CPU:  # a line for each CPU and zone
                number += counters.get(name, 0)
            counters[name] = number
    return counters


def _name(printed: str) -> str:
    """Return the name of the counter that was printed as a path of sysfs, or as a key of a file of /proc."""
    if path := _PLACE.fullmatch(printed):
        node, size, what = path.groups()
        name = f"{what}.{size}kB"
        return f"{node}.{name}" if node else name
    return {"count": PER_CPU}.get(printed, printed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """How far a counter may move the wrong way: the sum of kB, pages, and pages for every CPU.

    With `slab`, freed objects count too, as long as the address sanitizer keeps them in quarantine.
    """

    kb: int = 0
    pages: int = 0
    per_cpu: int = 0
    slab: bool = False

    def bound(self, books: Books) -> int:
        """Return the bound in kB on the machine of these counters."""
        allowed = self.kb + books.get(PAGE, 4) * (self.pages + self.per_cpu * books.get(CPUS, 1))
        if self.slab:
            allowed += books.get(QUARANTINE, 0)
        return allowed


# Measured over 144 runs of the scenarios of `quick` on both machines and kernels (x86_64 with 4K pages, arm64 with 64K;
# four CPUs each) on a busy host. The worst that was seen, in kB: Committed_AS, Shmem and huge pages never moved;
# AnonPages 24 and 128, SReclaimable 276 and 320, SUnreclaim 796 and 1088, free memory 888 and 3008.
#
# Committed_AS and Shmem are exact once the per-CPU differences are folded in. The room is for the ssh daemon, whose
# heap grows by 128 KiB at a time, and for the shell that reads the counters.
# Slab: what a kernel cache keeps per CPU and node once it was used, and its last, half empty pages (+2304 kB by
# `stress` on ppc64le with 64K pages, hash MMU, two CPUs).
# Free memory is judged with the per-CPU lists added: alone it moved by up to 34 MB for no reason. MemAvailable would be
# less what the kernel holds in reserve, which a program may change: of 512 MB, 29 MB more where it turns on huge pages.
BOUNDS = {
    "Committed_AS": Bound(kb=256, pages=16),
    "Shmem": Bound(per_cpu=1),
    "AnonPages": Bound(kb=256, pages=16),
    "SReclaimable": Bound(kb=1024, per_cpu=8, slab=True),
    "SUnreclaim": Bound(kb=1024, pages=16, per_cpu=8, slab=True),
    FREE: Bound(kb=2048, per_cpu=16, slab=True),
}


def measures(*, page_size: int, cpus: int, memory: int, kasan: bool, percpu_chunk: int = 0) -> Books:
    """Return the counters that the lab adds to a guest's own; the arguments are in bytes.

    The address sanitizer keeps what was freed from being used again, up to 1/32 of the memory (mm/kasan/quarantine.c);
    on a machine of 1 GiB programs left 6 to 13 MB there.
    """
    added = {PAGE: page_size >> 10, CPUS: cpus}
    if kasan:
        added[QUARANTINE] = memory // 32 >> 10
    if percpu_chunk:
        added[CHUNK] = percpu_chunk >> 10
    return added


_UNIT = re.compile(r"percpu: Embedded \d+ pages/cpu s\d+ r\d+ d\d+ u(\d{1,9})\b")


def percpu_chunk(boot: str, pointer: int) -> int:
    """Return the bytes that a kernel takes from vmalloc for the maps of a further chunk of per-CPU memory, and keeps.

    The first program that uses many memory cgroups makes such a chunk. `boot`: what the kernel printed, of which one
    line has the size of a chunk's unit; 0 without it. For every four bytes of a unit there is a `pointer` to the memory
    cgroup that pays, and two bits (pcpu_alloc_chunk in mm/percpu.c, 6.12); then blocks, by the page.
    """
    if found := _UNIT.search(boot):
        unit = int(found[1])
        return unit // 4 * pointer + unit // 16 + CHUNK_BLOCKS
    return 0


def leaks(before: Books, after: Books) -> tuple[str, ...]:
    """Return a phrase for each counter beyond its bound; huge pages are exact and have no bound."""
    changed = [name for name, was in before.items() if after.get(name, was) != was]
    return (*_moved(before, after, changed), *_huge(before, after, changed))


def _moved(before: Books, after: Books, changed: Collection[str]) -> Iterator[str]:
    for name, limit in BOUNDS.items():
        if name not in changed and name != FREE:
            continue
        was, now = _value(before, name), _value(after, name)
        if was is None or now is None or now == was:
            continue
        growth = now - was
        lost = growth
        if name == FREE:
            lost = -growth - _kept(before, after)
        if lost > limit.bound(after):
            yield f"{name} {growth:+} kB (allowed: {limit.bound(after)} kB)"


def _kept(before: Books, after: Books) -> int:
    """Return how much free memory (kB) went to vmalloc and may be the maps of a chunk of per-CPU memory."""
    used = after.get("VmallocUsed", 0) - before.get("VmallocUsed", 0)
    return max(0, min(used, after.get(CHUNK, 0)))


def _value(books: Books, name: str) -> int | None:
    if name != FREE:
        return books.get(name)
    available, pages = books.get("MemAvailable"), books.get(PER_CPU)  # of runs of earlier labs
    if "MemFree" in books:
        available = sum(books.get(part, 0) for part in _FREE)
    if available is None or pages is None:
        return None
    return available + pages * books.get(PAGE, 4)


def _huge(before: Books, after: Books, changed: Iterable[str]) -> Iterator[str]:
    """Yield a phrase for each pool of huge pages whose numbers of free or reserved pages changed."""
    for name in changed:
        was, now = before[name], after[name]
        head, _, size = name.rpartition(".")
        if not size.endswith("kB"):
            continue
        node, _, what = head.rpartition(".")
        place = f" on {node}" if node else ""
        state = "free" if what == "free" else "reserved"
        yield f"huge pages of {size}{place}: {state} {now}, was {was}"


# What a bit of /proc/sys/kernel/tainted stands for (Documentation/admin-guide/tainted-kernels.rst).
_TAINTS = "PFSRMBUDAWCIOELKXTNJ"


def taint(before: Books | None, after: Books | None) -> str:
    """Return the letters of the taints that were added, as an oops shows them; empty if there are none."""
    if before is None or after is None:
        return ""
    added = after.get(TAINTED, 0) & ~before.get(TAINTED, 0)
    letters = ""
    if not added:
        return letters
    for bit in range(64):
        if added >> bit & 1:
            letters += _TAINTS[bit : bit + 1] or f"({bit})"
    return letters
