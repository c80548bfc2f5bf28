# SPDX-License-Identifier: GPL-2.0-or-later
"""What programs that keep, forward or quote a log put before each of its lines. Pure.

A prefix is a sequence of known parts: a date, the host and `kernel: ` of syslog and journald, the level of `dmesg -x`,
the head of netconsole, the name of a container, the number or the file of grep, the `> ` of a quoted mail, a time stamp
of the kernel. Behind a stamp the kernels of some vendors print the CPU or the task (MARKS), others may print anything
in brackets on nearly all lines. A log has the same sequence on nearly every line. It is learned from the log as a
whole, or from one line that is known to be behind a prefix, so that a program that prints `> BUG: ` once is not taken
for the kernel.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

MAX_PARTS = 6
MAX_PREFIX = 240
SAMPLE_LINES = 50
SAMPLES = 8
"""So many runs of SAMPLE_LINES lines are looked at, from the whole of a long text."""
FEWEST = 3
"""Lines that must have a prefix, and the part of all lines in percent."""
SHARE = 70

_TIME = r"\d{1,2}:\d\d:\d\d(?:[.,:]\d{1,9})?"
_WORD = r"[^\W\d_]{1,5}\.?"
_CLOCKS = (
    rf"(?:{_WORD} )?{_WORD} {{1,2}}\d{{1,2}} {_TIME}(?: \d{{4}})?",
    rf"(?:{_WORD} )?\d{{4}}-\d\d-\d\d[T ]{_TIME}(?:Z| ?[+-]\d\d:?\d\d| [A-Z]{{2,5}})?",
    rf"\d\d-\d\d {_TIME} {{1,6}}\d{{1,7}} {{1,6}}\d{{1,7}} [A-Z] .{{0,20}}?:",
    _TIME,
)
_NAME = r"[^\[\](){}<>]{1,30}"
"""Of a task, which may have blanks and colons."""
_MARKS = (
    r"\[\s*[TCP]\d{1,10}(?:@[TC]?\d{1,4})?\s*\]",  # CONFIG_PRINTK_CALLER
    rf"[A-Z]?\[\s*\d{{1,4}}\s*:\s*{_NAME}:\s*\d{{1,8}}\s*\]",  # CPU, task, process id
    rf"[-.~]?\(\d{{1,4}}\)\[\d{{1,8}}\s*:\s*{_NAME}\]",
    rf"\[pid:\d{{1,8}},cpu\d{{1,4}},{_NAME}\]",
    rf"\(CPU:\d{{1,4}}-pid:\d{{1,8}}:{_NAME}\)(?: \[{_TIME}\])?",
    rf"[cC]\d{{1,3}}(?= )(?: {{1,6}}\d{{1,8}}(?: \({_NAME}\))?(?= ))?",
    r"\[(?:CPU|cpu)[ :#]?\d{1,4}\]",
    r"\[(?:\d{1,3}|K)\]",
    r"\[\d{4}[:-]\d\d[:-]\d\d \d\d:\d\d:\d\d(?:\.\d{1,9})?\]",
    r"<\d{1,2}>",
)
MARKS = rf"(?: {{0,2}}(?:{'|'.join(_MARKS)})){{0,4}}"
"""What vendors' kernels put between a time stamp and a message: the CPU, the task, the time of day, the level."""
_CALLER = re.compile(
    r"(?:caller=|\[\s*)([TC]\d{1,10})\b"
    rf"|(?:\[\s*\d{{1,4}}\s*:\s*{_NAME}:\s*|\)\[|\bpid:|\bc\d{{1,3}} {{1,6}})(\d{{1,8}})\b",
    re.IGNORECASE,
)
STAMP_END = (
    r"(?:s|[@,|:/] ?[TC]?\d{1,4}| ?\(\d{1,4}\)|\s+<\s*\d{1,8}\.\d{3,9}>| / \d\d-\d\d \d\d:\d\d:\d\d\.\d{1,9})?\]-?"
)
"""Behind the digits of a time stamp: a unit, a CPU, a process id, the time since the last message, the time of day."""
_BARE_STAMP = (
    rf"\[\s*(?:\+?\d{{1,8}}\.\d{{1,9}}{STAMP_END}|<\s*\d{{1,8}}\.\d{{3,9}}>\]"
    r"|[A-Z][a-z]{2} ?\d{1,2} \d\d:\d\d\])"
)
_STAMP = _BARE_STAMP + MARKS
_PARTS = {
    "quote": r"(?:> ?){0,4}>",
    "file": r"[\w./@+-]{0,80}(?:\.(?:log|txt|out|con)|console|dmesg|kern|messages|syslog)[\w.-]{0,20}:",
    "number": r" {0,7}\d{1,7}(?:\t|[:-](?!\d))",
    "container": r"[\w.-]{1,60} {0,20}\|",
    "ietf": r"(?:<\d{1,3}>)?1(?= \d{4}-\d\d-\d\dT)",
    "level": r"<\d{1,3}>",
    "facility": r"kern {0,4}:[a-z]{1,6} {0,4}:",
    "clock": rf"(?:\[\s?(?:{'|'.join(_CLOCKS)})\]|(?:{'|'.join(_CLOCKS)}))(?=\s|$)",
    "unix": r"\d{9,10}\.\d{6}(?=\s)",
    "stream": r"(?:std(?:out|err) [FP]|\d\d[OE]\+?)(?=\s|$)",
    "host": r"(?:[\w.:-]{1,80} )?(?:kern\.[a-z]{1,7} )?kernel(?:\[\d{1,10}\]|(?: -){3})?(?::|(?<=-)(?=\s))",
    "program": r"[\w.:-]{1,80} [\w./-]{1,60}\[\d{1,10}\]:",
    "netconsole": (
        r"(?:[\w.-]{1,80}: )?(?:[\w.+-]{1,80}[,;])?\d{1,3},\d{1,12},\d{1,16},[-+c]"
        r"(?:,caller=[TC]\d{1,10})?(?:,[a-z]{1,10}=[^;]{1,60})*;"
    ),
    "stamp": _STAMP,
    "mark": (
        r"[-.~]?[A-Z]?(?!\[[0-9a-f]{8,16}\])(?:\[(?=[^\[\]]{0,39}\d)[^\[\]<>#]{1,40}\]"
        r"|[(<{](?=[^(){}<>\[\]]{0,39}\d)[^(){}<>\[\]]{1,40}[)>}])"
    ),
}
_SOME_CLOCK = "|".join(_CLOCKS)
EVIDENT = re.compile(
    rf"(?:(?:<\d{{1,3}}>)?1 )?(?:(?:{_SOME_CLOCK})|\d{{9,10}}\.\d{{6}}|{_BARE_STAMP}) "
    rf"{_PARTS['host']} |kernel: "
    rf"|(?:{_PARTS['facility']} )?\[(?:{_WORD} )?{_WORD} {{1,2}}\d{{1,2}} {_TIME} \d{{4}}\] "
    rf"|{_PARTS['facility']} (?:(?:{_SOME_CLOCK}) )?"
    rf"|{_PARTS['netconsole']}"
)
"""A prefix that one line shows to be one: no program of a guest prints such lines."""
_COMPILED = tuple((name, re.compile(pattern)) for name, pattern in _PARTS.items())
_BLANKS = re.compile(r"\t| {0,2}")
_STAMPED = re.compile(rf"(?P<before>.{{1,{MAX_PREFIX}}}?)\[\s*\d{{1,8}}\.\d{{6}}{STAMP_END}")
_STAMP_FIRST = re.compile(_BARE_STAMP)
_ANYTHING = re.compile(rf".{{1,{MAX_PREFIX}}}?(?=\[\s*\d{{1,8}}\.\d{{6}}{STAMP_END})")


@dataclass(frozen=True, slots=True, kw_only=True)
class _PrefixPart:
    """One part of a line's prefix."""

    name: str
    blanks: str
    """What follows it before the next part."""
    end: int


def before(line: str, starts: Callable[[str], object]) -> re.Pattern[str] | None:
    """Return a pattern of what stands before the text that `starts` accepts; None if nothing known does."""
    parts: list[_PrefixPart] = []
    for part in _parts(line):
        parts.append(part)
        if starts(line[part.end :].lstrip()):
            return _pattern(parts)
    stamped = _STAMPED.match(line)
    if not stamped:
        return None
    behind = before(line[stamped.end("before") :], starts)
    return behind and re.compile(_ANYTHING.pattern + behind.pattern)


def learned(text: str, is_title: Callable[[str], object]) -> re.Pattern[str] | None:
    """Return a pattern of what stands before nearly all lines of a kernel's log; None if nothing does.

    A time stamp of the kernel itself is left to the caller where it comes last. What `is_title` accepts is no prefix.
    """
    lines = [line for line in _sample(text) if line.strip()]
    if len(lines) < FEWEST:
        return None
    stamped = [match for line in lines if (match := _STAMPED.match(line))]
    if _most(len(stamped), len(lines)) and not any(is_title(match["before"]) for match in stamped):
        behind = _of_lines([match.string[match.end("before") :] for match in stamped])
        return re.compile(_ANYTHING.pattern + behind.pattern) if behind else _ANYTHING
    return _of_lines(lines) or _of_lines([line for line in lines if _STAMP_FIRST.match(line)])


def caller(prefix: str) -> str:
    """Return the task or the CPU that a prefix or a mark names as the kernel does, `T80` or `C1`; empty if none."""
    match = _CALLER.search(prefix)
    return (match[1] or f"T{match[2]}") if match else ""


def _of_lines(lines: Sequence[str]) -> re.Pattern[str] | None:
    """Return a pattern of the parts that nearly all lines begin with; None if they have none."""
    shapes = [tuple(_parts(line)) for line in lines]
    names = _common([tuple(part.name for part in shape) for shape in shapes])
    if "program" in names:
        return None
    while names and names[-1] == "stamp":
        names = names[:-1]
    if not names:
        return None
    alike = [shape for shape in shapes if tuple(part.name for part in shape[: len(names)]) == names]
    blanks = [_blanks([shape[at].blanks for shape in alike]) for at in range(len(names))]
    return _pattern([_PrefixPart(name=name, blanks=each, end=0) for name, each in zip(names, blanks, strict=True)])


def _blanks(found: Sequence[str]) -> str:
    """Return what stands behind a part of a prefix: no more than a good part of the lines has, as some are indented."""
    counts = Counter(found)
    return min((blanks for blanks, count in counts.items() if count * 8 >= len(found)), key=len)


def _sample(text: str) -> Iterator[str]:
    """Yield lines from the whole of a text: all of them if they are few."""
    if len(text) < SAMPLES * SAMPLE_LINES * MAX_PREFIX and text.count("\n") <= SAMPLES * SAMPLE_LINES:
        starts: Sequence[int] = (0,)
        count = SAMPLES * SAMPLE_LINES
    else:
        starts = [0, *(text.find("\n", len(text) * number // SAMPLES) + 1 for number in range(1, SAMPLES))]
        count = SAMPLE_LINES
    for start in starts:
        at = start
        for _ in range(count):
            end = text.find("\n", at)
            yield text[at : min(end if end >= 0 else len(text), at + MAX_PREFIX)].rstrip("\r")
            if end < 0:
                break
            at = end + 1


def _parts(line: str) -> Iterator[_PrefixPart]:
    """Yield the parts that a line begins with."""
    at = 0
    for _ in range(MAX_PARTS):
        for name, pattern in _COMPILED:
            if match := pattern.match(line, at, MAX_PREFIX):
                blanks = _BLANKS.match(line, match.end())
                at = blanks.end() if blanks else match.end()
                yield _PrefixPart(name=name, blanks=line[match.end() : at], end=at)
                break
        else:
            return


def _common(shapes: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the longest sequence of parts that nearly all lines begin with."""
    found: tuple[str, ...] = ()
    counts = Counter(shape[:length] for shape in shapes for length in range(1, len(shape) + 1))
    for names, count in counts.items():
        if _most(count, len(shapes)) and len(names) > len(found):
            found = names
    return found


def _most(count: int, total: int) -> bool:
    return count >= FEWEST and count * 100 >= total * SHARE


def _pattern(parts: Sequence[_PrefixPart]) -> re.Pattern[str]:
    """Compile a sequence of parts; the blanks behind one may be missing at the end of a line."""
    text = ""
    for part in parts:
        text += f"(?:{_PARTS[part.name]})"
        text += f"(?:{re.escape(part.blanks)}|\\s*$)" if part.blanks else ""
    return re.compile(text)
