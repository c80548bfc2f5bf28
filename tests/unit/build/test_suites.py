# SPDX-License-Identifier: GPL-2.0-or-later
"""Suites of others: their names, their toy builds, and what their results are measured by."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from junitparser import JUnitXml
from kcidb_io import schema as kcidb

from lab.arch.record import Arch
from lab.build import kernel, toolchain
from lab.build.suites import built as made
from lab.build.suites import kselftest, ltp
from lab.build.suites.prepare import Suites, check
from lab.core.cache import Cache
from lab.core.errors import UsageError
from lab.core.outcome import Cause, CellKey, Delta, End, Expected, Outcome, Run
from lab.evidence.metadata import Evidence, Provenance
from lab.formats import build_log, elf_program, kconfig, ktap
from lab.formats.patches.patch import Content
from lab.report import _data, text
from lab.report import _words as words
from lab.report import registry as report
from lab.run import campaign
from lab.specs import suite
from lab.specs.arches import ARCHES
from lab.specs.library import Library
from lab.specs.plan import Filters, resolve_cases
from lab.verdicts import suites
from lab.verdicts.compare import EXIT_INCOMPLETE, EXIT_MET, EXIT_NOT_MET, Summary, conclude
from lab.verdicts.place import find
from lab.workflows.replay import prepare
from tests.unit.fixtures.evidence import cell, metadata, recorded

MM = "kselftest-mm"
NATIVE = next((arch for arch in ARCHES.values() if toolchain.is_native(arch)), None)
needs_make = pytest.mark.skipif(
    NATIVE is None or not all(map(shutil.which, ("gcc", "make"))), reason="no native compiler the lab knows, or no make"
)


def quiet(detail: str, *, done: float | None = None) -> None:
    """No progress."""


@pytest.fixture
def native() -> Arch:
    assert NATIVE is not None
    return NATIVE


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def error_of(word: str) -> str:
    with pytest.raises(UsageError) as caught:
        suite.parse(word)
    return caught.value.message


# ---- Names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "name", "collection"), [(MM, MM, "mm"), ("kselftest-net/lib", "kselftest-net-lib", "net/lib")]
)
def test_a_collection_by_its_name(word: str, name: str, collection: str) -> None:
    found = suite.parse(word)
    assert (found.kind, found.name, found.collection, found.word) == ("kselftest", name, collection, word)
    assert found.fragments == (f"wish:{name}", f"tree:tools/testing/selftests/{collection}/config")


def test_ltp_by_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ltp").mkdir()
    assert suite.parse("ltp:ltp").word == f"ltp:{tmp_path}/ltp:mm"
    assert suite.parse("ltp:ltp:mm/mmap*").filter == "mm/mmap*"


KINDS = "expected kselftest-COLLECTION (kselftest-mm, kselftest-net/lib), vma, kunit:GLOB or ltp:PATH[:FILTER]"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("mm", f"--suite mm: {KINDS}"),
        ("", f"--suite : {KINDS}"),
        ("kselftest", f"--suite kselftest: which collection? {KINDS}"),
        ("kselftest-", f"--suite kselftest-: which collection? {KINDS}"),
        ("kselftest-../../etc", f"--suite kselftest-../../etc: which collection? {KINDS}"),
        ("kselftest-mm;reboot", f"--suite kselftest-mm;reboot: which collection? {KINDS}"),
        ("ltp", "--suite ltp: where is it? expected ltp:PATH[:FILTER]"),
        (
            "ltp:/no/such",
            "--suite ltp:/no/such: expected a directory with a tree of LTP, got nothing there: /no/such",
        ),
    ],
)
def test_a_word_that_names_no_suite(word: str, message: str) -> None:
    assert error_of(word) == message


def test_a_suite_takes_the_place_of_the_scenarios_and_is_wished_for_in_every_kernel() -> None:
    planned = Library.shipped().plan("quick", Filters(suites=(MM,)))
    assert [each.name for each in planned.suites] == [MM]
    assert {each.scenario for cell in planned.cells for each in cell.scenarios} == {MM}
    assert all(cell.kernel.config[-2:] == suite.parse(MM).fragments for cell in planned.cells)


@pytest.mark.parametrize(
    ("tests", "words"),
    [
        ((), ()),
        (("mremap*",), ("kselftest-mm.mremap*", "ltp-mm.mremap*")),
        (("kselftest-mm", "ltp*.mmap01"), ("kselftest-mm", "ltp*.mmap01")),
        (("run_vmtests.sh:cow",), ("kselftest-mm.run_vmtests.sh:cow", "ltp-mm.run_vmtests.sh:cow")),
    ],
)
def test_words_for_tests_of_any_suite(tmp_path: Path, tests: tuple[str, ...], words: tuple[str, ...]) -> None:
    assert suite.words_of_tests(tests, (MM, f"ltp:{tmp_path}")) == words
    assert suite.words_of_tests(tests, ()) == tests


def test_a_glob_names_what_is_behind_the_colon_of_a_test() -> None:
    planned = Library.shipped().plan("quick", Filters(suites=(MM,), tests=("mremap*",)))
    names = ["run_vmtests.sh:mremap", "run_vmtests.sh:cow", "mremap_dontunmap"]
    resolved = resolve_cases(planned, {MM: names})
    assert resolved.cells[0].scenarios[0].cases == ("run_vmtests.sh:mremap", "mremap_dontunmap")
    with pytest.raises(UsageError) as caught:
        resolve_cases(planned, {MM: ["run_vmtests.sh:cow"]})
    assert "unknown case 'mremap*'" in caught.value.message


# ---- The configuration ----------------------------------------------------------------------------------------------


def test_a_wish_gives_way_and_is_told_when_refused() -> None:
    wishes = kconfig.parse_wishes(
        "CONFIG_A=m\nCONFIG_B=y # why\nCONFIG_C=y\nrubbish\n# CONFIG_D is not set\n", "config"
    )
    merged = kconfig.merge([kconfig.parse_fragment("# CONFIG_B is not set\n", "own"), wishes])
    assert {request.symbol: request.value for request in merged} == {"A": "y", "B": "n", "C": "y", "D": "n"}
    config = {"A": "y", "D": "n"}
    assert kconfig.lost(merged, config) == ()
    assert [each.request.symbol for each in kconfig.refused(wishes, config)] == ["B", "C"]


def test_the_suites_own_fragment_is_read_from_the_kernels_tree(tmp_path: Path) -> None:
    own = tmp_path / "tools" / "testing" / "selftests" / "mm"
    own.mkdir(parents=True)
    (own / "config").write_text("CONFIG_USERFAULTFD=y\nCONFIG_TEST_VMALLOC=m\n")
    cell = Library.shipped().plan("quick", Filters(suites=(MM,))).cells[0]
    place = tmp_path / "none"
    place.mkdir()
    for name in (*cell.topology.fragments, *cell.kernel.config):
        if ":" not in name:
            (place / f"{name}.config").write_text("")
    found = [
        request
        for fragment in kernel.fragments(cell.topology, cell.kernel, place, version="6.12", tree=tmp_path)
        for request in fragment
    ]
    assert {request.symbol: request.value for request in found if request.wish} == {
        "USERFAULTFD": "y",
        "TEST_VMALLOC": "y",
    }


# ---- kselftest: a toy tree ------------------------------------------------------------------------------------------

TOP = "headers:\n\t@mkdir -p $(O)/usr/include\n"
SELFTESTS = """\
TARGETS = mm net \\
	futex
TARGETS += vDSO # a comment
install:
	+$(MAKE) --keep-going -C $(TARGETS) OUTPUT=$(O)/kselftest/$(TARGETS)
	mkdir -p $(KSFT_INSTALL_PATH)/$(TARGETS)
	cp $(O)/kselftest/$(TARGETS)/* $(TARGETS)/*.sh $(TARGETS)/settings $(KSFT_INSTALL_PATH)/$(TARGETS)
	printf "$(TARGETS):%s\\n" good bad run_vmtests.sh tool.sh > $(KSFT_INSTALL_PATH)/kselftest-list.txt
"""
COLLECTION = """\
TEST_GEN_PROGS = good bad
all: $(OUTPUT)/good $(OUTPUT)/bad
$(OUTPUT)/%: %.c
	mkdir -p $(OUTPUT)
	$(CC) -o $@ $<
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "linux"
    mm = root / suite.SELFTESTS / "mm"
    mm.mkdir(parents=True)
    (root / "Makefile").write_text(TOP)
    (mm.parent / "Makefile").write_text(SELFTESTS)
    (mm / "Makefile").write_text(COLLECTION)
    (mm / "settings").write_text("timeout=180\n")
    (mm / "good.c").write_text("int main(void) { return 0; }\n")
    (mm / "bad.c").write_text("#include <no/such/library.h>\nint main(void) { return 0; }\n")
    (mm / "run_vmtests.sh").write_text(
        '#!/bin/bash\nCATEGORY="mmap" run_test ./good\nCATEGORY="cow" run_test ./bad\nCATEGORY="mmap" run_test ./x\n'
    )
    (mm / "tool.sh").write_text("#!/usr/bin/env python3\n")
    return root


def built(tree: Path, arch: Arch, cache: Cache, changed: dict[str, Content | None] | None = None) -> made.Built:
    return kselftest.build(suite.parse(MM), tree, changed or {}, arch, source="toy", cache=cache, progress=quiet)


@needs_make
def test_what_builds_is_there_and_what_does_not_says_why(tree: Path, native: Arch, cache: Cache) -> None:
    found = built(tree, native, cache)
    assert list(found.not_built) == ["bad"]
    assert "no/such/library.h: No such file" in found.not_built["bad"]
    program = (found.tree / "mm" / "good").read_bytes()
    assert program[:4] == b"\x7fELF"
    assert not elf_program.wants_loader(program), "static"
    stand_in = (found.tree / "mm" / "bad").read_text()
    assert "# SKIP not built: " in stand_in
    assert stand_in.endswith("exit 4\n")
    assert {test.name: test.command for test in found.tests} == {
        "good": "exec ./good",
        "bad": "exec ./bad",
        "run_vmtests.sh:mmap": "exec ./run_vmtests.sh -t mmap",
        "run_vmtests.sh:cow": "exec ./run_vmtests.sh -t cow",
        "tool.sh": "needs python3, which the guest does not have",
    }
    assert {test.timeout_s for test in found.tests if test.style == "kselftest"} == {180.0}
    assert found.wants_bash
    assert not (tree / suite.SELFTESTS / "mm" / "good").exists(), "the tree of the cache stays as it was"


@needs_make
def test_a_series_that_changes_the_suite_is_built_anew_and_another_is_not(
    tree: Path, native: Arch, cache: Cache
) -> None:
    first = built(tree, native, cache)
    assert built(tree, native, cache, {"mm/shmem.c": Content(b"/* grown */\n")}).key == first.key
    mended = built(tree, native, cache, {f"{suite.SELFTESTS}/mm/bad.c": Content(b"int main(void) { return 1; }\n")})
    assert mended.key != first.key
    assert not mended.not_built


def test_a_collection_that_the_tree_does_not_have(tree: Path) -> None:
    assert kselftest.collections(tree) == ("mm", "net", "futex", "vDSO")
    kselftest.check(suite.parse(MM), tree, "6.12")
    with pytest.raises(UsageError) as caught:
        kselftest.check(suite.parse("kselftest-futx"), tree, "6.12")
    assert caught.value.message == (
        "--suite kselftest-futx: kernel 6.12 has no such collection; did you mean 'kselftest-futex'?"
    )


@pytest.mark.parametrize(
    ("settings", "seconds"), [("timeout=0\n", 600.0), ("timeout=900\n", 900.0), ("timeout=soon\n", 45.0), ("", 45.0)]
)
def test_deadlines_are_the_collections_own(tmp_path: Path, settings: str, seconds: float) -> None:
    (tmp_path / "settings").write_text(settings)
    assert kselftest.timeout_of(tmp_path / "settings") == seconds


def test_each_program_that_make_gave_up_has_its_own_reason() -> None:
    lines = [
        "a.c:1:10: fatal error: numa.h: No such file or directory",
        "make[1]: *** [../lib.mk:222: /out/kselftest/mm/a] Error 1",
        "/usr/bin/ld: cannot find -lcap: No such file or directory",
        "make[1]: *** [Makefile:9: /out/kselftest/mm/b] Error 1",
        "make[1]: *** No rule to make target 'c.h', needed by 'all'.",
    ]
    found = build_log.failures(lines)
    assert set(found) == {"a", "b", "c.h"}
    assert "numa.h" in found["a"]
    assert "-lcap" in found["b"]


@pytest.mark.parametrize(
    ("head", "name"),
    [("#!/bin/bash\n", "bash"), ("#!/usr/bin/env -S awk -f\n", "awk"), ("#! /bin/sh\n", "sh"), ("x", "")],
)
def test_interpreters(tmp_path: Path, head: str, name: str) -> None:
    (tmp_path / "x").write_text(head)
    assert made.interpreter(tmp_path / "x") == name


# ---- LTP: a toy tree ------------------------------------------------------------------------------------------------


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    root = tmp_path / "ltp"
    programs = root / "testcases" / "bin"
    programs.mkdir(parents=True)
    (root / "runtest").mkdir()
    (root / "runtest" / "mm").write_text("# comment\nmmap01 mmap01 -x\nmmap02 mmap02\ngone01 gone01\n")
    (root / "runtest" / "syscalls").write_text("brk01 brk01\n")
    for name in ("mmap01", "mmap02", "brk01"):
        (programs / name).write_text("#!/bin/sh\nexit 0\n")
    return root


@needs_make
def test_ltp_runs_what_the_user_installed(installed: Path, native: Arch, cache: Cache) -> None:
    found = ltp.build(suite.parse(f"ltp:{installed}"), native, cache=cache, progress=quiet)
    assert [(test.name, test.style, test.command) for test in found.tests] == [
        ("mmap01", "ltp", "mmap01 -x"),
        ("mmap02", "ltp", "mmap02"),
        ("gone01", "skip", "not built: it is not in this tree"),
    ]
    assert found.not_built == {"gone01": "it is not in this tree"}


CONFIGURE = """#!/bin/sh
for word in "$@"; do case $word in CC=*) echo "$word" >include.mk;; esac; done
"""
MAKEFILE = """include ../../include.mk
all: mmap03 broken01
%: %.c
\t$(CC) -o $@ $<
"""


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A tree that was never built, as `make autotools` leaves it."""
    root = tmp_path / "ltp-source"
    for below in ("runtest", "testcases/lib", "testcases/mm"):
        (root / below).mkdir(parents=True)
    (root / "runtest" / "mm").write_text("mmap03 FILE=`mktemp $TMPDIR/x.XXX`; mmap03 $FILE\nbroken01\tbroken01 -l\n")
    (root / "configure").write_text(CONFIGURE)
    (root / "configure").chmod(0o755)
    (root / "testcases" / "lib" / "Makefile").write_text("all:\n")
    (root / "testcases" / "mm" / "Makefile").write_text(MAKEFILE)
    (root / "testcases" / "mm" / "mmap03.c").write_text("int main(void) { return 0; }\n")
    (root / "testcases" / "mm" / "broken01.c").write_text("#include <nothing.h>\n")
    return root


@needs_make
def test_ltp_is_configured_and_built_from_source(sources: Path, native: Arch, cache: Cache) -> None:
    found = ltp.build(suite.parse(f"ltp:{sources}"), native, cache=cache, progress=quiet)
    assert [(test.name, test.style) for test in found.tests] == [("mmap03", "ltp"), ("broken01", "skip")]
    assert [*found.not_built] == ["broken01"]
    assert "nothing.h" in found.not_built["broken01"]
    assert not (sources / "include.mk").exists(), "the user's tree stays as it was"


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ("nm", "no file 'nm' in its runtest/; did you mean 'mm'?"),
        ("mm/mmap1", "no test 'mmap1' in runtest/mm; did you mean 'mmap01'?"),
    ],
)
def test_an_ltp_filter_that_fits_nothing(installed: Path, chosen: str, message: str) -> None:
    word = f"ltp:{installed}:{chosen}"
    with pytest.raises(UsageError) as caught:
        ltp.tests_of(suite.parse(word))
    assert caught.value.message == f"--suite {word}: {message}"


def test_a_directory_that_is_no_ltp(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        ltp.tests_of(suite.parse(f"ltp:{tmp_path}"))
    assert caught.value.message == f"--suite ltp:{tmp_path}:mm: no tree of LTP: it has no runtest/"


# ---- What results are measured by -----------------------------------------------------------------------------------

DECLARED = ("alone", "cow")


def stream(**results: str) -> str:
    """`alone`, and `cow` with its own results: `ok`, `not ok` or a skip each."""
    alone = results.pop("alone", "ok")
    inner = "".join(f"    {status} {n} {name}\n" for n, (name, status) in enumerate(results.items(), start=1))
    whole = "not ok" if "not ok" in results.values() else "ok"
    return f"KTAP version 1\n1..2\n{alone} 1 alone\n    TAP version 13\n    1..{len(results)}\n{inner}{whole} 2 cow\n"


def compared(before: str, after: str) -> Summary:
    told = {"baseline": before, "expand-fault": after}
    cells = tuple(
        cell("t", kernel=kernel, runs=(Run(scenario=MM, end=End.EXITED, status=int("not ok" in said), ktap=said),))
        for kernel, said in told.items()
    )
    cases = [{"name": name, "requires": [], "description": "", "timeout_s": 5} for name in DECLARED]
    built = {"word": MM, "not_built": {"x86_64/baseline": {"cow": "no numa.h"}}}
    meta = {**metadata(("t",), tuple(told)), "cases": {MM: cases}, "suites": {MM: built}}
    return conclude(Evidence(metadata=recorded(meta), cells=cells))


def unbuilt(
    before: dict[str, str], after: dict[str, str], cow: str = "ok 2 cow # SKIP not built: no numa.h"
) -> Summary:
    """Two kernels of which the second one's tree builds other programs; its `cow` prints that it was not built."""
    told = {"baseline": stream(pin="ok", fork="ok"), "expand-fault": f"KTAP version 1\n1..2\nok 1 alone\n{cow}\n"}
    cells = tuple(
        cell("t", kernel=kernel, runs=(Run(scenario=MM, end=End.EXITED, status=0, ktap=said),))
        for kernel, said in told.items()
    )
    cases = [{"name": name, "requires": [], "description": "", "timeout_s": 5} for name in DECLARED]
    built = {"word": MM, "not_built": {"x86_64/baseline": before, "x86_64/expand-fault": after}}
    meta = {**metadata(("t",), tuple(told)), "cases": {MM: cases}, "suites": {MM: built}}
    meta |= {"topologies": {"t": {"arch": "x86_64"}}}
    return conclude(Evidence(metadata=recorded(meta), cells=cells))


def test_a_program_that_the_patched_tree_does_not_build_is_a_regression() -> None:
    summary = unbuilt({}, {"cow": "no numa.h"})
    assert summary.exit_code == EXIT_NOT_MET
    assert outcomes(summary, "expand-fault")["cow"] == (Outcome.FAIL, Expected.PASS, False)
    assert [(each.case, each.delta) for each in summary.changed if each.case == "cow"] == [("cow", Delta.REGRESSED)]
    (record,) = summary.not_met
    assert record.reason.startswith("cow does not build with expand-fault, as it does for the kernel compared")
    assert not summary.broken, "its results are missing for that reason alone"


def test_a_test_that_stands_for_a_program_of_another_name_is_one_too() -> None:
    summary = unbuilt({}, {"gup_test": "no numa.h"})
    assert outcomes(summary, "expand-fault")["cow"] == (Outcome.FAIL, Expected.PASS, False)
    unnamed = unbuilt({}, {"helper": "no linux/x.h"}, cow="ok 2 cow # SKIP no hugepages")
    assert outcomes(unnamed, "expand-fault")["helper"] == (Outcome.FAIL, Expected.PASS, False)


def test_a_program_that_neither_tree_builds_is_a_note() -> None:
    summary = unbuilt({"cow": "no numa.h"}, {"cow": "no numa.h"})
    assert outcomes(summary, "expand-fault")["cow"][0] is Outcome.SKIP
    assert "NOT BUILT: 1 program" in text.render(summary)


def outcomes(summary: Summary, kernel: str) -> dict[str, tuple[Outcome, Expected, bool | None]]:
    records = (record for record in summary.records if record.kernel == kernel)
    return {record.case: (record.outcome, record.expected, record.met) for record in records}


def test_all_well() -> None:
    summary = compared(stream(pin="ok", fork="ok"), stream(pin="ok", fork="ok"))
    assert summary.exit_code == EXIT_MET
    assert set(outcomes(summary, "expand-fault")) == {"alone", "cow", "cow/pin", "cow/fork"}


def test_what_fails_on_both_is_told_and_no_failure_of_the_lab() -> None:
    summary = compared(stream(pin="not ok", fork="ok"), stream(pin="not ok", fork="ok"))
    assert summary.exit_code == EXIT_MET
    assert {(record.kernel, record.case) for record in summary.known} == {
        (kernel, case) for kernel in ("baseline", "expand-fault") for case in ("cow", "cow/pin")
    }
    shown = text.render(summary)
    assert "KNOWN FAILURES: 2 cases, no difference to the kernel compared with" in shown
    assert "known-fail" in shown
    assert "must-fail" not in shown


def test_what_passed_before_and_fails_now_is_a_regression() -> None:
    summary = compared(stream(pin="ok", fork="ok"), stream(pin="not ok", fork="ok"))
    assert summary.exit_code == EXIT_NOT_MET
    found = outcomes(summary, "expand-fault")
    assert found["cow/pin"] == (Outcome.FAIL, Expected.PASS, False)
    assert found["cow/fork"] == (Outcome.PASS, Expected.PASS, True)


def test_one_regression_among_known_failures_of_the_same_test() -> None:
    summary = compared(stream(pin="not ok", fork="ok"), stream(pin="not ok", fork="not ok"))
    assert summary.exit_code == EXIT_NOT_MET
    assert [record.case for record in summary.not_met] == ["cow/fork"]


def test_what_the_series_mends_is_welcome() -> None:
    summary = compared(stream(alone="not ok", pin="ok"), stream(pin="ok"))
    assert summary.exit_code == EXIT_MET
    assert outcomes(summary, "expand-fault")["alone"] == (Outcome.PASS, Expected.PASS, True)


@pytest.mark.parametrize(
    ("before", "after", "met"),
    [
        (Cause.OOM_KILL, Cause.OOM_KILL, True),
        (Cause.OOM_KILL, Cause.KASAN, False),
        (Cause.WARNING, Cause.OOPS, False),
        (Cause.OOPS, Cause.WARNING, True),
    ],
)
def test_a_crash_hides_no_worse_one(before: Cause, after: Cause, met: bool) -> None:
    good = compared(stream(pin="ok"), stream(pin="ok")).records
    by_cell = {
        CellKey("t", kernel): tuple(
            replace(record, case="console", outcome=Outcome.CRASH, cause=cause, met=False)
            for record in good
            if record.kernel == kernel and record.case == "alone"
        )
        for kernel, cause in (("baseline", before), ("expand-fault", after))
    }
    meta = {**metadata(("t",), ("baseline", "expand-fault")), "suites": {MM: {}}}
    assert [record.met for record in suites.measured(by_cell, recorded(meta))[CellKey("t", "expand-fault")]] == [met]


def test_a_result_that_is_no_longer_printed_is_missed() -> None:
    summary = compared(stream(pin="ok", fork="ok"), stream(pin="ok"))
    assert summary.exit_code == EXIT_INCOMPLETE
    lost = [record for record in summary.records if record.case == "cow/fork" and record.kernel == "expand-fault"]
    assert [record.outcome for record in lost] == [Outcome.BROKEN]
    assert lost[0].reason == "no such result: its test (PASS) did not print it; PASS with baseline"


def counted(*results: str) -> str:
    """`cow` alone, with its own results, whose names may have numbers in them."""
    inner = "".join(f"    {result}\n" for result in results)
    return f"KTAP version 1\n1..2\nok 1 alone\n    TAP version 13\n    1..{len(results)}\n{inner}ok 2 cow\n"


def test_a_result_with_what_it_measured_in_its_name_is_the_same_result() -> None:
    before = counted("ok 1 extra pages 18 (0.1%)", "ok 2 with 16 kB", "ok 3 with 32 kB")
    assert compared(before, counted("ok 1 extra pages 9 (0%)", "ok 2 with 16 kB", "ok 3 with 32 kB")).exit_code == 0
    worse = compared(before, counted("not ok 1 extra pages 9 (0%)", "ok 2 with 16 kB", "ok 3 with 32 kB"))
    assert [record.case for record in worse.not_met] == ["cow/extra pages 18 (0.1%)"]


def test_what_goes_by_its_number_is_not_another_one() -> None:
    before = counted("ok 1 same", "ok 2 same", "ok 3 same").replace("    ok 2 same\n", "")
    after = counted("ok 1 same", "ok 2 same", "ok 3 same").replace("    ok 3 same\n", "")
    assert {record.case for record in compared(before, after).broken} == {"cow/3"}


def test_of_several_results_alike_but_for_numbers_none_stands_for_another() -> None:
    summary = compared(counted("ok 1 with 16 kB", "ok 2 with 32 kB"), counted("ok 1 with 64 kB", "ok 2 with 8 kB"))
    assert summary.exit_code == EXIT_INCOMPLETE
    assert {record.case for record in summary.broken} == {"cow/with 16 kB", "cow/with 32 kB"}


def test_what_a_test_that_crashed_might_have_printed_nobody_knows() -> None:
    crashed = stream(pin="ok").replace("ok 2 cow\n", "not ok 2 cow # CRASH signal=9\n").replace("    ok 1 pin\n", "")
    summary = compared(crashed, stream(pin="not ok", fork="ok"))
    assert summary.exit_code == EXIT_MET
    found = outcomes(summary, "expand-fault")
    assert found["cow/pin"] == (Outcome.FAIL, Expected.PASS, None)
    assert found["cow/fork"] == (Outcome.PASS, Expected.PASS, True)
    assert found["cow"] == (Outcome.FAIL, Expected.FAIL, True)


def test_results_go_by_their_number_where_names_are_shared() -> None:
    said = "KTAP version 1\n1..1\n    1..3\n    ok 1 same\n    ok 2 same\n    ok 3 own at 0x7f1234567000\nok 1 cow\n"
    (result,) = ktap.parse(said).results
    names = [label for label, _ in suites.nested(result.name, result.children)]
    assert names == ["cow/1", "cow/2", "cow/own at 0x…"]


def test_results_of_several_programs_of_one_test_are_all_kept() -> None:
    """Each counts from 1, and the first has no result of the test behind it."""
    programs = [
        "  TAP version 13\n  1..2\n  ok 1 same\n  not ok 2 own\n",
        "  TAP version 13\n  1..2\n  ok 1 same\n  not ok 2 same\n",
        "  1..1\n  ok 1\n",
    ]
    text = f"KTAP version 1\n1..2\nok 1 other\n{''.join(programs)}not ok 2 cow\n"
    other, test = suites.adopted(ktap.parse(text)).results
    assert other.children == ()
    found = {label: child.ok for label, child in suites.nested(test.name, test.children)}
    assert list(found.items()) == [
        ("cow/1", True),
        ("cow/own", False),
        ("cow/1 (2)", True),
        ("cow/2", False),
        ("cow/1 (3)", True),
    ]


def test_no_result_takes_the_place_of_another() -> None:
    """A name may have a slash in it."""
    said = "    1..1\n    not ok 1 b\n  ok 1 a\n  ok 2 a/b\n"
    (test,) = ktap.parse(f"KTAP version 1\n1..1\n  1..2\n{said}ok 1 cow\n").results
    found = {label: child.ok for label, child in suites.nested(test.name, test.children)}
    assert found == {"cow/a": True, "cow/a/b": False, "cow/a/b (2)": True}


def test_what_is_printed_after_the_last_test_stays_without_a_parent() -> None:
    text = "KTAP version 1\n1..2\nok 1 cow\n  TAP version 13\n  1..2\n  ok 1 a\n"
    document = suites.adopted(ktap.parse(text))
    assert [orphan.name for orphan in document.orphans] == ["a"]


@pytest.mark.parametrize("plan", ["1..0 # SKIP no huge pages", "1..0 # no huge pages", "1..0 #skip no huge pages"])
@pytest.mark.parametrize("end", ["", " # SKIP"])
def test_a_test_that_plans_nothing_skips(plan: str, end: str) -> None:
    (result,) = ktap.parse(f"KTAP version 1\n1..1\n  TAP version 13\n  {plan}\nok 1 cow{end}\n").results
    told = suites.explained(result)
    assert (told.directive, told.reason) == ("SKIP", "no huge pages")


def test_a_failing_test_that_plans_nothing_fails() -> None:
    (result,) = ktap.parse("KTAP version 1\n1..1\n  1..0 # SKIP no huge pages\nnot ok 1 cow\n").results
    assert suites.explained(result).directive == ""


def test_a_time_out_within_a_test_is_a_failure_of_the_test() -> None:
    text = "KTAP version 1\n1..1\n  1..1\n  not ok 1 selftests: mm: x # TIMEOUT 45 seconds\nnot ok 1 cow\n"
    (result,) = ktap.parse(text).results
    assert suites.explained(result).diagnostics == ("1 of 1 results in it are not ok: selftests: mm: x",)


def test_a_name_that_several_share_is_what_they_say() -> None:
    results = "".join(f"    # [RUN] with {n} kB\n    not ok {n} mmap() failed\n" for n in (1, 2))
    (result,) = ktap.parse(f"KTAP version 1\n1..1\n    1..2\n{results}not ok 1 cow\n").results
    said = [suites.explained(child).diagnostics for _, child in suites.nested(result.name, result.children)]
    assert said == [("[RUN] with 1 kB", "mmap() failed"), ("[RUN] with 2 kB", "mmap() failed")]


def test_a_skip_says_what_the_test_said_before_it() -> None:
    said = "# running ./x\n# SKIP gup_test not available\n# [SKIP]\n# | put back: x was left at 1, was 0\n"
    said = f"KTAP version 1\n1..1\n{said}ok 1 x # SKIP\n"
    (result,) = ktap.parse(said).results
    assert suites.explained(result).reason == "gup_test not available"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("# SKIP ./other\n# running ./x\n# you need it\n# [SKIP]\n# | put back\nok 1 x # SKIP\n", "you need it"),
        ("# timeout set to 45\n# selftests: mm: x\nok 1 selftests: mm: x # SKIP\n", ""),
        ("# SKIP ./other\n# ---\n# running ./x\n# ---\n# [FAIL]\nnot ok 1 x # exit=137\n", "exit=137"),
    ],
)
def test_words_before_a_tests_heading_are_not_its_own(said: str, reason: str) -> None:
    (result,) = ktap.parse(f"KTAP version 1\n1..1\n{said}").results
    told = suites.explained(result)
    assert (told.reason or "".join(told.diagnostics[:1])) == reason


def test_ltp_says_itself_what_failed() -> None:
    said = ("a.c:1: TINFO: begins", "b.c:22: TBROK: Child killed by signal SIGBUS", "| exit status 2: TBROK")
    lines = "".join(f"# {line}\n" for line in said)
    (result,) = ktap.parse(f"KTAP version 1\n1..1\n{lines}not ok 1 mmap21\n").results
    first, *others = suites.explained(result).diagnostics
    assert first == "b.c:22: TBROK: Child killed by signal SIGBUS"
    assert others == [f"| {line}" for line in said]


def test_a_tests_line_is_one_line_of_fields() -> None:
    test = made.Test(name="a", style="ltp", timeout_s=5.0, directory="d", command="x\ty\nz")
    assert test.line() == "a\tltp\t5\td\tx y z\n"


# ---- Reports --------------------------------------------------------------------------------------------------------


@pytest.fixture
def known() -> Summary:
    """A result that fails on both kernels, and with it its test."""
    said = stream(pin="not ok", fork="ok")
    return compared(said, said)


def test_results_json_is_what_its_schema_says(known: Summary) -> None:
    document = json.loads(report.render(known, "json"))
    schema = json.loads(files("lab.report").joinpath("results.schema.json").read_text())
    assert [error.message for error in Draft202012Validator(schema).iter_errors(document)] == []
    assert document["suites"][MM]["not_built"] == {"x86_64/baseline": {"cow": "no numa.h"}}


def test_kcidb_has_results_below_their_tests(known: Summary) -> None:
    document = json.loads(report.render(known, "kcidb"))
    kcidb.V5_0.validate(document)
    paths = [each["path"] for each in document["tests"] if each["build_id"].endswith("/baseline/t")]
    assert "pagelab.kselftest-mm.cow.pin" in paths
    assert len({each["id"] for each in document["tests"]}) == len(document["tests"])


def test_ktap_has_what_the_suite_printed(known: Summary) -> None:
    (baseline, _) = ktap.parse(report.render(known, "ktap")).results
    ((_, cow),) = (run.children for run in baseline.children)
    assert [(result.name, result.ok) for result in cow.children] == [("pin", False), ("fork", True)]


def test_the_page_does_not_take_known_failures_for_news(known: Summary) -> None:
    page = report.render(known, "html")
    assert '<i class="s-known-fail"></i> known-fail' in page
    assert "known-fail 2/2" in page
    assert "must-fail 2/2" not in page
    assert '"printed by cow"' in page


def test_the_page_tells_what_became_of_a_known_failure(known: Summary) -> None:
    page, _ = _data.document(known)
    said = {(page["states"][each[3]], page["outcomes"][each[10]]) for each in page["records"]}
    assert said == {("pass", "PASS"), ("known-fail", "FAIL")}


def test_a_mail_says_why_what_did_not_pass_is_well(known: Summary) -> None:
    said = " ".join(report.render(known, "mail").split())
    assert f"Failed as on the kernel compared with: 2 cases {MM}: cow cow/pin" in said
    assert "what did not pass did not before the series either" in said
    assert f"--suite {MM}" not in said, "this run does not say what was asked for"


def test_the_words_that_run_it_again_name_the_suite(known: Summary) -> None:
    asked = campaign.CampaignRequest(campaign="quick", filters=Filters(suites=(MM,))).record()
    meta = known.evidence.metadata.changed(command=asked)
    again = conclude(replace(known.evidence, metadata=meta))
    assert f"lab run quick --suite {MM}" in report.render(again, "mail")
    assert campaign.CampaignRequest.recorded(meta, Path()).filters.suites == (MM,)


def test_junit_is_green_for_known_failures_and_red_for_regressions(known: Summary) -> None:
    green = JUnitXml.fromstring(report.render(known, "junit").encode())
    assert (green.failures, green.errors) == (0, 0)
    assert report.render(known, "junit").count("as on the kernel that is compared with") == 4
    worse = compared(stream(pin="ok"), stream(pin="not ok"))
    assert JUnitXml.fromstring(report.render(worse, "junit").encode()).failures == 2


def test_without_a_verdict_before_there_is_none_and_that_is_not_unmet() -> None:
    good = compared(stream(pin="ok"), stream(pin="not ok"))
    by_cell = {
        place: tuple(
            replace(each, outcome=Outcome.FLAKY, met=False) if place[1] == "baseline" else each for each in records
        )
        for place, records in good.by_cell.items()
    }
    found = suites.measured(by_cell, good.evidence.metadata)[CellKey("t", "expand-fault")]
    assert {record.met for record in found} == {None}
    assert words.tally(Counter(found), frozenset({MM})) == ["3 no verdict"]
    assert {_data.state(record, frozenset({MM})) for record in found} == {"pass", "skip"}


# ---- Around it ------------------------------------------------------------------------------------------------------


def test_a_single_place_of_a_suite_cannot_be_had_again(cache: Cache) -> None:
    summary = compared(stream(pin="ok"), stream(pin="ok"))
    machine = Library.shipped().topology("x86_64-4k").model_dump(mode="json")
    spec = Library.shipped().campaign("quick").spec.model_dump(mode="json")
    baseline = Library.shipped().kernel("baseline").model_dump(mode="json")
    meta = summary.evidence.metadata.changed(topologies={"t": machine}, campaign=spec, kernels={"baseline": baseline})
    summary = conclude(replace(summary.evidence, metadata=meta))
    with pytest.raises(UsageError) as caught:
        prepare(find(summary, f"t/baseline/{MM}.cow"), summary, Library.shipped(), cache)
    assert caught.value.message == f"t/baseline/{MM}.cow: {MM} is a suite, of which no single place can be had again"


def test_programs_have_keys_by_architecture_and_suite(cache: Cache, tmp_path: Path) -> None:
    def keys(patched: str) -> Mapping[str, Mapping[str, str]]:
        builds = {
            (MM, arch, kernel): made.Built(key=key, tree=tmp_path, tests=(), not_built={})
            for arch in ("x86_64", "arm64")
            for kernel, key in {"baseline": "one", "patched": patched}.items()
        }
        return Suites(cache=cache, suites=(suite.parse(MM),), builds=builds).keys

    assert {arch: list(of) for arch, of in keys("one").items()} == {"arm64": [MM], "x86_64": [MM]}
    assert keys("one")["arm64"] != keys("two")["arm64"]


def test_a_record_from_before_there_were_suites_is_still_one(cache: Cache) -> None:
    def make(into: Path) -> None:
        (into / "build.json").write_text('{"image": "bzImage"}')

    cache.entry(kernel.ENTRY, "aa", make)
    facts: dict[str, object] = dict.fromkeys(Provenance.model_fields, None)
    facts |= {"key": "aa", "patches": [], "config_changes": [], "fixes": []}
    del facts["refused"]
    found = kernel.recorded(Provenance.model_validate(facts), cache)
    assert found is not None
    assert found.provenance.refused == ()


@pytest.mark.parametrize("source", ["image:/boot/vmlinuz-own", "debian:linux-image-amd64"])
def test_a_kernel_that_was_not_built_here_has_no_source_for_a_suite(tmp_path: Path, source: str) -> None:
    planned = Library.shipped().plan("quick", Filters(topologies=("x86_64-4k",), suites=("kselftest-mm",)))
    own = planned.cells[0].kernel.model_copy(update={"name": "own", "source": source, "series": None})
    builds = tuple(replace(build, kernel=own) for build in planned.builds)
    with pytest.raises(UsageError, match=f"--suite kselftest-mm is built from a kernel's source, and own is {source}"):
        check(replace(planned, builds=builds), Cache(tmp_path))
