# SPDX-License-Identifier: GPL-2.0-or-later
"""Parse a user's word for a test suite of another project. Pure.

A suite is one scenario, and each of its tests one case. A test that prints KTAP itself also has a case for each of its
results, `test/result`. Suites declare no expectations: a case is expected to do the same as on the baseline.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from lab.core.errors import UsageError, did_you_mean
from lab.core.paths import is_directory, user_path

SELFTESTS = "tools/testing/selftests"
KINDS = "expected kselftest-COLLECTION (kselftest-mm, kselftest-net/lib), vma, kunit:GLOB or ltp:PATH[:FILTER]"
VMA = "vma"
KUNIT = "kunit"
LTP_FILTER = "mm"
MAX_NAME = 100

_COLLECTION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*")
# What KUnit itself takes as a glob of its suites, and behind a dot one of their cases.
_KUNIT_GLOB = re.compile(r"[A-Za-z0-9_*?\[\]!-]+(?:\.[A-Za-z0-9_*?\[\]!-]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A suite that a user asked for."""

    kind: Literal["kselftest", "ltp", "vma", "kunit"]
    name: str
    """The name of its scenario."""
    collection: str = ""
    """For kselftest: a directory below tools/testing/selftests."""
    path: str = ""
    """For LTP: the absolute path of its tree."""
    filter: str = ""
    """For LTP: `FILE` of runtest/, or `FILE/GLOB` for some of its tests; `FILE` may be a glob too.

    For KUnit: a glob of suites, or `SUITES.CASES`, globs of both.
    """

    @property
    def kunit_suites(self) -> str:
        """Return the glob of the names of KUnit's suites."""
        return self.filter.partition(".")[0]

    @property
    def word(self) -> str:
        """Return the word of --suite that means this suite from any directory."""
        if self.kind == "kselftest":
            return f"kselftest-{self.collection}"
        if self.kind == "vma":
            return VMA
        if self.kind == "kunit":
            return f"{KUNIT}:{self.filter}"
        return f"ltp:{self.path}:{self.filter}"

    @property
    def fragments(self) -> tuple[str, ...]:
        """Return the optional config fragments for it: the lab's, then the suite's own."""
        if self.kind == "vma":
            return ()  # no kernel runs these programs
        if self.kind == "kunit":
            return (KUNIT, f"wish:{KUNIT}-suites")
        if self.kind == "ltp":
            return ()  # each test of LTP declares its own requirements; there is no fragment
        return (f"wish:{self.name}", f"tree:{SELFTESTS}/{self.collection}/config")


def parse(word: str) -> Suite:
    """Return the suite that a word of the command line names; UsageError if it names none."""
    kind, colon, rest = word.partition(":")
    if kind == "ltp":
        return _ltp(word, rest if colon else "")
    if kind == KUNIT:
        return _kunit(word, rest)
    if word == VMA:
        return Suite(kind="vma", name=VMA)
    head, dash, collection = word.partition("-")
    if head != "kselftest":
        meant = did_you_mean(head, ["kselftest", VMA, KUNIT, "ltp"])
        raise UsageError(f"--suite {word}: {KINDS}{meant}")
    if not dash or not _COLLECTION.fullmatch(collection):
        raise UsageError(f"--suite {word}: which collection? {KINDS}")
    return Suite(kind="kselftest", name=file_name(word), collection=collection)


def words_of_tests(tests: Sequence[str], suites: Sequence[str]) -> tuple[str, ...]:
    """Return the words of --test for suites: `SUITE.TEST` for each that begins with the name of none of them.

    `mremap*` then stands for the tests of any suite with such a name, or with such a name behind the colon of a script
    that has several: `run_vmtests.sh:mremap`.
    """
    names = [parse(word).name for word in suites]
    if not names:
        return tuple(tests)
    words: list[str] = []
    for test in tests:
        if any(fnmatchcase(name, test.partition(".")[0]) for name in names):
            words.append(test)
        else:
            for name in names:
                words.append(f"{name}.{test}")
    return tuple(words)


def _ltp(word: str, rest: str) -> Suite:
    path, _, chosen = rest.partition(":")
    if not path:
        raise UsageError(f"--suite {word}: where is it? expected ltp:PATH[:FILTER]", hint="PATH is your tree of LTP")
    place = user_path(path).absolute()
    if not is_directory(place):
        raise UsageError(f"--suite {word}: expected a directory with a tree of LTP, got nothing there: {place}")
    chosen = chosen or LTP_FILTER
    return Suite(kind="ltp", name=file_name(f"ltp-{chosen}"), path=str(place), filter=chosen)


def _kunit(word: str, glob: str) -> Suite:
    if not glob:
        raise UsageError(f"--suite {word}: which suites? expected kunit:GLOB", hint="kunit:'*' for all that there are")
    if not _KUNIT_GLOB.fullmatch(glob):
        raise UsageError(
            f"--suite {word}: expected kunit:GLOB with letters, digits, _ - * ? [ ] and at most one dot, "
            "between suites and their cases"
        )
    return Suite(kind="kunit", name=f"{KUNIT}-{file_name(glob)}".rstrip("-"), filter=glob)


def command_line(suites: Iterable[Suite]) -> tuple[str, ...]:
    """Return the words of the kernel's command line for suites; UsageError if no glob covers their cases.

    A kernel with KUnit runs all its suites while it boots, or those that one glob matches.
    """
    asked = [suite for suite in suites if suite.kind == "kunit"]
    cases = {suite.filter.partition(".")[2] for suite in asked}
    if not asked:
        return ()
    if len(cases) > 1:
        words = " ".join(f"--suite {suite.word}" for suite in asked)
        raise UsageError(
            f"{words}: expected the same cases behind the dot of each, as a kernel takes one glob for them",
            hint="run them one after the other",
        )
    glob = ".".join(filter(None, (_covering([suite.kunit_suites for suite in asked]), *cases)))
    return () if glob == "*" else (f"kunit.filter_glob={glob}",)


def _covering(globs: Sequence[str]) -> str:
    """Return one glob that matches what any of some globs does: `[hl][ai]*` for `hash*` and `list`."""
    if len(set(globs)) == 1:
        return globs[0]
    plain = [re.split(r"[*?\[\]!]", glob)[0] for glob in globs]
    covering = ""
    for letters in map(sorted, map(set, zip(*plain, strict=False))):
        covering += letters[0] if len(letters) == 1 else f"[{''.join(letters)}]"
    return f"{covering}*"


def file_name(words: str) -> str:
    """Return words as the name of a case, file or scenario, without characters special to shells, globs or paths."""
    return re.sub(r"[^A-Za-z0-9_.:+-]+", "-", words).replace(":", "-").strip("-.")[:MAX_NAME] or "-"
