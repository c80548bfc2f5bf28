# SPDX-License-Identifier: GPL-2.0-or-later
"""The configuration of a kernel, whole or in part: its architecture, its page size, its release."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lab.core.sizes import KIB
from lab.formats.machine.paste.pasted import Line
from lab.formats.machine.statements import ArchMarks, Statement, in_blocks

SOURCE = "kernel configuration"
_SET = re.compile(r"(?:\S{1,200}:)?(CONFIG_[A-Za-z0-9_]{1,80}=y)")
_PAGES = re.compile(r"CONFIG_(?:\w{0,40}_)?(?:(\d{1,3})K_PAGES|PAGE_SIZE_(\d{1,3})KB)=y")
_HEADING = re.compile(r"(?:# )?Linux/\w{1,20} (\d{1,2}\.\d{1,3}\S{0,60}) Kernel Configuration")


def read(lines: Sequence[Line], marks: ArchMarks) -> Iterator[Statement]:
    """Everything that options which are set say; where two contradict each other, another kernel begins."""
    yield from in_blocks([_options(lines)])
    first, options = 0, set[str]()
    for line in lines:
        if match := _SET.fullmatch(line.text):
            first = first or line.number
            options.add(match[1])
    matching = [(len(patterns), arch) for patterns, arch in marks.config if _has_all(options, patterns)]
    if matching:
        guess = "only its kernels have these options"
        yield Statement(key="arch", value=max(matching)[1], line=first, source=SOURCE, guess=guess)


def _has_all(options: set[str], patterns: Sequence[re.Pattern[str]]) -> bool:
    """Whether each of the patterns is one of the options."""
    return all(any(map(pattern.fullmatch, options)) for pattern in patterns)


def _options(lines: Sequence[Line]) -> Iterator[Statement]:
    for line in lines:
        if heading := _HEADING.fullmatch(line.text):
            yield Statement(key="release", value=heading[1], line=line.number, source=SOURCE)
        elif (option := _SET.fullmatch(line.text)) and (match := _PAGES.fullmatch(option[1])):
            size = int(match[1] or match[2]) * KIB
            if 4 * KIB <= size <= 256 * KIB and not size & (size - 1):
                yield Statement(key="page_size", value=size, line=line.number, source=SOURCE)
