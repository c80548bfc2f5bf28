# SPDX-License-Identifier: GPL-2.0-or-later
"""Keeps the states of verified guests in the cache, from which later labs of the same user restore guests.

An entry `guest/<key>` has three files: `state`, which libvirt wrote when the guest was saved; `console`, what the guest
printed while it booted; and `about.json`. The key covers everything that the state depends on (`GuestFactory`).

**What is checked before an entry is used.** Both files and their directory belong to this user and nobody else can
write to them. The SHA-256 of `state` is the one that was computed when it was saved. It proves that the bytes are those
of the guest that was verified then: its kernel, its memory, its devices.

**What a run changes.** The file in the cache is never used itself. A run copies it, and writes into the copy the names
of its own files and, at every place where the memory has the public key of the run that saved it, its own. So a guest
knows one key, that of its run; the key needs no network to get in, and no private key is stored.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import platform
import stat
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from lab.core.cache import Cache, digest, explain_os_error, file_digest, write_atomic
from lab.core.errors import InfraError, UsageError
from lab.guests import saved_image
from lab.guests.domain import GuestMachine, domain_xml
from lab.specs.model import parse_size

KIND = "guest"
LIMIT = 2 << 30
"""Bytes that all states may take, unless $PAGELAB_SAVED_GUESTS says otherwise."""
SHARE = 4
"""A state that takes more than this part of the limit is not kept."""
FAILURES = 2
"""So many times in a row no guest may come up from what is saved, before guests are not saved any more."""
VARIABLE = "PAGELAB_SAVED_GUESTS"
_CHUNK = 4 << 20
_ABOUT, _STATE, _CONSOLE = "about.json", "state", "console"


class SavedGuest(BaseModel):
    """What is known of a saved guest beside its memory; the file about.json."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")
    sha256: str
    size: int
    boot_id: str
    boot_s: float
    """Seconds that it took to boot."""
    saved: str
    """When it was saved, in ISO 8601."""
    words: dict[str, str]
    """What differs from run to run in its XML (`name`, `initrd`, ...) -> the value that it was saved with."""
    texts: list[int]
    """Offsets at which the file has the run's public key as text."""
    keys: list[int]
    """Offsets at which it has the bytes of that key."""
    facts: str
    """The facts by which it was verified."""


def limit() -> int:
    """Return how many bytes all states may take, from $PAGELAB_SAVED_GUESTS; 0 to keep none."""
    text = os.environ.get(VARIABLE, "")
    if not text:
        return LIMIT
    try:
        return parse_size(text)
    except ValueError as error:
        raise UsageError(f"{VARIABLE}: {error}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedStates:
    """The saved guests in a cache. Its methods may be called from any thread and by several labs at a time."""

    cache: Cache
    limit: int = LIMIT

    @classmethod
    def of(cls, cache: Cache) -> SavedStates:
        """Return the states of a cache. They never go to a store that hosts share."""
        return cls(cache=replace(cache, remote=None), limit=limit())

    def has(self, key: str) -> bool:
        return self.limit > 0 and (self.cache.path(KIND, key) / _ABOUT).is_file()

    def take(self, key: str, into: Path, words: Mapping[str, str], public_key: str) -> SavedGuest:
        """Copy a state to the file `into`, with the words and the public key of this run; return what is known of it.

        InfraError, and the entry is gone, if it is damaged, truncated, or another user's.
        """
        entry = self.cache.path(KIND, key)
        try:
            about = self._about(entry)
            _copy(entry / _STATE, into, about)
            with into.open("r+b") as file:
                head = saved_image.Head.parse(file.read(saved_image.MAX_HEAD))
                file.seek(0)
                file.write(head.changed({old: words[name] for name, old in about.words.items()}))
                text, raw = saved_image.forms(public_key)
                for places, form in ((about.texts, text), (about.keys, raw)):
                    for place in places:
                        file.seek(place)
                        file.write(form)
        except (InfraError, OSError, ValidationError, KeyError) as error:
            into.unlink(missing_ok=True)
            self.remove(key)
            raise InfraError(f"a saved guest in the cache is not used: {_reason(error)}") from error
        write_atomic(self._use(key), b"")
        return about

    def console(self, key: str) -> bytes:
        """Return what a guest printed until it was saved; empty if that is not known."""
        with suppress(OSError):
            return (self.cache.path(KIND, key) / _CONSOLE).read_bytes()
        return b""

    def keep(self, key: str, state: Path, known: SavedGuest, public_key: str, console: str) -> bool:
        """Move the file of a saved guest into the cache; return whether it was kept. `known` lacks what the file has.

        It is not synced to the disk: after a power failure its digest is wrong, and it is not used.
        """
        size = state.stat().st_size
        if size * SHARE > self.limit:
            state.unlink()
            return False
        final = self.cache.path(KIND, key)
        try:
            final.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self.cache.scratch(KIND) as scratch:
                inside = scratch / "entry"
                inside.mkdir(mode=0o700)
                state.chmod(0o600)
                state.rename(inside / _STATE)
                about = known.model_copy(update=_contents(inside / _STATE, public_key))
                if not about.texts:
                    return False
                (inside / _CONSOLE).write_text(console, "utf-8")
                (inside / _ABOUT).write_text(about.model_dump_json())
                with suppress(OSError):  # another lab was faster
                    inside.rename(final)
        except OSError as error:
            raise explain_os_error(error, str(final)) from error
        write_atomic(self._use(key), b"")
        self._prune()
        return True

    def remove(self, key: str) -> None:
        """Remove a state; a lab that is copying it is not disturbed."""
        with suppress(OSError, InfraError):
            self.cache.remove(KIND, key)
        self._use(key).unlink(missing_ok=True)

    def failed(self, key: str) -> None:
        """Remove a state from which no guest came up, and count that."""
        self.remove(key)
        write_atomic(self._failures(key), str(self._failed(key) + 1).encode())

    def came_up(self, key: str) -> None:
        """Forget the failures of a state: a guest came up from it."""
        self._failures(key).unlink(missing_ok=True)

    def is_hopeless(self, key: str) -> bool:
        """Whether states of this key have failed as often as it takes: this emulator cannot restore such guests."""
        return self._failed(key) >= FAILURES

    def _failed(self, key: str) -> int:
        try:
            return int(self._failures(key).read_text())
        except (OSError, ValueError):
            return 0

    def _failures(self, key: str) -> Path:
        return self.cache.root / "uses" / f"{KIND}-{key}.failures"

    def _about(self, entry: Path) -> SavedGuest:
        """Read about.json of an entry whose files belong to this user alone."""
        for path in (entry, entry / _ABOUT, entry / _STATE):
            status = path.lstat()
            if status.st_uid != os.geteuid():
                raise InfraError("it belongs to another user")
            if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise InfraError("other users may write to it")
        return SavedGuest.model_validate_json((entry / _ABOUT).read_bytes())

    def _use(self, key: str) -> Path:
        """Return the file whose time is that of a state's last use."""
        return self.cache.root / "uses" / f"{KIND}-{key}"

    def _prune(self) -> None:
        """Remove the states that were used longest ago until the others fit the limit."""
        entries = sorted((self.cache.root / KIND).glob("*"), key=self._last_use, reverse=True)
        used = 0
        for entry in entries:
            with suppress(OSError):
                used += (entry / _STATE).stat().st_size
            if used > self.limit:
                self.remove(entry.name)

    def _last_use(self, entry: Path) -> float:
        try:
            return self._use(entry.name).stat().st_mtime
        except OSError:
            return 0.0


def _copy(source: Path, into: Path, about: SavedGuest) -> None:
    """Copy a state, and hash each part while it is written; InfraError for a size or a digest that was not recorded."""
    hashed, size = hashlib.sha256(), 0
    reading = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    writing = os.open(into, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(reading, "rb") as file, os.fdopen(writing, "wb") as copy, ThreadPoolExecutor(1, "hash") as beside:
        while chunk := file.read(_CHUNK):
            done = beside.submit(hashed.update, chunk)
            copy.write(chunk)
            size += len(chunk)
            done.result()
    if size != about.size:
        raise InfraError(f"it has {size} bytes, not {about.size}")
    if hashed.hexdigest() != about.sha256:
        raise InfraError("its content is not what was saved")


def _contents(state: Path, public_key: str) -> dict[str, object]:
    """Return what the file of a state has: its digest and size, and where the public key is."""
    text, raw = saved_image.forms(public_key)
    with state.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
        return {
            "sha256": hashlib.sha256(memory).hexdigest(),
            "size": len(memory),
            "texts": list(saved_image.places(memory, text)),
            "keys": list(saved_image.places(memory, raw)),
        }


def _reason(error: Exception) -> str:
    if isinstance(error, InfraError):
        return error.message
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, ValidationError):
        return "its description is damaged"
    return f"its description lacks {error}"


def now() -> str:
    """Return the time at which a state is saved."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def key_of(machine: GuestMachine, *, parts: Sequence[str], files: Iterable[Path], libvirt: str) -> str:
    """Return the key of the state of a guest.

    `machine` has no names of a run's files, `parts` are the keys of kernel and userland, and `files` are all else that
    the guest boots from or was probed with. Beside them count: the emulator and its firmware, libvirt, this user, the
    host's kernel and CPU under KVM, and the code of the lab that starts, verifies and saves guests.
    """
    host: list[str] = []
    if machine.accelerator == "kvm":
        host = [platform.release(), _cpu_model()]
    return digest(
        domain_xml(machine),
        *parts,
        *(_content(path, *_stamp(path)) for path in files),
        *map(repr, (_stamp(machine.emulator), *(_stamp(directory) for directory in FIRMWARE))),
        libvirt,
        machine.accelerator,
        str(os.geteuid()),
        *host,
        _code(),
    )


FIRMWARE = (Path("/usr/share/qemu"), Path("/usr/share/seabios"), Path("/usr/lib/ipxe/qemu"))
"""Directories of firmware; their times change when a package replaces a file in them."""


def _stamp(path: Path) -> tuple[int, int]:
    """Return what changes when a file, or a file of a directory, is replaced: its size and time."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=256)
def _content(path: Path, _size: int, _time: int) -> str:
    return file_digest(path)


@lru_cache(maxsize=1)
def _code() -> str:
    """Return a digest of the code that starts, verifies and saves guests."""
    contents: list[str | bytes] = []
    for path in sorted(Path(__file__).parent.glob("*.py")):
        contents += [path.name, path.read_bytes()]
    return digest(*contents)


@lru_cache(maxsize=1)
def _cpu_model() -> str:
    """Return the lines of /proc/cpuinfo that name the host's CPU and its features."""
    lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").split("\n\n", 1)[0].splitlines()
    return "\n".join(line for line in lines if line.startswith(("model", "flags", "Features", "microcode", "CPU")))
