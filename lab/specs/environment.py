# SPDX-License-Identifier: GPL-2.0-or-later
"""Read the environment variables of kernel developers that the lab honours: ARCH, CROSS_COMPILE, LLVM.

ARCH (kernel, `uname -m` or QEMU spelling) restricts campaigns and globs to its machines; a machine that is named on the
command line is kept. CROSS_COMPILE is the prefix of the compiler for kernels of the architecture that ARCH names;
without ARCH it is ignored, since no compiler is for all machines. LLVM=1 (or LLVM=-19, LLVM=/path/)
builds kernels with clang and lld. Programs and the userland of guests are always built with the distribution's gcc,
whose C library they are linked with.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from lab.arch.record import Arch
from lab.core.errors import LabError, UsageError, unknown
from lab.specs.arches import ARCHES, find


def arches() -> tuple[str, ...]:
    """Return the architectures that ARCH means, several if they share a directory (`powerpc`); empty if it is unset."""
    word = os.environ.get("ARCH", "")
    if not word:
        return ()
    meant = meant_by(word)
    if not meant:
        raise UsageError(f"ARCH in the environment: {unknown('arch', word, ARCHES)}")
    return meant


def meant_by(word: str) -> tuple[str, ...]:
    """Return the architectures that a value of ARCH means; empty if it means none."""
    of_kernel = tuple(arch.name for arch in ARCHES.values() if arch.kernel_arch == word)
    if of_kernel:
        return of_kernel
    try:
        return (find(word).name,)
    except LabError:
        return ()


def word_of(names: Sequence[str]) -> str:
    """Return the value of ARCH that means some architectures; empty if none does, or if all are meant."""
    known = [ARCHES[name] for name in names if name in ARCHES]
    kernel_archs = {arch.kernel_arch for arch in known}
    for word in (*sorted(kernel_archs), *names):
        if names and sorted(meant_by(word)) == sorted(names):
            return word
    return ""


def cross_compile(arch: Arch) -> str | None:
    """Return the user's compiler prefix for an architecture's kernels; None if the lab chooses."""
    prefix = os.environ.get("CROSS_COMPILE")
    if prefix and arch.name in arches():
        return prefix
    return None


def remarks() -> tuple[str, ...]:
    """Return a sentence on the effect of each variable that is set."""
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
    """Return the value of LLVM as for the kernel's Makefile; empty for gcc."""
    value = os.environ.get("LLVM", "")
    return "" if value == "0" else value
