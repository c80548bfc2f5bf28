# SPDX-License-Identifier: GPL-2.0-or-later
"""The words that a verb was given for a run, to be given again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
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
    typed, told = metadata.get("typed"), metadata.get("asked")
    often = ("--repeat", str(words.repeats(summary))) if words.repeats(summary) > 1 else ()
    if isinstance(typed, Mapping) and (run := _words(typed.get("words"))):
        return CommandLine(
            run=(*run, *often),
            topologies=_words(typed.get("machines")),
            tests=_words(typed.get("tests")),
            rest=_words(typed.get("rest")),
            on=one_line(str(typed.get("on") or ""), 10),
        )
    if not isinstance(told, Mapping):
        return CommandLine(run=("lab", "run", words.campaign(summary), *often))
    campaign = one_line(str(told.get("campaign") or words.campaign(summary)), 200)
    besides = (
        word
        for option, key in (("--config", "config"), ("--with", "programs"), ("--suite", "suites"))
        for given in _words(told.get(key))
        for word in (option, given)
    )
    return CommandLine(
        run=("lab", "run", campaign, *besides, *often),
        topologies=_words(told.get("topologies")),
        kernels=_words(told.get("kernels")),
        tests=_words(told.get("tests")),
    )


def _words(value: object) -> tuple[str, ...]:
    return tuple(one_line(str(each), 200) for each in value) if isinstance(value, list | tuple) else ()
