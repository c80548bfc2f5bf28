# SPDX-License-Identifier: GPL-2.0-or-later
"""What a mutant is, and how it becomes a kernel: its series with one patch more, made from the edits."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.build import series, source, worktree
from lab.build.series import Series
from lab.core.cache import Cache
from lab.core.errors import UsageError
from lab.core.paths import images

SOURCE = "debian:linux-source-6.12"
PROVIDES = {"expand-fault": ("shm-expand",), "expand-mremap": ("shm-expand", "expand-enomem")}
MACHINE = "x86_64-4k-2node"

Lookup = Callable[[str], str]
"""A file of the patched tree, by its path; UsageError when the tree has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One place of the patched source. `old` must be there exactly once."""

    file: str
    old: str
    new: str


SHMEM, MREMAP = "mm/shmem.c", "mm/mremap.c"


def in_shmem(old: str, new: str) -> tuple[Edit, ...]:
    """Return the edits of a defect in one place of mm/shmem.c."""
    return (Edit(file=SHMEM, old=old, new=new),)


def in_mremap(old: str, new: str) -> tuple[Edit, ...]:
    """Return the edits of a defect in one place of mm/mremap.c."""
    return (Edit(file=MREMAP, old=old, new=new),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One defect. `kills` are the cases (`scenario.case`, globs) that should see it, so that they are run first."""

    name: str
    breaks: str
    edits: tuple[Edit, ...]
    kills: tuple[str, ...]
    series: str = "expand-fault"
    machine: str = MACHINE
    equal: str = ""
    """Why nobody can tell it from the original, where that is so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """A series as it is, and the files of the source with it applied."""

    series: Series
    read: Lookup


def original(name: str, cache: Cache) -> Original:
    """UsageError where the source was never fetched, or there is no such series."""
    found = source.identify(SOURCE, cache)
    if found is None:
        raise UsageError(f"{SOURCE} is not here yet", hint=f"lab build quick -t {MACHINE}")
    pristine = source.tree(found.key, cache)
    applied = series.load(name, found.version, root=images() / "series")
    changed = series.changed_files(applied.patches, lambda path: worktree.read_file(pristine, path))

    def read(path: str) -> str:
        content = changed[path] if path in changed else worktree.read_file(pristine, path)
        if content is None:
            raise UsageError(f"{path}: no such file in {SOURCE} with {name}")
        return content.data.decode()

    return Original(series=applied, read=read)


def as_patch(mutant: Mutant, read: Lookup) -> str:
    """The mutant as a patch on top of its series. UsageError for an edit that does not fit exactly once."""
    return f"{mutant.breaks}\n\n" + "".join(_diffs(mutant, read))


def _diffs(mutant: Mutant, read: Lookup) -> Iterator[str]:
    for path in dict.fromkeys(edit.file for edit in mutant.edits):
        before = after = read(path)
        for edit in (each for each in mutant.edits if each.file == path):
            if after.count(edit.old) != 1:
                raise UsageError(f"{mutant.name}: {path} has {after.count(edit.old)} times {edit.old.strip()!r}")
            after = after.replace(edit.old, edit.new)
        old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
        yield from difflib.unified_diff(old, new, f"a/{path}", f"b/{path}")


def write_kernel(mutant: Mutant, base: Original, directory: Path) -> Path:
    """A kernel definition, its name the mutant's: the series with the defect on top. All of it is in the directory."""
    patches = directory / f"{mutant.name}-series"
    patches.mkdir(parents=True)
    for number, each in enumerate(base.series.patches):
        (patches / f"{number:04}-{each.name}").write_bytes(each.path.read_bytes())
    (patches / "9999-defect.patch").write_text(as_patch(mutant, base.read))
    provides = ", ".join(PROVIDES[mutant.series])
    kernel = directory / f"{mutant.name}.yaml"
    kernel.write_text(f"source: {SOURCE}\nseries: ./{patches.name}\nprovides: [{provides}]\n")
    return kernel
