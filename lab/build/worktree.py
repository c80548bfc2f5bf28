# SPDX-License-Identifier: GPL-2.0-or-later
"""Keep one work tree per source, in which every series is built: the second kernel compiles only a few files.

    work/<lineage>/src/            the source, hard links to the pristine tree; files of a series are their own
    work/<lineage>/src/build-*/    make's O= directories, one per architecture and configuration
    work/<lineage>/state.json      what a killed lab left unfinished; see WorkTreeState

A user's directory (`path:`) keeps its work tree when it changes, so that make compiles only the changes. Threads of one
process share a work tree while they build different O= directories from the same files.

These rules keep builds correct, whichever process is killed at any time:

* A file of a series is replaced whole (rename), never written in place, and is newer than everything that was built
  here: make then rebuilds what depends on it. A clock that was set back breaks that, so it means a new work tree.
* Before files change, the state lists all that may; the next switch derives every one of them again.
* What an O= directory was made of is recorded when make has made all of it, and forgotten before the next make.
* Before make starts, the state records it; only the end of make removes the record. Files that a killed make had begun
  are removed before the next one, since make cannot tell an incomplete object file from a finished one.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from lab.build import source
from lab.build.source import Source
from lab.core import proc
from lab.core.cache import Cache, digest, write_atomic
from lab.core.deadline import pause
from lab.core.errors import InfraError, UsageError
from lab.core.progress import Progress
from lab.core.this_host import boot_id
from lab.formats.patches.patch import Content

KIND = "work"
LINK_S = 1200.0
SLACK_NS = 1_000_000_000
"""The file system's clock is coarser than the lab's own."""
STEP_S = 2.0
"""If the clock was set back by less than this, the lab waits for it."""
FEW_FILES = 500
"""Up to this many, syncing file by file is cheaper than syncing everything."""
ANEW = ".tmp_vmlinux"
"""Names of files that kbuild always makes anew before it reads them: stages of a link, half of what a link writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A make that was started and whose end was not seen."""

    started_ns: int
    boot_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """The files from which make made all of an O= directory: a source, and of each file that differed its digest."""

    source: str
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkTreeState:
    """The state of a work tree on disk.

    `source`: key of the source of the files. `touched`: files that may differ from its pristine tree. `stamp_ns`: no
    file is newer. `running` and `made` are by O= directory; one that make may have left in part is not in `made`.
    """

    source: str
    touched: tuple[str, ...] = ()
    stamp_ns: int = 0
    running: Mapping[str, Running] = field(default_factory=dict)
    made: Mapping[str, Made] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> WorkTreeState:
        """Return the state from its JSON; ValueError, KeyError or TypeError if it is damaged."""
        raw = json.loads(text)
        running = {name: Running(**process) for name, process in raw["running"].items()}
        made = {name: Made(**files) for name, files in raw.get("made", {}).items()}
        touched = tuple(raw["touched"])
        return cls(source=raw["source"], touched=touched, stamp_ns=int(raw["stamp_ns"]), running=running, made=made)


@dataclass(slots=True, kw_only=True)
class WorkTree:
    """A work tree that this process has locked. A process that inherits the descriptor `lock` keeps the lock."""

    root: Path
    pristine: Path
    lock: int
    state: WorkTreeState
    changing: threading.RLock = field(default_factory=threading.RLock)
    """Held while the state or the files of the source change."""
    _used: dict[str, threading.Lock] = field(default_factory=dict)
    """O= directory -> held by the thread that builds in it."""

    @property
    def src(self) -> Path:
        return self.root / "src"

    def build_dir(self, name: str) -> Path:
        """Return an O= directory, directly below the source so that kbuild refers to the source as `..`."""
        return self.src / f"build-{name}"

    def original(self, name: str) -> Content | None:
        """Return a file of the pristine tree; None if there is none."""
        return read_file(self.pristine, name)

    def switch(self, wanted: Mapping[str, Content | None]) -> None:
        """Make the source equal to the pristine tree with the `wanted` files in place (None: removed)."""
        with self.changing:
            names = sorted({*self.state.touched, *wanted})
            if not names:
                return
            stamp = time.time_ns()  # a finer clock than the file system's own, so that make never sees a tie
            self._save(replace(self.state, touched=tuple(names)))
            for name in names:
                self._bring(name, wanted[name] if name in wanted else self.original(name), stamp)
            self._save(replace(self.state, touched=tuple(sorted(wanted)), stamp_ns=stamp))

    def _bring(self, name: str, content: Content | None, stamp_ns: int) -> None:
        if read_file(self.src, name) == content:
            return
        path = self.src / name
        if content is None:
            path.unlink()
            self._prune(path.parent)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.pagelab")
        temporary.unlink(missing_ok=True)
        temporary.write_bytes(content.data)
        temporary.chmod(0o755 if content.executable else 0o644)
        os.utime(temporary, ns=(stamp_ns, stamp_ns))
        temporary.replace(path)

    def _prune(self, directory: Path) -> None:
        """Remove directories that only the series has."""
        while directory != self.src and not (self.pristine / directory.relative_to(self.src)).is_dir():
            with suppress(OSError):
                directory.rmdir()
            directory = directory.parent

    def changed_since_made(self, build: str, wanted: Mapping[str, Content | None]) -> frozenset[str] | None:
        """Return the files that differ from those of which make last made an O= directory; None if that is unknown."""
        made = self.state.made.get(build)
        if made is None or made.source != self.state.source:
            return None
        now = _digests(wanted)
        return frozenset(name for name in {*now, *made.files} if now.get(name) != made.files.get(name))

    @contextmanager
    def alone_in(self, build: str) -> Iterator[None]:
        """Hold an O= directory against other threads of this process, which may make another image there."""
        with self.changing:
            used = self._used.setdefault(build, threading.Lock())
        with used:
            yield

    def begin(self, build: str) -> Path:
        """Clean up an O= directory and record that make runs in it, until `settle` or `give_up`."""
        directory = self.build_dir(build)
        if left := self.state.running.get(build):
            _remove_unfinished(directory, left)
        directory.mkdir(exist_ok=True)
        mark = Running(started_ns=time.time_ns(), boot_id=boot_id())
        with self.changing:
            made = {name: files for name, files in self.state.made.items() if name != build}
            self._save(replace(self.state, running={**self.state.running, build: mark}, made=made))
        return directory

    def settle(self, build: str, made_of: Mapping[str, Content | None] | None = None) -> None:
        """Sync what a successful make wrote to the disk, then record that it has ended.

        `made_of` are the files that differ from the pristine tree, of which it made all of the O= directory.
        """
        started_ns = self.state.running[build].started_ns
        if time.time_ns() < started_ns:
            with self.changing:
                self._save(replace(self.state, stamp_ns=started_ns))
            raise InfraError(
                "the clock was set back during a build: what make did cannot be trusted", hint="run it again"
            )
        _sync_since(self.build_dir(build), started_ns)
        with self.changing:
            if made_of is not None:
                made = Made(source=self.state.source, files=_digests(made_of))
                self.state = replace(self.state, made={**self.state.made, build: made})
            self.give_up(build)

    def give_up(self, build: str) -> None:
        """Record that make ended by itself: every file that it wrote is whole."""
        with self.changing:
            running = {name: mark for name, mark in self.state.running.items() if name != build}
            self._save(replace(self.state, running=running, stamp_ns=time.time_ns()))

    def _save(self, state: WorkTreeState) -> None:
        write_atomic(self.root / "state.json", json.dumps(asdict(state), indent=1).encode())
        self.state = state


def _digests(files: Mapping[str, Content | None]) -> dict[str, str]:
    """Return the name of each file and a digest of its content and mode, of one that is gone `gone`."""
    return {
        name: digest(content.data, str(content.executable)) if content else "gone" for name, content in files.items()
    }


@dataclass(slots=True)
class _Shared:
    """A work tree that threads of this process have open, or wait for."""

    tree: Future[WorkTree] = field(default_factory=Future)
    closing: ExitStack = field(default_factory=ExitStack)
    users: int = 0

    def open(self, locked: AbstractContextManager[WorkTree]) -> None:
        """Open it for all who wait. An error is an error of each of them."""
        try:
            self.tree.set_result(self.closing.enter_context(locked))
        except BaseException as error:
            self.tree.set_exception(error)


_shared: dict[tuple[Path, str], _Shared] = {}
"""A work tree, and what its users build."""
_sharing = threading.Lock()
"""Held while `_shared` changes."""


def has_kernel(wanted: Source, build: str, cache: Cache) -> bool:
    """Return whether an O= directory has a kernel, so that the next one there compiles what differs from it."""
    return (cache.path(KIND, wanted.lineage) / "src" / f"build-{build}" / "vmlinux").exists()


@contextmanager
def opened(
    wanted: Source, files: Mapping[str, Content | None] | None, *, cache: Cache, progress: Progress
) -> Iterator[WorkTree]:
    """Yield the source's work tree, created if needed, locked against other labs and against a make that they left.

    `files` are those that differ from the pristine tree; threads of this process that build the same ones have it at
    the same time, each for O= directories of its own. None for a thread that switches between several.
    """
    root = cache.path(KIND, wanted.lineage)
    what = f"thread {threading.get_ident()}"
    if files is not None:
        what = digest(wanted.key, json.dumps(_digests(files), sort_keys=True))
    with _sharing:
        shared = _shared.setdefault((root, what), _Shared())
        shared.users += 1
        is_first = shared.users == 1
    try:
        if is_first:
            shared.open(_locked(root, wanted, cache, progress))
        yield shared.tree.result()
    finally:
        with _sharing:
            shared.users -= 1
            if not shared.users:
                del _shared[root, what]
                shared.closing.close()


@contextmanager
def _locked(root: Path, wanted: Source, cache: Cache, progress: Progress) -> Iterator[WorkTree]:
    """Yield a work tree with its lock held."""

    def waiting() -> None:
        progress("waiting for another build of this source")

    with cache.lock(f"{KIND}-{wanted.lineage}", waiting=waiting) as lock:
        pristine = source.tree(wanted.key, cache)
        state = _load(root)
        if state and state.source != wanted.key:
            state = _moved(root, state, wanted, cache)
        if state is None:
            progress("making a work tree")
            state = _create(root, wanted, cache)
        yield WorkTree(root=root, pristine=pristine, lock=lock, state=state)


def read_file(root: Path, name: str) -> Content | None:
    """Return a file of a tree; UsageError for a symbolic link, which may lead elsewhere; None if there is none."""
    path = root
    for part in Path(name).parts:
        path /= part
        if path.is_symlink():
            raise UsageError(f"{name}: the series changes a symbolic link, or a file behind one")
    if path.is_dir():
        raise UsageError(f"{name}: the series changes a file, the tree has a directory there")
    try:
        return Content(path.read_bytes(), os.access(path, os.X_OK) and bool(path.stat().st_mode & 0o100))
    except (FileNotFoundError, NotADirectoryError):
        return None


def _load(root: Path) -> WorkTreeState | None:
    """Return the state on disk; None if there is no work tree, or one that cannot be trusted."""
    try:
        state = WorkTreeState.parse((root / "state.json").read_text())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    ahead_s = (state.stamp_ns - time.time_ns()) / 1e9
    if 0 < ahead_s < STEP_S:
        pause(ahead_s)
    return state if ahead_s < STEP_S else None


def _moved(root: Path, state: WorkTreeState, wanted: Source, cache: Cache) -> WorkTreeState | None:
    """Return the state of a tree whose source has changed: the next switch derives the changed files again."""
    old, new = source.tree(state.source, cache), source.tree(wanted.key, cache)
    names = source.changed(old, new) if old.is_dir() else None
    if names is None:
        return None
    moved = replace(state, source=wanted.key, touched=tuple(sorted({*state.touched, *names})))
    write_atomic(root / "state.json", json.dumps(asdict(moved), indent=1).encode())
    return moved


def _create(root: Path, wanted: Source, cache: Cache) -> WorkTreeState:
    """Create the work tree from hard links to the pristine tree, then rename it into place."""
    root.parent.mkdir(parents=True, exist_ok=True)
    with cache.scratch(KIND) as scratch:
        if root.exists():
            root.rename(scratch / "damaged")
        fresh = scratch / "fresh"
        fresh.mkdir()
        proc.run(
            ["cp", "--archive", "--link", str(source.tree(wanted.key, cache)), str(fresh / "src")], timeout_s=LINK_S
        )
        state = WorkTreeState(source=wanted.key)
        write_atomic(fresh / "state.json", json.dumps(asdict(state)).encode())
        fresh.rename(root)
    return state


def _remove_unfinished(directory: Path, left: Running) -> None:
    """Remove files that an interrupted make may have left unfinished; after a reboot the whole directory."""
    if left.boot_id != boot_id() or time.time_ns() < left.started_ns:
        shutil.rmtree(directory, ignore_errors=True)
        return
    for path in _written_since(directory, left.started_ns - SLACK_NS):
        path.unlink()


def _sync_since(directory: Path, since_ns: int) -> None:
    written = _written_since(directory, since_ns - SLACK_NS)
    files = [path for path in written if not path.is_symlink() and not path.name.startswith(ANEW)]
    if len(files) > FEW_FILES:
        os.sync()
        return
    for path in files:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _written_since(directory: Path, since_ns: int) -> list[Path]:
    """Return files and links below a directory with a time not before `since_ns`; no links to directories."""
    written: list[Path] = []
    places = [str(directory)]
    while places:
        with os.scandir(places.pop()) as entries:
            for entry in entries:
                if not entry.is_dir():
                    if entry.stat(follow_symlinks=False).st_mtime_ns >= since_ns:
                        written.append(Path(entry.path))
                elif not entry.is_symlink():
                    places.append(entry.path)
    return written
