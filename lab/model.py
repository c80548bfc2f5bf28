# SPDX-License-Identifier: GPL-2.0-or-later
"""What users write in YAML, as strict frozen models; a value that constructs is a value that makes sense by itself.

Reading the files, and pointing at the line where one is wrong, is `lab/load.py`'s job.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from lab import arch as arches
from lab.arch import Arch, Mmu
from lab.errors import LabError

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"([0-9]{1,15})\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
_CPUS = re.compile(r"([0-9]{1,4})(?:-([0-9]{1,4}))?")
_RANGE = re.compile(r"([0-9]{1,4})(-([0-9]{1,4})?)?")
MIB = 1 << 20
MAX_NODES = 64
MAX_MEMORY = 1 << 44


def parse_size(value: object) -> int:
    """Bytes from `64K`, `2M`, `1G`, `512MiB` or a plain number of bytes; ValueError otherwise."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if not found:
        raise ValueError(f"expected a size such as 64K, 512M or 2G, got {_short(value)}")
    return int(found[1]) * _UNITS[found[2].upper()]


def _short(value: object) -> str:
    """A value as a message shows it, however long it is."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def format_size(size: int) -> str:
    """The shortest exact spelling of a number of bytes: 65536 -> `64K`."""
    for unit in ("T", "G", "M", "K"):
        if size and size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]}{unit}"
    return str(size)


def parse_cpus(value: object) -> tuple[int, ...]:
    """CPU numbers, sorted, from `0-1,4` (or one number, a list of numbers, or nothing); ValueError otherwise."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, list | tuple):
        value = ",".join(map(str, value))
    if not isinstance(value, str):
        raise ValueError(f"expected CPU numbers such as 0-1,4, got {_short(value)}")
    cpus: list[int] = []
    for part in filter(None, (part.strip() for part in value.split(","))):
        found = _CPUS.fullmatch(part)
        if not found or int(found[2] or found[1]) < int(found[1]):
            raise ValueError(f"expected CPU numbers such as 0-1,4, got {_short(part)}")
        cpus.extend(range(int(found[1]), int(found[2] or found[1]) + 1))
    if len(set(cpus)) != len(cpus):
        raise ValueError(f"expected every CPU once, got {_short(value)}")
    return tuple(sorted(cpus))


def format_cpus(cpus: Iterable[int]) -> str:
    """The kernel's spelling of a set of CPU numbers: 0, 1, 4 -> `0-1,4`; `none` for an empty set."""
    runs: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if runs and runs[-1][-1] == cpu - 1:
            runs[-1][1:] = [cpu]
        else:
            runs.append([cpu])
    return ",".join("-".join(map(str, run)) for run in runs) or "none"


def _power_of_two(size: int) -> int:
    if size <= 0 or size & (size - 1):
        raise ValueError(f"expected a power of two, got {format_size(size)}")
    return size


def _memory(size: int) -> int:
    """Memory comes in whole mebibytes: libvirt would silently round anything else up."""
    if not 0 < size <= MAX_MEMORY or size % MIB:
        raise ValueError(f"expected whole mebibytes, 1M to {format_size(MAX_MEMORY)}, got {format_size(size)}")
    return size


def _one_line(text: str) -> str:
    """Text that may go into a command line or XML: no control characters, not empty."""
    if not text.isprintable() or not text.strip():
        raise ValueError(f"expected printable text on one line, got {_short(text)}")
    return text


def _hugepages(value: object) -> object:
    """The pairs of a mapping size -> count, refusing one size in two spellings."""
    if isinstance(value, dict):
        sizes = [parse_size(key) for key in value]
        if len(set(sizes)) != len(sizes):
            raise ValueError(f"expected every size once, got {', '.join(map(str, value))}")
    return value


def _known_arch(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected the name of an architecture, got {value!r}")
    try:
        return arches.find(value).name
    except LabError as error:
        raise ValueError(str(error)) from None


def _words(value: object) -> Any:
    """A string of words, or a list of them."""
    return tuple(value.split()) if isinstance(value, str) else value


Memory = Annotated[int, BeforeValidator(parse_size), AfterValidator(_memory)]
PageSize = Annotated[int, BeforeValidator(parse_size), AfterValidator(_power_of_two)]
Cpus = Annotated[tuple[int, ...], BeforeValidator(parse_cpus)]
Word = Annotated[str, AfterValidator(_one_line)]
Words = Annotated[tuple[Word, ...], BeforeValidator(_words)]
Option = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.,+=-]*$")]
"""A CPU model or machine of QEMU's, with its properties."""
Feature = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
"""One word: guests get the features of their kernel separated by spaces."""


class Spec(BaseModel):
    """A YAML file: unknown keys refused, values never coerced silently, frozen once made."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NumaCell(Spec):
    """One NUMA node. Without `cpus` it is a memory-only node."""

    cpus: Cpus = ()
    memory: Memory


class Topology(Spec):
    """One emulated machine. `name` is the file's stem. Sizes are bytes."""

    name: str
    description: str = ""
    arch: Annotated[str, BeforeValidator(_known_arch)]
    page_size: PageSize
    mmu: Option | None = None
    vcpus: Annotated[int, Field(ge=1, strict=True)] = 1
    cpu: Option | None = None
    machine: Option | None = None
    memory: Memory | None = None
    numa: tuple[NumaCell, ...] = ()
    distances: tuple[tuple[Annotated[int, Field(ge=10, le=254, strict=True)], ...], ...] = ()
    hugepages: Annotated[dict[PageSize, Annotated[int, Field(ge=0, strict=True)]], BeforeValidator(_hugepages)] = Field(
        default_factory=dict
    )
    cmdline: Words = ()
    kernel_config: Words = ()
    qemu_args: Words = ()

    @property
    def record(self) -> Arch:
        """The architecture's record."""
        return arches.ARCHES[self.arch]

    @property
    def total_memory(self) -> int:
        """Bytes of RAM, over all nodes."""
        return sum(cell.memory for cell in self.numa) if self.numa else (self.memory or 0)

    @property
    def mode(self) -> Mmu:
        """How the machine translates addresses: the mode asked for, else the architecture's first."""
        modes = self.record.mmus
        return modes[self.mmu] if self.mmu else next(iter(modes.values()))

    @property
    def possible_hugepages(self) -> tuple[int, ...]:
        """The hugetlb page sizes, in bytes, that this machine can have."""
        return (self.mode.hugepages or self.record.hugepages).get(self.page_size, ())

    @property
    def fragments(self) -> tuple[str, ...]:
        """Names of the kernel config fragments this machine asks for, general first."""
        own = (self.record.config_fragment, self.record.page_sizes[self.page_size], self.mode.fragment)
        return ("base", *filter(None, own), *self.kernel_config)

    @model_validator(mode="after")
    def _possible(self) -> Topology:
        """Refuse pairs that no machine can be. The key at fault comes first in the message, as `key: ...`."""
        for check in (self._check_arch, self._check_memory, self._check_nodes, self._check_distances):
            check()
        return self

    def _check_arch(self) -> None:
        record = self.record
        if self.page_size not in record.page_sizes:
            have = ", ".join(format_size(size) for size in sorted(record.page_sizes))
            raise ValueError(f"page_size: {record.name} has pages of {have}, not {format_size(self.page_size)}")
        if self.mmu and self.mmu not in record.mmus:
            raise ValueError(
                f"mmu: {record.name} has {', '.join(filter(None, record.mmus)) or 'no choice'}, not {self.mmu}"
            )
        for size in self.hugepages:
            if size not in self.possible_hugepages:
                have = ", ".join(map(format_size, self.possible_hugepages)) or "none"
                raise ValueError(
                    f"hugepages: {record.name} with {format_size(self.page_size)} pages has {have}, "
                    f"not {format_size(size)}"
                )
        if why := arches.lacking_preset(record, self.kernel_config):
            raise ValueError(f"kernel_config: {why}")
        if self.vcpus > record.max_vcpus:
            raise ValueError(f"vcpus: at most {record.max_vcpus} on {record.name}, got {self.vcpus}")

    def _check_memory(self) -> None:
        if bool(self.numa) == (self.memory is not None):
            raise ValueError("memory: expected either memory or numa cells that carry it, exactly one of the two")
        if self.total_memory < self.record.min_memory:
            raise ValueError(
                f"memory: at least {format_size(self.record.min_memory)} on {self.arch}, "
                f"got {format_size(self.total_memory)}"
            )
        largest = max((cell.memory for cell in self.numa), default=self.total_memory)
        for size, count in self.hugepages.items():
            if count and size >= largest:
                raise ValueError(f"hugepages: a page of {format_size(size)} does not fit in {format_size(largest)}")
        reserved = sum(size * count for size, count in self.hugepages.items())
        if reserved >= self.total_memory:
            raise ValueError(
                f"hugepages: {format_size(reserved)} reserved of {format_size(self.total_memory)} of memory"
            )

    def _check_nodes(self) -> None:
        if not self.numa:
            return
        if (why := self.record.no_numa or self.mode.no_numa) and len(self.numa) > 1:
            raise ValueError(f"numa: {self.arch} cannot have several nodes: {why}")
        if len(self.numa) > MAX_NODES:
            raise ValueError(f"numa: at most {MAX_NODES} nodes, got {len(self.numa)}")
        placed = sorted(cpu for cell in self.numa for cpu in cell.cpus)
        if placed != list(range(self.vcpus)):
            raise ValueError(
                f"numa: the cells' cpus must be {format_cpus(range(self.vcpus))} together, each CPU once, "
                f"since vcpus is {self.vcpus}; got {', '.join(format_cpus(cell.cpus) for cell in self.numa)}"
            )

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


SOURCE_KINDS = ("debian", "path", "git", "tarball")


def _known_source(value: object) -> str:
    kind, _, rest = value.partition(":") if isinstance(value, str) else ("", "", "")
    if kind not in SOURCE_KINDS or not rest.strip():
        raise ValueError(f"expected one of debian:PACKAGE, path:DIR, git:PATH@REV, tarball:FILE, got {_short(value)}")
    if kind == "git" and not all(rest.rpartition("@")):
        raise ValueError(f"expected git:PATH@REV, got {_short(value)}")
    if kind == "debian" and not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", rest):
        raise ValueError(f"expected the name of a source package such as debian:linux-source-6.12, got {_short(value)}")
    return _one_line(str(value))


class Kernel(Spec):
    """A source tree, a series of patches (or none), and the features that the series adds."""

    name: str
    description: str = ""
    source: Annotated[str, BeforeValidator(_known_source)]
    series: Word | None = None
    provides: frozenset[Feature] = frozenset()
    config: Words = ()
    """Extra config fragments (debug presets), merged last."""

    @property
    def baseline(self) -> bool:
        """Whether this is a tree as it is, which a patched kernel of the same source is compared with."""
        return self.series is None

    @model_validator(mode="after")
    def _sensible(self) -> Kernel:
        if self.provides and not self.series:
            raise ValueError("provides: features come from a series, and this kernel has none")
        return self


def parse_range(value: object) -> tuple[int, int]:
    """Lowest and highest number of nodes from `1`, `2-4` or `2-` (no upper end); ValueError otherwise."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    found = _RANGE.fullmatch(text.strip()) if isinstance(text, str) else None
    if not found:
        raise ValueError(f"expected a number of nodes such as 1, 2-4 or 2-, got {_short(value)}")
    low = int(found[1])
    high = low if found[2] is None else int(found[3] or MAX_NODES)
    if not 1 <= low <= high <= MAX_NODES:
        raise ValueError(f"expected a number of nodes from 1 to {MAX_NODES}, lowest first, got {_short(value)}")
    return low, high


def format_range(bounds: tuple[int, int]) -> str:
    """The spelling of a range of numbers of nodes: (1, 1) -> `1`, (2, MAX_NODES) -> `2-`."""
    low, high = bounds
    return str(low) if low == high else f"{low}-{high if high < MAX_NODES else ''}"


Nodes = Annotated[tuple[int, int], BeforeValidator(parse_range)]
Properties = Annotated[tuple[Literal["arch", "page_size"], ...], BeforeValidator(_words)]
"""In what machines can be alike."""


class CampaignSpec(Spec):
    """Topologies × kernels × scenarios, as names or globs. `isolation`: a fresh guest per scenario, or one shared."""

    name: str
    description: str = ""
    topologies: Annotated[tuple[Word, ...], Field(min_length=1)]
    nodes: Nodes | None = None
    """Only machines with so many NUMA nodes, lowest and highest."""
    one_per: Properties = ()
    """Of machines that are alike in these properties only the first, in the order of `topologies`."""
    kernels: Annotated[tuple[Word, ...], Field(min_length=1)]
    scenarios: Annotated[tuple[Word, ...], Field(min_length=1)] = ("*",)
    """Scenarios, and `scenario.case`, names or globs: as --test has them."""
    isolation: Literal["fresh", "shared"] = "fresh"
