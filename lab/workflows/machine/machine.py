# SPDX-License-Identifier: GPL-2.0-or-later
"""Read the parts of a machine other than its nodes: architecture, page size, CPUs, memory, huge pages. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lab.core.errors import UsageError
from lab.core.sizes import KIB, MIB
from lab.core.untrusted import one_line
from lab.formats.machine.summaries import prose
from lab.specs.arches import find
from lab.specs.model import format_cpus, format_size, parse_size
from lab.workflows.machine.contradictions import RELEASE_PAGES
from lab.workflows.machine.described import DescribedNode
from lab.workflows.machine.evidence import MISSING, MachineEvidence, amount, place
from lab.workflows.machine.parts import normal_arch

MODEL_WORDS = (
    (r"Intel|AMD\b|EPYC|Xeon|Ryzen|Threadripper|Opteron|Hygon|Zhaoxin|Celeron|Pentium", "x86_64"),
    (r"Neoverse|Cortex-A[57]\d|Graviton|Ampere|Altra\b|Kunpeng|ThunderX|Phytium|A64FX|Apple M\d|Grace\b", "aarch64"),
    (r"POWER ?(?:[89]|1\d)\b|Power ?(?:9|10)\b", "ppc64le"),
    (r"IBM/S390|z/VM|LPAR z", "s390x"),
    (r"Itanium|IA-64", "ia64"),
)
"""(pattern of processor names, `uname -m` of the machines that have them)."""
UNDECIDED_WORDS = (
    (r"\bMIPS\d*\b|\bLoongson-?[23]\b|\bOCTEON\b", "mips64 or mips64el"),
    (r"\bPOWER ?[5-7]\b|\bPowerPC\b|\bPowerNV\b|\bpSeries\b", "ppc64 or ppc64le"),
    (r"\bSPARC\b|\bUltraSPARC\b|\bsun4[uv]\b", "sparc64"),
)
"""(pattern of words, which architectures a text that has them may be about): too little for a guess."""
_RELEASE_ARCH = re.compile(
    r"[.+_-](x86_64|aarch64|ppc64le|s390x|riscv64|amd64|arm64|ppc64el|powerpc64le|loongarch64|sparc64)\b"
)
_RELEASE = re.compile(r"\b\d{1,2}\.\d{1,3}[.\d]*[\w.+-]{1,60}")
_HUGE_ARGUMENT = re.compile(r"\b((?:default_)?hugepagesz|hugepages)=(\w[\w:,]{0,80})")
_OF_NODE = re.compile(r"\d{1,4}:(\d{1,9})")


def read_arch(evidence: MachineEvidence) -> str:
    """Return the architecture as `uname -m` prints it; empty, with a problem, if it is neither stated nor guessed."""
    statement = evidence.find("arch")
    stated = normal_arch(evidence.text("arch"))
    if value := evidence.choices.arch:
        if statement is not None and stated != normal_arch(value):
            evidence.notes.append(f"{place(statement)}: the text says {stated}; --arch overrides it")
        evidence.row("architecture", value, "--arch")
        return value
    if statement is not None:
        evidence.stated("architecture", stated, statement)
        return stated
    return _guessed_arch(evidence) or _missing_arch(evidence)


def _guessed_arch(evidence: MachineEvidence) -> str:
    """Guess the architecture from the name of the processor or of the kernel; empty if neither shows it."""
    for key in ("model", "release", "cmdline"):
        statement = evidence.find(key)
        if statement is None:
            continue
        name = _arch_of_kernel(evidence.text(key))
        if key == "model":
            name = _arch_of_words(evidence.text(key))
        if name:
            evidence.row("architecture", name, f"guess from the {key}, line {statement.line}; --arch overrides it")
            evidence.notes.append(f"the architecture is a guess: {one_line(evidence.text(key), 60)!r} is {name}")
            return name
    return ""


def _missing_arch(evidence: MachineEvidence) -> str:
    evidence.row("architecture", MISSING, "--arch states it")
    if evidence.describes_a_machine():
        evidence.problems.append("the description does not say the architecture")
    else:
        evidence.problems.append("nothing in the text describes a machine, and it does not say the architecture")
    evidence.hint = "state it with --arch"
    words = evidence.texts.words
    likely = _arch_of_words(words) or _arch_of_releases(words) or _undecided(words)
    if likely:
        evidence.hint += f"; by the words of the text it may be --arch {likely}"
    return ""


def _undecided(text: str) -> str:
    """Return the architectures that the words of a text leave open; empty if it has no such words."""
    return next((choices for pattern, choices in UNDECIDED_WORDS if re.search(pattern, text, re.IGNORECASE)), "")


def _arch_of_kernel(text: str) -> str:
    """Return the architecture in the name of a distribution's kernel; empty if it has none."""
    match = _RELEASE_ARCH.search(text)
    if match is None:
        return ""
    return normal_arch(match[1])


def _arch_of_releases(text: str) -> str:
    """Return the architecture of the kernels or packages that a text names; empty unless they have exactly one."""
    named = {_arch_of_kernel(release) for release in _RELEASE.findall(text)} - {""}
    if len(named) != 1:
        return ""
    return named.pop()


def _arch_of_words(text: str) -> str:
    """Return the architecture of the processors that a text names; empty unless they have exactly one."""
    named = {arch for pattern, arch in MODEL_WORDS if re.search(pattern, text, re.IGNORECASE)}
    if len(named) != 1:
        return ""
    return named.pop()


def read_page_size(evidence: MachineEvidence, arch: str) -> int | None:
    """Return the page size in bytes: the stated one, the architecture's only one, or a guess; None if unknown."""
    statement = evidence.find("page_size")
    if evidence.choices.page_size is not None:
        evidence.row("page size", format_size(evidence.choices.page_size), "--page-size")
        return evidence.choices.page_size
    if statement is not None and statement.source != prose.SOURCE:
        size = evidence.number("page_size")
        evidence.stated("page size", format_size(size), statement)
        return size
    sizes = _page_sizes(arch)
    if len(sizes) == 1:
        evidence.row("page size", format_size(sizes[0]), "the only one that the lab has of it")
        return sizes[0]
    size, why = _guessed_page_size(evidence, sizes)
    if not size:
        size, why = _page_size_of_pools(evidence, arch)
    if not size and statement is not None:
        size, why = evidence.number("page_size"), f"{statement.guess}, line {statement.line}"
    if not size:
        evidence.row("page size", MISSING, "--page-size states it")
        return None
    evidence.row("page size", format_size(size), f"guess: {why}")
    return size


def _guessed_page_size(evidence: MachineEvidence, sizes: tuple[int, ...]) -> tuple[int, str]:
    """Guess (page size, reason) from the kernel's name or the default huge page size; (0, "") if neither shows it.

    A huge page is what one page table maps, at 8 bytes per entry. A default of 2M proves nothing: several page sizes
    have it, and it may be less than a page table maps.
    """
    for key in ("release", "cmdline"):
        if match := RELEASE_PAGES.search(evidence.text(key)):
            return int(match[1]) * KIB, f"the kernel's name has {match[0]!r}"
    huge = evidence.number("hugepage_size")
    for size in sizes:
        if huge > 2 * MIB and size * size // 8 == huge:
            return size, f"huge pages of {format_size(huge)}"
    return 0, ""


def _page_size_of_pools(evidence: MachineEvidence, arch: str) -> tuple[int, str]:
    """Guess (page size, reason) if only one page size has all the huge page sizes in sysfs; (0, "") otherwise."""
    pools = set[int]()
    for key, _ in evidence.by_key:
        word = key.removeprefix("hugepages ").removeprefix("pool ")
        if word != key and word.isdecimal():
            pools.add(int(word))
    fitting: list[int] = []
    for size in _page_sizes(arch) if pools else ():
        if pools <= set(find(arch).hugepages.get(size, ())):
            fitting.append(size)
    if len(fitting) != 1:
        return 0, ""
    listed = ", ".join(map(format_size, sorted(pools)))
    return fitting[0], f"huge pages of {listed} are listed"


def _page_sizes(arch: str) -> tuple[int, ...]:
    try:
        return tuple(find(arch).page_sizes)
    except UsageError:
        return ()


def read_cpus(evidence: MachineEvidence, nodes: Mapping[int, DescribedNode]) -> int:
    """Return the number of CPUs that are online."""
    on_nodes = sum(len(node.cpus) for node in nodes.values())
    count, statement = evidence.cpu_count()
    if statement is not None:
        whole = evidence.number("cpu_count")
        value = str(count)
        if statement.key == "online" and whole not in (0, count):
            value = f"{whole}, of which {count} are online"
        evidence.stated("CPUs", value, statement)
    elif not on_nodes:
        evidence.row("CPUs", MISSING, "")
    if offline := evidence.find("offline"):
        cpus = format_cpus(evidence.numbers("offline"))
        evidence.stated("offline CPUs", cpus, offline)
        evidence.notes.append(f"CPUs {cpus} are offline there: not in the topology")
    return max(count, on_nodes)


def read_memory(evidence: MachineEvidence, nodes: Mapping[int, DescribedNode]) -> int:
    """Return the machine's whole memory in bytes, and add a note if the sum over the nodes is very different."""
    statement = evidence.find("memory")
    on_nodes = sum(node.memory for node in nodes.values())
    if statement is None:
        if not on_nodes:
            evidence.row("memory", MISSING, "")
        return on_nodes
    whole = evidence.number("memory")
    evidence.stated("memory", amount(whole), statement)
    if on_nodes and abs(whole - on_nodes) > whole // 4:
        text = (
            f"the machine has {amount(whole)} of memory and its nodes {amount(on_nodes)} together: the nodes' is used"
        )
        evidence.notes.append(f"{place(statement)}: {text}")
    return whole


def read_hugepages(evidence: MachineEvidence) -> dict[int, int]:
    """Return huge page size -> pages reserved: from lists by size, else /proc/meminfo, else the arguments."""
    counts = dict[int, int]()
    for (key, node), statement in evidence.by_key.items():
        word = key.removeprefix("hugepages ")
        if word != key and word.isdecimal() and node is None and statement.value:
            counts[int(word)] = evidence.number(key)
            evidence.stated(f"huge pages {format_size(int(word))}", str(statement.value), statement)
    counts = counts or _default_hugepages(evidence) or _argument_hugepages(evidence)
    return dict(sorted(counts.items()))


def _default_hugepages(evidence: MachineEvidence) -> dict[int, int]:
    """Return the huge pages in /proc/meminfo, which counts only those of the default size."""
    count, size = evidence.find("hugepages default"), evidence.number("hugepage_size")
    if count is None or not count.value:
        return {}
    if not size:
        evidence.notes.append(f"{place(count)}: {count.value} huge pages whose size is {MISSING}: left out")
        return {}
    evidence.stated(f"huge pages {format_size(size)}", str(count.value), count)
    return {size: evidence.number("hugepages default")}


def _argument_hugepages(evidence: MachineEvidence) -> dict[int, int]:
    """Return the huge pages that the kernel's arguments reserve."""
    statement = evidence.find("cmdline")
    if statement is None:
        return {}
    counts = dict[int, int]()
    size = evidence.number("hugepage_size")
    for name, value in _HUGE_ARGUMENT.findall(evidence.text("cmdline")):
        if name != "hugepages":
            size = _size(value)
        elif count := _count(value):
            counts[size] = count
    if unknown := counts.pop(0, 0):
        evidence.notes.append(f"{place(statement)}: hugepages={unknown}, whose size is {MISSING}: left out")
    for size, count in counts.items():
        evidence.stated(f"huge pages {format_size(size)}", str(count), statement)
    return counts


def _count(value: str) -> int:
    """Return how many huge pages an argument reserves: `16`, or for each node `0:8,1:8`; 0 if it is no number."""
    if value.isdecimal():
        return int(value[:9])
    parts = [_OF_NODE.fullmatch(part) for part in value.split(",")]
    return sum(int(part[1]) for part in parts if part) if all(parts) else 0


def _size(word: str) -> int:
    try:
        return parse_size(word)
    except ValueError:
        return 0


def _order_of_name(word: str) -> str:
    """Return the byte order of an architecture's name, such as mips64el; empty for what `uname -m` prints of both."""
    try:
        record = find(word)
    except UsageError:
        return ""
    return "" if word == record.uname else record.byteorder


def read_facts(evidence: MachineEvidence) -> dict[str, str]:
    """Return the relevant keys of /proc/cpuinfo, and the byte order."""
    facts = dict[str, str]()
    for (key, _), statement in evidence.by_key.items():
        if key.startswith("fact "):
            facts[key.removeprefix("fact ")] = str(statement.value)
    if order := evidence.text("byteorder") or _order_of_name(evidence.text("arch")):
        facts["Byte Order"] = f"{order} endian"
    for name in ("MMU", "mmu"):
        if name in facts:
            evidence.row("MMU", one_line(facts[name], 40), "/proc/cpuinfo or lscpu")
            break
    return facts
