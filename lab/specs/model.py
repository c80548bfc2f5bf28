# SPDX-License-Identifier: GPL-2.0-or-later
"""Strict frozen models of the YAML files that users write; construction validates a value as far as it stands alone.

`lab/specs/load.py` reads the files and reports errors with their line.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import reduce
from itertools import chain
from operator import or_
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    model_validator,
)

from lab.arch.record import Arch, Mmu
from lab.core.errors import LabError, nearest
from lab.core.paths import PACKAGE, is_prebuilt
from lab.core.sizes import MIB
from lab.formats.machine.cpu_list import format_list
from lab.specs import kernel_packages
from lab.specs.arches import ARCHES, find, lacking_preset

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"([0-9]{1,15})\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
_CPUS = re.compile(r"([0-9]{1,4})(?:-([0-9]{1,4}))?")
_RANGE = re.compile(r"([0-9]{1,4})(-([0-9]{1,4})?)?")
MAX_NODES = 64
MAX_MEMORY = 1 << 44
MAX_ENTRY = 0xFFFE
"""The largest 16-bit entry of HMAT; 0xFFFF means that the memory cannot be reached."""
SPARSE_ROOM = 1 << 30
MIN_THP = 640 << 20
"""Bytes: Linux turns transparent huge pages off if less than 512M of memory is available (6.12, hugepage_init)."""


def parse_size(value: object) -> int:
    """Return the bytes of `64K`, `2M`, `1G`, `512MiB` or a plain number of bytes; ValueError otherwise."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str) or not (match := _SIZE.fullmatch(value.strip())):
        raise ValueError(f"expected a size such as 64K, 512M or 2G, got {got(value)}")
    return int(match[1]) * _UNITS[match[2].upper()]


def got(value: object) -> str:
    """Return a value as an error line shows it: short, on one line, in YAML's words."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "`key: value` pairs"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    text = repr(value)
    if len(text) > 60:
        return f"{text[:56]}...'"
    return text


def format_size(size: int) -> str:
    """Return the shortest exact spelling of a number of bytes: 65536 -> `64K`."""
    for unit in ("T", "G", "M", "K"):
        if size and size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]}{unit}"
    return str(size)


def parse_cpus(value: object) -> tuple[int, ...]:
    """Return sorted CPU numbers from `0-1,4`, one number, a list of numbers, or nothing; ValueError otherwise."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, list | tuple):
        value = ",".join(map(str, value))
    if not isinstance(value, str):
        raise ValueError(f"expected CPU numbers such as 0-1,4, got {got(value)}")
    cpus: list[int] = []
    for part in filter(None, map(str.strip, value.split(","))):
        match = _CPUS.fullmatch(part)
        if not match or int(match[2] or match[1]) < int(match[1]):
            raise ValueError(f"expected CPU numbers such as 0-1,4, got {got(part)}")
        cpus.extend(range(int(match[1]), int(match[2] or match[1]) + 1))
    if len(set(cpus)) != len(cpus):
        raise ValueError(f"expected every CPU once, got {got(value)}")
    return tuple(sorted(cpus))


def format_cpus(cpus: Iterable[int]) -> str:
    """Return the kernel's spelling of a set of CPU numbers: 0, 1, 4 -> `0-1,4`; `none` for an empty set."""
    return format_list(cpus) or "none"


def _power_of_two(size: int) -> int:
    if size <= 0 or size & (size - 1):
        raise ValueError(f"expected a power of two, got {format_size(size)}")
    return size


def _memory(size: int) -> int:
    """Require memory in whole mebibytes, as libvirt would silently round anything else up."""
    if not 0 < size <= MAX_MEMORY or size % MIB:
        raise ValueError(f"expected whole mebibytes, 1M to {format_size(MAX_MEMORY)}, got {format_size(size)}")
    return size


def _one_line(text: str) -> str:
    """Require text that is safe in a command line or XML: not empty, without control characters."""
    if not text.isprintable() or not text.strip():
        raise ValueError(f"expected printable text on one line, got {got(text)}")
    return text


def _hugepages(value: object) -> object:
    """Refuse a mapping size -> count that has one size in two spellings."""
    if isinstance(value, dict):
        sizes = [parse_size(key) for key in value]
        if len(set(sizes)) != len(sizes):
            raise ValueError(f"expected every size once, got {', '.join(map(str, value))}")
    return value


def _bytes(hugepages: Mapping[int, int]) -> int:
    total = 0
    for size, count in hugepages.items():
        total += size * count
    return total


def _known_arch(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected the name of an architecture, got {got(value)}")
    try:
        return find(value).name
    except LabError as error:
        raise ValueError(str(error)) from None


def _words(value: object) -> Any:
    """Split a string into words; return a list as it is."""
    if isinstance(value, str):
        return tuple(value.split())
    if not isinstance(value, list | tuple):
        raise ValueError(f"expected words, as text or as a list, got {got(value)}")
    return value


def _release(value: object) -> object:
    """Refuse a release that YAML reads as a number: 8.20 would be 8.2."""
    if not isinstance(value, str) or not re.fullmatch(r"\d+\.\d+", value):
        raise ValueError(f'expected a release of QEMU in quotes, such as "8.2", got {got(value)}')
    return value


JOINT = " + "
"""The separator of several series' names, as they are printed and recorded."""


def _stacked(value: object) -> object:
    """Join a list of series, each applied after the one before, to one name; return one series as it is."""
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        return value
    if not value or len(set(value)) != len(value):
        raise ValueError("expected the names of series, each once")
    return JOINT.join(value)


Memory = Annotated[int, BeforeValidator(parse_size), AfterValidator(_memory)]
PageSize = Annotated[int, BeforeValidator(parse_size), AfterValidator(_power_of_two)]
Cpus = Annotated[tuple[int, ...], BeforeValidator(parse_cpus)]
OneLine = Annotated[str, AfterValidator(_one_line)]
Words = Annotated[tuple[OneLine, ...], BeforeValidator(_words)]
Option = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.,+=-]*$")]
"""A CPU model or machine type of QEMU, with its properties."""
Feature = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
"""One word: guests get the features of their kernel separated by spaces."""


class Spec(BaseModel):
    """A YAML file. Unknown keys are refused, values are never coerced silently, and instances are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


Hugepages = Annotated[dict[PageSize, Annotated[int, Field(ge=0, strict=True)]], BeforeValidator(_hugepages)]
"""Size in bytes -> how many pages of that size are reserved at boot."""
Matrix = tuple[tuple[Annotated[int, Field(ge=1, strict=True)], ...], ...]
"""A row per initiator (cell with CPUs), each with a number per target (cell)."""


class NumaCell(Spec):
    """One NUMA node. Without `cpus` it is a memory-only node, without `memory` a CPU-only node."""

    cpus: Cpus = ()
    memory: Memory | None = None
    hugepages: Hugepages = Field(default_factory=dict)
    """Reserved on this node; the topology's own `hugepages` leave the choice of node to the kernel."""

    @model_validator(mode="after")
    def _something(self) -> NumaCell:
        if not self.cpus and self.memory is None:
            raise ValueError("memory: a cell needs cpus, memory or both, and this one has neither")
        return self


class Hmat(Spec):
    """ACPI's heterogeneous memory attributes: how fast each cell with CPUs reaches the memory of each cell."""

    read_latency: Matrix
    """Nanoseconds."""
    write_latency: Matrix
    read_bandwidth: Matrix
    """MB/s, as Linux shows them; in QEMU the unit is MiB/s."""
    write_bandwidth: Matrix

    @property
    def matrices(self) -> Mapping[str, Matrix]:
        """Return attribute -> matrix, with the names of sysfs and of the YAML keys."""
        return {name: getattr(self, name) for name in type(self).model_fields}


class Topology(Spec):
    """One emulated machine. `name` is the file's stem. Sizes are bytes."""

    name: str
    description: str = ""
    arch: Annotated[str, BeforeValidator(_known_arch)]
    page_size: PageSize
    mmu: Option | None = None
    address_bits: Annotated[int, Field(strict=True)] | None = None
    """Bits of a virtual address, if the architecture has a choice; verified in the guest."""
    vcpus: Annotated[int, Field(ge=1, strict=True)] = 1
    cpu: Option | None = None
    machine: Option | None = None
    qemu: Annotated[str, BeforeValidator(_release)] | None = None
    """The first release of QEMU that can emulate the machine, such as 8.2; None if all can."""
    memory: Memory | None = None
    numa: tuple[NumaCell, ...] = ()
    distances: tuple[tuple[Annotated[int, Field(ge=10, le=254, strict=True)], ...], ...] = ()
    hmat: Hmat | None = None
    hugepages: Hugepages = Field(default_factory=dict)
    """Reserved wherever the kernel puts them; a cell's own `hugepages` say on which node."""
    thp: Literal["always", "madvise", "never"] | None = None
    """Transparent huge pages for private memory; None for the kernel's built-in default."""
    shmem_thp: Literal["always", "within_size", "advise", "never", "deny", "force"] | None = None
    """Transparent huge pages for shared memory: the value of shmem_enabled from boot on."""
    sparse: Annotated[bool, Field(strict=True)] = False
    """Do not set the memory aside on the host: a guest that touches little may be larger than the host."""
    clock: Literal["instructions"] | None = None
    """The source of the guest's time: one nanosecond per instruction (QEMU's icount); None for the host's clock."""
    scenarios: Annotated[Words, Field(min_length=1)] | None = None
    """The scenarios that the machine is for, names or globs; None for all."""
    cmdline: Words = ()
    kernel_config: Words = ()
    qemu_args: Words = ()

    @property
    def architecture(self) -> Arch:
        """Return the architecture's record."""
        return ARCHES[self.arch]

    @property
    def total_memory(self) -> int:
        """Return the bytes of RAM over all nodes."""
        return sum(self.node_memory)

    @property
    def node_memory(self) -> tuple[int, ...]:
        """Return the bytes of RAM of every node; a machine without `numa` is one node."""
        return tuple(cell.memory or 0 for cell in self.numa) or (self.memory or 0,)

    @property
    def node_cpus(self) -> tuple[tuple[int, ...], ...]:
        """Return the CPUs of every node; a machine without `numa` is one node."""
        return tuple(cell.cpus for cell in self.numa) or (tuple(range(self.vcpus)),)

    @property
    def initiators(self) -> tuple[int, ...]:
        """Return the nodes that have CPUs, which are HMAT's initiators."""
        return tuple(node for node, cpus in enumerate(self.node_cpus) if cpus)

    def nearest_initiator(self, target: int) -> int:
        """Return the node with CPUs of least latency to `target`, as libvirt picks it; ValueError without HMAT."""
        if not self.hmat:
            raise ValueError("no hmat")
        values = [
            (matrix[row][target], node)
            for matrix in (self.hmat.read_latency, self.hmat.write_latency)
            for row, node in enumerate(self.initiators)
        ]
        return min(values, key=lambda value: value[0])[1]

    @property
    def cpu_only(self) -> tuple[int, ...]:
        """Return the nodes that have no memory."""
        return tuple(node for node, memory in enumerate(self.node_memory) if not memory)

    @property
    def footprint(self) -> int:
        """Return the bytes of host memory that the guest may use.

        A sparse guest uses what its kernel keeps per page (struct page: 64 bytes on 64-bit kernels), plus room for the
        memory that scenarios touch.
        """
        if not self.sparse:
            return self.total_memory
        return min(self.total_memory, self.total_memory // self.page_size * 64 + SPARSE_ROOM)

    @property
    def reserved_hugepages(self) -> Mapping[int, int]:
        """Return huge page size -> pages reserved over all nodes."""
        counts = Counter(self.hugepages)
        for cell in self.numa:
            counts.update(cell.hugepages)
        return dict(sorted(counts.items()))

    @property
    def mode(self) -> Mmu:
        """Return the MMU mode: the one that `mmu` or `address_bits` selects, else the architecture's first."""
        modes = self.architecture.mmus
        if self.mmu:
            return modes[self.mmu]
        for mode in self._modes:
            if mode.address_bits == self.address_bits:
                return mode
        return next(iter(modes.values()))

    @property
    def _modes(self) -> list[Mmu]:
        """Return the modes that kernels with this page size have."""
        modes = self.architecture.mmus.values()
        return [mode for mode in modes if not mode.page_sizes or self.page_size in mode.page_sizes]

    @property
    def possible_hugepages(self) -> tuple[int, ...]:
        """Return the hugetlb page sizes in bytes that this machine can have."""
        return (self.mode.hugepages or self.architecture.hugepages).get(self.page_size, ())

    @property
    def has_thp(self) -> bool:
        """Return whether its kernels have transparent huge pages, which one of its fragments turns on."""
        for name in self.fragments:
            if "CONFIG_TRANSPARENT_HUGEPAGE=y\n" in self.architecture.fragments.get(name, ""):
                return True
        return False

    @property
    def counted(self) -> bool:
        """Return whether time in its guests is a number of instructions."""
        return self.clock == "instructions"

    @property
    def fragments(self) -> tuple[str, ...]:
        """Return the names of the kernel config fragments that this machine needs, general ones first."""
        return (*self.own_fragments, *self.kernel_config)

    @property
    def own_fragments(self) -> tuple[str, ...]:
        """Return the names of those that are the lab's own: for all machines, this architecture, page size and MMU."""
        own = (self.architecture.config_fragment, self.architecture.page_sizes[self.page_size], self.mode.fragment)
        return ("base", *filter(None, own))

    @model_validator(mode="after")
    def _possible(self) -> Topology:
        """Refuse combinations of keys that no machine can have. Messages begin with the key at fault, `key: ...`."""
        for check in (
            self._check_arch,
            self._check_clock,
            self._check_memory,
            self._check_nodes,
            self._check_order,
            self._check_cpu_only,
            self._check_hugepages,
            self._check_distances,
            self._check_hmat,
        ):
            check()
        return self

    def _check_arch(self) -> None:
        record = self.architecture
        if self.page_size not in record.page_sizes:
            have = ", ".join(format_size(size) for size in sorted(record.page_sizes))
            raise ValueError(f"page_size: {record.name} has pages of {have}, not {format_size(self.page_size)}")
        if self.mmu and self.mmu not in record.mmus:
            modes = ", ".join(filter(None, record.mmus)) or "no choice"
            raise ValueError(f"mmu: {record.name} has {modes}, not {self.mmu}")
        self._check_address_bits()
        if why := lacking_preset(record, self.kernel_config):
            raise ValueError(f"kernel_config: {why}")
        if (self.thp or self.shmem_thp) and not self.has_thp:
            key = "thp" if self.thp else "shmem_thp"
            raise ValueError(f"{key}: kernels of {record.name} have no transparent huge pages")
        if self.thp in ("always", "madvise") and self.total_memory < MIN_THP:
            raise ValueError(f"thp: Linux has none on a machine of less than {format_size(MIN_THP)}")
        if self.vcpus > record.max_vcpus:
            raise ValueError(f"vcpus: at most {record.max_vcpus} on {record.name}, got {self.vcpus}")

    def _check_address_bits(self) -> None:
        """Refuse a mode or address bits that no kernel with this page size has, and a mode and bits that disagree."""
        pages = f"{self.arch} with {format_size(self.page_size)} pages"
        if self.mmu and self.mode not in self._modes:
            raise ValueError(f"mmu: {pages} has no {self.mmu}")
        if self.address_bits is None:
            return
        choices = sorted({mode.address_bits for mode in self._modes} - {0})
        if self.address_bits not in choices:
            have = ", ".join(map(str, choices)) or "no choice"
            raise ValueError(f"address_bits: {pages} has {have}, not {self.address_bits}")
        if self.mode.address_bits != self.address_bits:
            raise ValueError(f"address_bits: mmu {self.mmu} has {self.mode.address_bits}, not {self.address_bits}")

    def _check_clock(self) -> None:
        if self.counted and self.vcpus > 1:
            raise ValueError(f"clock: instructions are those of one CPU, got {self.vcpus}")

    def _check_memory(self) -> None:
        if bool(self.numa) == (self.memory is not None):
            raise ValueError("memory: expected either memory or numa cells that carry it, exactly one of the two")
        if self.total_memory < self.architecture.min_memory:
            raise ValueError(
                f"memory: at least {format_size(self.architecture.min_memory)} on {self.arch}, "
                f"got {format_size(self.total_memory)}"
            )

    def _check_nodes(self) -> None:
        if not self.numa:
            return
        if (why := self.architecture.no_numa or self.mode.no_numa) and len(self.numa) > 1:
            raise ValueError(f"numa: {self.arch} cannot have several nodes: {why}")
        if len(self.numa) > MAX_NODES:
            raise ValueError(f"numa: at most {MAX_NODES} nodes, got {len(self.numa)}")
        placed = sorted(chain.from_iterable(cell.cpus for cell in self.numa))
        if placed != list(range(self.vcpus)):
            raise ValueError(
                f"numa: the cells' cpus must be {format_cpus(range(self.vcpus))} together, each CPU once, "
                f"since vcpus is {self.vcpus}; got {', '.join(format_cpus(cell.cpus) for cell in self.numa)}"
            )

    def _check_order(self) -> None:
        """Refuse cells in an order in which Linux would not number them: that guest is never the machine asked for."""
        if not self.architecture.nodes_with_cpus_first:
            return
        order = sorted(range(len(self.numa)), key=lambda node: self.numa[node].cpus[:1] or (self.vcpus,))
        for place, node in enumerate(order):
            if place != node:
                raise ValueError(
                    f"numa[{place}]: Linux on {self.arch} numbers nodes by their first CPU, those without CPUs last; "
                    f"expected the cells in the order {', '.join(map(str, order))}"
                )

    def _check_cpu_only(self) -> None:
        """Refuse cells without memory unless libvirt can describe them: for some machines, without memory backends."""
        if not self.cpu_only:
            return
        place = f"numa[{self.cpu_only[0]}]"
        if not self.architecture.cpu_only_machine:
            raise ValueError(f"{place}: a cell without memory cannot be had on {self.arch}")
        if self.sparse or self.hmat:
            key = "sparse" if self.sparse else "hmat"
            raise ValueError(f"{place}: a cell without memory cannot be had together with {key}")

    def _check_hugepages(self) -> None:
        for place, size, count, room in self._hugepage_requests():
            if size not in self.possible_hugepages:
                have = ", ".join(map(format_size, self.possible_hugepages)) or "none"
                raise ValueError(
                    f"{place}: {self.arch} with {format_size(self.page_size)} pages has {have}, not {format_size(size)}"
                )
            if place != "hugepages" and size in self.hugepages:
                raise ValueError(f"{place}: {format_size(size)} is in the topology's own hugepages, too")
            if count and size >= room:
                raise ValueError(f"{place}: a page of {format_size(size)} does not fit in {format_size(room)}")
        for node, cell in enumerate(self.numa):
            _check_room(f"numa[{node}].hugepages", _bytes(cell.hugepages), cell.memory or 0)
        _check_room("hugepages", _bytes(self.reserved_hugepages), self.total_memory)

    def _hugepage_requests(self) -> Iterator[tuple[str, int, int, int]]:
        """Yield (place in the file, size, count, bytes of the largest node that can have it) per reservation."""
        for size, count in self.hugepages.items():
            yield "hugepages", size, count, max(self.node_memory)
        for node, cell in enumerate(self.numa):
            for size, count in cell.hugepages.items():
                yield f"numa[{node}].hugepages", size, count, cell.memory or 0

    def _check_distances(self) -> None:
        if not self.distances:
            return
        count = len(self.numa)
        if not count:
            raise ValueError("distances: expected numa cells to be distant from each other, got none")
        if len(self.distances) != count:
            raise ValueError(f"distances: expected {count} rows, one per numa cell, got {len(self.distances)}")
        for node, row in enumerate(self.distances):
            if len(row) != count:
                raise ValueError(f"distances[{node}]: expected {count} numbers, one per numa cell, got {len(row)}")
            if row[node] != 10 or any(value == 10 for other, value in enumerate(row) if other != node):
                raise ValueError(f"distances[{node}]: expected 10 to itself and 11-254 to others, got {list(row)}")

    def _check_hmat(self) -> None:
        if not self.hmat:
            return
        if self.architecture.no_hmat:
            raise ValueError(f"hmat: {self.arch} has none: {self.architecture.no_hmat}")
        if not self.numa:
            raise ValueError("hmat: expected numa cells with memory to be reached, got none")
        for name, matrix in self.hmat.matrices.items():
            self._check_shape(f"hmat.{name}", matrix)
            self._check_range(f"hmat.{name}", matrix)
            self._check_own_memory(f"hmat.{name}", matrix, nearest=min if name.endswith("latency") else max)

    def _check_shape(self, place: str, matrix: Matrix) -> None:
        rows, columns = len(self.initiators), len(self.numa)
        if len(matrix) != rows:
            raise ValueError(f"{place}: expected {rows} rows, one per numa cell with cpus, got {len(matrix)}")
        for number, row in enumerate(matrix):
            if len(row) != columns:
                raise ValueError(f"{place}[{number}]: expected {columns} numbers, one per numa cell, got {len(row)}")

    def _check_range(self, place: str, matrix: Matrix) -> None:
        """Refuse values that do not fit: HMAT has 16 bits for a value, times one unit for the whole matrix.

        The unit of bandwidths is QEMU's choice, a power of two that divides them all (hmat_lb in its hw/core/numa.c);
        latencies are in nanoseconds times a power of ten.
        """
        if place.endswith("latency") and (far := max(map(max, matrix))) > MAX_ENTRY:
            raise ValueError(f"{place}: expected at most {MAX_ENTRY} ns, got {far}")
        bits = reduce(or_, chain.from_iterable(matrix))
        if place.endswith("bandwidth") and bits // (bits & -bits) > MAX_ENTRY:
            raise ValueError(f"{place}: expected numbers of at most 16 bits times a common power of two")

    def _check_own_memory(self, place: str, matrix: Matrix, nearest: Callable[[Iterable[int]], int]) -> None:
        """Refuse a node with CPUs whose own CPUs are not its single nearest initiator.

        libvirt takes the nearest initiator as the node's own, and QEMU requires that to be the node itself.
        """
        for row, node in enumerate(self.initiators):
            column = [values[node] for values in matrix]
            if column.count(nearest(column)) > 1 or column[row] != nearest(column):
                raise ValueError(f"{place}[{row}][{node}]: expected a cell's own CPUs to be nearest to its memory")


def _check_room(place: str, reserved: int, room: int) -> None:
    """Raise ValueError if the reserved bytes leave none of the memory, in bytes, free."""
    if reserved and reserved >= room:
        raise ValueError(f"{place}: {format_size(reserved)} reserved of {format_size(room)} of memory")


SOURCE_KINDS = ("debian", "path", "git", "tarball", "image")


def _source_meant(value: object) -> str:
    """Return the source that is probably meant, for the end of a message; empty if none is."""
    if not isinstance(value, str) or "://" in value:
        return ""
    kind, colon, rest = value.partition(":")
    if colon:
        return f"; did you mean '{near}:{rest}'?" if (near := nearest(kind, SOURCE_KINDS)) else ""
    if re.search(r"\.(?:tar(?:\.\w+)?|tgz|txz)$", value):
        return f"; did you mean 'tarball:{value}'?"
    return f"; did you mean 'path:{value}'?" if "/" in value else ""


def _known_source(value: object) -> str:
    kind = rest = ""
    if isinstance(value, str):
        kind, _, rest = value.partition(":")
    if kind not in SOURCE_KINDS or not rest.strip():
        kinds = "debian:PACKAGE, path:DIR, git:PATH@REV, tarball:FILE, image:FILE"
        raise ValueError(f"expected one of {kinds}, got {got(value)}{_source_meant(value)}")
    if kind == "git" and not all(rest.rpartition("@")):
        raise ValueError(f"expected git:PATH@REV, got {got(value)}")
    if kind == "debian" and not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", rest):
        raise ValueError(f"expected the name of a source package such as debian:linux-source-6.12, got {got(value)}")
    if kind == "debian" and (why := kernel_packages.refusal(rest)):
        raise ValueError(why)
    return _one_line(str(value))


class KnownLine(Spec):
    """A kernel's complaint on the console that is known to be harmless."""

    line: OneLine
    """A glob that matches the complaint's whole first line, without its time stamp."""
    release: OneLine = "*"
    """A glob of the kernels that may complain so, by what `uname -r` prints."""
    reason: OneLine

    def holds(self, release: str) -> bool:
        """Return whether a kernel of this release may complain so."""
        return fnmatchcase(release, self.release)


def _some(lines: tuple[KnownLine, ...]) -> tuple[KnownLine, ...]:
    if not lines:
        raise ValueError("expected at least one complaint")
    return lines


class KnownComplaints(Spec):
    """The complaints that every kernel with a config fragment may make: the file NAME.known.yaml beside NAME.config."""

    name: str
    console_known: Annotated[tuple[KnownLine, ...], AfterValidator(_some)]


COVERAGE = "coverage"
"""The config fragment of a kernel that counts executed lines."""


class Kernel(Spec):
    """A source tree, series of patches (or none), and the features that they add."""

    name: str
    description: str = ""
    source: Annotated[str, BeforeValidator(_known_source)]
    series: Annotated[OneLine | None, BeforeValidator(_stacked)] = None
    """The name of a series; several, each applied after the one before, are joined by JOINT."""
    provides: Annotated[frozenset[Feature], PlainSerializer(sorted, return_type=list[str], when_used="json")] = (
        frozenset()
    )
    config: Words = ()
    """Extra config fragments (debug presets), merged last."""
    console_known: tuple[KnownLine, ...] = ()
    """Complaints on the console that are reported, but do not affect a verdict."""
    coverage: Annotated[bool, Field(strict=True)] = False
    """Count executed lines with gcov, only in the C files that the series touches."""

    @property
    def fragments(self) -> tuple[str, ...]:
        """Return the names of its config fragments: `config`, and COVERAGE if it counts lines."""
        if self.coverage:
            return (*self.config, COVERAGE)
        return self.config

    @property
    def baseline(self) -> bool:
        """Return whether this is an unpatched tree, with which patched kernels of the same source are compared."""
        return self.series is None

    @property
    def prebuilt(self) -> bool:
        """Return whether this is a kernel that exists already, with its features in it."""
        return is_prebuilt(self.source)

    def unfit_for(self, arch: Arch) -> str:
        """Return why no machine of an architecture can boot this kernel, as far as names tell; empty if one may."""
        if self.source.startswith(PACKAGE):
            return kernel_packages.other_machine(self.source.removeprefix("debian:"), arch)
        return lacking_preset(arch, self.config)

    def _check_as_it_is(self) -> None:
        """Refuse what only a build can add."""
        for key in ("series", "config"):
            if getattr(self, key):
                raise ValueError(f"{key}: nothing can be added to {self.source}, which is not built here")

    @model_validator(mode="after")
    def _sensible(self) -> Kernel:
        if self.coverage and not self.series:
            raise ValueError("coverage: lines are counted in the files of a series, and this kernel has none")
        if self.prebuilt:
            self._check_as_it_is()
        elif self.provides and not self.series:
            raise ValueError("provides: features come from a series, and this kernel has none")
        return self


def parse_range(value: object) -> tuple[int, int]:
    """Return the lowest and highest number of nodes from `1`, `2-4` or `2-` (no upper end); ValueError otherwise."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    match = _RANGE.fullmatch(text.strip()) if isinstance(text, str) else None
    if not match:
        raise ValueError(f"expected a number of nodes such as 1, 2-4 or 2-, got {got(value)}")
    low = int(match[1])
    high = low if match[2] is None else int(match[3] or MAX_NODES)
    if not 1 <= low <= high <= MAX_NODES:
        raise ValueError(f"expected a number of nodes from 1 to {MAX_NODES}, lowest first, got {got(value)}")
    return low, high


def format_range(bounds: tuple[int, int]) -> str:
    """Return the spelling of a range of numbers of nodes: (1, 1) -> `1`, (2, MAX_NODES) -> `2-`."""
    low, high = bounds
    return str(low) if low == high else f"{low}-{high if high < MAX_NODES else ''}"


Nodes = Annotated[tuple[int, int], BeforeValidator(parse_range)]
Properties = Annotated[tuple[Literal["arch", "page_size"], ...], BeforeValidator(_words)]
"""The properties by which machines are grouped."""


class CampaignSpec(Spec):
    """Topologies × kernels × scenarios, as names or globs. `isolation`: a fresh guest per scenario, or one shared."""

    name: str
    description: str = ""
    topologies: tuple[OneLine, ...] = ()
    nodes: Nodes | None = None
    """The lowest and highest number of NUMA nodes of the machines; None for any."""
    one_per: Properties = ()
    """Take only the first machine, in the order of `topologies`, of those with equal values of these properties."""
    kernels: tuple[OneLine, ...] = ()
    scenarios: Annotated[tuple[OneLine, ...], Field(min_length=1)] = ("*",)
    """Scenarios or `scenario.case`, names or globs, as in --test."""
    reports: tuple[OneLine, ...] = ()
    """Reports to reproduce, each on its own machines and kernels; such a campaign has none itself."""
    isolation: Literal["fresh", "shared"] = "fresh"
    reuse_baseline: Annotated[bool, Field(strict=True)] = False
    """Reuse an earlier run's evidence of kernels without a series if everything that it depends on is the same."""

    @model_validator(mode="after")
    def _whole(self) -> CampaignSpec:
        """Require either machines and kernels, or reports, which have their own."""
        for key in ("topologies", "kernels"):
            if not self.reports and not getattr(self, key):
                missing = key not in self.model_fields_set
                why = "is required, and missing" if missing else "expected at least 1 entry, got an empty list"
                raise ValueError(f"{key}: {why}")
        for key in ("topologies", "nodes", "one_per", "kernels", "scenarios"):
            if self.reports and getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key}: a campaign of reports has none: each report has its own")
        return self
