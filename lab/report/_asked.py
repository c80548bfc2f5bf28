# SPDX-License-Identifier: GPL-2.0-or-later
"""The words that a verb was given for a run, to be given again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from lab.core.untrusted import one_line
from lab.report import _words as words
from lab.verdicts.compare import Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLine:
    """A command without what narrows it, and that: names, globs, paths of YAML files."""

    run: tuple[str, ...]
    topologies: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    rest: tuple[str, ...] = ()
    """What comes last: `-- CMD ARGS`."""
    on: str = "-t"
    """The option that names machines; empty for a command that is not to be narrowed further."""

    @property
    def parts(self) -> list[str]:
        """The whole command, cut where a line of it may end."""
        named = {self.on or "-t": self.topologies, "-k": self.kernels, "--test": self.tests}
        narrowed = [f"{option} {shlex.quote(word)}" for option, given in named.items() for word in given]
        return [*_units(self.run), *narrowed, *([shlex.join(self.rest)] if self.rest else [])]

    @property
    def paths(self) -> dict[str, str]:
        """Topology -> the path that it was asked for by."""
        return {PurePath(word).stem: word for word in self.topologies if "/" in word}


def _units(given: tuple[str, ...]) -> list[str]:
    """Words as they are typed, an option together with what follows it: `--tree ~/linux`."""
    found: list[str] = []
    for word in given:
        if found and found[-1].startswith("-") and " " not in found[-1] and not word.startswith("-"):
            found[-1] += f" {shlex.quote(word)}"
        else:
            found.append(shlex.quote(word))
    return found


def asked(summary: Summary) -> CommandLine:
    """As metadata.json has them; an old run has its campaign's name alone."""
    metadata = summary.evidence.metadata
    command, request = metadata.typed, metadata.asked
    often = ("--repeat", str(words.repeats(summary))) if words.repeats(summary) > 1 else ()
    if command and command.words:
        return CommandLine(
            run=(*_words(command.words), *often),
            topologies=_words(command.machines),
            tests=_words(command.tests),
            rest=_words(command.rest),
            on=one_line(command.on, 10),
        )
    if not request:
        return CommandLine(run=("lab", "run", words.campaign(summary), *often))
    campaign = one_line(request.campaign or words.campaign(summary), 200)
    besides: list[str] = []
    options = {"--config": request.config, "--with": request.programs, "--suite": request.suites}
    for option, values in options.items():
        for value in _words(values):
            besides += [option, value]
    return CommandLine(
        run=("lab", "run", campaign, *besides, *often),
        topologies=_words(request.topologies),
        kernels=_words(request.kernels),
        tests=_words(request.tests),
    )


def _words(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(one_line(value, 200) for value in values)
