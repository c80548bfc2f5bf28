# SPDX-License-Identifier: GPL-2.0-or-later
"""A small coverage-guided fuzzer: inputs that reach lines of lab/ in a new order are kept and bent further."""

from __future__ import annotations

import random
import sys
import time
import tracemalloc
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from lab.core.errors import LabError
from tests.fuzz.targets import COMMON, Target

LAB = str(Path(__file__).parents[2] / "lab")
MAX_INPUT = 60_000
MAX_LINES = 3_000_000
"""Lines of lab/ that reading an input of MAX_INPUT bytes may execute: fifty for each byte."""
TRACED = 3
"""One input of so many is watched: that makes its reading ten times slower."""
Arc = tuple[str, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """An input that a reader does not stand."""

    target: str
    data: bytes
    why: str


@dataclass(slots=True, kw_only=True)
class Fuzzer:
    """One target under fuzzing; the same seed gives the same inputs."""

    target: Target
    seed: int = 0
    runs: int = 0
    arcs: set[Arc] = field(default_factory=set)
    corpus: list[bytes] = field(default_factory=list)
    crashes: dict[str, Crash] = field(default_factory=dict)

    def run(self, *, seconds: float, runs: int | None = None) -> None:
        """Fuzz until the time is over or so many inputs were read."""
        chance = random.Random(self.seed)
        until = time.monotonic() + seconds
        seeds = [b"", *self.target.seeds()]
        chance.shuffle(seeds)
        while seeds and (time.monotonic() < until or not self.runs):
            self.feed(seeds.pop())
        while time.monotonic() < until and (runs is None or self.runs < runs):
            self.feed(bend(chance, self.corpus, (*COMMON, *self.target.words)), traced=not chance.randrange(TRACED))

    def feed(self, data: bytes, *, traced: bool = True) -> None:
        """Read one input; keep it when it is seen to lead somewhere new."""
        self.runs += 1
        tracer = _Tracer()
        why = ""
        before = sys.gettrace()
        if traced:
            sys.settrace(tracer.enter)
        try:
            self.target.run(data)
        except Exception as error:
            why = f"{type(error).__name__} in {place_of(error)}: {str(error)[:200]}"
        finally:
            sys.settrace(before)
        if tracer.lines > MAX_LINES:
            why = why or f"slow: {tracer.lines} lines executed for {len(data)} bytes"
        if why:
            self.crashes.setdefault(why.partition(":")[0], Crash(target=self.target.name, data=data, why=why))
        if tracer.arcs - self.arcs or not self.corpus:
            self.arcs |= tracer.arcs
            self.corpus.append(data)


class _Tracer:
    """Notes which line of lab/ follows which, and counts them."""

    def __init__(self) -> None:
        self.lines = 0
        self.arcs: set[Arc] = set()
        self.last: dict[int, int] = {}

    def enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        name = frame.f_code.co_filename
        return self.line if name.startswith(LAB) else None

    def line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            self.lines += 1
            here = id(frame)
            self.arcs.add((frame.f_code.co_filename, self.last.get(here, 0), frame.f_lineno))
            self.last[here] = frame.f_lineno
        elif event == "return":
            self.last.pop(id(frame), None)
        return self.line


def place_of(error: BaseException) -> str:
    """The innermost line of the lab's, or of a test's, that an exception came through."""
    trace, found = error.__traceback__, "?"
    while trace:
        path = Path(trace.tb_frame.f_code.co_filename)
        if "lab" in path.parts or path.name == "targets.py":
            found = f"{path.name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found


def bend(chance: random.Random, corpus: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """A kept input, changed in one to six places."""
    data = bytearray(chance.choice(corpus))
    for _ in range(chance.choice((1, 1, 2, 3, 6))):
        at = chance.randrange(len(data) + 1)
        size = min(len(data) - at, chance.choice((1, 1, 4, 16, 100, 1000)))
        match chance.randrange(8):
            case 0:
                data[at : at + size] = chance.randbytes(size)
            case 1:
                del data[at : at + size]
            case 2 | 3:
                data[at:at] = chance.choice(words)
            case 4:
                data[at : at + size] = chance.choice(words)
            case 5:
                data[at:at] = data[at : at + size] * chance.choice((1, 2, 10, 100))
            case 6:
                other = chance.choice(corpus)
                start = chance.randrange(len(other) + 1)
                data[at:at] = other[start : start + chance.choice((1, 10, 100, 1000))]
            case 7:
                if at < len(data):
                    data[at] ^= 1 << chance.randrange(8)
    return bytes(data[:MAX_INPUT])


def smaller(crash: Crash, target: Target) -> Crash:
    """The same crash from less, found by leaving things out."""
    kind, data = crash.why.partition(":")[0], crash.data
    step = max(1, len(data) // 2)
    while step:
        at = 0
        while at < len(data):
            less = data[:at] + data[at + step :]
            found = Fuzzer(target=target)
            found.feed(less)
            if kind in found.crashes:
                data = less
            else:
                at += step
        step //= 2
    return Crash(target=crash.target, data=data, why=crash.why)


def lines_executed(target: Target, data: bytes) -> int:
    """Count the lines of Python, the libraries' too, that reading executes; the same on every host.

    What a regular expression or another function in C does inside is one line here.
    """
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with suppress(LabError):
            target.read(data)
    finally:
        sys.settrace(before)
    return count


def peak(target: Target, data: bytes) -> int:
    """Bytes of memory that reading takes at its peak."""
    with suppress(LabError):
        target.read(data)  # what is only made once is made now
    tracemalloc.start()
    try:
        with suppress(LabError):
            target.read(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
