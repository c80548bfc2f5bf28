# SPDX-License-Identifier: GPL-2.0-or-later
"""Write the files of a run, as things happen. `lab/evidence/events.py` lists them."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Literal

from lab.core.cache import explain_os_error, write_atomic
from lab.core.errors import InfraError, UsageError
from lab.core.outcome import Cause, CellStatus, Mismatch, Origin, Run, Usage
from lab.evidence.events import (
    JOURNAL,
    LATEST,
    LOCK,
    MAX_JOURNAL,
    MAX_KTAP,
    MAX_STDERR,
    BootEvent,
    Event,
    PlacedEvent,
    RunEvent,
    UsageEvent,
    cell_path,
    safe_name,
    sealed,
)
from lab.evidence.metadata import Metadata
from lab.evidence.read import read_journal


@dataclass(slots=True)
class _Tail:
    """The size of a journal after its last write: bytes and whole lines."""

    size: int = 0
    lines: int = 0


@dataclass(frozen=True, slots=True)
class CellDir:
    """One cell's directory. Safe to use from one thread per cell."""

    path: Path
    synced: bool = True
    """Whether everything is brought to the disk at once; False where a killed computer loses nothing that counts."""
    _tail: _Tail = field(default_factory=_Tail, init=False, repr=False, compare=False)

    @property
    def console(self) -> Path:
        """The console's file, which does not exist before the guest starts."""
        return self.path / "console.log"

    def write(self, name: str, data: bytes | str) -> Path:
        """Write one of the cell's files (facts.json, domain.xml, config, qemu.args, reproduce.sh) in one step."""
        target = self.path / safe_name(name)
        content = data.encode("utf-8", "replace") if isinstance(data, str) else data
        write_atomic(target, content, synced=self.synced)
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
        state: str = "",
        saved: str = "",
        complained: tuple[int, int] | None = None,
    ) -> None:
        """Record the start of a guest: `boot_s` to its ready line (or its restored state), `login_s` to an answer.

        `state` is the key of the state in the cache that it was restored from, `saved` when that was saved.
        `complained`: where its boot begins and ends in console.log, if the kernel complained while it booted.
        """
        facts: dict[str, object] = {"how": how, "accelerator": accelerator, "boot_s": boot_s, "login_s": login_s}
        facts["attempt"] = attempt
        if state:
            facts |= {"state": state, "saved": saved}
        if complained:
            facts |= {"console_from": complained[0], "console_to": complained[1]}
        self._append({"event": "boot", **facts})

    def placed(self, *, host: str, attempt: int, load: float, fetch_s: float = 0.0, run_s: float = 0.0) -> None:
        """Record the host of a cluster that runs the cell, with its load average.

        `fetch_s` is how long it took to fetch what the guests boot from, `run_s` how long they ran. The last counts.
        """
        times = {"load": load, "fetch_s": fetch_s, "run_s": run_s}
        rounded = {name: round(value, 2) for name, value in times.items()}
        self._append({"event": "placed", "host": host, "attempt": attempt, **rounded})

    def saved(self, *, save_s: float | None = None, size: int = 0, note: str = "") -> None:
        """Record that a guest was saved, `size` bytes; or, with a `note`, why guests of this cell are not saved."""
        self._append({"event": "save", "save_s": save_s, "bytes": size, "note": note})

    def usage(self, usage: Usage) -> None:
        """Record what the emulator of a guest that ended has used."""
        seconds = {"cpu_s": usage.cpu_s, "wait_s": usage.wait_s, "life_s": usage.life_s}
        rounded = {name: round(value, 2) for name, value in seconds.items()}
        self._append({"event": "usage", "peak": usage.peak, **rounded})

    def origin(self, origin: Origin) -> None:
        """Record that all events so far are those of an earlier run."""
        self._append({"event": "origin", "run": origin.run, "started": origin.started})

    def finish(
        self, status: CellStatus, reason: str = "", mismatches: Sequence[Mismatch] = (), *, cause: Cause = Cause.LAB
    ) -> None:
        """Record what became of the cell. The last event counts; without one the cell is BROKEN, with this `cause`."""
        listed = [{"fact": one.fact, "asked": one.asked, "got": one.got} for one in mismatches]
        why = {"cause": cause.value} if status is CellStatus.BROKEN else {}
        self._append({"event": "cell", "status": status.value, "reason": reason, "mismatches": listed, **why})

    def run(self, run: Run, *, console_from: int = 0, console_to: int | None = None) -> None:
        """One execution of a scenario: its KTAP to a file first, then the event. For one attempt the last word counts.

        `console_from` and `console_to` are byte offsets into console.log (None: its end); `run.console` is not kept.
        """
        stem = safe_name(run.scenario)
        if run.attempt > 1:
            stem += f".{run.attempt}"
        ktap = f"{stem}.ktap"
        output = run.ktap.encode("utf-8", "replace")[:MAX_KTAP]
        write_atomic(self.path / ktap, output, synced=self.synced)
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
                "ktap_size": len(output),
                "ktap_sha256": hashlib.sha256(output).hexdigest(),
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
        """Start the journal again with just these runs, and the boots before them; what follows them is to be repeated.

        The runs are those that `load` gave; their KTAP and console stay where they are.
        """
        events, _ = read_journal(self.path / JOURNAL)
        kept = {(run.scenario, run.attempt) for run in runs}
        lines = [
            sealed(event.model_dump(mode="json", exclude={"seq", "crc"}), number)
            for number, event in enumerate((record for record in events if _stays(record, kept)), start=1)
        ]
        write_atomic(self.path / JOURNAL, whole := b"".join(lines), synced=self.synced)
        self._tail.size, self._tail.lines = len(whole), len(lines)

    def console_size(self) -> int:
        """Return how many bytes the console has so far: an offset for `run`."""
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
                line = torn + sealed(event, lines + len(torn) + 1)
                file.write(line)
                file.flush()
                if self.synced:
                    os.fsync(file.fileno())
        except OSError as error:
            raise explain_os_error(error, str(journal)) from error
        self._tail.size, self._tail.lines = size + len(line), lines + line.count(b"\n")

    def _end(self, file: BinaryIO) -> tuple[int, int, bytes]:
        """How a journal ends: its bytes, its lines, and the newline that a torn last line needs.

        The file is read only if its size is not what this writer left: another lab wrote it, or a write failed.
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
        metadata: Metadata,
        *,
        output: Path | None = None,
        now: datetime | None = None,
    ) -> RunDir:
        """Make the run's directory with its metadata.json, and point `latest` beside it at it.

        `output` is a directory of the user's own choice instead of results/<UTC>-<campaign>: UsageError when there is
        something in it.
        """
        try:
            path = _chosen(output) if output else _fresh(results, safe_name(campaign), now or datetime.now(UTC))
        except OSError as error:
            raise explain_os_error(error, str(output or results)) from error
        run = cls(path)
        run.lock()
        run.write_metadata(metadata)
        if not output:
            _point(path.parent / LATEST, path.name)
        return run

    def write_metadata(self, metadata: Metadata) -> None:
        """Write or replace metadata.json in one step."""
        write_atomic(self.path / "metadata.json", (json.dumps(metadata.document(), indent=2) + "\n").encode())

    def lock(self) -> int:
        """Be the only lab that writes here, until this process ends; UsageError if another lab holds the lock.

        The open file is the lock: its number is returned, so that a caller can close it earlier.
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
        """Return the directory of a cell's guest, and make it if it is missing."""
        path = self.path / cell_path(safe_name(topology), safe_name(kernel), repeat)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise explain_os_error(error, str(path)) from error
        return CellDir(path)


def _stays(event: Event, runs: set[tuple[str, int]]) -> bool:
    return isinstance(event, BootEvent | PlacedEvent | UsageEvent) or (
        isinstance(event, RunEvent) and (event.scenario, event.attempt) in runs
    )


def _chosen(path: Path) -> Path:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"{path} is there already and not empty", hint="choose another directory for -o")
    path.mkdir(parents=True, exist_ok=True)
    return path


def _fresh(results: Path, campaign: str, now: datetime) -> Path:
    """Make and return a new directory. Two runs in the same second get different ones."""
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
    """Let `link` point at `target` in one step. A file or directory of that name is the user's and stays."""
    if link.exists() and not link.is_symlink():
        return
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    try:
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target, target_is_directory=True)
        temporary.replace(link)
    except OSError as error:
        raise explain_os_error(error, str(link)) from error
