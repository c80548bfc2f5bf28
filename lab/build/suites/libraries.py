# SPDX-License-Identifier: GPL-2.0-or-later
"""Build the libraries that suites link with, static and for the guest's architecture, from Debian's source packages.

A cross compiler of Debian comes with the C library alone. The makefiles of a collection name the others (`-lnuma`).
Only those are built, each once for an architecture.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from lab.arch.record import Arch
from lab.build import debian, step, toolchain
from lab.build.toolchain import Toolchain
from lab.core.cache import Cache, digest
from lab.core.errors import BuildError
from lab.core.progress import Progress

ENTRY = "library"
RECIPE = "1"
"""Raise this when the builders below change what they do: their text is not part of the key."""
BUILD_S = 900.0

_LINKED = re.compile(r"(?<![\w-])-l([a-z]+)(?![\w-])")
_SOURCES = re.compile(r"^libnuma_la_SOURCES\s*=((?:.*\\\n)*.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticLibrary:
    """A directory of the cache with `include` and `lib`."""

    name: str
    path: Path

    @property
    def key(self) -> str:
        """A key of what the library was built from."""
        return f"{self.name} {self.path.name}"


def wanted(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the libraries that makefiles and scripts link with, among those that the lab can build."""
    names: set[str] = set()
    for text in texts:
        names.update(_LINKED.findall(text))
    return tuple(name for name in RECIPES if name in names)


def build(names: Sequence[str], arch: Arch, *, cache: Cache, progress: Progress) -> tuple[StaticLibrary, ...]:
    """Return the libraries, from the cache or built.

    One that does not build for the architecture is reported and missing: the programs that want it are then not built.
    """
    built: list[StaticLibrary] = []
    for name in names:
        try:
            built.append(_build(name, arch, cache, progress))
        except BuildError as error:
            progress(f"{error.message}: programs that link with it are not built")
    return tuple(built)


def hide(names: Iterable[str], arch: Arch, directory: Path) -> None:
    """Write headers of libraries that did not build, which stop the compiler with that reason.

    Without them a compiler finds those that the host has installed, and what is built depends on the host.
    """
    for name in names:
        for header in RECIPES[name].headers:
            path = directory / header
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"#error lib{name} does not build for {arch.name}\n")


def _build(name: str, arch: Arch, cache: Cache, progress: Progress) -> StaticLibrary:
    recipe, chain = RECIPES[name], toolchain.find(arch)
    package = debian.find_source(recipe.package, cache, progress=progress)

    def make(entry: Path) -> None:
        with cache.scratch("library") as scratch:
            tree = debian.fetch_source(recipe.package, scratch, cache=cache, progress=progress)
            work = _LibraryWork(tree=tree, chain=chain, label=f"lib{name}", arch=arch.name, progress=progress)
            headers, archive = recipe.build(work)
            shutil.copytree(headers, entry / "include")
            (entry / "lib").mkdir()
            shutil.copy2(archive, entry / "lib" / f"lib{name}.a")

    key = digest(RECIPE, name, arch.name, chain.prefix, chain.key, package.version)
    return StaticLibrary(name=name, path=cache.entry(ENTRY, key, make))


@dataclass(frozen=True, slots=True, kw_only=True)
class _LibraryWork:
    """One build in an unpacked source package, which is deleted afterwards."""

    tree: Path
    chain: Toolchain
    label: str
    arch: str
    progress: Progress

    def run(self, *argv: str, below: str = "") -> None:
        """Run one command in the tree; BuildError if it fails."""
        step.run(
            argv,
            cwd=self.tree / below,
            failure=f"{self.label} does not build for {self.arch}",
            timeout_s=BUILD_S,
            label=self.label,
            progress=self.progress,
        )

    @property
    def tools(self) -> tuple[str, ...]:
        """Return the variables of make that name the tools."""
        prefix = self.chain.prefix
        return f"CC={self.chain.program_cc}", f"AR={prefix}ar", f"RANLIB={prefix}ranlib"


_Recipe = Callable[[_LibraryWork], tuple[Path, Path]]
"""Builds a library; returns the directory of its headers, which has nothing else, and its archive."""


def _numa(work: _LibraryWork) -> tuple[Path, Path]:
    """Build libnuma without its configure script, which a source package has only after a run of autotools."""
    listed = _SOURCES.search((work.tree / "Makefile.am").read_text(errors="replace"))
    if listed is None:
        raise BuildError(f"{work.label} does not build: its Makefile.am has no libnuma_la_SOURCES")
    sources = [word for word in listed[1].split() if word.endswith(".c")]
    (work.tree / "config.h").write_text("#define TLS __thread\n")
    compiler = (*work.chain.cached_cc, "-O2", "-w", "-I.", "-c")
    for source in sources:
        work.run(*compiler, source)
    work.run(f"{work.chain.prefix}ar", "rcs", "libnuma.a", *(f"{Path(source).stem}.o" for source in sources))
    headers = work.tree / "include"
    headers.mkdir()
    for name in ("numa.h", "numaif.h", "numacompat1.h"):
        shutil.copy2(work.tree / name, headers / name)
    return headers, work.tree / "libnuma.a"


def _cap(work: _LibraryWork) -> tuple[Path, Path]:
    """Build libcap, whose makefile compiles a program of the host too."""
    options = ("SHARED=no", "PTHREADS=no", "USE_GPERF=no", "BUILD_CC=gcc")
    work.run("make", "libcap.a", *options, *work.tools, below="libcap")
    headers = work.tree / "headers"
    shutil.copytree(work.tree / "libcap" / "include" / "sys", headers / "sys")
    return headers, work.tree / "libcap" / "libcap.a"


def _uring(work: _LibraryWork) -> tuple[Path, Path]:
    """Build liburing, whose configure script is its own and knows no --host."""
    work.run("sh", "./configure", f"--cc={work.chain.program_cc}")
    work.run("make", "liburing.a", "ENABLE_SHARED=0", *work.tools, below="src")
    return work.tree / "src" / "include", work.tree / "src" / "liburing.a"


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryRecipe:
    """A library's source package, and the function that builds it."""

    package: str
    headers: tuple[str, ...]
    """What programs include of it."""
    build: _Recipe


RECIPES: Mapping[str, LibraryRecipe] = MappingProxyType(
    {
        "numa": LibraryRecipe(package="numactl", headers=("numa.h", "numaif.h"), build=_numa),
        "cap": LibraryRecipe(package="libcap2", headers=("sys/capability.h",), build=_cap),
        "uring": LibraryRecipe(package="liburing", headers=("liburing.h",), build=_uring),
    }
)
"""What `-lNAME` in a makefile means."""
