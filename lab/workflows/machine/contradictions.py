# SPDX-License-Identifier: GPL-2.0-or-later
"""Facts of a text that contradict the ones that are used: each is told, so that none is ignored silently. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from lab.core.errors import UsageError
from lab.core.sizes import KIB
from lab.core.untrusted import one_line
from lab.formats.machine.statements import Statement
from lab.specs.arches import find
from lab.specs.model import format_cpus, format_size
from lab.workflows.machine.described import DescribedMachine, DescribedNode
from lab.workflows.machine.evidence import MachineEvidence, place

RELEASE_PAGES = re.compile(r"[.+_-](4|16|64)kb?\b", re.IGNORECASE)
"""The page size in the name of a distribution's kernel, in KiB."""
MAX_NOTES = 8


def report(evidence: MachineEvidence, machine: DescribedMachine) -> None:
    """Add a note for each fact that does not fit the machine."""
    notes = [
        *_of_arch(evidence, machine.arch),
        *_of_page_size(evidence, machine),
        *_of_huge_pages(evidence, machine),
        *_of_counts(evidence, machine),
        *_of_online(evidence, machine.nodes),
    ]
    evidence.notes += notes[:MAX_NOTES]


def _of_arch(evidence: MachineEvidence, arch: str) -> Iterator[str]:
    """Guesses that name another architecture of 64 bits; one of 32 bits runs on processors of 64."""
    told = set[str]()
    for statement in evidence.statements:
        other = str(statement.value)
        if statement.key != "arch" or not statement.guess or other == arch or other in told:
            continue
        if _bits(other) == _bits(arch) == 64 and other[:3] != arch[:3]:
            told.add(other)
            yield f"{place(statement)}: {statement.guess}, which is of {other}, and {arch} is used"


def _bits(arch: str) -> int:
    """The width of an architecture; 0 if the lab does not have it."""
    try:
        return find(arch).bits
    except UsageError:
        return 0


def _of_page_size(evidence: MachineEvidence, machine: DescribedMachine) -> Iterator[str]:
    """The name of a kernel that has another page size in it."""
    release = evidence.find("release")
    match = RELEASE_PAGES.search(evidence.text("release"))
    if release is None or match is None or machine.page_size in (None, int(match[1]) * KIB):
        return
    name = one_line(evidence.text("release"), 60)
    yield f"{place(release)}: the kernel {name!r} has pages of {match[1]}K by its name, and another size is used"


def _of_huge_pages(evidence: MachineEvidence, machine: DescribedMachine) -> Iterator[str]:
    """Sizes of huge pages that pages of this size cannot have."""
    possible = _possible(machine.arch, machine.page_size)
    if not possible or machine.page_size is None:
        return
    told = set[int]()
    for statement in evidence.statements:
        size = _huge_page_size(statement)
        if size and size not in possible and size not in told:
            told.add(size)
            text = f"huge pages of {format_size(size)} beside pages of {format_size(machine.page_size)}"
            yield f"{place(statement)}: {text}: {machine.arch} has no such pair, so that one of both is wrong"


def _huge_page_size(statement: Statement) -> int:
    """The size of huge pages that a statement is about; 0 if it is about something else."""
    if statement.key == "hugepage_size" and isinstance(statement.value, int):
        return statement.value
    word = statement.key.removeprefix("hugepages ").removeprefix("pool ")
    return int(word) if word != statement.key and word.isdecimal() else 0


def _possible(arch: str, page_size: int | None) -> set[int]:
    """Every size of huge pages in any mode; empty if the lab does not have the architecture or the page size."""
    try:
        record = find(arch)
    except UsageError:
        return set()
    sizes = set(record.hugepages.get(page_size or 0, ()))
    for mode in record.mmus.values():
        sizes |= set((mode.hugepages or {}).get(page_size or 0, ()))
    return sizes


def _of_counts(evidence: MachineEvidence, machine: DescribedMachine) -> Iterator[str]:
    """Numbers of CPUs other than the one that is used, and lists of CPUs longer than what is counted."""
    offline = len(evidence.numbers("offline"))
    whole, online = evidence.number("cpu_count"), len(evidence.numbers("online"))
    statement = evidence.find("online")
    if statement is not None and 0 < whole < online:
        yield f"{place(statement)}: {online} CPUs are online, and {whole} are counted"
    on_nodes = sum(len(node.cpus) for node in machine.nodes.values())
    told = {machine.cpus, machine.cpus + offline, on_nodes, whole}
    for other in evidence.statements:
        counted = other.key in ("cpu_count", "processors") and not other.guess
        if counted and isinstance(other.value, int) and other.value not in told:
            told.add(other.value)
            yield f"{place(other)}: {other.value} CPUs by {other.source}, and {machine.cpus} are used"


def _of_online(evidence: MachineEvidence, nodes: Mapping[int, DescribedNode]) -> Iterator[str]:
    """CPUs of nodes that are not in the list of those that are online."""
    online = evidence.find("online")
    if online is None:
        return
    listed = {cpu for node in nodes.values() for cpu in node.cpus}
    if outside := listed - set(evidence.numbers("online")):
        yield f"{place(online)}: CPUs {one_line(format_cpus(outside), 60)} are on nodes and not online"
