# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels as they are: an edit of C files, built without kbuild's walk, gives the vmlinux that the walk gives."""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

from lab.build import kernel
from lab.build.edits import stale_objects
from lab.build.kernel import Recipe
from lab.core import paths
from lab.core.cache import Cache, default_root
from lab.specs.library import Library
from tests.integration.conftest import BUILD_TIMEOUT_S, MACHINES

KERNEL = "expand-fault"
EDITS: tuple[Mapping[str, str], ...] = (
    {},
    {"mm/mempolicy.c": "int pagelab_twice(int a) { return 2 * a; }\n", "fs/exec.c": "int pagelab_edit = 2;\n"},
    {},
)
"""What is added to the ends of files, one state after the other."""


class Builds:
    """Builds of one kernel with edits, none of which stays in the cache."""

    def __init__(self, machine: str, place: Path) -> None:
        library = Library.shipped()
        self.kernel, self.topology = library.kernel(KERNEL), library.topology(machine)
        self.cache, self.images = Cache(default_root()), place / "images"

    def vmlinux(self, edit: Mapping[str, str]) -> bytes:
        """The vmlinux of the kernel with an edit, built anew."""
        shutil.rmtree(self.images, ignore_errors=True)
        shutil.copytree(paths.images(), self.images)
        source = self.recipe().source
        text = ""
        for name, more in edit.items():
            before = (self.cache.path("source", source.key) / "tree" / name).read_text().splitlines(keepends=True)
            text += "".join(difflib.unified_diff(before, [*before, more], f"a/{name}", f"b/{name}"))
        if text:
            version = ".".join(source.version.split(".")[:2])
            (self.images / "series" / KERNEL / version / "9999-edit.diff").write_text(text)
        recipe = self.recipe()
        self.cache.remove(kernel.ENTRY, recipe.key)
        kernel.build(self.kernel, self.topology, cache=self.cache, images=self.images)
        if text:
            self.cache.remove(kernel.ENTRY, recipe.key)
        directory = self.cache.path("work", recipe.source.lineage) / "src" / f"build-{recipe.build_name}"
        return (directory / "vmlinux").read_bytes()

    def recipe(self) -> Recipe:
        recipe = kernel.recipe_of(self.kernel, self.topology, cache=self.cache, images=self.images)
        assert recipe
        return recipe


@pytest.mark.timeout(BUILD_TIMEOUT_S + 600)
def test_an_edit_gives_the_kernel_that_the_walk_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[tuple[str, ...]] = []
    find = stale_objects.find

    def spy(src: Path, build: Path, changed: Collection[str]) -> tuple[str, ...]:
        found.append(find(src, build, changed))
        return found[-1]

    builds = Builds(MACHINES[0], tmp_path)
    without = []
    for edit in EDITS:
        monkeypatch.setattr(stale_objects, "find", spy)
        without.append(builds.vmlinux(edit))
        monkeypatch.setattr(stale_objects, "find", lambda *_: ())
        assert builds.vmlinux(edit) == without[-1]
    monkeypatch.undo()
    edits = found[-2:]  # the first state is not asked for where a full build made it
    assert edits == [("fs/exec.o", "mm/mempolicy.o")] * 2
    assert without[0] == without[-1]
    assert len(set(without)) == len(without) - 1
