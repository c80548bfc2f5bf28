# SPDX-License-Identifier: GPL-2.0-or-later
"""Text as people paste it -> the lines of the terminal that it shows, each with its number in the text.

Taken off are quoted-printable and base64, in several layers, HTML, Markdown, quotation marks of mails, time stamps of
CI logs, escape sequences of terminals and full-width characters. Whatever was decoded is noted.
"""

from __future__ import annotations

import binascii
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from lab.formats.machine.paste import web_page

MAX_LAYERS = 4
MAX_LINES = 100_000
"""/proc/cpuinfo of a thousand CPUs has 28 000."""
MAX_LINE = 64 << 10
"""Characters of a line that are read."""
MAX_JOINED = 4096
"""Characters of a line to which the next one is joined."""

_ESCAPE = re.compile(r"=(?:[0-9A-F]{2}|$)")
_ENCODED = re.compile(r"=[C-F][0-9A-F]=[89AB][0-9A-F]|:=20$")
"""A letter of two bytes, and the blank behind a key without a value."""
_SAYS_QUOTED_PRINTABLE = re.compile(r"Content-Transfer-Encoding:\s*quoted-printable", re.IGNORECASE)
_HEADER = re.compile(r"[>\s]*(?:Content-[A-Z][\w-]{1,30}:|(?:charset|format|boundary|delsp|name)=)", re.IGNORECASE)
"""A line of a mail's headers, whose `=` are no escapes."""
_SOFT_BREAK = re.compile(r"[^=]=$")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_BB_CODE = re.compile(r"\[/?(?:code|quote|pre|tt|b|i|size|color|font|spoiler)(?:=[^\[\]]*)?\]", re.IGNORECASE)
_JIRA_CODE = re.compile(r"\{(?:code|noformat)(?::[^{}]*)?\}")
_TERMINAL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[()][A-Z0-9]")
_TERMINAL_TEXT = re.compile(
    r"(?:\^\[|\\(?:e|033|x1b|u001b)|\u241b)\[[0-9;?]{0,12}[A-Za-z]|\[\d{1,3}(?:;\d{1,3}){0,4}m", re.IGNORECASE
)
"""Escape sequences that became text: `^[[0m`, `\\e[0m`, and `[0m` where the first character was lost."""
_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff\u00ad\x00-\x08\x0b-\x1f\x7f]")
_DASHES = re.compile("[\u2010-\u2015\u2212]")
_QUOTES = re.compile(r"\s*(?:[A-Z]{0,3}>\s?)+")
_TIME_STAMP = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?(?:\s|$)")
_BULLET = re.compile(r"[-*+\u2022]\s+(?=\S)")
_NUMBERED = re.compile(
    r"\d{1,4}[.:)|]?\s+(?=node \d{1,4} (?:cpus|size|free)|node distances|available:|NUMA|Architecture|CPU|On-line"
    r"|node(?:\s+\d{1,4})+\s*$|\d{1,4}:\s+\d{1,3}(?:\s+\d{1,3})*\s*$)"
)
_COMMENT = re.compile(
    r"(?:#+|//+|;+|--|%+|!)\s*(?=node\s{0,4}\d{1,4}\s|node distances|\d{1,4}:\s+\d|available:\s|NUMA node|Architecture:"
    r"|CPU op-mode|CPU\(s\):|On-line CPU|Thread\(s\) per|Core\(s\) per|Socket\(s\):|Model name:)",
    re.IGNORECASE,
)
"""The mark of a comment before a line that a command printed, as in scripts and source files."""
_BARS = str.maketrans("\u2502\u2503\u2551", "|||")
_SMART_QUOTES = str.maketrans("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2018\u2019\u201a\u201b", '"' * 6 + "'" * 4)
_LOGGED = re.compile(r"\{.{0,400}\"(?:log|message|msg|MESSAGE)\"\s*:\s*\"((?:[^\"\\]|\\.)*)\".{0,400}\}")
"""A line of a log whose lines are objects of JSON."""
_STRING = re.compile(r"([\"'])((?:\\.|(?!\1)[^\\])*)\1")
_MARKS = ("#", "+", "|", "//", ";", "*", "%", "--", "!", ":")
"""That people put before each line."""
_LINE_NUMBER = re.compile(r"\s{0,8}(\d{1,5})(?:[:.)|\t]|  |\s*$)\s?")
_COLUMN_NAMES = re.compile(r"\s*CPU\s+(?:NODE|SOCKET|CORE|CLUSTER|BOOK|DRAWER)\b")
_TABBED_NUMBER = re.compile(r" {0,8}(\d{1,5})\t")
_HOST_BEFORE = re.compile(r"[>\s]*(?:(?P<name>[A-Za-z][\w.-]{0,60}):|\[(?P<bracketed>[A-Za-z][\w.-]{0,60})\])(?:\s|$)")
MAX_HOSTS = 8
_AMOUNT = re.compile(r"[\d.,\s]*(?:[kMG]i?B)?")
_PLACE = re.compile(r"([\w./@+-]{1,100}?)[:-](\d{1,6})[:-]")
_HARD_BREAK = re.compile(r"(?:\\r?|\^M)$")
_CONTINUED_OPTION = re.compile(r"--?[a-z]")
"""Of a command that goes on on the next line."""
MOST = 6
"""Of ten lines."""
FEW_LINES = 4
"""In fewer lines than this, marks and numbers before each of them may be an accident."""
_GROUPED = re.compile(r"((?<![\d.,'])|:\s{1,20})(?<!\d)(\d{1,3}(?:[,.']\d{3}){1,4})(?=\s?[kKM]i?B\b)")
"""A number of kB or MB, which is whole: a point or a comma in it parts thousands."""
FENCE = "```"
"""What begins and ends a block of Markdown, whatever it is written with."""
_FENCE = re.compile(r"(?:`{3,}|~{3,})\s*[\w{}.+ -]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of what a terminal showed."""

    number: int
    """Of the line in the pasted text, counted from 1."""
    text: str
    """Without blanks at its ends."""


def joined(lines: Sequence[Line], glue: Callable[[str, str], str | None]) -> Iterator[Line]:
    """Yield the lines, each with its rest that a mailer or a terminal put on lines of their own.

    `glue` gets a line and the next one, and returns what belongs between them; None if the next is no rest of it.
    """
    held: Line | None = None
    for line in lines:
        between = glue(held.text, line.text) if held and len(held.text) < MAX_JOINED else None
        if held and between is not None:
            held = Line(number=held.number, text=f"{held.text}{between}{line.text}")
            continue
        if held:
            yield held
        held = line
    if held:
        yield held


@dataclass(slots=True, kw_only=True)
class Pasted:
    """The lines of a text, and one note for each layer that was taken off."""

    lines: list[Line] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def undecorated(text: str) -> Pasted:
    """The lines of a pasted text without what mailers, web pages and people put around them."""
    made = Pasted()
    rows = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for number, row in enumerate(rows, 1):
        if row or not made.lines or made.lines[-1].text:
            made.lines.append(Line(number=number, text=row[:MAX_LINE]))
    if len(made.lines) > MAX_LINES:
        del made.lines[MAX_LINES:]
        made.notes.append(f"only the first {MAX_LINES} lines are read")
    if any(len(row) > MAX_LINE for row in rows):
        made.notes.append(f"lines longer than {MAX_LINE} characters: the rest of them is not read")
    for _ in range(MAX_LAYERS):
        if not (_decode(made, "base64", _base64) or _decode(made, "quoted-printable", _quoted_printable)):
            break
    _decode(made, "marks before each line", _without_marks)
    _decode(made, "line numbers", _without_numbers)
    _decode(made, "names of hosts before the lines", _by_host)
    _decode(made, "HTML", _html)
    _decode(made, "strings with \\n", _strings)
    made.lines = [Line(number=line.number, text=_cleaned(line.text)) for line in made.lines]
    _decode(made, "the file and the number of each line", _without_places)
    _decode(made, "a mark before most lines", _without_common_mark)
    _decode(made, "marks at the ends of the lines", _without_hard_breaks)
    made.lines = [Line(number=line.number, text=_unmarked(line.text)) for line in made.lines]
    made.lines = _without_doubled_breaks(made.lines)
    return made


def _decode(made: Pasted, name: str, decoder: Callable[[Sequence[Line]], list[Line]]) -> bool:
    """Apply a decoder that returns the same lines if there is nothing to decode."""
    decoded = decoder(made.lines)
    if decoded == made.lines:
        return False
    made.lines = decoded
    made.notes.append(f"decoded: {name}")
    return True


def _base64(lines: Sequence[Line]) -> list[Line]:
    """The lines, those that are base64 of a text replaced by it."""
    decoded: list[Line] = []
    run: list[Line] = []
    for line in (*lines, Line(number=0, text="")):
        if _BASE64.fullmatch(line.text.strip()):
            run.append(line)
            continue
        decoded += _decoded_run(run)
        run = []
        decoded.append(line)
    return decoded[:-1]


def _decoded_run(run: list[Line]) -> list[Line]:
    if not run or len(run[0].text.strip()) < 56:
        return run
    joined = "".join([line.text.strip() for line in run])
    try:
        text = binascii.a2b_base64(joined[: len(joined) // 4 * 4], strict_mode=True).decode()
    except ValueError:
        return run
    if not text.isascii() and not any(char.isalpha() for char in text):
        return run
    if any(not char.isprintable() and char not in "\n\r\t\x1b\xa0" for char in text):
        return run
    return [Line(number=run[0].number, text=row[:MAX_LINE]) for row in text.splitlines()]


def _quoted_printable(lines: Sequence[Line]) -> list[Line]:
    """The lines with `=XX` decoded and soft line breaks joined, if they look like quoted-printable."""
    if not _looks_quoted_printable(lines):
        return list(lines)
    found: list[Line] = []
    parts: list[str] = []
    first = 0
    for line in lines:
        first = first or line.number
        soft = line.text.endswith("=")
        quotes = _QUOTES.match(parts[0]) if parts else None
        parts.append(line.text.removeprefix(quotes[0] if quotes else "").removesuffix("="))
        if soft and len(parts) < 1000:
            continue
        joined = "".join(parts)
        decoded = _text_of(binascii.a2b_qp(joined.encode("utf-8", "replace")))
        found += [Line(number=first, text=row[:MAX_LINE]) for row in decoded.split("\n")]
        parts, first = [], 0
    if parts:
        found.append(Line(number=first, text="".join(parts)))
    return found


def _text_of(data: bytes) -> str:
    """The text of bytes in UTF-8, or else in the character set of western mails, whose blank is `=A0`."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _looks_quoted_printable(lines: Sequence[Line]) -> bool:
    """Whether nearly every `=` begins an escape, and something shows that this is no accident.

    `hugepages=20` is no quoted-printable; a soft line break, `=3D` and two lines that end in `=20` are.
    """
    equals = escapes = marks = blanks = 0
    for line in lines:
        text = line.text
        marks += bool(_SAYS_QUOTED_PRINTABLE.fullmatch(text.strip()))
        if "=" not in text or _HEADER.match(text):
            continue
        equals += text.count("=")
        escapes += len(_ESCAPE.findall(text))
        marks += ("=3D" in text) + bool(_SOFT_BREAK.search(text[-2:])) + bool(_ENCODED.search(text))
        blanks += text.endswith("=20")
    return (marks > 0 or blanks > 1) and escapes >= 0.8 * equals


def _html(lines: Sequence[Line]) -> list[Line]:
    """The lines that a page of HTML shows."""
    rows = web_page.shown([(line.number, line.text) for line in lines])
    return [Line(number=number, text=text) for number, text in rows]


def _strings(lines: Sequence[Line]) -> list[Line]:
    """The lines, those that are the text of a string with `\\n` in it split there, and those of logs in JSON."""
    decoded: list[Line] = []
    for line in lines:
        if logged := _LOGGED.fullmatch(line.text.strip()):
            text = logged[1].removesuffix("\\n").replace("\\t", " ").replace('\\"', '"')
            decoded.append(Line(number=line.number, text=text))
            continue
        if line.text.count("\\n") < 2:
            decoded.append(line)
            continue
        for inner in _strings_with_breaks(line.text):
            text = inner.replace("\\r", "").replace("\\t", " ").replace('\\"', '"')
            first, *others = text.split("\\n")
            rows = [first.rpartition('": "')[2], *others]
            decoded += [Line(number=line.number, text=row) for row in rows]
    return decoded


def _strings_with_breaks(text: str) -> list[str]:
    """What stands between the marks of those strings on a line that have line breaks; the line if none is whole."""
    inner = [match[2] for match in _STRING.finditer(text)]
    return [each for each in inner if "\\n" in each] or [text]


def _without_marks(lines: Sequence[Line]) -> list[Line]:
    """The lines without the mark that each of them begins with, such as that of a comment or of a diff."""
    texts = [line.text.lstrip() for line in lines if line.text.strip()]
    for mark in _MARKS:
        if len(texts) < FEW_LINES or not all(text.startswith(mark) for text in texts):
            continue
        if mark == "|" and any("|" in text[1:] for text in texts):  # a table
            continue
        return [Line(number=line.number, text=line.text.lstrip().removeprefix(mark)) for line in lines]
    return list(lines)


def _by_host(lines: Sequence[Line]) -> list[Line]:
    """The lines without the name of the host before each of them, as pdsh, clush and ansible put it, host by host.

    What several hosts printed is told apart by a prompt before the lines of each.
    """
    hosts: dict[str, list[Line]] = {}
    for line in lines:
        if match := _HOST_BEFORE.match(line.text):
            own = Line(number=line.number, text=line.text[match.end() :])
            hosts.setdefault(match["name"] or match["bracketed"], []).append(own)
    total = sum(bool(line.text.strip()) for line in lines)
    named = sum(map(len, hosts.values()))
    few = min(map(len, hosts.values()), default=0)
    if not 1 <= len(hosts) <= MAX_HOSTS or few < FEW_LINES - 1 or named < FEW_LINES or named * 10 < total * 9:
        return list(lines)
    if any(all(_AMOUNT.fullmatch(line.text) for line in own_lines) for own_lines in hosts.values()):
        return list(lines)  # keys of /proc/meminfo, each of which is there several times
    by_host: list[Line] = []
    for host, own_lines in hosts.items():
        if len(hosts) > 1:
            by_host.append(Line(number=own_lines[0].number, text=f"user@{host}:~$"))
        by_host += own_lines
    return by_host


def _without_places(lines: Sequence[Line]) -> list[Line]:
    """The lines without the file and the number that `grep -n` put before most of them: one file, numbers ascend."""
    decoded: list[Line] = []
    file, last, places = "", 0, 0
    for line in lines:
        match = _PLACE.match(line.text)
        if match is None:
            decoded.append(line)
            continue
        if int(match[2]) <= last or match[1] != (file or match[1]):
            return list(lines)
        file, last, places = match[1], int(match[2]), places + 1
        decoded.append(Line(number=line.number, text=line.text[match.end() :].strip()))
    return decoded if _are_most(places, lines) else list(lines)


def _without_common_mark(lines: Sequence[Line]) -> list[Line]:
    """The lines without the `#` or `//` of a comment that most of them begin with, and prompts do not."""
    for mark in ("#", "//"):
        marked = [line for line in lines if line.text.startswith(mark)]
        if _are_most(len(marked), lines):
            return [Line(number=line.number, text=line.text.removeprefix(mark).strip()) for line in lines]
    return list(lines)


def _without_hard_breaks(lines: Sequence[Line]) -> list[Line]:
    """The lines without what most of them end in: the backslash of Markdown and RTF, or a carriage return as text."""
    broken = sum(_HARD_BREAK.search(line.text) is not None for line in lines)
    if not _are_most(broken, lines) or any(_CONTINUED_OPTION.match(line.text) for line in lines):
        return list(lines)
    return [Line(number=line.number, text=_HARD_BREAK.sub("", line.text).rstrip()) for line in lines]


def _are_most(count: int, lines: Sequence[Line]) -> bool:
    """Whether so many of the lines are most of those that have text."""
    total = sum(bool(line.text) for line in lines)
    return count >= FEW_LINES and count * 10 >= total * MOST


def _without_numbers(lines: Sequence[Line]) -> list[Line]:
    """The lines without their numbers, if each has one, before it or on the line above, and they ascend by one."""
    return _without_alternate_numbers(lines) or _without_numbers_before(lines)


def _without_alternate_numbers(lines: Sequence[Line]) -> list[Line]:
    """The lines, those without numbers where line and number alternate, as pages are copied; empty if none do."""
    at, decoded, dropped = 0, list[Line](), 0
    while at < len(lines):
        run = _alternating(lines, at)
        if run:
            decoded += lines[at + 1 : at + 2 * run : 2]
            at, dropped = at + 2 * run, dropped + run
        else:
            decoded.append(lines[at])
            at += 1
    return decoded if dropped else []


def _alternating(lines: Sequence[Line], start: int) -> int:
    """Return how many lines from here on stand below their numbers, which ascend by one; 0 if they are few."""
    count, first = 0, -1
    for at in range(start, len(lines) - 1, 2):
        text = lines[at].text.strip()
        if not text.isdecimal() or len(text) > 6 or (count and int(text) != first + count):
            break
        first = first if count else int(text)
        count += 1
    below = [lines[start + 2 * place + 1].text.strip() for place in range(count)]
    worded = any(char.isalpha() for text in below for char in text)
    return count if count >= FEW_LINES and worded else 0


def _without_numbers_before(lines: Sequence[Line]) -> list[Line]:
    """The lines without the numbers before them, if each has one and they ascend by one.

    A tab behind the number is what pages of code are copied with: then some lines may have none.
    """
    for pattern, share in ((_LINE_NUMBER, 100), (_TABBED_NUMBER, MOST * 10)):
        decoded: list[Line] = []
        last, count, total = None, 0, 0
        of_table = False
        for line in lines:
            match = pattern.match(line.text)
            total += bool(line.text.strip())
            if match is None or int(match[1]) != (int(match[1]) if last is None else last + 1):
                decoded.append(line)
                of_table = of_table or _names_columns(line)
                continue
            last, count = int(match[1]), count + 1
            decoded.append(Line(number=line.number, text=line.text[match.end() :]))
        if count >= FEW_LINES and count * 100 >= total * share and not of_table:
            return decoded
    return list(lines)


def _names_columns(line: Line) -> bool:
    """Whether a line names the columns of `lscpu -e`, whose first one has numbers that ascend."""
    return bool(_COLUMN_NAMES.match(line.text)) and line.text.isupper()


def _without_doubled_breaks(lines: Sequence[Line]) -> list[Line]:
    """The lines without the blank ones, if there is one behind each line, as some web pages copy them."""
    places = [place for place, line in enumerate(lines) if line.text]
    if len(places) < FEW_LINES or any(after - before != 2 for before, after in pairwise(places)):
        return list(lines)
    return [lines[place] for place in places]


def _cleaned(text: str) -> str:
    """One line without escape sequences, quotation marks of mails, time stamps and blanks at its ends."""
    text = _TERMINAL_TEXT.sub("", _TERMINAL.sub("", text))
    if not text.isascii():
        text = text.translate(_BARS).translate(_SMART_QUOTES)
        text = _DASHES.sub("-", _INVISIBLE.sub("", unicodedata.normalize("NFKC", text)))
    text = _INVISIBLE.sub("", text.replace("\t", " "))
    if quotes := _QUOTES.match(text):
        text = text[quotes.end() :]
    text = _JIRA_CODE.sub("", _BB_CODE.sub("", text)).strip()
    if "B" in text:
        text = _GROUPED.sub(_ungrouped, text)
    if stamp := _TIME_STAMP.match(text):
        text = text[stamp.end() :].strip()
    if _FENCE.fullmatch(text):
        return FENCE
    return _row(text) if text.startswith("|") else text


def _unmarked(text: str) -> str:
    """One line without the mark of a comment or of a list before it, and without markup and quotes around it."""
    if text == FENCE:
        return text
    for pattern in (_COMMENT, _BULLET, _NUMBERED):
        if match := pattern.match(text):
            text = text[match.end() :]
    return _without_quotes(text.replace("**", "").replace("`", "")).strip()


def _ungrouped(match: re.Match[str]) -> str:
    """A number without what parts its thousands."""
    return match[1] + re.sub(r"\D", "", match[2])


def _row(text: str) -> str:
    """A row of a Markdown table: two cells as `KEY: VALUE`, more of them with blanks between; empty for a ruler."""
    cells = [cell.strip(" `*") for cell in text.strip("|").split("|")]
    if not any(char.isalnum() for char in text):
        return ""
    if len(cells) == 2 and not cells[0].endswith(":") and not cells[0].isdigit():
        return f"{cells[0]}: {cells[1]}"
    return " ".join(cells)


def _without_quotes(text: str) -> str:
    """The text of a line that is one string of a list, maybe its last one: `"node 0 cpus: 0 1",`, `"node 0"])`."""
    inner = text.rstrip(",; ])}") if text.startswith(("'", '"')) else text
    if '\\"' in inner and inner.startswith('"') and _STRING.fullmatch(inner):
        return re.sub(r"\\([\"\\])", r"\1", inner[1:-1])
    for mark in ('"', "'"):
        if len(inner) > 1 and inner.startswith(mark) and inner.endswith(mark) and mark not in inner[1:-1]:
            return inner[1:-1]
    return text
