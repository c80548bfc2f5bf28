# SPDX-License-Identifier: GPL-2.0-or-later
"""The toy kernel tree as tests use it: a copy to play with, series and fragments for it, machines to build for."""

from __future__ import annotations

import difflib
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.core.cache import Cache
from lab.core.progress import Progress, silent
from lab.specs.model import Kernel, Topology

FAKELINUX = Path(__file__).parent.parent / "fakelinux"
VERSION = "6.12.7"


def topology(arch: str = "x86_64", page_size: str = "4K", *config: str) -> Topology:
    """A machine with its fragments: base, arch-*, and `config`."""
    made = {"name": "toy", "arch": arch, "page_size": page_size, "memory": "256M", "kernel_config": config}
    return Topology.model_validate(made)


def diff(name: str, old: str, new: str) -> str:
    """A unified diff of one file, as git names it."""
    lines = difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), f"a/{name}", f"b/{name}", n=3
    )
    return "".join(lines)


def git(tree: Path, *words: str) -> str:
    """What git prints in a tree, without the blanks around it."""
    name = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *name, "-C", tree, *words], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Toy:
    """A private copy of the toy tree, an images/ directory and a cache."""

    root: Path

    @classmethod
    def make(cls, root: Path) -> Toy:
        toy = cls(root=root)
        shutil.copytree(FAKELINUX, toy.tree, ignore=shutil.ignore_patterns("build-*"))
        toy.fragment("base", "CONFIG_SMP=y\nCONFIG_NR_CPUS=8\n")
        toy.fragment("arch-x86_64", "CONFIG_64BIT=y\n")
        toy.fragment("arch-arm64", "")
        toy.fragment("arm64-64k", "CONFIG_ARM64_64K_PAGES=y\n")
        toy.fragment("slow", "CONFIG_SLOW=y\n")
        return toy

    @property
    def tree(self) -> Path:
        return self.root / "linux"

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def cache(self) -> Cache:
        return Cache(self.root / "cache")

    def read(self, name: str) -> str:
        return (self.tree / name).read_text()

    def fragment(self, name: str, text: str) -> None:
        path = self.images / "config" / f"{name}.config"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def series(self, name: str, changes: Mapping[str, tuple[str, str]], *, version: str = "6.12") -> None:
        """A series of one patch that replaces text in files: name -> (old, new)."""
        text = "Subject: a change\n\nWhy it is good.\n---\n"
        for path, (old, new) in changes.items():
            before = self.read(path) if (self.tree / path).exists() else ""
            assert old in before
            text += diff(path, before, before.replace(old, new))
        self.raw_series(name, text + "-- \n2.39\n", version=version)

    def raw_series(self, name: str, text: str, *, version: str = "6.12", file: str = "0001-change.patch") -> Path:
        path = self.images / "series" / name / version / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def kernel(self, series: str | None = None, *, source: str = "", config: tuple[str, ...] = ()) -> Kernel:
        source = source or f"path:{self.tree}"
        return Kernel.model_validate(
            {"name": series or "baseline", "source": source, "series": series, "config": config}
        )


GROW = {"mm/shmem.c": ("return -1;", "return size;")}
"""A series that changes one file."""

__all__ = ["FAKELINUX", "GROW", "VERSION", "Progress", "Toy", "diff", "git", "silent", "topology"]
