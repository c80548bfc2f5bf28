# SPDX-License-Identifier: GPL-2.0-or-later
"""Compares the facts that a guest reports with the requested topology and kernel. Pure.

Facts are text that the guest's init writes, `key=value` per line:

    machine=aarch64  release=6.12.117  notes=<hex of /sys/kernel/notes>  page_size=65536  cpus=0-3  mem_total=1012345856
    node.N.cpus=0-1  node.N.mem_total=512345088  node.N.distance=10 20  node.N.hugepages.SIZE=8
    node.N.access0.initiators=0  node.N.access0.read_latency=80  (write_latency, read_bandwidth, write_bandwidth)
    hmat=<hex of ACPI's table>  thp=madvise  shmem_thp=never
    hugepages.SIZE=16  cpuinfo.KEY=<value of a line in /proc/cpuinfo>  cmdline=...  byteorder=little  uptime=0.91
    user_bits=47 (where the topology says how many bits an address has: of those that a program could map)
    counted=1000000 1006012 1006012 (if the clock should count instructions: the least number of instructions of a
    loop, then the nanoseconds that each of its runs took)
    harts=1 0 2 3 (if Linux numbers CPUs in another order than the machine: the machine's numbers of CPU 0, 1, ...)

A fact that is missing, unreadable or stated twice is a mismatch of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from lab.core.outcome import Mismatch
from lab.core.sizes import MIB
from lab.core.untrusted import one_line
from lab.formats import hmat
from lab.formats.elf import build_id
from lab.formats.kconfig import has_kasan
from lab.specs.model import MAX_NODES, Hmat, Topology, format_size, parse_cpus

MAX_TEXT = 1 << 20
MAX_FLAWS = 20
MAX_HEX = 64 << 10
"""Most bytes of ELF notes, or of an ACPI table, that are read."""
LOOP, STEADY = 1.05, 1.001
"""The most nanoseconds per instruction of the counted loop, and the greatest ratio of two of its times."""
LOCAL, REMOTE = 10, 20
"""Distances if the topology states none: the defaults of ACPI and Linux."""

_NODE = re.compile(
    r"node\.(\d{1,4})\.(cpus|mem_total|distance|hugepages\.(\d{1,15})|access0\.(initiators|(read|write)_(latency|bandwidth)))"
)
_HUGEPAGES = re.compile(r"hugepages\.(\d{1,15})")
_CPUINFO = re.compile(r"cpuinfo\.(MMU|mmu|flags)")
_NUMBER = re.compile(r"\d{1,18}")
_SECONDS = re.compile(r"\d{1,9}(\.\d{1,9})?")
_HARTS = re.compile(r"\d{1,4}( \d{1,4})*")
_COUNTED = re.compile(r"\d{1,15}( \d{1,15}){3,20}")
_DISTANCES = re.compile(r"\d{1,3}( +\d{1,3})*")
_HEX = re.compile(r"([0-9a-fA-F]{2})*")
_TEXTS = ("machine", "release", "cmdline", "byteorder", "thp", "shmem_thp")
_PLAIN = frozenset(
    {*_TEXTS, "notes", "hmat", "page_size", "cpus", "harts", "mem_total", "uptime", "counted", "user_bits"}
)

Sizes = Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """One NUMA node as the guest reports it. Sizes are in bytes, hugepages counted by size; None if not reported."""

    cpus: tuple[int, ...] | None = None
    mem_total: int | None = None
    distance: tuple[int, ...] | None = None
    hugepages: Sizes = field(default_factory=lambda: MappingProxyType({}))
    initiators: tuple[int, ...] | None = None
    """The nodes whose CPUs reach this node's memory fastest."""
    access: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Speed of that access: `read_latency` and so on, in nanoseconds and MB/s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The facts that a guest reports; None if not reported. `flaws` describes the lines that cannot be read."""

    machine: str | None = None
    release: str | None = None
    notes: bytes | None = None
    page_size: int | None = None
    cpus: tuple[int, ...] | None = None
    harts: tuple[int, ...] = ()
    """The machine's number of each CPU if Linux numbers them in another order; else empty."""
    mem_total: int | None = None
    nodes: Mapping[int, NodeFacts] = field(default_factory=lambda: MappingProxyType({}))
    hugepages: Sizes = field(default_factory=lambda: MappingProxyType({}))
    cpuinfo: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Values of /proc/cpuinfo by key, for the keys that show the MMU's mode."""
    cmdline: str | None = None
    byteorder: str | None = None
    hmat: bytes | None = None
    thp: str | None = None
    shmem_thp: str | None = None
    user_bits: int | None = None
    """Bits of the highest address at which a program could map memory."""
    counted: tuple[int, ...] | None = None
    """The least number of instructions of a loop, then the nanoseconds that each of its runs took."""
    flaws: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedMachine:
    """What the guest must report. `build_id` is hexadecimal; `cmdline` has the kernel arguments in order."""

    topology: Topology
    build_id: str
    release: str | None = None
    cmdline: tuple[str, ...] = ()
    shadow: int = 0
    """Bytes that the kernel needs for the shadow memory of its address sanitizer (see `shadow_of`)."""


# Reading.


def parse_facts(text: str) -> Facts:
    """Parse the guest's facts. Never raises: a line that cannot be read is described in `flaws`, at most MAX_FLAWS."""
    flaws: list[str] = []
    values = _lines(text, flaws)
    plain = {key: value for key, value in values.items() if key in _PLAIN}
    return Facts(
        **{key: plain.get(key) for key in _TEXTS},
        notes=_bytes("notes", plain, flaws),
        hmat=_bytes("hmat", plain, flaws),
        page_size=_number("page_size", plain, flaws),
        cpus=_cpus("cpus", plain, flaws),
        harts=_numbers("harts", _HARTS, plain, flaws) or (),
        user_bits=_number("user_bits", plain, flaws),
        counted=_numbers("counted", _COUNTED, plain, flaws),
        mem_total=_number("mem_total", plain, flaws),
        nodes=_nodes(values, flaws),
        hugepages=_by_size(values, flaws),
        cpuinfo=_cpuinfo(values),
        flaws=tuple([*flaws, *_uptime_flaws(plain.get("uptime"))][:MAX_FLAWS]),
    )


def _lines(text: str, flaws: list[str]) -> dict[str, str]:
    if len(text) > MAX_TEXT:
        flaws.append(f"{len(text)} characters of facts, at most {MAX_TEXT} are read")
    values: dict[str, str] = {}
    for line in text[:MAX_TEXT].split("\n"):
        key, equals, value = line.strip("\r").partition("=")
        if not line.strip():
            continue
        if not equals or not (key in _PLAIN or any(keyed.fullmatch(key) for keyed in (_NODE, _HUGEPAGES, _CPUINFO))):
            flaws.append(f"no fact: {one_line(line, 60)}")
        elif key in values:
            flaws.append(f"stated twice: {key}")
        else:
            values[key] = value.strip()
    return values


def _number(key: str, values: Mapping[str, str], flaws: list[str]) -> int | None:
    value = values.get(key)
    if value is None:
        return None
    if _NUMBER.fullmatch(value):
        return int(value)
    flaws.append(f"{key}: no number: {one_line(value, 40)}")
    return None


def _numbers(key: str, form: re.Pattern[str], values: Mapping[str, str], flaws: list[str]) -> tuple[int, ...] | None:
    text = values.get(key)
    if text is None:
        return None
    if form.fullmatch(text):
        return tuple(map(int, text.split()))
    flaws.append(f"{key}: no numbers: {one_line(text, 40)}")
    return None


def _cpus(key: str, values: Mapping[str, str], flaws: list[str]) -> tuple[int, ...] | None:
    if key not in values:
        return None
    try:
        return parse_cpus(values[key][:4096])
    except ValueError:
        flaws.append(f"{key}: no list of CPUs: {one_line(values[key], 40)}")
        return None


def _bytes(key: str, values: Mapping[str, str], flaws: list[str]) -> bytes | None:
    value = values.get(key)
    if value is None:
        return None
    if len(value) > 2 * MAX_HEX or not _HEX.fullmatch(value):
        flaws.append(f"{key}: no hexadecimal, or too long: {one_line(value, 40)}")
        return None
    return bytes.fromhex(value)


def _uptime_flaws(value: str | None) -> list[str]:
    """Return the flaws of the uptime, the last line of the facts, whose value is not used otherwise."""
    if value is None or _SECONDS.fullmatch(value):
        return []
    return [f"uptime: no seconds: {one_line(value, 40)}"]


def _by_size(values: Mapping[str, str], flaws: list[str], prefix: str = "") -> Sizes:
    """Return the number of huge pages by size, from the keys `<prefix>hugepages.SIZE`."""
    found: dict[int, int] = {}
    for key in values:
        if not key.startswith(prefix):
            continue
        if match := _HUGEPAGES.fullmatch(key.removeprefix(prefix)):
            count = _number(key, values, flaws)
            if count is not None:
                found[int(match[1])] = count
    return MappingProxyType(found)


def _nodes(values: Mapping[str, str], flaws: list[str]) -> Mapping[int, NodeFacts]:
    present: set[int] = set()
    for key in values:
        if match := _NODE.fullmatch(key):
            present.add(int(match[1]))
    numbers = sorted(present)
    if len(numbers) > MAX_NODES:
        flaws.append(f"{len(numbers)} nodes, at most {MAX_NODES} are read")
    return MappingProxyType({number: _node(number, values, flaws) for number in numbers[:MAX_NODES]})


def _node(number: int, values: Mapping[str, str], flaws: list[str]) -> NodeFacts:
    prefix = f"node.{number}."
    return NodeFacts(
        cpus=_cpus(f"{prefix}cpus", values, flaws),
        mem_total=_number(f"{prefix}mem_total", values, flaws),
        distance=_numbers(f"{prefix}distance", _DISTANCES, values, flaws),
        hugepages=_by_size(values, flaws, prefix),
        initiators=_cpus(f"{prefix}access0.initiators", values, flaws),
        access=_access(f"{prefix}access0.", values, flaws),
    )


def _access(prefix: str, values: Mapping[str, str], flaws: list[str]) -> Mapping[str, int]:
    numbers: dict[str, int] = {}
    for name in Hmat.model_fields:
        number = _number(f"{prefix}{name}", values, flaws)
        if number is not None:
            numbers[name] = number
    return MappingProxyType(numbers)


def _cpuinfo(values: Mapping[str, str]) -> Mapping[str, str]:
    """Return value by key of /proc/cpuinfo, from the keys `cpuinfo.KEY`."""
    found: dict[str, str] = {}
    for key, value in values.items():
        if match := _CPUINFO.fullmatch(key):
            found[match[1]] = value
    return MappingProxyType(found)


# Comparing.


def verify(asked: ExpectedMachine, facts: Facts) -> tuple[Mismatch, ...]:
    """Return every difference between the guest and the requested machine; empty if there is none."""
    checks = (
        *(
            _flaws,
            _identity,
            _page_size,
            _mmu,
            _address_bits,
            _all_cpus,
            _memory,
            _all_nodes,
            _distances,
            _nearest,
            _hmat,
        ),
        *(_all_hugepages, _huge_on_nodes, _thp, _counted, _cmdline),
    )
    mismatches: list[Mismatch] = []
    for check in checks:
        mismatches += check(asked, facts)
    return tuple(mismatches)


def memory_floor(size: int) -> int:
    """Return the least MemTotal (bytes) that a machine or node of `size` bytes may show.

    MemTotal excludes what the kernel allocates early: 64 bytes of struct page per page (1/64 with 4 KiB pages), its
    image, per-CPU data and early hash tables (some 20 to 40 MiB, perhaps all on one node), and firmware tables.
    Observed of 1 GiB on two nodes: 30 MiB less on x86_64 with 4 KiB pages (22 of them on node 0), 12 MiB less on arm64
    with 64 KiB pages. 1/32 and 48 MiB leave room for debugging kernels; a missing memory module is far larger.
    """
    return size - size // 32 - 48 * MIB


def shadow_of(config: bytes, memory: int) -> int:
    """Return the bytes of shadow memory that a kernel with this .config needs on a machine of `memory` bytes.

    The generic address sanitizer needs a byte for every 8 bytes of memory (Documentation/dev-tools/kasan.rst) and
    allocates them like other early memory: on x86_64 all of them on node 0. 0 without the sanitizer.
    """
    if not has_kasan(config):
        return 0
    return memory // 8


def _differs(fact: str, asked: object, got: object) -> list[Mismatch]:
    if got is not None and got == asked:
        return []
    return [Mismatch(fact=fact, asked=_shown(asked), got=_shown(got))]


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, tuple):
        return one_line(" ".join(str(part) for part in value), 200) or "none"
    return one_line(str(value), 200)


def _flaws(asked: ExpectedMachine, facts: Facts) -> Iterable[Mismatch]:  # noqa: ARG001
    return [Mismatch(fact="facts", asked="every line readable, once", got=one_line(flaw)) for flaw in facts.flaws]


def _identity(asked: ExpectedMachine, facts: Facts) -> Iterable[Mismatch]:
    record = asked.topology.architecture
    yield from _differs("arch", record.uname, facts.machine)
    if facts.byteorder is not None:
        yield from _differs("byte order", record.byteorder, facts.byteorder)
    yield from _differs("kernel build id", asked.build_id.lower(), _build_id(facts.notes, record.byteorder))
    if asked.release is not None:
        yield from _differs("kernel release", asked.release, facts.release)


def _build_id(notes: bytes | None, byteorder: Literal["little", "big"]) -> str | None:
    """Return the build id in the kernel's ELF notes, or why it cannot be read; None if there are no notes."""
    if notes is None:
        return None
    try:
        return build_id(notes, byteorder)
    except ValueError as error:
        return str(error)


def _page_size(asked: ExpectedMachine, facts: Facts) -> Iterable[Mismatch]:
    got = None
    if facts.page_size is not None:
        got = format_size(facts.page_size)
    return _differs("page size", format_size(asked.topology.page_size), got)


def _mmu(asked: ExpectedMachine, facts: Facts) -> Iterable[Mismatch]:
    """Check that /proc/cpuinfo has the MMU mode's word and lacks the word that it must not have.

    A missing line is a mismatch in both cases.
    """
    mode = asked.topology.mode
    for wanted, there in ((mode.cpuinfo, True), (mode.cpuinfo_without, False)):
        if wanted is None:
            continue
        key, word = wanted
        got = facts.cpuinfo.get(key)
        if got is not None and (word in got.split()) is there:
            continue
        shown = f"no {word}"
        if there:
            shown = word
        yield Mismatch(fact=f"MMU, by {key} in /proc/cpuinfo", asked=shown, got=_shown(got))


def _address_bits(asked: ExpectedMachine, facts: Facts) -> Iterable[Mismatch]:
    """A program can map memory at addresses of so many bits, and of no more: measured where the topology names them."""
    if asked.topology.address_bits is None:
        return []
    return _differs("bits of a program's addresses", asked.topology.mode.user_bits, facts.user_bits)


def _all_cpus(asked: ExpectedMachine, facts: Facts) -> Iterable[Mismatch]:
    wanted = tuple(range(asked.topology.vcpus))
    yield from _differs("CPUs", wanted, facts.cpus)
    if facts.harts:
        yield from _differs("harts", wanted, tuple(sorted(facts.harts)))


def _memory(asked: ExpectedMachine, facts: Facts) -> Iterable[Mismatch]:
    yield from _memory_of("memory", asked.topology.total_memory, asked.shadow, facts.mem_total)
    sizes = asked.topology.node_memory
    for number, size in enumerate(sizes):
        if number in facts.nodes or len(sizes) > 1:
            got = facts.nodes.get(number, NodeFacts()).mem_total
            yield from _memory_of(f"memory of node {number}", size, asked.shadow, got)


def _memory_of(fact: str, size: int, shadow: int, got: int | None) -> Iterable[Mismatch]:
    least = max(0, memory_floor(size) - shadow)
    if got is not None and least <= got <= size:
        return []
    shown = "nothing"
    if got is not None:
        shown = f"{got // MIB} MiB"
    asked = f"{format_size(size)} (shown as {least // MIB} to {size // MIB} MiB)"
    return [Mismatch(fact=fact, asked=asked, got=shown)]


def _all_nodes(asked: ExpectedMachine, facts: Facts) -> Iterable[Mismatch]:
    cpus = asked.topology.node_cpus
    if len(cpus) == 1 and not facts.nodes:
        return  # a kernel without NUMA reports no nodes
    yield from _differs("nodes", tuple(range(len(cpus))), tuple(sorted(facts.nodes)))
    for number, wanted in enumerate(cpus):
        if number in facts.nodes:
            yield from _differs(f"CPUs of node {number}", wanted, _machine_cpus(facts.nodes[number].cpus, facts.harts))


def _machine_cpus(cpus: tuple[int, ...] | None, harts: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return CPUs by the machine's numbers, or by Linux's if a number is missing, which is a mismatch of its own."""
    if cpus is None or not harts or max(cpus, default=0) >= len(harts):
        return cpus
    return tuple(sorted(harts[cpu] for cpu in cpus))


def _distances(asked: ExpectedMachine, facts: Facts) -> Iterable[Mismatch]:
    for number, wanted in enumerate(asked.topology.distances or _default_distances(asked.topology)):
        if number in facts.nodes:
            yield from _differs(f"distances of node {number}", wanted, facts.nodes[number].distance)


def _default_distances(topology: Topology) -> list[tuple[int, ...]]:
    """Return the distances of a machine whose topology states none."""
    count = len(topology.node_memory)
    rows = []
    for node in range(count):
        row = [REMOTE] * count
        row[node] = LOCAL
        rows.append(tuple(row))
    return rows


def _nearest(asked: ExpectedMachine, facts: Facts) -> Iterable[Mismatch]:
    """Check what Linux derived from the HMAT: for every node, whose CPUs access it fastest, and how fast."""
    topology = asked.topology
    if not topology.hmat:
        return
    for node in range(len(topology.numa)):
        got = facts.nodes.get(node, NodeFacts())
        nearest = topology.nearest_initiator(node)
        yield from _differs(f"nearest CPUs to node {node}", (nearest,), got.initiators)
        for name, matrix in topology.hmat.matrices.items():
            wanted = matrix[topology.initiators.index(nearest)][node]
            yield from _differs(f"{name} of node {node}", wanted, got.access.get(name))


def _hmat(asked: ExpectedMachine, facts: Facts) -> Iterable[Mismatch]:
    """Check every link in the ACPI table itself: Linux shows only the links of the nearest CPUs."""
    topology, table = asked.topology, facts.hmat
    if topology.hmat:
        yield from _links(topology, table)
    elif table is not None:
        yield Mismatch(fact="HMAT", asked="none", got=f"{len(table)} bytes")


def _links(topology: Topology, table: bytes | None) -> Iterable[Mismatch]:
    """Yield the links of a topology's HMAT that the guest's table lacks or has with another value."""
    assert topology.hmat is not None
    found: Mapping[str, Mapping[tuple[int, int], int]] = {}
    if table is not None:
        try:
            found = hmat.decode(table)
        except ValueError as error:
            yield Mismatch(fact="HMAT", asked="a table", got=one_line(str(error)))
            return
    for name, matrix in topology.hmat.matrices.items():
        values = found.get(name, {})
        for initiator, row in zip(topology.initiators, matrix, strict=True):
            for target, wanted in enumerate(row):
                fact = f"{name} from node {initiator} to node {target}"
                yield from _differs(fact, wanted, values.get((initiator, target)))


def _all_hugepages(asked: ExpectedMachine, facts: Facts) -> Iterable[Mismatch]:
    wanted = asked.topology.reserved_hugepages
    for size in sorted({*wanted, *facts.hugepages}):
        name, number = f"hugepages of {format_size(size)}", wanted.get(size, 0)
        if number or size in facts.hugepages:
            yield from _differs(name, number, facts.hugepages.get(size))
        on_nodes = [node.hugepages[size] for node in facts.nodes.values() if size in node.hugepages]
        if on_nodes and size in facts.hugepages:
            yield from _differs(f"{name}, sum over nodes", facts.hugepages[size], sum(on_nodes))


def _huge_on_nodes(asked: ExpectedMachine, facts: Facts) -> Iterable[Mismatch]:
    """Check the reservations of huge pages that the topology makes on single nodes."""
    cells = asked.topology.numa
    sizes: set[int] = set()
    for cell in cells:
        sizes.update(cell.hugepages)
    for size in sorted(sizes):
        for number, cell in enumerate(cells):
            got = facts.nodes.get(number, NodeFacts()).hugepages.get(size)
            yield from _differs(f"hugepages of {format_size(size)} on node {number}", cell.hugepages.get(size, 0), got)


def _thp(asked: ExpectedMachine, facts: Facts) -> Iterable[Mismatch]:
    """Check the modes that the topology names; the kernel's build or a small memory decide about the others."""
    topology = asked.topology
    for fact, mode, got in (("thp", topology.thp, facts.thp), ("shmem_thp", topology.shmem_thp, facts.shmem_thp)):
        if mode:
            yield from _differs(fact, mode, got)


def _counted(asked: ExpectedMachine, facts: Facts) -> Iterable[Mismatch]:
    """Check that a loop takes one nanosecond for each of its instructions, and the same time in every run.

    One or two of the times may be longer because a timer tick interrupted the run (some 35000 instructions on arm64).
    An emulator that does not count instructions, or a processor, finishes an empty loop much faster.
    """
    if not asked.topology.counted:
        return
    instructions, *took = facts.counted or (0,)
    best = sorted(took)[: (len(took) + 1) // 2]
    if not best or not instructions <= best[0] <= best[-1] <= instructions * LOOP or best[-1] > best[0] * STEADY:
        times = " ".join(f"{duration} ns" for duration in took) or "nothing"
        yield Mismatch(fact="clock", asked=f"{instructions or 'so many'} ns for as many instructions", got=times)


def _cmdline(asked: ExpectedMachine, facts: Facts) -> Iterable[Mismatch]:
    """Check that every requested argument is there, in the requested order; other arguments may stand between."""
    if facts.cmdline is None:
        if asked.cmdline:
            yield from _differs("command line", asked.cmdline, None)
        return
    reported = iter(facts.cmdline.split())
    for argument in asked.cmdline:
        if argument not in reported:  # consumes the iterator up to the argument, which checks the order
            yield Mismatch(fact="command line", asked=one_line(argument), got=one_line(facts.cmdline))
            return
