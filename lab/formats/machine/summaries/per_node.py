# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that state CPUs and memory of each node: perf's header, Prometheus' node exporter, cAdvisor."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lab.core.sizes import KIB
from lab.formats.machine.cpu_list import MAX_CPU, parse_cpu_list
from lab.formats.machine.paste.pasted import Line
from lab.formats.machine.statements import DAMAGE, MAX_NODE, Statement, Value, in_blocks, numbers

_PERF = re.compile(
    r"(?:# ?)?(?:node(?P<node>\d{1,4}) (?P<what>meminfo|cpu list)|nrcpus (?P<online>online)|total (?P<memory>memory)"
    r"|cpu(?P<model>desc))\s{0,4}: (?:total = )?(?P<value>.{1,4000}?)(?: kB.*)?"
)
_EXPORTED = re.compile(
    r"node_(memory_numa_MemTotal|memory_MemTotal_bytes|cpu_seconds_total|uname_info)(\{.*\})? (\S{1,30})"
)
_LABEL = re.compile(r"(\w{1,20})=\"([^\"]{0,100})\"")
_MACHINE_INFO = re.compile(r"\"node_id\": ?(\d{1,4})|\"memory\": ?(\d{6,16})|\"thread_ids\": ?\[([\d, ]{1,4000})\]")


def read(lines: Sequence[Line]) -> Iterator[Statement]:
    """Everything that these programs state."""
    yield from in_blocks([_perf(lines)])
    yield from in_blocks([_exported(lines)])
    yield from in_blocks([_machine_info(lines)])


def _statement(source: str, key: str, value: Value, line: Line, node: int | None = None) -> Statement:
    return Statement(key=key, value=value, line=line.number, source=source, node=node)


def _perf(lines: Sequence[Line]) -> Iterator[Statement]:
    """The header of `perf report --header`."""
    for line in lines:
        match = _PERF.fullmatch(line.text)
        if match is None:
            continue
        value = match["value"]
        if match["model"]:
            yield _statement("perf", "model", value, line)
        elif match["what"] == "cpu list":
            yield _listed("perf", value, line, int(match["node"]))
        elif value.isdecimal() and len(value) < 14:
            key = "cpu_count" if match["online"] else "memory"
            amount = int(value) if match["online"] else int(value) * KIB
            yield _statement("perf", key, amount, line, int(match["node"]) if match["node"] else None)


def _listed(source: str, text: str, line: Line, node: int) -> Statement:
    try:
        return _statement(source, "cpus", parse_cpu_list(text), line, node)
    except ValueError as error:
        return _statement(source, DAMAGE, f"the CPUs of node {node} are damaged or cut off: {error}", line)


def _exported(lines: Sequence[Line]) -> Iterator[Statement]:
    """The metrics of Prometheus' node exporter, in bytes."""
    cpus = set[str]()
    first: Line | None = None
    for line in lines:
        match = _EXPORTED.fullmatch(line.text)
        if match is None:
            continue
        labels = dict(_LABEL.findall(match[2] or ""))
        if match[1] == "uname_info":
            for label, key in (("machine", "arch"), ("release", "release")):
                if labels.get(label):
                    yield _statement("node exporter", key, labels[label], line)
        elif match[1] == "cpu_seconds_total":
            first = first or line
            cpus.add(labels.get("cpu", ""))
        elif amount := _amount(match[3]):
            node = labels.get("node", "")
            yield _statement("node exporter", "memory", amount, line, int(node) if node.isdecimal() else None)
    if first and len(cpus) <= MAX_CPU:
        yield _statement("node exporter", "cpu_count", len(cpus), first)


def _amount(text: str) -> int:
    """The bytes of a metric; 0 if it is no amount of memory."""
    try:
        value = float(text)
    except ValueError:
        return 0
    return int(value) if 0 < value < 1 << 50 else 0


def _machine_info(lines: Sequence[Line]) -> Iterator[Statement]:
    """The nodes in cAdvisor's JSON about the machine: the memory and the threads behind each `node_id`."""
    if not any('"thread_ids"' in line.text for line in lines):
        return
    node, cpus = -1, dict[int, list[int]]()
    first = dict[int, Line]()
    for line in lines:
        for match in _MACHINE_INFO.finditer(line.text):
            if match[1]:
                node = int(match[1])
            elif not 0 <= node < MAX_NODE:
                continue
            elif match[2]:
                yield _statement("cAdvisor", "memory", int(match[2]), line, node)
            else:
                first.setdefault(node, line)
                cpus.setdefault(node, []).extend(numbers(match[3].replace(",", " ").strip()))
    for number, members in cpus.items():
        yield _statement("cAdvisor", "cpus", tuple(sorted(set(members))), first[number], number)
