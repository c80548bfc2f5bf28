# SPDX-License-Identifier: GPL-2.0-or-later
"""Texts about a machine -> everything that the readers beside this module find in them, in the order of the lines."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from lab.formats.machine import (
    boot_log,
    cpuinfo,
    hwloc,
    kernel_config,
    lscpu,
    lsmem,
    meminfo,
    memory_report,
    node_listings,
    numactl,
    page_hints,
    sysfs_nodes,
)
from lab.formats.machine.emulators import launchers, libvirt_xml, qemu_arguments
from lab.formats.machine.firmware import acpi_tables, device_tree
from lab.formats.machine.paste.pasted import Line, Pasted, joined, undecorated
from lab.formats.machine.paste.shell_session import Section, sections
from lab.formats.machine.statements import DAMAGE, ArchMarks, Statement, bounded, is_ellipsis
from lab.formats.machine.summaries import facts, foreign, inventory, likwid, node_table, per_node, prose

MAX_TEXT = 4 << 20
"""Characters; /proc/cpuinfo of a thousand CPUs has 1.5 million."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Omission:
    """A line that only says that something was left out."""

    file: str
    line: int
    text: str


@dataclass(slots=True, kw_only=True)
class MachineTexts:
    """What some texts state together."""

    statements: list[Statement] = field(default_factory=list)
    hosts: dict[Statement, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    omissions: list[Omission] = field(default_factory=list)
    words: str = ""
    """All lines, for what only prose says."""


def read(texts: Sequence[tuple[str, str]], marks: ArchMarks) -> MachineTexts:
    """Everything that is stated by (name, text) of some files."""
    made = MachineTexts()
    for name, text in texts:
        file = name if len(texts) > 1 else ""
        _read_one(made, file, text, marks)
    return made


def _read_one(made: MachineTexts, file: str, text: str, marks: ArchMarks) -> None:
    pasted = undecorated(text[:MAX_TEXT])
    where = f"{file}: " if file else ""
    pasted.lines = list(joined(without_prefix(pasted), _value_of))
    pasted.lines = with_colons(pasted.lines)
    lines = separated(pasted.lines)
    if len(lines) > len(pasted.lines):
        pasted.notes.append("line breaks between fields were lost: put back")
    made.notes += [f"{where}{note}" for note in pasted.notes]
    if len(text) > MAX_TEXT:
        made.notes.append(f"{where}only the first {MAX_TEXT >> 20} MiB are read")
    parts = list(sections(lines))
    statements = [replace(statement, file=file) for statement in _statements(lines, parts, marks)]
    statements.sort(key=lambda statement: statement.line)
    made.statements += statements
    _name_hosts(made, statements, parts)
    for line in lines:
        if is_ellipsis(line.text):
            made.omissions.append(Omission(file=file, line=line.number, text=line.text))
    made.words += "\n".join(line.text for line in lines) + "\n"


_NAMES = re.compile(
    r"(?:Architecture|CPU op-mode\(s\)|Byte Order|Address sizes|On-line CPU\(s\) list|Off-line CPU\(s\) list|CPU\(s\)"
    r"|Thread\(s\) per core|Core\(s\) per socket|Socket\(s\)|NUMA node\(s\)|NUMA node\d{1,4} CPU\(s\)|Vendor ID"
    r"|CPU family|Model name|Model|Stepping|Flags|available|node \d{1,4} (?:cpus|size|free)|node distances)\s{0,30}:"
)

_DISTANCES = re.compile(r"(node distances?:) (node(?: \d{1,4})+?) (?=(\d{1,4}): )(.*)")
_ROW = re.compile(r"(?:^| )(?=\d{1,4}: )")

_HOST_PREFIX = re.compile(rf"[\w.-]{{1,40}}:\s{{1,4}}(?={_NAMES.pattern})")
"""As pdsh and ansible put the name of the host before each line."""


_JSON = re.compile(r"\"(?:field|data|lscpu)\"\s*:")
"""What a line of lscpu's JSON has, in which all fields may stand on one line."""
_VALUE_DUE = re.compile(r".*\b(?:Mem[A-Z]\w{1,20}|HugePages_[A-Z]\w{1,10}|Hugepagesize):(?P<number>\s+\d{1,15})?$")
_VALUE = re.compile(r"\d{1,15}(?: kB)?$")
_KEYS = re.compile(
    r"(?:Architecture|Byte Order|On-line CPU\(s\) list|CPU\(s\)|Thread\(s\) per core|Core\(s\) per socket|Socket\(s\)"
    r"|NUMA node\(s\)|NUMA node\d{1,4} CPU\(s\)|available|node \d{1,4} (?:cpus|size)|node distances)\s{0,30}:"
)
_WITHOUT_COLON = re.compile(
    r"(?:\d{1,3} )?(Architecture|CPU op-mode\(s\)|Byte Order|On-line CPU\(s\) list|Off-line CPU\(s\) list|CPU\(s\)"
    r"|Thread\(s\) per core|Core\(s\) per socket|Socket\(s\)|NUMA node\(s\)|NUMA node\d{1,4} CPU\(s\)|Model name)"
    r" +([^\s:].*)"
)
"""A row of a table that has lost the mark between its columns."""
AMOUNTS = frozenset(("cpu_count", "processors", "online", "memory", "node_count", "seen", "nodes", DAMAGE))
"""Keys beside which sentences are read for the size of a page alone."""
MAX_PREFIX = 120
FEW = 3
"""With so many known lines behind it, a text is a prefix of all lines."""
_NUMERIC = re.compile(r"[\d:.,TZ+/\[\]()-]+")


def without_prefix(pasted: Pasted) -> list[Line]:
    """The lines without what a logger or a container's name put before each of them, which is noted."""
    prefixes = Counter[str]()
    example = ""
    for line in pasted.lines:
        match = _KEYS.search(line.text[: MAX_PREFIX * 2])
        if match and 0 < match.start() <= MAX_PREFIX and line.text[match.start() - 1] in " |>]:+":
            prefix = line.text[: match.start()]
            prefixes[_pattern(prefix)] += 1
            example = example or prefix.strip()
    common = [pattern for pattern, count in prefixes.items() if count >= FEW]
    if len(common) != 1:
        return pasted.lines
    pasted.notes.append(f"a prefix of the lines, {example[:60]!r}, is taken off")
    lines: list[Line] = []
    for line in pasted.lines:
        match = re.match(common[0], line.text)
        lines.append(Line(number=line.number, text=line.text[match.end() if match else 0 :]))
    return lines


def _pattern(prefix: str) -> str:
    """A regular expression for a prefix in which numbers, such as times, may differ."""
    parts: list[str] = []
    for word in prefix.split():
        numeric = _NUMERIC.fullmatch(word) and any(char.isdigit() for char in word)
        parts.append(_NUMERIC.pattern if numeric else re.escape(word))
    return r"\s+".join(parts) + r"\s*"


def _value_of(line: str, following: str) -> str | None:
    """Return what a mailer replaced by the end of a line between a key of meminfo and its value; None if nothing."""
    due = _VALUE_DUE.match(line)
    if due is None:
        return None
    goes_on = following == "kB" if due["number"] else _VALUE.match(following)
    return " " if goes_on else None


def with_colons(lines: list[Line]) -> list[Line]:
    """The lines, with colons behind the keys of lscpu if several of them have none, as in a table with tabs."""
    found = [_WITHOUT_COLON.fullmatch(line.text) for line in lines]
    if sum(match is not None for match in found) < FEW:
        return lines
    made: list[Line] = []
    for line, match in zip(lines, found, strict=True):
        made.append(Line(number=line.number, text=f"{match[1]}: {match[2]}") if match else line)
    return made


def separated(lines: Sequence[Line]) -> list[Line]:
    """The lines; one that has several fields of lscpu or numactl, whose line breaks were lost, as several."""
    made: list[Line] = []
    for line in lines:
        if _JSON.search(line.text):
            made.append(line)
            continue
        prefix = _HOST_PREFIX.match(line.text)
        text = line.text[prefix.end() :] if prefix else line.text
        starts = [0]
        if text.count(":") > 2:
            starts += [match.start() for match in _NAMES.finditer(text)][1:]
        if len(starts) < 3:
            made.append(Line(number=line.number, text=text))
            continue
        for start, end in pairwise([*starts, len(text)]):
            part = text[start:end].strip()
            made += [Line(number=line.number, text=row) for row in _rows_of_distances(part)]
    return made


def _rows_of_distances(text: str) -> list[str]:
    """The lines of a table of distances whose line breaks were lost; of any other text that text."""
    match = _DISTANCES.fullmatch(text)
    if match is None:
        return [text]
    nodes = match[2].split()[1:]
    return [match[1], match[2], *_ROW.split(match[4])] if match[3] in nodes else [text]


def _statements(lines: Sequence[Line], parts: Sequence[Section], marks: ArchMarks) -> list[Statement]:
    found: list[Statement] = []
    for statements in (
        numactl.read(lines),
        numactl.read_matrix(lines),
        numactl.read_labelled_matrix(lines),
        numactl.read_show(lines),
        lscpu.read(lines),
        lscpu.read_json(lines),
        lscpu.read_tables(lines),
        cpuinfo.read(lines, marks),
        sysfs_nodes.read(parts),
        node_listings.read(lines),
        kernel_config.read(lines, marks),
        meminfo.read(parts),
        lsmem.read(lines),
        boot_log.read(lines, marks),
        page_hints.read(lines),
        memory_report.read(lines),
        acpi_tables.read(lines, marks),
        device_tree.read(lines),
        hwloc.read_xml(lines),
        hwloc.read_tree(lines),
        qemu_arguments.read(lines),
        libvirt_xml.read(lines),
        launchers.read_proxmox(lines),
        launchers.read_virtme(lines),
        launchers.read_openstack(lines),
        likwid.read(lines),
        inventory.read(lines),
        facts.read(lines),
        per_node.read(lines),
        node_table.read(lines),
        foreign.read(lines),
    ):
        found += bounded(statements)
    described = any(statement.key in AMOUNTS or statement.node is not None for statement in found)
    found += prose.read_page_size(lines) if described else prose.read(lines)
    return _without_numbered_rows(found)


def _without_numbered_rows(found: Sequence[Statement]) -> list[Statement]:
    """The statements, without matrices of which another reader knows the nodes that the rows are of."""
    known = {statement.line for statement in found if statement.key == "distance" and statement.source == "sysfs"}
    matrices = {(statement.source, statement.block) for statement in found if statement.line in known}
    return [
        statement
        for statement in found
        if statement.source != "distances" or (statement.source, statement.block) not in matrices
    ]


def _name_hosts(made: MachineTexts, statements: Sequence[Statement], parts: Sequence[Section]) -> None:
    """Note the host of the last prompt above each statement."""
    prompts = [(part.line, part.host) for part in parts if part.host]
    index, host = 0, ""
    for statement in statements:
        while index < len(prompts) and prompts[index][0] <= statement.line:
            host = prompts[index][1]
            index += 1
        if host:
            made.hosts[statement] = host
