# SPDX-License-Identifier: GPL-2.0-or-later
"""The programs that verbs, suites and make targets run on this host: which they are, and which package has each.

Kernels, userland and machines need what lab/packages.txt and the records of architectures list. This is the rest.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType

from lab.build.toolchain import KERNEL_TOOLS
from lab.core.errors import InfraError
from lab.host.doctor import Check, Host, Status

PACKAGES: Mapping[str, str] = MappingProxyType(
    {
        **KERNEL_TOOLS,
        "apt-get": "apt",
        "chromium": "chromium",
        "cpio": "cpio",
        "dpkg-source": "dpkg-dev",
        "gdb-multiarch": "gdb-multiarch",
        "git": "git",
        "groff": "groff",
        "rsync": "rsync",
        "shellcheck": "shellcheck",
    }
)
"""Program -> the Debian package that has it."""

SUITE = "--suite "
MAKE = "make "
NEEDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "kernels": tuple(KERNEL_TOOLS),
        "sources debian:": ("apt-get", "dpkg-source"),
        "sources git:": ("git",),
        "lab try": ("git",),
        "lab bisect": ("git",),
        "lab gdb": ("gdb-multiarch",),
        # The makefiles of kselftest install with it.
        f"{SUITE}kselftest": ("rsync",),
        f"{SUITE}ltp": ("make",),
        f"{MAKE}browser": ("chromium",),
        f"{MAKE}examples": ("gdb-multiarch", "git", "rsync"),
        f"{MAKE}unit": ("cpio", "groff", "shellcheck"),
    }
)
"""What needs programs -> the programs. `make unit` skips the tests whose program is missing."""


def missing(what: str, host: Host | None = None) -> tuple[str, ...]:
    """Return the programs that something needs and this host lacks."""
    host = host or Host()
    return tuple(program for program in NEEDS[what] if host.which(program) is None)


def packages_of(programs: Iterable[str]) -> tuple[str, ...]:
    """Return the Debian packages that have some programs, each once."""
    return tuple(dict.fromkeys(PACKAGES[program] for program in programs))


def require(*needs: str, host: Host | None = None) -> None:
    """Raise InfraError, with the command that installs it, if a program that one of `needs` runs is missing."""
    host = host or Host()
    for what in needs:
        if absent := missing(what, host):
            verb = "is" if len(absent) == 1 else "are"
            message = f"{what.strip()} needs {', '.join(absent)}, which {verb} not installed"
            raise InfraError(message, hint=host.install_command(packages_of(absent)))


def require_suites(words: Sequence[str], host: Host | None = None) -> None:
    """Raise InfraError if a program that suites, in the words of --suite, are built with is missing."""
    require(*dict.fromkeys(_needs_in([word for suite in words for word in ("--suite", suite)])), host=host)


def packages_for(command: str) -> tuple[str, ...]:
    """Return the packages that a command, such as `make browser` or `--suite kselftest-mm`, needs beside the base.

    The set-up asks for them. A command that needs nothing more, or that no shell could read, has none.
    """
    try:
        words = shlex.split(command.replace("=", " "))
    except ValueError:
        return ()
    return packages_of(program for what in _needs_in(words) for program in NEEDS[what])


def _needs_in(words: Sequence[str]) -> list[str]:
    """Return the needs that neighbouring words of a command name: `make TARGET`, `lab VERB`, `--suite KIND...`."""
    found = []
    for first, second in pairwise(words):
        for what in NEEDS:
            named = f"{first} {second}"
            if named == what or (what.startswith(SUITE) and named.startswith(what)):
                found.append(what)
    return found


def checks(host: Host | None = None) -> list[Check]:
    """Return a check for everything in NEEDS; a missing program is a limit of the host and no failure."""
    host = host or Host()
    return [_check(what, host) for what in NEEDS]


def _check(what: str, host: Host) -> Check:
    absent = missing(what, host)
    if not absent:
        return Check(name=what.strip(), status=Status.OK, detail=" ".join(NEEDS[what]))
    fix = host.install_command(packages_of(absent))
    return Check(name=what.strip(), status=Status.WARN, detail=f"missing: {' '.join(absent)}", fix=fix)
