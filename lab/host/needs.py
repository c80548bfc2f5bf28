# SPDX-License-Identifier: GPL-2.0-or-later
"""The programs that verbs, suites and make targets run on this host: which they are, and which package has each.

Compilers and emulators stand in the records of architectures, lab/arch/. This is the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from lab.build.toolchain import KERNEL_TOOLS

PACKAGES: Mapping[str, str] = MappingProxyType(
    {
        **KERNEL_TOOLS,
        "apt-get": "apt",
        "chromium": "chromium",
        "cpio": "cpio",
        "dpkg-deb": "dpkg",
        "dpkg-source": "dpkg-dev",
        "gdb-multiarch": "gdb-multiarch",
        "git": "git",
        "groff": "groff-base",
        "man": "man-db",
        "mmdebstrap": "mmdebstrap",
        "mount": "mount",
        "pkill": "procps",
        "rsync": "rsync",
        "shellcheck": "shellcheck",
        "sqfstar": "squashfs-tools",
        "zstd": "zstd",
        "urcu.h": "liburcu-dev",
    }
)
"""Program, or header of a library -> the Debian package that has it."""

ALTERNATIVES: Mapping[str, tuple[str, ...]] = MappingProxyType({"gdb-multiarch": ("gdb",)})
"""Program -> other programs that do the same on some hosts; the verb itself checks whether they do on this one."""

LAB = "lab "
SUITE = "--suite "
MAKE = "make "

SET_UP: tuple[str, ...] = ()
"""Nothing but Python and what the set-up installs on every host."""
KERNELS = tuple(KERNEL_TOOLS)
GIT_AND_KERNELS = ("git", *KERNELS)
TESTS = ("git", "cpio", "groff", "man", "mount", "shellcheck", *KERNELS)

NEEDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "kernels": KERNELS,
        "sources debian:": ("apt-get", "dpkg-source"),
        "sources git:": ("git",),
        "kernels debian:": ("apt-get", "dpkg-deb"),
        "roots": ("sqfstar", "zstd"),
        "roots debian:": ("apt-get",),
        "lab doctor": SET_UP,
        "lab list": SET_UP,
        "lab plan": SET_UP,
        "lab clean": SET_UP,
        "lab build": KERNELS,
        "lab run": KERNELS,
        "lab exec": KERNELS,
        # Only a run needs more, and asks for it then: --check boots nothing.
        "lab pages": SET_UP,
        "lab shell": KERNELS,
        "lab console": KERNELS,
        "lab gdb": ("gdb-multiarch", *KERNELS),
        "lab report": SET_UP,
        "lab compare": SET_UP,
        "lab replay": KERNELS,
        "lab bundle": KERNELS,
        "lab try": GIT_AND_KERNELS,
        "lab bisect": GIT_AND_KERNELS,
        "lab check": GIT_AND_KERNELS,
        "lab mutate": GIT_AND_KERNELS,
        "lab capture": SET_UP,
        "lab worker": SET_UP,
        "lab hosts": SET_UP,
        "lab cluster": SET_UP,
        "lab cache": SET_UP,
        "lab queue": GIT_AND_KERNELS,
        "lab completion": SET_UP,
        "lab man": SET_UP,
        # The makefiles of kselftest install with rsync; the libraries of its programs are built from source packages.
        f"{SUITE}kselftest": ("rsync", "apt-get", "dpkg-source", "make", "gcc"),
        f"{SUITE}ltp": ("make",),
        f"{SUITE}vma": ("make", "urcu.h"),
        f"{SUITE}kunit": SET_UP,
        f"{MAKE}help": SET_UP,
        f"{MAKE}setup": SET_UP,
        f"{MAKE}doctor": SET_UP,
        f"{MAKE}clean": SET_UP,
        f"{MAKE}run": KERNELS,
        f"{MAKE}matrix": KERNELS,
        f"{MAKE}test": TESTS,
        f"{MAKE}unit": TESTS,
        f"{MAKE}bench": KERNELS,
        f"{MAKE}faults": ("mount", "pkill", *KERNELS),
        f"{MAKE}kernel-faults": KERNELS,
        f"{MAKE}kernel-words": SET_UP,
        f"{MAKE}examples": ("gdb-multiarch", "man", "rsync", *GIT_AND_KERNELS),
        f"{MAKE}bare-host": ("git", "mmdebstrap"),
        f"{MAKE}mutants": KERNELS,
        f"{MAKE}fuzz": SET_UP,
        f"{MAKE}browser": ("chromium",),
        # What checks beside gcc (clang, sparse) is used where it is installed, and named where it is not.
        f"{MAKE}series-check": KERNELS,
        f"{MAKE}lint": SET_UP,
        f"{MAKE}shape": SET_UP,
    }
)
"""What needs programs -> the programs. Every verb, kind of suite and make target is a key."""
