# SPDX-License-Identifier: GPL-2.0-or-later
"""A tree of its own for a source and a configuration, to which patches are applied one by one.

It lies in the cache, beside the lab's own work trees, so that a check and a kernel's build do not wait for each other.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lab.build import kernel as kernels
from lab.build import source, worktree
from lab.core import proc
from lab.core.cache import Cache
from lab.core.errors import InfraError
from lab.core.paths import images
from lab.core.progress import Progress
from lab.formats import kconfig
from lab.formats.patches.patch import Content
from lab.specs.model import Kernel, Topology

LLVM = "-19"
PREPARE_S = 3600.0
COMPILE_S = 3600.0
MAX_OUTPUT = 2000
WARNING = re.compile(r"(?P<file>[\w./+-]+\.[ch]):\d+(:\d+)?: (?P<text>(warning|error): .*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checker:
    """A compiler or analyser: its name, the words that make gets, and the programs that it needs."""

    name: str
    words: tuple[str, ...]
    programs: tuple[str, ...]
    build: str
    """The name of the O= directory; checkers of one compiler and configuration share it."""
    without: str = ""
    """The symbol of Kconfig that is turned off for it, if any."""

    @property
    def missing(self) -> tuple[str, ...]:
        """The programs that are not installed."""
        return tuple(program for program in self.programs if not proc.which(program))


CHECKERS = (
    Checker(name="gcc W=1", words=("W=1",), programs=("gcc",), build="gcc"),
    Checker(
        name="clang W=1",
        words=("W=1", f"LLVM={LLVM}"),
        programs=tuple(f"{program}{LLVM}" for program in ("clang", "ld.lld", "llvm-ar")),
        build="clang",
    ),
    Checker(name="sparse", words=("C=2",), programs=("sparse",), build="gcc"),
    *(
        Checker(
            name=f"gcc W=1 without {symbol}", words=("W=1",), programs=("gcc",), build=f"gcc-{symbol}", without=symbol
        )
        for symbol in ("TRANSPARENT_HUGEPAGE", "SHMEM")
    ),
)
"""The last ones compile what the configurations of the lab never do: what is left of a patch without these."""


@dataclass(slots=True, kw_only=True)
class Tree:
    """A source with a configuration; `changed` are the paths that differ from the pristine tree."""

    pristine: Path
    root: Path
    arch: str
    changed: set[str] = field(default_factory=set)

    @property
    def src(self) -> Path:
        return self.root / "src"

    @property
    def dirty(self) -> Path:
        """The file that is there while files of the tree may differ from the source."""
        return self.root / "dirty"

    @property
    def log(self) -> Path:
        """What make printed last."""
        return self.root / "make.log"

    def said(self) -> str:
        """Return the end of what make printed last."""
        return self.log.read_text().strip()[-MAX_OUTPUT:]

    def original(self, name: str) -> Content | None:
        """Return a file as the source has it; None if it has none."""
        return worktree.read_file(self.pristine, name)

    def switch(self, wanted: Mapping[str, Content | None]) -> None:
        """Have the files of `wanted`, and all others as the source has them."""
        self.dirty.touch()
        for name in self.changed - set(wanted):
            self._write(name, self.original(name))
        for name, content in wanted.items():
            self._write(name, content)
        self.changed = set(wanted)
        if not wanted:
            self.dirty.unlink()

    def _write(self, name: str, content: Content | None) -> None:
        """Replace a file whole, since it may be a link to the pristine one; leave it alone if nothing changes."""
        path = self.src / name
        if content is None:
            path.unlink(missing_ok=True)
            return
        if path.exists() and path.read_bytes() == content.data:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.new")
        new.write_bytes(content.data)
        new.chmod(0o755 if content.executable else 0o644)
        new.replace(path)

    def make(self, checker: Checker, *targets: str, timeout_s: float) -> str:
        """Run make in a checker's directory and return what it prints; the targets that fail print errors."""
        build = self.root / checker.build
        jobs = f"-j{os.cpu_count() or 1}"
        words = ("make", "-s", "-k", jobs, f"O={build}", f"ARCH={self.arch}", *checker.words, *targets)
        output = proc.run(words, cwd=self.src, timeout_s=timeout_s, check=False, whole=True, nice=10).output
        self.log.write_text(output)
        return output

    def warnings(self, checker: Checker, objects: Iterable[str]) -> set[tuple[str, str]]:
        """Return each warning and error about these objects as (file, text), without the line that it is in."""
        found = set()
        for name in sorted(objects):
            (self.root / checker.build / name).unlink(missing_ok=True)
        for line in self.make(checker, *sorted(objects), timeout_s=COMPILE_S).splitlines():
            if match := WARNING.search(line):
                found.add((match["file"].removeprefix(f"{self.src}/").removeprefix("../"), match["text"]))
        return found


@contextmanager
def opened(kernel: Kernel, topology: Topology, *, cache: Cache, progress: Progress) -> Iterator[Tree]:
    """Yield the tree of a kernel's source, made and configured for a machine if it is not there yet.

    Another check of the same source waits.
    """
    found = source.resolve(kernel.source, cache=cache, progress=progress)
    pristine = source.tree(found.key, cache)
    tree = Tree(pristine=pristine, root=cache.root / "series-check" / found.key, arch=topology.architecture.kernel_arch)
    with cache.lock(f"series-check-{found.key}"):
        if tree.dirty.exists() or not tree.src.is_dir():
            _link(pristine, tree)
        requests = kconfig.merge(
            kernels.fragments(topology, kernel, images() / "config", version=found.version, tree=pristine)
        )
        for checker in CHECKERS:
            if not checker.missing and not (tree.root / checker.build / "ready").exists():
                _configure(tree, checker, requests)
        yield tree


def _link(pristine: Path, tree: Tree) -> None:
    """Make the source anew, as hard links to the pristine tree."""
    tree.root.mkdir(parents=True, exist_ok=True)
    unfinished = tree.root / "unfinished"
    for directory in (unfinished, tree.src):
        shutil.rmtree(directory, ignore_errors=True)
    proc.run(("cp", "-al", str(pristine), str(unfinished)), timeout_s=PREPARE_S)
    unfinished.rename(tree.src)
    tree.dirty.unlink(missing_ok=True)


def _configure(tree: Tree, checker: Checker, requests: tuple[kconfig.SymbolRequest, ...]) -> None:
    """Configure a directory as the lab's kernels are, but for `without`, and make what every object depends on."""
    off = kconfig.parse_fragment(f"# CONFIG_{checker.without} is not set" if checker.without else "", checker.name)
    wanted = kconfig.merge((requests, off))
    tree.make(checker, "tinyconfig", timeout_s=PREPARE_S)
    config = tree.root / checker.build / ".config"
    config.write_text(kconfig.override(config.read_text(), wanted))
    tree.make(checker, "olddefconfig", timeout_s=PREPARE_S)
    for lost in kconfig.lost(off, kconfig.parse_config(config.read_text())):
        raise InfraError(f"{checker.name}: {lost}")
    if "make: *** " in tree.make(checker, "prepare", timeout_s=PREPARE_S):
        raise InfraError(f"{checker.name}: the tree cannot be prepared: {tree.said()}")
    (tree.root / checker.build / "ready").write_text(kconfig.render(wanted))
