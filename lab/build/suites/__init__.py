# SPDX-License-Identifier: GPL-2.0-or-later
"""Suites of tests that are not ours, made into scenario programs: built once for each architecture and kernel source.

The program of a suite is images/suite/suite.c; beside it lies NAME.d with the list of tests, their files, and bash
where a script of theirs wants it. All guests of a campaign have the same list, in which what an architecture or a
kernel does not have is a test that is skipped.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.arch import ARCHES, Arch
from lab.build import programs as guestbuild
from lab.build import series, source, worktree
from lab.build.programs import GuestTests
from lab.build.suites import bash as shell
from lab.build.suites import kselftest, ltp
from lab.build.suites.built import Built, Test, skipped
from lab.core import paths
from lab.core.cache import Cache, digest
from lab.core.errors import UsageError
from lab.core.outcome import Case
from lab.core.progress import Progress, silent
from lab.formats.patch import Content
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
        """Suite's name -> a case for every test that any of its builds has."""
        return {
            suite.name: tuple(
                Case(scenario=suite.name, name=test.name, description=test.command, timeout_s=test.timeout_s)
                for test in self._tests(suite).values()
            )
            for suite in self.suites
        }

    @property
    def keys(self) -> Mapping[str, Mapping[str, str]]:
        """Architecture -> of each suite a key of what its programs, for all kernels, were made of."""
        found: dict[str, dict[str, list[str]]] = {}
        for (name, arch, _), each in sorted(self.builds.items()):
            found.setdefault(arch, {}).setdefault(name, []).append(each.key)
        return {arch: {name: digest(*keys) for name, keys in suites.items()} for arch, suites in found.items()}

    def described(self) -> Mapping[str, object]:
        """For metadata.json: how to ask for each again, and which of its programs did not build, where and why."""
        return {
            suite.name: {
                "word": suite.word,
                "not_built": {
                    f"{arch}/{kernel}": dict(each.not_built)
                    for (name, arch, kernel), each in self.builds.items()
                    if name == suite.name
                },
            }
            for suite in self.suites
        }

    def programs(self, arch: Arch, kernel: Kernel, progress: Progress) -> GuestTests:
        """The programs for guests of an architecture with a kernel, each with its files beside it in NAME.d."""
        driver = guestbuild.compile_one(arch, paths.images() / "suite" / "suite.c", self.cache)
        found: dict[str, Path] = {}
        keys = []
        for suite in self.suites:
            build = self.builds[suite.name, arch.name, kernel.name]
            bash = shell.build(arch, cache=self.cache, progress=progress) if build.wants_bash else None
            text = "".join(test.line() for test in self._list(suite, build))
            key = digest(ENTRY, suite.name, build.key, driver.parent.name, bash.parent.name if bash else "", text)
            made = _Parts(program=suite.name, driver=driver, build=build, bash=bash, listed=text)
            entry = self.cache.entry(ENTRY, key, made.assemble)
            found[suite.name] = entry / suite.name
            keys.append(key)
        return GuestTests(programs=found, key=digest(*keys))

    def _tests(self, suite: Suite) -> Mapping[str, Test]:
        """Every test of a suite by its name, in the order of the first build that has it."""
        every: dict[str, Test] = {}
        for (name, _, _), build in self.builds.items():
            for test in build.tests if name == suite.name else ():
                every.setdefault(test.name, test)
        return every

    def _list(self, suite: Suite, build: Built) -> Iterable[Test]:
        """All tests of the suite, as this build has them."""
        own = {test.name: test for test in build.tests}
        for name in self._tests(suite):
            yield own.get(name) or skipped(name, "no test of this kernel on this architecture")


def prepare(planned: Plan, cache: Cache, progress: Progress = silent) -> Suites:
    """Build every suite of a plan for each of its architectures and kernels; UsageError for one that is not there."""
    found: dict[tuple[str, str, str], Built] = {}
    for suite in planned.suites:
        for build in planned.builds:
            place = (suite.name, build.arch, build.kernel.name)
            if place not in found:
                found[place] = _build(suite, build, cache, progress)
        if not any(test for (name, _, _), each in found.items() if name == suite.name for test in each.tests):
            raise UsageError(f"--suite {suite.word}: there is no test in it")
    return Suites(cache=cache, suites=planned.suites, builds=found)


def check(planned: Plan, cache: Cache) -> None:
    """UsageError for a collection that a kernel's tree does not have, as far as that is known without unpacking it."""
    for suite in planned.suites:
        for kernel in _kernels(planned.builds):
            known = source.identify(kernel.source, cache)
            if known and cache.has(source.ENTRY, known.key) and suite.kind == "kselftest":
                kselftest.check(suite, source.tree(known.key, cache), known.version)


def _kernels(builds: Sequence[Build]) -> Iterable[Kernel]:
    return {build.kernel.name: build.kernel for build in builds}.values()


def _build(suite: Suite, build: Build, cache: Cache, progress: Progress) -> Built:
    record = ARCHES[build.arch]
    if suite.kind == "ltp":
        return ltp.build(suite, record, cache=cache, progress=progress)
    found = source.resolve(build.kernel.source, cache=cache, progress=progress)
    tree = source.tree(found.key, cache)
    kselftest.check(suite, tree, found.version)

    def pristine(name: str) -> Content | None:
        return worktree.read_file(tree, name)

    fixes = (series.fix(why, text, f"lab/arch/{record.name}.py") for why, text in record.fixes.items())
    patches = series.load(build.kernel.series, found.version, root=paths.images() / "series").patches
    changed = series.changed_files((*series.applicable(fixes, pristine), *patches), pristine)
    return kselftest.build(suite, tree, changed, record, source=found.sha256, cache=cache, progress=progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What the program of a suite for one guest is put together from."""

    program: str
    driver: Path
    build: Built
    bash: Path | None
    listed: str

    def assemble(self, into: Path) -> None:
        """The program, and its files beside it; hard links, since the same lie in other entries."""
        beside = into / f"{self.program}.d"
        shutil.copytree(self.build.tree, beside, copy_function=os.link)
        os.link(self.driver, into / self.program)
        (beside / LIST).write_text(self.listed)
        if self.bash:
            (beside / "bin").mkdir(exist_ok=True)
            os.link(self.bash, beside / "bin" / self.bash.name)
