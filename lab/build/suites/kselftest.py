# SPDX-License-Identifier: GPL-2.0-or-later
"""kselftest: a collection of the kernel's own tree, built by its own makefiles, with the kernel's series in place.

Each program of kselftest-list.txt is one test that the lab runs itself: run_kselftest.sh wants perl or stdbuf for what
a pipe holds back, and a `timeout` that knows nothing of slow emulators. mm's run_vmtests.sh is one script with dozens
of tests, each with arguments of its own: it is run once for each of its categories, as newer kernels' own list has it.

Everything is linked statically, with the libraries of lab/build/suites/libraries.py where the collection names them. A
program that does not build is replaced by one that prints why and counts as skipped.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.arch.record import Arch
from lab.build import step, toolchain
from lab.build.suites import built, libraries, unpacked
from lab.build.suites.built import Built, Test, lacking, skipped
from lab.build.suites.libraries import StaticLibrary
from lab.build.toolchain import Toolchain
from lab.core.cache import Cache, digest
from lab.core.errors import BuildError, UsageError, did_you_mean
from lab.core.progress import Progress
from lab.formats import build_log
from lab.formats.patches.patch import Content
from lab.specs.suite import SELFTESTS, Suite, file_name

ENTRY = "suite"
RECIPE = "1"
"""To be raised when what is built from the same files changes."""
BUILD_S = 3600.0
PASSES = 3
"""Of make: what did not build in one is replaced before the next."""
NICE = 10
VMTESTS = "run_vmtests.sh"
LISTS = ("TEST_GEN_PROGS", "TEST_GEN_PROGS_EXTENDED", "TEST_GEN_FILES", "TEST_CUSTOM_PROGS")
"""Variables of lib.mk: what is to be built."""

# What decides a suite's programs: tools/, what `make headers` makes, and what tests include from further inside.
_DECIDES = re.compile(
    r"(?:tools|usr|scripts)/.*|Makefile|Kbuild|arch/[^/]+/Makefile|(?:.*/)?uapi/.*|arch/[^/]+/(?:.*/)?syscalls?/.*"
    r"|include/linux/(?:kernel|stringify|compiler|bits|filter)\.h|.*test[^/]*\.h|lib/rbtree\.c|arch/.*/vgetrandom[^/]*"
)
_TARGETS = re.compile(r"^TARGETS(?:_HOTPLUG)?\s*[:+]?=\s*(.*)$", re.MULTILINE)
_NAMES_LIBRARIES = re.compile(r"Makefile|.*\.mk|.*\.sh")
_CATEGORY = re.compile(r"CATEGORY=\"?([A-Za-z0-9_-]+)\"?\s+run_test")


def collections(tree: Path) -> tuple[str, ...]:
    """Return the collections that a kernel tree's makefile names; empty if the tree has none."""
    try:
        text = (tree / SELFTESTS / "Makefile").read_text(errors="replace").replace("\\\n", " ")
    except OSError:
        return ()
    names = []
    for line in _TARGETS.findall(text):
        for name in line.partition("#")[0].split():
            if "$" not in name:
                names.append(name)
    return tuple(dict.fromkeys(names))


def check(suite: Suite, tree: Path, version: str) -> None:
    """Raise UsageError, with the nearest name, if the tree does not have the collection."""
    known = collections(tree)
    if suite.collection in known or (tree / SELFTESTS / suite.collection / "Makefile").is_file():
        return
    meant = did_you_mean(suite.word, [f"kselftest-{name}" for name in known])
    have = f"it has no {SELFTESTS}"
    if known:
        have = f"it has {', '.join(known)}"
    raise UsageError(f"--suite {suite.word}: kernel {version} has no such collection{meant}", hint=have)


def build(
    suite: Suite,
    tree: Path,
    changed: Mapping[str, Content | None],
    arch: Arch,
    *,
    source: str,
    cache: Cache,
    progress: Progress,
) -> Built:
    """The collection of a tree (pristine, by its hash `source`) with `changed` files in place, for an architecture.

    BuildError when nothing of it builds.
    """
    chain = toolchain.find(arch)
    decisive = {name: content for name, content in changed.items() if _DECIDES.fullmatch(name)}
    state = unpacked.state(decisive)
    names = libraries.wanted(_makefiles(suite, tree, decisive))
    linked = libraries.build(names, arch, cache=cache, progress=progress)
    compiler = (arch.kernel_arch, arch.suite_arch, chain.prefix, chain.key)
    absent = tuple(name for name in names if name not in {library.name for library in linked})
    with_libraries = (*(library.key for library in linked), *(f"without lib{name}" for name in absent))
    key = digest(RECIPE, suite.collection, source, *state, *compiler, *with_libraries)

    def make(entry: Path) -> None:
        with cache.scratch("suite") as scratch:
            work = _KselftestWork(suite, arch, chain, linked, scratch, progress)
            work.unpack(tree, decisive)
            libraries.hide(absent, arch, work.hidden)
            not_built = work.make()
            shutil.copytree(work.installed, entry / built.TREE, symlinks=False, ignore_dangling_symlinks=True)
            built.write(entry, _tests(suite, entry / built.TREE), not_built)

    waiting = f"waiting for another lab that builds {suite.name}"
    return built.read(cache.entry(ENTRY, key, make, waiting=lambda: progress(waiting)))


def _makefiles(suite: Suite, tree: Path, changed: Mapping[str, Content | None]) -> Iterator[str]:
    """Yield the text of the makefiles and scripts of a collection, as the series leaves them."""
    directory = f"{SELFTESTS}/{suite.collection}"
    for path in sorted((tree / directory).iterdir()):
        name = f"{directory}/{path.name}"
        if path.is_file() and name not in changed and _NAMES_LIBRARIES.fullmatch(path.name):
            yield path.read_text(errors="replace")
    for name, content in changed.items():
        place, _, last = name.rpartition("/")
        if content and place == directory and _NAMES_LIBRARIES.fullmatch(last):
            yield content.data.decode("utf-8", "replace")


# ---- Building -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _KselftestWork:
    """One build in a directory of its own, which goes afterwards."""

    suite: Suite
    arch: Arch
    chain: Toolchain
    libraries: Sequence[StaticLibrary]
    scratch: Path
    progress: Progress

    @property
    def src(self) -> Path:
        return self.scratch / "src"

    @property
    def hidden(self) -> Path:
        """The headers in the place of those that a host may have of libraries that did not build."""
        return self.scratch / "hidden"

    @property
    def out(self) -> Path:
        """Of one collection: where its makefile puts what it makes."""
        return self.scratch / "out" / "kselftest" / self.suite.collection

    @property
    def installed(self) -> Path:
        return self.scratch / "installed"

    def unpack(self, tree: Path, changed: Mapping[str, Content | None]) -> None:
        """Make the tree, with copies of the selftests, in whose directories their makefiles write."""
        self.progress(f"{self.suite.name}: copying the tree")
        unpacked.link_tree(tree, self.src, own=(SELFTESTS,), changed=changed)

    def make(self) -> Mapping[str, str]:
        """Build and install; program -> why it is not there."""
        self._make(self.src, self.arch.kernel_arch, ["headers"], check=True)
        selftests, reasons = self.src / SELFTESTS, dict[str, str]()
        for _ in range(PASSES):
            lines = self._make(selftests, self._arch, ["install"], check=False)
            reasons |= build_log.failures(lines)
            absent = [path for path in self._wanted() if not path.exists()]
            if not absent:
                break
            first = next(iter(reasons.values()), "its makefile does not say why")
            for path in absent:
                _stand_in(path, reasons.setdefault(path.name, first))
        if not (self.installed / "kselftest-list.txt").is_file():
            raise BuildError(f"{self.suite.word} did not build for {self.arch.name}", excerpt="\n".join(lines[-25:]))
        not_built = {}
        for path in self._wanted():
            if path.name in reasons:
                not_built[path.name] = reasons[path.name]
        return not_built

    @property
    def _arch(self) -> str:
        return self.arch.suite_arch or self.arch.kernel_arch

    @property
    def _paths(self) -> Iterator[str]:
        """Yield the compiler's options for the directories of this build and of the libraries."""
        yield f"-ffile-prefix-map={self.src}=."
        for library in self.libraries:
            yield f"-ffile-prefix-map={library.path}=lib{library.name}"
            yield f"-L{library.path / 'lib'}"

    def _make(self, directory: Path, arch: str, words: Sequence[str], *, check: bool) -> list[str]:
        """Run make; what it said."""
        variables = {
            "O": str(self.scratch / "out"),
            "ARCH": arch,
            "CROSS_COMPILE": self.chain.prefix,
            # In CC, since some makefiles' own rules know no LDFLAGS. No program has a path of this directory in it.
            "CC": " ".join((self.chain.cc, "-static", "-s", *self.chain.ldflags, *self._paths)),
            "TARGETS": self.suite.collection,
            "KSFT_INSTALL_PATH": str(self.installed),
            # Modules: guests' kernels load none.
            "TEST_GEN_MODS_DIR": "",
        }
        # Not in CC: mm's check_config.sh takes the first word of CC for the compiler.
        headers = [library.path / "include" for library in self.libraries]
        headers += [self.hidden] * self.hidden.is_dir()
        if headers:
            variables["C_INCLUDE_PATH"] = ":".join(map(str, headers))
        argv = ["make", "--directory", str(directory), "--keep-going", f"--jobs={toolchain.jobs()}"]
        argv += ["--output-sync=target", *(f"{name}={value}" for name, value in variables.items()), *words]

        return step.run(
            argv,
            cwd=self.scratch,
            failure=f"{self.suite.word}: make {words[0]} failed for {self.arch.name}",
            timeout_s=BUILD_S,
            label=self.suite.name,
            progress=self.progress,
            check=check,
            nice=NICE,
        )

    def _wanted(self) -> list[Path]:
        """Every file that the collection's makefile wants to make."""
        names = " ".join(f"$({name})" for name in LISTS)
        rule = f"pagelab-wanted:;@printf 'pagelab %s\\n' {names}"
        lines = self._make(
            self.src / SELFTESTS / self.suite.collection,
            self._arch,
            [f"OUTPUT={self.out}", f"--eval={rule}", "pagelab-wanted"],
            check=False,
        )
        wanted: dict[str, Path] = {}
        for line in lines:
            name = line.removeprefix("pagelab ")
            if line.startswith("pagelab ") and name.strip():
                wanted[name] = self.out / name
        return list(wanted.values())


def _stand_in(path: Path, why: str) -> None:
    """In place of a program: one that skips, with the reason."""
    path.parent.mkdir(parents=True, exist_ok=True)
    quoted = why.replace("'", "").replace("\\", "")
    path.write_text(f"#!/bin/sh\necho '# SKIP not built: {quoted}'\nexit 4\n")
    path.chmod(0o755)


# ---- What there is to run -------------------------------------------------------------------------------------------


def _tests(suite: Suite, tree: Path) -> tuple[Test, ...]:
    """The tests of an installed collection, in the order of its list."""
    directory = tree / suite.collection
    timeout_s = timeout_of(directory / "settings")
    tests: dict[str, Test] = {}
    for program in _listed_programs(tree / "kselftest-list.txt"):
        for test in _tests_of_program(suite, directory, program, timeout_s):
            tests[test.name] = test
    return tuple(tests.values())


def _listed_programs(path: Path) -> Iterable[str]:
    """Return the programs that the lines `collection:program` of a list name, each once."""
    programs = [line.partition(":")[2].strip() for line in path.read_text().splitlines()]
    return dict.fromkeys(filter(None, programs))


def _tests_of_program(suite: Suite, directory: Path, name: str, timeout_s: float) -> Iterator[Test]:
    if why := lacking(directory / name):
        yield skipped(name, why)
        return
    whole = Test(
        name=file_name(name),
        style="kselftest",
        timeout_s=timeout_s,
        directory=suite.collection,
        command=f"exec ./{name}",
    )
    categories: tuple[str, ...] = ()
    if name == VMTESTS:
        categories = _categories(directory / name)
    for category in categories:
        yield Test(
            name=f"{file_name(name)}:{file_name(category)}",
            style="kselftest",
            timeout_s=timeout_s,
            directory=suite.collection,
            command=f"exec ./{name} -t {category}",
        )
    if not categories:
        yield whole


def _categories(script: Path) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_CATEGORY.findall(script.read_text(errors="replace"))))


def timeout_of(settings: Path) -> float:
    """Seconds that a collection's `settings` give each of its tests; kselftest's own default without one."""
    try:
        text = settings.read_text(errors="replace")
    except OSError:
        return built.DEFAULT_S
    match = re.search(r"^timeout=(\d{1,6})\s*$", text, re.MULTILINE)
    if not match:
        return built.DEFAULT_S
    return float(match[1]) or built.ENDLESS_S
