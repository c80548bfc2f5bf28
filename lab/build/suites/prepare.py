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
from functools import cached_property
from pathlib import Path

from lab.arch.record import Arch
from lab.build import programs
from lab.build.programs import GuestTests
from lab.build.suites import bash, host_tests, kselftest, kunit, ltp
from lab.build.suites import tree as trees
from lab.build.suites.built import Built, Test, skipped
from lab.build.suites.tree import SuiteTree
from lab.core import paths
from lab.core.cache import Cache, digest
from lab.core.errors import UsageError
from lab.core.outcome import Case
from lab.core.progress import Progress, silent
from lab.specs.arches import ARCHES
from lab.specs.model import Kernel
from lab.specs.plan import Build, Plan
from lab.specs.suite import Suite

ENTRY = "suite-set"
LIST = "list"


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


# ---- Building -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Job:
    """A suite to make for one build of a kernel. It has no slots, since it keeps its tree."""

    suite: Suite
    build: Build
    cache: Cache
    progress: Progress

    @cached_property
    def tree(self) -> SuiteTree:
        """The kernel's tree, fetched and unpacked if need be; to identify a directory takes reading all of it."""
        return trees.resolved(self.build, self.cache, self.progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """How suites of a kind are made. `check` raises UsageError if the trees of a plan lack one."""

    make: Callable[[_Job], Built]
    check: Callable[[Suite, Sequence[SuiteTree], Cache], None] | None
    """None for suites that come from no kernel's tree."""
    any_tree: bool = False
    """Whether it is enough that one tree of a plan has the suite."""


def _kselftest(job: _Job) -> Built:
    tree, sha256 = job.tree, job.tree.source.sha256
    return kselftest.build(
        job.suite, tree.path, tree.changed, tree.arch, source=sha256, cache=job.cache, progress=job.progress
    )


def _host_tests(job: _Job) -> Built:
    tree, sha256 = job.tree, job.tree.source.sha256
    return host_tests.build(job.suite, tree.path, tree.changed, source=sha256, cache=job.cache, progress=job.progress)


def _kunit(job: _Job) -> Built:
    return kunit.build(job.suite, job.tree, cache=job.cache, progress=job.progress)


def _ltp(job: _Job) -> Built:
    return ltp.build(job.suite, ARCHES[job.build.arch], cache=job.cache, progress=job.progress)


def _every(check_tree: Callable[[Suite, Path, str], None]) -> Callable[[Suite, Sequence[SuiteTree], Cache], None]:
    """Return a check of all trees: each has to have the suite."""

    def check_all(suite: Suite, having: Sequence[SuiteTree], _cache: Cache) -> None:
        for tree in having:
            check_tree(suite, tree.path, tree.source.version)

    return check_all


KINDS: Mapping[str, _Kind] = {
    "kselftest": _Kind(make=_kselftest, check=_every(kselftest.check)),
    "vma": _Kind(make=_host_tests, check=_every(host_tests.check)),
    "kunit": _Kind(make=_kunit, check=kunit.check, any_tree=True),
    "ltp": _Kind(make=_ltp, check=None),
}
"""What there is for each kind of suite; nothing else depends on the kind here."""


def prepare(planned: Plan, cache: Cache, progress: Progress = silent) -> Suites:
    """Build every suite of a plan for each of its architectures and kernels; UsageError if a suite has no test."""
    made: dict[tuple[str, str, str], Built] = {}
    for suite in planned.suites:
        kind = KINDS[suite.kind]
        jobs: dict[tuple[str, str, str], _Job] = {}
        for build in planned.builds:
            job = _Job(suite=suite, build=build, cache=cache, progress=progress)
            jobs.setdefault((suite.name, build.arch, build.kernel.name), job)
        if kind.check:
            _require_sources(suite, planned.builds)
            kind.check(suite, [job.tree for job in jobs.values()], cache)
        tests = 0
        for key, job in jobs.items():
            made[key] = kind.make(job)
            tests += len(made[key].tests)
        if not tests:
            raise UsageError(f"--suite {suite.word}: it has no tests")
    return Suites(cache=cache, suites=planned.suites, builds=made)


def check(planned: Plan, cache: Cache) -> None:
    """Raise UsageError if the trees of a plan lack a suite, as far as that is known without unpacking them."""
    having: list[SuiteTree] = []
    for build in planned.builds:
        if not build.kernel.prebuilt and (tree := trees.known(build, cache)):
            having.append(tree)
    whole = len(having) == len(planned.builds)
    for suite in planned.suites:
        kind = KINDS[suite.kind]
        if kind.check:
            _require_sources(suite, planned.builds)
        if kind.check and (whole or not kind.any_tree):
            kind.check(suite, having, cache)


def _require_sources(suite: Suite, builds: Iterable[Build]) -> None:
    """Raise UsageError for a kernel that was not built here: the programs of such a suite are in a kernel's source."""
    for build in builds:
        kernel = build.kernel
        if kernel.prebuilt:
            raise UsageError(
                f"--suite {suite.word} is built from a kernel's source, and {kernel.name} is {kernel.source}",
                hint="--suite ltp:PATH runs on it, and so do the lab's own scenarios",
            )


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
