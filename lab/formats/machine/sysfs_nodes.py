# SPDX-License-Identifier: GPL-2.0-or-later
"""Files of /sys and /proc about a machine, as cat, grep (`path:value`), head (`==> path <==`) and loops show them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lab.core.sizes import KIB
from lab.formats.machine import node_globs
from lab.formats.machine.cpu_list import parse_cpu_list, parse_mask
from lab.formats.machine.lscpu import MACHINE_NAMES
from lab.formats.machine.paste.pasted import Line
from lab.formats.machine.paste.shell_session import Section
from lab.formats.machine.statements import DAMAGE, MAX_NODE, NOTE, Statement, Value, in_blocks, numbers

_VALUED = re.compile(r"((?:/sys/|/proc/|\./|node\d|hugepages-)[^\s:]{1,300}|nr_hugepages):\s*(.*)")
_NODE_FILE = re.compile(
    r"(?:\S*/)?node(\d{1,4})/(cpulist|cpumap|distance|hugepages/hugepages-(\d{1,9})kB/nr_hugepages)"
)
_LOOP = re.compile(
    r"(?:\S*/)?node(\d{1,4})(?:[:=]\s?|\s)\s*(?:(?:cpus?|cpulist)\s?[:=]?\s*(\d[\d,:-]*)|(\d{1,5}[,-][\d,:-]*))"
    r"(?:[\s;,]{1,9}dist\w{0,6}\s?[:=]?\s*(\d{1,3}(?: \d{1,3})*))?"
)
_NODE_FOLDER = re.compile(r"/sys/devices/system/node/node(\d{1,4})/?")
_LIST = re.compile(r"\d{1,5}[,-][\d,:-]*|\d{1,5}")
_NODE_LIST = re.compile(
    r"(?:\S*/)?node/(online|possible|has_cpu|has_memory|has_normal_memory)|(?:node_)?(online|possible)"
)
_POOL = re.compile(r"(?:\S*/)?hugepages-(\d{1,9})kB/nr_hugepages")
_CPU_FILE = re.compile(r"(?:\S*/)?cpu/(online|offline)")
_THP = re.compile(r"(?:\S*/)?transparent_hugepage/(enabled|shmem_enabled)")
_CHOSEN = re.compile(r"\[(\w{1,20})\]")
_MEMINFO = re.compile(r"Node\s+(\d{1,4})\s+(?:(MemTotal):\s+(\d{1,15})\s*kB|(HugePages_Total):\s+(\d{1,15})).*")
_PRIVATE_WORDS = re.compile(r"\[?always\]? \[?madvise\]? \[?never\]?")
_SHARED_WORDS = re.compile(r"\[?always\]? \[?within_size\]? \[?advise\]? .{0,60}")
_CMDLINE = re.compile(r"(?:.*\s)?(?:BOOT_IMAGE|root|console)=\S.*")
_NO_CMDLINE = re.compile(r"\$|ommand line:|^/\S+:")
_ARGUMENTS = re.compile(r"[^#;|&]{0,200}?(?:cat|head|tail|grep|more)\s+(.*)")
_PAGE_SIZE = re.compile(r"(?:getconf\s+)?_?(?:PAGE_?SIZE|page size)\W{0,40}(\d{4,6})\b.*", re.IGNORECASE)
_KERNEL_PAGE = re.compile(r"(?:(?:Kernel|MMU)PageSize:\s+(\d{1,3}) kB|\bkernelpagesize_kB=(\d{1,3})$)")
_CONFIGURED = re.compile(r"(?:GRUB_CMDLINE_LINUX|args|kernelopts)=\"([^\"]{1,2000})\"")
"""Arguments in the configuration of a boot loader."""
_MACHINE_COMMAND = re.compile(r"(?:^|.*\s)(?:uname\s+-[a-z]*[amp][a-z]*|arch|dpkg --print-architecture)$")
_COUNTING = re.compile(r"\bgrep\s+(?:-\w+\s+)*-\w*c|\|\s*wc\s+-l$")
_RELEASE_COMMAND = re.compile(r"(?:^|.*\s)uname\s+-[a-z]*r[a-z]*$")
_ONE_LINE = re.compile(r"(?:^|.*\s)(?:uname(?:\s+-[a-z]+)?|arch|nproc|getconf\s+\w+|dpkg --print-architecture)$")
"""Commands that print a line each, as they are typed one behind the other with `;` and `&&`."""
_SPAN = re.compile(r"(\d{1,4})\.\.(\d{1,4})")
_SEPARATOR = re.compile(r"\s*(?:&&|;)\s*")
_NAMES = re.compile(r"x86_64|aarch64|ppc64le|ppc64|s390x|riscv64|i686|armv7l|loongarch64|mips64|sparc64|ia64")
_BARE_SIZES = frozenset(("4096", "8192", "16384", "65536", "262144"))
_UNAME = re.compile(r"Linux\s.*\s(\d+\.\d+\S*)\s.*")


def read(parts: Sequence[Section]) -> Iterator[Statement]:
    """Everything that files and small commands state."""
    known = node_globs.named_nodes(parts)
    yield from in_blocks(
        _of_section(section, known, block, last=block == len(parts) - 1) for block, section in enumerate(parts)
    )


def _of_section(section: Section, known: node_globs.NamedNodes, block: int, *, last: bool) -> Iterator[Statement]:
    """Everything that one command printed states."""
    globbed = list(node_globs.shown(_paths(section.command), section.lines, known, last=last))
    for files in globbed:
        yield from _globbed(files, section, known, block)
    if not globbed:
        yield from _of_command(section, block, last=last)
    for line in section.lines:
        yield from _of_line(line, block)


def _of_line(line: Line, block: int) -> Iterator[Statement]:
    """Lines that say by themselves which file they are from."""
    text = line.text
    if match := _LOOP.fullmatch(text):
        yield from _of_loop(match, line, block)
        return
    if match := _VALUED.fullmatch(text):
        yield from _content(match[1], match[2], line, block)
        text = match[2]
    if match := _MEMINFO.fullmatch(text):
        yield from _node_meminfo(match, line, block)
    elif _PRIVATE_WORDS.fullmatch(text):
        yield from _chosen("thp", text, line, block)
    elif _SHARED_WORDS.fullmatch(text):
        yield from _chosen("shmem_thp", text, line, block)
    elif match := _CONFIGURED.fullmatch(text):
        yield from _command_line(match[1], line, block, "in the configuration of the boot loader")
    elif _CMDLINE.fullmatch(text) and not _NO_CMDLINE.search(text):
        yield from _command_line(text, line, block)
    else:
        yield from _of_kernel(text, line, block)


def _of_loop(match: re.Match[str], line: Line, block: int) -> Iterator[Statement]:
    """A line that a loop over the nodes printed: `node0: 0-7`, `node0: cpus 0-7 dist 10 20`."""
    yield from _content(f"node{match[1]}/cpulist", match[2] or match[3], line, block)
    if match[4]:
        yield from _content(f"node{match[1]}/distance", match[4], line, block)


def _of_kernel(text: str, line: Line, block: int) -> Iterator[Statement]:
    """Lines that say the page size or the architecture by themselves."""
    if match := _PAGE_SIZE.fullmatch(text):
        yield from _page_size(int(match[1]), line, block, "getconf")
    elif match := _KERNEL_PAGE.search(text):
        yield from _page_size(int(match[1] or match[2]) * KIB, line, block, "smaps")
    elif match := _UNAME.fullmatch(text):
        yield _statement("release", match[1], line, block, "uname")
        yield from _uname(text, line, block)
    elif _NAMES.fullmatch(text):
        guess = "a line that has this name alone"
        yield Statement(key="arch", value=text, line=line.number, source="uname", block=block, guess=guess)
    elif text in _BARE_SIZES:
        guess = "a line that has this number alone"
        size = int(text)
        yield Statement(key="page_size", value=size, line=line.number, source="getconf", block=block, guess=guess)


def _statement(key: str, value: Value, line: Line, block: int, source: str, node: int | None = None) -> Statement:
    return Statement(key=key, value=value, line=line.number, source=source, block=block, node=node)


def _of_command(section: Section, block: int, *, last: bool) -> Iterator[Statement]:
    """The content of files, and what small commands print below their own name."""
    command, lines = section.command, section.lines
    first = next((line for line in lines if line.text), None)
    goes_on = first is not None and _VALUED.fullmatch(first.text) and _NODE_FILE.fullmatch(command)
    if first is None or goes_on:  # `path:` of grep, which goes on with the next file, is an empty file too
        if goes_on or not last:
            yield from _empty(_paths(command), section.line, block)
        return
    several = _SEPARATOR.split(command)
    if len(several) > 1 and all(map(_ONE_LINE.match, several[:-1])):
        yield from _of_several(several, [line for line in lines if line.text], block)
    elif _MACHINE_COMMAND.match(command):
        yield from _uname(first.text, first, block)
    elif _RELEASE_COMMAND.match(command):
        yield _statement("release", first.text[:100], first, block, "uname")
    elif command.startswith(("getconf", "nproc")) and first.text.isdecimal() and len(first.text) < 7:
        yield from _number(command, int(first.text), first, block)
    elif first.text.isdecimal() and len(first.text) < 5 and (key := _counted(command)):
        yield _statement(key, int(first.text), first, block, "a count of lines")
    elif match := _NODE_FOLDER.fullmatch(command):
        yield from _folder(int(match[1]), lines, block)
    else:
        yield from _files(_paths(command), lines, block)


def _of_several(commands: Sequence[str], lines: Sequence[Line], block: int) -> Iterator[Statement]:
    """Commands on one line: a line of each, but of the last one all that are left."""
    for place, name in enumerate(commands):
        own = lines[place : place + 1] if place < len(commands) - 1 else lines[place:]
        if own:
            section = Section(command=name, host="", line=own[0].number, lines=tuple(own))
            yield from _of_command(section, block, last=True)


def _counted(command: str) -> str:
    """What a command counts that prints how many lines something has; empty if it is another command."""
    if not _COUNTING.search(command):
        return ""
    if "/proc/cpuinfo" in command and "processor" in command:
        return "cpu_count"
    return "node_count" if "/sys/devices/system/node/node*" in command else ""


def _number(command: str, number: int, line: Line, block: int) -> Iterator[Statement]:
    """The one number that a command prints."""
    if command.startswith("getconf") and "_NPROCESSORS" not in command:
        yield from _page_size(number, line, block, "getconf")
    else:
        guess = "" if command.startswith("nproc") or "ONLN" in command else "with those that are offline"
        yield Statement(key="cpu_count", value=number, line=line.number, source="nproc", block=block, guess=guess)


def _folder(node: int, lines: Sequence[Line], block: int) -> Iterator[Statement]:
    """What a loop prints of a node below its folder's name: its list of CPUs, its row of distances, by their form."""
    for line in lines:
        if len(numbers(line.text)) > 1:
            yield from _content(f"node{node}/distance", line.text, line, block)
        elif _LIST.fullmatch(line.text):
            yield from _content(f"node{node}/cpulist", line.text, line, block)


def _empty(paths: Sequence[str], line: int, block: int) -> Iterator[Statement]:
    """A file that is shown and has nothing in it: a node without CPUs."""
    if len(paths) == 1:
        yield from _content(paths[0], "", Line(number=line, text=""), block)


def _paths(command: str) -> list[str]:
    """The files that a command shows; a command that is a path shows that file."""
    if command.startswith("/") or _NODE_FILE.fullmatch(command):
        return [command]
    match = _ARGUMENTS.fullmatch(command)
    paths: list[str] = []
    for word in ("" if match is None else match[1]).split("|")[0].split()[:64]:
        if "/" in word or word in ("online", "possible", "cmdline"):
            paths += _expanded(word.rstrip(":;"))
    return paths[:MAX_NODE]


def _expanded(word: str) -> list[str]:
    """A word of the shell with its first braces expanded: `node{0,1}/cpulist`, `node{0..3}/cpulist`."""
    before, opening, rest = word.partition("{")
    inside, closing, after = rest.partition("}")
    if not opening or not closing or len(inside) > 200:
        return [word]
    parts = inside.split(",")
    if span := _SPAN.fullmatch(inside):
        parts = [str(number) for number in range(int(span[1]), min(int(span[2]), MAX_NODE) + 1)]
    expanded: list[str] = []
    for part in parts:
        if "{" in after and len(parts) < 100:
            expanded += _expanded(before + part + after)
        else:
            expanded.append(before + part + after)
    return expanded


def _files(paths: Sequence[str], lines: Sequence[Line], block: int) -> Iterator[Statement]:
    """The content of several files below one command: a line for each; of one file the first line."""
    contents = [line for line in lines if line.text]
    for path, line in zip(paths, contents, strict=False):
        if len(paths) == 1 and lines[0].text != line.text and not path.endswith("cmdline"):
            return
        yield from _content(path, line.text, line, block)


def _globbed(
    made: node_globs.GlobbedFiles, section: Section, known: node_globs.NamedNodes, block: int
) -> Iterator[Statement]:
    """The files of all nodes that one command showed without their names."""
    where = made.files[0][1] if made.files else Line(number=section.line, text="")
    if made.note:
        yield _statement(NOTE, made.note, where, block, "sysfs")
    if made.damage:
        yield _statement(DAMAGE, made.damage, where, block, "sysfs")
    if made.files and made.files[0][0].endswith("/distance"):
        yield _statement("columns", known.numbers(len(made.files)), where, block, "sysfs")
    for path, line in made.files:
        yield from _content(path, line.text, line, block)


def _content(path: str, text: str, line: Line, block: int) -> Iterator[Statement]:
    """What the first line of a file states."""
    if match := _NODE_FILE.fullmatch(path):
        yield from _node_file(match, text, line, block)
    elif match := _NODE_LIST.fullmatch(path):
        yield from _listed("nodes " + (match[1] or match[2]), text, line, block)
    elif match := _CPU_FILE.fullmatch(path):
        yield from _listed(match[1], text, line, block)
    elif match := _POOL.search(path):
        if text.isdecimal() and len(text) < 10:
            yield _statement(f"hugepages {int(match[1]) * KIB}", int(text), line, block, "sysfs")
    elif match := _THP.fullmatch(path):
        name = "thp" if match[1] == "enabled" else "shmem_thp"
        yield from _chosen(name, text, line, block)
    elif path.endswith("/proc/cmdline") and text:
        yield from _command_line(text, line, block)


def _node_file(match: re.Match[str], text: str, line: Line, block: int) -> Iterator[Statement]:
    node, name = int(match[1]), match[2]
    if node >= MAX_NODE:
        return
    try:
        if name == "cpulist":
            yield _statement("cpus", parse_cpu_list(text), line, block, "sysfs", node)
        elif name == "cpumap":
            yield _statement("cpus", parse_mask(text), line, block, "sysfs", node)
        elif name == "distance":
            if not numbers(text):
                raise ValueError("no numbers")
            yield _statement("distance", numbers(text), line, block, "sysfs", node)
        elif text.isdecimal() and len(text) < 10:
            yield _statement(f"hugepages {int(match[3]) * KIB}", int(text), line, block, "sysfs", node)
    except ValueError as error:
        yield _statement(DAMAGE, f"node{node}/{name} is cut off or damaged: {error}", line, block, "sysfs")


def _listed(key: str, text: str, line: Line, block: int) -> Iterator[Statement]:
    try:
        yield _statement(key, parse_cpu_list(text), line, block, "sysfs")
    except ValueError:
        return


def _node_meminfo(match: re.Match[str], line: Line, block: int) -> Iterator[Statement]:
    node, number = int(match[1]), int(match[3] or match[5])
    if node >= MAX_NODE:
        return
    if match[2]:
        yield _statement("memory", number * KIB, line, block, "node meminfo", node)
    elif number:
        yield _statement("hugepages default", number, line, block, "node meminfo", node)


def _page_size(size: int, line: Line, block: int, source: str) -> Iterator[Statement]:
    if 4 * KIB <= size <= 256 * KIB and not size & (size - 1):
        yield _statement("page_size", size, line, block, source)


def _chosen(key: str, text: str, line: Line, block: int) -> Iterator[Statement]:
    if match := _CHOSEN.search(text):
        yield _statement(key, match[1], line, block, "sysfs")


def _uname(text: str, line: Line, block: int) -> Iterator[Statement]:
    """The architecture in the output of uname: a known name, or the only word."""
    words = text.split()
    for word in words:
        if MACHINE_NAMES.fullmatch(word):
            yield _statement("arch", word, line, block, "uname")
            return
    if len(words) == 1 and re.fullmatch(r"[A-Za-z][\w-]{1,20}", text) and text not in ("unknown", "Linux"):
        yield _statement("arch", text, line, block, "uname")


def _command_line(text: str, line: Line, block: int, guess: str = "") -> Iterator[Statement]:
    words = " ".join(word for word in text.split() if word.isprintable())
    source = "/proc/cmdline"
    yield Statement(key="cmdline", value=words, line=line.number, source=source, block=block, guess=guess)
