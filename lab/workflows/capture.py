# SPDX-License-Identifier: GPL-2.0-or-later
"""What people send of their machines -> what a machine is. Pure: text in, a `DescribedMachine` out; none is trusted.

Understood is what lab/capture.sh prints, and what is pasted of `lscpu -J`, `lscpu`, `numactl -H`, /proc/cmdline,
`getconf PAGESIZE`, /proc/meminfo, /proc/cpuinfo and the files below /sys/devices/system/node and /sys/kernel/mm, in any
order, with or without the commands themselves above their output (`== cat FILE`, `$ lscpu -J`, `root@box:~# numactl
-H`). What is not known is left alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lab.core.errors import UsageError
from lab.core.untrusted import one_line
from lab.specs.model import parse_cpus

KIB, MIB = 1 << 10, 1 << 20
MAX_TEXT = 4 << 20
"""Characters; /proc/cpuinfo of a thousand CPUs has 1.5 million."""
MAX_NODE = 4096

_HEADING = re.compile(
    r"(?:==|.*[$#>])?\s*((?:(?:cat|head|tail|grep)\s.*?)?/(?:proc|sys)/\S+|lscpu(?:\s+-J)?|numactl\s+(?:-H|--hardware)|getconf\s+PAGE_?SIZE"
    r"|uname\s+-[a-z]+)\s*:?"
)
_NODE_FILE = re.compile(r"/sys/devices/system/node/node(\d{1,4})/(cpulist|distance|meminfo|hugepages/\S+)")
_SIZE_OF = re.compile(r"hugepages-(\d{1,12})kB")


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
    facts: Mapping[str, str] = field(default_factory=dict)
    """/proc/cpuinfo, the first value of every key; `flags` and `Features` also from lscpu."""


def machine(texts: Sequence[str]) -> DescribedMachine:
    """The machine that some texts describe together; UsageError when they do not even say its architecture."""
    sections = [section for text in texts for section in _sections(text[:MAX_TEXT])]
    everything = "\n".join(body for _, body in sections)
    facts = {**_lscpu(sections), **_cpuinfo(sections)}
    arch = _first(sections, "uname -m").strip() or facts.get("Architecture", "")
    if not arch:
        raise UsageError(
            "the description does not say the architecture: expected lscpu -J, uname -m or what capture.sh prints",
            hint="`lab capture --script` prints what a reporter runs",
        )
    thp, shmem_thp = _huge_words(everything)
    return DescribedMachine(
        arch=one_line(arch.split()[0], 40),
        page_size=_page_size(sections),
        cpus=_number(facts.get("CPU(s)", "")) or everything.count("\nprocessor") or 0,
        threads=_number(facts.get("Thread(s) per core", "")) or 1,
        memory=_kib(r"^MemTotal:\s+(\d{1,15}) kB", everything),
        nodes=_nodes(sections, facts),
        hugepages=_hugepages(sections, everything),
        thp=thp,
        shmem_thp=shmem_thp,
        cmdline=_cmdline(sections),
        model=one_line(facts.get("Model name") or facts.get("model name") or facts.get("cpu", ""), 60),
        facts=facts,
    )


def _sections(text: str) -> Iterator[tuple[str, str]]:
    """(command or file, its output) in order; the text before the first heading has the name "".

    A heading is a line that is a known command or file, as a prompt or capture.sh shows it.
    """
    name, lines = "", list[str]()
    for line in text.replace("\r\n", "\n").split("\n"):
        if found := _HEADING.fullmatch(line.rstrip()):
            yield name, "\n".join(lines)
            words = found[1].split()
            name, lines = words[-1] if words[-1].startswith("/") else " ".join(words), []
        else:
            lines.append(line)
    yield name, "\n".join(lines)


def _first(sections: Sequence[tuple[str, str]], name: str) -> str:
    return next((body for title, body in sections if title == name and body.strip()), "")


def _number(text: str) -> int:
    return int(text.strip()) if re.fullmatch(r"\d{1,9}", text.strip()) else 0


def _kib(pattern: str, text: str) -> int:
    found = re.search(pattern, text, re.MULTILINE)
    return int(found[1]) * KIB if found else 0


def _lscpu(sections: Sequence[tuple[str, str]]) -> dict[str, str]:
    """lscpu's fields, from its JSON or its plain text."""
    found: dict[str, str] = {}
    for name, body in sections:
        start = body.find("{", 0, body.find('"lscpu"')) if '"lscpu"' in body else -1
        if start >= 0:
            found |= _fields(_decoded(body[start:]))
        elif name == "lscpu" or "\nByte Order:" in body:
            pairs = (line.partition(":") for line in body.splitlines() if ":" in line)
            found |= {key.strip(): value.strip() for key, _, value in pairs}
    return {("flags" if key == "Flags" else key): value for key, value in found.items()}


def _decoded(text: str) -> object:
    try:
        decoded, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        raise UsageError("the description's lscpu -J is cut off or damaged: no JSON") from None
    return decoded.get("lscpu") if isinstance(decoded, dict) else None


def _fields(entries: object) -> dict[str, str]:
    """`field` -> `data`, also of the children that newer versions nest."""
    found: dict[str, str] = {}
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict):
            found[str(entry.get("field", "")).removesuffix(":")] = str(entry.get("data") or "")
            found |= _fields(entry.get("children"))
    return found


def _cpuinfo(sections: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The first value of every key of /proc/cpuinfo."""
    text = _first(sections, "/proc/cpuinfo") or next((body for _, body in sections if "\nprocessor\t" in body), "")
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            found.setdefault(key.strip(), value.strip())
    return found


def _page_size(sections: Sequence[tuple[str, str]]) -> int | None:
    """What getconf said: below its name, or a line with nothing but a possible page size."""
    named = [body for name, body in sections if name.startswith("getconf")]
    for body in (*named, *(body for _, body in sections)):
        for line in body.splitlines():
            size = _number(line)
            if 4 * KIB <= size <= 256 * KIB and not size & (size - 1):
                return size
    return None


def _cmdline(sections: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """The kernel's arguments: below their file's name, or a line that looks like them."""
    text = _first(sections, "/proc/cmdline")
    if not text:
        lines = (line for _, body in sections for line in body.splitlines())
        text = next((line for line in lines if re.search(r"(^|\s)(BOOT_IMAGE|root|console)=\S", line)), "")
    return tuple(word for word in text.split() if word.isprintable())


def _huge_words(text: str) -> tuple[str | None, str | None]:
    """The words in brackets of transparent_hugepage/enabled and shmem_enabled, which tell themselves apart."""
    private = re.search(r"^\[?always\]? \[?madvise\]? \[?never\]?$", text, re.MULTILINE)
    shared = re.search(r"^\[?always\]? \[?within_size\]? \[?advise\]? .*$", text, re.MULTILINE)
    chosen = (re.search(r"\[(\w+)\]", found[0]) if found else None for found in (private, shared))
    thp, shmem_thp = (found[1] if found else None for found in chosen)
    return thp, shmem_thp


def _hugepages(sections: Sequence[tuple[str, str]], everything: str) -> dict[int, int]:
    """Reserved huge pages by size, over all nodes; those of /proc/meminfo where nothing better is known."""
    found: dict[int, int] = {}
    for name, body in sections:
        size = _SIZE_OF.search(name) if name.startswith("/sys/kernel/mm/hugepages/") else None
        if size and name.endswith("/nr_hugepages"):
            found[int(size[1]) * KIB] = _number(body)
    if not found and (count := re.search(r"^HugePages_Total:\s+(\d{1,9})$", everything, re.MULTILINE)):
        found[_kib(r"^Hugepagesize:\s+(\d{1,9}) kB", everything)] = int(count[1])
    return {size: count for size, count in sorted(found.items()) if size and count}


def _nodes(sections: Sequence[tuple[str, str]], facts: Mapping[str, str]) -> dict[int, DescribedNode]:
    """The nodes as sysfs has them, else as numactl prints them, else as lscpu lists their CPUs."""
    return _sysfs_nodes(sections) or _numactl_nodes("\n".join(body for _, body in sections)) or _lscpu_nodes(facts)


def _sysfs_nodes(sections: Sequence[tuple[str, str]]) -> dict[int, DescribedNode]:
    found: dict[int, dict[str, str]] = {}
    for name, body in sections:
        if place := _NODE_FILE.fullmatch(name):
            found.setdefault(int(place[1]), {})[place[2]] = body
    return {number: _sysfs_node(files) for number, files in sorted(found.items()) if number < MAX_NODE}


def _sysfs_node(files: Mapping[str, str]) -> DescribedNode:
    sizes = {int(size[1]) * KIB: _number(body) for name, body in files.items() if (size := _SIZE_OF.search(name))}
    return DescribedNode(
        cpus=_cpus(files.get("cpulist", "").strip()),
        memory=_kib(r"MemTotal:\s+(\d{1,15}) kB", files.get("meminfo", "")),
        distance=_numbers(files.get("distance", "")),
        hugepages={size: count for size, count in sorted(sizes.items()) if count},
    )


def _cpus(text: str) -> tuple[int, ...]:
    try:
        return parse_cpus(text.replace(" ", ","))
    except ValueError:
        raise UsageError(f"expected CPU numbers such as 0-1,4, got {one_line(text, 60)!r}") from None


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split() if re.fullmatch(r"\d{1,3}", word))


def _numactl_nodes(text: str) -> dict[int, DescribedNode]:
    """`node 0 cpus: 0 1`, `node 0 size: 1024 MB` and the table of distances, `  0:  10  21`."""
    cpus = {int(node): _cpus(" ".join(said.split())) for node, said in _of_nodes("cpus", text)}
    sizes = {int(node): _number(said.removesuffix("MB").strip()) * MIB for node, said in _of_nodes("size", text)}
    _, _, table = text.partition("node distances:")
    rows = {int(node): _numbers(row) for node, row in re.findall(r"^ *(\d{1,4}): +([\d ]+)$", table, re.MULTILINE)}
    return {
        number: DescribedNode(cpus=cpus.get(number, ()), memory=sizes.get(number, 0), distance=rows.get(number, ()))
        for number in sorted({*cpus, *sizes})
    }


def _of_nodes(what: str, text: str) -> list[tuple[str, str]]:
    return re.findall(rf"^node (\d{{1,4}}) {what}:[ \t]*(.*)$", text, re.MULTILINE)


def _lscpu_nodes(facts: Mapping[str, str]) -> dict[int, DescribedNode]:
    named = ((re.fullmatch(r"NUMA node(\d{1,4}) CPU\(s\)", key), value) for key, value in facts.items())
    return {int(found[1]): DescribedNode(cpus=_cpus(value)) for found, value in named if found}
