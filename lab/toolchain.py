# SPDX-License-Identifier: GPL-2.0-or-later
"""The C compiler of an architecture: which one it is, what identifies it, and what it said when it failed."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from lab import proc
from lab.arch import Arch
from lab.cache import digest, file_digest
from lab.errors import InfraError

EXCERPT_LINES = 30
_TROUBLE = re.compile(
    r"\berror\b|undefined reference|\*\*\*|cannot find|No such file|multiple definition", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """A C compiler with a static C library. `key` changes when either does."""

    prefix: str
    """What stands before gcc, ar and so on: `aarch64-linux-gnu-`, nothing on a host of the architecture."""
    version: str
    """The compiler's own first line."""
    key: str

    @property
    def cc(self) -> str:
        return f"{self.prefix}gcc"

    @property
    def cached_cc(self) -> tuple[str, ...]:
        """The compiler, through ccache where there is one."""
        return ("ccache", self.cc) if proc.which("ccache") else (self.cc,)

    @property
    def target(self) -> str:
        """The GNU name of what it compiles for, as configure scripts want it; empty on a host of the architecture."""
        return self.prefix.removesuffix("-")


def is_native(arch: Arch) -> bool:
    """Whether this host runs programs of the architecture itself."""
    return platform.machine() == arch.uname


def find(arch: Arch) -> Toolchain:
    """The compiler for an architecture; InfraError with the packages to install when there is none."""
    native = is_native(arch)
    prefix = "" if native else arch.cross
    compiler = proc.which(f"{prefix}gcc")
    packages = [name for name in (arch.native_packages if native else arch.packages) if not name.startswith("qemu")]
    hint = f"apt install {' '.join(packages)}"
    if compiler is None:
        raise InfraError(f"no C compiler for {arch.name} ({prefix}gcc)", hint=hint)
    version, libc = _identity(compiler, Path(compiler).stat().st_mtime)
    if not Path(libc).is_file():
        raise InfraError(f"no static C library for {arch.name} ({prefix}gcc knows no libc.a)", hint=hint)
    return Toolchain(prefix=prefix, version=version, key=digest(version, file_digest(Path(libc))))


@lru_cache
def _identity(compiler: str, mtime: float) -> tuple[str, str]:  # noqa: ARG001 (a new compiler asks anew)
    version = proc.run([compiler, "--version"], timeout_s=30).output.partition("\n")[0]
    return version, proc.run([compiler, "-print-file-name=libc.a"], timeout_s=30).output.strip()


def ccache_environment(base: Path) -> Mapping[str, str]:
    """What lets ccache find an earlier result although the build lies in another scratch directory."""
    return {"CCACHE_BASEDIR": str(base), "CCACHE_NOHASHDIR": "1"}


def jobs() -> int:
    """How many compilers may run at once."""
    return max(1, len(os.sched_getaffinity(0)))


def excerpt(output: str) -> str:
    """The lines of a build's output in which something is wrong, each with the two after it, else its last lines."""
    lines = output.splitlines()
    return "\n".join(list(_troubled(lines))[:EXCERPT_LINES] or lines[-EXCERPT_LINES:])


def _troubled(lines: Sequence[str]) -> Iterator[str]:
    shown = 0
    for line in lines:
        shown = 3 if _TROUBLE.search(line) else shown - 1
        if shown > 0:
            yield line
