# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines that state something about a machine by themselves, in the words of many programs.

virsh nodeinfo, inxi, sysctl, hwinfo, lshw, fastfetch and its like, top and htop, docker and podman info, Ansible,
reportbug, apport, crash, `getconf -a`, the auxiliary vector (LD_SHOW_AUXV=1, gdb's `info auxv`), sysstat, crashes of
Java, Redis, Julia, envinfo, Phoronix, the kernel test robot.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from lab.core.sizes import KIB
from lab.formats.machine.lscpu import MACHINE_NAMES
from lab.formats.machine.paste.pasted import Line, joined
from lab.formats.machine.statements import Statement, Value, in_blocks, size

_UNIT = r"(?P<unit>[KMGT])i?B?"
_AMOUNT = rf"(?P<memory>\d{{1,15}}(?:[.,]\d{{1,3}})?) ?{_UNIT}"
_ARCH = rf"(?P<arch>{MACHINE_NAMES.pattern})"
_RELEASE = r"(?P<release>\d{1,2}\.\d{1,3}[\w.+~-]{0,80})"
_MHZ = r"(?: @ .*)?"
_LOGO = r"(?:.{0,80}\s)?"
"""That neofetch shows at the left."""
_FACTS = (
    ("virsh nodeinfo", rf"Memory size:\s+{_AMOUNT}"),
    ("inxi", rf"(?!.*(?:userspace|guest|target|compat))(?:.*\s)?arch: {_ARCH}(?:\s.*)?"),
    ("inxi", rf"(?:.*\s)?Kernel: {_RELEASE} {_ARCH} (?:bits: |\().*"),
    (
        "inxi",
        r"(?:CPU:\s+)?(?:Info|Topology): (?:(?P<sockets>\d{1,2})x )?"
        r"(?P<cores>\d{1,3}|(?i:single|dual|quad|hexa|octa))[ -][Cc]ore"
        r"(?: \(\d+-\w+/\d+-\w+\))?\s+model: (?P<model>.{3,80}?) (?:bits|type|socket|variant|arch): (?P<rest>.*)",
    ),
    ("inxi", rf"(?:Memory|RAM|System RAM):(?:\s+(?:System )?RAM:)?\s+total: {_AMOUNT}.*"),
    ("inxi", rf"(?:.*\s)?Memory: {_AMOUNT} used: .*"),
    ("sysctl", r"hw\.(?:ncpu|ncpuonline)[:=] ?(?P<cpus>\d{1,4})"),
    ("sysctl", r"hw\.(?:memsize|physmem(?:64)?|realmem)[:=] ?(?P<memory>\d{8,16})(?P<unit>)"),
    ("sysctl", r"hw\.pagesize[:=] ?(?P<page>\d{4,6})"),
    ("sysctl", r"vm\.ndomains[:=] ?(?P<nodes>\d{1,3})"),
    ("sysctl", r"machdep\.cpu\.brand_string[:=] ?(?P<model>\S.{2,80})"),
    ("hwinfo", r"Arch: (?P<arch>(?i:X86-64|AArch64|PPC64LE|S390X|RISCV64|IA32))"),
    ("hwinfo", r"Model: \d+\.\d+\.\d+ \"(?P<model>[^\"]{3,80})\""),
    ("lshw", rf"(?:.*\s)?memory\s+{_AMOUNT} System Memory"),
    ("fastfetch", rf"{_LOGO}Memory: [\d.]+ ?[KMG]i?B / {_AMOUNT}(?: \(\d+%\))?"),
    (
        "fastfetch",
        rf"{_LOGO}CPU: (?:\d+ ?x )?(?P<model>[^()]*(?:\([RTM]+\)[^()]*)*) \((?P<cpus>\d{{1,4}})\){_MHZ}",
    ),
    ("fastfetch", rf"{_LOGO}OS: .*\s{_ARCH}"),
    ("screenfetch", rf"{_LOGO}RAM: [\d.]+ ?[KMG]i?B / {_AMOUNT}"),
    ("screenfetch", rf"{_LOGO}CPU: (?P<model>[^@]{{3,60}}?) @ (?P<cpus>\d{{1,4}})x [\d.]+GHz"),
    ("screenfetch", rf"{_LOGO}Kernel: {_ARCH} Linux {_RELEASE}"),
    ("top", r"(?P<unit>[KMGT])iB (?:Mem|Spch|Spei\w*|Mém|Pam\w*|Пам\w*) ?: *(?P<memory>\d{3,12}(?:[.,]\d)?) .*"),
    ("top", r"Mem: *(?P<memory>\d{4,12})(?P<unit>[kmg]) total,.*"),
    ("htop", rf"(?:.*\s)?Mem\[[|\s#*]*[\d.]{{1,8}}[KMGT]/{_AMOUNT}\].*"),
    ("docker info", rf"Total Memory: {_AMOUNT}"),
    ("podman info", r"memTotal: (?P<memory>\d{8,16})(?P<unit>)"),
    ("Ansible", r"ansible_memtotal_mb: ?(?P<memory>\d{1,9})(?P<unit>)(?P<mega>)"),
    ("Ansible", r"ansible_processor_vcpus: ?(?P<cpus>\d{1,4})"),
    ("sysstat", rf"Linux {_RELEASE} \(\S{{1,60}}\)\s+[\d/.-]{{6,10}}\s+_{_ARCH}_\s+\((?P<cpus>\d{{1,4}}) CPU\)"),
    ("Java", r"Memory: (?P<kib>\d{1,3})k page, physical (?P<memory>\d{4,12})(?P<unit>k)\b.*"),
    ("Java", r"CPU: ?total (?P<cpus>\d{1,4})\b.*"),
    ("Redis", rf"os:Linux {_RELEASE} {_ARCH}"),
    ("Redis", r"total_system_memory:(?P<memory>\d{8,16})(?P<unit>)"),
    ("Julia", r"CPU: (?P<cpus>\d{1,4}) [\u00d7x] (?P<model>.{3,80})"),
    ("envinfo", r"CPU: \((?P<cpus>\d{1,4})\) (?:x64|arm64) (?P<model>.{3,80})"),
    ("Phoronix", r"(?:.*\W)?Processor: (?P<model>.{3,80}?) \(\d{1,4} Cores / (?P<cpus>\d{1,4}) Threads\).*"),
    (
        "kernel test robot",
        r"(?:.*\s)?test machine: (?P<cpus>\d{1,4}) threads \d{1,3} sockets? (?P<model>.{3,80}?)"
        r" with (?P<memory>\d{1,6})(?P<unit>[GT])B? (?:of )?memory.*",
    ),
    ("banner", rf"Welcome to .{{1,60}} \(GNU/Linux {_RELEASE} {_ARCH}\)"),
    ("uname", rf".*\bsystem='Linux',.*\brelease='{_RELEASE}',.*\bmachine='{_ARCH}'.*"),
    ("lstopo", r"depth \d{1,2}:\s+(?P<cpus>\d{1,4}) PU(?: \(.*)?"),
    ("lstopo", r"(?:Special )?depth -?\d{1,2}:\s+(?P<nodes>\d{1,4}) NUMANode(?: \(.*)?"),
    (
        "release",
        rf"(?:Linux )?[Kk]ernel(?: ?[Vv]ersion)?:\s+(?:Linux )?{_RELEASE}(?: \(SMP w/(?P<cpus>\d{{1,4}}) CPU .*)?",
    ),
    ("release", rf"(?:ansible_kernel|os release|RELEASE|KERNEL_VERSION|uname -r)\s?: {_RELEASE}"),
    ("apport", rf"Uname: Linux {_RELEASE} {_ARCH}"),
    ("apport", rf"ProcVersionSignature: \w{{1,40}} {_RELEASE}(?:\s.*)?"),
    ("auxiliary vector", r"AT_PAGESZ:\s+(?P<page>\d{4,6})"),
    ("auxiliary vector", r"\d{1,3}\s+AT_PAGESZ\s.*\s(?P<page>\d{4,6})"),
    ("auxiliary vector", rf"\d{{1,3}}\s+AT_PLATFORM\s.*\"{_ARCH}\""),
    ("crash", rf"MACHINE(?: TYPE)?: {_ARCH}(?:\s.*)?"),
    ("crash", r"CPUS: (?P<cpus>\d{1,4})(?: \[OFFLINE: \d+\])?"),
    ("crash", rf"MEMORY(?: SIZE)?: {_AMOUNT}"),
    ("crash", r"PAGE SIZE: (?P<page>\d{4,6})"),
)
_PATTERNS = tuple((source, re.compile(pattern)) for source, pattern in _FACTS)
_CORES = {"single": 1, "dual": 2, "quad": 4, "hexa": 6, "octa": 8}
_QUOTED = re.compile(r"\"([A-Za-z]\w{2,60})\": \"?([^\",]{1,100})\"?,?")
"""A key and its value in JSON."""
_PODMAN_CPUS = re.compile(r"cpus: (\d{1,4})")
MAX_FACT = 400
"""Characters of a line that may be a fact."""
_GETCONF = re.compile(r"(_NPROCESSORS_ONLN|_PHYS_PAGES|_?PAGE_?SIZE)\s+(\d{1,15})")


def read(lines: Sequence[Line]) -> Iterator[Statement]:
    """Everything that lines state by themselves; where one contradicts another, a new output begins."""
    facts: list[Statement] = []
    podman = any(line.text.startswith("memTotal: ") for line in lines)
    for line in joined(lines, _rest_of_robot):
        facts += _facts(line)
        if podman and (match := _PODMAN_CPUS.fullmatch(line.text)):
            facts.append(_statement("podman info", "cpu_count", int(match[1]), line))
    facts += _getconf(lines)
    yield from in_blocks([facts])


def _rest_of_robot(line: str, following: str) -> str | None:
    """Return what stands for a line break within what the kernel test robot says of its machine."""
    wrapped = "test machine: " in line and "memory" not in line and "memory" in following
    return " " if wrapped else None


def _statement(source: str, key: str, value: Value, line: Line) -> Statement:
    return Statement(key=key, value=value, line=line.number, source=source)


def _facts(line: Line) -> Iterator[Statement]:
    """What a line states by itself."""
    if len(line.text) > MAX_FACT:
        return
    quoted = _QUOTED.fullmatch(line.text)
    text = f"{quoted[1]}: {quoted[2]}" if quoted else line.text.removeprefix("# ")
    for source, pattern in _PATTERNS:
        match = pattern.fullmatch(text)
        if match is not None:
            yield from _stated(source, match.groupdict(), line)


def _stated(source: str, found: Mapping[str, str | None], line: Line) -> Iterator[Statement]:
    for key in ("model", "release"):
        if value := found.get(key):
            yield _statement(source, key, value, line)
    for name, key in (("page", "page_size"), ("cpus", "cpu_count"), ("nodes", "node_count")):
        if value := found.get(name):
            yield _statement(source, key, int(value), line)
    if arch := found.get("arch"):
        yield _statement(source, "arch", arch.lower(), line)
    if kib := found.get("kib"):
        yield _statement(source, "page_size", int(kib) * KIB, line)
    if memory := found.get("memory"):
        unit = "M" if "mega" in found else found.get("unit") or ""
        yield _statement(source, "memory", size(memory, unit), line)
    if cores := found.get("cores"):
        threads = 1 + bool(re.search(r"\bMT\b", found.get("rest") or ""))
        count = _CORES.get(cores.lower()) or int(cores)
        yield _statement(source, "cpu_count", int(found.get("sockets") or 1) * count * threads, line)
        yield _statement(source, "threads", threads, line)


def _getconf(lines: Sequence[Line]) -> Iterator[Statement]:
    """`getconf -a`: the processors, and the memory in pages."""
    page = 0
    for line in lines:
        match = _GETCONF.fullmatch(line.text)
        if match is None:
            continue
        number = int(match[2])
        if match[1] == "_NPROCESSORS_ONLN":
            yield _statement("getconf", "cpu_count", number, line)
        elif match[1] == "_PHYS_PAGES" and page:
            yield _statement("getconf", "memory", number * page, line)
        elif match[1] != "_PHYS_PAGES":
            page = number
