# SPDX-License-Identifier: GPL-2.0-or-later
"""What a program did on each page size, and whether that depends on the page size. Pure."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from lab.core.sizes import KIB

MAX_LINES = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramEnd:
    """One run of the program. `status` is None if it did not end by itself; `end` says what happened then."""

    status: int | None
    end: str = ""
    stdout: bytes = b""
    stderr: bytes = b""
    seconds: float = 0.0

    @property
    def ended(self) -> str:
        """How it ended, in words."""
        if self.status is None:
            return self.end
        if name := signal_name(self.status):
            return f"killed by {name}"
        return f"exit {self.status}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedCall:
    """A system call that failed with EINVAL, with a number that is no multiple of the page."""

    call: str
    address: int | None
    length: int | None
    offset: int | None

    def text(self, page_size: int) -> str:
        """Return the call in words, with the numbers that are no multiple of the page."""
        odd = []
        for name, value in (("address", self.address), ("length", self.length), ("offset", self.offset)):
            if value is not None and value % page_size:
                odd.append(f"{name} {value:#x}")
        verb = "is no multiple"
        if len(odd) > 1:
            verb = "are no multiples"
        return f"{self.call} failed with EINVAL: {' and '.join(odd)} {verb} of {page_size // KIB} KiB"


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """What ptrace saw of a run."""

    signal: str = ""
    address: int | None = None
    mappings: tuple[str, ...] = ()
    """Lines of /proc/PID/maps around the address; the one that holds it begins with `*`."""
    refused: tuple[RefusedCall, ...] = ()
    note: str = ""

    def lines(self, page_size: int) -> list[str]:
        """Return it as text."""
        lines = []
        if self.signal:
            at = ""
            if self.address is not None:
                at = f" at address {self.address:#x}"
            lines.append(f"{self.signal}{at}")
            lines += [f"  {line}" for line in self.mappings]
        lines += [refused.text(page_size) for refused in self.refused]
        if self.note:
            lines.append(self.note)
        return lines


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineRun:
    """A program on one machine: every run of it, or why it was not tried."""

    topology: str
    page_size: int
    nodes: int
    attempts: tuple[ProgramEnd, ...] = ()
    death: Death | None = None
    not_tried: str = ""


class Verdict(StrEnum):
    """Whether what a program does depends on the machine."""

    SAME = "same"
    DEPENDS = "depends"
    UNSTEADY = "unsteady"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One machine against the control."""

    run: MachineRun
    verdict: Verdict
    differs: str = ""
    """What differs, in one line."""
    lines: tuple[tuple[str, str], ...] = ()
    """The first lines that differ, of stdout and of stderr: the control's, "" for none, and the machine's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PagesAnswer:
    """The answer for a program."""

    command: tuple[str, ...]
    arch: str
    kernel: str
    control: MachineRun
    compared: tuple[Compared, ...]
    looked: tuple[str, ...] = field(default=())
    """Lines of the static look."""

    @property
    def exit_status(self) -> int:
        """0: no difference; 1: what it does depends on the machine; 2: that cannot be said."""
        verdicts = {compared.verdict for compared in self.compared}
        if Verdict.DEPENDS in verdicts:
            return 1
        if self.control.not_tried or verdicts - {Verdict.SAME}:
            return 2
        return 0

    @property
    def sentence(self) -> str:
        """The verdict in one line."""
        subject = "layout of nodes" if _one_size(self) else "page size"
        different = [compared.run.topology for compared in self.compared if compared.verdict is Verdict.DEPENDS]
        if different:
            return f"depends on the {subject}: {', '.join(different)}"
        if self.control.not_tried:
            return f"unknown: the control was not tried: {self.control.not_tried}"
        open_ones = [compared.run.topology for compared in self.compared if compared.verdict is not Verdict.SAME]
        if open_ones:
            return f"unknown: no answer from {', '.join(open_ones)}"
        if not self.compared:
            return f"{self.arch} has pages of {self.control.page_size // KIB} KiB alone: there is nothing to compare"
        return f"does not depend on the {subject}"


def _one_size(outcome: PagesAnswer) -> bool:
    return {compared.run.page_size for compared in outcome.compared} == {outcome.control.page_size}


def compare(control: MachineRun, run: MachineRun, *, output: bool = True) -> Compared:
    """Compare a machine with the control; without `output` only how the program ended counts.

    A line of output counts if it is the same in all runs on the control, and in all runs on the machine.
    """
    if not run.attempts or not control.attempts:
        return Compared(
            run=run, verdict=Verdict.UNKNOWN, differs=run.not_tried or "there is no control to compare with"
        )
    ends = list(dict.fromkeys(attempt.ended for attempt in run.attempts))
    wanted = list(dict.fromkeys(attempt.ended for attempt in control.attempts))
    for several, where in ((wanted, control.topology), (ends, run.topology)):
        if len(several) > 1:
            return Compared(run=run, verdict=Verdict.UNSTEADY, differs=f"on {where}: {', then '.join(several)}")
    if ends != wanted:
        return Compared(
            run=run, verdict=Verdict.DEPENDS, differs=f"{ends[0]}, control: {wanted[0]}", lines=_lines(control, run)
        )
    if output and (lines := _lines(control, run)):
        return Compared(run=run, verdict=Verdict.DEPENDS, differs="its output differs", lines=lines)
    return Compared(run=run, verdict=Verdict.SAME)


def _lines(control: MachineRun, run: MachineRun) -> tuple[tuple[str, str], ...]:
    """Return the first lines that differ on purpose, of stdout and of stderr, those with words if there are any."""
    found = []
    for stream in ("stdout", "stderr"):
        ours = [_split(getattr(attempt, stream)) for attempt in control.attempts]
        theirs = [_split(getattr(attempt, stream)) for attempt in run.attempts]
        if pairs := list(_differences(ours, theirs)):
            found.append((_first_words(first for first, _ in pairs), _first_words(second for _, second in pairs)))
    return tuple(found)


def _first_words(lines: Iterable[str]) -> str:
    """Return the first line with a letter or a digit; the first of all if none has any."""
    every = list(lines)
    return next((line for line in every if re.search(r"\w", line)), every[0])


def _differences(ours: Sequence[Sequence[str]], theirs: Sequence[Sequence[str]]) -> Iterator[tuple[str, str]]:
    """Yield the lines that are the same in all runs on the control, the same on the machine, and differ."""
    for index in range(max(map(len, [*ours, *theirs]))):
        first = {_line(lines, index) for lines in ours}
        second = {_line(lines, index) for lines in theirs}
        if len(first) == 1 and len(second) == 1 and first != second:
            yield first.pop(), second.pop()
        elif len(first) > 1 and len(set(map(len, ours))) > 1:
            return  # the runs of the control differ in length from here on: nothing fits any more


def _line(lines: Sequence[str], index: int) -> str:
    """Return a line; empty behind the last."""
    if index < len(lines):
        return lines[index]
    return ""


def _split(data: bytes) -> list[str]:
    return data.decode("utf-8", "replace").splitlines()[:MAX_LINES]


def signal_name(status: int) -> str:
    """Return the name of the signal in a shell's exit status; empty if it is none."""
    if status > 128:
        try:
            return signal.Signals(status - 128).name
        except ValueError:
            return ""
    return ""


def parse_trace(text: str) -> Death:
    """Return what images/probes/pagetrace.c wrote. A trace that ends before its end says so."""
    found_signal, address, note = "", None, ""
    mappings: list[str] = []
    refused: list[RefusedCall] = []
    lines = text.splitlines()
    for line in lines:
        kind, _, rest = line.partition(" ")
        words = rest.split()
        if kind == "signal" and len(words) == 3 and words[0].isdigit():
            found_signal = signal_name(128 + int(words[0])) or f"signal {words[0]}"
            address, mappings = _address(found_signal, words[2]), []
        elif kind == "map":
            mappings.append(rest.rstrip()[:200])
        elif kind == "einval" and len(words) == 4:
            address_, length, offset = (_hexadecimal(word) for word in words[1:])
            refused.append(RefusedCall(call=words[0][:40], address=address_, length=length, offset=offset))
        elif kind == "traces":
            note = "the program uses ptrace itself, so nothing more is known of it"
    if not note and (not lines or lines[-1] != "end"):
        note = "the trace is not complete"
    unique = tuple(dict.fromkeys(refused))
    return Death(signal=found_signal, address=address, mappings=tuple(mappings[:5]), refused=unique[:10], note=note)


def _address(name: str, word: str) -> int | None:
    """Return the address of a fault; None for signals that have none."""
    if name in ("SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE"):
        return _hexadecimal(word)
    return None


def _hexadecimal(word: str) -> int | None:
    try:
        return int(word, 16)
    except ValueError:
        return None
