# SPDX-License-Identifier: GPL-2.0-or-later
"""Find the objects that an edit of C files makes stale, where kbuild can compile and link them without its walk.

kbuild looks for stale objects with a make in each directory, some 400 of them, which takes longer than the compiler
and the linker after a small edit. Here the lab knows what has changed in a work tree since make last succeeded in a
build directory. If these are C files of which each is compiled into an object of its own and is read for nothing else,
one make walks to these objects alone (kbuild's `single-goals`) and links the image: all commands, their options and the
order of the links are kbuild's own. Whatever else changed, make walks.

Where this is so is read from what kbuild wrote: vmlinux.a, a thin archive, names all objects that are linked into the
kernel; `.NAME.o.cmd` names the source of an object and all that it was compiled from.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

MOST = 40
"""C files; for more of them the walk is not what takes long."""
THIN_ARCHIVE = b"!<thin>\n"
_NO_PREPARATION = ("-o", "prepare")
"""Options of make in a build directory: what makes headers and tools, none of which is made of what is linked into the
kernel, is taken for done."""
_NO_WALK = ("-o", ".")
"""Likewise the target of kbuild's top Makefile, since 6.1, that walks over all directories."""
_WALK = re.compile(r"^build-dir\s*:=\s*\.$", re.MULTILINE)
_RULE = re.compile(
    r"^\$\(sort \$\(KBUILD_LDS\) \$\(KBUILD_VMLINUX_OBJS\) \$\(KBUILD_VMLINUX_LIBS\)\): \. ;$", re.MULTILINE
)
_GOALS = re.compile(r"^\$\(build-dir\): prepare\n\t.* \$\(single-goals\)$", re.MULTILINE)
"""The walk makes these objects alone where they are named, and looks for nothing else then."""


def find(src: Path, build: Path, changed: Collection[str]) -> tuple[str, ...]:
    """Return the objects that are compiled from changed files of a tree; empty if only a walk can tell what is stale.

    `changed` are names in `src`, of files that exist. Objects are names in `build`. They are all that is stale unless
    `are_read_elsewhere` says otherwise.
    """
    if not 0 < len(changed) <= MOST or not all(name.endswith(".c") for name in changed):
        return ()
    makefile = (src / "Makefile").read_text(errors="replace")
    if not all(lines.search(makefile) for lines in (_WALK, _RULE, _GOALS)):
        return ()
    linked = _linked(build)
    objects = {f"{name.removesuffix('.c')}.o": name for name in sorted(changed)}
    for name, source in objects.items():
        if name not in linked or not _compiled_from(build, name, source):
            return ()
    return tuple(objects)


def are_read_elsewhere(build: Path, objects: Collection[str]) -> bool:
    """Return whether another object was compiled from a source of these too, as by `#include "other.c"`.

    This reads a file for every object of the kernel, which takes a tenth of a second; make may run meanwhile.
    """
    if not objects:
        return False
    own = {_command_file(build, name) for name in objects}
    words = re.compile("|".join(rf"/{re.escape(name.removesuffix('.o'))}\.c\b" for name in objects).encode())
    try:
        return any(words.search(path.read_bytes()) for path in _command_files(build) if path not in own)
    except FileNotFoundError:  # make has removed it: the walk can tell
        return True


def _command_files(build: Path) -> Iterator[Path]:
    """Yield the files in which kbuild wrote what it made something of; make may remove other files meanwhile."""
    for place, _, names in os.walk(build):
        yield from (Path(place, name) for name in names if name.startswith(".") and name.endswith(".cmd"))


def options(objects: Sequence[str]) -> tuple[str, ...]:
    """Return make's options and variables to make the objects, and then a target of all objects as they are."""
    if not objects:
        return (*_NO_PREPARATION, *_NO_WALK)
    return (*_NO_PREPARATION, f"single-goals={' '.join(f'./{name}' for name in objects)}")


def are_made(src: Path, build: Path, objects: Collection[str]) -> bool:
    """Return whether every object is newer than its source."""
    for name in objects:
        source = src / f"{name.removesuffix('.o')}.c"
        if (build / name).stat().st_mtime_ns <= source.stat().st_mtime_ns:
            return False
    return True


def touch_archives(build: Path, objects: Collection[str]) -> None:
    """Make the thin archives of these objects newer than what was linked from them. What they contain is names."""
    for archive in _all_archives(build, objects):
        archive.touch()


def date_archives(build: Path, objects: Collection[str]) -> None:
    """Give the archives the time of the newest of their objects: then the walk finds nothing in them to make anew."""
    times = {name: (build / name).stat().st_mtime_ns for name in objects}
    for archive in _all_archives(build, objects):
        newest = max(time for name, time in times.items() if archive in _archives(build, name))
        os.utime(archive, ns=(newest, newest))


def _all_archives(build: Path, objects: Collection[str]) -> list[Path]:
    """Return the archives of all these objects, each of them once."""
    return list(dict.fromkeys(archive for name in objects for archive in _archives(build, name)))


def _archives(build: Path, name: str) -> list[Path]:
    """Return the archives of an object's directory and those above it, as far as there are any; the top one last."""
    places = (build / directory / "built-in.a" for directory in Path(name).parents)
    return [place for place in places if place.is_file()]


def _linked(build: Path) -> frozenset[str]:
    """Return the names of the objects in vmlinux.a; empty if it is no thin archive."""
    try:
        content = (build / "vmlinux.a").read_bytes()
    except OSError:
        return frozenset()
    if not content.startswith(THIN_ARCHIVE + b"//"):
        return frozenset()
    size = int(content[len(THIN_ARCHIVE) + 48 : len(THIN_ARCHIVE) + 58])  # ar.h: the header has 60 bytes
    table = content[len(THIN_ARCHIVE) + 60 :][:size].decode("utf-8", "surrogateescape")
    return frozenset(table.split("/\n"))


def _command(build: Path, name: str) -> str:
    """Return what kbuild wrote about an object; empty if it wrote nothing."""
    try:
        return _command_file(build, name).read_text(errors="replace")
    except OSError:
        return ""


def _command_file(build: Path, name: str) -> Path:
    return (build / name).with_name(f".{Path(name).name}.cmd")


def _compiled_from(build: Path, name: str, source: str) -> bool:
    """Return whether an object is compiled from the C file and lies in its directory's archive and in the top one."""
    wanted = {(build / name).with_name("built-in.a"), build / "built-in.a"}
    return wanted <= set(_archives(build, name)) and f"\nsource_{name} := ../{source}\n" in _command(build, name)
