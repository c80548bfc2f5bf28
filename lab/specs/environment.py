# SPDX-License-Identifier: GPL-2.0-or-later
"""The environment variables of kernel developers: ARCH, CROSS_COMPILE, LLVM, as far as they mean something here.

ARCH (kernel, `uname -m` or QEMU spelling) leaves only its machines of what a campaign or a glob means; a machine that
is named on the command line stays. CROSS_COMPILE is the prefix of the compiler for kernels of the architecture that
ARCH names; without ARCH it means nothing, since no compiler is for all machines. LLVM=1 (or LLVM=-19, LLVM=/path/)
builds kernels with clang and lld. Programs and the userland of guests are always built with the distribution's gcc,
whose C library they are linked with.
"""

from __future__ import annotations

import os

from lab.arch import ARCHES, Arch, find
from lab.core.errors import LabError, UsageError


def arches() -> tuple[str, ...]:
    """The architectures that ARCH means: several where the kernel has one directory for them (`powerpc`); none: all."""
    word = os.environ.get("ARCH", "")
    if not word:
        return ()
    if of_kernel := tuple(arch.name for arch in ARCHES.values() if arch.kernel_arch == word):
        return of_kernel
    try:
        return (find(word).name,)
    except LabError as error:
        raise UsageError(f"ARCH in the environment: {error}") from None


def cross_compile(arch: Arch) -> str | None:
    """The prefix of the compiler that the user wants for an architecture's kernels; None: the lab's choice."""
    prefix = os.environ.get("CROSS_COMPILE")
    if prefix and arch.name in arches():
        return prefix
    return None


def remarks() -> tuple[str, ...]:
    """What the variables that are set mean here, one sentence each."""
    found: list[str] = []
    names = ", ".join(arches())
    if names:
        found.append(f"ARCH: campaigns and globs mean {names} alone")
    if prefix := os.environ.get("CROSS_COMPILE"):
        means = f"compiles kernels of {names}" if names else "means nothing without ARCH"
        found.append(f"CROSS_COMPILE={prefix}: {means}")
    if llvm():
        found.append(f"LLVM={llvm()}: clang and lld build kernels; gcc builds what runs in guests")
    return tuple(found)


def llvm() -> str:
    """The value of LLVM as the kernel's Makefile has it; empty where it is to be gcc."""
    value = os.environ.get("LLVM", "")
    return "" if value == "0" else value
