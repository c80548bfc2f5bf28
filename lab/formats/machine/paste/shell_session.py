# SPDX-License-Identifier: GPL-2.0-or-later
"""A pasted terminal -> the commands that were typed, and the lines that each of them printed.

A command is known by its prompt (`root@box:~# lscpu`, `[me@box ~]$ ...`, `$ ...`, `% ...`, `❯ ...`), by the heading of
lab/capture.sh (`== cat FILE`) or of head (`==> FILE <==`), or because the line is a known command or file and no more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lab.formats.machine.paste.pasted import FENCE, Line

_HOST = re.compile(r"[\w.-]{1,40}@([\w.-]{1,60})")
_PROMPT = re.compile(
    r"(?:\([\w.:/ -]{1,40}\)\s*)?(?:"
    r"\[[^\[\]]{1,100}\]\s?[#$%>]|[\w.-]{1,40}@[\w.-]{1,60}[^#$%>❯]{0,120}[#$%>❯]|[\w.-]{1,40}:[~/][^#$%>\s]{0,120}\s?[#$%>]"
    r"|(?:PS )?[A-Z]:\\[^>]{0,80}>"
    r"|sh-[\d.]{1,8}[#$]|bash-[\d.]{1,8}[#$]|[~/][\w/.-]{0,80}\s?[#$%>]|[$#%❯➜λ]|\+{1,3}(?=\s))\s*"
)
_CAPTURE = re.compile(r"==\s+(\S.*)")
_HEAD = re.compile(r"==>\s*(\S{1,400})\s*<==")
_PATH = re.compile(r"(/(?:proc|sys)/[^\s:]{1,400}):?")
_BARE = re.compile(
    r"(?:sudo\s+)?(?:[A-Z_]{1,20}=\S{0,40}\s+)?((?:cat|head|tail|grep|more)\s[^/]{0,80}/(?:proc|sys)/\S.*"
    r"|lscpu(?:\s+-\S.*|\s*\|.*)?|numactl\s+-\S.*|getconf\s+-?\w+(?:\s*\|.*)?|uname\s+-[a-z]+|nproc|arch|lstopo(?:-no-graphics)?(?:\s+-\S.*)?"
    r"|free(?:\s+-\w+)?|dmesg(?:\s*\|.*)?)\s*:?"
)
_COMMENT = re.compile(r"\s(?://|#\s).*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A command, or the file whose content follows, and what was printed below it."""

    command: str
    """Without its prompt; empty above the first command."""
    host: str
    """Of the prompt `user@host`; empty if the prompt has none."""
    line: int
    lines: tuple[Line, ...]


def sections(lines: Sequence[Line]) -> Iterator[Section]:
    """The commands of a session in order."""
    command, host, number = "", "", 0
    body: list[Line] = []
    for line in lines:
        heading = _heading(line.text)
        if heading is None:
            body.append(line)
            continue
        yield Section(command=command, host=host, line=number, lines=tuple(body))
        (command, host), number, body = heading, line.number, []
    yield Section(command=command, host=host, line=number, lines=tuple(body))


def _heading(text: str) -> tuple[str, str] | None:
    """(command, host) of a line that is a command; None if the line is output."""
    if text == FENCE:
        return "", ""
    for pattern in (_HEAD, _CAPTURE, _PATH):
        if match := pattern.fullmatch(text):
            return match[1], ""
    if bare := _BARE.fullmatch(text):
        return bare[1], ""
    prompt = _PROMPT.match(text)
    if prompt is None or prompt.end() == 0:
        return None
    host = _HOST.search(text[: prompt.end()])
    command = _COMMENT.sub("", text[prompt.end() :]).strip()
    if prompt[0].strip() in ("#", "%", "+", "++") and command and not _BARE.fullmatch(command):
        return None if prompt[0].strip() != "#" else ("", "")
    return command, "" if host is None else host[1]
