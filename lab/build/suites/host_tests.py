# SPDX-License-Identifier: GPL-2.0-or-later
"""The tests of mm's data structures that a kernel tree has for the host, in tools/testing/vma and radix-tree.

They compile parts of the kernel (mm/vma.c, lib/maple_tree.c, lib/xarray.c) into programs, and need no guest. So they
are built and run where the suite is built, once for each state of the tree; what they printed and how they ended is
kept in the entry of the cache. The test of a guest repeats that, so the results stand in the table of all others.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.build import step, toolchain
from lab.build.suites import built, unpacked
from lab.build.suites.built import Built, Test
from lab.core import proc
from lab.core.cache import Cache, digest
from lab.core.errors import BuildError, UsageError
from lab.core.progress import Progress
from lab.formats import build_log
from lab.formats.patches.patch import Content
from lab.specs.suite import Suite, file_name

ENTRY = "suite"
RECIPE = "1"
"""To be raised when what is built from the same files changes."""
DIRECTORIES = ("tools/testing/vma", "tools/testing/radix-tree")
SHARED = "tools/testing/shared"
BUILD_S = 1800.0
RUN_S = 1200.0
"""Seconds for a program: the tests of maple trees take minutes, with the address sanitizer in them."""
LAST_LINES = 400
"""How many lines of a program's output are kept."""
LINE = 300
NICE = 10
SKIPPED = 4
"""The exit status that kselftest gives a meaning, and these programs do not."""

_DECIDES = re.compile(r"(?:tools|lib|mm|include|arch/[^/]+/include)/.*")
_COUNTED = re.compile(r"\b(\d{1,12}) of (\d{1,12}) tests passed")
_TOTAL = re.compile(r"^(\d{1,6}) tests run, (\d{1,6}) passed, (\d{1,6}) failed\.?$")
_FAILED = re.compile(r"^Test (\w{1,100}) FAILED$")
_NAMED = re.compile(r"^\s*TEST\((\w{1,100})\);", re.MULTILINE)


def check(suite: Suite, tree: Path, version: str) -> None:
    """Raise UsageError if a tree has none of the tests."""
    if not _directories(tree):
        raise UsageError(f"--suite {suite.word}: kernel {version} has none of {', '.join(DIRECTORIES)}")


def _directories(tree: Path) -> tuple[str, ...]:
    return tuple(name for name in DIRECTORIES if (tree / name / "Makefile").is_file())


def build(
    suite: Suite,
    tree: Path,
    changed: Mapping[str, Content | None],
    *,
    source: str,
    cache: Cache,
    progress: Progress,
) -> Built:
    """Return the tests of a tree (pristine, by its hash `source`) with `changed` files in place, built and run here."""
    decisive = {name: content for name, content in changed.items() if _DECIDES.fullmatch(name)}
    key = digest(RECIPE, suite.name, source, *unpacked.state(decisive), toolchain.host_compiler())

    def make(entry: Path) -> None:
        with cache.scratch("suite") as scratch:
            work = _HostWork(suite=suite, tree=scratch / "src", progress=progress)
            progress(f"{suite.name}: copying the tree")
            unpacked.link_tree(tree, work.tree, own=(*_directories(tree), SHARED), changed=decisive)
            tests, not_built = work.make(_directories(tree), entry / built.TREE)
            built.write(entry, tests, not_built)

    waiting = f"waiting for another lab that builds {suite.name}"
    return built.read(cache.entry(ENTRY, key, make, waiting=lambda: progress(waiting)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _HostWork:
    """One build in a tree of its own, which goes afterwards."""

    suite: Suite
    tree: Path
    progress: Progress

    def make(self, directories: Sequence[str], into: Path) -> tuple[list[Test], dict[str, str]]:
        """Build and run every program; return their tests, and program -> why it was not built."""
        into.mkdir(parents=True)
        tests: list[Test] = []
        not_built: dict[str, str] = {}
        for directory in directories:
            reasons = self._build(directory)
            names = _NAMED.findall(_sources(self.tree / directory))
            for program in self._programs(directory):
                path = self.tree / directory / program
                if not path.is_file():
                    not_built[program] = reasons.get(program) or next(iter(reasons.values()), "make did not say why")
                    tests.append(built.skipped(program, f"not built: {not_built[program]}"))
                    continue
                tests.append(self._run(path, names, into))
        if len(not_built) == len(tests):
            raise BuildError(f"--suite {self.suite.word}: no program was built", excerpt="\n".join(not_built.values()))
        return tests, not_built

    def _build(self, directory: str) -> dict[str, str]:
        """Build a directory's programs; return what failed, and why."""
        lines = self._make(directory, ["--keep-going", f"--jobs={toolchain.jobs()}", "--output-sync=target"])
        reasons: dict[str, str] = {}
        for program, reason in build_log.failures(lines).items():
            reasons[program] = reason.replace(f"{self.tree}/", "")
        return reasons

    def _programs(self, directory: str) -> list[str]:
        """Return the names of the programs that a makefile wants to make."""
        rule = "pagelab-programs:;@printf 'pagelab %s\\n' $(TARGETS)"
        lines = self._make(directory, [f"--eval={rule}", "pagelab-programs"])
        names = [line.removeprefix("pagelab ").strip() for line in lines if line.startswith("pagelab ")]
        return [name for name in names if name and "/" not in name and not name.endswith((".h", ".c"))]

    def _make(self, directory: str, words: Sequence[str]) -> list[str]:
        return step.run(
            ["make", "--directory", str(self.tree / directory), *words],
            cwd=self.tree,
            failure=f"--suite {self.suite.word}: make failed in {directory}",
            timeout_s=BUILD_S,
            label=self.suite.name,
            progress=self.progress,
            check=False,
            nice=NICE,
        )

    def _run(self, program: Path, names: Sequence[str], into: Path) -> Test:
        """Run a program, and return the test that repeats what it printed and how it ended.

        `names` are the tests that the sources of its directory name.
        """
        self.progress(f"{self.suite.name}: running {program.name} on this host")
        output, status = run(program)
        lines = [line[:LINE] for line in output.splitlines()[-LAST_LINES:]]
        printed = [*lines, *ktap(lines, names)]
        if not status and (reason := contradiction(lines)):
            printed.append(reason)
            status = 1
        kept = into / f"{file_name(program.name)}.out"
        kept.write_text("\n".join([*printed, ""]))
        return Test(
            name=file_name(program.name),
            style="kselftest",
            timeout_s=built.DEFAULT_S,
            directory=".",
            command=f"cat {shlex.quote(kept.name)}; exit {status}",
        )


def run(program: Path, timeout_s: float = RUN_S) -> tuple[str, int]:
    """Return what a program prints, its last lines, and its exit status; 1 if it does not end or is killed."""
    try:
        done = proc.run([str(program)], cwd=program.parent, timeout_s=timeout_s, check=False, nice=NICE)
    except proc.ProcError as error:
        return f"{error.output}\n{error.message}", 1
    if done.status < 0:
        return f"{done.output}\nended by signal {-done.status}", 1
    if done.status == SKIPPED:
        return f"{done.output}\nexit status {SKIPPED}", 1
    return done.output, done.status


def _sources(directory: Path) -> str:
    return "\n".join(path.read_text(errors="replace") for path in sorted(directory.rglob("*.c")))


def ktap(lines: Sequence[str], names: Iterable[str]) -> Iterator[str]:
    """Yield a result for each test of tools/testing/vma; nothing if the names do not fit the counts that were printed.

    The program prints the names of tests that fail, and how many ran: the others' names are in its sources.
    """
    total = next(filter(None, map(_TOTAL.match, reversed(lines))), None)
    every = list(dict.fromkeys(names))
    failed = {match[1] for match in map(_FAILED.match, lines) if match}
    if total is None or int(total[1]) != len(every) or int(total[3]) != len(failed) or not failed <= set(every):
        return
    yield "KTAP version 1"
    yield f"1..{len(every)}"
    for number, name in enumerate(every, 1):
        yield f"{'not ok' if name in failed else 'ok'} {number} {name}"


def contradiction(lines: Iterable[str]) -> str:
    """Return why a program that exits with 0 failed all the same, by the counts that it prints; empty if it did not."""
    for line in lines:
        counted = _COUNTED.search(line)
        if counted and counted[1] != counted[2]:
            return f"exit status 0, but {counted[1]} of {counted[2]} tests passed"
    return ""
