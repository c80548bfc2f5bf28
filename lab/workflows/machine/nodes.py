# SPDX-License-Identifier: GPL-2.0-or-later
"""Read the nodes of a described machine, and check that their description is complete. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from lab.core.sizes import KIB
from lab.core.untrusted import one_line
from lab.formats.machine.statements import Statement
from lab.specs.model import MAX_NODES, format_cpus
from lab.workflows.machine.described import DescribedNode, EvidenceRow
from lab.workflows.machine.evidence import MISSING, MachineEvidence, amount, place

NEAREST = 10
"""The smallest distance in ACPI: of a node to itself."""
LISTING_ALL = frozenset(("numactl -H", "lscpu", "lscpu -J", "lscpu -e", "sysfs", "libvirt"))
"""Sources that list the CPUs of all nodes, and number them as Linux does."""
COUNTS = ("online", "offline", "cpu_count", "processors", "node_count", "nodes online", "nodes possible")
"""Keys that tell whether all CPUs (the first four) or all nodes are described."""
_NAMED = re.compile(r"\bnode[ #]?(\d{1,3})\b", re.IGNORECASE)
DescribedNodes = dict[int, DescribedNode]


def measure_pages(evidence: MachineEvidence, page_size: int | None) -> None:
    """State the memory of the nodes of which the text counts pages alone, as /proc/zoneinfo does."""
    size = page_size or 4 * KIB
    for number, stated in evidence.by_node.items():
        pages = evidence.find("pages", number)
        if pages is None or evidence.states("memory", number):
            continue
        memory = replace(pages, key="memory", value=evidence.number("pages", number) * size)
        evidence.by_key["memory", number] = memory
        evidence.statements.append(memory)
        stated.append(memory)
        if page_size is None:
            evidence.notes.append(f"{place(pages)}: the pages of node {number} are counted: guessed as 4K each")


def read_nodes(evidence: MachineEvidence) -> DescribedNodes:
    """Return number -> node, with everything that is stated about it."""
    numbers = _numbers(evidence)
    nodes = {number: _node(evidence, number) for number in sorted(numbers)}
    empty = set(numbers) - set(evidence.numbers("nodes has_memory") or numbers)
    if empty and not any(evidence.states("memory", number) for number in nodes):
        evidence.notes.append(f"nodes {format_cpus(empty)} have no memory there; how much the others have is {MISSING}")
    pools = [number for number in nodes if evidence.number("hugepages default", number)]
    if pools and not evidence.number("hugepage_size"):
        evidence.notes.append(f"huge pages of node {format_cpus(pools)}: their size is {MISSING}: left out")
    return _with_guessed_cpus(evidence, _with_distances(evidence, nodes))


def _numbers(evidence: MachineEvidence) -> set[int]:
    """Return the numbers of the nodes: those described, else those in the distances, else as many as are counted."""
    numbers = set[int]()
    for statement in evidence.statements:
        if statement.node is not None and statement.key.startswith(("cpus", "memory", "hugepages")):
            numbers.add(statement.node)
        elif statement.key == "seen" and isinstance(statement.value, int):
            numbers.add(statement.value)
    online = set(evidence.numbers("nodes online"))
    if numbers & online:
        if gone := numbers - online:
            evidence.notes.append(f"node {format_cpus(gone)} is described and not online: left out")
        numbers &= online
    rows = {number for number in evidence.by_node if evidence.states("distance", number)}
    longest = max((len(evidence.numbers("distance", number)) for number in rows), default=0)
    if rows and not (numbers or online or evidence.numbers("columns")) and longest > len(rows):
        evidence.problem(f"distances of {len(rows)} nodes are there, and each is one of {longest} numbers")
    numbers = numbers or online or set(evidence.numbers("columns")) or rows
    counted = evidence.find("node_count")
    if counted is None:
        return numbers
    value = str(counted.value)
    if listed := evidence.numbers("nodes"):
        value += f": {format_cpus(listed)}"
    evidence.stated("nodes", value, counted)
    count = evidence.number("node_count")
    if numbers or not 2 <= count <= MAX_NODES:
        return numbers
    evidence.notes.append(f"{place(counted)}: {count} nodes are counted and not described: guessed")
    return set(range(count))


def _node(evidence: MachineEvidence, number: int) -> DescribedNode:
    offline = set(evidence.numbers("offline"))
    return DescribedNode(
        cpus=tuple(cpu for cpu in evidence.numbers("cpus", number) if cpu not in offline),
        memory=evidence.number("memory", number),
        hugepages=_hugepages(evidence, number),
    )


def _hugepages(evidence: MachineEvidence, number: int) -> dict[int, int]:
    counts = dict[int, int]()
    for statement in evidence.by_node.get(number, ()):
        word = statement.key.removeprefix("hugepages ")
        if word == statement.key or not isinstance(statement.value, int):
            continue
        if word.isdecimal():
            counts[int(word)] = statement.value
        else:
            counts.setdefault(evidence.number("hugepage_size"), statement.value)
    return {size: count for size, count in sorted(counts.items()) if size and count}


def _with_distances(evidence: MachineEvidence, nodes: DescribedNodes) -> DescribedNodes:
    """Return the nodes with their distances; without any, and with a note, unless every node has a complete row."""
    rows = {number: evidence.find("distance", number) for number in nodes}
    first = next(filter(None, rows.values()), None)
    if first is None:
        return nodes
    columns = evidence.numbers("columns") or tuple(nodes)
    place_of = {other: index for index, other in enumerate(columns)}
    places = [place_of[other] for other in nodes if other in place_of]
    made = DescribedNodes()
    for number, node in nodes.items():
        values = evidence.numbers("distance", number)
        if len(values) != len(columns) or len(places) < len(nodes) or min(values, default=0) < NEAREST:
            _note_distances(evidence, number, len(values), len(columns), first)
            return nodes
        made[number] = replace(node, distance=tuple(values[index] for index in places))
    gone = set(columns) - set(nodes)
    if gone:
        evidence.notes.append(f"distances to nodes {format_cpus(gone)}, which are not described, are left out")
    return made


def _note_distances(evidence: MachineEvidence, number: int, have: int, wanted: int, first: Statement) -> None:
    what = "no whole row"
    if have == wanted:
        what = f"a number below {NEAREST}, which is cut off or none"
    elif have:
        what = f"{have} numbers for {wanted} nodes"
    evidence.notes.append(f"{place(first)}: the distances of node {number} have {what}; no distances are used")


def _with_guessed_cpus(evidence: MachineEvidence, nodes: DescribedNodes) -> DescribedNodes:
    """Return the nodes; if no node's CPUs are stated, each gets an equal share of the CPUs, with a note."""
    damaged = any("CPUs of node" in text for text in (*evidence.problems, *evidence.notes))
    if not nodes or damaged or any(evidence.states("cpus", number) for number in nodes):
        return nodes
    count, _ = evidence.cpu_count()
    if len(nodes) == 1:
        return {number: replace(node, cpus=tuple(range(count))) for number, node in nodes.items()}
    owners = sorted(set(nodes) & set(evidence.numbers("nodes has_cpu"))) or list(nodes)
    share = max(1, count // len(owners))
    evidence.notes.append(f"which CPUs a node has is {MISSING}: guessed as {share} on each of {len(owners)} nodes")
    made = DescribedNodes(nodes)
    for index, number in enumerate(owners):
        made[number] = replace(nodes[number], cpus=tuple(range(index * share, (index + 1) * share)))
    return made


# Check that the description is complete.


def check_complete(evidence: MachineEvidence, nodes: Mapping[int, DescribedNode]) -> None:
    """Report what is missing or contradictory in the description of the nodes."""
    _check_announced(evidence, nodes)
    _check_parts(evidence, nodes)
    _check_cpus(evidence, nodes)
    _check_omissions(evidence, nodes)
    _note_offline_nodes(evidence, nodes)
    _check_named(evidence, nodes)


def _check_named(evidence: MachineEvidence, nodes: Mapping[int, DescribedNode]) -> None:
    """Report it if the text names nodes in words that no reader knows."""
    named = {int(number) for number in _NAMED.findall(evidence.texts.words)}
    if not nodes and {0, 1} <= named:
        text = format_cpus(number for number in named if number < MAX_NODES)
        evidence.problem(f"the text names nodes {text} and nothing of them can be read")


def _check_announced(evidence: MachineEvidence, nodes: Mapping[int, DescribedNode]) -> None:
    """Report it if fewer nodes are described than the text announces."""
    described = set[int]()
    for number in nodes:
        if evidence.states("cpus", number) or evidence.states("memory", number):
            described.add(number)
    key = "nodes" if evidence.states("nodes") else "nodes online"
    listed, counted = evidence.find(key), evidence.find("node_count")
    announced = evidence.numbers(key)
    missing = set(announced) - described
    if listed is not None and described and missing:
        text = f"{len(announced)} nodes are announced and {len(described)} described"
        evidence.problem(f"{place(listed)}: {text}: {format_cpus(missing)} are missing")
    elif counted is not None and 0 < len(described) < evidence.number("node_count"):
        evidence.problem(f"{place(counted)}: {counted.value} nodes are counted and {len(described)} described")
    else:
        _check_columns(evidence, described)


def _check_columns(evidence: MachineEvidence, described: set[int]) -> None:
    """Report it if a table of distances names nodes of which nothing else is said: the text was cut off there."""
    columns = evidence.find("columns")
    missing = set(evidence.numbers("columns")) - described
    if columns is not None and described and missing and not evidence.states("nodes online"):
        text = f"the distances name node {format_cpus(missing)}, which is not described"
        evidence.problem(f"{place(columns)}: {text}")


def _check_parts(evidence: MachineEvidence, nodes: Mapping[int, DescribedNode]) -> None:
    """Report it if the memory or CPUs of only some nodes are stated: the text was cut off there."""
    for key, what in (("memory", "the size"), ("cpus", "the CPUs")):
        without = [number for number in nodes if not evidence.states(key, number)]
        if not without or len(without) == len(nodes):
            continue
        sources = {
            statement.source for statement in evidence.statements if statement.key == key and statement.node is not None
        }
        if key == "cpus" and sources == {"sysfs"}:
            text = f"node {format_cpus(without)}: no cpulist; guess: grep leaves out empty files, and it has no CPUs"
            evidence.notes.append(text)
        elif not any("CPUs of node" in text for text in evidence.problems):
            evidence.problem(f"{what} of node {format_cpus(without)}: {MISSING}, which is cut off")


def _check_cpus(evidence: MachineEvidence, nodes: Mapping[int, DescribedNode]) -> None:
    """Report CPUs that are on two nodes, or online and on no node."""
    owners = dict[int, int]()
    for number, node in nodes.items():
        for cpu in node.cpus:
            if owners.setdefault(cpu, number) != number:
                evidence.problem(f"CPU {cpu} is on node {owners[cpu]} and on node {number}")
                return
    missing = set(evidence.numbers("online")) - set(owners)
    if owners and missing:
        evidence.problem(f"CPUs {one_line(format_cpus(missing), 60)} are online and on no node")
    counted = evidence.find("cpu_count")
    on_nodes, offline = len(owners), len(evidence.numbers("offline"))
    if owners and counted is not None and not evidence.states("online") and counted.value != on_nodes + offline:
        text = f"{counted.value} CPUs are counted and {on_nodes} are on the nodes"
        evidence.notes.append(f"{place(counted)}: {text}: the others are offline, or the lists are cut off")
    _check_gaps(evidence, owners)
    _note_one_with_fewer(evidence, nodes)
    _note_missing_numbers(evidence, nodes)
    described = owners or any(evidence.states("memory", number) for number in nodes)
    if described and not any(evidence.states(key) for key in COUNTS):
        evidence.notes.append("nothing in the text counts CPUs or nodes: an end that is cut off would not be noticed")


def _note_one_with_fewer(evidence: MachineEvidence, nodes: Mapping[int, DescribedNode]) -> None:
    """Note a node with fewer CPUs than all others where nothing counts CPUs: the end of its list may be cut off."""
    if any(evidence.states(key) for key in COUNTS[:4]):
        return
    counts = {number: len(node.cpus) for number, node in nodes.items() if node.cpus and evidence.states("cpus", number)}
    few = min(counts.values(), default=0)
    fewer = [number for number, count in counts.items() if count == few]
    others = {count for count in counts.values() if count != few}
    at_the_end = len(counts) > 2 or fewer == [max(counts, key=lambda number: max(nodes[number].cpus), default=-1)]
    if len(fewer) == 1 and len(others) == 1 and at_the_end:
        text = f"node {fewer[0]} has {few} CPUs and every other one {others.pop()}: is the end of its list cut off?"
        evidence.notes.append(text)


def _note_missing_numbers(evidence: MachineEvidence, nodes: Mapping[int, DescribedNode]) -> None:
    """Note numbers of nodes that are left out where nothing says which nodes there are: their lines may be cut off."""
    if not nodes or any(evidence.states(key) for key in ("nodes", "node_count", "nodes online", "columns")):
        return
    if gone := set(range(max(nodes))) - set(nodes):
        text = f"nodes {one_line(format_cpus(gone), 60)} are not described: a guess is that they are not there"
        evidence.notes.append(text)


def _check_gaps(evidence: MachineEvidence, owners: Mapping[int, int]) -> None:
    """Report CPUs whose numbers are missing where nothing counts CPUs or nodes: the text was cut off there.

    Where every fourth or eighth CPU is there, as with the threads of POWER switched off, it is only noted.
    """
    if not owners or any(evidence.states(key) for key in COUNTS[:4]):
        return
    missing = set(range(max(owners))) - set(owners)
    sources = {statement.source for statement in evidence.statements if statement.key == "cpus"}
    if not missing:
        return
    text = f"CPUs {one_line(format_cpus(missing), 60)} are on no node"
    if len(owners) > 2 and set(owners) in [set(range(0, max(owners) + 1, step)) for step in (4, 8)]:
        evidence.notes.append(f"{text}: a guess is that they are threads that are switched off")
    elif any(evidence.states(key) for key in COUNTS) or not sources & LISTING_ALL:
        evidence.notes.append(f"{text}: they are offline, or the lists are cut off")
    else:
        evidence.problem(text)


def _check_omissions(evidence: MachineEvidence, nodes: Mapping[int, DescribedNode]) -> None:
    """Report omitted text between nodes if the number of nodes is not stated."""
    if evidence.states("node_count") or evidence.states("nodes online"):
        return
    lines = [
        statement.line
        for statement in evidence.statements
        if statement.node in nodes and statement.key in ("cpus", "memory")
    ]
    for omission in evidence.texts.omissions:
        if lines and min(lines) < omission.line < max(lines):
            what = one_line(omission.text, 40)
            evidence.problem(f"{place(omission)}: {what!r} leaves out an unknown part of the nodes")
            return


def _note_offline_nodes(evidence: MachineEvidence, nodes: Mapping[int, DescribedNode]) -> None:
    possible = evidence.find("nodes possible")
    gone = set(evidence.numbers("nodes possible")) - set(nodes)
    if possible is None or not 0 < len(gone) <= MAX_NODES:
        return
    state = "not described"
    if evidence.states("nodes online"):
        state = "offline"
    evidence.notes.append(f"{place(possible)}: possible and {state}, left out: node {format_cpus(gone)}")


# Rows of the table.


def node_rows(evidence: MachineEvidence, nodes: Mapping[int, DescribedNode]) -> list[EvidenceRow]:
    """Return the table's rows about nodes, including announced nodes that are not described."""
    rows: list[EvidenceRow] = []
    for number in sorted({*nodes, *evidence.numbers("nodes")}):
        if number in nodes:
            rows.append(_row(evidence, number, nodes[number]))
        else:
            rows.append(EvidenceRow(what=str(number), value=MISSING, where=""))
    return rows


def _row(evidence: MachineEvidence, number: int, node: DescribedNode) -> EvidenceRow:
    cpus, memory = "none", "?"
    if node.cpus:
        cpus = f"{format_cpus(node.cpus)} ({len(node.cpus)})"
    if evidence.states("memory", number):
        memory = amount(node.memory)
    distances = one_line(" ".join(map(str, node.distance)), 70)
    value = f"{one_line(cpus, 40):40}  {memory:>10}  {distances}"
    return EvidenceRow(what=str(number), value=value.rstrip(), where=f"({_sources(evidence, number, node)})")


def _sources(evidence: MachineEvidence, number: int, node: DescribedNode) -> str:
    """Return the lines that a node was read from, and whether its CPUs are a guess or unknown."""
    parts: list[str] = []
    stated = evidence.by_node.get(number, [])
    if stated:
        lines = ", ".join(map(str, sorted({statement.line for statement in stated})[:6]))
        parts.append(f"{stated[0].file}:{lines}" if stated[0].file else f"line {lines}")
    statement = evidence.find("cpus", number)
    if statement is not None and statement.guess:
        parts.append("the numbers of its CPUs are a guess")
    elif statement is None:
        parts.append("its CPUs are a guess" if node.cpus else "its CPUs are unknown")
    return "; ".join(parts)
