# SPDX-License-Identifier: GPL-2.0-or-later
"""What people send of their machines -> what a machine is, where each part of it was read, and what is missing. Pure.

The readers of lab/formats find statements; here they are put together. Two machines in one text are never merged, a
part is never taken for the whole, and whatever is a guess is called one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from lab.arch import find
from lab.core.errors import UsageError
from lab.core.untrusted import one_line
from lab.formats.machine import texts as machine_texts
from lab.formats.machine.statements import DAMAGE, KIB, MIB, NOTE, Statement, Value
from lab.formats.machine.texts import MachineTexts
from lab.specs.model import format_cpus, format_size, parse_size
from lab.workflows.capture_parts import alike_machines, normal_arch

RANKS = (
    *("sysfs", "node meminfo", "uname", "getconf", "numactl -H", "lscpu", "lscpu -J", "/proc/meminfo", "lscpu -Je"),
    *("lscpu -e", "lscpu -p", "numastat -m", "lstopo", "lsmem", "free", "dmesg", "distances"),
)
"""Sources, the best first: of two that state the same thing the better one is used."""
MODEL_WORDS = (
    (r"Intel|AMD\b|EPYC|Xeon|Ryzen|Threadripper|Opteron|Hygon|Zhaoxin|Celeron|Pentium", "x86_64"),
    (r"Neoverse|Cortex-A[57]\d|Graviton|Ampere|Altra\b|Kunpeng|ThunderX|Phytium|A64FX|Apple M\d|Grace\b", "aarch64"),
    (r"POWER ?(?:[89]|1\d)\b|Power ?(?:9|10)\b", "ppc64le"),
    (r"IBM/S390|z/VM|LPAR z", "s390x"),
)
_RELEASE_ARCH = re.compile(r"[.+_-](x86_64|aarch64|ppc64le|s390x|riscv64|amd64|arm64|ppc64el)\b")
_RELEASE_PAGES = re.compile(r"[.+_-](4|16|64)k\b", re.IGNORECASE)
_HUGE_ARGUMENT = re.compile(r"(hugepagesz|hugepages)=(\w{1,12})")
MISSING = "not in the text"


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedNode:
    """One NUMA node. Memory in bytes; `hugepages` maps a size in bytes to how many are reserved."""

    cpus: tuple[int, ...] = ()
    memory: int = 0
    distance: tuple[int, ...] = ()
    """To every node, in the order of their numbers; empty when it is not known."""
    hugepages: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedMachine:
    """A described machine. Sizes in bytes; what is empty or None was not in the description."""

    arch: str
    """As `uname -m` or lscpu has it."""
    page_size: int | None = None
    cpus: int = 0
    threads: int = 1
    """Hardware threads per core."""
    memory: int = 0
    nodes: Mapping[int, DescribedNode] = field(default_factory=dict)
    """By their numbers, which may have gaps."""
    hugepages: Mapping[int, int] = field(default_factory=dict)
    """Size -> how many, over all nodes; what says nothing of nodes is here alone."""
    thp: str | None = None
    shmem_thp: str | None = None
    cmdline: tuple[str, ...] = ()
    model: str = ""
    virtual_bits: int = 0
    """Of an address; 0 if it is not known."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """/proc/cpuinfo, the first value of every key; `flags` and `Features` also from lscpu."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRow:
    """One line of the table of what was read."""

    what: str
    value: str
    where: str


@dataclass(slots=True, kw_only=True)
class Reading:
    """A machine as far as its description goes, with the evidence for it."""

    machine: DescribedMachine
    rows: list[EvidenceRow] = field(default_factory=list)
    nodes: list[EvidenceRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What was decoded, joined, guessed or left out, a sentence each."""
    problems: list[str] = field(default_factory=list)
    """Why no topology can be made of it."""
    hint: str = ""

    def lines(self) -> Iterator[str]:
        """The table of what was read, then the notes."""
        width = max((len(row.what) for row in self.rows), default=0)
        for row in self.rows:
            yield f"  {row.what:{width}}  {row.value:34}  {row.where}".rstrip()
        if self.nodes:
            yield f"  {'node':4}  {'CPUs':40}  {'memory':>10}  distances"
        for row in self.nodes:
            yield f"  {row.what:>4}  {row.value}  {row.where}"
        for note in self.notes:
            yield f"  note: {one_line(note, 200)}"

    def guesses(self) -> list[str]:
        """What is a guess, a line each, for the topology's file."""
        rows = [row for row in self.rows if "guess" in row.where]
        guesses = [f"Guessed: {row.what} {row.value} ({row.where})." for row in rows]
        return [*guesses, *(f"Guessed: {note}." for note in self.notes if "guess" in note)]

    def check(self) -> DescribedMachine:
        """The machine; UsageError if something that it cannot do without is missing or cut off."""
        if self.problems:
            raise UsageError("; ".join(self.problems)[:1000], hint=self.hint or None)
        return self.machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the user states because the text does not."""

    arch: str = ""
    page_size: int | None = None
    machine: int | None = None
    """Which one of several machines in the text, counted from 1."""
    partial: bool = False
    """Take what is there for the whole machine."""


def machine(texts: Sequence[str]) -> DescribedMachine:
    """The machine that some texts describe together; UsageError if they do not describe one."""
    return read([(str(number), text) for number, text in enumerate(texts, 1)]).check()


def read(texts: Sequence[tuple[str, str]], choices: Choices | None = None) -> Reading:
    """What (name, text) of some files state about one machine."""
    choices = choices or Choices()
    found = machine_texts.read(texts)
    machines = alike_machines(found)
    if choices.machine is not None and not 1 <= choices.machine <= max(1, len(machines)):
        raise UsageError(f"--machine: expected a number from 1 to {len(machines)}, got {choices.machine}")
    chosen = machines[(choices.machine or 1) - 1] if machines else []
    reading = _Assembly(found, chosen, choices).reading()
    reading.notes[:0] = found.notes
    if len(machines) > 1 and choices.machine is None:
        described = [f"{number}: {_summary(each)}" for number, each in enumerate(machines[:8], 1)]
        reading.problems.insert(0, f"{len(machines)} machines in one text ({'; '.join(described)})")
        reading.notes.append("the table has the first machine; --machine chooses another")
        reading.hint = "choose one with --machine"
    return reading


def _summary(statements: Sequence[Statement]) -> str:
    """One machine of several in few words."""
    nodes = {each.node for each in statements if each.node is not None and each.key in ("cpus", "memory")}
    cpus = {cpu for each in statements if each.key == "cpus" for cpu in _numbers(each.value)}
    lines = [each.line for each in statements]
    file = f"{statements[0].file} " if statements[0].file else ""
    return f"{file}lines {min(lines)}-{max(lines)}, {len(nodes)} nodes, {len(cpus)} CPUs"


def _numbers(value: Value) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else ()


class _Assembly:
    """Puts the statements about one machine together and keeps the evidence for each part."""

    def __init__(self, texts: MachineTexts, statements: Sequence[Statement], choices: Choices) -> None:
        self.texts = texts
        self.choices = choices
        ranks = {source: rank for rank, source in enumerate(RANKS)}
        self.statements = sorted(statements, key=lambda each: (bool(each.guess), ranks.get(each.source, 4)))
        self.rows: list[EvidenceRow] = []
        self.notes: list[str] = []
        self.problems: list[str] = []
        self.hint = ""
        self.by_key: dict[tuple[str, int | None], Statement] = {}
        for each in self.statements:
            self.by_key.setdefault((each.key, each.node), each)
        self.by_node: dict[int, list[Statement]] = {}
        for each in self.by_key.values():
            if each.node is not None:
                self.by_node.setdefault(each.node, []).append(each)

    def reading(self) -> Reading:
        """The machine and the evidence for it."""
        self._take_notes()
        arch = self._arch()
        page_size = self._page_size(arch)
        model = self._text("model")
        nodes = self._nodes()
        virtual_bits = self._count("virtual_bits")
        cpus = self._cpu_count(nodes)
        self._offline()
        made = DescribedMachine(
            arch=one_line(arch, 40),
            page_size=page_size,
            cpus=cpus,
            threads=self._count("threads", "threads per core") or 1,
            memory=self._memory(nodes),
            nodes=nodes,
            hugepages=self._hugepages(),
            thp=self._text("thp") or None,
            shmem_thp=self._text("shmem_thp") or None,
            cmdline=tuple(self._text("cmdline").split()),
            model=one_line(model, 60),
            virtual_bits=virtual_bits,
            facts=self._facts(),
        )
        self._check_complete(nodes)
        return Reading(
            machine=made,
            rows=self.rows,
            nodes=self._node_rows(nodes),
            notes=self.notes,
            problems=self.problems,
            hint=self.hint,
        )

    # Evidence.

    def _where(self, statement: Statement) -> str:
        file = f"{statement.file}:" if statement.file else "line "
        guess = f"; guess: {statement.guess}" if statement.guess else ""
        return f"{file}{statement.line}, {statement.source}{guess}"

    def _row(self, what: str, value: str, statement: Statement) -> None:
        self.rows.append(EvidenceRow(what=what, value=one_line(value, 70), where=self._where(statement)))

    def _text(self, key: str, what: str = "") -> str:
        statement = self.by_key.get((key, None))
        if statement is None:
            return ""
        self._row(what or key, str(statement.value), statement)
        return str(statement.value)

    def _count(self, key: str, what: str = "") -> int:
        statement = self.by_key.get((key, None))
        if statement is None or not isinstance(statement.value, int):
            return 0
        self._row(what or key.replace("_", " "), str(statement.value), statement)
        return statement.value

    def _take_notes(self) -> None:
        for each in sorted(self.statements, key=lambda each: each.line):
            text = f"{self._place(each)}: {each.value}"
            if each.key == NOTE or (each.key == DAMAGE and str(each.value).startswith("distances")):
                self.notes.append(text)
            elif each.key == DAMAGE:
                self._problem(text)
        for omission in self.texts.omissions[:8]:
            where = f"{omission.file}:{omission.line}" if omission.file else f"line {omission.line}"
            self.notes.append(f"{where}: {one_line(omission.text, 40)!r} stands for something that was left out")

    def _place(self, statement: Statement) -> str:
        return f"{statement.file}:{statement.line}" if statement.file else f"line {statement.line}"

    def _problem(self, text: str) -> None:
        """Something is missing; a note if the user takes the part for the whole."""
        if self.choices.partial:
            self.notes.append(f"{text}; the rest is taken for the whole (--partial)")
            return
        self.problems.append(text)
        self.hint = self.hint or "--partial takes the rest for the whole machine"

    # The machine.

    def _arch(self) -> str:
        statement = self.by_key.get(("arch", None))
        stated = "" if statement is None else normal_arch(str(statement.value))
        if self.choices.arch:
            value = self.choices.arch
            if statement is not None and stated != normal_arch(value):
                self.notes.append(f"{self._place(statement)}: the text says {stated}; --arch overrides it")
            self.rows.append(EvidenceRow(what="architecture", value=value, where="--arch"))
            return value
        if statement is not None:
            self._row("architecture", stated, statement)
            return stated
        return self._guessed_arch()

    def _guessed_arch(self) -> str:
        """The architecture by the name of processor or kernel; empty, and a problem, if that is of no help."""
        for key in ("model", "release", "cmdline"):
            statement = self.by_key.get((key, None))
            if statement is None:
                continue
            name = _arch_of_words(str(statement.value), kernel=key != "model")
            if name:
                why = f"guess from the {key}, line {statement.line}; --arch overrides it"
                self.rows.append(EvidenceRow(what="architecture", value=name, where=why))
                self.notes.append(f"the architecture is a guess: {one_line(str(statement.value), 60)!r} is {name}")
                return name
        self.rows.append(EvidenceRow(what="architecture", value=MISSING, where="--arch states it"))
        if self.statements:
            self.problems.append("the description does not say the architecture")
        else:
            self.problems.append("nothing in the text describes a machine, and it does not say the architecture")
        likely = _arch_of_words(self.texts.words, kernel=False)
        self.hint = "state it with --arch"
        if likely:
            self.hint += f"; by the words of the text it may be --arch {likely}"
        return ""

    def _page_size(self, arch: str) -> int | None:
        statement = self.by_key.get(("page_size", None))
        if self.choices.page_size is not None:
            self.rows.append(
                EvidenceRow(what="page size", value=format_size(self.choices.page_size), where="--page-size")
            )
            return self.choices.page_size
        if statement is not None and isinstance(statement.value, int):
            self._row("page size", format_size(statement.value), statement)
            return statement.value
        guess = self._guessed_page_size(arch)
        if size := _only_page_size(arch):
            self.rows.append(
                EvidenceRow(what="page size", value=format_size(size), where="the only one that the lab has of it")
            )
            return size
        if guess is None:
            self.rows.append(EvidenceRow(what="page size", value=MISSING, where="--page-size states it"))
            return None
        guessed, why = guess
        self.rows.append(EvidenceRow(what="page size", value=format_size(guessed), where=f"guess: {why}"))
        return guessed

    def _guessed_page_size(self, arch: str) -> tuple[int, str] | None:
        for key in ("release", "cmdline"):
            statement = self.by_key.get((key, None))
            found = None if statement is None else _RELEASE_PAGES.search(str(statement.value))
            if found:
                return int(found[1]) * KIB, f"the kernel's name has {found[0]!r}"
        huge = self.by_key.get(("hugepage_size", None))
        if huge is not None and isinstance(huge.value, int):
            size = _page_size_with(arch, huge.value)
            if size:
                return size, f"huge pages of {format_size(huge.value)}, line {huge.line}"
        return None

    def _cpu_count(self, nodes: Mapping[int, DescribedNode]) -> int:
        on_nodes = sum(len(node.cpus) for node in nodes.values())
        for key in ("online", "cpu_count", "processors"):
            statement = self.by_key.get((key, None))
            if statement is None:
                continue
            count = len(statement.value) if isinstance(statement.value, tuple) else int(statement.value)
            self._row("CPUs", self._counted(key, count), statement)
            return max(count, on_nodes)
        if not on_nodes:
            self.rows.append(EvidenceRow(what="CPUs", value=MISSING, where=""))
        return on_nodes

    def _counted(self, key: str, count: int) -> str:
        """The CPUs that are online, and how many there are where that is another number."""
        whole = self.by_key.get(("cpu_count", None))
        if key != "online" or whole is None or whole.value == count:
            return str(count)
        return f"{whole.value}, of which {count} are online"

    def _offline(self) -> None:
        statement = self.by_key.get(("offline", None))
        if statement is None:
            return
        cpus = _numbers(statement.value)
        self._row("offline CPUs", format_cpus(cpus), statement)
        self.notes.append(f"CPUs {format_cpus(cpus)} are offline there: not in the topology")

    def _memory(self, nodes: Mapping[int, DescribedNode]) -> int:
        statement = self.by_key.get(("memory", None))
        if statement is None or not isinstance(statement.value, int):
            whole = sum(node.memory for node in nodes.values())
            if not whole:
                self.rows.append(EvidenceRow(what="memory", value=MISSING, where=""))
            return whole
        self._row("memory", _amount(statement.value), statement)
        return statement.value

    def _hugepages(self) -> dict[int, int]:
        counts = dict[int, int]()
        for (key, node), statement in self.by_key.items():
            word = key.partition("hugepages ")[2]
            if word.isdecimal() and node is None and isinstance(statement.value, int) and statement.value:
                counts[int(word)] = statement.value
                self._row(f"huge pages {format_size(int(word))}", str(statement.value), statement)
        return dict(sorted((counts or self._default_hugepages() or self._argument_hugepages()).items()))

    def _default_hugepages(self) -> dict[int, int]:
        """Those of /proc/meminfo, which has them of one size."""
        count, size = self.by_key.get(("hugepages default", None)), self.by_key.get(("hugepage_size", None))
        if count is None or not isinstance(count.value, int) or not count.value:
            return {}
        if size is None or not isinstance(size.value, int) or not size.value:
            self.notes.append(f"{self._place(count)}: {count.value} huge pages whose size is not in the text: left out")
            return {}
        self._row(f"huge pages {format_size(size.value)}", str(count.value), count)
        return {size.value: count.value}

    def _argument_hugepages(self) -> dict[int, int]:
        """Those that the kernel's arguments reserve."""
        statement = self.by_key.get(("cmdline", None))
        counts = dict[int, int]()
        size = 0
        for name, value in _HUGE_ARGUMENT.findall("" if statement is None else str(statement.value)):
            if name == "hugepagesz":
                size = _size(value)
            elif size and value.isdecimal() and len(value) < 9:
                counts[size] = int(value)
        for size, count in counts.items():
            if statement is not None:
                self._row(f"huge pages {format_size(size)}", str(count), statement)
        return {size: count for size, count in counts.items() if count}

    def _facts(self) -> dict[str, str]:
        facts = dict[str, str]()
        for (key, _), statement in self.by_key.items():
            if key.startswith("fact "):
                facts[key.removeprefix("fact ")] = str(statement.value)
        if order := self.by_key.get(("byteorder", None)):
            facts["Byte Order"] = f"{order.value} endian"
        for name in ("MMU", "mmu"):
            if name in facts:
                self.rows.append(
                    EvidenceRow(what="MMU", value=one_line(facts[name], 40), where="/proc/cpuinfo or lscpu")
                )
                break
        return facts

    # Nodes.

    def _nodes(self) -> dict[int, DescribedNode]:
        numbers = set[int]()
        for (key, node), statement in self.by_key.items():
            if node is not None and key in ("cpus", "memory"):
                numbers.add(node)
            elif key == "seen" and isinstance(statement.value, int):
                numbers.update(_numbers_seen(self.statements))
        online = self.by_key.get(("nodes online", None))
        if online is not None:
            numbers &= set(_numbers(online.value)) or numbers
        matrix = self._columns()
        if not numbers:
            numbers = set(matrix)
        numbers = self._announced_nodes(numbers)
        nodes = {number: self._node(number) for number in sorted(numbers)}
        return self._with_guessed_cpus(self._with_distances(nodes))

    def _columns(self) -> tuple[int, ...]:
        statement = self.by_key.get(("columns", None))
        return () if statement is None else _numbers(statement.value)

    def _announced_nodes(self, numbers: set[int]) -> set[int]:
        """The nodes; those that are counted and nowhere described are guessed if there are CPUs to share."""
        statement = self.by_key.get(("node_count", None))
        if statement is None or not isinstance(statement.value, int):
            return numbers
        listed = self.by_key.get(("nodes", None))
        value = str(statement.value)
        if listed is not None:
            value += f": {format_cpus(_numbers(listed.value))}"
        self._row("nodes", value, statement)
        if numbers or statement.value < 2 or statement.value > 64:
            return numbers
        self.notes.append(f"{self._place(statement)}: {statement.value} nodes are counted and not described: guessed")
        return set(range(statement.value))

    def _node(self, number: int) -> DescribedNode:
        cpus, memory = self.by_key.get(("cpus", number)), self.by_key.get(("memory", number))
        return DescribedNode(
            cpus=() if cpus is None else _numbers(cpus.value),
            memory=memory.value if memory is not None and isinstance(memory.value, int) else 0,
            hugepages=self._node_hugepages(number),
        )

    def _node_hugepages(self, number: int) -> dict[int, int]:
        counts = dict[int, int]()
        default = self.by_key.get(("hugepage_size", None))
        for statement in self.by_node.get(number, ()):
            word = statement.key.removeprefix("hugepages ")
            if word == statement.key or not isinstance(statement.value, int):
                continue
            if word.isdecimal():
                counts[int(word)] = statement.value
            elif default is not None and isinstance(default.value, int):
                counts.setdefault(default.value, statement.value)
        return {size: count for size, count in sorted(counts.items()) if size and count}

    def _with_distances(self, nodes: dict[int, DescribedNode]) -> dict[int, DescribedNode]:
        """The nodes with their rows, if every node has one that fits; else without any, and a note."""
        rows = {number: self.by_key.get(("distance", number)) for number in nodes}
        stated = [row for row in rows.values() if row is not None]
        if not stated:
            return nodes
        columns = self._columns() or tuple(nodes)
        place_of = {other: place for place, other in enumerate(columns)}
        places = [place_of[other] for other in nodes if other in place_of]
        made = dict[int, DescribedNode]()
        for number, row in rows.items():
            values = () if row is None else _numbers(row.value)
            if row is None or len(values) != len(columns) or len(places) < len(nodes):
                self._note_distances(number, len(values), len(columns), stated[0])
                return nodes
            made[number] = replace(nodes[number], distance=tuple(values[place] for place in places))
        gone = sorted(set(columns) - set(nodes))
        if gone:
            self.notes.append(f"distances to nodes {format_cpus(gone)}, which are not described, are left out")
        return made

    def _note_distances(self, number: int, have: int, wanted: int, first: Statement) -> None:
        what = f"{have} numbers for {wanted} nodes" if have else "no whole row"
        self.notes.append(f"{self._place(first)}: the distances of node {number} have {what}; no distances are used")

    def _with_guessed_cpus(self, nodes: dict[int, DescribedNode]) -> dict[int, DescribedNode]:
        """The nodes, with equal shares of the CPUs where nothing says of any node which it has."""
        damaged = any("CPUs of node" in text for text in (*self.problems, *self.notes))
        if len(nodes) < 2 or damaged or any(("cpus", number) in self.by_key for number in nodes):
            return nodes
        count = 0
        for key in ("online", "cpu_count", "processors"):
            statement = self.by_key.get((key, None))
            if statement is not None:
                count = len(statement.value) if isinstance(statement.value, tuple) else int(statement.value)
                break
        share = max(1, count // len(nodes))
        self.notes.append(f"which CPUs a node has is {MISSING}: guessed as {share} on each of {len(nodes)} nodes")
        return {
            number: replace(node, cpus=tuple(range(index * share, (index + 1) * share)))
            for index, (number, node) in enumerate(nodes.items())
        }

    # Completeness.

    def _check_complete(self, nodes: Mapping[int, DescribedNode]) -> None:
        self._check_announced(nodes)
        self._check_sizes(nodes)
        self._check_cpus(nodes)
        self._check_omissions(nodes)
        self._note_offline_nodes(nodes)

    def _check_announced(self, nodes: Mapping[int, DescribedNode]) -> None:
        """Fewer nodes are described than the text counts."""
        listed, counted = self.by_key.get(("nodes", None)), self.by_key.get(("node_count", None))
        described = {number for number in nodes if ("cpus", number) in self.by_key or ("memory", number) in self.by_key}
        if listed is not None and (missing := sorted(set(_numbers(listed.value)) - described)):
            text = f"{len(_numbers(listed.value))} nodes are announced and {len(described)} described"
            self._problem(f"{self._place(listed)}: {text}: {format_cpus(missing)} are missing")
        elif counted is not None and isinstance(counted.value, int) and 0 < len(described) < counted.value:
            self._problem(f"{self._place(counted)}: {counted.value} nodes are counted and {len(described)} described")

    def _check_sizes(self, nodes: Mapping[int, DescribedNode]) -> None:
        """Of some nodes the size or the CPUs are stated, and of others not: the text was cut there."""
        for key, what in (("memory", "the size"), ("cpus", "the CPUs")):
            with_it = [number for number in nodes if (key, number) in self.by_key]
            without = [number for number in nodes if (key, number) not in self.by_key]
            if with_it and without and not any("CPUs of node" in text for text in self.problems):
                self._problem(f"{what} of node {format_cpus(without)}: {MISSING}, which is cut off")

    def _check_cpus(self, nodes: Mapping[int, DescribedNode]) -> None:
        """CPUs that belong to two nodes, or that are online and on no node."""
        owners = dict[int, int]()
        for number, node in nodes.items():
            for cpu in node.cpus:
                if owners.setdefault(cpu, number) != number:
                    self._problem(f"CPU {cpu} is on node {owners[cpu]} and on node {number}")
                    return
        online = self.by_key.get(("online", None))
        missing = set() if online is None else set(_numbers(online.value)) - set(owners)
        if owners and missing:
            self._problem(f"CPUs {one_line(format_cpus(missing), 60)} are online and on no node")

    def _check_omissions(self, nodes: Mapping[int, DescribedNode]) -> None:
        """Nodes were left out in the middle, and nothing says how many there are."""
        if ("node_count", None) in self.by_key or ("nodes online", None) in self.by_key:
            return
        lines = [each.line for each in self.statements if each.node in nodes and each.key in ("cpus", "memory")]
        for omission in self.texts.omissions:
            if lines and min(lines) < omission.line < max(lines):
                self._problem(
                    f"line {omission.line}: {one_line(omission.text, 40)!r} leaves out an unknown part of the nodes"
                )
                return

    def _note_offline_nodes(self, nodes: Mapping[int, DescribedNode]) -> None:
        possible = self.by_key.get(("nodes possible", None))
        online = self.by_key.get(("nodes online", None))
        if possible is None:
            return
        gone = sorted(set(_numbers(possible.value)) - set(nodes))
        if gone and len(gone) <= 64:
            state = "offline" if online is not None else "not described"
            self.notes.append(f"{self._place(possible)}: possible and {state}, left out: node {format_cpus(gone)}")

    def _without_cpus(self, node: DescribedNode, where: str) -> str:
        """Where a node was read whose CPUs are not stated."""
        why = "its CPUs are a guess" if node.cpus else "its CPUs are unknown"
        return "; ".join(filter(None, (where, why)))

    def _node_rows(self, nodes: Mapping[int, DescribedNode]) -> list[EvidenceRow]:
        rows = list[EvidenceRow]()
        listed = self.by_key.get(("nodes", None))
        missing = set() if listed is None else set(_numbers(listed.value)) - set(nodes)
        for number in sorted(set(nodes) | missing):
            node = nodes.get(number)
            if node is None:
                rows.append(EvidenceRow(what=str(number), value=MISSING, where=""))
                continue
            stated = self.by_node.get(number, [])
            lines = sorted({each.line for each in stated})
            file = stated[0].file if stated else ""
            where = (f"{file}:" if file else "line ") + ", ".join(map(str, lines[:6]))
            if ("cpus", number) not in self.by_key:
                where = self._without_cpus(node, where if lines else "")
            cpus = f"{format_cpus(node.cpus)} ({len(node.cpus)})" if node.cpus else "none"
            memory = _amount(node.memory) if ("memory", number) in self.by_key else "?"
            distances = one_line(" ".join(map(str, node.distance)), 70)
            value = f"{one_line(cpus, 40):40}  {memory:>10}  {distances}"
            rows.append(EvidenceRow(what=str(number), value=value.rstrip(), where=f"({where})"))
        return rows


def _numbers_seen(statements: Iterable[Statement]) -> set[int]:
    return {each.value for each in statements if each.key == "seen" and isinstance(each.value, int)}


def _amount(size: int) -> str:
    """A size of real memory as people say it."""
    if size >= 10 << 30:
        return f"{size / (1 << 30):.0f}G"
    return f"{size / MIB:.0f}M"


def _only_page_size(arch: str) -> int:
    """The page size of an architecture that has one; 0 if it has several or the lab does not have it."""
    try:
        sizes = find(arch).page_sizes
    except UsageError:
        return 0
    return next(iter(sizes)) if len(sizes) == 1 else 0


def _page_size_with(arch: str, huge: int) -> int:
    """The page size at which a page table, of 8 bytes an entry, covers one huge page; 0 if that tells nothing.

    2M may be smaller than what a page table covers, and is the default of several page sizes.
    """
    try:
        sizes = find(arch).page_sizes
    except UsageError:
        return 0
    fitting = [size for size in sizes if size * size // 8 == huge and huge > 2 * MIB]
    return max(fitting, default=0)


def _size(word: str) -> int:
    try:
        return parse_size(word)
    except ValueError:
        return 0


def _arch_of_words(text: str, *, kernel: bool) -> str:
    """The architecture that the name of a kernel or of a processor gives away; empty if none or several do."""
    if kernel:
        found = _RELEASE_ARCH.search(text)
        return normal_arch(found[1].replace("ppc64el", "ppc64le")) if found else ""
    named = {arch for pattern, arch in MODEL_WORDS if re.search(pattern, text, re.IGNORECASE)}
    return named.pop() if len(named) == 1 else ""
