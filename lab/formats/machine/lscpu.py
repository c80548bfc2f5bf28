# SPDX-License-Identifier: GPL-2.0-or-later
"""What lscpu prints: its fields in any language and layout, `-J`, `-e`, `-p`, and what `grep NUMA` leaves of them.

Translations are many and half finished, so that a field is recognized by its value where that is possible: a name of
`uname -m` is the architecture, `Little Endian` the byte order, a list of CPUs beside "NUMA" and a number a node.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from lab.formats.machine.cpu_list import MAX_CPU, parse_cpu_list, parse_mask
from lab.formats.machine.paste.pasted import Line
from lab.formats.machine.statements import (
    DAMAGE,
    MAX_NODE,
    MAX_NUMBERS,
    MAX_STATEMENTS,
    NOTE,
    Statement,
    amount,
    is_ellipsis,
)

SOURCE = "lscpu"
MACHINE_NAMES = re.compile(
    r"x86[_-]64|amd64|i[3-6]86|aarch64(?:_be)?|arm64|armv[4-8]\w{0,6}|ppc(?:64)?(?:le|el)?|powerpc(?:64)?(?:le)?|s390x?|riscv(?:32|64)"
    r"|loongarch(?:32|64)|ia64|mips(?:el|64|64el)?|(?:ppc|mips)(?:64)?-le|alpha|sparc(?:64)?|m68k|parisc(?:64)?|sh4\w?|arc|csky|hexagon|xtensa|nios2"
)
"""What `uname -m` can print, and how distributions spell it."""
_BOTH_NAMES = re.compile(rf"(?:{MACHINE_NAMES.pattern}) \(({MACHINE_NAMES.pattern})\)")
"""Of dpkg and of the kernel, as Debian's reportbug prints them."""
_OTHER_ARCH = re.compile(r"foreign|user.?space|guest|target|client|compat|image|emulat|personality|package|build", re.I)
"""In keys whose value is not the machine's own architecture."""
_FIELD = re.compile(r"([^:]{1,80}?)\s*:\s*(.*)")
_OF_NODE = re.compile(r"node ?\d|node ")
"""Keys of numactl and perf."""
_NUMBER = re.compile(r"\d{1,4}")
_NUMBER_BEFORE = re.compile(r"\d{1,4}(?= ?NUMA)")
_LIST = re.compile(r"\d[\d\s,:()-]*")
_SOME_LIST = re.compile(r"\d{1,5}(?:-\d{1,5}(?::\d+)?)?(?:,\s?\d{1,5}(?:-\d{1,5}(?::\d+)?)?)*")
_NUMA = re.compile(r"[^|\"'$`]{0,40}NUMA[^|\"'$`]{0,40}")
_PLURAL = re.compile(r"CPU(?:'er|'s|\('s\))")
"""Of Danish and Dutch, whose apostrophe is no quotation mark."""
_CPU_COUNT = re.compile(
    r"CPUs?|CPU[-:'(]\w{1,4}\)?|CPU 数|Processeur\(s\)|Processors?|Processor\(s\)|CPU's|ЦПУ?|Процессор\w*"
    r"|Процесор\w*|プロセッサー?(?: 数)?|처리기|[İi]şlemci\(ler\)|Suorittim\w+"
)
_CPU_WORDS = (
    "CPU",
    "processeur",
    "processor",
    "procesor",
    "ЦП",
    "Процес",
    "プロセッサ",
    "处理器",
    "處理器",
    "처리기",
    "işlemci",
    "suorit",
)
_CPU_WORD = re.compile("|".join(_CPU_WORDS), re.IGNORECASE)
_OFFLINE_WORDS = (
    *("off-?line", "hors ligne", "hors-ligne", "отключ", "выключ", "автоном", "离线", "離線", "オフライン", "apag"),
    *("desconect", "inaktiv", "nieaktyw", "vypnut"),
)
_OFFLINE = re.compile("|".join(_OFFLINE_WORDS), re.IGNORECASE)
_THREAD_WORDS = (
    "thread",
    "hilo",
    "поток",
    "线程",
    "執行緒",
    "スレッド",
    "wątk",
    "vláken",
    "потік",
    "suoritus",
    "işparç",
    "iş parç",
    *("خيوط", "tråd", "hari kopurua", "dretv", "스레드", "draden", "tópicos por", "fire de execu", "нит[иі]", "tuyến"),
    *("vlákn", "szál", "niti na", "fils? per", "f[íi]os? por"),
)
_THREADS = re.compile("|".join(_THREAD_WORDS), re.IGNORECASE)
_ALLOWED = re.compile(r"allowed|affinity|isolated|nohz|pinned", re.IGNORECASE)
"""In the keys of lists of CPUs that are not all that are online."""
_THREAD_COUNT = re.compile(r".*threads? (?:count|enabled)", re.IGNORECASE)
"""What dmidecode calls the threads of a whole processor."""
_MODEL_WORDS = (
    *("Model name", "Modellname", "Nom de mod.le", "Имя модели", "Название модели", "Назва моделі", "型号名称"),
    *("型號名稱", "型号名", "Nombre (?:del|de) modelo", "モデル名", "Nome do modelo", "Nazwa modelu", "Název modelu"),
    *("Modelnaam", "Modellnamn", "Mallin nimi", "모델명", "Nome modello", "Model adı", "Modelnavn", "Mallinimi"),
    *("Ime modela", "모델 이름", "Numele modelului", "Назив модела", "Modem ismi", "Tên mô hình", "اسم الطراز"),
    *(".{1,3}ოდელის სახელი", "Nom del model", "Típusnév", "Názov modelu"),
)
_MODEL = re.compile("|".join(_MODEL_WORDS), re.IGNORECASE)
_BYTE_ORDER = re.compile(r"(little|big)[ -]endian\b.*", re.IGNORECASE)
_BIT = r"(\d{2}) ?(?:bits?|бит\w{0,4}|біт\w{0,4}|ビット|位)\b\D{0,40}"
_BITS = re.compile(f"{_BIT}, ?{_BIT}", re.IGNORECASE)
_MMU = re.compile(r"sv(?:32|39|48|57)|radix|hash", re.IGNORECASE)
_FLAGS = re.compile(r"(?:fpu vme|fp asimd|half thumb|esan3|cpucfg |altivec|swp half)[\w\s.-]*")
_FLAG_WORDS = re.compile(r"[a-z0-9_ .]+")
_PAIR = re.compile(r'"field"\s*:\s*"([^"\\]{1,100})"\s*,\s*"data"\s*:\s*(?:"((?:[^"\\]|\\.)*)"|null)')
_CPU_OBJECT = re.compile(r'\{[^{}"]*"cpu"[^{}]*\}')
_MEMBER = re.compile(r'"(\w+)"\s*:\s*"?([^",}\s]*)')
_TABLE_HEAD = re.compile(r"CPU(?:\s+[A-Z][A-Za-z0-9:()-]*){1,20}")
_PARSABLE_HEAD = re.compile(r"#?\s*CPU(?:,[\w-]*){1,20}", re.IGNORECASE)
_PARSABLE_ROW = re.compile(r"\d{1,5}(?:,[\w:-]*)+")
MAX_WIDTH = 72
"""Characters from which on a line may have been wrapped by a terminal, within a number too."""
MAX_FLAGS = 16 << 10
"""Characters of the flags, over all lines that they are wrapped to."""
_NO = ("no", "n", "нет", "nein", "non", "nie", "ne", "否", "いいえ", "não", "não")


def read(lines: Sequence[Line]) -> list[Statement]:
    """Everything that the lines state in the words of lscpu, but for its tables."""
    reader = _Fields()
    for line in lines:
        reader.take(line)
    return reader.found


class _Fields:
    """The state between the fields of lscpu."""

    def __init__(self, source: str = SOURCE) -> None:
        self.found: list[Statement] = []
        self.source = source
        self.block = 0
        self.stated: set[str] = set()
        self.node, self.value, self.line = -1, "", 0
        self.width = self.before = 0
        self.flags = False
        self.room = MAX_NUMBERS

    def take(self, line: Line) -> None:
        """Read one line: a field, or the rest of one that is wrapped."""
        if self.room < 0 or len(self.found) > MAX_STATEMENTS:
            return
        match = _FIELD.fullmatch(line.text)
        if match and "/" not in match[1] and not _OF_NODE.match(match[1]):
            self.node, self.flags = -1, False
            value = match[2].removesuffix('",').strip(' "')
            self.width = len(line.text)
            self.field(_PLURAL.sub("CPUs", match[1].strip(' "')), value, line.number)
        elif line.text:
            self._continue(line)

    def _add(self, key: str, value: str | int | tuple[int, ...], line: int, node: int | None = None) -> None:
        self.room -= amount(value)
        name = f"{key} {node}"
        if key in ("arch", "cpu_count", "node_count", "byteorder", "cpus"):
            if name in self.stated:
                self.block += 1
                self.stated = set()
            self.stated.add(name)
        self.found.append(Statement(key=key, value=value, line=line, source=self.source, node=node, block=self.block))

    def field(self, key: str, value: str, line: int) -> None:
        """Read a field by its key where it must be, by its value where it can be."""
        if _NUMA.fullmatch(key):
            self._numa(key, value, line)
        elif arch := _own_arch(key, value):
            self._add("arch", arch, line)
        elif match := _BYTE_ORDER.fullmatch(value):
            self._add("byteorder", match[1].lower(), line)
        elif match := _BITS.fullmatch(value):
            self._add("virtual_bits", int(match[2]), line)
        elif _CPU_COUNT.fullmatch(key) and value.isdecimal() and len(value) < 6 and 0 < int(value) <= MAX_CPU:
            self._add("cpu_count", int(value), line)
        elif _THREADS.search(key) and not _THREAD_COUNT.match(key) and value.isdecimal() and len(value) == 1:
            self._add("threads", int(value), line)
        elif _MODEL.fullmatch(key) and value not in ("", "-"):
            self._add("model", value, line)
        elif key == "MMU" and _MMU.fullmatch(value):
            self._add("fact MMU", value, line)
            self._add("fact mmu", value, line)
        else:
            self._list_or_flags(key, value, line)

    def _list_or_flags(self, key: str, value: str, line: int) -> None:
        if _FLAGS.match(value) and not key.islower():
            self.flags = True
            self._add("fact flags", value, line)
        elif _ALLOWED.search(key):
            return
        elif _CPU_WORD.search(key) and _SOME_LIST.fullmatch(value) and ("-" in value or "," in value):
            try:
                cpus = parse_cpu_list(value)
            except ValueError:
                return
            name = "offline" if _OFFLINE.search(key) else "online"
            self._add(name, cpus, line)
        elif _OFFLINE.search(key) and value.isdecimal() and _CPU_WORD.search(key) and len(value) < 5:
            self._add("offline", (int(value),), line)

    def _numa(self, key: str, value: str, line: int) -> None:
        number = _NUMBER.search(key[key.upper().index("NUMA") :]) or _NUMBER_BEFORE.search(key)
        if number is None:
            if value.isdecimal() and len(value) < 5:
                self._add("node_count", int(value), line)
            return
        node = int(number[0])
        of_cpus = _CPU_WORD.search(key) or (_SOME_LIST.fullmatch(value) and not value.isdecimal())
        if node >= MAX_NODE or not of_cpus or (value not in ("", "-") and not _LIST.match(value)):
            return
        self._cpus(node, value, line)

    def _cpus(self, node: int, value: str, line: int) -> None:
        """State the CPUs of a node; the next line may have more of them."""
        self.node, self.value, self.line = node, value, line
        self.before = len(self.found)
        try:
            cpus = parse_mask(value) if value.startswith("0x") else parse_cpu_list(value.rstrip(",-"))
        except ValueError as error:
            self._add(DAMAGE, f"the CPUs of node {node} are damaged or cut off: {error}", line)
            return
        self._add("cpus", cpus, line, node)
        if value[-1:] in (",", "-") and len(value) > 1:
            self._add(DAMAGE, f"the CPUs of node {node} are cut off", line)

    def _continue(self, line: Line) -> None:
        if self.flags and _FLAG_WORDS.fullmatch(line.text):
            last = self.found.pop()
            self._add(last.key, f"{last.value} {line.text}"[:MAX_FLAGS], last.line)
        elif self.node >= 0 and self._is_rest(line.text) and len(self.value) < MAX_FLAGS:
            del self.found[self.before :]
            self.stated.discard(f"cpus {self.node}")
            self._cpus(self.node, self.value + line.text, self.line)
            self._add(NOTE, f"the CPUs of node {self.node} are wrapped: joined", self.line)
            self.width = len(line.text)
        else:
            self.node, self.flags = -1, False

    def _is_rest(self, text: str) -> bool:
        """Whether a line goes on with a list of CPUs: a list of its own, or any number behind a full line."""
        if not _SOME_LIST.fullmatch(text.strip(",-")):
            return False
        open_end = self.value[-1:] in (",", "-") or self.width >= MAX_WIDTH
        return open_end or "," in text or "-" in text


def _own_arch(key: str, value: str) -> str:
    """The machine's own architecture, if a field has it; empty if not."""
    if match := _BOTH_NAMES.fullmatch(value):
        return match[1]
    return value if MACHINE_NAMES.fullmatch(value) and not _OTHER_ARCH.search(key) else ""


def read_json(lines: Sequence[Line]) -> Iterator[Statement]:
    """`lscpu -J` and `lscpu -Je`, also on one line or cut off."""
    text = "\n".join(line.text for line in lines)
    if "'field'" in text:  # as Python prints it
        text = text.replace("'", '"')
    starts = [text.find('"lscpu"'), text.find('"cpus"')]
    if max(starts) < 0:
        return
    offsets = _Offsets(lines)
    fields = _Fields("lscpu -J")
    for pair in _PAIR.finditer(text):
        if len(fields.found) > MAX_STATEMENTS or fields.room < 0:
            break
        fields.field(pair[1].rstrip(": "), (pair[2] or "").strip(), offsets.line(pair.start()))
    yield from fields.found
    yield from _cpu_objects(text, offsets)
    start = min(place for place in starts if place >= 0)
    begin = text.rfind("{", 0, start)
    if begin < 0:
        return
    try:
        json.JSONDecoder(strict=False).raw_decode(text, begin)  # a mailer wraps within strings too
    except (ValueError, RecursionError):
        message = "lscpu -J is cut off or damaged: it is no whole JSON document"
        yield Statement(key=DAMAGE, value=message, line=offsets.line(begin), source="lscpu -J")


class _Offsets:
    """The numbers of lines by places in their joined text, asked for in ascending order."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self.lines = lines
        self.index, self.start = 0, 0

    def line(self, offset: int) -> int:
        """The number of the line that a place is on."""
        if offset < self.start:
            self.index, self.start = 0, 0
        while self.index < len(self.lines) - 1 and offset > self.start + len(self.lines[self.index].text):
            self.start += len(self.lines[self.index].text) + 1
            self.index += 1
        return self.lines[self.index].number


def _cpu_objects(text: str, offsets: _Offsets) -> Iterator[Statement]:
    nodes: dict[int, list[int]] = {}
    first = 0
    for match in _CPU_OBJECT.finditer(text):
        members = dict(_MEMBER.findall(match[0]))
        node, cpu = members.get("node", ""), members.get("cpu", "")
        if not (node.isdecimal() and cpu.isdecimal()) or len(node) > 4 or len(cpu) > 5:
            continue
        first = first or offsets.line(match.start())
        nodes.setdefault(int(node), []).append(int(cpu))
    yield from _by_node(nodes, first, "lscpu -Je")


def _by_node(nodes: dict[int, list[int]], line: int, source: str, block: int = 0) -> Iterator[Statement]:
    for node, cpus in sorted(nodes.items()):
        members = tuple(sorted(set(cpus)))
        yield Statement(key="cpus", value=members, line=line, source=source, node=node, block=block)


def read_tables(lines: Sequence[Line]) -> Iterator[Statement]:
    """`lscpu -e` and `lscpu -p`: a row for each CPU, below a line that names the columns."""
    table: _CpuTable | None = None
    for block, line in enumerate(lines):
        if head := _head(line, block):
            if table:
                yield from table.statements()
            table = head
        elif table and not table.take(line):
            yield from table.statements()
            table = None
    if table:
        yield from table.statements()


def _head(line: Line, block: int) -> _CpuTable | None:
    """The table that begins with this line; None if the line names no columns."""
    if _PARSABLE_HEAD.fullmatch(line.text):
        names, source, separator = line.text.strip("# ").upper().split(","), "lscpu -p", ","
    elif _TABLE_HEAD.fullmatch(line.text):
        names, source, separator = line.text.upper().split(), "lscpu -e", ""
    else:
        return None
    return _CpuTable(names=names, source=source, separator=separator, line=line.number, block=block)


class _CpuTable:
    """The rows of `lscpu -e` or `-p`."""

    def __init__(self, *, names: list[str], source: str, separator: str, line: int, block: int) -> None:
        self.names, self.source, self.separator = names, source, separator
        self.line, self.block = line, block
        self.nodes: dict[int, list[int]] = {}
        self.online: list[int] = []
        """In a table without a column of nodes."""
        self.offline: list[int] = []
        self.cut = 0

    def take(self, line: Line) -> bool:
        """Read one row; False if the line is none."""
        if is_ellipsis(line.text):
            self.cut = line.number
            return True
        cells = line.text.split(self.separator or None)
        if len(cells) < 2 or not cells[0].isdecimal() or len(cells[0]) > 5:
            return False
        row = dict(zip(self.names, cells, strict=False))
        node = row.get("NODE", "")
        if row.get("ONLINE", "").lower() in _NO or node == "-":
            self.offline.append(int(cells[0]))
        elif node.isdecimal() and len(node) < 5:
            self.nodes.setdefault(int(node), []).append(int(cells[0]))
        elif "NODE" not in self.names:
            self.online.append(int(cells[0]))
        return True

    def statements(self) -> Iterator[Statement]:
        """What the table states."""
        yield from _by_node(self.nodes, self.line, self.source, self.block)
        for key, cpus in (("online", self.online), ("offline", self.offline)):
            if cpus:
                value = tuple(sorted(set(cpus)))
                yield Statement(key=key, value=value, line=self.line, source=self.source, block=self.block)
        if self.cut:
            message = f"rows of {self.source} are left out"
            yield Statement(key=DAMAGE, value=message, line=self.cut, source=self.source, block=self.block)
