# SPDX-License-Identifier: GPL-2.0-or-later
"""Put kernel sources into the cache as pristine trees, keyed by content. The user's own tree is only read.

    debian:PACKAGE   the tarball in a binary package such as linux-source-6.12
    path:DIR         the directory as it is now: of a git work tree what git tracks or would add, else every source file
    git:PATH@REV     a commit of a repository
    tarball:FILE     any tar; its single top directory, when it has one, is stripped

A cache entry `source/<key>` holds the tree in `tree/`; memo/source-*.json has what is known about specs.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache as cached
from pathlib import Path
from stat import S_IFDIR, S_IFMT, S_ISREG

from lab.build import debian
from lab.core import proc
from lab.core.cache import Cache, digest, file_digest, write_atomic
from lab.core.errors import InfraError, InputError, LabError, UsageError, did_you_mean, nearest
from lab.core.paths import user_path
from lab.core.progress import Progress, silent
from lab.formats import build_log
from lab.formats.patches.patch import Content, Lookup

ENTRY = "source"
MEMORY = "memo"
"""The directory of the cache with what is known about specs."""
UNPACK_S = 3600.0
MANY_NAMES = 4000
"""If two commits differ in more files, the whole tree is unpacked."""
TYPICAL_FILES = 86_000
"""How many files and directories a kernel tree of 2024 has: makes a bar of an unpacking whose end is not known."""

_VERSION_PART = r"^{}[ \t]*=[ \t]*(\S*)[ \t]*$"
# What a build in the source tree leaves there. kbuild refuses to build elsewhere from a tree that has some of it.
_BUILT_NAMES = frozenset(
    {b".git", b".config", b".config.old", b"vmlinux", b"System.map", b"Module.symvers", b".version"}
)
_BUILT_SUFFIXES = (b".o", b".a", b".ko", b".cmd", b".mod", b".mod.c", b".order", b".orig", b".rej")
_BUILT_DIRS = re.compile(rb"include/(?:config|generated)|arch/[^/]+/include/generated")
_BEHIND = b"//"
"""Ends a name in the output of find; no name below a directory has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A source tree by its content. `origin` says more than `spec`: package version, commit, or the resolved path."""

    spec: str
    key: str
    version: str
    """As `make kernelversion` has it: 6.12.117."""
    sha256: str
    """Identity of the content: of the tarball, of the git tree's id, or of all files."""
    origin: str
    lineage: str
    """Sources of one lineage are versions of one tree and share a work tree, so that only differences are rebuilt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _IdentifiedSource:
    """Content that was identified, and how to unpack it into an empty directory."""

    sha256: str
    origin: str
    unpack: Callable[[Path, Progress], None]
    makefile: Callable[[], str] | None = None
    """Reads the top Makefile without unpacking, where that is cheap."""
    lineage: str = ""
    """A key that all versions of this content share; empty if there is only one."""

    @property
    def key(self) -> str:
        return digest("source-1", self.sha256)

    def described(self, spec: str, version: str) -> Source:
        lineage = self.lineage or self.key
        return Source(spec=spec, key=self.key, version=version, sha256=self.sha256, origin=self.origin, lineage=lineage)


def tree(key: str, cache: Cache) -> Path:
    """Return the pristine tree of a source's key, made by `resolve`; nothing may write there."""
    return cache.path(ENTRY, key) / "tree"


def identify(spec: str, cache: Cache) -> Source | None:
    """Identify a source without network or unpacking; None if it must be fetched or unpacked to be known.

    UsageError or InputError if it does not exist.
    """
    kind, rest = _split(spec)
    identified = _find(kind, rest, spec, cache)
    if identified is None:
        return None
    seen = _read_memo(_memo(cache, "version", identified.key))
    if seen:
        return identified.described(spec, seen["version"])
    if identified.makefile:
        return identified.described(spec, kernel_version(identified.makefile(), spec))
    return None


def _find(kind: str, rest: str, spec: str, cache: Cache) -> _IdentifiedSource | None:
    """Identify the content of a local source; of a package, return what it was resolved to before, or None."""
    if kind == "debian":
        return _recall(spec, cache)
    return _local(kind, rest, cache)


_holding = threading.Lock()
_holders: list[object] = []


@dataclass(slots=True)
class _Look:
    """What a source of this host was found to be, while sources are held; None until somebody has looked."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    found: _IdentifiedSource | None = None


_held: dict[tuple[str, str, Path], _Look] = {}


@contextmanager
def held() -> Iterator[None]:
    """Look at a tree, a repository or a tarball once until the block ends, however often a thread asks for it.

    A run is about one state of a source, and to look at all files of a tree takes a second or more. A tree that changes
    before it is copied is still an error.
    """
    me = object()
    with _holding:
        _holders.append(me)
    try:
        yield
    finally:
        with _holding:
            _holders.remove(me)
            if not _holders:
                _held.clear()


def look_ahead(spec: str, cache: Cache) -> None:
    """Begin to look at a source of this host in a thread, for the one who asks for it next while sources are held."""
    kind, rest = _split(spec)

    def look() -> None:
        with suppress(LabError):  # the one who asks gets the error
            _local(kind, rest, cache)

    if kind in _LOCAL:
        threading.Thread(target=look, name="source", daemon=True).start()


def _local(kind: str, rest: str, cache: Cache) -> _IdentifiedSource:
    """Identify a source of this host; while sources are held, only the first time."""
    with _holding:
        look = _held.setdefault((kind, rest, cache.root), _Look()) if _holders else _Look()
    with look.lock:
        if look.found is None:
            look.found = _LOCAL[kind](rest, cache)
        return look.found


def answers(specs: Iterable[str], cache: Cache) -> Iterator[Path]:
    """Yield the files with what packages of Debian were resolved to, as far as they were."""
    for spec in specs:
        if spec.startswith("debian:") and (found := _recall(spec, cache)):
            yield _memo(cache, spec)
            yield _memo(cache, "version", found.key)


def resolve(spec: str, *, cache: Cache, progress: Progress = silent) -> Source:
    """Return a source with its tree in the cache. Errors as in `identify`; InfraError if it cannot be fetched."""
    kind, rest = _split(spec)
    if kind == "debian":
        return _resolve_debian(spec, rest, cache, progress)
    found = _local(kind, rest, cache)
    return _ensure(found, spec, cache, progress)


def kernel_version(makefile: str, where: str) -> str:
    """Return the version in a kernel's top Makefile; InputError if it is not one."""
    parts = {}
    for name in ("VERSION", "PATCHLEVEL", "SUBLEVEL", "EXTRAVERSION"):
        match = re.search(_VERSION_PART.format(name), makefile, re.MULTILINE)
        parts[name] = ""
        if match:
            parts[name] = match[1]
    if not parts["VERSION"].isdigit() or not parts["PATCHLEVEL"].isdigit():
        raise InputError(where, None, None, "expected a kernel tree: its Makefile states no VERSION and PATCHLEVEL")
    version = f"{parts['VERSION']}.{parts['PATCHLEVEL']}"
    if parts["SUBLEVEL"]:
        version += f".{parts['SUBLEVEL']}"
    return version + parts["EXTRAVERSION"]


def _split(spec: str) -> tuple[str, str]:
    kind, _, rest = spec.partition(":")
    if kind not in ("debian", *_LOCAL) or not rest:
        expected = "expected debian:PACKAGE, path:DIR, git:PATH@REV or tarball:FILE"
        raise UsageError(f"source {spec!r}: {expected}")
    return kind, rest


def _ensure(identified: _IdentifiedSource, spec: str, cache: Cache, progress: Progress) -> Source:
    """Return the source after making its cache entry if needed; its version is stored beside the entry."""

    def make(entry: Path) -> None:
        unpacked = entry / "tree"
        unpacked.mkdir()
        identified.unpack(unpacked, progress)
        kernel_version(_read_makefile(unpacked, spec), spec)

    entry = cache.entry(
        ENTRY, identified.key, make, waiting=lambda: progress("waiting for another lab that unpacks this")
    )
    version = kernel_version(_read_makefile(entry / "tree", spec), spec)
    write_atomic(_memo(cache, "version", identified.key), json.dumps({"version": version}).encode())
    if identified.lineage:
        write_atomic(
            _memo(cache, "latest", identified.lineage),
            json.dumps({"key": identified.key, "origin": identified.origin}).encode(),
        )
    return identified.described(spec, version)


def _read_makefile(directory: Path, spec: str) -> str:
    try:
        return (directory / "Makefile").read_text(errors="replace")
    except OSError as error:
        raise InputError(
            spec, None, None, f"expected a kernel tree: no Makefile at its top ({error.strerror})"
        ) from None


# ---- debian: --------------------------------------------------------------------------------------------------------


def _resolve_debian(spec: str, package: str, cache: Cache, progress: Progress) -> Source:
    """Resolve a package once: it keeps its version until the cache is cleaned, so that results can be compared."""
    if (known := identify(spec, cache)) and cache.has(ENTRY, known.key):
        return known
    with cache.lock(f"source-{digest(spec)}", waiting=lambda: progress(f"waiting for another lab to fetch {package}")):
        if (known := identify(spec, cache)) and cache.has(ENTRY, known.key):
            return known
        with cache.scratch("deb") as scratch:
            tarball = _source_tarball(package, scratch, cache, progress)
            version = debian.find_binary(package, cache).version
            found = _of_tarball(tarball, file_digest(tarball), f"{package} {version}")
            made = _ensure(found, spec, cache, progress)
        memo = {"sha256": found.sha256, "origin": found.origin}
        write_atomic(_memo(cache, spec), json.dumps(memo).encode())
    return made


def _source_tarball(package: str, scratch: Path, cache: Cache, progress: Progress) -> Path:
    debian.fetch_binary(package, scratch, cache=cache, progress=progress)
    tarballs = sorted(scratch.glob(f"usr/src/{package}.tar*"))
    if not tarballs:
        raise UsageError(
            f"source debian:{package}: this package has no usr/src/{package}.tar.*, it is no kernel source"
        )
    return tarballs[0]


def _recall(spec: str, cache: Cache) -> _IdentifiedSource | None:
    """Return what a spec was resolved to before; None if it was not."""
    memo = _read_memo(_memo(cache, spec))
    if memo is None:
        return None

    def unpack(_: Path, __: Progress) -> None:
        raise AssertionError("an entry that was recalled is there")

    return _IdentifiedSource(sha256=memo["sha256"], origin=memo["origin"], unpack=unpack)


def _memo(cache: Cache, *parts: str) -> Path:
    return cache.root / MEMORY / f"source-{digest(*parts)}.json"


def _read_memo(path: Path) -> dict[str, str] | None:
    try:
        memo = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    if isinstance(memo, dict):
        return memo
    return None


# ---- tarball: -------------------------------------------------------------------------------------------------------


def _tarball(rest: str, cache: Cache) -> _IdentifiedSource:
    path = user_path(rest).absolute()
    if not path.is_file():
        near = nearest(path.name, _siblings(path))
        raise InputError(path, None, "source", "no such tarball", nearest=near)
    stat = path.stat()
    signature = (str(path), str(stat.st_size), str(stat.st_mtime_ns), str(stat.st_ino))
    sha256 = _remember(_memo(cache, *signature), lambda: file_digest(path))
    return _of_tarball(path, sha256, str(path))


def _siblings(path: Path) -> list[str]:
    """Return the names beside a path; none if its directory is missing."""
    if not path.parent.is_dir():
        return []
    return [sibling.name for sibling in path.parent.iterdir()]


def _remember(memo: Path, compute: Callable[[], str]) -> str:
    """Return a content hash, stored under facts that are cheap to read."""
    known = _read_memo(memo)
    if known and "sha256" in known:
        return known["sha256"]
    sha256 = compute()
    write_atomic(memo, json.dumps({"sha256": sha256}).encode())
    return sha256


def _of_tarball(path: Path, sha256: str, origin: str) -> _IdentifiedSource:
    return _IdentifiedSource(sha256=sha256, origin=origin, unpack=lambda into, progress: _untar(path, into, progress))


def _untar(path: Path, into: Path, progress: Progress) -> None:
    """Unpack an archive; strip its top directory if it has exactly one."""
    seen = 0

    def on_line(_: str) -> None:
        nonlocal seen
        seen += 1
        if seen % 500 == 0:
            progress(f"unpacking {path.name}", done=min(seen / TYPICAL_FILES, 0.99))

    progress(f"unpacking {path.name}", done=0.0)
    argv = ["tar", "--extract", "--verbose", "--no-same-owner", "--file", str(path), "--directory", str(into)]
    try:
        proc.run(argv, timeout_s=UNPACK_S, on_line=on_line)
    except proc.ProcError as error:
        if fault := build_log.host_fault(error.output.splitlines()):
            raise InfraError(f"{fault.what} while unpacking {path.name}", hint=fault.hint) from error
        raise InputError(path, None, None, f"expected an archive that tar can unpack: {error.message}") from error
    inside = list(into.iterdir())
    if len(inside) == 1 and inside[0].is_dir() and not inside[0].is_symlink():
        _hoist(inside[0], into)


def _hoist(top: Path, into: Path) -> None:
    """Move a directory's content one level up. The directory may hold something of its own name."""
    top = top.rename(into / ".hoisted-by-pagelab")
    for entry in list(top.iterdir()):
        entry.rename(into / entry.name)
    top.rmdir()


# ---- git: -----------------------------------------------------------------------------------------------------------


def _git(rest: str, cache: Cache) -> _IdentifiedSource:
    repository, revision = _repository(rest)
    commit = _resolve_revision(repository, revision)
    lineage = digest("git", str(repository.resolve()))
    tree_id = _run_git(repository, "rev-parse", f"{commit}^{{tree}}").strip()
    return _IdentifiedSource(
        sha256=hashlib.sha256(f"git tree {tree_id}".encode()).hexdigest(),
        origin=commit,
        unpack=lambda into, progress: _check_out(repository, commit, into, progress, _latest(lineage, cache)),
        makefile=lambda: _run_git(repository, "show", "--no-textconv", f"{commit}:Makefile"),
        lineage=lineage,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Earlier:
    """A tree of the same lineage in the cache, and its commit."""

    tree: Path
    commit: str


def _latest(lineage: str, cache: Cache) -> _Earlier | None:
    """Return the last commit of a repository that was unpacked; None if its tree is gone."""
    memo = _read_memo(_memo(cache, "latest", lineage))
    if not memo or "origin" not in memo or not cache.has(ENTRY, memo["key"]):
        return None
    return _Earlier(tree=tree(memo["key"], cache), commit=memo["origin"])


def _check_out(repository: Path, commit: str, into: Path, progress: Progress, earlier: _Earlier | None) -> None:
    """Unpack a commit. With an earlier one, link its tree and unpack only the differences, so that builds see these."""
    names = None
    if earlier:
        names = _differing(repository, earlier.commit, commit)
    if earlier is None or names is None or len(names) > MANY_NAMES:
        _archive(repository, commit, into, progress)
        return
    progress(f"reading what {commit[:12]} of {repository.name} changes")
    proc.run(["cp", "--archive", "--link", f"{earlier.tree}/.", str(into)], timeout_s=UNPACK_S)
    present = []
    for name, gone in names.items():
        (into / name).unlink(missing_ok=True)
        if not gone:
            present.append(name)
    if present:
        tarball = into.parent / f"{commit}.tar"
        _run_git(repository, "archive", "--format=tar", f"--output={tarball}", commit, "--", *present)
        proc.run(["tar", "--extract", "--no-same-owner", "--file", str(tarball), "--directory", str(into)])
        tarball.unlink()


def _differing(repository: Path, old: str, new: str) -> dict[str, bool] | None:
    """Return every file in which two commits differ -> whether it is gone; None if git fails."""
    words = ("diff", "--name-status", "-z", "--no-renames", "--no-ext-diff", old, new)
    done = _start_git(repository, *words, check=False)
    if done.status:
        return None
    if not done.output:
        return {}
    fields = done.output.rstrip("\0").split("\0")
    return {name: status == "D" for status, name in zip(fields[::2], fields[1::2], strict=True)}


def git(repository: Path, *words: str) -> str:
    """Return the output of a git command that only reads a user's repository; UsageError if it is none."""
    if _start_git(repository, "rev-parse", "--git-dir", check=False).status:
        raise UsageError(f"{repository} is no git repository")
    return _run_git(repository, *words)


def commit_of(repository: Path, revision: str) -> str:
    """Return the commit of a revision; UsageError, with the nearest name, if there is no such revision."""
    return _resolve_revision(repository, revision)


def merge_base(repository: Path, one: str, other: str) -> str:
    """Return the last commit that two commits have in common; empty if they have none."""
    done = _start_git(repository, "merge-base", one, other, check=False)
    return done.output.strip() if done.status == 0 else ""


def peek(spec: str) -> Lookup:
    """Return a function that reads one file of a local source (`path:`, `git:`) without unpacking it."""
    kind, rest = _split(spec)
    if kind == "path":
        top = user_path(rest).absolute()

        def read_file(name: str) -> Content | None:
            path = top / name
            if path.is_file():
                return Content(path.read_bytes())
            return None

        return read_file
    repository, revision = _repository(rest)
    commit = _resolve_revision(repository, revision)

    def read_committed(name: str) -> Content | None:
        with tempfile.TemporaryDirectory() as scratch:
            tarball = Path(scratch, "file.tar")
            words = ("archive", "--format=tar", f"--output={tarball}", commit, "--", name)
            if _start_git(repository, *words, check=False).status:
                return None
            return _first_file(tarball)

    return read_committed


def _first_file(tarball: Path) -> Content | None:
    """Return the first regular file of a tar archive; None if it has none."""
    with tarfile.open(tarball) as archive:
        for entry in archive:
            if not entry.isfile():
                continue
            if file := archive.extractfile(entry):
                return Content(file.read(), bool(entry.mode & 0o100))
    return None


def diff(repository: Path, *commits: str) -> bytes:
    """Return the patch from one commit to another, or from one to the files as they are, byte by byte."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "patch")
        _run_git(repository, "diff", "--no-ext-diff", "--no-textconv", "--no-color", f"--output={file}", *commits, "--")
        return file.read_bytes()


def _repository(rest: str) -> tuple[Path, str]:
    """Split PATH@REV. Either may contain an @: the first split whose left side is a directory is used."""
    parts = rest.split("@")
    for count in range(1, len(parts)):
        path = user_path("@".join(parts[:count])).absolute()
        if path.is_dir():
            return path, "@".join(parts[count:])
    raise UsageError(f"source git:{rest}: no such directory: {user_path(parts[0]).absolute()}")


def _resolve_revision(repository: Path, revision: str) -> str:
    if revision and not revision.startswith("-"):
        done = _start_git(repository, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", check=False)
        if done.status == 0:
            return done.output.strip()
    if _start_git(repository, "rev-parse", "--git-dir", check=False).status:
        raise UsageError(f"source git:{repository}@{revision}: {repository} is no git repository")
    refs = _run_git(repository, "for-each-ref", "--format=%(refname:short)").split()
    meant = did_you_mean(revision, refs)
    raise UsageError(f"source git:{repository}@{revision}: no such revision{meant}")


def _archive(repository: Path, commit: str, into: Path, progress: Progress) -> None:
    tarball = into.parent / f"{commit}.tar"
    progress(f"reading {commit[:12]} of {repository.name}", done=0.0)
    _run_git(repository, "archive", "--format=tar", f"--prefix=linux-{commit[:12]}/", f"--output={tarball}", commit)
    _untar(tarball, into, progress)
    tarball.unlink()


def _run_git(repository: Path, *words: str) -> str:
    return _start_git(repository, *words).output


def _start_git(repository: Path, *words: str, check: bool = True) -> proc.Completed:
    """Run git on a user's repository without index refresh, hooks, or programs from its configuration."""
    safe = ("-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false")
    argv = ["git", *safe, "-C", str(repository), *words]
    return proc.run(argv, env={"GIT_OPTIONAL_LOCKS": "0"}, whole=True, check=check)


# ---- path: ----------------------------------------------------------------------------------------------------------


def _path(rest: str, cache: Cache) -> _IdentifiedSource:
    directory = user_path(rest).absolute()
    if not directory.is_dir():
        near = nearest(directory.name, _siblings(directory))
        raise InputError(directory, None, "source", "no such directory", nearest=near)
    _read_makefile(directory, f"path:{rest}")
    sha256, names = _identity(directory, cache)
    lineage = digest("path", str(directory))

    def unpack(into: Path, progress: Progress) -> None:
        like = None
        if latest := _read_memo(_memo(cache, "latest", lineage)):
            like = tree(latest["key"], cache)
        _copy(directory, names(), into, progress, like=like)
        if _identity(directory, cache)[0] != sha256:
            raise InfraError(f"{directory} changed while it was being copied", hint="run the same command again")

    return _IdentifiedSource(
        sha256=sha256,
        origin=str(directory),
        unpack=unpack,
        makefile=lambda: _read_makefile(directory, f"path:{rest}"),
        lineage=lineage,
    )


def _identity(directory: Path, cache: Cache) -> tuple[str, Callable[[], list[str]]]:
    """Return a hash of a directory's content, and a function that returns the names of its files."""
    git_files = None
    if (directory / ".git").exists():
        git_files = _git_files(directory)
    if git_files is not None:
        head, dirty, files = git_files
        return _hash_files(directory, dirty, f"git tree {head}"), lambda: files
    found = _look_at(directory)

    def names() -> list[str]:
        return sorted(os.fsdecode(line.rpartition(_BEHIND)[0]) for line in found)

    state = digest("find", str(directory), b"\0".join(found))
    return _remember(_memo(cache, state), lambda: _hash_files(directory, names(), "")), names


def _git_files(directory: Path) -> tuple[str, list[str], list[str]] | None:
    """Return HEAD's tree, the files that differ from it, and all files; None if there is no commit."""
    done = _start_git(directory, "rev-parse", "--verify", "--quiet", "HEAD^{tree}", check=False)
    if done.status:
        return None
    differ = _names(_run_git(directory, "diff", "HEAD", "--name-only", "-z", "--no-ext-diff", "--no-textconv"))
    new = _names(_run_git(directory, "ls-files", "--others", "--exclude-standard", "-z"))
    tracked = _names(_run_git(directory, "ls-files", "--cached", "-z"))
    return done.output.strip(), sorted(differ | new), sorted(tracked | new)


def _names(output: str) -> set[str]:
    return set(filter(None, output.split("\0")))


def _look_at(directory: Path) -> list[bytes]:
    """Return the name of each file below a directory that is no git work tree, but for products of a build in it.

    Behind each name and `_BEHIND` is what changes when the file is written, replaced or given another mode. A symbolic
    link is a file, whatever it leads to. InputError if something there cannot be read.
    """
    # find takes half the CPU time of os.scandir, and is not part of this process, which loads modules meanwhile.
    facts = f"%P{_BEHIND.decode()}%s %T@ %i %m %y\\0"
    argv = ["find", ".", "-mindepth", "1", "!", "-type", "d", "-printf", facts]
    try:
        output = proc.stdout_of(argv, cwd=directory, env={"LC_ALL": "C"})
    except proc.ProcError as error:
        raise InputError(directory, None, "source", f"expected a tree that can be read: {error.message}") from error

    @cached
    def left_out(inside: bytes) -> bool:
        above, _, name = inside.rpartition(b"/")
        return bool(name) and (_is_built(name) or _BUILT_DIRS.fullmatch(inside) is not None or left_out(above))

    found = []
    for line in output.split(b"\0")[:-1]:
        inside, _, name = line.partition(_BEHIND)[0].rpartition(b"/")
        if not _is_built(name) and not left_out(inside):
            found.append(line)
    return sorted(found)


def _is_built(name: bytes) -> bool:
    """Return whether a build leaves something of this name in a tree."""
    return name in _BUILT_NAMES or name.endswith(_BUILT_SUFFIXES)


_FILE_KINDS = {True: "exec", False: "file"}
"""Whether a file is executable -> its kind in the hash of a directory."""


def _hash_files(directory: Path, names: Iterable[str], head: str) -> str:
    """Return the hex SHA-256 over `head` and the name, kind and content of files; a missing file counts as gone."""
    state = hashlib.sha256(head.encode())
    for name in names:
        path = directory / name
        if path.is_symlink():
            fact = f"link {path.readlink()}"
        elif path.is_file():
            kind = _FILE_KINDS[os.access(path, os.X_OK)]
            fact = f"{kind} {file_digest(path)}"
        else:
            fact = "gone"
        state.update(f"\0{name}\0{fact}".encode("utf-8", "surrogateescape"))
    return state.hexdigest()


def _copy(directory: Path, files: list[str], into: Path, progress: Progress, *, like: Path | None) -> None:
    """Copy files with their modes and times, symbolic links as they are.

    A file that looks the same in `like`, an earlier copy, is a link to it: builds see the changes.
    """
    made: set[Path] = set()
    for number, name in enumerate(files):
        if number % 500 == 0:
            progress(f"copying {directory.name}", done=number / max(len(files), 1))
        origin, target = directory / name, into / name
        if target.parent not in made:
            target.parent.mkdir(parents=True, exist_ok=True)
            made.add(target.parent)
        if like and _looks_same(origin, like / name):
            os.link(like / name, target)
        elif origin.is_symlink() or origin.is_file():
            shutil.copy2(origin, target, follow_symlinks=False)


def _looks_same(one: Path, other: Path) -> bool:
    """Return whether two regular files agree in size, time and mode."""
    try:
        first, second = one.lstat(), other.lstat()
    except OSError:
        return False
    same_content = first.st_size == second.st_size and first.st_mtime_ns == second.st_mtime_ns
    return same_content and first.st_mode == second.st_mode and S_ISREG(first.st_mode)


def changed(old: Path, new: Path) -> set[str] | None:
    """Return the files that may differ between two copies of one lineage; None if more than files changed."""
    try:
        return set(_changed(old, new, ""))
    except NotADirectoryError:
        return None


def _changed(old: Path, new: Path, prefix: str) -> Iterator[str]:
    """Walk two directories, either of which may be missing; NotADirectoryError if a name changed its kind."""
    entries: dict[str, list[os.DirEntry[str]]] = {}
    for side in (old, new):
        if side.is_dir():
            for entry in os.scandir(side):
                entries.setdefault(entry.name, []).append(entry)
    for name, sides in sorted(entries.items()):
        kinds = {S_IFMT(entry.stat(follow_symlinks=False).st_mode) for entry in sides}
        links = {str(Path(entry).readlink()) for entry in sides if entry.is_symlink()}
        if len(kinds) > 1 or len(links) > 1 or (links and len(sides) == 1):
            raise NotADirectoryError(name)
        if S_IFDIR in kinds:
            yield from _changed(old / name, new / name, f"{prefix}{name}/")
        elif not links and (len(sides) == 1 or sides[0].inode() != sides[1].inode()):
            yield prefix + name


_LOCAL: dict[str, Callable[[str, Cache], _IdentifiedSource]] = {"path": _path, "git": _git, "tarball": _tarball}
