# SPDX-License-Identifier: GPL-2.0-or-later
"""Read a run back as `Evidence`. A run that was killed at any moment can be read; damaged files do not count."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from stat import S_ISREG
from typing import NamedTuple

from pydantic import ValidationError

from lab.core.cache import explain_os_error
from lab.core.errors import InfraError, InputError
from lab.core.outcome import Cause, CellResult, CellStatus, Mismatch, Origin, Run, SavedState, Usage
from lab.core.validation import first_invalid
from lab.evidence.console import bytes_between, slice_of, without_middle
from lab.evidence.events import (
    EVENT,
    JOURNAL,
    MAX_FILE,
    MAX_JOURNAL,
    MAX_KTAP,
    MAX_METADATA,
    MAX_PAPER,
    MAX_TAIL,
    NOT_DONE,
    BootEvent,
    CellEvent,
    Event,
    PlacedEvent,
    RunEvent,
    UsageEvent,
    cell_place,
    safe_name,
    unsealed,
)
from lab.evidence.metadata import Evidence, Metadata


def load(directory: Path) -> Evidence:
    """Read all the evidence of a run from its directory; InputError if it is not the directory of a run."""
    metadata, cells = stream(directory)
    return Evidence(metadata=metadata, cells=tuple(cells), source=str(directory))


def file_of(source: str, cell: CellResult, name: str) -> bytes:
    """Return the content of one of a cell's files, at most MAX_FILE bytes of it; empty if there is no such file."""
    place = cell_place(cell.topology, cell.kernel, cell.repeat)
    return _slice(f"{source}/{place}/{safe_name(name)}", 0, MAX_FILE)


def stream(directory: Path) -> tuple[Metadata, Iterator[CellResult]]:
    """Read the metadata of a run, and its cells one at a time, so that only one cell's evidence is in memory."""
    metadata = read_metadata(directory)
    return metadata, cells(directory, guests_of(metadata))


class GuestKey(NamedTuple):
    """The names of a guest that was to run, and which of the repeats of its cell it is."""

    topology: str
    kernel: str
    repeat: int


def guests_of(metadata: Metadata) -> list[GuestKey]:
    """Return every guest that was to run; those that ran cases again come last."""
    guests: list[GuestKey] = []
    for cell in metadata.cells:
        for repeat in range(1, metadata.repeat + 1):
            guests.append(GuestKey(cell.topology, cell.kernel, repeat))
    for again in metadata.confirming:
        guests.append(GuestKey(again.topology, again.kernel, again.repeat))
    return guests


def cells(directory: Path, guests: Iterable[GuestKey]) -> Iterator[CellResult]:
    """Read guests one at a time."""
    for guest in guests:
        yield cell_result(directory, guest.topology, guest.kernel, guest.repeat)


def read_metadata(directory: Path) -> Metadata:
    """Return the metadata.json of a run; InputError if the directory is not that of a run."""
    path = directory / "metadata.json"
    try:
        data = _regular(path, 0, MAX_METADATA + 1)
        if len(data) > MAX_METADATA:
            raise InputError(path, None, None, f"expected at most {MAX_METADATA >> 20} MiB")
        return Metadata.model_validate(json.loads(data))
    except FileNotFoundError:
        raise InputError(path, None, None, "no such file: expected the directory of a run of the lab") from None
    except OSError as error:
        raise InputError(path, None, None, f"cannot be read: {error.strerror}") from None
    except ValidationError as error:
        key, expected = first_invalid(error)
        raise InputError(path, None, key or None, expected) from None
    except (ValueError, RecursionError) as error:  # ValueError: no UTF-8, no JSON, a number of thousands of digits
        line = error.lineno if isinstance(error, json.JSONDecodeError) else None
        raise InputError(path, line, None, "expected JSON") from None


def cell_result(directory: Path, topology: str, kernel: str, repeat: int) -> CellResult:
    """Return one guest from its files. If one of them cannot be read, this cell is BROKEN and no other."""
    guest = GuestKey(topology, kernel, repeat)
    try:
        return _cell_of_journal(f"{directory}/{cell_place(*guest)}", guest)
    except InfraError as error:
        reason = f"its files cannot be read: {error}"
        return CellResult(**guest._asdict(), status=CellStatus.BROKEN, cause=Cause.DAMAGED, reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Journal:
    """The events of one guest, sorted. The last boot and the last verdict count, and of every run the last event."""

    damage: str
    placed: PlacedEvent
    boot: BootEvent
    restores: tuple[BootEvent, ...]
    runs: tuple[RunEvent, ...]
    complained: Mapping[tuple[str, int], BootEvent]
    """Scenario and attempt of a guest's first program -> the boot of that guest, if the kernel complained in it."""
    usages: tuple[UsageEvent, ...]
    verdict: CellEvent
    origin: Origin | None

    @property
    def accelerator(self) -> str:
        """The accelerator of the guest that booted, or else of those that were restored."""
        if self.boot.accelerator or not self.restores:
            return self.boot.accelerator
        return self.restores[0].accelerator

    @property
    def saved_guest(self) -> SavedState | None:
        """The first state of the cache that a guest was restored from; None if all of them began otherwise."""
        for restore in self.restores:
            if restore.state:
                return SavedState(key=restore.state, saved=restore.saved)
        return None

    @classmethod
    def read(cls, path: str) -> _Journal:
        events, damage = read_journal(path)
        boot, placed, verdict = _not_told()
        restores: list[BootEvent] = []
        runs: dict[tuple[str, int], RunEvent] = {}
        usages: list[UsageEvent] = []
        origin = None
        for event in events:
            if event.event == "run":
                runs[event.scenario, event.attempt] = event
            elif event.event == "usage":
                usages.append(event)
            elif event.event == "boot" and event.how == "restore":
                restores.append(event)
            elif event.event == "boot":
                boot = event
            elif event.event == "placed":
                placed = event
            elif event.event == "cell":
                verdict = event
            elif event.event == "origin":
                origin = Origin(run=event.run, started=event.started)
        return cls(
            damage=damage,
            placed=placed,
            boot=boot,
            restores=tuple(restores),
            runs=tuple(runs.values()),
            complained=_complained(events),
            usages=tuple(usages),
            verdict=verdict,
            origin=origin,
        )


def _complained(events: Iterable[Event]) -> dict[tuple[str, int], BootEvent]:
    """Return the boots in which the kernel complained, by the scenario and attempt of the first run after each."""
    found: dict[tuple[str, int], BootEvent] = {}
    boot: BootEvent | None = None
    for event in events:
        if event.event == "boot" and event.console_to:
            boot = event
        elif event.event == "run" and boot:
            found[event.scenario, event.attempt], boot = boot, None
    return found


@cache
def _not_told() -> tuple[BootEvent, PlacedEvent, CellEvent]:
    """Return the boot, the host and the verdict of a guest whose journal has none."""
    return (
        BootEvent(event="boot", seq=0),
        PlacedEvent(event="placed", seq=0, host=""),
        CellEvent(event="cell", seq=0, status=CellStatus.BROKEN, reason=NOT_DONE, cause=Cause.INTERRUPTED),
    )


def _cell_of_journal(place: str, guest: GuestKey) -> CellResult:
    """Return one guest by its journal. With a damaged journal it is BROKEN, since events may be missing."""
    journal = _Journal.read(f"{place}/{JOURNAL}")
    verdict = journal.verdict
    status, cause, reason = verdict.status, verdict.cause, verdict.reason
    if journal.damage:
        status, cause = CellStatus.BROKEN, Cause.DAMAGED
        reason = "; ".join(filter(None, (journal.damage, reason)))
    with _Console(f"{place}/console.log") as console:
        runs = tuple(
            [
                _run(place, event, console, journal.complained.get((event.scenario, event.attempt)))
                for event in journal.runs
            ]
        )
        tail = "" if status is CellStatus.OK else console.tail()
    slices = tuple([(event.ktap, event.console_from, event.console_to) for event in journal.runs])
    return CellResult(
        topology=guest.topology,
        kernel=guest.kernel,
        repeat=guest.repeat,
        status=status,
        cause=cause,
        reason=reason,
        accelerator=sys.intern(journal.accelerator),
        host=journal.placed.host,
        host_attempt=journal.placed.attempt,
        host_load=journal.placed.load,
        host_fetch_s=journal.placed.fetch_s,
        host_run_s=journal.placed.run_s,
        boot_s=journal.boot.boot_s,
        saved_guest=journal.saved_guest,
        restores_s=tuple([(restore.boot_s or 0) + (restore.login_s or 0) for restore in journal.restores]),
        mismatches=tuple([Mismatch(fact=one.fact, asked=one.asked, got=one.got) for one in verdict.mismatches]),
        runs=runs,
        usage=_total(journal.usages),
        origin=journal.origin,
        papers=partial(_papers, place, slices),
        console=tail,
    )


PAPERS = ("console.log", "facts.json", "config", "domain.xml", "qemu.args", "reproduce.sh")
"""Of every guest; beside them the KTAP of each run, and `<KTAP's stem>.console`: the console during that run."""


def _papers(place: str, runs: Sequence[tuple[str, int, int]]) -> dict[str, str]:
    """Return the files of a guest, name -> text. A file that cannot be read is a line with the reason.

    `runs` has for each run the name of its KTAP, and where its console starts and ends.
    """
    papers = {name: _paper(f"{place}/{name}") for name in PAPERS}
    for ktap, _, _ in runs:
        papers[ktap] = _paper(f"{place}/{ktap}")
    for ktap, start, end in runs:
        papers[f"{ktap.removesuffix('.ktap')}.console"] = _paper(f"{place}/console.log", start, end)
    return {name: text for name, text in papers.items() if text}


def _paper(path: str, start: int = 0, end: int | None = None) -> str:
    """A file's text between two offsets; of more than MAX_PAPER bytes the middle is left out."""
    try:
        with _opened(path) as file:
            stop = file.size if end is None else min(end, file.size)
            return _text(without_middle(file.handle, min(start, file.size), stop, MAX_PAPER))
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"[pagelab: cannot be read: {error.strerror}]"


def _total(events: Sequence[UsageEvent]) -> Usage | None:
    """Return what the emulators of a cell used together; None if it was not measured."""
    if not events:
        return None
    peak, cpu_s, wait_s, life_s = 0, 0.0, 0.0, 0.0
    for one in events:
        peak = max(peak, one.peak)
        cpu_s += one.cpu_s
        wait_s += one.wait_s
        life_s += one.life_s
    return Usage(peak=peak, cpu_s=cpu_s, wait_s=wait_s, life_s=life_s)


def read_journal(path: str | Path) -> tuple[list[Event], str]:
    """Return the events of a journal, and how it is damaged (empty if it is whole).

    The torn last line of a killed lab is no damage: nothing had yet relied on the event that it was to record.
    """
    *lines, _ = _slice(path, 0, MAX_JOURNAL).split(b"\n")
    events: list[Event] = []
    unreadable = missing = 0
    for number, line in enumerate(lines, start=1):
        try:
            event = EVENT.validate_json(unsealed(line) or b"")
        except ValueError:
            unreadable += bool(line.strip())
            continue
        events.append(event)
        missing = max(missing, event.seq - number)
    damage = []
    if unreadable:
        damage.append(f"{unreadable} unreadable lines in its journal")
    if missing:
        damage.append(f"{missing} lines missing from its journal")
    return events, "; ".join(damage)


class _Console:
    """The console of a guest, opened once for all of its runs. A file that is not there is empty."""

    def __init__(self, path: str) -> None:
        self._file: _OpenFile | None = None
        self.size = 0
        try:
            self._file = _opened(path)
            self.size = self._file.size
        except FileNotFoundError:
            pass
        except OSError as error:
            raise explain_os_error(error, path) from error

    def __enter__(self) -> _Console:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()

    def text(self, start: int, stop: int) -> str:
        """Return the text between two offsets, which a journal may name beyond the end, however large."""
        if self._file is None:
            return ""
        return slice_of(self._file.handle, min(start, self.size), min(stop, self.size))

    def tail(self) -> str:
        """Return the end of the text."""
        return self.text(max(0, self.size - MAX_TAIL), self.size)


def _run(place: str, event: RunEvent, console: _Console, boot: BootEvent | None) -> Run:
    output = b""
    try:
        output = _slice(f"{place}/{event.ktap}", 0, MAX_KTAP + 1)
        damage = _damage(event, output, console)
    except InfraError as error:
        damage = str(error)
    return Run(
        scenario=sys.intern(event.scenario),
        attempt=event.attempt,
        end=event.end,
        status=event.status,
        signal=event.signal,
        duration_s=event.duration_s,
        ktap=_text(output[:MAX_KTAP]),
        stderr=event.stderr,
        console=console.text(event.console_from, event.console_to),
        boot_console=console.text(boot.console_from, boot.console_to) if boot else "",
        note=event.note,
        cases=event.cases,
        before=event.before,
        after=event.after,
        damage=damage,
    )


def _damage(event: RunEvent, output: bytes, console: _Console) -> str:
    """Return how a run's files differ from what was written; empty if they do not, or if no size was recorded."""
    if event.ktap_size is None:
        return ""
    if len(output) != event.ktap_size:
        return f"{event.ktap} has {len(output)} bytes, {event.ktap_size} were written"
    if hashlib.sha256(output).hexdigest() != event.ktap_sha256:
        return f"{event.ktap} is not what was written"
    if console.size < event.console_to:
        return f"console.log has {console.size} bytes, {event.console_to} were written"
    return ""


def _slice(path: str | Path, start: int, end: int) -> bytes:
    """Return bytes of a file; empty if there is no such file, InfraError if it cannot be read."""
    try:
        return _regular(path, start, end)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise explain_os_error(error, str(path)) from error


def _regular(path: str | Path, start: int, end: int) -> bytes:
    """Return bytes of a file; OSError if it is no regular file."""
    with _opened(path) as file:
        return bytes_between(file.handle, start, max(start, min(end, file.size)))


class _OpenFile(NamedTuple):
    """A regular file that is open for reading: its descriptor, and its size when it was opened."""

    handle: int
    size: int

    def close(self) -> None:
        os.close(self.handle)

    def __enter__(self) -> _OpenFile:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.handle)


def _opened(path: str | Path) -> _OpenFile:
    """Open a regular file for reading; OSError if it is none.

    A directory of results may come from anywhere: pipes and devices are not waited for, links not followed out of it.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    about = os.fstat(handle)
    if S_ISREG(about.st_mode):
        return _OpenFile(handle, about.st_size)
    os.close(handle)
    raise OSError(errno.EINVAL, "not a regular file", str(path))


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
