# SPDX-License-Identifier: GPL-2.0-or-later
"""KUnit as a suite: the names in a kernel's source, the script that prints what debugfs has, and what the lab reads."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

from lab.build.source import Source
from lab.build.suites import kunit, prepare
from lab.build.suites.kunit import Declared
from lab.build.suites.tree import SuiteTree
from lab.core import paths
from lab.core.cache import Cache
from lab.core.errors import UsageError
from lab.formats import kconfig, ktap
from lab.formats.patches.patch import Content
from lab.specs import suite
from lab.specs.arches import ARCHES
from lab.specs.library import Library
from lab.specs.model import Kernel
from lab.specs.plan import Filters
from lab.verdicts import suites

PASSED = """\
KTAP version 1
1..1
    KTAP version 1
    # Subtest: list-toy
    # module: list_toy
    1..2
    ok 1 list_init
        KTAP version 1
        # Subtest: list_sizes
        ok 1 one
        ok 2 two
    # list_sizes: pass:2 fail:0 skip:0 total:2
    ok 2 list_sizes
# list-toy: pass:2 fail:0 skip:0 total:2
ok 1 list-toy
"""
FAILED = """\
KTAP version 1
1..1
    KTAP version 1
    # Subtest: hash-toy
    1..2
    ok 1 hash_empty
    # hash_full: EXPECTATION FAILED at lib/hash_toy.c:12
    not ok 2 hash_full
not ok 1 hash-toy
"""
ALL_SKIPPED = """\
KTAP version 1
1..1
    KTAP version 1
    # Subtest: big-toy
    1..1
    ok 1 huge # SKIP needs 1T
ok 1 big-toy # SKIP
"""
UNRUN = """\
KTAP version 1
1..1
    KTAP version 1
    # Subtest: idle-toy
    1..2
ok 1 idle-toy
"""
EMPTY = """\
KTAP version 1
1..1
    KTAP version 1
    # Subtest: none-toy
    1..0
ok 1 none-toy
"""
LIST_C = """\
/* An example: struct kunit_suite of_a_comment = { .name = "comment" }; */
static struct kunit_suite list_suite = {
	.name = "list-toy",
	.test_cases = list_cases,
};
kunit_test_suites(&list_suite);
"""
TWO_C = """\
static struct kunit_suite first = {
	.test_cases = cases,
	.name	= "Two words",
};

struct kunit_suite second __refdata = {
	.name = KBUILD_MODNAME,
	.test_cases = cases,
};
"""
MORE_C = 'static struct kunit_suite more = {\n\t.name = "more-toy",\n};\n'


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@dataclass(frozen=True, kw_only=True)
class ToyTree(SuiteTree):
    """A tree whose series changes what the test says."""

    series: Mapping[str, Content | None]

    @cached_property
    def changed(self) -> Mapping[str, Content | None]:
        return self.series


def toy(tmp_path: Path, series: Mapping[str, Content | None] | None = None, arch: str = "x86_64") -> ToyTree:
    path = tmp_path / "linux"
    files = {
        "lib/list-toy.c": LIST_C,
        "lib/two-toy.c": TWO_C,
        "lib/Makefile": "obj-$(CONFIG_LIST_TOY) += other.o \\\n\tlist-toy.o\nobj-y += plain.o\n",
        "arch/x86/toy.c": MORE_C.replace("more", "x86"),
        "arch/arm64/toy.c": MORE_C.replace("more", "arm64"),
        "Documentation/toy.c": MORE_C.replace("more", "documented"),
        "tools/toy.c": MORE_C.replace("more", "tools"),
    }
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    source = Source(spec="toy", key="0", version="6.12.7", sha256="toy", origin="toy", lineage="toy")
    kernel = Kernel(name="toy", source="debian:linux-source-6.12")
    return ToyTree(arch=ARCHES[arch], kernel=kernel, source=source, path=path, series=series or {})


def names(tree: SuiteTree, cache: Cache) -> list[str]:
    return [declared.name for declared in kunit.declared_in(tree, cache)]


# ---- The words that name it -----------------------------------------------------------------------------------------


def test_the_words_that_name_it() -> None:
    found = suite.parse("kunit:*list*")
    assert (found.kind, found.word, found.name, found.filter) == ("kunit", "kunit:*list*", "kunit-list", "*list*")
    assert suite.parse("kunit:*").name == "kunit"
    assert suite.parse("kunit:list*.list_add*").kunit_suites == "list*"


@pytest.mark.parametrize("word", ["kunit", "kunit:"])
def test_a_glob_is_required(word: str) -> None:
    with pytest.raises(UsageError, match=rf"^--suite {word}: which suites\? expected kunit:GLOB \(kunit:'\*' for all"):
        suite.parse(word)


@pytest.mark.parametrize("glob", ["a b", "a;b", "a.b.c", "../a", "a=b", '"', "$x"])
def test_a_glob_has_only_what_the_kernels_command_line_can_have(glob: str) -> None:
    with pytest.raises(UsageError) as caught:
        suite.parse(f"kunit:{glob}")
    assert caught.value.message.startswith(f"--suite kunit:{glob}: expected kunit:GLOB with letters")


def test_the_nearest_kind() -> None:
    with pytest.raises(UsageError, match="did you mean 'kunit'"):
        suite.parse("kunti:list*")


def test_every_kernel_has_its_configuration_and_boots_with_the_glob() -> None:
    planned = Library.shipped().plan("quick", Filters(suites=("kunit:list*.add*",)))
    for cell in planned.cells:
        assert cell.kernel.config[-2:] == ("kunit", "wish:kunit-suites")
        assert cell.topology.cmdline[-1] == "kunit.filter_glob=list*.add*"


@pytest.mark.parametrize(
    ("globs", "word"),
    [
        (("list*", "hash*"), "[hl][ai]s[ht]*"),
        (("list*", "list_sort"), "list*"),
        (("list", "list"), "list"),
        (("mm-a.add*", "mm_b.add*"), "mm[-_][ab]*.add*"),
        (("list*", "l?st"), "l*"),
        (("[ab]*", "a[!b]"), "*"),
        (("list*", "*sort"), "*"),
    ],
)
def test_kunit_takes_one_glob_so_that_it_is_given_one_that_covers_all(globs: tuple[str, ...], word: str) -> None:
    planned = Library.shipped().plan("quick", Filters(suites=tuple(f"kunit:{glob}" for glob in globs)))
    wanted = [] if word == "*" else [f"kunit.filter_glob={word}"]
    for cell in planned.cells:
        assert [each for each in cell.topology.cmdline if each.startswith("kunit.")] == wanted


def test_kunit_takes_one_glob_of_cases() -> None:
    with pytest.raises(UsageError) as caught:
        Library.shipped().plan("quick", Filters(suites=("kunit:list*.add*", "kunit:hash*")))
    assert caught.value.message == (
        "--suite kunit:list*.add* --suite kunit:hash*: expected the same cases behind the dot of each, "
        "as a kernel takes one glob for them"
    )


def test_a_machine_of_another_suite_boots_as_before() -> None:
    shipped = Library.shipped()
    plain, with_suite = shipped.plan("quick"), shipped.plan("quick", Filters(suites=("kselftest-mm",)))
    assert [cell.topology for cell in plain.cells] == [cell.topology for cell in with_suite.cells]


def test_two_suites_whose_results_would_have_one_name() -> None:
    with pytest.raises(UsageError, match=r"--suite kunit:list: its results would have the same name.*: kunit-list"):
        Library.shipped().plan("quick", Filters(suites=("kunit:list*", "kunit:list")))


def test_cases_that_oops_on_purpose_are_not_in_its_kernels() -> None:
    text = (paths.images() / "config" / "kunit-suites.config").read_text()
    asked = {request.symbol: request.value for request in kconfig.parse_wishes(text, "kunit-suites")}
    assert asked["KUNIT_FAULT_TEST"] == "n"
    assert asked["KUNIT_ALL_TESTS"] == "y"
    assert kconfig.parse_fragment(text, "kunit-suites")


# ---- The names in a tree --------------------------------------------------------------------------------------------


def test_the_suites_that_a_tree_declares(tmp_path: Path, cache: Cache) -> None:
    assert kunit.declared_in(toy(tmp_path), cache) == (
        Declared(name="Two words", file="lib/two-toy.c", symbol=""),
        Declared(name="list-toy", file="lib/list-toy.c", symbol="CONFIG_LIST_TOY"),
        Declared(name="two_toy", file="lib/two-toy.c", symbol=""),
        Declared(name="x86-toy", file="arch/x86/toy.c", symbol=""),
    )


def test_an_architecture_has_its_own_code_alone(tmp_path: Path, cache: Cache) -> None:
    assert "arm64-toy" in names(toy(tmp_path, arch="arm64"), cache)
    assert "x86-toy" not in names(toy(tmp_path, arch="arm64"), cache)


def test_an_architecture_whose_directory_has_another_name_keeps_all(tmp_path: Path, cache: Cache) -> None:
    assert {"x86-toy", "arm64-toy"} <= set(names(toy(tmp_path, arch="i386"), cache))


def test_a_series_adds_and_removes_suites(tmp_path: Path, cache: Cache) -> None:
    series = {"mm/more.c": Content(data=MORE_C.encode()), "lib/list-toy.c": None}
    assert "list-toy" in names(toy(tmp_path), cache)
    changed = names(toy(tmp_path, series), cache)
    assert "more-toy" in changed
    assert "list-toy" not in changed


def test_each_suite_that_the_glob_matches_is_a_test(tmp_path: Path, cache: Cache) -> None:
    made = kunit.build(suite.parse("kunit:*o*.any_case"), toy(tmp_path), cache=cache)
    assert [test.name for test in made.tests] == ["Two-words", "list-toy", "two_toy", "x86-toy"]


def test_a_glob_that_matches_no_suite_of_any_tree(tmp_path: Path, cache: Cache) -> None:
    plain, series = toy(tmp_path), {"mm/more.c": Content(data=MORE_C.encode())}
    with pytest.raises(UsageError) as caught:
        kunit.check(suite.parse("kunit:lits-toy*"), [plain], cache)
    assert caught.value.message == (
        "--suite kunit:lits-toy*: none of the 4 KUnit suites of kernel 6.12.7 has such a name; "
        "did you mean 'kunit:list-toy'?"
    )
    with pytest.raises(UsageError):
        kunit.check(suite.parse("kunit:more*"), [plain], cache)
    kunit.check(suite.parse("kunit:more*"), [plain, toy(tmp_path, series)], cache)


def test_a_tree_without_suites(tmp_path: Path, cache: Cache) -> None:
    empty = toy(tmp_path / "x")
    (tmp_path / "empty").mkdir()
    bare = ToyTree(arch=empty.arch, kernel=empty.kernel, source=empty.source, path=tmp_path / "empty", series={})
    with pytest.raises(UsageError, match=r"kernel 6\.12\.7 has no KUnit suites"):
        kunit.check(suite.parse("kunit:*"), [bare], cache)


def test_there_is_an_entry_for_each_kind_of_suite() -> None:
    assert set(prepare.KINDS) == {"kselftest", "vma", "kunit", "ltp"}


# ---- What a guest prints --------------------------------------------------------------------------------------------


@pytest.fixture
def debugfs(tmp_path: Path) -> Path:
    documents = {
        "list-toy": PASSED,
        "hash-toy": FAILED,
        "big-toy": ALL_SKIPPED,
        "idle-toy": UNRUN,
        "none-toy": EMPTY,
        "Two words": PASSED.replace("list-toy", "Two words"),
    }
    for name, text in documents.items():
        place = tmp_path / "kunit" / name
        place.mkdir(parents=True)
        (place / "results").write_text(text)
    return tmp_path


def printed(name: str, debugfs: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    script = paths.images() / "suite" / kunit.SCRIPT
    words = ["sh", str(script), name, "lib/toy.c is built with CONFIG_TOY", str(debugfs)]
    environment["PATH"] = os.environ["PATH"]
    return subprocess.run(words, capture_output=True, text=True, check=False, env=environment)


def test_a_suite_runs_again_while_lines_are_counted(debugfs: Path) -> None:
    again = debugfs / "kunit/list-toy/run"
    again.write_text("")
    assert printed("list-toy", debugfs).returncode == 0
    assert not again.read_text(), "it ran while the kernel booted, and nobody counts"
    done = printed("list-toy", debugfs, LAB_GCOV="/tmp/counters")
    assert (done.returncode, again.read_text()) == (0, "1\n")
    assert "ok 1 list_init" in done.stdout


def test_a_suite_that_cannot_run_again_is_skipped_while_lines_are_counted(debugfs: Path) -> None:
    done = printed("list-toy", debugfs, LAB_GCOV="/tmp/counters")
    assert done.returncode == 4
    assert done.stdout == (
        "# SKIP lines are not counted: list-toy ran while the kernel booted, and this kernel cannot run it again\n"
    )


def labels(text: str, test: str) -> dict[str, bool]:
    """Return the results within a test as the lab names them."""
    found = {}
    document = ktap.parse(f"KTAP version 1\n1..1\n{_indented(text)}ok 1 {test}\n")
    assert {defect.flaw for defect in document.defects} <= {ktap.Flaw.NESTED_NO_PLAN}
    for result in document.results:
        for label, child in suites.nested(result.name, result.children):
            found[label] = child.ok
    return found


def _indented(text: str) -> str:
    return "".join(f"  {line}\n" for line in text.splitlines())


def test_cases_are_results_within_their_suite(debugfs: Path) -> None:
    done = printed("list-toy", debugfs)
    assert done.returncode == 0
    assert labels(done.stdout, "list-toy") == {
        "list-toy/list_init": True,
        "list-toy/list_sizes": True,
        "list-toy/list_sizes/one": True,
        "list-toy/list_sizes/two": True,
    }
    assert printed("Two words", debugfs).returncode == 0


def test_parameters_with_a_plan_are_held_to_it(debugfs: Path) -> None:
    results = debugfs / "kunit/list-toy/results"
    results.write_text(PASSED.replace("        ok 1 one\n", "        1..3\n        ok 1 one\n"))
    text = printed("list-toy", debugfs).stdout
    document = ktap.parse(f"KTAP version 1\n1..1\n{_indented(text)}ok 1 list-toy\n")
    assert document.defects
    results.write_text(results.read_text().replace("1..3", "1..2"))
    assert labels(printed("list-toy", debugfs).stdout, "list-toy")["list-toy/list_sizes/two"]


def test_a_case_that_fails_fails_its_suite(debugfs: Path) -> None:
    done = printed("hash-toy", debugfs)
    assert done.returncode == 1
    assert "# hash_full: EXPECTATION FAILED at lib/hash_toy.c:12" in done.stdout
    assert labels(done.stdout, "hash-toy") == {"hash-toy/hash_empty": True, "hash-toy/hash_full": False}


def test_a_suite_that_skips(debugfs: Path) -> None:
    assert printed("big-toy", debugfs).returncode == 4


@pytest.mark.parametrize(
    ("name", "reason"),
    [("idle-toy", "# 0 of the 2 results of idle-toy are in debugfs"), ("none-toy", "# none-toy has no cases")],
)
def test_a_suite_without_its_results_is_no_success(debugfs: Path, name: str, reason: str) -> None:
    done = printed(name, debugfs)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == reason


def test_a_result_that_is_lost_is_no_success(debugfs: Path) -> None:
    place = debugfs / "kunit/list-toy/results"
    place.write_text(PASSED.replace("    ok 2 list_sizes\n", ""))
    assert printed("list-toy", debugfs).returncode == 1


def test_a_suite_that_the_kernel_does_not_have_says_what_it_takes(debugfs: Path) -> None:
    done = printed("lost-toy", debugfs)
    reason = "# SKIP not built: this kernel has no such suite; lib/toy.c is built with CONFIG_TOY\n"
    assert (done.returncode, done.stdout) == (4, reason)


def test_a_kernel_without_kunit_skips(tmp_path: Path) -> None:
    done = printed("list-toy", tmp_path / "none")
    assert done.returncode == 4
    assert done.stdout.startswith("# SKIP the kernel has no KUnit in ")
