# SPDX-License-Identifier: GPL-2.0-or-later
"""What hwloc's lstopo writes: XML of versions 1 and 2, and the tree of its console output.

The XML is read tag by tag and not by an XML parser: it comes from strangers, in parts, and entities are of no use here.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from lab.formats.machine.cpu_list import format_list, parse_mask
from lab.formats.machine.paste.pasted import Line, joined
from lab.formats.machine.statements import DAMAGE, MAX_NODE, NOTE, Statement, Value, size

SOURCE = "lstopo"
_TAG = re.compile(r"<(/?)(\w{1,30})((?:\s+\w{1,40}=\"[^\"<>]*\")*)\s*/?>([^<]*)")
_ATTRIBUTE = re.compile(r"(\w+)=\"([^\"]*)\"")
_MACHINE = re.compile(r"Machine(?: [LP]#\d+)? \((?:P#\d+ )?(?:total=)?(\d{1,12}(?:\.\d{1,2})?)([KMGT]i?B)(?: total)?\b")
_NUMBERS = r"(?=[LP]#\d)(?:L#(?P<logical>\d{1,5}))?(?: ?\(?P#(?P<number>\d{1,5}))?"
"""hwloc's own number and Linux' one: `L#0 (P#0`; with `lstopo -l` and `-p` one of them, in boxes `L#0 P#0`."""
_NODE = re.compile(
    rf"NUMANode(?:\([\w ]{{1,20}}\))? {_NUMBERS}"
    r"(?: \(?(?:local=)?(?P<memory>\d{1,12}(?:\.\d{1,2})?)(?P<unit>[KMGT]i?B))?"
)
_PARENT = re.compile(r"(?:Package|Socket|Group\d?|Die) [LP]#\d")
_PU = re.compile(rf"PU {_NUMBERS}\)?")
_LATENCIES = re.compile(r"Relative latency matrix .* between (\d{1,4}) NUMANodes .* by logical indexes:")
_LATENCY_ROW = re.compile(r"(?:index|\d{1,4})((?:\s+\d{1,4})+)")
_TREE_FACTS = (
    ("arch", re.compile(r"Machine L?#?\d{0,4} ?\(.*\bArchitecture=([\w-]{3,20})")),
    ("model", re.compile(r"(?:Package|Socket) .*\bCPUModel=\"?([^\"()]*(?:\([RTM]+\)[^\"()]*)*)")),
)
_OPEN = re.compile(
    r"(?:\+|PU|Core|Package|Socket|Die|Group\d?|NUMANode|Machine|L\d[di]?(?:Cache)?"
    r"|(?:PU|NUMANode(?:\([\w ]{1,20}\))?) L#\d{1,5}|\([^()]{1,80})$"
)
"""The end of a line of the tree whose rest a mailer put on the next line."""
_REST = re.compile(r"(?:L#\d|\(P?#?\d|\+|PU L#|[\w=.]{1,40}\))")
_FAST = re.compile(r"HBM|MCDRAM|SPM|CXL|DAX", re.IGNORECASE)


@dataclass(slots=True)
class _NodeObject:
    """One object of type NUMANode."""

    line: int
    cpus: tuple[int, ...] = ()
    memory: int = 0
    subtype: str = ""


@dataclass(slots=True)
class _Xml:
    """The state between tags."""

    nodes: dict[int, _NodeObject] = field(default_factory=dict)
    pages: dict[int, int] = field(default_factory=dict)
    facts: list[tuple[str, str, int]] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    current: _NodeObject | None = None
    distance_nodes: int = 0
    distance_line: int = 0
    in_distances: bool = False
    indexes: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    base: float = 1.0
    units: int = 0


def read_xml(lines: Sequence[Line]) -> Iterator[Statement]:
    """`lstopo --of xml`, whole or in part."""
    document: list[Line] = []
    block = 0
    for line in joined(lines, _rest_of_tag):
        if "<topology" in line.text:
            yield from (replace(statement, block=block) for statement in _document(document))
            document, block = [], block + 1
        document.append(line)
    yield from (replace(statement, block=block) for statement in _document(document))


def _document(lines: Sequence[Line]) -> Iterator[Statement]:
    """One document of XML, and what other text is behind it."""
    xml = _Xml()
    begun = ended = objects = 0
    for line in lines:
        if not line.text.startswith("<"):
            if xml.in_distances:
                _numbers(xml, line.text)
            continue
        begun = begun or ("<topology" in line.text or "<object" in line.text) * line.number
        objects += "<object" in line.text
        ended = ended or "</topology>" in line.text
        for tag in _TAG.finditer(line.text):
            attributes = {name: html.unescape(value) for name, value in _ATTRIBUTE.findall(tag[3])}
            _tag(xml, tag[2], bool(tag[1]), attributes, line.number)
            if xml.in_distances and tag[4].strip():
                _numbers(xml, tag[4])
    if not objects:  # libvirt has a tag <topology> with other things in it
        return
    yield from _machine(xml)
    yield from _nodes(xml)
    yield from _distances(xml)
    if xml.nodes and ended:
        yield _statement("node_count", len(xml.nodes), begun)
    if not ended:
        yield _statement(DAMAGE, "the XML of lstopo is cut off: </topology> is missing", begun)


def _rest_of_tag(line: str, _following: str) -> str | None:
    """Return what a mailer replaced by the end of a line within a tag; None if the line ends outside of one."""
    return " " if line.startswith("<") and line.rfind("<") > line.rfind(">") else None


def _statement(key: str, value: Value, line: int, node: int | None = None) -> Statement:
    return Statement(key=key, value=value, line=line, source=SOURCE, node=node)


def _tag(xml: _Xml, name: str, closing: bool, attributes: dict[str, str], line: int) -> None:
    if name == "object" and not closing:
        _object(xml, attributes, line)
    elif name == "page_type" and xml.current:
        _pages(xml, attributes)
    elif name == "info" and attributes.get("name") in ("Architecture", "CPUModel", "OSRelease"):
        xml.facts.append((attributes["name"], attributes.get("value", ""), line))
    elif name in ("distances", "distances2"):
        _distance_head(xml, name, closing, attributes, line)
    elif name == "indexes":
        xml.units = 1
    elif name == "u64values":
        xml.units = 2
    elif name == "latency" and xml.in_distances:
        value = attributes.get("value", "")
        if re.fullmatch(r"\d{1,6}(?:\.\d{1,12})?", value):
            xml.values.append(float(value) * xml.base)


def _object(xml: _Xml, attributes: dict[str, str], line: int) -> None:
    if attributes.get("type") != "NUMANode":
        return
    number = attributes.get("os_index", "")
    if not number.isdecimal() or len(number) > 4 or int(number) >= MAX_NODE:
        return
    xml.current = _NodeObject(line=line, subtype=attributes.get("subtype", ""))
    xml.nodes[int(number)] = xml.current
    memory = attributes.get("local_memory", "")
    if memory.isdecimal() and len(memory) < 18:
        xml.current.memory = int(memory)
    try:
        xml.current.cpus = parse_mask(attributes.get("cpuset", ""))
    except ValueError:
        return


def _pages(xml: _Xml, attributes: dict[str, str]) -> None:
    page, count = attributes.get("size", ""), attributes.get("count", "")
    if page.isdecimal() and count.isdecimal() and len(page) < 13 and len(count) < 13:
        xml.pages[int(page)] = xml.pages.get(int(page), 0) + int(count)


def _distance_head(xml: _Xml, name: str, closing: bool, attributes: dict[str, str], line: int) -> None:
    xml.in_distances = False
    if closing or xml.distance_nodes:
        return
    if name == "distances2" and attributes.get("type") != "NUMANode":
        return
    count = attributes.get("nbobjs", "")
    if not count.isdecimal() or len(count) > 4:
        return
    base = attributes.get("latency_base", "")
    if re.fullmatch(r"\d{1,6}(?:\.\d{1,12})?", base):
        xml.base = float(base)
    xml.in_distances, xml.distance_nodes, xml.distance_line = True, int(count), line


def _numbers(xml: _Xml, text: str) -> None:
    """The numbers between the tags of distances: indexes of nodes, then the matrix."""
    for word in text.split():
        if not word.isdecimal() or len(word) > 6:
            return
        if xml.units == 1:
            xml.indexes.append(int(word))
        elif xml.units == 2:
            xml.values.append(float(word))


def _machine(xml: _Xml) -> Iterator[Statement]:
    keys = {"Architecture": "arch", "CPUModel": "model", "OSRelease": "release"}
    for key in keys:
        for name, value, line in xml.facts:
            if name == key and value:
                yield _statement(keys[name], value, line)
                break
    if xml.pages and xml.nodes:
        line = next(iter(xml.nodes.values())).line
        yield _statement("page_size", min(xml.pages), line)
        for size_, count in sorted(xml.pages.items()):
            if size_ > min(xml.pages):
                yield _statement(f"hugepages {size_}", count, line)


def _nodes(xml: _Xml) -> Iterator[Statement]:
    """The nodes. Where several have the same CPUs, they are those of the first that is no special memory."""
    owners: dict[tuple[int, ...], int] = {}
    for number, node in sorted(xml.nodes.items(), key=lambda item: (bool(_FAST.search(item[1].subtype)), item[0])):
        if node.cpus:
            owners.setdefault(node.cpus, number)
    for number, node in sorted(xml.nodes.items()):
        owner = owners.get(node.cpus, number)
        cpus = node.cpus if owner == number else ()
        yield _statement("cpus", cpus, node.line, number)
        yield _statement("memory", node.memory, node.line, number)
        if owner != number:
            yield _statement(NOTE, f"node {number} has the CPUs of node {owner}: taken for memory alone", node.line)


def _distances(xml: _Xml) -> Iterator[Statement]:
    count = xml.distance_nodes
    if not count or not xml.nodes:
        return
    columns = tuple(xml.indexes or sorted(xml.nodes))
    if len(columns) != count or len(xml.values) != count * count:
        yield _statement(DAMAGE, f"distances: {len(xml.values)} numbers of {count * count}", xml.distance_line)
        return
    yield _statement("columns", columns, xml.distance_line)
    for index, node in enumerate(columns):
        row = tuple(round(value) for value in xml.values[index * count : (index + 1) * count])
        yield _statement("distance", row, xml.distance_line, node)


@dataclass(slots=True)
class _Tree:
    """The state between the lines of a tree."""

    nodes: dict[int, tuple[int, list[int]]] = field(default_factory=dict)
    """Number -> (line, CPUs)."""
    logical: list[int] = field(default_factory=list)
    """hwloc's own numbers of the nodes, from 0 without gaps."""
    units: set[int] = field(default_factory=set)
    """hwloc's own numbers of the CPUs, from 0 without gaps."""
    group: list[int] = field(default_factory=list)
    inside: bool = False
    """Whether a package or a group has begun behind the last node: the next node is none of the same package."""
    nowhere: list[int] = field(default_factory=list)
    """CPUs above the first node."""
    own_numbers: bool = False
    """Whether CPUs have hwloc's own numbers alone."""
    total: int = 0
    memory: dict[int, int] = field(default_factory=dict)
    first: int = 0
    rows_due: int = 0
    rows: list[tuple[int, ...]] = field(default_factory=list)


def read_tree(lines: Sequence[Line]) -> Iterator[Statement]:
    """The tree that `lstopo` and `lstopo-no-graphics` print: a node's CPUs follow it."""
    tree = _Tree()
    stated: list[Statement] = []
    block = 0
    for line in joined(lines, _rest):
        if tree.first and _MACHINE.search(line.text):
            yield from (replace(statement, block=block) for statement in (*stated, *_of_tree(tree)))
            tree, stated, block = _Tree(), [], block + 1
        stated += _tree_line(tree, line)
    yield from (replace(statement, block=block) for statement in (*stated, *_of_tree(tree)))


def _tree_line(tree: _Tree, line: Line) -> Iterator[Statement]:
    """One line of a tree, or of the matrix below it."""
    yield from _tree_facts(line)
    if match := _MACHINE.search(line.text):
        tree.total = size(match[1], match[2])
        yield _statement("memory", tree.total, line.number)
    if _PARENT.match(line.text):
        tree.inside = True
    if match := _NODE.search(line.text):
        yield from _tree_node(tree, match, line.number)
    elif match := _LATENCIES.fullmatch(line.text):
        tree.rows_due = int(match[1]) + 1
    elif tree.rows_due and (match := _LATENCY_ROW.fullmatch(line.text)):
        tree.rows_due -= 1
        tree.rows.append(tuple(map(int, match[1].split())))
    for match in _PU.finditer(line.text):
        tree.first = tree.first or line.number
        if match["logical"]:
            tree.units.add(int(match["logical"]))
        cpus = tree.nodes[tree.group[0]][1] if tree.group else tree.nowhere
        cpus.append(int(match["number"] or match["logical"]))
        tree.own_numbers = tree.own_numbers or not match["number"]


def _tree_node(tree: _Tree, match: re.Match[str], line: int) -> Iterator[Statement]:
    """A node's own line."""
    number = int(match["number"] or match["logical"])
    if number >= MAX_NODE:
        return
    tree.nodes[number] = line, []
    if match["logical"]:
        tree.logical.append(int(match["logical"]))
    if match["memory"]:
        tree.memory[number] = size(match["memory"], match["unit"])
        yield _statement("memory", tree.memory[number], line, number)
    if tree.group and (tree.nodes[tree.group[0]][1] or tree.inside):
        tree.group = []
    tree.group.append(number)
    tree.inside = False


def _of_tree(tree: _Tree) -> Iterator[Statement]:
    """What the lines of a tree come to together."""
    if tree.nowhere and not tree.nodes:
        yield _statement("online", tuple(sorted(set(tree.nowhere))), tree.first)
    elif tree.nowhere:
        text = f"CPUs {format_list(tree.nowhere)} are above the first node of the tree, and on none"
        yield _statement(NOTE, text, tree.first)
    if tree.own_numbers:
        text = "the tree has hwloc's own numbers of CPUs and nodes: a guess is that Linux has the same"
        yield _statement(NOTE, text, tree.first)
    yield from _tree_damage(tree)
    if tree.total and abs(sum(tree.memory.values()) - tree.total) <= tree.total * 0.1:
        for number in tree.nodes.keys() - tree.memory.keys():
            yield _statement("memory", 0, tree.nodes[number][0], number)
    if any(cpus for _, cpus in tree.nodes.values()):  # a tree without CPUs does not say that the nodes have none
        for number, (where, cpus) in sorted(tree.nodes.items()):
            yield _statement("cpus", tuple(sorted(set(cpus))), where, number)
    if tree.rows and len(tree.rows) == len(tree.nodes) + 1 == len(tree.logical) + 1:
        yield from _tree_distances(tree)


def _tree_damage(tree: _Tree) -> Iterator[Statement]:
    """What is missing: hwloc numbers nodes and CPUs from 0 without gaps, and says the memory of all nodes together."""
    for what, numbers in (("node", set(tree.logical)), ("CPU", tree.units)):
        missing = set(range(max(numbers, default=0))) - numbers
        if missing:
            line = next(iter(tree.nodes.values()))[0] if tree.nodes else tree.first
            text = f"the tree of lstopo is cut off: {what} L#{format_list(missing)} of it is not there"
            yield _statement(DAMAGE, text, line)
    known = sum(tree.memory.values())
    if tree.total and known and known < tree.total * 0.9:
        shown = f"{tree.total >> 20} MiB of memory in all, and {known >> 20} MiB on the nodes that are there"
        yield _statement(DAMAGE, f"the tree of lstopo is cut off: {shown}", next(iter(tree.nodes.values()))[0])


def _tree_distances(tree: _Tree) -> Iterator[Statement]:
    """The matrix below the tree of `lstopo -v`, whose rows and columns are hwloc's own numbers."""
    number_of = dict(zip(tree.logical, tree.nodes, strict=True))
    columns = tuple(number_of[logical] for logical in tree.rows[0] if logical in number_of)
    line = next(iter(tree.nodes.values()))[0]
    if len(columns) != len(tree.rows[0]) or any(len(row) != len(columns) for row in tree.rows):
        yield _statement(DAMAGE, "distances: the matrix of lstopo is cut off", line)
        return
    yield _statement("columns", columns, line)
    for node, row in zip(columns, tree.rows[1:], strict=True):
        yield _statement("distance", row, line, node)


def _tree_facts(line: Line) -> Iterator[Statement]:
    """What `lstopo -v` says in the brackets of the machine and of its packages."""
    for key, pattern in _TREE_FACTS:
        if match := pattern.search(line.text):
            yield _statement(key, match[1], line.number)


def _rest(line: str, following: str) -> str | None:
    """Return what a mailer replaced by the end of a line of a tree; None if the next line is one of its own."""
    return " " if _OPEN.search(line) and _REST.match(following) else None
