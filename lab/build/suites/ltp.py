# SPDX-License-Identifier: GPL-2.0-or-later
"""The Linux Test Project, from a tree that the user has: its sources, or what `make install` made of them.

A file of runtest/ names a test and its command on each line. Of a source tree only the directories are built in which
these commands lie; of an installed one the programs are taken as they are, where they are static and for the machine.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from lab.arch.record import Arch
from lab.build import step, toolchain
from lab.build.suites import built
from lab.build.suites.built import Built, Test, interpreter, lacking, skipped
from lab.build.toolchain import Toolchain
from lab.core import proc
from lab.core.cache import Cache, digest
from lab.core.errors import UsageError, did_you_mean
from lab.core.progress import Progress
from lab.formats import build_log, elf, elf_program
from lab.specs.suite import Suite, file_name

ENTRY = "suite"
RECIPE = "2"
BUILD_S = 3600.0
TEST_S = 120.0
"""LTP's own tests give up after 30 seconds, its older ones never."""
NICE = 10
BIN = Path("testcases", "bin")
SUPPORT = ("testcases/lib",)
"""Directories of what shell tests call."""
_COMMAND = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class LtpLine:
    """One line of a runtest file."""

    tag: str
    command: str

    @property
    def programs(self) -> tuple[str, ...]:
        """The programs that the line calls, in order: the first word of each command, if it is a program's name."""
        called = []
        for command in self.command.split(";"):
            words = command.split()
            if words and _COMMAND.fullmatch(words[0]):
                called.append(words[0])
        return tuple(called)


def tests_of(suite: Suite) -> tuple[LtpLine, ...]:
    """Return the lines that the suite's filter selects; UsageError if a file or the tests are missing."""
    directory = Path(suite.path) / "runtest"
    if not directory.is_dir():
        raise UsageError(f"--suite {suite.word}: no tree of LTP: it has no runtest/", hint=f"looked in {suite.path}")
    file, _, chosen = suite.filter.partition("/")
    names = _runtest_files(directory)
    files = [name for name in names if fnmatchcase(name, file)]
    if not files:
        meant = did_you_mean(file, names)
        raise UsageError(
            f"--suite {suite.word}: no file {file!r} in its runtest/{meant}", hint=f"choices: {', '.join(names)}"
        )
    wanted: dict[str, LtpLine] = {}
    tags = []
    for name in files:
        for line in parse((directory / name).read_text(errors="replace")):
            tags.append(line.tag)
            if fnmatchcase(line.tag, chosen or "*"):
                wanted[line.tag] = line
    if not wanted:
        meant = did_you_mean(chosen, tags)
        raise UsageError(f"--suite {suite.word}: no test {chosen!r} in runtest/{', '.join(files)}{meant}")
    return tuple(wanted.values())


def _runtest_files(directory: Path) -> list[str]:
    """Return the names of the files in runtest/ that list tests, sorted."""
    names = {path.name for path in directory.iterdir() if path.is_file()}
    return sorted(names - {"Makefile"})


def parse(text: str) -> Iterator[LtpLine]:
    """Yield the lines `tag command arguments` of a runtest file."""
    for line in text.splitlines():
        tag, command = [*line.split(None, 1), "", ""][:2]
        if command and not tag.startswith("#"):
            yield LtpLine(tag=tag, command=command.strip())


def build(suite: Suite, arch: Arch, *, cache: Cache, progress: Progress) -> Built:
    """Return the tests built for an architecture; BuildError if LTP's own configuration fails."""
    lines, place, chain = tests_of(suite), Path(suite.path), toolchain.find(arch)
    installed = (place / BIN).is_dir()
    if not installed and not (place / "configure").is_file():
        hint = "expected its ./configure, or ./testcases/bin"
        if (place / "configure.ac").is_file():
            hint = f"make -C {place} autotools"
        raise UsageError(f"--suite {suite.word}: neither installed nor ready to be configured", hint=hint)
    wanted = [f"{line.tag} {line.command}" for line in lines]
    key = digest(RECIPE, *_signature(place), *wanted, chain.prefix, chain.key)

    def make(entry: Path) -> None:
        tree = entry / built.TREE
        programs: set[str] = set()
        for line in lines:
            programs.update(line.programs)
        (tree / BIN).mkdir(parents=True)
        if installed:
            reasons = _take(place / BIN, tree / BIN, _sample(chain, cache))
        else:
            with cache.scratch("suite") as scratch:
                reasons = _LtpWork(suite, chain, scratch, progress).make(place, programs, tree / BIN)
        absent = {}
        for name in sorted(programs):
            if not (tree / BIN / name).exists():
                absent[name] = reasons.get(name, "it is not in this tree")
        built.write(entry, tuple(_test(line, tree, absent) for line in lines), absent)

    return built.read(cache.entry(ENTRY, key, make, waiting=lambda: progress(f"waiting for another {suite.name}")))


def _test(line: LtpLine, tree: Path, absent: Mapping[str, str]) -> Test:
    """Return the test of a line: a skipped one if a program that it calls is missing or cannot run."""
    for name in line.programs:
        if name in absent:
            return skipped(line.tag, f"not built: {absent[name]}")
        if why := lacking(tree / BIN / name):
            return skipped(line.tag, why)
    return Test(name=file_name(line.tag), style="ltp", timeout_s=TEST_S, directory=str(BIN), command=line.command)


def _signature(place: Path) -> Iterator[str]:
    """Yield the name, size and time of every file of the user's tree."""
    for directory, below, names in os.walk(place):
        below[:] = sorted(set(below) - {".git"})
        for name in sorted(names):
            path = Path(directory, name)
            status = path.lstat()
            yield f"{path.relative_to(place)} {status.st_size} {status.st_mtime_ns}"


# ---- Installed ------------------------------------------------------------------------------------------------------


def _sample(chain: Toolchain, cache: Cache) -> bytes:
    """Return an object file for the machine."""
    with cache.scratch("sample") as scratch:
        (scratch / "a.c").write_text("int a;\n")
        proc.run([chain.cc, "-c", "-o", "a.o", "a.c"], cwd=scratch, timeout_s=60)
        return (scratch / "a.o").read_bytes()


def _take(origin: Path, into: Path, sample: bytes) -> dict[str, str]:
    """Copy the files that run in a guest; return each other file's name -> the reason why it does not."""
    reasons: dict[str, str] = {}
    for path in sorted(origin.rglob("*")):
        if not path.is_file():
            continue
        target = into / path.relative_to(origin)
        content = path.read_bytes()
        kind = elf.machine(content)
        if kind and kind != elf.machine(sample):
            reasons[path.name] = "it is for another machine"
        elif kind and elf_program.wants_loader(content):
            reasons[path.name] = "it is linked dynamically, and guests have no libraries"
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
    return reasons


# ---- From source ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _LtpWork:
    """One build in a scratch directory of its own, which is deleted afterwards."""

    suite: Suite
    chain: Toolchain
    scratch: Path
    progress: Progress

    def make(self, place: Path, programs: Iterable[str], into: Path) -> dict[str, str]:
        """Build the directories of the programs and copy the results; return name -> why it did not build."""
        src = self.scratch / "src"
        self.progress(f"{self.suite.name}: copying the tree")
        shutil.copytree(place, src, symlinks=True, ignore=shutil.ignore_patterns(".git", "*.o", "*.a"))
        host = []
        if self.chain.target:
            host.append(f"--host={self.chain.target}")
        cc = " ".join((self.chain.cc, "-static", "-s", *self.chain.ldflags))
        self._run(["sh", "./configure", *host, f"CC={cc}", "--prefix=/lab"], src, check=True)
        directories = list(dict.fromkeys((*SUPPORT, *_directories(src, set(programs)))))
        reasons: dict[str, str] = {}
        for directory in directories:
            words = ["make", "--keep-going", f"--jobs={toolchain.jobs()}", "--output-sync=target"]
            reasons |= build_log.failures(self._run([*words, "--directory", directory], src, check=False))
        for directory in directories:
            _collect(src / directory, into)
        return reasons

    def _run(self, argv: Sequence[str], src: Path, *, check: bool) -> list[str]:
        return step.run(
            argv,
            cwd=src,
            failure=f"{self.suite.word}: {argv[0]} failed",
            timeout_s=BUILD_S,
            label=f"{self.suite.name} {argv[-1]}",
            progress=self.progress,
            check=check,
            nice=NICE,
        )


def _directories(src: Path, programs: set[str]) -> list[str]:
    """Return the directories below testcases/ with a makefile and a program's source: NAME.c, NAME.sh or NAME."""
    directories = []
    for place, below, names in os.walk(src / "testcases"):
        below.sort()
        stems = {name.removesuffix(".c") for name in names}
        if stems & programs and "Makefile" in names:
            directories.append(str(Path(place).relative_to(src)))
    return directories


def _collect(directory: Path, into: Path) -> None:
    """Copy the programs and scripts of a directory."""
    for path in sorted(directory.iterdir()):
        if not path.is_file() or path.suffix in (".c", ".h", ".o", ".a", ".mk", ".d"):
            continue
        content = path.read_bytes()
        program = elf.machine(content) is not None and os.access(path, os.X_OK)
        if program or path.suffix == ".sh" or interpreter(path):
            shutil.copy2(path, into / path.name)
