# SPDX-License-Identifier: GPL-2.0-or-later
"""The files of a run: written as things happen, read back as `Evidence`. The one place that knows where they lie.

    results/<UTC>-<campaign>/   and results/latest -> it
      metadata.json             written first, and again when the kernels are built
      results.json junit.xml report.txt report.html
      cells/<topology>/<kernel>/
        events.jsonl            the journal: one JSON object per line, appended and synced
        <scenario>.ktap         of the first attempt, <scenario>.2.ktap of the second, ...
        console.log facts.json domain.xml config qemu.args reproduce.sh
        repeat-2/ ...           the same of the second guest of this cell, where it was to run several times

Nothing here judges. A run that was killed at any moment can be read: a torn last line of a journal is ignored, a cell
whose journal does not end is BROKEN, of a program that was running there is what it told until a minute before. Every
line of a journal carries its number and a check sum, every `run` the size and hash of its KTAP: what is torn in the
middle, lost or changed is seen, and is no evidence.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import operator
import os
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial, reduce
from pathlib import Path
from stat import S_ISREG
from typing import Annotated, Any, BinaryIO, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from lab.core.cache import explain_os_error, write_atomic
from lab.core.errors import InfraError, InputError, UsageError
from lab.core.outcome import Cause, CellResult, CellStatus, End, Evidence, Mismatch, Run, Usage
from lab.core.untrusted import one_line
from lab.evidence.console import ConsoleLog

MAX_KTAP = 4 << 20
MAX_STDERR = 16 << 10
MAX_PAPER = 256 << 10
"""Bytes of a guest's file that are given to be shown; of more the middle is left out."""
MAX_TAIL = 32 << 10
"""Bytes of the end of a console that are read for a cell that is not OK."""
MAX_JOURNAL = 64 << 20
MAX_FILE = 64 << 20
MAX_METADATA = 64 << 20
MAX_REPEATS = 10_000
LATEST = "latest"
JOURNAL = "events.jsonl"
LOCK = ".lock"
NOT_DONE = "the lab ended before this cell was done"

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}$")]
"""A name that is safe as a directory's or file's."""
_NAME = TypeAdapter(Name)


# Writing.


@dataclass(slots=True)
class _Tail:
    """Where its writer left a journal: bytes and whole lines."""

    size: int = 0
    lines: int = 0


@dataclass(frozen=True, slots=True)
class CellDir:
    """One cell's directory. Safe to use from one thread per cell."""

    path: Path
    _tail: _Tail = field(default_factory=_Tail, init=False, repr=False, compare=False)

    @property
    def console(self) -> Path:
        """Where the console goes; nothing is there before the guest starts."""
        return self.path / "console.log"

    def write(self, name: str, data: bytes | str) -> Path:
        """Write one of the cell's files (facts.json, domain.xml, config, qemu.args, reproduce.sh) in one step."""
        target = self.path / _safe(name)
        write_atomic(target, data.encode("utf-8", "replace") if isinstance(data, str) else data)
        if target.suffix == ".sh":
            target.chmod(0o755)
        return target

    def boot(
        self,
        *,
        accelerator: str,
        boot_s: float | None,
        attempt: int = 1,
        how: Literal["boot", "restore"] = "boot",
        login_s: float | None = None,
    ) -> None:
        """A guest was started: `boot_s` to its ready line (or until it was restored), then `login_s` to an answer."""
        told = {"how": how, "accelerator": accelerator, "boot_s": boot_s, "login_s": login_s, "attempt": attempt}
        self._append({"event": "boot", **told})

    def saved(self, *, save_s: float | None = None, size: int = 0, note: str = "") -> None:
        """A guest was saved, `size` bytes; or, with a `note` that says why, guests of this cell are not."""
        self._append({"event": "save", "save_s": save_s, "bytes": size, "note": note})

    def usage(self, usage: Usage) -> None:
        """A guest ended; what its emulator took."""
        seconds = {"cpu_s": usage.cpu_s, "wait_s": usage.wait_s, "life_s": usage.life_s}
        told = {name: round(value, 2) for name, value in seconds.items()}
        self._append({"event": "usage", "peak": usage.peak, **told})

    def finish(
        self, status: CellStatus, reason: str = "", mismatches: Sequence[Mismatch] = (), *, cause: Cause = Cause.LAB
    ) -> None:
        """What became of the cell. The last word counts; without one the cell is BROKEN. `cause` is that of BROKEN."""
        listed = [{"fact": one.fact, "asked": one.asked, "got": one.got} for one in mismatches]
        why = {"cause": cause.value} if status is CellStatus.BROKEN else {}
        self._append({"event": "cell", "status": status.value, "reason": reason, "mismatches": listed, **why})

    def run(self, run: Run, *, console_from: int = 0, console_to: int | None = None) -> None:
        """One execution of a scenario: its KTAP to a file first, then the event. For one attempt the last word counts.

        `console_from` and `console_to` are byte offsets into console.log (None: its end); `run.console` is not kept.
        """
        ktap = f"{_safe(run.scenario)}{'' if run.attempt == 1 else f'.{run.attempt}'}.ktap"
        said = run.ktap.encode("utf-8", "replace")[:MAX_KTAP]
        write_atomic(self.path / ktap, said)
        self._append(
            {
                "event": "run",
                "scenario": run.scenario,
                "attempt": run.attempt,
                "end": run.end.value,
                "status": run.status,
                "signal": run.signal,
                "duration_s": run.duration_s,
                "ktap": ktap,
                "ktap_size": len(said),
                "ktap_sha256": hashlib.sha256(said).hexdigest(),
                "stderr": run.stderr[-MAX_STDERR:],
                "console_from": console_from,
                "console_to": self.console_size() if console_to is None else console_to,
                "note": run.note,
                "cases": list(run.cases),
                "before": run.before,
                "after": run.after,
            }
        )

    def rewind(self, runs: Sequence[Run]) -> None:
        """Begin the journal anew with just these runs, and the boots before them; what follows them is to be repeated.

        The runs are those that `load` gave; their KTAP and console stay where they are.
        """
        events, _ = _journal(self.path / JOURNAL)
        kept = {(run.scenario, run.attempt) for run in runs}
        lines = [
            _sealed(event.model_dump(mode="json", exclude={"seq", "crc"}), number)
            for number, event in enumerate((each for each in events if _stays(each, kept)), start=1)
        ]
        write_atomic(self.path / JOURNAL, whole := b"".join(lines))
        self._tail.size, self._tail.lines = len(whole), len(lines)

    def console_size(self) -> int:
        """How many bytes the console has so far: an offset for `run`."""
        try:
            return self.console.stat().st_size
        except OSError:
            return 0

    def _append(self, event: Mapping[str, object]) -> None:
        """Add a line to the journal and bring it to the disk; a torn line of a killed lab is closed off first."""
        journal = self.path / JOURNAL
        try:
            with journal.open("ab+") as file:
                size, lines, torn = self._end(file)
                line = torn + _sealed(event, lines + len(torn) + 1)
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise explain_os_error(error, str(journal)) from error
        self._tail.size, self._tail.lines = size + len(line), lines + line.count(b"\n")

    def _end(self, file: BinaryIO) -> tuple[int, int, bytes]:
        """How a journal ends: its bytes, its lines, and the newline that a torn last line needs.

        It is read only where it is not as this writer left it: another lab wrote it, or a write failed half way.
        """
        if os.fstat(file.fileno()).st_size == self._tail.size:
            return self._tail.size, self._tail.lines, b""
        file.seek(0)
        before = file.read(MAX_JOURNAL)
        return len(before), before.count(b"\n"), b"\n" if before and not before.endswith(b"\n") else b""


@dataclass(frozen=True, slots=True)
class RunDir:
    """A run's directory."""

    path: Path

    @classmethod
    def create(
        cls,
        results: Path,
        campaign: str,
        metadata: Mapping[str, Any],
        *,
        output: Path | None = None,
        now: datetime | None = None,
    ) -> RunDir:
        """Make the run's directory with its metadata.json, and point `latest` beside it at it.

        `output` is a directory of the user's own choice instead of results/<UTC>-<campaign>: UsageError when there is
        something in it.
        """
        try:
            path = _chosen(output) if output else _fresh(results, _safe(campaign), now or datetime.now(UTC))
        except OSError as error:
            raise explain_os_error(error, str(output or results)) from error
        run = cls(path)
        run.lock()
        run.write_metadata(metadata)
        if not output:
            _point(path.parent / LATEST, path.name)
        return run

    def write_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Write or replace metadata.json in one step."""
        data = json.dumps({"schema": 1, **metadata}, indent=2, default=jsonable) + "\n"
        write_atomic(self.path / "metadata.json", data.encode())

    def lock(self) -> int:
        """Be the only lab that writes here, until this process ends; UsageError when another one is at it.

        The open file is the lock: its number is returned for who wants to give it back earlier.
        """
        try:
            handle = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise UsageError(f"another lab is still writing to {self.path}") from None
        except OSError as error:
            raise explain_os_error(error, str(self.path)) from error
        return handle

    def cell(self, topology: str, kernel: str, repeat: int = 1) -> CellDir:
        """The directory of a cell's guest; made when it is not there."""
        path = self.path / cell_path(_safe(topology), _safe(kernel), repeat)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise explain_os_error(error, str(path)) from error
        return CellDir(path)


def cell_path(topology: str, kernel: str, repeat: int) -> Path:
    """Where the evidence of a guest lies, below the run's directory."""
    path = Path("cells", topology, kernel)
    return path if repeat == 1 else path / f"repeat-{repeat}"


# `{..., "seq": 3, "crc": "0123abcd"}`: the check sum is that of all that stands before it.
_SEAL = re.compile(rb'(.*), "crc": "([0-9a-f]{8})"\}', re.DOTALL)


def _sealed(event: Mapping[str, object], number: int) -> bytes:
    """A journal's line: the event, its number, and the check sum of both."""
    open_end = json.dumps({**event, "seq": number}, ensure_ascii=False).encode("utf-8", "replace")[:-1]
    return open_end + b', "crc": "%08x"}\n' % zlib.crc32(open_end)


def _stays(event: _Event, runs: set[tuple[str, int]]) -> bool:
    return isinstance(event, _Boot | _Usage) or (isinstance(event, _Run) and (event.scenario, event.attempt) in runs)


def _safe(name: str) -> str:
    """A name as it may stand in a path; InfraError otherwise, since names were checked long before."""
    try:
        return _NAME.validate_python(name)
    except ValidationError:
        raise InfraError(f"no name for a file: {one_line(name, 80)!r}") from None


def jsonable(value: object) -> object:
    """What metadata.json has for a value that JSON does not know; TypeError for one that does not belong there."""
    if isinstance(value, frozenset | set):
        return sorted(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"cannot write {type(value).__name__} to metadata.json")


def _chosen(path: Path) -> Path:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"{path} is there already and not empty", hint="choose another directory for -o")
    path.mkdir(parents=True, exist_ok=True)
    return path


def _fresh(results: Path, campaign: str, now: datetime) -> Path:
    """A new directory: two runs in one second get different ones."""
    results.mkdir(parents=True, exist_ok=True)
    stem = f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{campaign}"
    for suffix in ("", *(f"-{number}" for number in range(2, 1000))):
        path = results / f"{stem}{suffix}"
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    raise InfraError(f"{results / stem}: a thousand runs in one second")


def _point(link: Path, target: str) -> None:
    """Let `link` point at `target` in one step. What is there and no link is the user's: left alone."""
    if link.exists() and not link.is_symlink():
        return
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    try:
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target, target_is_directory=True)
        temporary.replace(link)
    except OSError as error:
        raise explain_os_error(error, str(link)) from error


# Reading.


class _Strict(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class _CellName(_Strict):
    topology: Name
    kernel: Name


class _CaseSpec(_Strict):
    name: str
    requires: tuple[str, ...] = ()
    description: str = ""
    timeout_s: float = 10.0


class _KernelSpec(_Strict):
    source: str = ""
    series: str | None = None
    provides: tuple[str, ...] = ()


class _Metadata(_Strict):
    """What a reader relies on in metadata.json; everything else is passed on as it is."""

    schema_: Literal[1] = Field(alias="schema")
    campaign: dict[str, Any] = {}
    repeat: Annotated[int, Field(ge=1, le=MAX_REPEATS)] = 1
    topologies: dict[str, dict[str, Any]] = {}
    kernels: dict[str, _KernelSpec] = {}
    cells: tuple[_CellName, ...]
    cases: dict[Name, tuple[_CaseSpec, ...]] = {}
    builds: dict[str, dict[str, Any]] = {}
    host: dict[str, Any] = {}


class _Boot(_Strict):
    event: Literal["boot"]
    seq: int
    how: Literal["boot", "restore"] = "boot"
    accelerator: str = ""
    boot_s: float | None = None
    login_s: float | None = None


class _Save(_Strict):
    event: Literal["save"]
    seq: int
    note: str = ""


class _Usage(_Strict):
    event: Literal["usage"]
    seq: int
    peak: Annotated[int, Field(ge=0)]
    cpu_s: Annotated[float, Field(ge=0)]
    wait_s: Annotated[float, Field(ge=0)] = 0.0
    life_s: Annotated[float, Field(ge=0)]


class _Mismatch(_Strict):
    fact: str
    asked: str
    got: str


class _Cell(_Strict):
    event: Literal["cell"]
    seq: int
    status: CellStatus
    reason: str = ""
    cause: Cause = Cause.LAB
    mismatches: tuple[_Mismatch, ...] = ()


class _Run(_Strict):
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


_Event = _Boot | _Save | _Usage | _Cell | _Run
_EVENT: TypeAdapter[_Event] = TypeAdapter(Annotated[_Event, Field(discriminator="event")])


def load(directory: Path) -> Evidence:
    """Everything a run left, from its directory alone; InputError when that is no run's."""
    metadata, names = _metadata(directory / "metadata.json")
    return Evidence(metadata=metadata, cells=tuple(_cell(directory, *name) for name in names), source=str(directory))


def file_of(source: str, cell: CellResult, name: str) -> bytes:
    """One of a cell's files as it is, at most MAX_FILE bytes of it; nothing where there is none."""
    return _slice(Path(source) / cell_path(cell.topology, cell.kernel, cell.repeat) / _safe(name), 0, MAX_FILE)


def stream(directory: Path) -> tuple[dict[str, Any], Iterator[CellResult]]:
    """The metadata of a run, and its cells one after the other: read with the memory for one cell's evidence."""
    metadata, names = _metadata(directory / "metadata.json")
    return metadata, (_cell(directory, *name) for name in names)


def _metadata(path: Path) -> tuple[dict[str, Any], list[tuple[str, str, int]]]:
    """metadata.json as it is, and topology, kernel and repeat of every guest that was to run."""
    try:
        data = _regular(path, 0, MAX_METADATA + 1)
        if len(data) > MAX_METADATA:
            raise InputError(path, None, None, f"expected at most {MAX_METADATA >> 20} MiB")
        raw = json.loads(data)
        checked = _Metadata.model_validate(raw)
    except FileNotFoundError:
        raise InputError(path, None, None, "no such file: expected the directory of a run of the lab") from None
    except OSError as error:
        raise InputError(path, None, None, f"cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise InputError(path, None, key or None, one_line(first["msg"])) from None
    except (ValueError, RecursionError) as error:  # ValueError: no UTF-8, no JSON, a number of thousands of digits
        line = error.lineno if isinstance(error, json.JSONDecodeError) else None
        raise InputError(path, line, None, "expected JSON") from None
    repeats = range(1, checked.repeat + 1)
    return raw, [(cell.topology, cell.kernel, repeat) for cell in checked.cells for repeat in repeats]


def _cell(directory: Path, topology: str, kernel: str, repeat: int) -> CellResult:
    """One guest as its files have it. Where one of them cannot be read the cell is BROKEN, and the others stand."""
    try:
        return _told(directory, topology, kernel, repeat)
    except InfraError as error:
        return CellResult(
            topology=topology,
            kernel=kernel,
            repeat=repeat,
            status=CellStatus.BROKEN,
            cause=Cause.DAMAGED,
            reason=f"its files cannot be read: {error}",
        )


def _told(directory: Path, topology: str, kernel: str, repeat: int) -> CellResult:
    """One guest from its journal: the last boot and the last verdict count, and of every run the last word.

    With a damaged journal the cell is BROKEN, whatever it says: nobody knows what else it said.
    """
    path = directory / cell_path(topology, kernel, repeat)
    events, damage = _journal(path / JOURNAL)
    starts = [event for event in events if isinstance(event, _Boot)]
    runs = {(event.scenario, event.attempt): event for event in events if isinstance(event, _Run)}.values()
    boot = next((start for start in reversed(starts) if start.how == "boot"), _Boot(event="boot", seq=0))
    unfinished = _Cell(event="cell", seq=0, status=CellStatus.BROKEN, reason=NOT_DONE, cause=Cause.INTERRUPTED)
    verdict = next((event for event in reversed(events) if isinstance(event, _Cell)), unfinished)
    status = CellStatus.BROKEN if damage else verdict.status
    return CellResult(
        topology=topology,
        kernel=kernel,
        repeat=repeat,
        status=status,
        cause=Cause.DAMAGED if damage else verdict.cause,
        accelerator=boot.accelerator,
        boot_s=boot.boot_s,
        restores_s=tuple((start.boot_s or 0) + (start.login_s or 0) for start in starts if start.how == "restore"),
        reason="; ".join(filter(None, (damage, verdict.reason))),
        mismatches=tuple(Mismatch(fact=one.fact, asked=one.asked, got=one.got) for one in verdict.mismatches),
        runs=tuple(_run(path, event) for event in runs),
        console="" if status is CellStatus.OK else _console_tail(path / "console.log"),
        usage=_total([event for event in events if isinstance(event, _Usage)]),
        papers=partial(_papers, path, [_place(event) for event in runs]),
    )


PAPERS = ("console.log", "facts.json", "config", "domain.xml", "qemu.args", "reproduce.sh")
"""Of every guest; beside them the KTAP of each run, and `<KTAP's stem>.console`: what the console said meanwhile."""


def _place(event: _Run) -> tuple[str, int, int]:
    return event.ktap, event.console_from, event.console_to


def _papers(path: Path, runs: Sequence[tuple[str, int, int]]) -> dict[str, str]:
    """The files of a guest that are there, name -> text. What cannot be read says so instead."""
    wanted: dict[str, tuple[str, int, int | None]] = {
        name: (name, 0, None) for name in (*PAPERS, *(ktap for ktap, _, _ in runs))
    }
    wanted |= {f"{ktap.removesuffix('.ktap')}.console": ("console.log", start, end) for ktap, start, end in runs}
    found = {name: _paper(path / file, start, end) for name, (file, start, end) in wanted.items()}
    return {name: text for name, text in found.items() if text}


def _paper(path: Path, start: int, end: int | None) -> str:
    """A file's text between two offsets; of more than MAX_PAPER bytes the middle is left out."""
    try:
        size = path.lstat().st_size
        start, stop = min(start, size), size if end is None else min(end, size)
        if stop - start <= MAX_PAPER:
            return _text(_regular(path, start, stop))
        half = MAX_PAPER // 2
        cut = f"\n[pagelab: {stop - start - MAX_PAPER} bytes left out]\n"
        return _text(_regular(path, start, start + half)) + cut + _text(_regular(path, stop - half, stop))
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"[pagelab: cannot be read: {error.strerror}]"


def _total(events: Sequence[_Usage]) -> Usage | None:
    """What the emulators of a cell took together; None when nobody could tell."""
    each = [Usage(peak=one.peak, cpu_s=one.cpu_s, wait_s=one.wait_s, life_s=one.life_s) for one in events]
    return reduce(operator.add, each) if each else None


def _journal(path: Path) -> tuple[list[_Event], str]:
    """Events of a journal, and in what it is damaged (empty: it is whole).

    The torn last line of a killed lab is no damage: whatever it was to say had not happened yet for anybody else.
    """
    *lines, _ = _slice(path, 0, MAX_JOURNAL).split(b"\n")
    events: list[_Event] = []
    unreadable = missing = 0
    for number, line in enumerate(lines, start=1):
        try:
            event = _EVENT.validate_json(line if _sound(line) else b"")
        except ValueError:
            unreadable += bool(line.strip())
            continue
        events.append(event)
        missing = max(missing, event.seq - number)
    parts = [f"{unreadable} unreadable lines in its journal"] if unreadable else []
    parts += [f"{missing} lines missing from its journal"] if missing else []
    return events, "; ".join(parts)


def _sound(line: bytes) -> bool:
    """Whether a line is what its check sum was made of."""
    sealed = _SEAL.fullmatch(line)
    return sealed is not None and zlib.crc32(sealed[1]) == int(sealed[2], 16)


def _run(path: Path, event: _Run) -> Run:
    try:
        said, damage = _slice(path / event.ktap, 0, MAX_KTAP + 1), ""
    except InfraError as error:
        said, damage = b"", str(error)
    return Run(
        scenario=event.scenario,
        attempt=event.attempt,
        end=event.end,
        status=event.status,
        signal=event.signal,
        duration_s=event.duration_s,
        ktap=_text(said[:MAX_KTAP]),
        stderr=event.stderr,
        console=ConsoleLog(path / "console.log").text(event.console_from, event.console_to),
        note=event.note,
        cases=event.cases,
        before=event.before,
        after=event.after,
        damage=damage or _damage(path, event, said),
    )


def _damage(path: Path, event: _Run, said: bytes) -> str:
    """In what the files of a run are not what was written; empty when they are whole, or nobody knows."""
    if event.ktap_size is None:
        return ""
    if len(said) != event.ktap_size:
        return f"{event.ktap} has {len(said)} bytes, {event.ktap_size} were written"
    if hashlib.sha256(said).hexdigest() != event.ktap_sha256:
        return f"{event.ktap} is not what was written"
    size = ConsoleLog(path / "console.log").size()
    if size < event.console_to:
        return f"console.log has {size} bytes, {event.console_to} were written"
    return ""


def _console_tail(path: Path) -> str:
    console = ConsoleLog(path)
    size = console.size()
    return console.text(max(0, size - MAX_TAIL), size)


def _slice(path: Path, start: int, end: int) -> bytes:
    """Bytes of a file; none where there is none. A file that cannot be read is the lab's trouble: InfraError."""
    try:
        return _regular(path, start, end)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise explain_os_error(error, str(path)) from error


def _regular(path: Path, start: int, end: int) -> bytes:
    """Bytes of a file; OSError where it is none.

    A directory of results may come from anywhere: pipes and devices are not waited for, links not followed out of it.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    with os.fdopen(handle, "rb") as file:
        if not S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        file.seek(start)
        return file.read(max(0, min(end, os.fstat(handle).st_size) - start))  # read() makes room for what it is told


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
