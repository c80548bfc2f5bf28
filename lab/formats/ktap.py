# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads KTAP, whatever state it is in: a pure, lazy, bounded parser that names damage instead of raising.

The grammar that is accepted (indentation or a `# ` before every line of a nested document, to any sane depth):

    document   = [version] [plan] { line } [plan]        (a version right behind the plan is accepted as well)
    version    = "KTAP version " N | "TAP version " N
    plan       = "1.." N [ "# SKIP " reason | "# " comment ]       (the comment of a plan for none is its reason)
    line       = result | diagnostic | bail-out | nested document | junk
    result     = ("ok" | "not ok") [" " N] [" -"] [" " name] [ "# " directive [" " reason] ]
    directive  = "SKIP" | "SKIPPED" | "TODO" | "XFAIL" | "XPASS" | "TIMEOUT" | "ERROR"
               | "CRASH" | "LEAK"             (these two: the lab's own); only SKIP and TODO may be in lower case, since
                                              names of tests have words such as `# error handling`
    diagnostic = "# " text                    belongs to the next result line of its level
    duration   = "# duration_ms=" number      a diagnostic that is understood
    bail-out   = "Bail out!" [" " reason]
    nested document: opens with an indented (or `# `-prefixed) version, plan or "# Subtest: " line, or with an indented
                     numbered result, and ends with the result line of the level above, which is its parent. If as many
                     of its results have numbers as planned, `ok` and `not ok` without a number are junk

The results of a document that ends without a parent (its suite died) are kept as `orphans`. A stream whose first
version, plan or result stands behind a prefix that log_prefix.py knows has it taken off all lines: a time stamp of the
kernel (KUnit's), syslog's, a runner's. YAML behind a result (`  ---` to `  ...`) is a diagnostic of the next one.

A line counts only when its newline came: the end of a truncated name may be the difference between two cases.
Junk (anything else) is kept with the diagnostics, since that is where a C library's last words end up. What is kept is
never more than what came in, and per result never more than KEEP_FIRST + KEEP_LAST lines of MAX_LINE characters.
"""

from __future__ import annotations

import operator
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

from lab.formats import log_prefix

MAX_LINE = 4096
MAX_RESULTS = 20_000
MAX_DEFECTS = 100
MAX_DEPTH = 8
NO_VERDICT = ("SKIP", "TODO", "XFAIL", "XPASS")
"""Directives with which neither `ok` nor `not ok` counts."""
NOTHING_PLANNED = "1..0 # SKIP "
"""Before the reason of a nested plan for none, which is kept with the diagnostics of its parent."""
KEEP_FIRST, KEEP_LAST = 30, 30

_VERSION = re.compile(r"K?TAP version \d{1,9}\s*")
_PLAN = re.compile(r"1\.\.(\d{1,9})\s*(?:#\s*(?P<skip>SKIP\b:?)?\s*(?P<comment>.*))?", re.IGNORECASE)
_RESULT = re.compile(r"(ok|not ok)(?:\s+(\d{1,9}))?(?=\s|$)(?:\s+-(?=\s|$))?\s*(.*)")
_DIRECTIVE = re.compile(
    r"(?:^|\s)#\s*(?:(?i:(SKIP)(?:PED)?|(TODO))|(XFAIL|XPASS|TIMEOUT|ERROR|CRASH|LEAK))\b:?\s*(?P<reason>.*)$"
)
_BAIL_OUT = re.compile(r"Bail out!\s*(.*)", re.IGNORECASE)
_SUBTEST = re.compile(r"# Subtest:? ?(.*)")
_NESTED = re.compile(r"( {1,8}|\t|# )(?:# )?(?:K?TAP version \d{1,9}\s*|1\.\.\d{1,9}\s*(?:#.*)?|# Subtest:? ?.*)")
_NESTED_RESULT = re.compile(r"([ \t]{1,40})(?:not )?ok \d{1,9}(?:\s.*)?")
_COLOURS = re.compile(r"\x1b\[[0-9;]{0,12}[mK]")
_GLUED = re.compile(r"\[ {0,4}\d{1,8}\.\d{6}\](?:\[ {0,8}[TC]\d{1,10}\])? .*")
"""A message that the kernel printed before a line's newline came."""
_YAML = re.compile(r"( {1,8})---\s*")
_STARTS = re.compile(r"(?:K?TAP version |1\.\.)\d|(?:not )?ok \d")
_DURATION = re.compile(r"#\s*duration_ms=(\d{1,12}(?:\.\d{1,6})?)\s*")
# The stream of a program of the lab that came to its end, as almost all are: see `_calm`.
_CALM_HEAD = re.compile(r"KTAP version 1\n1\.\.(\d{1,5})\n")
_CALM_RESULT = re.compile(
    r"((?:#[^\n]{0,4000}\n){0,30})(ok|not ok) (\d{1,5}) ([A-Za-z_][A-Za-z0-9_.]{0,99})"
    r"(?: # (SKIP|TODO|XFAIL|TIMEOUT|ERROR|CRASH|LEAK)(?: ([^\n]{0,3000}))?)?\n"
)
_TIMED_RESULT = re.compile(r"\n# duration_ms=(\d{1,12})(\n(?:not )?ok [^\n]*)")
"""The end of what lab.h prints for a case, each line with the newline before it."""


class Flaw(StrEnum):
    """What can be wrong with a KTAP stream."""

    EMPTY = "nothing was printed"
    NO_VERSION = "no version line"
    LATE_VERSION = "version line after the first result"
    VERSION_REPEATED = "version line repeated"
    NO_PLAN = "no plan line"
    LATE_PLAN = "plan line after the first result"
    PLAN_REPEATED = "plan line repeated"
    TOO_FEW = "fewer results than planned"
    TOO_MANY = "more results than planned"
    NUMBER_REPEATED = "result number repeated"
    NUMBER_ODD = "result number missing or out of order"
    NAME_REPEATED = "two results of one name"
    UNKNOWN_LINE = "line that is no KTAP"
    BAD_BYTES = "bytes that are no text"
    LONG_LINE = "line too long"
    TRUNCATED = "last line without an end"
    NESTED_NO_PLAN = "nested results without a plan"
    ORPHANS = "nested results without a parent's result"
    BAIL_OUT = "the program gave up"
    OVERFLOW = "more results than the parser keeps"


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A version line at the top level."""

    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KtapPlan:
    """A plan line at the top level. `skip` is the reason of `1..0 # SKIP reason`, None without one."""

    line: int
    count: int
    skip: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One result line with what was said for it. `line` counts from 1; `children` are the results nested below it."""

    line: int
    ok: bool
    number: int | None
    name: str
    directive: str = ""
    reason: str = ""
    diagnostics: tuple[str, ...] = ()
    duration_ms: float | None = None
    children: tuple[Result, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BailOut:
    """The program said that it gives up."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """One thing wrong with the stream, at a line (counted from 1; the last one for what is missing at the end)."""

    flaw: Flaw
    line: int
    detail: str = ""

    def __str__(self) -> str:
        return ": ".join(filter(None, (f"line {self.line}", self.flaw, self.detail)))


Event = Version | KtapPlan | Result | BailOut | Defect


@dataclass(frozen=True, slots=True, kw_only=True)
class KtapDocument:
    """A whole stream. `trailing` was said after the last result, so by the case that was running.

    `orphans` are the results of nested documents whose parent has no result, because its program died.
    """

    plan: KtapPlan | None = None
    results: tuple[Result, ...] = ()
    trailing: tuple[str, ...] = ()
    bail_out: BailOut | None = None
    defects: tuple[Defect, ...] = ()
    orphans: tuple[Result, ...] = ()

    def has(self, flaw: Flaw) -> bool:
        return any(defect.flaw is flaw for defect in self.defects)


def parse(text: str) -> KtapDocument:
    """Read a whole stream. Never raises; what is kept is bounded whatever comes in."""
    return _calm(text) or _parse(text)


def _calm(text: str) -> KtapDocument | None:
    """Return what `_parse` returns, in a third of the time, for a stream with nothing odd in it; None for any other.

    Nothing odd: a version, a plan, as many results as planned, numbered in order, nothing nested, nothing after them.
    """
    head = _calm_head(text)
    if not head:
        return None
    results: list[Result] = []
    line, at = 2, head.end()
    while match := _CALM_RESULT.match(text, at):
        at = match.end()
        line += match[1].count("\n") + 1
        result = _calm_result(match, line)
        if result.number != len(results) + 1:
            return None
        results.append(result)
    whole = at == len(text) and len(results) == int(head[1]) == len({result.name for result in results})
    if not whole:
        return None
    return KtapDocument(plan=KtapPlan(line=2, count=int(head[1])), results=tuple(results))


class SteadyColumns(NamedTuple):
    """The results of a stream of lab.h, as columns of text: what each says is one text, which many cells share."""

    durations_ms: list[str]
    lines: list[str]
    """The diagnostics of a case but its duration, and its result line; before each line a newline."""


def steady(text: str) -> SteadyColumns | None:
    """Return the results of a stream in which each has a duration right before it; None for any other.

    What each says may still be odd (`steady_result`), or not be in order.
    """
    parts = _TIMED_RESULT.split(text)
    head = f"KTAP version 1\n1..{len(parts) // 3}"
    if parts.pop() != "\n" or not parts or not parts[0].startswith(head):
        return None
    parts[0] = parts[0].removeprefix(head)
    return SteadyColumns(parts[1::3], list(map(operator.add, parts[0::3], parts[2::3])))


def steady_result(lines: str) -> Result | None:
    """Return the result of one text of `SteadyColumns.lines`, as `parse` returns it; None if anything in it is odd."""
    match = _CALM_RESULT.fullmatch(f"{lines[1:]}\n")
    if not match or lines[0] != "\n" or "duration_ms=" in lines or "TAP version" in lines or not _has_calm_text(lines):
        return None
    return _calm_result(match, 0)


def _calm_result(match: re.Match[str], line: int) -> Result:
    """Return the result of a match of _CALM_RESULT."""
    said, status, number, name, directive, reason = match.groups()
    diagnostics, duration = _calm_talk(said)
    return Result(
        line=line,
        ok=status == "ok",
        number=int(number),
        name=name,
        directive=directive or "",
        reason=(reason or "").strip(),
        diagnostics=diagnostics,
        duration_ms=duration,
    )


def _calm_head(text: str) -> re.Match[str] | None:
    """Return version and plan of a stream in which nothing tells of nested documents or bytes that are no text."""
    head = _CALM_HEAD.match(text)
    return head if head and text.count("TAP version") == 1 and _has_calm_text(text) else None


def _has_calm_text(text: str) -> bool:
    if "Subtest" in text or "# 1.." in text or "\ufffd" in text:
        return False
    return text.replace("\n", "").isprintable()


def _calm_talk(said: str) -> tuple[tuple[str, ...], float | None]:
    """Return the diagnostics before a result, and the duration that is one of them."""
    duration, kept = None, []
    for text in said.split("\n")[:-1]:
        if "duration_ms=" in text and (match := _DURATION.fullmatch(text)):
            duration = float(match[1])
        else:
            kept.append(text.removeprefix("#").removeprefix(" "))
    return tuple(kept), duration


def _parse(text: str) -> KtapDocument:
    parser = _Parser()
    plan: KtapPlan | None = None
    bail_out: BailOut | None = None
    results: list[Result] = []
    defects: list[Defect] = []
    for event in parser.events(lines_of(text)):
        match event:
            case KtapPlan():
                plan = plan or event
            case BailOut():
                bail_out = bail_out or event
            case Result():
                results.append(event)
            case Defect() if len(defects) < MAX_DEFECTS:
                defects.append(event)
    return KtapDocument(
        plan=plan,
        results=tuple(results),
        trailing=parser.trailing,
        bail_out=bail_out,
        defects=tuple(defects),
        orphans=tuple(parser.orphans),
    )


def events(lines: Iterable[str]) -> Iterator[Event]:
    """Yield the events of a stream as they come, from lines that still have their newline (as a file gives them)."""
    return _Parser().events(lines)


def lines_of(text: str) -> Iterator[str]:
    """Yield the text's lines with their newlines. Only a newline ends a line: str.splitlines would split at more."""
    start = 0
    while (end := text.find("\n", start)) >= 0:
        yield text[start : end + 1]
        start = end + 1
    if start < len(text):
        yield text[start:]


@dataclass(slots=True)
class _KeptLines:
    """The first and the last lines of something that may be endless."""

    first: list[str] = field(default_factory=list)
    last: deque[str] = field(default_factory=lambda: deque(maxlen=KEEP_LAST))
    dropped: int = 0

    def add(self, line: str) -> None:
        if len(self.first) < KEEP_FIRST:
            self.first.append(line)
            return
        self.dropped += len(self.last) == KEEP_LAST
        self.last.append(line)

    def take(self) -> tuple[str, ...]:
        """Return all that is kept, and keep nothing."""
        kept = [*self.first]
        if self.dropped:
            kept.append(f"... {self.dropped} lines left out ...")
        kept += self.last
        self.first.clear()
        self.last.clear()
        self.dropped = 0
        return tuple(kept)


@dataclass(slots=True, kw_only=True)
class _Level:
    """One document that is being read: the top one has no prefix."""

    prefix: str = ""
    versions: int = 0
    plan: int | None = None
    results: int = 0
    last_number: int = 0
    numbers: set[int] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    said: _KeptLines = field(default_factory=_KeptLines)
    duration_ms: float | None = None
    finished: list[Result] = field(default_factory=list)
    """Results of this level that wait for their parent; unused at the top."""

    @property
    def announced(self) -> bool:
        """Whether it has a version or a plan of its own."""
        return bool(self.versions) or self.plan is not None

    def adopt(self, inner: _Level) -> None:
        """Take over the results of a document that is only indented deeper than its plan, which stands here."""
        self.finished += inner.finished
        self.results += inner.results
        self.numbers |= inner.numbers
        self.names |= inner.names
        self.last_number = inner.last_number


class _Parser:
    """The state between lines: a stack of open documents, outermost first."""

    def __init__(self) -> None:
        self.levels = [_Level()]
        self.line = 0
        self.kept = 0
        self.trailing: tuple[str, ...] = ()
        self.orphans: list[Result] = []
        self.stamp: re.Pattern[str] | None = None
        """What stands before each line; None if nothing does, or while no line has told it."""
        self.started = False
        """Whether a line has told it: the first version, plan or result."""
        self.yaml = ""
        """The indentation of the YAML that a result has, while it goes on."""
        self.after_result = False

    def events(self, lines: Iterable[str]) -> Iterator[Event]:
        for raw in lines:
            self.line += 1
            yield from self._line(raw)
        yield from self._end()

    def _line(self, raw: str) -> Iterator[Event]:
        text = raw.removesuffix("\n").rstrip("\r")
        if self.line == 1:
            text = text.removeprefix("\ufeff")
        if "\x1b" in text:
            text = self._without_colours(text)
        if len(text) > MAX_LINE:
            yield self._defect(Flaw.LONG_LINE, f"{len(text)} characters")
            text = text[:MAX_LINE]
        if "\ufffd" in text or not text.replace("\t", " ").isprintable():
            yield self._defect(Flaw.BAD_BYTES)
        if not raw.endswith("\n"):
            yield self._defect(Flaw.TRUNCATED)
            self.levels[-1].said.add(text)
            return
        text = self._without_stamp(text)
        depth, rest = self._place(text)
        if self._is_yaml(rest):
            self.levels[depth].said.add(rest)
            return
        level = self.levels[depth]
        if depth and level.announced and not level.prefix.endswith("# ") and _VERSION.fullmatch(rest):
            # The next suite begins before the parent's result came: the last one died. Behind `# ` a test may run
            # several programs.
            depth -= 1
            rest = text.removeprefix(self.levels[depth].prefix)
        for _ in range(2):  # a document within comments may be the first that its program prints
            if opened := _NESTED.fullmatch(rest) or _NESTED_RESULT.fullmatch(rest):
                yield from self._open(depth, opened[1])
                depth, rest = self._place(text)
        yield from self._classify(depth, rest)

    def _without_colours(self, text: str) -> str:
        """Return a line without its colours if it is a result, or behind a prefix as the lines of a log are."""
        bare = _COLOURS.sub("", text)
        if self.stamp or _STARTS.match(bare) or (not self.started and log_prefix.before(bare, _STARTS.match)):
            return bare
        return text

    def _without_stamp(self, text: str) -> str:
        """Return the line without what stands before each line, if something does."""
        if not self.started:
            self._start(text)
        if self.stamp and (stamp := self.stamp.match(text)):
            return text[stamp.end() :]
        return text

    def _start(self, text: str) -> None:
        """Learn from the first version, plan or result what stands before it."""
        if _STARTS.match(text.lstrip()):
            self.started = True
        elif prefix := log_prefix.before(text, _STARTS.match):
            self.started, self.stamp = True, prefix

    def _is_yaml(self, text: str) -> bool:
        """Whether a line is of the YAML that TAP allows behind a result: what looks like results there is none."""
        if self.yaml:
            inside = text.startswith(self.yaml) or not text.strip()
            if not inside or text.strip() == "...":
                self.yaml = ""
            return inside
        match = _YAML.fullmatch(text) if self.after_result else None
        self.after_result = _RESULT.fullmatch(text.lstrip()) is not None
        if match:
            self.yaml = match[1]
        return match is not None

    def _place(self, text: str) -> tuple[int, str]:
        """Return the depth of the innermost open document that a line belongs to, and the line without its prefix."""
        for depth in range(len(self.levels) - 1, 0, -1):
            if text.startswith(self.levels[depth].prefix):
                return depth, text[len(self.levels[depth].prefix) :]
        return 0, text

    def _open(self, depth: int, prefix: str) -> Iterator[Event]:
        yield from self._close_below(depth)
        if depth + 1 < MAX_DEPTH:
            self.levels.append(_Level(prefix=self.levels[depth].prefix + prefix))

    def _close_below(self, depth: int) -> Iterator[Event]:
        """Close the documents that are deeper than `depth`: they have ended without their parent's result."""
        while len(self.levels) > depth + 1:
            lost = self.levels.pop()
            above = self.levels[-1]
            if above.announced and above.prefix and not above.results and not lost.announced:
                above.adopt(lost)
            elif lost.finished:
                self.orphans += lost.finished
                flaw = Flaw.ORPHANS if lost.announced else Flaw.NESTED_NO_PLAN
                yield self._defect(flaw, ", ".join(child.name for child in lost.finished[:3]))
            for line in lost.said.take():
                self.levels[-1].said.add(line)

    def _classify(self, depth: int, text: str) -> Iterator[Event]:
        level = self.levels[depth]
        if _VERSION.fullmatch(text):
            yield from self._version(level, top=depth == 0)
        elif match := _PLAN.fullmatch(text):
            yield from self._plan(level, match, top=depth == 0)
        elif match := _RESULT.fullmatch(text):
            if glued := _GLUED.search(text, match.start(3)):
                level.said.add(glued[0])
                match = _RESULT.fullmatch(text[: glued.start()]) or match
            yield from self._result(depth, match)
        elif depth == 0 and (match := _BAIL_OUT.fullmatch(text)):
            yield BailOut(line=self.line, reason=match[1])
            yield self._defect(Flaw.BAIL_OUT, match[1])
        elif text.startswith("#"):
            self._diagnostic(level, text)
        elif text.strip():
            level.said.add(text)
            yield self._defect(Flaw.UNKNOWN_LINE, text[:80])

    def _version(self, level: _Level, *, top: bool) -> Iterator[Event]:
        level.versions += 1
        if level.versions > 1:
            yield self._defect(Flaw.VERSION_REPEATED)
        elif level.results:
            yield self._defect(Flaw.LATE_VERSION)
        if top and level.versions == 1:
            yield Version(line=self.line)

    def _plan(self, level: _Level, match: re.Match[str], *, top: bool) -> Iterator[Event]:
        if level.plan is not None:
            yield self._defect(Flaw.PLAN_REPEATED, f"{level.plan}, then {match[1]}")
            return
        level.plan = int(match[1])
        if level.results:
            yield self._defect(Flaw.LATE_PLAN)
        comment = match["comment"]
        if level.plan and not match["skip"]:
            comment = None
        if top:
            yield KtapPlan(line=self.line, count=level.plan, skip=comment)
        elif comment and not level.plan:
            level.said.add(f"{NOTHING_PLANNED}{comment}")

    def _diagnostic(self, level: _Level, text: str) -> None:
        if match := _DURATION.fullmatch(text):
            level.duration_ms = float(match[1])
        elif not _SUBTEST.fullmatch(text):
            level.said.add(text.removeprefix("#").removeprefix(" "))

    def _result(self, depth: int, match: re.Match[str]) -> Iterator[Event]:
        children: tuple[Result, ...] = ()
        if len(self.levels) > depth + 1:
            yield from self._close_below(depth + 1)
            nested = self.levels.pop()
            children = tuple(_without_talk(nested))
            yield from self._check_count(nested)
            for line in nested.said.take():
                self.levels[depth].said.add(line)
        level = self.levels[depth]
        level.results += 1
        self.kept += 1
        if self.kept > MAX_RESULTS:
            if self.kept == MAX_RESULTS + 1:
                yield self._defect(Flaw.OVERFLOW)
            return
        result = self._build(level, match, children)
        yield from self._check_result(level, result)
        if depth:
            level.finished.append(result)
        else:
            yield result

    def _build(self, level: _Level, match: re.Match[str], children: tuple[Result, ...]) -> Result:
        rest = match[3]
        directive = _DIRECTIVE.search(rest)
        name, word, reason = rest, "", ""
        if directive:
            word = (directive[1] or directive[2] or directive[3]).upper()
            name, reason = rest[: directive.start()], directive["reason"].strip()
        number = None
        if match[2]:
            number = int(match[2])
        duration, level.duration_ms = level.duration_ms, None
        return Result(
            line=self.line,
            ok=match[1] == "ok",
            number=number,
            name=name.strip(),
            directive=word,
            reason=reason,
            diagnostics=level.said.take(),
            duration_ms=duration,
            children=children,
        )

    def _check_result(self, level: _Level, result: Result) -> Iterator[Event]:
        if result.number in level.numbers:
            yield self._defect(Flaw.NUMBER_REPEATED, str(result.number))
        elif result.number != level.last_number + 1:
            yield self._defect(Flaw.NUMBER_ODD, f"{result.number} after {level.last_number}")
        if result.number is not None:
            level.numbers.add(result.number)
            level.last_number = result.number
        if result.name and result.name in level.names:
            yield self._defect(Flaw.NAME_REPEATED, result.name)
        level.names.add(result.name)

    def _check_count(self, level: _Level) -> Iterator[Event]:
        if level.plan is None:
            yield self._defect(Flaw.NO_PLAN if level.announced or not level.prefix else Flaw.NESTED_NO_PLAN)
        elif level.results != level.plan:
            flaw = Flaw.TOO_FEW if level.results < level.plan else Flaw.TOO_MANY
            yield self._defect(flaw, f"{level.results} of {level.plan}")

    def _end(self) -> Iterator[Event]:
        yield from self._close_below(0)
        top = self.levels[0]
        if not self.line:
            yield self._defect(Flaw.EMPTY)
        elif not top.versions:
            yield self._defect(Flaw.NO_VERSION)
        yield from self._check_count(top)
        self.trailing = top.said.take()

    def _defect(self, flaw: Flaw, detail: str = "") -> Defect:
        return Defect(flaw=flaw, line=self.line, detail=detail[:200])


def _without_talk(level: _Level) -> list[Result]:
    """Return the results of a document without ordinary output that begins with `ok` or `not ok`.

    That has no number where all planned results have one; it becomes a diagnostic of the next result.
    """
    if level.plan in (None, level.results) or level.plan != len(level.numbers):
        return level.finished
    results: list[Result] = []
    said: tuple[str, ...] = ()
    for result in level.finished:
        diagnostics = (*said, *result.diagnostics)
        if result.number is None:
            said = (*diagnostics, f"{'ok' if result.ok else 'not ok'} {result.name}")
        else:
            results.append(replace(result, diagnostics=diagnostics))
            said = ()
    return results
