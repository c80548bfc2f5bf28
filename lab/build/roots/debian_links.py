# SPDX-License-Identifier: GPL-2.0-or-later
"""Links that every Debian system has and no package ships: those of a merged /usr, /bin/sh, update-alternatives(1).

Installers and maintainer scripts make them, and neither runs for a root: it would have no `sh`, `awk` or /usr/bin/bash.
The calls of update-alternatives whose words are literal are read from the scripts; one with a variable is left out.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lab.build.roots.tree import RootTree

COMMAND = "update-alternatives"
MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "libo32")
"""Directories that are links into /usr, as debootstrap(8) makes them before the first package."""
SHELLS = ("dash", "bash")
"""What /bin/sh is a link to, the first that the root has: the postinst script of dash makes the link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """One call of update-alternatives --install: `paths` is (link, file), the master's first, its slaves' behind it."""

    priority: int
    paths: tuple[tuple[str, str], ...]


def merge_usr(tree: RootTree) -> None:
    """Make the links of a merged /usr in a tree that has no package yet, and that packages do not replace."""
    tree.merges = True
    for name in MERGED:
        tree.add_link(name, f"usr/{name}")


def in_script(script: str) -> Iterator[Alternative]:
    """Yield the alternatives that a maintainer script installs by calls without variables."""
    for line in script.replace("\\\n", " ").splitlines():
        if COMMAND in line and (found := _call(line)) is not None:
            yield found


def complete(tree: RootTree, alternatives: Iterable[Alternative]) -> None:
    """Add to a tree of packages /bin/sh and its alternatives: the highest priority whose file exists, as by default."""
    for name in MERGED:
        if not tree.has(name):
            tree.remove(name)
    for shell in SHELLS:
        if tree.has(f"bin/{shell}"):
            tree.add_link("bin/sh", shell)
    for each in sorted(alternatives, key=lambda one: -one.priority):
        link, path = each.paths[0]
        if tree.has(link) or not tree.has(path):
            continue
        for name, target in each.paths:
            if tree.has(target):
                tree.add_link(name, target)


def _call(line: str) -> Alternative | None:
    """Return what one line installs; None for another command, or one whose words are not literal."""
    try:
        words = shlex.split(line, comments=True)
        first = words.index("--install")
        link, _, path, priority = words[first + 1 : first + 5]
    except ValueError:
        return None
    paths = [(link, path), *_slaves(words[first + 5 :])]
    literal = all(re.fullmatch(r"/[\w.+/-]+", name) for pair in paths for name in pair)
    if not literal or not priority.isdecimal():
        return None
    return Alternative(priority=int(priority), paths=tuple(paths))


def _slaves(words: list[str]) -> Iterator[tuple[str, str]]:
    """Yield (link, file) of every `--slave LINK NAME FILE`."""
    for number, word in enumerate(words):
        if word == "--slave" and len(words) > number + 3:
            yield words[number + 1], words[number + 3]
