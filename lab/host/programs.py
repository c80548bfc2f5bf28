# SPDX-License-Identifier: GPL-2.0-or-later
"""Check that this host has the programs of lab/host/needs.py, and name the packages of those that are missing."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from itertools import pairwise

from lab.core.errors import InfraError
from lab.host.doctor import Check, Host, Status
from lab.host.needs import ALTERNATIVES, LAB, NEEDS, PACKAGES, SUITE


def missing(what: str, host: Host | None = None) -> tuple[str, ...]:
    """Return the programs that something needs and this host lacks."""
    host = host or Host()
    return tuple(program for program in NEEDS[what] if not _present(program, host))


def _present(program: str, host: Host) -> bool:
    """Whether a host has a program, or one that does the same; a name that ends in `.h` is that of a header."""
    if program.endswith(".h"):
        return host.header(host.root, program) is not None
    names = (program, *ALTERNATIVES.get(program, ()))
    return any(host.which(name) for name in names)


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


def require_verb(name: str, host: Host | None = None) -> None:
    """Raise InfraError if a program that a verb runs is missing."""
    require(f"{LAB}{name}", host=host)


def require_suites(words: Iterable[str], host: Host | None = None) -> None:
    """Raise InfraError if a program that suites, in the words of --suite, are built with is missing."""
    typed: list[str] = []
    for suite in words:
        typed += ["--suite", suite]
    require(*dict.fromkeys(_needs_in(typed)), host=host)


def packages_for(command: str) -> tuple[str, ...]:
    """Return the packages that a command, such as `make browser` or `--suite kselftest-mm`, needs beside the base.

    The set-up asks for them. A command that needs nothing more has none. A word that no shell could read ends it.
    """
    programs: list[str] = []
    for what in _needs_in(_words(command.replace("=", " "))):
        programs += NEEDS[what]
    return packages_of(programs)


def _words(command: str) -> list[str]:
    """Return the words of a command as a shell reads them; those before an unbalanced quote if it has one."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = ""
    words: list[str] = []
    try:
        for word in lexer:
            words.append(word)
    except ValueError:
        pass  # an unbalanced quote
    return words


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
    """Return a check for everything in NEEDS; a missing program is a limit of the host and no failure.

    What needs the same programs shares a check. What needs nothing beside the set-up has none.
    """
    host = host or Host()
    users: dict[tuple[str, ...], list[str]] = {}
    for what, needed in NEEDS.items():
        if needed:
            users.setdefault(needed, []).append(what)
    return [_check(names, needed, host) for needed, names in users.items()]


def _check(names: Sequence[str], needed: Sequence[str], host: Host) -> Check:
    """Return the check of the things that need some programs."""
    name, absent = ", ".join(names), missing(names[0], host)
    if not absent:
        return Check(name=name, status=Status.OK, detail=" ".join(needed))
    fix = host.install_command(packages_of(absent))
    return Check(name=name, status=Status.WARN, detail=f"missing: {' '.join(absent)}", fix=fix)
