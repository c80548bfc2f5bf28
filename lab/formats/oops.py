# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds the kernel's reports on a console: a pure, bounded scan for panics, oopses, warnings and their kin.

A report is its title (see complaints.py) and the messages that follow, up to the kernel's own end marker, the next
report, or MAX_LINES. Reports of two CPUs may come line by line. Where messages name their caller (CONFIG_PRINTK_CALLER:
`[    T80]`, `[    C1]`) each goes to the report of its caller; where they do not, a report that has no stack yet stays
open beside the next one, and the parts that every report has once (`CPU:`, `RIP:`, `Call Trace:`) tell the two apart.

A report may have a title that is lost or that nobody knows. It is found, as a WARNING, by what surrounds it: the line
`cut here` before it, the line `end trace` behind it, the frames of dump_stack() in it, or the registers of a CPU in a
function of the kernel with a stack.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

from lab.core.untrusted import one_line, printable
from lab.formats import call_trace, complaints, log_prefix
from lab.formats.complaints import Kind

__all__ = ["CASE_MARK", "MAX_FINDINGS", "MAX_LINE", "MAX_LINES", "Finding", "Kind", "message", "scan", "tail"]

Value = TypeVar("Value")

CASE_MARK = "pagelab: run "
"""What guest_tests/lab_mark.h prints before the name of a case that begins."""
MAX_FINDINGS = 40
MAX_LINES = 60
MAX_LINE = 240
SCAN_LINE = 1024
"""Only so many characters of a line are read."""
MAX_OPEN = 2
"""Reports that may be open at a time where messages do not name their caller."""
MAX_CALLERS = 16
"""The same where they do."""
_FRESH_LINES = 20
"""Within so many lines of its title a report is expected to have come to its stack, and to its further titles."""
_SLUB_LINES = 600
"""SLUB dumps the object, up to a page, between its title and the WARN that follows it."""
_MAX_DUMP = 12
"""Lines of such a dump that an excerpt keeps."""
_WHOLE_TASK = re.compile(r" (?:is )?blocked| can't die")
_MAX_NAME_LINES = 3
"""Lines that a task's name may spread over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One report: its text without time stamps, its title's line (from 1), and how often that title came."""

    kind: Kind
    title: str
    line: int
    lines: tuple[str, ...] = ()
    count: int = 1

    def __str__(self) -> str:
        text = self.title
        if self.kind is not Kind.KASAN and self.kind.lower() not in text.lower():  # their titles name the sanitizer
            text = f"{self.kind}: {text}"
        if self.count > 1:
            text += f" ({self.count} times)"
        return text

    @property
    def stack(self) -> tuple[str, ...]:
        """The functions of its own stack, innermost first, without those that only print the report."""
        return call_trace.functions(self.lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What the kernel printed at once: the line it is on, its caller (`T80`, `C1`; empty if not named), its text."""

    line: int
    caller: str
    text: str
    torn: bool = False
    """Whether a time stamp follows it on its line: a program's or a forwarder's words."""
    stamped: bool = False
    """Whether a time stamp, or what a log puts before the kernel's lines, is before it."""


def scan(console: str, *, boots: int = 0) -> tuple[Finding, ...]:
    """Return the reports on a console, worst kind first. `boots`: kernel banners that are due (0 in a run's slice)."""
    if not _may_hold_report(console):
        return ()
    scanner = _Scanner(boots)
    prefix = log_prefix.learned(console, complaints.classify)
    for number, line in _lines(console):
        for message in _messages(number, line, prefix):
            scanner.read(message)
    return scanner.findings()


_WITHOUT_TITLE = ("cut here", "[ end ", "dump_stack", "CPU: ", "invoked oom-killer")
"""Of these, one is in all that tells of a report whose title is lost or unknown."""


def _may_hold_report(console: str) -> bool:
    """Whether a report may be found. False is certain, for a fraction of the time of a scan: as most runs have none.

    A message is a part of the console unless colours are taken out of it.
    """
    if "\x1b" in console or complaints.may_be_title(console):
        return True
    return any(map(console.__contains__, _WITHOUT_TITLE))


_DROPPED = re.compile(r"^\*\* (\d{1,20}) printk messages dropped \*\*", re.MULTILINE)


def dropped(console: str) -> int:
    """Return how many messages the kernel overwrote before the console had printed them, by its own count."""
    return sum(map(int, _DROPPED.findall(console)))


def tail(console: str, lines: int = 12) -> tuple[str, ...]:
    """Return the last lines that are not blank, without time stamps: what to show when nothing was found."""
    end = console[-lines * SCAN_LINE :]
    prefix = log_prefix.learned(end, complaints.classify)
    last = [message(line, prefix) for line in end.split("\n")]
    return tuple(_shown(line) for line in last if line.strip())[-lines:]


def states(console: str, lines: int = 12) -> tuple[str, ...]:
    """Return what the kernel printed when it was last asked for its blocked tasks and its CPUs (sysrq `w`, `l`).

    Of each of the two, the first lines: a running CPU's trace may be longer than what an excerpt keeps.
    """
    first = console.rfind("sysrq: Show Blocked State")
    if first < 0:
        return ()
    shown = [message(line) for line in console[first : first + 100 * SCAN_LINE].split("\n")]
    shown = [_shown(text) for text in shown if text.strip()]
    second = next((number for number, text in enumerate(shown) if "sysrq: Show backtrace" in text), len(shown))
    return (*shown[:second][:lines], *shown[second:][:lines])


def message(line: str, prefix: re.Pattern[str] | None = None) -> str:
    """Return the last message on a line, without its time stamp and without what a program left before it."""
    *_, last = _messages(0, line[:SCAN_LINE], prefix)
    return last.text


_STAMP = re.compile(rf"\[\s*\+?\d{{1,8}}\.\d{{6}}{log_prefix.STAMP_END}({log_prefix.MARKS}) ?")
_FIRST_STAMP = re.compile(
    rf"{_STAMP.pattern}"
    rf"|(?:\[(?:<\s*\d{{1,8}}\.\d{{6}}>|[A-Z][a-z]{{2}} ?\d{{1,2}} \d\d:\d\d)\]"
    rf"|\[?\s*\d{{0,8}}\.\d{{1,6}}{log_prefix.STAMP_END})({log_prefix.MARKS}) ?"
)
"""The same at the start of a line: `dmesg -d` and `-e` have some more, and serial ports lose characters of one."""
_COLOURS = re.compile(r"\x1b\[[0-9;]{0,12}[mK]")
_NOISE = re.compile(r"(?:\x1b\[[0-9;?]{0,12}[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f\ufffd]|<\d{1,3}>(?=\S))+")
"""What may stand before a message: control characters, bytes that are no text, and `console_msg_format=syslog`."""


def _messages(number: int, line: str, prefix: re.Pattern[str] | None = None) -> Iterator[Message]:
    """Yield the messages on a line: one per time stamp, and what stands before the first, without the log's prefix."""
    if "\x1b" in line:
        line = _COLOURS.sub("", line)
    caller, start, stamped = "", 0, False
    if prefix and (found := prefix.match(line)):
        caller = log_prefix.caller(found[0])
        line = line[found.end() :]
    if noise := _NOISE.match(line):
        line = line[noise.end() :]
    stamp = _FIRST_STAMP.match(line)
    hinted = "kern" in line or (stamp is None and (line[:1] == "[" or ";" in line))
    if hinted and (evident := log_prefix.EVIDENT.match(line)):
        caller, line = log_prefix.caller(evident[0]) or caller, line[evident.end() :]
        stamp, stamped = _FIRST_STAMP.match(line), True
    if stamp:
        caller, start, stamped = log_prefix.caller(stamp[1] or stamp[2] or "") or caller, stamp.end(), True
    for stamp in _STAMP.finditer(line, start):
        if stamp.start() > start:
            yield Message(line=number, caller=caller, text=line[start : stamp.start()], torn=True, stamped=stamped)
        caller, start, stamped = log_prefix.caller(stamp[1]), stamp.end(), True
    yield Message(line=number, caller=caller, text=line[start:], stamped=stamped)


def _shown(text: str) -> str:
    """Return a line as an excerpt has it: printable, its indentation kept, not too long."""
    return printable(text[: MAX_LINE * 2]).rstrip()[:MAX_LINE]


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines and their numbers from 1; a long one in parts, each the beginning of what a time stamp opens."""
    start = number = 0
    while start < len(text):
        end = text.find("\n", start)
        if end < 0:
            end = len(text)
        number += 1
        if end - start > SCAN_LINE:
            for stamp in _STAMP.finditer(text, start, end):
                yield number, text[start : min(stamp.start(), start + SCAN_LINE)]
                start = stamp.start()
        yield number, text[start : min(end, start + SCAN_LINE)].rstrip("\r")
        start = end + 1


# The parts that a report has once, in any order, on all architectures.
_PART = re.compile(
    r"\s*(?P<cpu>CPU: \d)|(?P<pc>\s*(?:RIP|EIP): |pc : |PC is at |epc *: |NIP |TPC: |Krnl PSW )"
    r"|(?P<modules>Modules linked)"
    r"|(?P<trace>\s*(?:Call )?[Tt]race:)|(?P<tail>\s*</TASK>)"
)
_TITLE_CPU = re.compile(r"(?:.{0,60}\bCPU(?:: |#| ))(\d{1,5})\b")
_HEADER_CPU = re.compile(r"\s*CPU: (\d{1,5})\b")
_PART_BEFORE = {"pc": "cpu", "trace": "cpu", "tail": "trace"}
_TRACED = frozenset({"trace", "tail"})
_NO_STACK = re.compile(r"BUG: workqueue lockup")
_DUMP = re.compile(r"(?:Object|Redzone|Padding|Bytes b4) +(?:0x)?[0-9a-f]{8,16}: ")


@dataclass(slots=True, kw_only=True)
class _Open:
    """A report that is being read."""

    kind: Kind
    title: str
    line: int
    caller: str
    lines: list[str] = field(default_factory=list)
    died: bool = False
    """The message of die() has come, which every oops has once."""
    parts: set[str] = field(default_factory=set)
    dumped: int = 0
    suspected: bool = False
    """Only its stack tells that it is a report: its title may be a line of something else."""

    @property
    def cpu(self) -> str | None:
        """The number of the CPU that the title names; None if it names none."""
        match = _TITLE_CPU.match(self.title)
        return match and match[1]

    @property
    def of_slub(self) -> bool:
        """Whether SLUB printed it: it dumps an object, and since 6.12 ends with a WARN of its own."""
        return self.title.startswith("BUG ")

    def near(self, message: Message, lines: int = _FRESH_LINES) -> bool:
        return message.line - self.line <= lines

    def add(self, text: str) -> bool:
        """Keep a message, but of an object's dump only the first lines; False if the report is full."""
        if self.of_slub and _DUMP.match(text):
            self.dumped += 1
            if self.dumped > _MAX_DUMP:
                return True
        self.lines.append(_shown(text))
        return len(self.lines) < MAX_LINES


class _Scanner:
    """The state between messages: the reports that are open, oldest first."""

    def __init__(self, boots: int) -> None:
        self.boots_left = boots
        self.stamped = False
        """Whether the kernel puts time stamps before its messages."""
        self.open: list[_Open] = []
        self.latest: deque[_Open | None] = deque([None] * 3, maxlen=3)
        """The reports that took the last messages, the newest first."""
        self.found: dict[tuple[Kind, str], Finding] = {}
        self.preludes: dict[str, _Prelude] = {}
        self.before: dict[str, Message] = {}
        """The last message of each caller that belongs to no report."""
        self.untitled: dict[str, _Open] = {}
        """What looks like a report and has no title, by caller."""
        self.filled: dict[str, int] = {}
        """The line of each caller on which a report was full: what follows may be more of it."""
        self.unfinished: Message | None = None
        """The start of a title with a task's name that has a newline in it."""
        self.oom_contained = False

    def read(self, message: Message) -> None:
        """Take one message. A line that marks the beginning of a case is part of no report."""
        if message.text.startswith(CASE_MARK):
            return
        self.stamped = self.stamped or message.stamped
        whole = self._finished(message)
        if whole is None:
            return
        if kind := self._kind(whole):
            self.untitled.pop(whole.caller, None)
            self._keep(self._continued(kind, whole) or self._open(kind, whole), whole)
        else:
            self._keep(self._owner(whole) or self._without_title(whole), whole)

    def findings(self) -> tuple[Finding, ...]:
        """Return what was found, worst kind first; the reports that are still open end here."""
        for caller, prelude in self.preludes.items():
            if prelude.cut:
                self.open.append(prelude.report(caller, prelude.cut))
        for report in tuple(self.open):
            self._close(report)
        if not self.found:
            return ()
        return tuple(sorted(self.found.values(), key=lambda finding: (_SEVERITY[finding.kind], finding.line)))

    def _finished(self, message: Message) -> Message | None:
        """Return the message, joined to the start of its title if that is on a line before; None if there is more."""
        start, self.unfinished = self.unfinished, None
        if start and message.line - start.line <= _MAX_NAME_LINES and message.caller == start.caller:
            message = replace(start, text=f"{start.text} {message.text}"[:SCAN_LINE])
        cut = message.text.startswith("INFO: task ") and not _WHOLE_TASK.search(message.text)
        if cut and (start is None or message.line == start.line):
            self.unfinished = message
            return None
        return message

    def _kind(self, message: Message) -> Kind | None:
        """Return the kind of report that a message is a title of; None if it is none."""
        text = message.text.removeprefix(" ")
        if cut := _CUT_HERE.match(text):
            self._expect(message, 4)  # a WARN's own text stands between this line and its title
            if cut["report"]:
                self.preludes[message.caller].cut = message
            return None
        if _OOM_START.match(text):
            self.oom_contained = False
            self._expect(message, MAX_LINES // 2)
            return None
        if _CONTAINED.match(text):
            self.oom_contained = True
        kind = complaints.classify(text)
        if message.stamped and not kind and complaints.names_a_bug(text):
            kind = Kind.BUG
        if kind is Kind.REBOOT and text.startswith("Linux version") and self.stamped and not message.stamped:
            return None  # /proc/version, which a program shows
        if kind is Kind.REBOOT and text.startswith(("Linux version", "SeaBIOS")) and self.boots_left:
            self.boots_left -= text.startswith("Linux version")
            return None
        prelude = self.preludes.get(message.caller)
        if kind and prelude and prelude.room and complaints.is_preamble(text):
            return None  # the text of a WARN or BUG whose title comes next
        return Kind.CONTAINED_OOM if kind is Kind.OOM_KILL and self.oom_contained else kind

    def _expect(self, message: Message, lines: int) -> None:
        """Keep up to so many messages for a report whose title is still to come."""
        for report in tuple(self.open):
            if report.caller == message.caller and not (report.of_slub or self._fresh(report, message)):
                self._close(report)
        _put(self.preludes, message.caller, _Prelude(room=lines))

    def _fresh(self, report: _Open, message: Message) -> bool:
        """Whether more of a report is still to come, so that it stays open beside the next one."""
        return report.near(message) and not report.parts & _TRACED and not _NO_STACK.match(report.title)

    # Titles.

    def _continued(self, kind: Kind, message: Message) -> _Open | None:
        """Return the open report that a title belongs to; None if the title opens one of its own."""
        for report in self.open:
            if report.caller == message.caller and _continues(report, kind, message):
                report.died = report.died or complaints.is_die(message.text)
                if prelude := self.preludes.pop(message.caller, None):
                    report.lines += prelude.lines
                return report
        return None

    def _open(self, kind: Kind, message: Message) -> _Open:
        """Open a report; those that it ends are closed."""
        for report in tuple(self.open):
            ends = message.caller or kind is Kind.PANIC or not self._fresh(report, message)
            if report.caller == message.caller and ends:
                self._close(report)
        limit = MAX_CALLERS if message.caller else MAX_OPEN
        while len(self.open) >= limit:
            self._close(self.open[0])
        prelude = self.preludes.pop(message.caller, _Prelude(room=0))
        report = _Open(
            kind=kind,
            title=one_line(message.text, MAX_LINE),
            line=message.line,
            caller=message.caller,
            lines=prelude.lines,
            died=complaints.is_die(message.text),
        )
        self.open.append(report)
        return report

    # Reports whose title is lost or unknown.

    def _without_title(self, message: Message) -> _Open | None:
        """Return the report that a message proves to be one although it has no title; None if it proves nothing."""
        caller, text = message.caller, message.text
        prelude = self.preludes.get(caller)
        if prelude and prelude.room and not prelude.cut:
            return None  # the OOM killer shows a stack before it kills
        if _PANIC_END.match(text) and not self._panicked():
            return self._open(Kind.PANIC, message)
        if prelude and prelude.cut and not self.open and (_PART.match(text) or _END.match(text)):
            del self.preludes[caller]
            self.open.append(prelude.report(caller, prelude.cut))
            return self.open[-1]
        report = self._suspect(message)
        if report is None or not (_END.match(text) or _DUMPED.search(text) or report.parts >= _INTERRUPTED):
            return None
        del self.untitled[caller]
        if _SHOWN_ON_PURPOSE.match(report.title):
            return None
        report.lines.pop()  # this message, which is kept by the caller
        report.suspected = True
        self.open.append(report)
        return report

    def _panicked(self) -> bool:
        """Whether the panic is known that a line says the end of."""
        return any(kind is Kind.PANIC for kind, _ in self.found) or any(each.kind is Kind.PANIC for each in self.open)

    def _suspect(self, message: Message) -> _Open | None:
        """Return what looks like a report of the message's caller, the message added; None if nothing does."""
        caller, text = message.caller, message.text
        report = self.untitled.get(caller)
        part = _PART.match(text)
        if part and (report is None or part["cpu"]):
            report = self._new_suspect(message, self.before.get(caller, message) if part["cpu"] else message)
        elif report is not None and not report.add(text):
            del self.untitled[caller]
            report = None
        if report is not None and part and (not part["pc"] or call_trace.is_program_counter(text)):
            report.parts.add(part.lastgroup or "")
        if text.strip() and not message.torn:
            _put(self.before, caller, message)
        return report

    def _new_suspect(self, message: Message, title: Message) -> _Open | None:
        """Begin what looks like a report, unless it may be the rest of one that was too long to keep."""
        caller = message.caller
        if message.line - self.filled.get(caller, -_SLUB_LINES) < _SLUB_LINES:
            return None
        report = _Open(kind=Kind.WARNING, title=one_line(title.text, MAX_LINE), line=title.line, caller=caller)
        for line in dict.fromkeys((title.text, message.text)):
            report.add(line)
        _put(self.untitled, caller, report)
        return report

    # Messages that are no titles.

    def _owner(self, message: Message) -> _Open | None:
        """Return the open report that an ordinary message belongs to; None if there is none."""
        if message.caller:
            own = [report for report in self.open if report.caller == message.caller]
            shown = [report for report in self.open if report.kind in _OTHER_CPUS]
            return next(iter((*own[-1:], *shown[-1:])), None)
        prelude = self.preludes.get("")
        if not self.open or (prelude and prelude.room):
            return None
        if len(self.open) == 1:
            return self.open[0]
        return self._of_two(message)

    def _of_two(self, message: Message) -> _Open:
        """Return the one of several open reports that a message without a caller belongs to."""
        part = _PART.match(message.text)
        if part and part.lastgroup:
            header = _HEADER_CPU.match(message.text)
            same = [report for report in self.open if header and report.cpu == header[1]]
            lacking = [report for report in self.open if part.lastgroup not in report.parts]
            begun = [report for report in lacking if _PART_BEFORE.get(part.lastgroup, "") in report.parts]
            return (same or begun or lacking[::-1] or self.open)[0]
        last, before, third = self.latest
        ready = [report for report in self.open if "tail" not in report.parts]
        if before is not None and last is not before and last is third and before in ready:  # line by line
            return before
        if last is not None and last in ready:
            return last
        return (ready or self.open)[-1]

    def _keep(self, report: _Open | None, message: Message) -> None:
        """Add a message to a report, or to what is kept for a title that is still to come."""
        if report is None:
            if prelude := self.preludes.get(message.caller):
                prelude.add(message.text)
            return
        self.latest.appendleft(report)
        room = report.add(message.text)
        if part := _PART.match(message.text):
            report.parts.add(part.lastgroup or "")
        if not room:
            _put(self.filled, report.caller, message.line)
        if not room or _END.match(message.text) or complaints.is_single(report.kind, report.title):
            self._close(report)

    def _close(self, report: _Open) -> None:
        self.open.remove(report)
        if complaints.needs_die(report.title) and not report.died:
            return
        if report.suspected and call_trace.is_shown_on_purpose(report.lines):
            return
        key = (report.kind, _NUMBERS.sub("#", report.title))
        if before := self.found.get(key):
            self.found[key] = replace(before, count=before.count + 1)
        elif len(self.found) < MAX_FINDINGS or self._forgets_milder(report.kind):
            lines = tuple(line for line in report.lines if line)
            self.found[key] = Finding(kind=report.kind, title=report.title, line=report.line, lines=lines)

    def _forgets_milder(self, kind: Kind) -> bool:
        """Forget the last finding of the mildest kind, if that is milder than this one."""
        mildest = max(self.found, key=lambda key: _SEVERITY[key[0]])
        last = next(key for key in reversed(self.found) if key[0] is mildest[0])
        if _SEVERITY[last[0]] <= _SEVERITY[kind]:
            return False
        del self.found[last]
        return True


@dataclass(slots=True, kw_only=True)
class _Prelude:
    """Messages before a title that is expected, and how many more there may be."""

    room: int
    lines: list[str] = field(default_factory=list)
    cut: Message | None = None
    """The line `cut here`, which always has a report behind it."""

    def add(self, text: str) -> None:
        if self.room:
            self.lines.append(_shown(text))
            self.room -= 1

    def report(self, caller: str, cut: Message) -> _Open:
        """Return the report behind the line `cut here`, whose title is the next line that there is."""
        title = next(filter(None, self.lines[1:]), cut.text)
        title = one_line(title, MAX_LINE)
        return _Open(kind=Kind.WARNING, title=title, line=cut.line, caller=caller, lines=self.lines)


def _put(mapping: dict[str, Value], caller: str, value: Value) -> None:
    """Set the value of a caller; the caller that was set first is forgotten if there are too many."""
    mapping.pop(caller, None)
    if len(mapping) >= MAX_CALLERS:
        del mapping[next(iter(mapping))]
    mapping[caller] = value


_SEVERITY = {kind: number for number, kind in enumerate(Kind)}
_END = re.compile(r"---\[ end ")
_PANIC_END = re.compile(r"---\[ end Kernel panic - not syncing")
_DUMPED = re.compile(r"\bdump_stack(?:_lvl)?(?:\+0x| from )")
"""A frame of dump_stack(), which the kernel calls where it complains."""
_INTERRUPTED = frozenset({"cpu", "pc", "trace"})
"""The parts that a report has of a CPU that was stopped in the kernel, as by a lockup."""
_SHOWN_ON_PURPOSE = re.compile(
    r"sysrq: Show |NMI backtrace for cpu|name .{1,60}, interval \d|FAULT_INJECTION: "
    r"|.{1,200}, mode:(?:0x)?[0-9a-f]{1,8}\(|percpu: allocation failed, "
    r"|The following trace is a kernel self test and not a bug|(?:mm: )?GUP no longer grows the stack in "
    r"|.{0,80}\bcpuset=\S{1,80}[ ,]mems_allowed="
)
"""What dump_stack() is called for too: sysrq, injected failures, allocations that fail, a program's own fault."""
_CUT_HERE = re.compile(r"(?P<report>-{4,})\[ cut here \]|8<-{3} cut here")
"""The second one is arm's, which shows programs' faults behind it too."""
_OOM_START = re.compile(r".{1,40} invoked oom-killer: ")
_CONTAINED = re.compile(r"oom-kill:constraint=CONSTRAINT_(?:MEMCG|CPUSET|MEMORY_POLICY)")
_OTHER_CPUS = frozenset({Kind.RCU_STALL, Kind.SOFT_LOCKUP, Kind.HARD_LOCKUP, Kind.HUNG_TASK})
"""Reports of which other CPUs print a part: their own stacks."""


def _continues(report: _Open, kind: Kind, message: Message) -> bool:
    """Whether a title belongs to a report that is open already."""
    if report.of_slub and kind is Kind.WARNING:
        return report.near(message, _SLUB_LINES) and _IN_SLUB.search(message.text) is not None
    if not report.near(message):
        return False
    if complaints.is_preamble(report.title) and kind in (Kind.OOPS, Kind.BUG, Kind.WARNING):
        return not report.parts & _TRACED and not report.died
    if report.kind is Kind.RCU_STALL or report.kind is Kind.HUNG_TASK:
        return report.kind is kind and _FURTHER.match(message.text) is not None
    exception = report.kind in (Kind.OOPS, Kind.BUG) and not report.died and not report.parts & _TRACED
    return exception and (complaints.is_die(message.text) or _DIE.match(message.text) is not None)


_IN_SLUB = re.compile(r"mm/slub\.c:\d")
_FURTHER = re.compile(r"rcu: .{0,40}kthread|INFO: task .{1,80} (?:is blocked on|blocked on a)")
_DIE = re.compile(r"Oops|Internal error: |invalid opcode|\*\*\* ")
# Reports that differ only in numbers (addresses, process ids) are one report that came again.
_NUMBERS = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{8,16}\b|\d+")
