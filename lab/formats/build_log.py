# SPDX-License-Identifier: GPL-2.0-or-later
"""Parses the output of a kernel build: the current step, and the error messages of a failed build. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from lab.core.this_host import install_command

MAX_ERRORS = 8
MAX_LINES = 40
CONTEXT = 6

# `  CC      mm/shmem.o`, `  LD [M]  net/x.ko`, `  HOSTCC  scripts/basic/fixdep`: kbuild's short form of a command.
_STEP = re.compile(r"  ([A-Z][A-Z0-9_+.-]*)(?: \[M\])?\s+(\S+)")

# Whoever fails first says it in one of these ways:
#   mm/shmem.c:12:5: error: 'x' undeclared       gcc, clang (also `fatal error:`)
#   mm/x.S:3: Error: no such instruction          gas
#   shmem.c:(.text+0x1c): undefined reference to  ld
#   x-ld: cannot find mm/y.o                      ld;  ld.lld: error: ...
#   make[3]: *** No rule to make target 'mm/y.o'  make, for a file that is not there
#   Makefile:12: *** missing separator.  Stop.    make, for a Makefile it cannot read
#   ERROR: modpost: "x" [y.ko] undefined!         modpost
#   mm/Kconfig:12: syntax error                   kconfig (also `recursive dependency detected!`)
#   /bin/sh: 1: bc: not found                     the shell
_ERROR = re.compile(
    r"(?:\b(?:fatal )?error: )|(?:: Error: )|undefined reference to|multiple definition of|(?:^ERROR: )"
    r"|(?:\*\*\* No rule to make target)|(?:^[^ ]*:\d+: \*\*\* )|syntax error|recursive dependency detected"
    r"|(?:\bld(?:\.\w+)?: (?!warning))|(?:sh: \d+: .*: not found)|(?:command not found)|internal compiler error"
)
# `ld: file.o: in function 'f':` opens an error, and `collect2: error: ld returned 1` only repeats that there was one.
_NOT_AN_ERROR = re.compile(r"ld returned \d+ exit status|: in function `|warning: |: in function '")
_BEFORE = re.compile(
    r"In file included from |\s+from |.*: In function |.*: At top level:|.*: Assembler messages:"
    r"|.*ld[\w.]*: .*in function "
)
_AFTER = re.compile(r"\s+\d* ?\||.*: note: |\s*>>> |\s+\^|compilation terminated")
_MAKE_GAVE_UP = re.compile(r"make(?:\[\d+\])?: \*\*\* ")
_FAILED = re.compile(r"make(?:\[\d+\])?: \*\*\* (?:\[[^\]]*?([^\]\s:]+)\] Error|No rule to make target '([^']*)')")
_DISK_FULL = re.compile(r"No space left on device|Disk quota exceeded")
_KILLED = re.compile(r"Killed signal terminated program|internal compiler error: Killed|Cannot allocate memory")
_HOST_HEADER = re.compile(r"fatal error: ((?:gelf|libelf|openssl/\w+|gnu/libc-version)\.h): No such file")
_HOST_PACKAGES = {"gelf": "libelf-dev", "libelf": "libelf-dev", "openssl": "libssl-dev", "gnu": "libc6-dev"}
_NOT_FOUND = re.compile(r"(?:sh: \d+: |/)([\w.+-]+): (?:command )?not found")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildStep:
    """One command of the build: what it is (`CC`) and what it makes (`mm/shmem.o`)."""

    tool: str
    target: str

    def directory(self, top: str = "") -> str:
        """Where the build is at, `.` for the top: some tools name what they make by its path from `/`."""
        return self.target.removeprefix(f"{top}/").rpartition("/")[0] or "."


def parse_step(line: str) -> BuildStep | None:
    """Return the build step that a line of output announces; None if it announces none."""
    match = _STEP.match(line)
    return BuildStep(tool=match[1], target=match[2]) if match else None


def excerpt(lines: Sequence[str]) -> str:
    """Return the errors in a failed build's output in order, with context; at most MAX_ERRORS and MAX_LINES.

    If no line is a known kind of error, return the lines before make gave up, or else the last lines.
    """
    spans: list[range] = []
    for number, line in enumerate(lines):
        if is_error(line) and not (spans and number in spans[-1]):
            spans.append(_span(lines, number))
        if len(spans) == MAX_ERRORS:
            break
    picked = sorted({number for span in spans for number in span}) or list(_before_make_gave_up(lines))
    return "\n".join(lines[number] for number in picked[:MAX_LINES])


def failures(lines: Iterable[str]) -> dict[str, str]:
    """Return, for every file that `make -k` could not make, its name and the first error before make reported it.

    If several compilers run at once, the lines of each must stand together (make's --output-sync=target).
    """
    found: dict[str, str] = {}
    reason = ""
    for line in lines:
        if failed := _FAILED.match(line):
            error = reason or line.partition("*** ")[2]
            found.setdefault(PurePath(failed[1] or failed[2]).name, error.strip())
            reason = ""
        elif not reason and is_error(line):
            reason = line
    return found


def is_error(line: str) -> bool:
    """Return whether a line is an error message of a build tool."""
    return bool(_ERROR.search(line)) and not _NOT_AN_ERROR.search(line)


def _span(lines: Sequence[str], at: int) -> range:
    """Return the lines of an error: its own and those that the compiler prints before and after it."""
    first, last = at, at + 1
    while first > 0 and _BEFORE.match(lines[first - 1]):
        first -= 1
    while last < len(lines) and _AFTER.match(lines[last]) and not is_error(lines[last]):
        last += 1
    return range(first, last)


def _before_make_gave_up(lines: Sequence[str]) -> range:
    for number, line in enumerate(lines):
        if _MAKE_GAVE_UP.match(line):
            return range(max(0, number - CONTEXT), number + 1)
    return range(max(0, len(lines) - CONTEXT), len(lines))


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFault:
    """A build failure that the host caused and not the kernel: `what` happened, and a `hint` what to do."""

    what: str
    hint: str


def host_fault(lines: Sequence[str]) -> HostFault | None:
    """Return the host's fault in a build's output (disk full, out of memory, package missing); None if it has none."""
    for line in lines:
        if _DISK_FULL.search(line):
            return HostFault(what="disk full", hint="free some room, or `lab clean`; the cache is sound")
        if _KILLED.search(line):
            return HostFault(what="the compiler ran out of memory", hint="build with fewer jobs or free some memory")
        if match := _HOST_HEADER.search(line):
            package = _HOST_PACKAGES[re.split(r"[/.]", match[1])[0]]
            return HostFault(what=f"the host has no {match[1]}", hint=install_command([package]))
        if match := _NOT_FOUND.search(line):
            return HostFault(what=f"the host has no {match[1]}", hint=f"install the package that has {match[1]}")
    return None
