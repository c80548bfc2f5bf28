# SPDX-License-Identifier: GPL-2.0-or-later
"""Suites of tests that are not ours: what a user's word for one means. Pure.

A suite is one scenario, a test of it one case. A test that prints KTAP itself has a case for each of its results too,
`test/result`. What it should do nobody declares: the expectation is what the same case did on the baseline.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from lab.core.errors import UsageError
from lab.core.paths import user_path

SELFTESTS = "tools/testing/selftests"
KINDS = "expected kselftest-COLLECTION (kselftest-mm, kselftest-net/lib) or ltp:PATH[:FILTER]"
LTP_FILTER = "mm"
MAX_NAME = 100

_COLLECTION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A suite as it was asked for."""

    kind: Literal["kselftest", "ltp"]
    name: str
    """The scenario's."""
    collection: str = ""
    """Of kselftest: a directory below tools/testing/selftests."""
    path: str = ""
    """Of LTP: where its tree lies, absolute."""
    filter: str = ""
    """Of LTP: `FILE` of runtest/, or `FILE/GLOB` for some of its tests; a glob for the file too."""

    @property
    def word(self) -> str:
        """How to ask for it again, from any directory."""
        if self.kind == "kselftest":
            return f"kselftest-{self.collection}"
        return f"ltp:{self.path}:{self.filter}"

    @property
    def fragments(self) -> tuple[str, ...]:
        """What the kernel's configuration should have for it, as far as it goes: ours, then the suite's own."""
        if self.kind == "ltp":
            return ()  # it says in each test, not in a fragment, what it wants
        return (f"wish:{self.name}", f"tree:{SELFTESTS}/{self.collection}/config")


def parse(word: str) -> Suite:
    """The suite that a word of the command line names; UsageError for what names none."""
    kind, colon, rest = word.partition(":")
    if kind == "ltp":
        return _ltp(word, rest if colon else "")
    head, dash, collection = word.partition("-")
    if head != "kselftest":
        raise UsageError(f"--suite {word}: {KINDS}")
    if not dash or not _COLLECTION.fullmatch(collection):
        raise UsageError(f"--suite {word}: which collection? {KINDS}")
    return Suite(kind="kselftest", name=file_name(word), collection=collection)


def _ltp(word: str, rest: str) -> Suite:
    path, _, chosen = rest.partition(":")
    if not path:
        raise UsageError(f"--suite {word}: where is it? expected ltp:PATH[:FILTER]", hint="PATH is your tree of LTP")
    place = user_path(path).absolute()
    if not place.is_dir():
        raise UsageError(f"--suite {word}: expected a directory with a tree of LTP, got nothing there: {place}")
    chosen = chosen or LTP_FILTER
    return Suite(kind="ltp", name=file_name(f"ltp-{chosen}"), path=str(place), filter=chosen)


def file_name(words: str) -> str:
    """Words as the name of a case, a file or a scenario: nothing that a shell, a glob or a path would read."""
    return re.sub(r"[^A-Za-z0-9_.:+-]+", "-", words).replace(":", "-").strip("-.")[:MAX_NAME] or "-"
