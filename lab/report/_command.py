# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line that reports print to run something again: the recorded command, and what narrows it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath

from lab.core.untrusted import one_line
from lab.evidence.metadata import CommandRecord
from lab.report import _words as words
from lab.specs import environment
from lab.verdicts.compare import Summary

MACHINE_OPTIONS = {"run": "-t", "try": "--on"}
"""Verb -> its option that names machines. The commands of other verbs are printed whole."""
KERNEL_OPTION = "-k"
TEST_OPTION = "--test"
MAX_WORD = 200
"""Characters of a recorded word that are printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLine:
    """A command without the options that narrow it, and the values of those: names, globs, paths of YAML files."""

    run: tuple[str, ...]
    environment: tuple[str, ...] = ()
    """Variables that the command needs, each `NAME=value`."""
    topologies: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    rest: tuple[str, ...] = ()
    """What comes last: `-- CMD ARGS`."""
    on: str = "-t"
    """The option that names machines; empty for a command that is not to be narrowed further."""

    @property
    def parts(self) -> list[str]:
        """The whole command, in parts between which a line may be broken."""
        parts = [*self.environment, *_with_values(self.run)]
        for option, values in ((self.on, self.topologies), (KERNEL_OPTION, self.kernels), (TEST_OPTION, self.tests)):
            for value in values:
                parts.append(f"{option} {shlex.quote(value)}")
        if self.rest:
            parts.append(shlex.join(self.rest))
        return parts

    @property
    def paths(self) -> dict[str, str]:
        """Topology -> the path by which the user named it."""
        return {PurePath(word).stem: word for word in self.topologies if "/" in word}


def _with_values(words: Iterable[str]) -> list[str]:
    """Return words as they are typed, an option together with the value that follows it: `--tree ~/linux`."""
    parts: list[str] = []
    for word in words:
        takes_value = bool(parts) and parts[-1].startswith("-") and " " not in parts[-1]
        if takes_value and not word.startswith("-"):
            parts[-1] += f" {shlex.quote(word)}"
        else:
            parts.append(shlex.quote(word))
    return parts


def command_line(summary: Summary) -> CommandLine:
    """Return the command line of a run; of an old run that recorded none, `lab run` with its campaign's name."""
    command = summary.evidence.metadata.command
    if command is None:
        often = words.repeats(summary)
        options = {"--repeat": (str(often),)} if often > 1 else {}
        command = CommandRecord(verb="run", arguments=(words.campaign(summary),), options=options)
    machines = MACHINE_OPTIONS.get(command.verb, "")
    narrowing = {machines, KERNEL_OPTION, TEST_OPTION} if machines else set()
    fixed = []
    for option, values in command.options.items():
        if option not in narrowing:
            fixed += _typed(option, values)
    return CommandLine(
        run=("lab", one_line(command.verb, MAX_WORD), *_printable(command.arguments), *fixed),
        environment=_environment(command),
        topologies=_values(command, machines),
        kernels=_values(command, KERNEL_OPTION) if machines else (),
        tests=_values(command, TEST_OPTION) if machines else (),
        rest=("--", *_printable(command.program)) if command.program else (),
        on=machines,
    )


def _typed(option: str, values: Iterable[str]) -> list[str]:
    """Return an option as it is typed: once for each value, or alone if it is a flag."""
    option = one_line(option, MAX_WORD)
    typed = []
    for value in _printable(values):
        typed += [option, value]
    return typed or [option]


def _environment(command: CommandRecord) -> tuple[str, ...]:
    """Return ARCH as it has to be set, if the command was restricted to architectures."""
    word = environment.word_of(command.arches)
    return (f"ARCH={word}",) if word else ()


def _values(command: CommandRecord, option: str) -> tuple[str, ...]:
    return _printable(command.options.get(option, ()))


def _printable(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(one_line(value, MAX_WORD) for value in values)
