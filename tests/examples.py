# SPDX-License-Identifier: GPL-2.0-or-later
"""The examples in the help of every verb, as users would type them, and which of them take a guest."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from lab.cli import main

WITHOUT_GUESTS = frozenset({"doctor", "list", "plan", "report", "compare", "clean", "capture", "completion", "man"})
ON_HOSTS = frozenset({"worker", "hosts", "cluster", "cache", "queue"})
"""Of verbs that need other hosts, a store or a queue; tests/unit/cluster and `make faults` carry them out."""
WITH_GUESTS = frozenset(
    {"build", "run", "exec", "shell", "console", "gdb", "replay", "bundle", "try", "bisect", "check", "mutate", "pages"}
)


@dataclass(frozen=True, slots=True)
class Example:
    """One line of a verb's help; `words` is what follows `lab`, without redirections and pipes."""

    verb: str
    line: str

    @property
    def words(self) -> list[str]:
        found: list[str] = []
        for word in shlex.split(self.line)[1:]:
            if word in (">", "|"):
                break
            found.append(word)
        return found

    def __str__(self) -> str:
        return self.line


def examples(verbs: frozenset[str]) -> list[Example]:
    """Every example of these verbs, in the order of their help."""
    helps = {verb: (main.commands[verb].help or "").splitlines() for verb in sorted(verbs)}
    found = (Example(verb, line.strip()) for verb, lines in helps.items() for line in lines)
    return [example for example in found if example.line.startswith("lab ")]
