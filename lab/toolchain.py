# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's tools that build a kernel for an architecture: found, named with their versions, or asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from lab import proc
from lab.arch import Arch
from lab.errors import InfraError

TOOLS: Mapping[str, str] = {
    "make": "make",
    "gcc": "gcc",
    "ld": "binutils",
    "flex": "flex",
    "bison": "bison",
    "bc": "bc",
    "tar": "tar",
    "xz": "xz-utils",
}
"""What every kernel build runs on the host -> the Debian package that has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """A compiler with its binutils. `prefix` is CROSS_COMPILE=, empty for the host's own architecture."""

    prefix: str
    version: str
    """First lines of `gcc --version` and `ld --version`: part of every cache key."""
    ccache: bool

    @property
    def cc(self) -> str:
        """The value of CC=."""
        return f"ccache {self.prefix}gcc" if self.ccache else f"{self.prefix}gcc"


def prefix(arch: Arch) -> str:
    """CROSS_COMPILE= for an architecture on this host."""
    return "" if os.uname().machine == arch.uname else arch.cross


def find(arch: Arch) -> Toolchain:
    """The tool chain for an architecture; InfraError names the missing program and its package."""
    cross = prefix(arch)
    missing = [package for program, package in TOOLS.items() if not proc.which(program)]
    if missing:
        raise InfraError(f"cannot build kernels: no {', '.join(missing)}", hint=_install(missing))
    for program in (f"{cross}gcc", f"{cross}ld"):
        if not proc.which(program):
            packages = arch.packages if cross else arch.native_packages
            raise InfraError(f"cannot build kernels for {arch.name}: no {program}", hint=_install(packages))
    version = ", ".join(_first_line(f"{cross}{program}") for program in ("gcc", "ld"))
    return Toolchain(prefix=cross, version=version, ccache=proc.which("ccache") is not None)


def _first_line(program: str) -> str:
    return proc.run([program, "--version"], timeout_s=60).output.partition("\n")[0]


def _install(packages: list[str] | tuple[str, ...]) -> str:
    return f"sudo apt-get install {' '.join(dict.fromkeys(packages))}"
