# SPDX-License-Identifier: GPL-2.0-or-later
"""Find the host's tools that compile for an architecture, and their versions; name the packages of missing ones."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from lab.arch.record import Arch
from lab.core import proc
from lab.core.cache import Cache, default_root, digest, file_digest, write_atomic
from lab.core.errors import InfraError
from lab.core.this_host import install_command
from lab.specs import environment

KERNEL_TOOLS: Mapping[str, str] = {
    "make": "make",
    "gcc": "gcc",
    "ld": "binutils",
    "flex": "flex",
    "bison": "bison",
    "bc": "bc",
    "tar": "tar",
    "xz": "xz-utils",
}
"""Program that every kernel build runs on the host -> its Debian package."""


EMULATOR = "qemu"
"""How the names of packages with emulators begin."""
ADOPTED = "compilers"
"""The directory of the cache with the compilers of another host, a file for each architecture."""


class Identity(BaseModel):
    """What of a tool chain is part of keys: the fields of `Toolchain`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prefix: str
    version: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """A C compiler with its linker and a static C library."""

    prefix: str
    """CROSS_COMPILE=, the prefix of gcc, ld and so on; empty on a host of the architecture."""
    version: str
    """First lines of `gcc --version` and `ld --version`: part of every kernel's key."""
    key: str
    """Changes when the compiler, the linker or the C library does: part of every program's key."""
    ldflags: tuple[str, ...] = ()
    """Linker flags that programs for the architecture need."""
    llvm: str = ""
    """LLVM= of the kernel's Makefile; empty for gcc."""
    absent: str = ""
    """What installs it, where only another host has it: it is good for keys, not for compiling."""

    @property
    def identity(self) -> Identity:
        return Identity(prefix=self.prefix, version=self.version, key=self.key)

    def require(self, wanted: str) -> None:
        """Raise InfraError, with the name of what is to be compiled, unless this host has it."""
        if self.absent:
            raise InfraError(f"no {self.prefix}gcc here, and no store has the {wanted}", hint=self.absent)

    @property
    def cc(self) -> str:
        self.require("program that it would compile")
        return _llvm_tool("clang", self.llvm) if self.llvm else f"{self.prefix}gcc"

    @property
    def cached_cc(self) -> tuple[str, ...]:
        """The compiler, through ccache if it is installed."""
        return ("ccache", self.cc) if proc.which("ccache") else (self.cc,)

    def kernel_cc(self, embedding: Iterable[str] | None) -> str:
        """Return CC= for kbuild: ccache takes what a C file includes from the compiler (its depend mode).

        That saves a run of the preprocessor for every file that ccache does not have. It does not see `.incbin`, by
        which a kernel includes its compressed image, vdso and configuration: assembler files, and the `embedding` C
        files (paths in the tree; None: not known), go without it. `$<` is the source of the recipe that CC stands in.
        """
        plain = " ".join(self.cached_cc)
        if embedding is None or plain == self.cc or any(name in os.environ for name in _DEPEND_MODE):
            return plain
        others = " ".join(f"{name} %/{name}" for name in sorted(embedding))
        return f"$(if $(filter-out {others},$(filter %.c,$<)),{_DEPEND_MODE[0]}=1 ){plain}"

    @property
    def program_cc(self) -> str:
        """CC= for the build systems of programs for guests, which use it to compile and to link."""
        return " ".join((*self.cached_cc, *self.ldflags))

    @property
    def target(self) -> str:
        """The GNU name of what it compiles for, as configure scripts want it; empty on a host of the architecture."""
        return self.prefix.removesuffix("-")


def is_native(arch: Arch) -> bool:
    """Return whether this host runs programs of the architecture itself."""
    return platform.machine() == arch.uname


def find(arch: Arch) -> Toolchain:
    """Return the tool chain of an architecture; InfraError with the packages to install if a part is missing.

    One that is missing but was adopted from another host is `absent`.
    """
    prefix = "" if is_native(arch) else arch.cross
    hint = install_command(packages(arch))
    compiler, linker = (proc.which(f"{prefix}{name}") for name in ("gcc", "ld"))
    if compiler is None and (known := adopted(arch)):
        return Toolchain(prefix=known.prefix, version=known.version, key=known.key, ldflags=arch.ldflags, absent=hint)
    if compiler is None or linker is None:
        missing = "ld" if compiler else "gcc"
        raise InfraError(f"cannot compile for {arch.name}: no {prefix}{missing}", hint=hint)
    version, libc = _identity(compiler, linker, Path(compiler).stat().st_mtime, Path(linker).stat().st_mtime)
    if not Path(libc).is_file():
        raise InfraError(f"cannot compile for {arch.name}: {prefix}gcc finds no static C library (libc.a)", hint=hint)
    return Toolchain(
        prefix=prefix,
        version=version,
        key=digest(version, _content(libc, *_stamp(libc)), *arch.ldflags),
        ldflags=arch.ldflags,
    )


def adopt(arch: Arch, identity: Identity, cache: Cache) -> None:
    """Remember the compiler of another host, for as long as this one has none for the architecture."""
    write_atomic(_adopted(arch, cache.root), identity.model_dump_json().encode())


def adopted(arch: Arch) -> Identity | None:
    """Return the compiler that was adopted for an architecture; None if none was."""
    try:
        return Identity.model_validate_json(_adopted(arch, default_root()).read_bytes())
    except (OSError, ValidationError):
        return None


def _adopted(arch: Arch, root: Path) -> Path:
    return root / ADOPTED / f"{arch.name}.json"


def for_kernels(arch: Arch) -> Toolchain:
    """Return the compiler for an architecture's kernels: from LLVM or CROSS_COMPILE in the environment, else `find`'s.

    InfraError if a part is missing.
    """
    if llvm := environment.llvm():
        return Toolchain(
            prefix="",
            version=_version(arch, "LLVM", _llvm_tool("clang", llvm), _llvm_tool("ld.lld", llvm)),
            key="",
            llvm=llvm,
        )
    if (prefix := environment.cross_compile(arch)) is not None:
        return Toolchain(prefix=prefix, version=_version(arch, "CROSS_COMPILE", f"{prefix}gcc", f"{prefix}ld"), key="")
    return find(arch)


def _llvm_tool(name: str, llvm: str) -> str:
    """Return the name of an LLVM program, as in the kernel: LLVM=1, LLVM=-19 (a suffix), LLVM=/dir/ (a prefix)."""
    if llvm.endswith("/"):
        return f"{llvm}{name}"
    return f"{name}{llvm}" if llvm.startswith("-") else name


def _version(arch: Arch, variable: str, *programs: str) -> str:
    for name in programs:
        if proc.which(name) is None:
            raise InfraError(
                f"cannot build kernels for {arch.name}: no {name}", hint=f"{variable} is set in the environment"
            )
    return ", ".join(map(_first_line, programs))


def packages(arch: Arch) -> tuple[str, ...]:
    """Return the Debian packages that compile for an architecture on this host."""
    return tuple(name for name in arch.packages_on(platform.machine()) if not name.startswith(EMULATOR))


def require_kernel_tools() -> None:
    """Raise InfraError with the packages to install if a program that every kernel build runs is missing."""
    missing = {program: package for program, package in KERNEL_TOOLS.items() if not proc.which(program)}
    if missing:
        raise InfraError(f"cannot build kernels: no {', '.join(missing)}", hint=install_command(missing.values()))


@lru_cache
def _identity(compiler: str, linker: str, *changed: float) -> tuple[str, str]:  # noqa: ARG001 (a new one asks again)
    with ThreadPoolExecutor(3, "identity") as beside:  # each takes 10 ms, which is much for `lab exec`
        libc = beside.submit(proc.run, [compiler, "-print-file-name=libc.a"], timeout_s=60)
        version = ", ".join(beside.map(_first_line, (compiler, linker)))
        return version, libc.result().output.strip()


def _stamp(path: str) -> tuple[int, int]:
    """Return what changes when a file is replaced."""
    status = Path(path).stat()
    return status.st_size, status.st_mtime_ns


@lru_cache
def _content(path: str, *stamp: int) -> str:  # noqa: ARG001 (a new one reads again)
    return file_digest(Path(path))


def host_compiler() -> str:
    """Return name and version of the compiler for programs of this host, which makefiles call `cc`."""
    return _first_line("cc")


def _first_line(program: str) -> str:
    return proc.run([program, "--version"], timeout_s=60).output.partition("\n")[0]


_DEPEND_MODE = ("CCACHE_DEPEND", "CCACHE_NODEPEND")
"""ccache's variables that turn its depend mode on and off; a user who sets one of them decides."""


def ccache_environment(base: Path) -> Mapping[str, str]:
    """Return ccache's variables: all that the user has set, and defaults for the others.

    The defaults let ccache find the results of a build in another directory than `base`.
    """
    defaults = {
        "CCACHE_BASEDIR": str(base),
        "CCACHE_NOHASHDIR": "1",
        # Excludes results of labs that compiled files with `.incbin` in depend mode: they may be old.
        "CCACHE_NAMESPACE": "pagelab-2",
    }
    return defaults | {name: value for name, value in os.environ.items() if name.startswith("CCACHE_")}


def jobs() -> int:
    """Return how many compilers may run at once."""
    return max(1, len(os.sched_getaffinity(0)))
