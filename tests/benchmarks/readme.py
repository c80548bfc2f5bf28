# SPDX-License-Identifier: GPL-2.0-or-later
"""`make bench ARGS=readme`: compare the numbers in the README files with what their commands print now.

A number belongs to the command above it in its section: a line of code that begins with `lab` or `make`, or a command
in backticks. A line of the README is found again in the command's output by its words; its numbers may differ by a
third of what the README has. What differs by more is named, and so is a line that is not printed any more.

Without further words the benchmarks are run (`make bench ...`); `readme GLOB...` runs the commands that match, such as
`readme 'lab run quick*'`, and `readme --list` lists all of them. Commands need what they need otherwise: guests, kernel
trees, hours.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

ROOT = Path(__file__).parents[2]
BENCHMARKS = "make bench*"
TOLERANCE = 1 / 3
"""Of the number in the README."""
COMMAND = re.compile(r"(?:\$ )?((?:lab|make) .*)")
COMMENT = re.compile(r"\s{2,}# .*")
CONTINUED = "\\"
MENTIONED = re.compile(r"`((?:lab|make) [^`]+)`")
_DIGITS = r"(?<![\w.,-])\d[\d,]*(?:\.\d+)?"
NUMBER = re.compile(rf"{_DIGITS}(?![\w-]|\.\d)|{_DIGITS}(?=(?:s|ms|MB|kB|%)\b)")
BORDERS = re.compile(r"[|\s]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line with numbers: of a README, or of what a command printed."""

    place: str
    """FILE:LINE."""
    words: str
    """The line without its numbers."""
    numbers: tuple[float, ...]


def line_of(text: str, place: str = "") -> Line | None:
    """Return a line with its numbers apart; None if it has none."""
    plain = BORDERS.sub(" ", text.replace("#", " ")).strip()
    numbers = tuple(float(each.replace(",", "")) for each in NUMBER.findall(plain))
    if not numbers:
        return None
    return Line(place=place, words=NUMBER.sub("#", plain), numbers=numbers)


def commands_of(text: str, page: str) -> dict[str, list[Line]]:
    """Return command -> the lines of a README that have its numbers, in order."""
    found: dict[str, list[Line]] = defaultdict(list)
    command, continued = "", False
    for number, line in enumerate(text.splitlines(), 1):
        code = line.startswith("    ")
        typed = COMMENT.sub("", line).strip()
        if continued:
            command += f" {typed.removesuffix(CONTINUED).strip()}"
            continued = typed.endswith(CONTINUED)
        elif line.startswith("#"):
            command = ""
        elif code and (match := COMMAND.fullmatch(typed.removesuffix(CONTINUED))):
            command, continued = match[1].strip(), typed.endswith(CONTINUED)
        elif code or line.startswith("|"):
            if command and (claim := line_of(line.partition(" ...")[0], f"{page}:{number}")):
                found[command].append(claim)
        elif mentioned := MENTIONED.findall(line):
            command = mentioned[-1]
    return dict(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A line of a README whose numbers are not those of today; `now` is None if no such line is printed."""

    claim: Line
    now: Line | None

    def __str__(self) -> str:
        if self.now is None:
            return f"{self.claim.place}: not printed now: {self.claim.words}"
        off = [
            f"{was:g} is {now:g} now"
            for was, now in zip(self.claim.numbers, self.now.numbers, strict=True)
            if is_off(was, now)
        ]
        return f"{self.claim.place}: {', '.join(off)}: {self.claim.words}"


def is_off(was: float, now: float) -> bool:
    """Whether a number is more than a third away from that of the README."""
    return abs(now - was) > was * TOLERANCE


@dataclass(slots=True)
class Output:
    """What a command printed, to be searched for lines by their words; each is found once."""

    lines: dict[str, list[Line]]
    words: str
    """The whole output without its numbers, and on one line: a README may wrap what is printed in one."""
    numbers: list[float]
    searched: dict[str, int]
    """Words -> where in `words` the next search for them begins."""

    @classmethod
    def of(cls, text: str) -> Output:
        """Return what a command printed, ready to be searched."""
        lines: dict[str, list[Line]] = defaultdict(list)
        for printed in text.splitlines():
            if line := line_of(printed):
                lines[line.words].append(line)
        whole = line_of(text)
        words, numbers = (whole.words, list(whole.numbers)) if whole else ("", [])
        return cls(lines=lines, words=words, numbers=numbers, searched=defaultdict(int))

    def find(self, words: str) -> Line | None:
        """Return the next line with these words, whole or as a part of the output; None if there is none."""
        if candidates := self.lines[words]:
            return candidates.pop(0)
        match = re.compile(rf"(?<![\w#]){re.escape(words)}(?![\w#])").search(self.words, self.searched[words])
        if match is None:
            return None
        self.searched[words] = match.end()
        first = self.words.count("#", 0, match.start())
        return Line(place="", words=words, numbers=tuple(self.numbers[first : first + words.count("#")]))


def differences(claims: Sequence[Line], printed: str) -> Iterator[Difference]:
    """Yield what differs between a README and what its command prints; equal words are taken in their order."""
    output = Output.of(printed)
    for claim in claims:
        now = output.find(claim.words)
        if now is None or any(map(is_off, claim.numbers, now.numbers)):
            yield Difference(claim=claim, now=now)


def pages() -> Iterator[tuple[str, str]]:
    """Yield name and text of every README."""
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, check=True, capture_output=True, text=True)
    for name in listed.stdout.split():
        yield name, (ROOT / name).read_text("utf-8")


def all_commands() -> dict[str, list[Line]]:
    """Return command -> the lines with its numbers, over all README files."""
    found: dict[str, list[Line]] = defaultdict(list)
    for name, text in pages():
        for command, claims in commands_of(text, name).items():
            found[command].extend(claims)
    return dict(found)


def output_of(command: str) -> str:
    """Run a command as a user would, and return what it printed, however it ended."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return done.stdout.decode("utf-8", "replace")


def readme(words: Sequence[str]) -> None:
    """Print what differs for each command that is chosen; exit with status 1 if anything does."""
    found = all_commands()
    if "--list" in words:
        for command, claims in found.items():
            print(f"{claims[0].place:<28} {sum(len(each.numbers) for each in claims):>5} numbers  {command}")
        return
    chosen = {command: claims for command, claims in found.items() if _is_chosen(command, words or [BENCHMARKS])}
    if not chosen:
        raise SystemExit(f"no README has numbers of a command like {' '.join(words)}; --list lists the commands")
    off = sum(map(_compare, chosen, chosen.values()))
    checked = sum(len(claim.numbers) for claims in chosen.values() for claim in claims)
    print(f"{len(chosen)} commands, {checked} numbers; {off} lines differ")
    if off:
        raise SystemExit(1)


def _is_chosen(command: str, globs: Iterable[str]) -> bool:
    return "ARGS=readme" not in command and any(fnmatchcase(command, glob) for glob in globs)


def _compare(command: str, claims: Sequence[Line]) -> int:
    print(f"$ {command}", flush=True)
    found = list(differences(claims, output_of(command)))
    for difference in found:
        print(f"  {difference}", flush=True)
    return len(found)
