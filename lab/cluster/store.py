# SPDX-License-Identifier: GPL-2.0-or-later
"""A store that hosts share: artefacts by their key, evidence by run, cell and attempt. The door to fsspec.

    KIND/KEY.json             {"sha256", "size", "file"}: written last, so that a whole artefact has it
    KIND/KEY.SHA.tar          the files of one cache entry
    evidence/RUN/NAME         one tar for each attempt at a cell

A store is named by a URL that fsspec knows, or a directory. SHA-256 is compared after every transfer.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.build import key_facts
from lab.cluster import pack
from lab.core.cache import KEY_LENGTH, explain_os_error, file_digest
from lab.core.errors import InfraError, UsageError
from lab.core.paths import user_path
from lab.core.sizes import GIB, MIB

KINDS = frozenset(
    {"kernel", "rootfs", "userland", "guest-tests", "program", "bash", "suite", "suite-set", "root", key_facts.ENTRY}
)
"""The kinds of cache entries that are worth sending: what takes long to build, but no source trees, and what their keys
are computed from."""
MAX_ARTEFACT = 4 * GIB
SMALL = 16 * MIB
"""Evidence of at most so many bytes is packed and unpacked in memory, without a file of its own."""
EVIDENCE = "evidence"
DAY_S = 86400.0


class Damaged(InfraError):
    """What came out of the store is not what was put there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """An artefact in a store."""

    kind: str
    key: str
    size: int
    age_s: float


@dataclass(slots=True, kw_only=True)
class Store:
    """A directory of fsspec's. Methods raise InfraError with the store's URL when it cannot be reached."""

    url: str
    scratch: Path
    """Where tar files are put together; on the cache's file system."""
    warn: Callable[[str], object] = lambda _: None
    """Called when an artefact could not be fetched or stored, which costs time and nothing else."""
    _files: Any = field(init=False, repr=False)
    _root: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._files, self._root = _open(self.url)

    @property
    def _over_http(self) -> bool:
        """Whether a file is stored by HTTP's PUT, which is whole or not at all, and has no directories to make."""
        return self.url.startswith(("http://", "https://"))

    # Artefacts: `fetch` and `offer` are what lab/core/cache.py calls.

    def fetch(self, kind: str, key: str, into: Path) -> bool:
        """Fill an empty directory with an artefact; False if the store has none, or a damaged one."""
        if kind not in KINDS:
            return False
        try:
            return self.get(kind, key, into)
        except InfraError as error:
            self.warn(f"not fetched: {error}")
            return False

    def offer(self, kind: str, key: str, entry: Path) -> None:
        """Store an entry that was built here, unless the store has it."""
        if kind not in KINDS:
            return
        try:
            self.put(kind, key, entry)
        except InfraError as error:
            self.warn(f"not stored: {error}")

    def get(self, kind: str, key: str, into: Path) -> bool:
        """Fill an empty directory with an artefact; False if there is none, Damaged if it is not what was put there."""
        label = self._label(kind, key)
        described = self._described(label)
        if described is None:
            return False
        with self.temporary() as tar:
            self.download(f"{kind}/{described['file']}", tar, str(described["sha256"]))
            pack.unpack(tar, into, limit=MAX_ARTEFACT)
        return True

    def has(self, kind: str, key: str) -> bool:
        """Whether an artefact is there, whole as far as the store knows."""
        return self._described(self._label(kind, key)) is not None

    def put(self, kind: str, key: str, entry: Path, *, again: bool = False) -> bool:
        """Store the files of a cache entry; False if it is there already and is not to be stored `again`."""
        label = self._label(kind, key)
        if not again and self._described(label) is not None:
            return False
        with self.temporary() as tar:
            pack.pack(entry, tar, limit=MAX_ARTEFACT)
            sha256 = file_digest(tar)
            name = f"{key}.{sha256[:KEY_LENGTH]}.tar"
            self.upload(tar, f"{kind}/{name}")
            described = {"sha256": sha256, "size": tar.stat().st_size, "file": name}
            self._write(f"{label}.json", json.dumps(described).encode())
        return True

    def artefacts(self) -> Iterator[Artefact]:
        """Yield every artefact, by kind and key."""
        now = time.time()
        for kind in sorted(KINDS):
            for entry in self._listed(kind):
                name = str(entry["name"]).rpartition("/")[2]
                if name.endswith(".json"):
                    described = self._described(f"{kind}/{name.removesuffix('.json')}") or {}
                    yield Artefact(
                        kind=kind,
                        key=name.removesuffix(".json"),
                        size=int(described.get("size", 0)),
                        age_s=max(0.0, now - _modified(entry)),
                    )

    def prune(self, older_s: float) -> tuple[int, int]:
        """Remove artefacts and evidence that were stored longer ago; return how many files and bytes went.

        UsageError for a store over HTTP, which has no such request.
        """
        if self._over_http:
            raise UsageError(f"store {self.url}: over HTTP nothing can be removed", hint="prune on the server")
        now, count, size = time.time(), 0, 0
        for folder in (*sorted(KINDS), *(f"{EVIDENCE}/{run}" for run in self.runs())):
            for entry in self._listed(folder):
                if now - _modified(entry) > older_s:
                    self._remove(str(entry["name"]))
                    count, size = count + 1, size + int(entry.get("size") or 0)
        return count, size

    # Evidence and plain files.

    def runs(self) -> list[str]:
        """Return the runs that have evidence in the store."""
        return [str(entry["name"]).rstrip("/").rpartition("/")[2] for entry in self._listed(EVIDENCE)]

    def evidence(self, run: str) -> list[str]:
        """Return the names of a run's files of evidence."""
        return [str(entry["name"]).rpartition("/")[2] for entry in self._listed(f"{EVIDENCE}/{run}")]

    def remove_evidence(self, run: str, name: str) -> None:
        """Remove one file of evidence; nothing happens if it is gone."""
        self._remove(self._path(f"{EVIDENCE}/{run}/{name}"))

    def upload(self, local: Path, name: str) -> None:
        """Put a file under a name, whole or not at all where the store can rename."""
        path = self._path(name)
        with self._errors(name):
            if self._over_http:
                self._files.put_file(str(local), path, method="put")
                return
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            temporary = f"{path}.{secrets.token_hex(8)}.part"  # hosts that share a store may have one process id
            self._files.put_file(str(local), temporary)
            self._rename(temporary, path, lambda: self._files.put_file(str(local), path))

    def download(self, name: str, local: Path, sha256: str = "") -> None:
        """Get a file; Damaged if it has another SHA-256."""
        with self._errors(name):
            self._files.get_file(self._path(name), str(local))
        self._compare(name, file_digest(local), sha256)

    def send(self, directory: Path, name: str, *, limit: int) -> tuple[str, int]:
        """Put the files of a directory as one tar file; return its SHA-256 and size.

        pack.TooLarge if the files have more than `limit` bytes.
        """
        if pack.size_of(directory) > SMALL:
            with self.temporary() as tar:
                pack.pack(directory, tar, limit=limit)
                self.upload(tar, name)
                return file_digest(tar), tar.stat().st_size
        packed = io.BytesIO()
        pack.pack(directory, packed, limit=limit)
        content = packed.getvalue()
        self._write(name, content)
        return hashlib.sha256(content).hexdigest(), len(content)

    def receive(self, name: str, into: Path, *, sha256: str, size: int, limit: int) -> None:
        """Unpack a tar file of `size` bytes into an empty directory; Damaged if it has another SHA-256."""
        if size > SMALL:
            with self.temporary() as tar:
                self.download(name, tar, sha256)
                pack.unpack(tar, into, limit=limit)
            return
        with self._errors(name):
            content = self._files.cat_file(self._path(name), start=0, end=size + 1)
        self._compare(name, hashlib.sha256(content).hexdigest(), sha256)
        pack.unpack(io.BytesIO(content), into, limit=limit, label=name)

    def _compare(self, name: str, digest: str, sha256: str) -> None:
        if sha256 and digest != sha256:
            raise Damaged(f"{self.url}/{name} is damaged: SHA-256 {digest[:12]}..., expected {sha256[:12]}...")

    def _write(self, name: str, content: bytes) -> None:
        """Put some bytes under a name, whole or not at all where the store can rename."""
        path = self._path(name)
        if self._over_http:
            with self.temporary() as local:
                local.write_bytes(content)
                self.upload(local, name)
            return
        with self._errors(name):
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            temporary = f"{path}.{secrets.token_hex(8)}.part"  # hosts that share a store may have one process id
            self._files.pipe_file(temporary, content)
            self._rename(temporary, path, lambda: self._files.pipe_file(path, content))

    def _rename(self, temporary: str, path: str, put_again: Callable[[], object]) -> None:
        """Give a whole file its name; a store that cannot rename gets the file once more."""
        try:
            self._files.mv(temporary, path)
        except NotImplementedError:
            put_again()

    def _described(self, label: str) -> dict[str, Any] | None:
        """What is recorded of an artefact; None if it is not there."""
        path = self._path(f"{label}.json")
        with self._errors(label):
            try:
                described = json.loads(self._files.cat_file(path))
            except FileNotFoundError:
                return None
            except ValueError:
                raise Damaged(f"{self.url}/{label}.json is damaged: expected JSON") from None
        if not isinstance(described, dict) or not {"sha256", "file"} <= described.keys():
            raise Damaged(f"{self.url}/{label}.json is damaged: expected sha256 and file")
        if "/" in str(described["file"]):
            raise Damaged(f"{self.url}/{label}.json is damaged: its file is not beside it")
        return described

    def _listed(self, folder: str) -> list[dict[str, Any]]:
        path = self._path(folder)
        with self._errors(folder):
            try:
                return self._ls(path)
            except FileNotFoundError:
                return []

    def _ls(self, path: str) -> list[dict[str, Any]]:
        """List a directory as it is now: file systems that remember listings are asked again."""
        try:
            return list(self._files.ls(path, detail=True, refresh=True))
        except TypeError:  # of one that remembers none
            return list(self._files.ls(path, detail=True))

    def _remove(self, path: str) -> None:
        with self._errors(path):
            try:
                self._files.rm_file(path)
            except FileNotFoundError:
                return
            except NotImplementedError:  # over HTTP, where the server prunes
                return

    def _label(self, kind: str, key: str) -> str:
        if kind not in KINDS or not key.isalnum():
            raise InfraError(f"{kind}/{key}: not an artefact that a store can have")
        return f"{kind}/{key}"

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    @contextmanager
    def temporary(self) -> Iterator[Path]:
        try:
            self.scratch.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=f"{os.getpid()}-store-", dir=self.scratch)
        except OSError as error:
            raise explain_os_error(error, str(self.scratch)) from error
        os.close(handle)
        path = Path(name)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    @contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        """Turn what a file system of fsspec raises into InfraError."""
        try:
            yield
        except InfraError:
            raise
        except OSError as error:
            raise explain_os_error(error, f"store {self.url}: {name}") from error
        except Exception as error:  # what s3, ssh and http raise has no common class
            raise InfraError(f"store {self.url}: {name}: {type(error).__name__}: {error}") from error


def fetch_url(url: str, to: Path, *, limit: int, sha256: str = "") -> None:
    """Get what a URL has, at most `limit` bytes; Damaged if it has another SHA-256, InfraError if it is not there."""
    files, path = _open(url)
    size = 0
    try:
        with files.open(path, "rb") as source, to.open("wb") as target:
            while data := source.read(1 << 20):
                size += len(data)
                if size > limit:
                    raise InfraError(f"{url}: more than {limit >> 20} MiB")
                target.write(data)
    except FileNotFoundError:
        raise InfraError(f"{url}: there is no such file") from None
    except OSError as error:
        raise explain_os_error(error, url) from error
    except InfraError:
        raise
    except Exception as error:  # what an HTTP client raises has no common class
        raise InfraError(f"{url}: {type(error).__name__}: {error}") from error
    digest = file_digest(to)
    if sha256 and digest != sha256:
        raise Damaged(f"{url} is damaged: SHA-256 {digest[:12]}..., expected {sha256[:12]}...")


def _open(url: str) -> tuple[Any, str]:
    """Return fsspec's file system for a URL and the path in it; UsageError if it knows none."""
    try:
        import fsspec
    except ImportError:
        raise UsageError(f"store {url}: fsspec is not installed", hint="pip install 'pagelab[store]'") from None
    try:
        word = url if "://" in url else str(user_path(url).absolute())
        files, root = fsspec.core.url_to_fs(word)
    except (ValueError, ImportError) as error:
        raise UsageError(f"store {url}: {error}") from None
    return files, str(root)


def _modified(entry: dict[str, Any]) -> float:
    """When a listed file was stored, in seconds since the epoch; now if the file system does not say."""
    when = entry.get("mtime") or entry.get("LastModified") or entry.get("created")
    if isinstance(when, int | float):
        return float(when)
    timestamp = getattr(when, "timestamp", None)
    return float(timestamp()) if timestamp else time.time()
