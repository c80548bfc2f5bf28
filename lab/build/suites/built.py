# SPDX-License-Identifier: GPL-2.0-or-later
"""Read and write a built suite, its tests and files, as an entry of the cache."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from lab.specs.suite import file_name

FACTS = "suite.json"
TREE = "tree"
DEFAULT_S = 45.0
ENDLESS_S = 600.0
"""Seconds for a test that declares no deadline (`timeout=0`)."""

# `#!/usr/bin/env NAME`, `#!/usr/bin/env -S NAME`, `#!/bin/NAME`.
_SHEBANG = re.compile(rb"#!\s*(?:\S*/env\s+(?:-S\s+)?)?(\S*?)([^/\s]+)(?:\s|$)")
HAS = frozenset({"sh", "ash", "bash", "dash", "awk", "sed"})
"""Interpreters that guests have; bash comes with the suite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """One test: a command for sh, run in a directory of the suite. `style`: what its exit status means."""

    name: str
    style: Literal["kselftest", "ltp", "report", "skip"]
    timeout_s: float
    directory: str
    command: str

    def line(self) -> str:
        """Return the line that images/suite/suite.c reads."""
        flat = self.command.replace("\t", " ").replace("\n", " ")
        return f"{self.name}\t{self.style}\t{self.timeout_s:g}\t{self.directory}\t{flat}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A suite for one architecture. `not_built`: program -> why it is missing."""

    key: str
    tree: Path
    tests: tuple[Test, ...]
    not_built: Mapping[str, str]

    @property
    def wants_bash(self) -> bool:
        """Return whether any of its scripts needs bash."""
        return any(interpreter(path) == "bash" for path in self.tree.rglob("*") if path.is_file())


def write(entry: Path, tests: Sequence[Test], not_built: Mapping[str, str]) -> None:
    """Write the suite's tests and missing programs beside its tree."""
    facts = {"tests": [asdict(test) for test in tests], "not_built": dict(sorted(not_built.items()))}
    (entry / FACTS).write_text(json.dumps(facts, indent=1) + "\n")


def read(entry: Path) -> Built:
    """Return the suite in a finished entry."""
    facts = json.loads((entry / FACTS).read_text())
    tests = tuple(Test(**test) for test in facts["tests"])
    return Built(key=entry.name, tree=entry / TREE, tests=tests, not_built=facts["not_built"])


def interpreter(path: Path) -> str:
    """Return the name of the program that runs a script; empty if the file is not a script."""
    with path.open("rb") as file:
        head = file.readline(256)
    match = _SHEBANG.match(head)
    return match[2].decode("ascii", "replace") if match else ""


def lacking(path: Path) -> str:
    """Return why a file cannot be run in a guest; empty if it can."""
    if not path.is_file():
        return "not built"
    wants = interpreter(path)
    return f"needs {wants}, which the guest does not have" if wants and wants not in HAS else ""


def skipped(name: str, why: str) -> Test:
    """Return a test that is reported as skipped, and never run."""
    return Test(name=file_name(name), style="skip", timeout_s=1.0, directory=".", command=why)
