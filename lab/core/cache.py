# SPDX-License-Identifier: GPL-2.0-or-later
"""The content-addressed cache, whose entries appear in one step when they are complete.

Layout below the root (`$PAGELAB_CACHE`, else `$XDG_CACHE_HOME/pagelab`, else ~/.cache/pagelab):

    <kind>/<key>/        a finished entry, never changed afterwards
    locks/<kind>-<key>   flock()ed by the process that makes the entry; the kernel drops the lock when that process dies
    tmp/                 entries being made; the next lab removes what a killed one left there
    sums/<kind>-<key>    checksums of the entry's files, if it has few: every process compares them once

With a `remote`, a missing entry is fetched from there if possible; an entry that was built here is stored there.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from lab.core import proc
from lab.core.deadline import pause
from lab.core.errors import DiskFull, InfraError

KEY_LENGTH = 20
LOCK_POLL_S = 0.1
"""An entry that another lab makes is looked for this often."""
MANY_FILES = 2000
"""If an entry has more files, one sync() of everything is faster than fsync() of each file."""
FEW_FILES = 100
"""An entry with more files has no checksums."""
MAX_CHECKED = 128 << 20
"""A larger entry (bytes) has no checksums. Computing them takes some milliseconds for a kernel or a userland."""


def default_root() -> Path:
    """Return the cache's directory for this user."""
    if own := os.environ.get("PAGELAB_CACHE"):
        return Path(own).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base).absolute() / "pagelab"


def digest(*parts: str | bytes) -> str:
    """Return a key computed from all parts and the boundaries between them."""
    state = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        state.update(len(raw).to_bytes(8, "little") + raw)
    return state.hexdigest()[:KEY_LENGTH]


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def explain_os_error(error: OSError, what: str) -> InfraError:
    """Return an OSError as an error with a message of one line: DiskFull for a full disk, else InfraError."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        place = error.filename or what
        return DiskFull(f"disk full while writing {place}", hint="free some room, or `lab clean`; the cache is sound")
    return InfraError(f"{what}: {error.strerror or error}: {error.filename or ''}".rstrip(": "))


class RemoteCache(Protocol):
    """A store of entries that several hosts share; `lab.cluster.store.Store` is the real one."""

    def fetch(self, kind: str, key: str, into: Path) -> bool:
        """Fill an empty directory with an entry; return False if there is no usable one."""

    def offer(self, kind: str, key: str, entry: Path) -> None:
        """Store an entry that was built here."""


@dataclass(frozen=True, slots=True)
class Cache:
    """A directory of finished entries, which several labs may use at a time and which survives a kill at any moment."""

    root: Path
    remote: RemoteCache | None = None

    def path(self, kind: str, key: str) -> Path:
        """Return the entry's directory, whether it exists or not."""
        return self.root / kind / key

    def has(self, kind: str, key: str) -> bool:
        return self.path(kind, key).is_dir()

    def obtain(self, kind: str, key: str) -> bool:
        """Fetch the entry from the remote if it is missing here; return whether it is here now."""
        final = self.path(kind, key)
        if final.is_dir() or self.remote is None:
            return final.is_dir()
        with self.lock(f"{kind}-{key}"):
            if not final.is_dir():
                self._make(final, None)
        return final.is_dir()

    def entry(
        self, kind: str, key: str, make: Callable[[Path], None], *, waiting: Callable[[], None] | None = None
    ) -> Path:
        """Return the entry's directory; if there is none, fetch the entry or call `make(empty_directory)` to fill it.

        If `make` raises, no entry is left behind. An entry appears by one rename, after its data was synced to the
        disk. `waiting` is called once if another thread or process is making the entry.
        """
        final = self.path(kind, key)
        if not final.is_dir():
            with self.lock(f"{kind}-{key}", waiting=waiting):
                if not final.is_dir():
                    self._make(final, make)
        self._check(final)
        return final

    def remove(self, kind: str, key: str) -> None:
        """Remove an entry, if there is one; processes that have its files open can still read them."""
        with self.lock(f"{kind}-{key}"), self.scratch(kind) as scratch, _checking:
            final = self.path(kind, key)
            self._sums_file(final).unlink(missing_ok=True)
            _checked.discard(final)
            with suppress(FileNotFoundError):
                final.rename(scratch / key)

    def _sums_file(self, final: Path) -> Path:
        return self.root / "sums" / f"{final.parent.name}-{final.name}"

    def _check(self, final: Path) -> None:
        """Raise InfraError if an entry's checksums differ from those of when it was made (or first read)."""
        with _checking:
            if final in _checked:
                return
            sums = _sums(final)
            kept = self._sums_file(final)
            if sums is not None and not _known(kept, sums):
                raise InfraError(
                    f"the cache is damaged: {final} is not what was put there", hint=f"rm -r {final} {kept}; run again"
                )
            _checked.add(final)

    def _fetched(self, final: Path, inside: Path) -> bool:
        """Fetch an entry from the remote into a directory; return whether it did (if not, the directory is empty)."""
        if self.remote is None:
            return False
        fetched = self.remote.fetch(final.parent.name, final.name, inside)
        if not fetched:
            shutil.rmtree(inside)
            inside.mkdir()
        return fetched

    def _make(self, final: Path, make: Callable[[Path], None] | None) -> None:
        """Fetch an entry, or else make it; without `make` there is no entry afterwards if it could not be fetched."""
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            with self.scratch(final.parent.name) as scratch:
                inside = scratch / "entry"
                inside.mkdir()
                fetched = self._fetched(final, inside)
                if not fetched and make is None:
                    return
                if not fetched and make:
                    make(inside)
                _sync(inside)
                inside.rename(final)
            if self.remote and not fetched:
                self.remote.offer(final.parent.name, final.name, final)
        except OSError as error:
            raise explain_os_error(error, str(final)) from error

    @contextmanager
    def lock(self, name: str, *, waiting: Callable[[], None] | None = None) -> Iterator[int]:
        """Hold a named lock against every other thread and process that uses this cache.

        `waiting` is called once if the lock is taken. Yields the file descriptor that holds the lock: a child process
        that inherits it keeps the lock for as long as it lives. InfraError if the lab is interrupted while it waits.

        A thread that waits holds a second lock, the queue, which every later one has to take first. Without it a lab
        that builds one kernel after the other takes the lock again at once, while those that wait ask for it only
        every LOCK_POLL_S seconds.
        """
        path = self.root / "locks" / name.replace("/", "-")
        queue = path.with_name(f"{path.name}.next")
        with _opened(path) as file:
            if queue.exists() or not _locked(file):
                with _opened(queue) as turn:
                    _wait_for((turn, file), name, waiting)
            yield file.fileno()

    @contextmanager
    def scratch(self, label: str) -> Iterator[Path]:
        """Yield a private directory on the cache's file system, removed at exit; remove those of dead labs first."""
        base = self.root / "tmp"
        try:
            base.mkdir(parents=True, exist_ok=True)
            self._sweep(base)
            directory = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-{label}-", dir=base))
        except OSError as error:
            raise explain_os_error(error, str(base)) from error
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def clean(self, *, everything: bool) -> int:
        """Remove the temporary files of dead labs, or the whole cache; return the bytes freed.

        InfraError if the whole cache is to be removed while another lab uses it.
        """
        before = _used(self.root)
        if (self.root / "tmp").is_dir():
            self._sweep(self.root / "tmp")
            if everything and any((self.root / "tmp").iterdir()):
                raise InfraError(f"another lab is using {self.root}", hint="wait for it, then `lab clean --all` again")
        if everything:
            shutil.rmtree(self.root, ignore_errors=True)
        return max(0, before - _used(self.root))  # another lab may have added more than was removed

    @staticmethod
    def _sweep(base: Path) -> None:
        """Remove the temporary files of dead labs; a name begins with the process id of the lab that made the file."""
        for stale in base.iterdir():
            pid = stale.name.partition("-")[0]
            if not pid.isdigit() or Path(f"/proc/{pid}").exists():
                continue
            if stale.is_dir():
                shutil.rmtree(stale, ignore_errors=True)
            else:
                stale.unlink(missing_ok=True)


_checking = threading.Lock()
_checked: set[Path] = set()


def _sums(entry: Path) -> dict[str, int] | None:
    """Return the CRC-32 of every file of an entry by its name; None for an entry that is large or has directories."""
    try:
        files = list(entry.iterdir())
        if len(files) > FEW_FILES or not all(file.is_file() for file in files):
            return None
        if sum(file.stat().st_size for file in files) > MAX_CHECKED:
            return None
        return {file.name: zlib.crc32(file.read_bytes()) for file in sorted(files)}
    except OSError as error:
        raise explain_os_error(error, str(entry)) from error


def _opened(path: Path) -> IO[str]:
    """Return a file to lock, made if there is none."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a")
    except OSError as error:
        raise explain_os_error(error, str(path.parent)) from error


def _locked(file: IO[str]) -> bool:
    """Lock a file, and return whether that was possible at once."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_for(files: Iterable[IO[str]], name: str, waiting: Callable[[], None] | None) -> None:
    """Lock files one after the other; call `waiting` once if that takes time. InfraError if the lab is interrupted."""
    for file in files:
        while not _locked(file):
            if waiting:
                waiting()
                waiting = None
            if proc.children.aborted:
                raise InfraError(f"interrupted while another lab held {name}")
            pause(LOCK_POLL_S)


def _known(kept: Path, sums: Mapping[str, int]) -> bool:
    """Return whether checksums equal those stored in the file `kept`; store them and return True if it is missing."""
    try:
        return bool(json.loads(kept.read_text()) == sums)
    except FileNotFoundError:
        write_atomic(kept, json.dumps(sums).encode())
        return True
    except (OSError, ValueError):
        return False


def _used(directory: Path) -> int:
    """Return the bytes on disk of the files below a directory; hard links count once."""
    seen = {(info.st_dev, info.st_ino): info.st_blocks * 512 for path in directory.rglob("*") if (info := path.lstat())}
    return sum(seen.values())


def write_atomic(path: Path, data: bytes | Iterable[bytes], *, synced: bool = True) -> None:
    """Replace a file in one step: readers see the old content or the new, never a part.

    `data` may come in parts. Unless `synced`, that holds only while the computer is not switched off.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_native_id()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.writelines([data] if isinstance(data, bytes) else data)
            file.flush()
            if synced:
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise explain_os_error(error, str(path)) from error


def _sync(directory: Path) -> None:
    """Sync an entry's files to the disk; done before it gets its final name."""
    files = [*directory.rglob("*"), directory]
    if len(files) > MANY_FILES:
        os.sync()
        return
    for path in files:
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            continue
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
