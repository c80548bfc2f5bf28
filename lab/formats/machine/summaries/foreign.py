# SPDX-License-Identifier: GPL-2.0-or-later
"""Texts of other systems than Linux: which one it is, and what of it means the same; and topologies of the lab."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lab.formats.machine.lscpu import MACHINE_NAMES
from lab.formats.machine.paste.pasted import Line
from lab.formats.machine.statements import MAX_NODE, Statement, in_blocks, numbers

_UNAME = re.compile(r"(FreeBSD|OpenBSD|NetBSD|DragonFly|Darwin|SunOS|AIX|HP-UX)(?: \S{1,80} v?\d.*)?")
_SYSTEMS = (
    ("macOS", r"Hardware Overview:|ProductName:\s+(?:macOS|Mac OS X)|hw\.memsize[:=].*|(?:.*\s)?system_profiler\s.*"),
    ("BSD", r"vm\.ndomains[:=].*|vm\.phys_locality[:=].*|hw\.physmem(?:64)?[:=].*"),
    ("AIX", r"REF1\s+SRAD\s+MEM\s+CPU|(?:.*\s)?(?:lssrad|oslevel|lparstat)(?:\s+-.*)?"),
    ("Solaris", r"(?:.*\s)?(?:lgrpinfo|psrinfo|prtdiag)(?:\s+-.*)?|lgroup \d+ \((?:root|leaf|intermediate)\):"),
    ("Windows", r"System Type:\s+(?:x64|ARM64|X86)-based PC|OS Name:\s+Microsoft Windows.*|Total Physical Memory:\s.*"),
    ("Windows", r"Logical Processor to (?:NUMA Node|Socket|Cache) Map:|NumberOfLogicalProcessors.*"),
    ("VMware ESXi", r"VMware ESXi \d.*|NUMA Node Count: \d+|(?:.*\s)?esxcli\s.*"),
)
_PATTERNS = tuple((name, re.compile(pattern)) for name, pattern in _SYSTEMS)
_NAMES = {"Darwin": "macOS", "SunOS": "Solaris"}
_LOCALITY = re.compile(r"vm\.phys_locality[:=]\s*")
_ROW = re.compile(r"(\d{1,3}): ((?:\d{1,3} ?)+)")
_TOPOLOGY_KEYS = ("arch", "page_size")
_TOPOLOGY = re.compile(r"(arch|page_size|numa|vcpus|memory):(?: .*)?")


def read(lines: Sequence[Line]) -> Iterator[Statement]:
    """The system that a text is of, if it is not Linux, and the distances of FreeBSD's domains."""
    yield from _system(lines)
    yield from in_blocks([_localities(lines)])
    yield from _topology(lines)


def _system(lines: Sequence[Line]) -> Iterator[Statement]:
    for line in lines:
        text = line.text[:400]
        named = _UNAME.fullmatch(text)
        name = _NAMES.get(named[1], named[1]) if named else ""
        for other, pattern in _PATTERNS:
            if not name and pattern.fullmatch(text):
                name = other
        if name:
            yield Statement(key="system", value=name, line=line.number, source=name)
            arch = next(filter(MACHINE_NAMES.fullmatch, text.split() if named else ()), "")
            if arch:
                yield Statement(key="arch", value=arch, line=line.number, source=name)
            return


def _localities(lines: Sequence[Line]) -> Iterator[Statement]:
    """`sysctl vm.phys_locality`: a row for each domain."""
    inside = False
    for line in lines:
        if match := _LOCALITY.match(line.text):
            inside = True
            text = line.text[match.end() :]
        else:
            text = line.text
        row = _ROW.fullmatch(text) if inside else None
        if row and int(row[1]) < MAX_NODE:
            values = numbers(row[2].strip())
            yield Statement(key="distance", value=values, line=line.number, source="sysctl", node=int(row[1]))
        elif text:
            inside = False


def _topology(lines: Sequence[Line]) -> Iterator[Statement]:
    """The file of a topology of the lab, which is no description of a machine that is to be captured."""
    found: dict[str, int] = {}
    for line in lines:
        if match := _TOPOLOGY.fullmatch(line.text):
            found.setdefault(match[1], line.number)
    if all(key in found for key in _TOPOLOGY_KEYS) and len(found) > len(_TOPOLOGY_KEYS):
        first = min(found.values())
        yield Statement(key="topology", value="a topology of the lab", line=first, source="topology")
