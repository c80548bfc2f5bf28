# SPDX-License-Identifier: GPL-2.0-or-later
"""/proc/cpuinfo of every architecture: its facts, how many processors it lists, and whose it must be."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lab.formats.machine.paste.pasted import Line
from lab.formats.machine.statements import ArchMarks, Statement, Value

SOURCE = "/proc/cpuinfo"
_COUNTED = re.compile(r"(\d{1,5})\s+(model name\s*:.*)")
"""`grep "model name" /proc/cpuinfo | uniq -c`."""
_FIELD = re.compile(r"([A-Za-z][\w #./()-]{0,40}?)\s*:\s*(.*)")
_FIRST = re.compile(r"processor\s*: 0")
"""Of another output, where the first one has been."""
_S390_PROCESSOR = re.compile(r"processor \d{1,4}")
_PROCESSOR = re.compile(r"processor|hart")
_OWN_KEYS = frozenset(
    (
        *("processor", "vendor_id", "cpu family", "model name", "flags", "siblings", "cpu cores", "Features"),
        *(
            "CPU implementer",
            "CPU architecture",
            "CPU part",
            "cpu",
            "clock",
            "revision",
            "timebase",
            "platform",
            "machine",
        ),
        *(
            "MMU",
            "mmu",
            "isa",
            "hart",
            "uarch",
            "cpu model",
            "system type",
            "features",
            "# processors",
            "family",
            "arch",
        ),
        *("address sizes", "type", "CPU Family", "Model Name", "Features", "Address Sizes", "BogoMIPS", "model", "CPU"),
    )
)
_FACTS = frozenset(("flags", "Features", "MMU", "mmu", "isa", "platform", "machine", "cpu", "features"))
_FLAGS = frozenset(("flags", "Features", "features"))
_FLAG_WORDS = re.compile(r"[a-z0-9_ .]+")
MAX_FLAGS = 16 << 10
"""Characters of flags over all lines."""
_MODELS = ("model name", "cpu model", "cpu", "Model Name", "uarch")
_COUNTS = ("# processors", "ncpus active", "cpus active")
"""Of s390, sparc and alpha, which have no entry for each processor."""
_NAME = re.compile(r"[A-Z]")
"""In the name of a processor; Kubernetes and Xen have `cpu: 63770m` and `cpu: core socket node`."""
_BITS = re.compile(r"\d{2} bits physical, (\d{2}) bits virtual")


def read(lines: Sequence[Line], marks: ArchMarks) -> list[Statement]:
    """Everything that the lines state in the words of /proc/cpuinfo."""
    reader = _CpuinfoReader(marks)
    found: list[Statement] = []
    for line in lines:
        if reader.processors and _FIRST.fullmatch(line.text):
            reader.end()
            found += reader.found
            reader = _CpuinfoReader(marks, reader.block + 1)
        reader.take(line)
    reader.end()
    return found + reader.found


class _CpuinfoReader:
    def __init__(self, marks: ArchMarks, block: int = 0) -> None:
        self.marks = marks
        self.block = block
        self.found: list[Statement] = []
        self.stated: set[str] = set()
        self.processors = 0
        self.highest = -1
        self.siblings = 0
        self.line = 0
        self.values: dict[str, str] = {}
        self.flags: tuple[str, str, int] | None = None
        """(key, value, line) of flags that may go on."""

    def take(self, line: Line) -> None:
        """Read one line."""
        counted = _COUNTED.fullmatch(line.text)
        if counted:
            self._add("processors", int(counted[1]), line.number)
        match = _FIELD.fullmatch(counted[2] if counted else line.text)
        if match is None:
            if self.flags and _FLAG_WORDS.fullmatch(line.text):
                key, value, number = self.flags
                self.flags = key, f"{value} {line.text}"[:MAX_FLAGS], number
            return
        self._end_flags()
        key, value = match[1], match[2].strip()
        if _PROCESSOR.fullmatch(key) and key == "processor" and value[:5].isdecimal():
            self.processors += 1
            self.highest = max(self.highest, int(value[:5]))
            self.line = self.line or line.number
        elif _S390_PROCESSOR.fullmatch(key):
            self.processors += 1
        if key in _COUNTS and value.isdecimal() and len(value) < 6:
            self._add("processors", int(value), line.number)
        if key in _OWN_KEYS and key not in self.values:
            self.values[key] = value
            if key in _FLAGS and value:
                self.flags = key, value, line.number
            else:
                self._field(key, value, line.number)

    def _end_flags(self) -> None:
        """State the flags, which a mailer may have wrapped over several lines."""
        if self.flags:
            key, value, number = self.flags
            self.flags = None
            self._field(key, value, number)

    def _field(self, key: str, value: str, line: int) -> None:
        if key in _FACTS and value:
            self._add(f"fact {key}", value, line)
        if key == "siblings" and value.isdecimal() and len(value) < 5:
            self.siblings = int(value)
        named = value and (key != "cpu" or _NAME.search(value))
        if key in _MODELS and named and "model" not in self.stated:
            self.stated.add("model")
            self._add("model", value, line)
        if key.lower() == "address sizes" and (bits := _BITS.search(value)):
            self._add("virtual_bits", int(bits[1]), line)
        guess = next((arch for name, mark, arch in self.marks.cpuinfo if name == key and mark.fullmatch(value)), "")
        if guess and "arch" not in self.stated:
            self.stated.add("arch")
            self._add("arch", guess, line, f"/proc/cpuinfo has `{key} : {value[:30].strip()}`")

    def end(self) -> None:
        """State how many processors were listed; the numbers show whether the list is shown in part."""
        self._end_flags()
        least = max(self.siblings, self.highest + 1)
        if self.processors >= max(1, least):
            self._add("processors", self.processors, self.line)
        elif least > 0:
            self._add("note", f"/proc/cpuinfo shows {self.processors} of at least {least} processors", self.line)
            self._add("processors", least, self.line, "the least that the processors' numbers and siblings allow")

    def _add(self, key: str, value: Value, line: int, guess: str = "") -> None:
        self.found.append(Statement(key=key, value=value, line=line, source=SOURCE, block=self.block, guess=guess))
