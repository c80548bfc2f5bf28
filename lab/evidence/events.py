# SPDX-License-Identifier: GPL-2.0-or-later
"""The files of a run as data: their names and limits, and the events of a journal. Pure.

    results/<UTC>-<campaign>/   and results/latest -> it
      metadata.json             written first, and again when the kernels are built
      results.json junit.xml report.txt report.html
      cells/<topology>/<kernel>/
        events.jsonl            the journal: one JSON object per line, appended and synced
        <scenario>.ktap         of the first attempt, <scenario>.2.ktap of the second, ...
        console.log facts.json domain.xml config qemu.args reproduce.sh
        repeat-2/ ...           the same of the second guest of this cell, where it was to run several times

Nothing here judges. A run that was killed at any moment can be read: a torn last line of a journal is ignored, a cell
whose journal has no end is BROKEN, and of a program that was running there is the output up to a minute before. Every
line of a journal carries its number and a check sum, and every `run` the size and hash of its KTAP: what is torn in the
middle, missing or changed is detected, and does not count. `write` writes the files, `read` reads them back.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from lab.core.errors import InfraError
from lab.core.outcome import Cause, CellStatus, End
from lab.core.untrusted import one_line
from lab.evidence.metadata import Name

MAX_KTAP = 4 << 20
MAX_STDERR = 16 << 10
MAX_PAPER = 256 << 10
"""Bytes of a guest's file that a report shows; the middle of a longer file is left out."""
MAX_TAIL = 32 << 10
"""Bytes of the end of a console that are read for a cell that is not OK."""
MAX_JOURNAL = 64 << 20
MAX_FILE = 64 << 20
MAX_METADATA = 64 << 20
LATEST = "latest"
JOURNAL = "events.jsonl"
LOCK = ".lock"
NOT_DONE = "the lab ended before this cell was done"


_NAME = TypeAdapter(Name)


def gcov_file(scenario: str, attempt: int) -> str:
    """Return the name of the file with the line counters of one execution, in the directory of its cell."""
    return f"{scenario}.gcov" if attempt == 1 else f"{scenario}.{attempt}.gcov"


def cell_place(topology: str, kernel: str, repeat: int) -> str:
    """Return the directory with the evidence of a guest, relative to that of the run, as text."""
    place = f"cells/{topology}/{kernel}"
    return place if repeat == 1 else f"{place}/repeat-{repeat}"


def cell_path(topology: str, kernel: str, repeat: int) -> Path:
    """Return the directory with the evidence of a guest, relative to that of the run."""
    return Path(cell_place(topology, kernel, repeat))


def sealed(event: Mapping[str, object], number: int) -> bytes:
    """Return a journal's line: the event, its number, and the check sum of both."""
    open_end = json.dumps({**event, "seq": number}, ensure_ascii=False).encode("utf-8", "replace")[:-1]
    return open_end + _seal(open_end) + b"\n"


def unsealed(line: bytes) -> bytes | None:
    """Return a journal's event from its line without the newline; None if the line does not match its check sum."""
    open_end = line[:-SEAL_LENGTH]
    return open_end + b"}" if line.endswith(_seal(open_end)) else None


def _seal(open_end: bytes) -> bytes:
    """Return the end of a line, `{..., "seq": 3, "crc": "0123abcd"}`: the check sum of all that stands before it."""
    return b', "crc": "%08x"}' % zlib.crc32(open_end)


SEAL_LENGTH = len(_seal(b""))


def safe_name(name: str) -> str:
    """Return a name that may stand in a path; InfraError for any other, as names were checked when they were read."""
    try:
        return _NAME.validate_python(name)
    except ValidationError:
        raise InfraError(f"no name for a file: {one_line(name, 80)!r}") from None


class _Strict(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)


class BootEvent(_Strict):
    event: Literal["boot"]
    seq: int
    how: Literal["boot", "restore"] = "boot"
    accelerator: str = ""
    boot_s: float | None = None
    login_s: float | None = None
    state: str = ""
    """The key of the state in the cache that the guest was restored from; empty if it was of this cell, or booted."""
    saved: str = ""
    """When that state was saved, in ISO 8601."""
    console_from: Annotated[int, Field(ge=0)] = 0
    console_to: Annotated[int, Field(ge=0)] = 0
    """Where the boot is in console.log, if the kernel complained in it; else both are 0."""


class PlacedEvent(_Strict):
    """Which host of a cluster ran the cell, at which attempt."""

    event: Literal["placed"]
    seq: int
    host: str
    attempt: Annotated[int, Field(ge=1)] = 1
    load: float = 0.0
    fetch_s: Annotated[float, Field(ge=0)] = 0.0
    run_s: Annotated[float, Field(ge=0)] = 0.0
    """0 in the event that opens the attempt; the one that closes it has the time."""


class SaveEvent(_Strict):
    event: Literal["save"]
    seq: int
    note: str = ""


class UsageEvent(_Strict):
    event: Literal["usage"]
    seq: int
    peak: Annotated[int, Field(ge=0)]
    cpu_s: Annotated[float, Field(ge=0)]
    wait_s: Annotated[float, Field(ge=0)] = 0.0
    life_s: Annotated[float, Field(ge=0)]


class MismatchEvent(_Strict):
    fact: str
    asked: str
    got: str


class CellEvent(_Strict):
    event: Literal["cell"]
    seq: int
    status: CellStatus
    reason: str = ""
    cause: Cause = Cause.LAB
    mismatches: tuple[MismatchEvent, ...] = ()


class RunEvent(_Strict):
    event: Literal["run"]
    seq: int
    scenario: str
    attempt: Annotated[int, Field(ge=1)] = 1
    end: End
    status: int | None = None
    signal: str | None = None
    duration_s: float = 0.0
    ktap: Name
    ktap_size: int | None = None
    ktap_sha256: str = ""
    stderr: str = ""
    console_from: Annotated[int, Field(ge=0)] = 0
    console_to: Annotated[int, Field(ge=0)] = 0
    note: str = ""
    cases: tuple[str, ...] = ()
    before: dict[str, int] | None = None
    after: dict[str, int] | None = None


class OriginEvent(_Strict):
    """All events before it were recorded by an earlier run, whose guest is not started again."""

    event: Literal["origin"]
    seq: int
    run: str
    started: str


Event = BootEvent | PlacedEvent | SaveEvent | UsageEvent | CellEvent | RunEvent | OriginEvent


EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])
