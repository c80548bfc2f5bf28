# SPDX-License-Identifier: GPL-2.0-or-later
"""lab.build.edits.stale_objects: what make is told, and times of archives. Builds with it are in test_kernel.py."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab.build.edits import stale_objects

OBJECTS = ("mm/mremap.o", "mm/shmem.o", "fs/exec.o")
ARCHIVES = ("built-in.a", "mm/built-in.a", "fs/built-in.a")


@pytest.fixture
def build(tmp_path: Path) -> Path:
    for second, name in enumerate((*ARCHIVES, *OBJECTS), start=1):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
        os.utime(path, ns=(second * 10**9,) * 2)
    return tmp_path


def times(build: Path) -> dict[str, int]:
    return {name: (build / name).stat().st_mtime_ns // 10**9 for name in ARCHIVES}


def test_make_walks_to_the_objects_alone() -> None:
    assert stale_objects.options(("mm/a.o", "fs/b.o")) == ("-o", "prepare", "single-goals=./mm/a.o ./fs/b.o")


def test_make_does_not_walk_if_nothing_is_stale() -> None:
    assert stale_objects.options(()) == ("-o", "prepare", "-o", ".")


def test_archives_of_stale_objects_are_newer_than_all_else(build: Path) -> None:
    stale_objects.touch_archives(build, OBJECTS[:1])
    newest = max((build / name).stat().st_mtime_ns for name in OBJECTS) // 10**9
    after = times(build)
    assert min(after["built-in.a"], after["mm/built-in.a"]) > newest
    assert after["fs/built-in.a"] == 3


def test_archives_get_the_time_of_their_newest_object(build: Path) -> None:
    stale_objects.touch_archives(build, OBJECTS)
    stale_objects.date_archives(build, OBJECTS)
    assert times(build) == {"built-in.a": 6, "mm/built-in.a": 5, "fs/built-in.a": 6}


def test_an_object_that_another_one_is_compiled_from_too(build: Path) -> None:
    (build / "mm/.mremap.o.cmd").write_text("source_mm/mremap.o := ../mm/mremap.c\n")
    (build / "mm/.shmem.o.cmd").write_text("deps_mm/shmem.o := ../mm/mremap.cold ../xmm/mremap.c\n")
    assert not stale_objects.are_read_elsewhere(build, OBJECTS[:1])
    assert not stale_objects.are_read_elsewhere(build, ())
    (build / "fs/.exec.o.cmd").write_text("deps_fs/exec.o := \\\n  ../mm/mremap.c \\\n")
    assert stale_objects.are_read_elsewhere(build, OBJECTS[:1])
    assert not stale_objects.are_read_elsewhere(build, OBJECTS[1:2])


def test_what_make_removes_meanwhile(build: Path) -> None:
    """A file of an object cannot be read any more: only the walk tells."""
    (build / "mm/.mremap.o.cmd").symlink_to("gone")
    assert stale_objects.are_read_elsewhere(build, OBJECTS[1:2])
