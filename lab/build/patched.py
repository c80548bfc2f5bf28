# SPDX-License-Identifier: GPL-2.0-or-later
"""What a kernel's series makes of the C files that it touches: their content, and the lines that it adds or changes."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lab.build import series, source, worktree
from lab.build.series import Patch
from lab.core.cache import Cache
from lab.core.errors import InfraError
from lab.core.paths import images
from lab.formats.patches.patch import Lookup
from lab.specs.model import Kernel

CONTEXT_LINES = 3
NOT_IN_THE_KERNEL = ("tools/", "scripts/", "Documentation/", "usr/")
"""Directories whose C files are programs for the host or tests: no kernel has their lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchedFile:
    """A C file or header with the changes of a series."""

    before: bytes
    """Empty for a new file."""
    content: bytes
    added: Mapping[int, str]
    """What the series adds or changes: line of the patched file, from 1 -> its text."""
    symbol: str = ""
    """The Kconfig symbol that a C file is compiled with, without CONFIG_; empty if no Makefile names one."""

    def diff(self, name: str) -> str:
        """Return what the series changes, as a unified diff of the file `name`."""
        return unified(name, self.before, self.content)


def patched_files(kernel: Kernel, cache: Cache) -> dict[str, PatchedFile]:
    """Return the C files and headers to which a kernel's series adds lines, by their paths in the tree.

    InfraError if the source has not been fetched yet.
    """
    return changed_lines(*_patches_and_tree(kernel, cache))


def patched_content(kernel: Kernel, cache: Cache, names: Iterable[str]) -> dict[str, bytes]:
    """Return the content of files, by their paths in the tree, with a kernel's series applied; without those missing.

    InfraError if the source has not been fetched yet.
    """
    patches, pristine = _patches_and_tree(kernel, cache)
    changed = series.changed_files(patches, pristine)
    contents = {name: changed[name] if name in changed else pristine(name) for name in names}
    return {name: content.data for name, content in contents.items() if content is not None}


def neighbours(kernel: Kernel, cache: Cache, name: str) -> list[str]:
    """Return the C files and headers of a kernel's source in the directory of `name`, and those of its name elsewhere.

    InfraError if the source has not been fetched yet.
    """
    root, wanted = _tree(kernel, cache)[1], PurePosixPath(name)
    found = []
    for place, _, names in os.walk(root):
        directory = PurePosixPath(place).relative_to(root)
        near = names if directory == wanted.parent else {wanted.name}.intersection(names)
        found += [str(directory / each) for each in near if each.endswith((".c", ".h"))]
    return found


def _tree(kernel: Kernel, cache: Cache) -> tuple[source.Source, Path]:
    """Return which source a kernel has, and the directory of its pristine tree."""
    identified = source.identify(kernel.source, cache)
    if identified is None:
        raise InfraError(f"{kernel.source} has not been fetched yet", hint="lab build, or lab run, fetches it")
    return identified, source.tree(identified.key, cache)


def _patches_and_tree(kernel: Kernel, cache: Cache) -> tuple[tuple[Patch, ...], Lookup]:
    """Return the patches of a kernel's series, none without one, and what reads its source."""
    identified, tree = _tree(kernel, cache)
    patches: tuple[Patch, ...] = ()
    if kernel.series:
        patches = tuple(series.load(kernel.series, identified.version, root=images() / "series").patches)
    return patches, lambda name: worktree.read_file(tree, name)


def changed_lines(patches: Iterable[Patch], pristine: Lookup) -> dict[str, PatchedFile]:
    """Return the kernel's C files and headers to which patches add lines, in a tree that is read with `pristine`."""
    changed = series.changed_files(patches, pristine)

    def read(name: str) -> str:
        content = changed[name] if name in changed else pristine(name)
        return content.data.decode("utf-8", "replace") if content else ""

    files = {}
    for name, content in changed.items():
        if content is None or not name.endswith((".c", ".h")) or name.startswith(NOT_IN_THE_KERNEL):
            continue
        pristine_content = pristine(name)
        before = pristine_content.data if pristine_content else b""
        added = _added(before.decode("utf-8", "replace").splitlines(), read(name).splitlines())
        if added:
            symbol = symbol_of(name, read)
            files[name] = PatchedFile(before=before, content=content.data, added=added, symbol=symbol)
    return files


def unified(name: str, before: bytes, after: bytes) -> str:
    """Return a unified diff of two states of a file; bytes that are no UTF-8 are replaced."""
    old = before.decode("utf-8", "surrogateescape").splitlines(keepends=True)
    new = after.decode("utf-8", "surrogateescape").splitlines(keepends=True)
    lines = difflib.unified_diff(old, new, f"a/{name}", f"b/{name}", n=CONTEXT_LINES)
    return "".join(lines).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _added(old: list[str], new: list[str]) -> dict[int, str]:
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    found = {}
    for kind, _, _, start, end in matcher.get_opcodes():
        if kind in ("replace", "insert"):
            for number in range(start, end):
                found[number + 1] = new[number]
    return found


_RULE = re.compile(r"^\s*([\w-]+)-(?:(y|m|objs)|\$\(CONFIG_(\w+)\))\s*[:+]?=(.*)$", re.MULTILINE)
"""One line of a kbuild Makefile that lists objects: the list's name, what the list depends on, the objects."""
_LISTS = ("obj", "lib")
"""The lists that kbuild itself compiles; another list is what an object of its name is linked from."""
MAX_NESTED = 8
"""Lists within lists and directories within directories that are followed."""


def symbol_of(name: str, read: Callable[[str], str]) -> str:
    """Return the Kconfig symbol that a C file of a tree is compiled with; empty if no Makefile names one.

    Where the file's own rule has none, it is that of the object that the file is a part of, or of its directory. `read`
    returns a file of the tree, empty if it does not exist.
    """
    directory = PurePosixPath(name).parent
    wanted = f"{PurePosixPath(name).stem}.o"
    for _ in range(MAX_NESTED):
        rule = _rule(read(str(directory / "Makefile")), wanted)
        if rule is None:
            return ""
        listed, symbol = rule
        if symbol:
            return symbol
        if listed not in _LISTS:
            wanted = f"{listed}.o"
        else:
            wanted = f"{directory.name}/"
            directory = directory.parent
    return ""


def _rule(makefile: str, wanted: str) -> tuple[str, str] | None:
    """The name of the list that an object is in, and the symbol that it depends on; None if it is in no list."""
    for match in _RULE.finditer(makefile.replace("\\\n", " ")):
        if wanted in match[4].split():
            return match[1], match[3] or ""
    return None
