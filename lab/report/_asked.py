# SPDX-License-Identifier: GPL-2.0-or-later
"""The words that `lab run` was given for a run, to be given again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath

from lab.compare import Summary
from lab.report import _words as words
from lab.untrusted import one_line


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A campaign and what narrowed it: names, globs, paths of YAML files."""

    campaign: str
    topologies: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    config: tuple[str, ...] = ()

    @property
    def run(self) -> list[str]:
        """The command without its filters."""
        return ["lab", "run", self.campaign, *(word for preset in self.config for word in ("--config", preset))]

    @property
    def options(self) -> list[str]:
        """Its filters, each as it is typed: `-t arm64-64k`."""
        named = {"-t": self.topologies, "-k": self.kernels, "--test": self.tests}
        return [f"{option} {shlex.quote(word)}" for option, given in named.items() for word in given]

    @property
    def paths(self) -> dict[str, str]:
        """Topology -> the path that it was asked for by."""
        return {PurePath(word).stem: word for word in self.topologies if "/" in word}


def asked(summary: Summary) -> Asked:
    """As metadata.json has them; an old run has its campaign's name alone."""
    told = summary.evidence.metadata.get("asked")
    if not isinstance(told, Mapping):
        return Asked(campaign=words.campaign(summary))
    return Asked(
        campaign=one_line(str(told.get("campaign") or words.campaign(summary)), 200),
        **{key: _words(told.get(key)) for key in ("topologies", "kernels", "tests", "config")},
    )


def _words(value: object) -> tuple[str, ...]:
    return tuple(one_line(str(each), 200) for each in value) if isinstance(value, list | tuple) else ()
