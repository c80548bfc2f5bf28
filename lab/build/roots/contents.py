# SPDX-License-Identifier: GPL-2.0-or-later
"""Find a program in the image of a root, with all that it is linked with there, before anything boots."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePosixPath

from lab.arch.record import Arch
from lab.build.roots import needed
from lab.build.roots.needed import Needs, SearchPlaces
from lab.build.roots.root import BuiltRoot
from lab.core import proc
from lab.core.errors import InfraError, UsageError, did_you_mean
from lab.core.this_host import install_command

UNPACK_S = 900.0
PROGRAM = "unsquashfs"
LISTED = re.compile(r"([-l])[rwxsStT-]{9} \d+/\d+ +\d+ [\d-]+ [\d:]+ squashfs-root(/.*)")
"""A line of `unsquashfs -lln` for a file or a symbolic link."""
MAX_LINKS = 40
PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
"""Where the guest looks for a command of a root: the PATH that images/probes/enter.c sets."""


def needs(word: str, program: Path | None, built: BuiltRoot, arch: Arch) -> Needs | None:
    """Return what a command needs to start in a root; None for a path that is not absolute.

    `program` is a file of this host that is copied to the guest; None for a command of the root. The files that are
    named are gone when this returns, their headers are not. UsageError if the root has no such command.
    """
    if program is None and "/" in word and not word.startswith("/"):
        return None
    with _unpacked(built) as tree:
        places = SearchPlaces(roots=(tree,), libraries=())
        if program is not None:
            return needed.needs(program, arch, places, commands={})
        for guest in _candidates(word):
            if here := needed.inside(tree, guest):
                return needed.needs(here, arch, places, commands={}, guest_path=guest)
    raise UsageError(f"--root {built.word} has no {word}")


def check(word: str, program: Path | None, built: BuiltRoot, arch: Arch, brought: Iterable[str]) -> None:
    """Raise UsageError if a command cannot start in a root: it, or what it is started by, is not there.

    `program` is as for `needs`; `brought` are absolute paths of the guest to which files of this host are copied. The
    libraries are not looked for: the loader of the root names those that it lacks.
    """
    if program is None and "/" in word and not word.startswith("/"):
        return
    files, links = _listed(built)
    copied = tuple(brought)

    def there(path: str) -> str | None:
        found = _followed(path, links)
        return found if found in files or any(PurePosixPath(path).is_relative_to(place) for place in copied) else None

    if program is not None:
        starters = needed.started_by(program, arch, str(program))
    elif found := next(filter(None, map(there, _candidates(word))), None):
        if found not in files:
            return
        with _unpacked(built, found) as tree:
            starters = needed.started_by(tree / found.lstrip("/"), arch, f"--root {built.word}: {found}")
    else:
        raise UsageError(f"--root {built.word} has no {word}{did_you_mean(word, _similar(word, files, links))}")
    for starter in starters:
        if not any(map(there, _candidates(starter))):
            raise UsageError(f"{program or word} is started by {starter}, which --root {built.word} does not have")


def _similar(word: str, *listings: Iterable[str]) -> list[str]:
    """Return what may have been meant: files of the same name, else the commands."""
    paths = [path for listing in listings for path in listing]
    if "/" in word and (same := [path for path in paths if posixpath.basename(path) == posixpath.basename(word)]):
        return same
    commands = [path for path in paths if posixpath.dirname(path) in PATH]
    return commands if "/" in word else [posixpath.basename(path) for path in commands]


def has(built: BuiltRoot, path: str) -> bool:
    """Whether an absolute path names a regular file of a root, links followed within it."""
    files, links = _listed(built)
    return _followed(path, links) in files


def _followed(path: str, links: Mapping[str, str]) -> str:
    """Return where an absolute path leads when links (path -> target) are followed; empty after too many."""
    todo, at, followed = list(reversed(PurePosixPath(path).parts[1:])), PurePosixPath("/"), 0
    while todo:
        part = todo.pop()
        at = at.parent if part == ".." else at / part
        if (target := links.get(str(at))) is None:
            continue
        followed += 1
        if followed > MAX_LINKS:
            return ""
        at = at.parent
        if target.startswith("/"):
            at = PurePosixPath("/")
        todo.extend(part for part in reversed(PurePosixPath(target).parts) if part != "/")
    return str(at)


def _listed(built: BuiltRoot) -> tuple[set[str], dict[str, str]]:
    """Return the paths of the regular files of a root, and path -> target of its symbolic links."""
    return _listed_image(built.image)


@lru_cache(maxsize=1)  # an image never changes: its path has the digest of what is in it
def _listed_image(image: Path) -> tuple[set[str], dict[str, str]]:
    files, links = set(), {}
    for line in proc.run([_program(), "-lln", str(image)], timeout_s=UNPACK_S, whole=True).output.splitlines():
        if match := LISTED.fullmatch(line):
            kind, name = match.groups()
            name, _, target = name.partition(" -> ")
            if kind == "l":
                links[name] = target
            else:
                files.add(name)
    return files, links


def _candidates(word: str) -> tuple[str, ...]:
    """Return the paths in a root that a command may have."""
    if "/" in word:
        return (posixpath.normpath(word),)
    return tuple(f"{directory}/{word}" for directory in PATH)


@contextmanager
def _unpacked(built: BuiltRoot, *only: str) -> Iterator[Path]:
    """Yield a directory with the files of a root, or some of them, that nobody else can read; removed at the end."""
    with built.cache.scratch("root-contents") as scratch:
        tree = scratch / "root"
        proc.run(
            [_program(), "-no-progress", "-quiet", "-no-xattrs", "-dest", str(tree), str(built.image), *only],
            timeout_s=UNPACK_S,
        )
        try:
            yield tree
        finally:
            _make_removable(tree)


def _program() -> str:
    if proc.which(PROGRAM) is None:
        raise InfraError(f"--root needs {PROGRAM}, which is not installed", hint=install_command(["squashfs-tools"]))
    return PROGRAM


def _make_removable(tree: Path) -> None:
    """Let the owner of the directories remove what is in them."""
    todo = [tree]
    while todo:
        directory = todo.pop()
        directory.chmod(0o700)
        for entry in directory.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                todo.append(entry)
