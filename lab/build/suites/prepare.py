# SPDX-License-Identifier: GPL-2.0-or-later
"""Make scenario programs of test suites of other projects, built once for each architecture and kernel source.

The program of a suite is images/suite/suite.c; beside it is NAME.d with the list of tests, their files, and bash if
one of their scripts needs it. All guests of a campaign have the same list: a test that an architecture or a kernel
does not have is skipped there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.arch.record import Arch
from lab.build import programs, series, source, worktree
from lab.build.programs import GuestTests
from lab.build.suites import bash, host_tests, kselftest, ltp
from lab.build.suites.built import Built, Test, skipped
from lab.core import paths
from lab.core.cache import Cache, digest
from lab.core.errors import UsageError
from lab.core.outcome import Case
from lab.core.progress import Progress, silent
from lab.formats.patches.patch import Content
from lab.specs.arches import ARCHES
from lab.specs.model import Kernel
from lab.specs.plan import Build, Plan
from lab.specs.suite import Suite

ENTRY = "suite-set"
LIST = "list"
_OF_TREES = {"kselftest": kselftest, "vma": host_tests}
"""The suites that come from a kernel's tree, by their kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suites:
    """The suites of a campaign, built. A key of `builds`: suite's name, architecture, kernel's name."""

    cache: Cache
    suites: tuple[Suite, ...]
    builds: Mapping[tuple[str, str, str], Built] = field(default_factory=dict)

    @property
    def cases(self) -> Mapping[str, tuple[Case, ...]]:
        """Return suite's name -> a case for every test that any of its builds has."""
        return {suite.name: tuple(map(_case_of(suite), self._tests(suite).values())) for suite in self.suites}

    @property
    def keys(self) -> Mapping[str, Mapping[str, str]]:
        """Return architecture -> suite's name -> a key of the inputs of its programs for all kernels."""
        keys: dict[str, dict[str, list[str]]] = {}
        for (name, arch, _), build in sorted(self.builds.items()):
            keys.setdefault(arch, {}).setdefault(name, []).append(build.key)
        return {arch: _digests(suites) for arch, suites in keys.items()}

    @property
    def described(self) -> Mapping[str, object]:
        """Return metadata.json's `suites`: each with its word and the programs that did not build."""
        suites: dict[str, object] = {}
        for suite in self.suites:
            suites[suite.name] = {"word": suite.word, "not_built": self._not_built(suite)}
        return {"suites": suites}

    def _not_built(self, suite: Suite) -> dict[str, dict[str, str]]:
        """Return `arch/kernel` -> program -> why it did not build."""
        reasons: dict[str, dict[str, str]] = {}
        for (name, arch, kernel), build in self.builds.items():
            if name == suite.name:
                reasons[f"{arch}/{kernel}"] = dict(build.not_built)
        return reasons

    def programs(self, arch: Arch, kernel: Kernel, progress: Progress) -> GuestTests:
        """Return the programs for guests of an architecture with a kernel, each with its files beside it in NAME.d."""
        driver = programs.compile_one(arch, paths.images() / "suite" / "suite.c", self.cache)
        entries: dict[str, Path] = {}
        for suite in self.suites:
            build = self.builds[suite.name, arch.name, kernel.name]
            shell = bash.build(arch, cache=self.cache, progress=progress) if build.wants_bash else None
            listed = "".join(test.line() for test in self._list(suite, build))
            parts = _Parts(program=suite.name, driver=driver, build=build, bash=shell, listed=listed)
            entries[suite.name] = self.cache.entry(ENTRY, parts.key, parts.assemble)
        keys = [entry.name for entry in entries.values()]
        return GuestTests(programs={name: entry / name for name, entry in entries.items()}, key=digest(*keys))

    def _tests(self, suite: Suite) -> Mapping[str, Test]:
        """Return every test of a suite by its name, in the order of the first build that has it."""
        tests: dict[str, Test] = {}
        for (name, _, _), build in self.builds.items():
            if name == suite.name:
                for test in build.tests:
                    tests.setdefault(test.name, test)
        return tests

    def _list(self, suite: Suite, build: Built) -> Iterable[Test]:
        """Yield all tests of the suite; those that this build lacks are skipped ones."""
        own = {test.name: test for test in build.tests}
        for name in self._tests(suite):
            yield own.get(name) or skipped(name, "no test of this kernel on this architecture")


def _case_of(suite: Suite) -> Callable[[Test], Case]:
    """Return a function that makes the case of a test."""

    def case(test: Test) -> Case:
        return Case(scenario=suite.name, name=test.name, description=test.command, timeout_s=test.timeout_s)

    return case


def _digests(keys: Mapping[str, Sequence[str]]) -> dict[str, str]:
    return {name: digest(*parts) for name, parts in keys.items()}


def prepare(planned: Plan, cache: Cache, progress: Progress = silent) -> Suites:
    """Build every suite of a plan for each of its architectures and kernels; UsageError if a suite has no test."""
    builds: dict[tuple[str, str, str], Built] = {}
    for suite in planned.suites:
        tests = 0
        for build in planned.builds:
            key = (suite.name, build.arch, build.kernel.name)
            if key not in builds:
                builds[key] = _build(suite, build, cache, progress)
                tests += len(builds[key].tests)
        if not tests:
            raise UsageError(f"--suite {suite.word}: it has no tests")
    return Suites(cache=cache, suites=planned.suites, builds=builds)


def check(planned: Plan, cache: Cache) -> None:
    """Raise UsageError if the tree of a kernel lacks a collection, as far as that is known without unpacking it."""
    for suite in planned.suites:
        if suite.kind not in _OF_TREES:
            continue
        for kernel in _kernels(planned.builds):
            _require_source(suite, kernel)
            known = source.identify(kernel.source, cache)
            if known and cache.has(source.ENTRY, known.key):
                _OF_TREES[suite.kind].check(suite, source.tree(known.key, cache), known.version)


def _require_source(suite: Suite, kernel: Kernel) -> None:
    """Raise UsageError for a kernel that was not built here: the programs of such a suite are in a kernel's source."""
    if kernel.prebuilt:
        raise UsageError(
            f"--suite {suite.word} is built from a kernel's source, and {kernel.name} is {kernel.source}",
            hint="--suite ltp:PATH runs on it, and so do the lab's own scenarios",
        )


def _kernels(builds: Sequence[Build]) -> Iterable[Kernel]:
    return {build.kernel.name: build.kernel for build in builds}.values()


def _build(suite: Suite, build: Build, cache: Cache, progress: Progress) -> Built:
    arch = ARCHES[build.arch]
    if suite.kind == "ltp":
        return ltp.build(suite, arch, cache=cache, progress=progress)
    _require_source(suite, build.kernel)
    kernel = source.resolve(build.kernel.source, cache=cache, progress=progress)
    tree = source.tree(kernel.key, cache)
    _OF_TREES[suite.kind].check(suite, tree, kernel.version)

    def pristine(name: str) -> Content | None:
        return worktree.read_file(tree, name)

    fixes = series.fixes_of(arch)
    patches = series.load(build.kernel.series, kernel.version, root=paths.images() / "series").patches
    changed = series.changed_files((*series.applicable(fixes, pristine), *patches), pristine)
    if suite.kind == "vma":
        return host_tests.build(suite, tree, changed, source=kernel.sha256, cache=cache, progress=progress)
    return kselftest.build(suite, tree, changed, arch, source=kernel.sha256, cache=cache, progress=progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """The parts of a suite's program for one guest."""

    program: str
    driver: Path
    build: Built
    bash: Path | None
    listed: str

    @property
    def key(self) -> str:
        bash_key = self.bash.parent.name if self.bash else ""
        return digest(ENTRY, self.program, self.build.key, self.driver.parent.name, bash_key, self.listed)

    def assemble(self, into: Path) -> None:
        """Put the program and the files beside it into a directory, as hard links to other cache entries."""
        beside = into / f"{self.program}.d"
        shutil.copytree(self.build.tree, beside, copy_function=os.link)
        os.link(self.driver, into / self.program)
        (beside / LIST).write_text(self.listed)
        if self.bash:
            (beside / "bin").mkdir(exist_ok=True)
            os.link(self.bash, beside / "bin" / self.bash.name)
