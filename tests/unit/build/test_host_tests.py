# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/build/suites/host_tests.py: a toy tree's programs run here, and a guest's test repeats the result."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from lab.build.suites import host_tests
from lab.build.suites.built import Built
from lab.core.cache import Cache
from lab.core.errors import BuildError, UsageError
from lab.core.progress import silent
from lab.formats.patches.patch import Content
from lab.specs.suite import Suite, parse

VMA, RADIX = host_tests.DIRECTORIES
MAKEFILE = "TARGETS = {}\n\nall: $(TARGETS)\n\n%: %.c\n\tcc -o $@ $<\n"
PASSES = """\
int printf(const char *, ...);
#include "../../../mm/vma.c"
int main(void) { printf("%s", TEXT); return STATUS; }
"""
NAMES = "#if 0\n\tTEST(merge);\n\tTEST(split);\n#endif\n"


def program(main: str) -> str:
    return f"int puts(const char *);\nint main(void) {{ {main} }}\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with two programs that pass and one that does not compile."""
    root = tmp_path / "tree"
    files = {
        f"{VMA}/Makefile": MAKEFILE.format("vma"),
        f"{VMA}/vma.c": PASSES + NAMES,
        f"{RADIX}/Makefile": MAKEFILE.format("xarray broken"),
        f"{RADIX}/xarray.c": program('puts("XArray: 7 of 7 tests passed"); return 0;'),
        f"{RADIX}/broken.c": "int main(void) { return undeclared; }\n",
        "mm/vma.c": '#define TEXT "2 tests run, 2 passed, 0 failed.\\n"\n#define STATUS 0\n',
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def build(tree: Path, cache: Cache, changed: Mapping[str, Content | None] | None = None) -> Built:
    return host_tests.build(parse("vma"), tree, changed or {}, source="0", cache=cache, progress=silent)


def repeated(made: Built, name: str) -> subprocess.CompletedProcess[str]:
    """Do what the guest's shell does with a test."""
    test = next(test for test in made.tests if test.name == name)
    where = made.tree / test.directory
    return subprocess.run(["sh", "-c", test.command], cwd=where, capture_output=True, text=True, check=False)


def test_the_word() -> None:
    assert parse("vma") == Suite(kind="vma", name="vma")
    assert parse("vma").word == "vma"
    with pytest.raises(UsageError, match=r"expected kselftest-COLLECTION.*; did you mean 'vma'"):
        parse("vmas")
    with pytest.raises(UsageError, match="did you mean 'kselftest'"):
        parse("kselftst-mm")


def test_programs_run_here_and_a_guest_repeats_what_they_printed(tree: Path, tmp_path: Path) -> None:
    made = build(tree, Cache(tmp_path / "cache"))
    assert [test.name for test in made.tests] == ["vma", "xarray", "broken"]
    vma = repeated(made, "vma")
    assert vma.returncode == 0
    assert vma.stdout.splitlines()[1:] == ["KTAP version 1", "1..2", "ok 1 merge", "ok 2 split"]
    assert repeated(made, "xarray").stdout == "XArray: 7 of 7 tests passed\n"
    assert made.tests[2].style == "skip"
    assert made.not_built["broken"].startswith("broken.c:1:")
    assert "undeclared" in made.not_built["broken"]
    assert str(tmp_path) not in made.not_built["broken"]


def test_a_series_that_breaks_it_fails_by_name(tree: Path, tmp_path: Path) -> None:
    text = '#define TEXT "Test split FAILED\\n2 tests run, 1 passed, 1 failed.\\n"\n#define STATUS 1\n'
    cache = Cache(tmp_path / "cache")
    made = build(tree, cache, {"mm/vma.c": Content(data=text.encode())})
    vma = repeated(made, "vma")
    assert vma.returncode == 1
    assert vma.stdout.splitlines()[-2:] == ["ok 1 merge", "not ok 2 split"]
    assert made.key != build(tree, cache).key
    assert made.key == build(tree, cache, {"mm/vma.c": Content(data=text.encode()), "net/x.c": None}).key


@pytest.mark.parametrize(
    ("main", "printed"),
    [
        ('puts("XArray: 6 of 7 tests passed"); return 0;', "exit status 0, but 6 of 7 tests passed"),
        ("__builtin_trap();", "ended by signal"),
        ('puts("half"); return 4;', "exit status 4"),
        ("return 3;", ""),
    ],
)
def test_what_is_no_success(tree: Path, tmp_path: Path, main: str, printed: str) -> None:
    (tree / RADIX / "xarray.c").write_text(program(main))
    done = repeated(build(tree, Cache(tmp_path / "cache")), "xarray")
    assert done.returncode not in (0, host_tests.SKIPPED)
    assert printed in done.stdout


def test_a_program_that_does_not_end_is_a_failure(tmp_path: Path) -> None:
    endless = tmp_path / "endless"
    endless.write_text("#!/bin/sh\necho begun\nsleep 60\n")
    endless.chmod(0o755)
    output, status = host_tests.run(endless, timeout_s=0.5)
    assert status == 1
    assert output.splitlines()[0] == "begun"
    assert "not done within" in output


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        (["3 tests run, 3 passed, 0 failed."], ["a", "b"]),
        (["2 tests run, 1 passed, 1 failed."], ["a", "b"]),
        (["Test c FAILED", "2 tests run, 1 passed, 1 failed."], ["a", "b"]),
        ([], ["a", "b"]),
    ],
    ids=["a name is missing", "none failed by name", "an unknown one failed", "no total"],
)
def test_no_result_by_name_without_proof(lines: list[str], names: list[str]) -> None:
    assert list(host_tests.ktap(lines, names)) == []


def test_a_tree_without_them(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"kernel 6\.1 has none of tools/testing/vma, tools/testing/radix-tree"):
        host_tests.check(parse("vma"), tmp_path, "6.1")
    host_tests.check(parse("vma"), tree, "6.12")


def test_nothing_was_built(tree: Path, tmp_path: Path) -> None:
    for name in ("vma", "xarray"):
        path = next(tree.rglob(f"testing/*/{name}.c"))
        path.write_text("int main(void) { return undeclared; }\n")
    with pytest.raises(BuildError, match="no program was built"):
        build(tree, Cache(tmp_path / "cache"))
