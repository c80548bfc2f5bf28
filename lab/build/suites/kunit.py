# SPDX-License-Identifier: GPL-2.0-or-later
"""KUnit: suites within the kernel, which it runs while it boots; a script in the guest prints what debugfs has of each.

The names of the suites are read from the kernel's source: every suite that the glob matches is one test, and its cases
are results within it. Nothing is built but the kernel, with images/config/kunit.config and kunit-suites.config.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from lab.build.suites import built
from lab.build.suites.built import Built, Test
from lab.build.suites.tree import SuiteTree
from lab.core import paths, proc
from lab.core.cache import Cache, digest, file_digest
from lab.core.errors import UsageError, nearest
from lab.core.progress import Progress, silent
from lab.formats.patches.patch import Content
from lab.specs.suite import Suite, file_name

ENTRY = "suite"
NAMES, LIST = "kunit-suites", "suites.json"
"""Entry of the cache and file in it: the suites of a pristine tree."""
RECIPE = "2"
"""To be raised when what is made from the same files changes."""
SCRIPT = "kunit.sh"
TEST_S = 300.0
"""Seconds to print the results of a suite; it ran before, and runs again if lines are counted."""
SCAN_S = 1200.0
LISTED = 12
"""How many names an error lists."""
LEFT_OUT = ("Documentation", "samples", "tools", ".git")
"""Directories whose code is in no kernel."""
ARCHES_DIRECTORY = "arch"

_SUITE = re.compile(r"^(?:static\s+)?struct\s+kunit_suite\s+[\w\s]+=\s*\{(.*?)^\}", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r'\.name\s*=\s*(?:"([^"\\\n/]{1,100})"|(KBUILD_MODNAME))')
_OBJECTS = r"^[\w-]*\$\((CONFIG_\w+)\)\s*[:+]?=(?:.*\s)?{}\.o\b"


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A suite that a tree's source declares. `symbol`: the CONFIG_ symbol of its makefile, "" if that has none."""

    name: str
    file: str
    symbol: str

    @property
    def where(self) -> str:
        """Return what it is built from, for a kernel that lacks it."""
        if self.symbol:
            return f"{self.file} is built with {self.symbol}"
        return f"it is in {self.file}"


def check(suite: Suite, trees: Sequence[SuiteTree], cache: Cache, progress: Progress = silent) -> None:
    """Raise UsageError, with the nearest name, if the glob matches no suite of any of the trees."""
    names: dict[str, None] = {}
    for tree in trees:
        for declared in declared_in(tree, cache, progress):
            names[declared.name] = None
    if not trees or any(fnmatchcase(name, suite.kunit_suites) for name in names):
        return
    versions = ", ".join(dict.fromkeys(tree.source.version for tree in trees))
    if not names:
        raise UsageError(f"--suite {suite.word}: kernel {versions} has no KUnit suites")
    meant = nearest(suite.kunit_suites.strip("*?"), names)
    better = f"; did you mean 'kunit:{meant}'?" if meant else ""
    listed = ", ".join(sorted(names)[:LISTED])
    raise UsageError(
        f"--suite {suite.word}: none of the {len(names)} KUnit suites of kernel {versions} has such a name{better}",
        hint=f"it has {listed}, ...",
    )


def build(suite: Suite, tree: SuiteTree, *, cache: Cache, progress: Progress = silent) -> Built:
    """Return a test for each suite of a tree that the glob matches; no tests if it matches none."""
    script = paths.images() / "suite" / SCRIPT
    tests: list[Test] = []
    for declared in declared_in(tree, cache, progress):
        if fnmatchcase(declared.name, suite.kunit_suites):
            tests.append(_test(declared))
    key = digest(NAMES, RECIPE, file_digest(script), *(test.line() for test in tests))

    def make(entry: Path) -> None:
        directory = entry / built.TREE
        directory.mkdir()
        shutil.copy2(script, directory / SCRIPT)
        built.write(entry, tests, {})

    return built.read(cache.entry(ENTRY, key, make))


def _test(declared: Declared) -> Test:
    command = shlex.join(["exec", "sh", f"./{SCRIPT}", declared.name, declared.where])
    return Test(name=file_name(declared.name), style="kselftest", timeout_s=TEST_S, directory=".", command=command)


# ---- What a tree declares -------------------------------------------------------------------------------------------


def declared_in(tree: SuiteTree, cache: Cache, progress: Progress = silent) -> tuple[Declared, ...]:
    """Return the suites of a tree as its series leaves it, sorted by name, without those of other architectures."""
    changed = tree.changed
    found: dict[str, Declared] = {}
    for declared in _pristine(tree, cache, progress):
        if declared.file not in changed:
            found.setdefault(declared.name, declared)
    for name, content in changed.items():
        if content and name.endswith((".c", ".h")):
            for declared in _declarations(name, _text(content.data), _makefile(tree, name, changed)):
                found.setdefault(declared.name, declared)
    return tuple(found[name] for name in sorted(found) if not _is_foreign(found[name].file, tree))


def _is_foreign(file: str, tree: SuiteTree) -> bool:
    """Return whether a file is code of another architecture; false if the tree has no directory of that name."""
    own = f"{ARCHES_DIRECTORY}/{tree.arch.kernel_arch}"
    if not file.startswith(f"{ARCHES_DIRECTORY}/") or not (tree.path / own).is_dir():
        return False
    return not file.startswith(f"{own}/")


def _pristine(tree: SuiteTree, cache: Cache, progress: Progress) -> tuple[Declared, ...]:
    """Return the suites of the source without a series; the cache keeps them."""

    def make(entry: Path) -> None:
        progress(f"KUnit: reading the names of the suites of {tree.source.version}")
        found: list[dict[str, str]] = []
        for name in _files(tree.path):
            text = (tree.path / name).read_text(errors="replace")
            for declared in _declarations(name, text, _makefile(tree, name, {})):
                found.append(asdict(declared))
        (entry / LIST).write_text(json.dumps(found, indent=1) + "\n")

    entry = cache.entry(NAMES, digest(RECIPE, tree.source.sha256), make)
    return tuple(Declared(**facts) for facts in json.loads((entry / LIST).read_text()))


def _files(tree: Path) -> list[str]:
    """Return the C files below a tree in which suites may be declared."""
    left_out = [f"--exclude-dir={name}" for name in LEFT_OUT]
    words = ["grep", "-rlF", "--include=*.c", "--include=*.h", *left_out, "struct kunit_suite", "."]
    done = proc.run(words, cwd=tree, timeout_s=SCAN_S, check=False, whole=True)
    return sorted(line.removeprefix("./") for line in done.output.splitlines() if line.startswith("./"))


def _declarations(file: str, text: str, makefile: str) -> Iterator[Declared]:
    """Yield the suites that a file declares."""
    for name in _names(text, Path(file).stem):
        yield Declared(name=name, file=file, symbol=_symbol(makefile, Path(file).stem))


def _names(text: str, stem: str) -> Iterable[str]:
    """Return the names of the suites in C text; a file's own name is that of its module."""
    names: list[str] = []
    for body in _SUITE.findall(text):
        for name, _ in _NAME.findall(body):
            names.append(name or stem.replace("-", "_"))
    return names


def _symbol(makefile: str, stem: str) -> str:
    """Return the symbol with which a makefile builds an object; "" if it names none for it."""
    found = re.search(_OBJECTS.format(re.escape(stem)), makefile.replace("\\\n", " "), re.MULTILINE)
    return found[1] if found else ""


def _makefile(tree: SuiteTree, file: str, changed: Mapping[str, Content | None]) -> str:
    """Return the text of the makefile beside a file; "" if there is none."""
    name = str(Path(file).with_name("Makefile"))
    if name in changed:
        content = changed[name]
        return _text(content.data) if content else ""
    path = tree.path / name
    return path.read_text(errors="replace") if path.is_file() else ""


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
