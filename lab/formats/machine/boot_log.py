# SPDX-License-Identifier: GPL-2.0-or-later
"""What a kernel prints at boot about nodes, memory and CPUs: SRAT, NUMA, early memory ranges, e820, zones, SMP."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from lab.core.sizes import KIB
from lab.formats.machine.cpu_list import parse_cpu_list
from lab.formats.machine.paste.pasted import Line, joined
from lab.formats.machine.statements import DAMAGE, MAX_NODE, NOTE, ArchMarks, Statement, Value, size

SOURCE = "dmesg"
_RANGE = r"\[?(?:mem )?(?:0x)?([0-9a-fA-F]{1,16})\s?-\s?(?:0x)?([0-9a-fA-F]{1,16})\]?"
_STAMP = re.compile(r"(?:\[[\s\d.]{1,20}\]\s*)?(?:\[\s{0,8}[TC]\d{1,8}\]\s*)?")
"""With the task or the CPU of CONFIG_PRINTK_CALLER behind it."""
_STAMPED = re.compile(r"\[[\s\d.]{5,20}\]")
_OPEN = re.compile(r"\[(?:mem )?(?:0x)?[0-9a-f]*-?(?:0x)?[0-9a-f]*$|(?:node|Node|PXM|->|CPUs:|\(|,|on|up|\d)$")
"""The end of a line that goes on."""
_REST = re.compile(r"(?:\(?usable\)?|hotplug|non-volatile|\[mem 0x|Node \d|-> |0x[0-9a-f]+[\]-]|nodes?, \d+ CPU)")
"""The beginning of what goes on."""
SHORT, TERMINAL = 30, 80
"""Characters of a line that is too short to have been wrapped, and of one that a terminal wrapped."""
_LINUX = re.compile(r"Linux version (\d\S{0,60})")
_OOPS = re.compile(
    r"CPU: \d{1,5} (?:UID: \d{1,10} )?PID: \d{1,10} Comm: .{1,40}? (?:Not tainted|Tainted: [A-Z ]{1,60}?)\s+"
    r"(\d{1,2}\.\d{1,3}\S{0,60})"
)
"""The kernel's release in the header of an oops."""
_ARGUMENTS = re.compile(r"(?:Kernel c|\bC)ommand line:\s?(.*)")
_SRAT_MEMORY = re.compile(rf"SRAT: Node (\d{{1,4}}) PXM \d{{1,5}} {_RANGE}")
_SRAT_CPU = re.compile(
    r"SRAT: PXM \d{1,5} -> (APIC|MPIDR|X2APIC|HARTID|CPU) (?:0x)?[0-9a-fA-F]{1,16} -> Node (\d{1,4})", re.I
)
_NODE_CPUS = re.compile(r"numa: Node (\d{1,4}) CPUs:((?: \d{1,5}(?:-\d{1,5})?)+)\s*$")
"""Of powerpc; printed again whenever CPUs come or go."""
_OTHER_MEMORY = re.compile(r" (hotplug|non-volatile)")
_OTHER_WORDS = {"hotplug": "may be plugged in", "non-volatile": "is non-volatile"}
_EARLY = re.compile(rf"\bnode\s{{1,4}}(\d{{1,4}}): {_RANGE}")
_FAKED = re.compile(rf"Faking node (\d{{1,4}}) at {_RANGE}")
_ONE_FOR_ALL = re.compile(rf"Faking a node at {_RANGE}")
"""Of a machine without nodes: the range goes on to the end of memory, and has holes."""
_INITMEM = re.compile(rf"(?:Initmem|Bootmem) setup node (\d{{1,4}}) {_RANGE}")
_NODE_NAMED = re.compile(
    r"(?:Initmem setup node|NODE_DATA\(|On node|Initializing node) ?(\d{1,4})\b"
    r"|Demotion targets for Node (\d{1,4}): "
    r"|\bnode (\d{1,4}) deferred pages initiali[sz]ed"
)
_ORDER = re.compile(r"Fallback order for Node \d{1,4}:((?: \d{1,4})+)")
"""All nodes with memory, the nearest first."""
_BOOTING = re.compile(r"\.{4} node\s{1,4}#(\d{1,4}), CPUs:((?:\s{1,20}#\d{1,5})*)")
_MORE_CPUS = re.compile(r"\s{0,20}#\d{1,5}(?:\s{1,20}#\d{1,5})*(?:\s+OK)?")
_CPU_NUMBER = re.compile(r"#(\d{1,5})")
_BROUGHT_UP = re.compile(r"Brought up (\d{1,4}) nodes?, (\d{1,5}) CPUs?")
_SLUB = re.compile(r"SLUB: .{0,80}CPUs=(\d{1,5}), Nodes=")
_POSSIBLE = re.compile(r"setup_percpu: NR_CPUS:\d{1,5} nr_cpumask_bits:\d{1,5} nr_cpu_ids:(\d{1,5}) nr_node_ids:\d")
_MEMORY = re.compile(r"Memory: \d{1,15}[Kk]/(\d{1,15})[Kk] available")
_E820 = re.compile(rf"(?:BIOS-e820|e820):\s{_RANGE}\s\(?usable\)?")
_HUGETLB = re.compile(
    r"HugeTLB:? registered (\d{1,5}(?:\.\d{1,2})?) ([KMG])i?B page size, pre-allocated (\d{1,9}) pages"
)
_MODEL = re.compile(r"(?:smpboot: )?CPU0: (\S.{3,80}?) \(family")
_MEMORYLESS = re.compile(r"Initmem setup node (\d{1,4}) as memoryless")
_NO_BYTES = 1
"""Of a range from 0 to 0, by which older kernels say that a node has no memory."""
_COMPILER = re.compile(r"\((\w{3,20})-(?:\w+-)?linux-gnu\w*-(?:gcc|clang|ld)")


@dataclass(slots=True)
class _Log:
    """Sums over the lines of one boot."""

    block: int = 0
    """The number of the boot."""
    begun: bool = False
    """Whether the kernel's banner has come, which each boot has once."""
    found: list[Statement] = field(default_factory=list)
    ranges: set[str] = field(default_factory=set)
    """The lines of SRAT and those with memory of a node: one that comes again is of another boot."""
    sizes: dict[str, dict[int, int]] = field(
        default_factory=lambda: {"faked": {}, "early": {}, "srat": {}, "initmem": {}, "whole": {}}
    )
    memoryless: set[int] = field(default_factory=set)
    """Nodes that the kernel says to have no memory."""
    nodes: dict[int, int] = field(default_factory=dict)
    """The first line that names each node."""
    cpu_counts: dict[int, int] = field(default_factory=dict)
    cpus: dict[int, list[int]] = field(default_factory=dict)
    listed: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """The CPUs of nodes that one line lists, the newest line of each."""
    brought_up: int = 0
    """CPUs that are online in the end; 0 if the log does not say it."""
    usable: int = 0
    usable_line: int = 0
    current: int = -1
    guessed: bool = False

    def add(self, key: str, value: Value, line: int, node: int | None = None, guess: str = "") -> None:
        """State something."""
        self.found.append(
            Statement(key=key, value=value, line=line, source=SOURCE, node=node, block=self.block, guess=guess)
        )

    def list_cpus(self, node: int, text: str, line: int) -> None:
        """Note the CPUs that a line lists of a node."""
        try:
            self.listed[node] = parse_cpu_list(text)
        except ValueError as error:
            self.add(DAMAGE, f"the CPUs of node {node} are damaged or cut off: {error}", line)

    def guess_arch(self, name: str, line: int, why: str) -> None:
        """State the architecture as a guess, once."""
        if not self.guessed:
            self.add("arch", name, line, guess=why)
        self.guessed = True


def read(lines: Sequence[Line], marks: ArchMarks) -> list[Statement]:
    """Everything that the lines state in the words of a boot log; of several boots each by itself."""
    log = _Log()
    stated: list[Statement] = []
    for line in _unwrapped(lines):
        text = line.text[:2000]
        banner = _LINUX.search(text) is not None
        if (banner and log.begun) or text in log.ranges:
            stated += _stated(log)
            log = _Log(block=log.block + 1)
        log.begun = log.begun or banner
        _take_marks(log, text, line.number, marks)
        if not (_take_cpus(log, text, line.number) or _take_memory(log, text, line.number)):
            _take_machine(log, text, line.number)
    return [*stated, *_stated(log)]


def _unwrapped(lines: Sequence[Line]) -> Iterator[Line]:
    """The lines, each with what a mailer or a terminal put on a line of its own, if nearly all have a time stamp."""
    stamps = [_STAMPED.match(line.text) is not None for line in lines]
    if sum(stamps) * 3 < len(lines) or not any(stamps):
        yield from lines
        return
    yield from joined(lines, _rest)


def _rest(line: str, following: str) -> str | None:
    """Return what stood between a line and its rest; None if the next line is one of its own."""
    open_end = following and (_OPEN.search(line) or _REST.match(following))
    if not open_end or _STAMPED.match(following) or len(line) <= SHORT:
        return None
    return "" if len(line) >= TERMINAL else " "


def _stated(log: _Log) -> list[Statement]:
    """Everything that one boot states."""
    sums = [replace(statement, block=log.block) for statement in _sums(log)]
    return [*log.found, *sums]


def _take_cpus(log: _Log, text: str, line: int) -> bool:
    """Read a line about the CPUs of a node; False if it is none."""
    if log.current >= 0 and _MORE_CPUS.fullmatch(text[_end(_STAMP.match(text)) :]):
        log.cpus[log.current] += map(int, _CPU_NUMBER.findall(text))
        return True
    log.current = -1
    if match := _BOOTING.search(text):
        node = int(match[1])
        log.nodes.setdefault(node, line)
        log.cpus.setdefault(node, []).extend(map(int, _CPU_NUMBER.findall(match[2])))
        log.current = node
    elif match := _NODE_CPUS.search(text):
        node = int(match[1])
        log.nodes.setdefault(node, line)
        log.list_cpus(node, match[2], line)
    elif match := _SRAT_CPU.search(text):
        node = int(match[2])
        log.nodes.setdefault(node, line)
        log.ranges.add(text)
        log.cpu_counts[node] = log.cpu_counts.get(node, 0) + 1
    return match is not None


def _take_marks(log: _Log, text: str, line: int, marks: ArchMarks) -> None:
    """Guess the architecture from a line that the kernels of one alone print."""
    if log.guessed:
        return
    if (match := _SRAT_CPU.search(text)) and (name := marks.srat.get(match[1].upper())):
        log.guess_arch(name, line, f"SRAT names CPUs by {match[1].upper()}")
    for pattern, name in marks.boot:
        if pattern.search(text):
            log.guess_arch(name, line, f"a kernel of {name} prints this line")


def _end(match: re.Match[str] | None) -> int:
    return match.end() if match else 0


def _take_memory(log: _Log, text: str, line: int) -> bool:
    """Read a line with a range of memory; False if it has none."""
    for name, pattern in (("faked", _FAKED), ("srat", _SRAT_MEMORY), ("early", _EARLY), ("initmem", _INITMEM)):
        if found := pattern.search(text):
            node = int(found[1])
            what = _OTHER_MEMORY.search(text, found.end()) if name == "srat" else None
            if what:
                log.add(NOTE, f"memory of node {node} that {_OTHER_WORDS[what[1]]} is left out", line)
                return True
            log.nodes.setdefault(node, line)
            log.ranges.add(text)
            sizes = log.sizes[name]
            length = _length(found[2], found[3])
            sizes[node] = sizes.get(node, 0) + length
            if name == "initmem" and length <= _NO_BYTES:
                log.memoryless.add(node)
            return True
    if found := _ONE_FOR_ALL.search(text):
        log.nodes.setdefault(0, line)
        log.sizes["whole"][0] = _length(found[1], found[2])
        return True
    if found := _MEMORYLESS.search(text):
        log.memoryless.add(int(found[1]))
        log.nodes.setdefault(int(found[1]), line)
        return True
    if found := _E820.search(text):
        log.usable += _length(found[1], found[2])
        log.usable_line = log.usable_line or line
        return True
    return False


def _length(first: str, last: str) -> int:
    """Bytes of a range, whose end is within it in newer kernels and behind it in older ones."""
    length = int(last, 16) - int(first, 16)
    return max(0, length + length % 2)


def _take_machine(log: _Log, text: str, line: int) -> None:
    """Read a line about the machine as a whole."""
    if match := _ARGUMENTS.search(text):
        words = [word for word in match[1].split() if word.isprintable()]
        log.add("cmdline", " ".join(words), line)
    elif match := _LINUX.search(text):
        log.add("release", match[1], line)
        if compiler := _COMPILER.search(text):
            log.guess_arch(compiler[1], line, f"the kernel's compiler is of {compiler[1]}")
    elif match := _OOPS.search(text):
        log.add("release", match[1], line)
    elif match := _MODEL.search(text):
        log.add("model", match[1], line)
    elif match := _NODE_NAMED.search(text):
        log.nodes.setdefault(int(match[1] or match[2] or match[3]), line)
    elif match := _ORDER.search(text):
        for word in match[1].split():
            log.nodes.setdefault(int(word), line)
    else:
        _take_counts(log, text, line)


def _take_counts(log: _Log, text: str, line: int) -> None:
    """Read a line that counts CPUs, nodes, memory or huge pages."""
    if match := _BROUGHT_UP.search(text):
        log.add("node_count", int(match[1]), line)
        log.add("cpu_count", int(match[2]), line)
        log.brought_up = int(match[2])
    elif match := _SLUB.search(text):
        log.add("cpu_count", int(match[1]), line)
    elif match := _POSSIBLE.search(text):
        log.add("cpu_count", int(match[1]), line, guess="as many as there may be, with those that are not plugged in")
    elif match := _HUGETLB.search(text):
        log.add(f"hugepages {size(match[1], match[2])}", int(match[3]), line)
    elif match := _MEMORY.search(text):
        log.add("memory", int(match[1]) * KIB, line)


def _sums(log: _Log) -> Iterator[Statement]:
    """What the lines come to together."""
    memory = next((sizes for sizes in log.sizes.values() if sizes), {})
    if memory and memory is log.sizes["whole"]:
        text = "the memory of the one node is a guess: its range has holes, which the line does not show"
        yield _sum(NOTE, text, log.nodes[0], None)
    lost = set(log.sizes["srat"]) - set(memory) - log.memoryless
    for node in sorted(lost):
        text = f"SRAT has memory of node {node}, and the ranges of memory have none: cut off, or left out by mem="
        yield _sum(DAMAGE, text, log.nodes[node], None)
    for node, amount in sorted(memory.items()):
        if node < MAX_NODE:
            yield _sum("memory", amount, log.nodes[node], node)
    for node, line in sorted(log.nodes.items()):
        if node < MAX_NODE and node not in memory:
            known = memory and (log.begun or node in log.memoryless)
            yield _sum("memory" if known else "seen", 0 if known else node, line, node if known else None)
            if known and node not in log.memoryless:
                yield _sum(NOTE, f"node {node} has no memory: a guess, as no line says that it has some", line, None)
    yield from _cpus(log)
    if log.usable and not memory:
        yield _sum("memory", log.usable, log.usable_line, None)


def _cpus(log: _Log) -> Iterator[Statement]:
    """The CPUs of each node: by their numbers, or numbered one node after the other if only their counts are known."""
    if log.listed:
        for node, line in sorted(log.nodes.items()):
            if node < MAX_NODE:
                yield _sum("cpus", log.listed.get(node, ()), line, node)
        return
    if log.cpus:
        yield from _listed(log)
        return
    if not log.cpu_counts:
        return
    start = 0
    text = "SRAT counts the CPUs of the nodes and does not number them: their numbers are a guess"
    yield _sum(NOTE, text, min(log.nodes[node] for node in log.cpu_counts), None)
    for node in sorted(log.nodes):
        count = log.cpu_counts.get(node, 0)
        numbered = tuple(range(start, start + count))
        start += count
        guess = "SRAT counts them and does not number them" if count else ""
        yield Statement(key="cpus", value=numbered, line=log.nodes[node], source=SOURCE, node=node, guess=guess)


def _listed(log: _Log) -> Iterator[Statement]:
    """The CPUs that the lines about secondary CPUs number, and the boot CPU."""
    if all(0 not in cpus for cpus in log.cpus.values()):
        log.cpus.setdefault(_node_of_boot_cpu(log), []).append(0)
    listed = len({cpu for cpus in log.cpus.values() for cpu in cpus})
    if log.brought_up > listed:
        text = f"the CPUs of nodes are cut off: {log.brought_up} CPUs are brought up and {listed} are listed"
        yield _sum(DAMAGE, text, min(log.nodes[node] for node in log.cpus if node in log.nodes), None)
    for node, line in sorted(log.nodes.items()):
        if node < MAX_NODE:
            yield _sum("cpus", tuple(sorted(set(log.cpus.get(node, ())))), line, node)


def _node_of_boot_cpu(log: _Log) -> int:
    """The node of CPU 0, which is not listed: SRAT counts one more CPU on it; else the first node that is listed."""
    for node, count in sorted(log.cpu_counts.items()):
        if count == len(log.cpus.get(node, ())) + 1:
            return node
    return min(log.cpus)


def _sum(key: str, value: Value, line: int, node: int | None) -> Statement:
    return Statement(key=key, value=value, line=line, source=SOURCE, node=node)
