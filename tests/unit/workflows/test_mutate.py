# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/workflows/mutate.py: mutants of a toy series, what is on disk, and what kills; no guest is started."""

from __future__ import annotations

import json
import re
import threading
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lab.build import kernel as build_kernel
from lab.build import source
from lab.core.columns import CellRecords
from lab.core.errors import InputError, UsageError
from lab.core.outcome import Case, CaseRecord, CellStatus, Expected, Outcome
from lab.core.progress import silent
from lab.report._patch.mutation import text as report_text
from lab.specs.library import Library
from lab.specs.model import Kernel
from lab.specs.plan import Plan
from lab.verdicts.compare import Summary, conclude
from lab.verdicts.mutation import Fate, MutantResult, MutantSpec, MutationReport
from lab.workflows import mutate, mutation_task
from tests.unit.fixtures import evidence
from tests.unit.toy import Toy, diff, topology

BEFORE = "int f(int a)\n{\n\treturn 0;\n}\n"
AFTER = "int f(int a)\n{\n\tif (a > 1)\n\t\treturn -EINVAL;\n\treturn 0;\n}\n"


@pytest.fixture
def kernel(tmp_path: Path) -> tuple[Kernel, Toy]:
    """A kernel of the toy tree with a series that adds two lines of C."""
    toy = Toy.make(tmp_path)
    (toy.tree / "mm" / "grow.c").write_text(BEFORE)
    patch = tmp_path / "0001-check.patch"
    patch.write_text(diff("mm/grow.c", BEFORE, AFTER))
    made = Kernel(name="patched", source=f"path:{toy.tree}", series=str(patch))
    source.resolve(made.source, cache=toy.cache)
    return made, toy


def test_mutants_of_the_lines_that_a_series_adds(kernel: tuple[Kernel, Toy]) -> None:
    made, toy = kernel
    mutants = mutation_task.generate(made, toy.cache)
    assert {mutant.line for mutant in mutants} == {3, 4}
    assert {mutant.function for mutant in mutants} == {"f"}
    whats = [mutant.what for mutant in mutants]
    assert "a > 1 -> a >= 1" in whats
    assert "-EINVAL -> -ENOMEM" in whats
    assert len({mutant.name for mutant in mutants}) == len(mutants)
    first = next(mutant for mutant in mutants if mutant.what == "a > 1 -> a >= 1")
    assert "-\tif (a > 1)\n+\tif (a >= 1)\n" in first.diff


def test_mutants_of_functions(kernel: tuple[Kernel, Toy]) -> None:
    made, toy = kernel
    (toy.tree / "mm" / "other.c").write_text("int g(int a)\n{\n\treturn a + 1;\n}\n\nint h(void)\n{\n\treturn 2;\n}\n")
    made = made.model_copy(update={"source": f"path:{toy.tree}"})
    source.resolve(made.source, cache=toy.cache)
    changed = mutation_task.generate(made, toy.cache, ["f"])
    assert {mutant.line for mutant in changed} == {3, 4, 5}, "its other lines, too, with the series applied"
    other = mutation_task.generate(made, toy.cache, ["mm/other.c:g"])
    assert {(mutant.file, mutant.function) for mutant in other} == {("mm/other.c", "g")}
    both = mutation_task.generate(made, toy.cache, ["mm/other.c:?", "f", "mm/other.c:g"])
    assert {mutant.function for mutant in both} == {"f", "g", "h"}
    assert len(both) == len({mutant.name for mutant in both}) == len({mutant.diff for mutant in both})
    without = made.model_copy(update={"series": None})
    assert mutation_task.generate(without, toy.cache, ["mm/other.c:g"]) == other


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("g", "--function g: no function of the files that the series changes"),
        ("mm/grow.c:ff", "--function mm/grow.c:ff: no function of mm/grow.c; did you mean 'f'?"),
        ("none.h:f", "--function none.h:f: the kernel has no file none.h"),
        ("mm/grown.c:f", "--function mm/grown.c:f: the kernel has no file mm/grown.c; did you mean 'mm/grow.c'?"),
        ("grow.c:f", "--function grow.c:f: the kernel has no file grow.c; did you mean 'mm/grow.c'?"),
        ("../mm/grow.c:f", "--function ../mm/grow.c:f: expected a C file of the kernel's tree"),
        ("/mm/grow.c:f", "--function /mm/grow.c:f: expected a C file of the kernel's tree"),
        ("mm:f", "--function mm:f: expected a C file of the kernel's tree"),
    ],
)
def test_a_function_that_is_not_there(function: str, words: str, kernel: tuple[Kernel, Toy]) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        mutation_task.generate(kernel[0], kernel[1].cache, ["f", function])


def task(kernel: Kernel, toy: Toy) -> mutation_task.MutationTask:
    mutants = mutation_task.generate(kernel, toy.cache)
    return mutation_task.MutationTask(kernel=kernel, topology=topology(), tests=("expand.*",), mutants=mutants)


def test_a_task_is_read_back_the_same(kernel: tuple[Kernel, Toy], tmp_path: Path) -> None:
    made = task(*kernel)
    mutation_task.open_task(tmp_path / "run", made)
    assert mutation_task.read_task(tmp_path / "run") == made
    with pytest.raises(UsageError, match="exists and is not empty"):
        mutation_task.open_task(tmp_path / "run", made)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "No such file or directory; expected the directory of a mutation"),
        ("{}", "kernel"),
        ("what", "Invalid JSON"),
    ],
)
def test_a_directory_that_is_none_of_a_mutation(text: str | None, words: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / mutation_task.MUTANTS).write_text(text)
    with pytest.raises(InputError) as caught:
        mutation_task.read_task(tmp_path)
    assert words in str(caught.value)


def test_a_torn_line_of_results_is_tried_again(tmp_path: Path) -> None:
    done = MutantResult(name="m001-constant", fate=Fate.KILLED, by=("expand.a (FAIL)",))
    (tmp_path / mutation_task.RESULTS).write_text(done.model_dump_json() + "\n" + done.model_dump_json()[:20])
    assert mutation_task.read_results(tmp_path) == (done,)
    assert mutation_task.read_results(tmp_path / "nothing") == ()


def test_a_failure_of_the_lab_is_tried_again(kernel: tuple[Kernel, Toy]) -> None:
    first, second, *others = task(*kernel).mutants
    results = [
        MutantResult(name=first.name, fate=Fate.NO_VERDICT, why="disk full"),
        MutantResult(name=second.name, fate=Fate.EQUAL),
    ]
    assert mutation_task.undecided((first, second, *others), results) == [first, *others]


def test_what_an_earlier_mutation_killed_is_not_tried_again(kernel: tuple[Kernel, Toy], tmp_path: Path) -> None:
    before = task(*kernel)
    killed, survived, equal, *_ = before.mutants
    mutation_task.open_task(tmp_path / "earlier", before)
    results = [
        MutantResult(name=killed.name, fate=Fate.KILLED, by=("expand.a (FAIL)",), seconds=9),
        MutantResult(name=survived.name, fate=Fate.SURVIVED),
        MutantResult(name=equal.name, fate=Fate.EQUAL),
    ]
    mutation_task.add_results(tmp_path / "earlier", *results)
    renamed = [
        mutant.model_copy(update={"name": f"x{mutant.name}", "line": mutant.line + 7}) for mutant in before.mutants
    ]
    now = before.model_copy(update={"mutants": tuple(reversed(renamed))})
    found = {result.name: result for result in mutation_task.carry(tmp_path / "earlier", now)}
    assert found.keys() == {f"x{killed.name}", f"x{survived.name}", f"x{equal.name}"}
    waiting = [mutant.name for mutant in mutation_task.undecided(now.mutants, found.values())]
    assert waiting[0] == f"x{survived.name}", "a survivor is tried again, and first"
    assert not {f"x{killed.name}", f"x{equal.name}"} & set(waiting)
    change = next(mutant.change for mutant in now.mutants if mutant.name == waiting[0])
    left = mutation_task.undecided(now.mutants, found.values(), {change: "both are rounded up"})
    assert waiting[0] not in [mutant.name for mutant in left], "no test can notice it"
    left = mutation_task.undecided(now.mutants, found.values(), {change: "not equal: one instruction apart"})
    assert waiting[0] == left[0].name, "a new test may notice it"
    again = MutantResult(name=waiting[0], fate=Fate.SURVIVED)
    assert waiting[0] not in [mutant.name for mutant in mutation_task.undecided(now.mutants, [again])]
    assert found[f"x{killed.name}"].earlier == "earlier"
    other_kernel = now.model_copy(update={"kernel": now.kernel.model_copy(update={"config": ("lockdep",)})})
    carried = {result.name for result in mutation_task.carry(tmp_path / "earlier", other_kernel)}
    assert carried == {f"x{killed.name}", f"x{survived.name}"}, "another compiler may tell the equal one"
    report = MutationReport(kernel="k", machine="m", mutants=now.mutants, results=tuple(found.values()))
    shown = "\n".join(report_text(report))
    assert "of an earlier mutation, earlier: 3" in shown
    assert "for each mutant that was built" not in shown
    with pytest.raises(UsageError, match=r"it has none of these 1 mutants"):
        mutation_task.carry(tmp_path / "earlier", now.model_copy(update={"mutants": now.mutants[:1]}))


def with_records(summary: Summary, records: Sequence[CaseRecord]) -> Summary:
    """The same run with other records."""
    by_cell = {}
    for key in summary.by_cell:
        mine = [record for record in records if (record.topology, record.kernel) == key]
        by_cell[key] = CellRecords.of(key, mine)
    return replace(summary, by_cell=by_cell)


def test_a_case_that_is_sound_kills_and_another_does_not() -> None:
    summary = conclude(evidence.evidence())
    record = next(each for each in summary.records if each.met)
    broken = replace(record, outcome=Outcome.FAIL, met=False)
    changed = with_records(summary, [broken if each == record else each for each in summary.records])
    unsound = mutate.unmet(summary)
    assert record.label not in unsound
    assert mutate.killers(changed, unsound) == ((f"{record.label} (FAIL)",), "")
    assert mutate.killers(changed, unsound | {record.label})[0] == ()


def test_a_complaint_of_the_patched_kernel_itself_kills_nothing() -> None:
    summary = conclude(evidence.evidence())
    first = next(record for record in summary.records if record.met)
    complaint = replace(first, case="console", outcome=Outcome.CRASH, met=False)
    changed = with_records(summary, [*summary.records, complaint])
    assert f"{complaint.label} (CRASH)" in mutate.killers(changed, mutate.unmet(summary))[0]
    assert f"{complaint.label} (CRASH)" not in mutate.killers(changed, mutate.unmet(changed))[0]


def test_a_result_of_a_suite_that_fails_on_the_mutant_alone_kills_it() -> None:
    """In a run of one kernel, all that a suite's tests print is as expected."""
    summary = conclude(evidence.evidence())
    first = next(record for record in summary.records if record.met)
    suites = {"kselftest-mm"}

    def run(*outcomes: Outcome) -> Summary:
        names = ("mremap", "mremap/moves", "mremap/grows", "mremap/console")
        results = []
        for name, outcome in zip(names, outcomes, strict=False):
            expected = Expected.PASS if outcome is Outcome.PASS else Expected.FAIL
            results.append(
                replace(first, scenario="kselftest-mm", case=name, outcome=outcome, expected=expected, met=True)
            )
        return with_records(summary, results)

    original, mutant = run(Outcome.FAIL, Outcome.PASS, Outcome.FAIL), run(Outcome.FAIL, Outcome.FAIL, Outcome.FAIL)
    unsound = mutate.unmet(original, suites)
    assert unsound == {"kselftest-mm.mremap", "kselftest-mm.mremap/grows"}
    assert mutate.killers(mutant, unsound, suites) == (("kselftest-mm.mremap/moves (FAIL)",), "")
    assert mutate.killers(original, unsound, suites) == ((), "")
    crash = run(Outcome.FAIL, Outcome.PASS, Outcome.FAIL, Outcome.CRASH)
    assert mutate.killers(crash, unsound, suites)[0] == ("kselftest-mm.mremap/console (CRASH)",)


def test_a_kernel_that_does_not_boot_is_noticed() -> None:
    found = evidence.evidence()
    cells = tuple(replace(cell, status=CellStatus.NO_BOOT, runs=()) for cell in found.cells)
    by, trouble = mutate.killers(conclude(replace(found, cells=cells)), set())
    assert "boot (NO_BOOT)" in by
    assert trouble == ""


def test_a_kernel_that_is_another_machine_is_noticed() -> None:
    found = evidence.evidence()
    cells = tuple(replace(cell, status=CellStatus.INVALID, reason="nodes", runs=()) for cell in found.cells)
    by, trouble = mutate.killers(conclude(replace(found, cells=cells)), set())
    assert by[0].startswith("verification (INVALID): ")
    assert trouble == ""


def test_a_failure_of_the_lab_is_no_verdict() -> None:
    found = evidence.evidence()
    cells = tuple(replace(cell, status=CellStatus.BROKEN, reason="disk full", runs=()) for cell in found.cells)
    by, trouble = mutate.killers(conclude(replace(found, cells=cells)), set())
    assert by == ()
    assert "disk full" in trouble


def test_an_argument_is_about_one_function(kernel: tuple[Kernel, Toy], tmp_path: Path) -> None:
    mutants = task(*kernel).mutants
    first, second, *_ = mutants
    path = tmp_path / "equal.json"
    path.write_text(json.dumps({first.change: "both are rounded up"}))
    arguments = mutation_task.read_arguments([path], mutants)
    survived = tuple(MutantResult(name=mutant.name, fate=Fate.SURVIVED) for mutant in (first, second))
    assert [result.argument for result in mutation_task.argued(mutants, survived, arguments)] == [
        "both are rounded up",
        "",
    ]
    killed = (MutantResult(name=first.name, fate=Fate.KILLED),)
    assert mutation_task.argued(mutants, killed, arguments) == killed


def test_an_argument_about_no_mutant_is_an_error(kernel: tuple[Kernel, Toy], tmp_path: Path) -> None:
    mutants = task(*kernel).mutants
    path = tmp_path / "equal.json"
    path.write_text(json.dumps({mutants[0].change.replace("a >", "b >"): "a typo"}))
    with pytest.raises(InputError, match="no mutant makes this change; did you mean"):
        mutation_task.read_arguments([path], mutants)
    path.write_text(json.dumps({mutants[0].change: ""}))
    with pytest.raises(InputError, match="expected a JSON object of texts"):
        mutation_task.read_arguments([path], mutants)


@pytest.mark.parametrize("reason", ["Not equal: a race", "not equal", "not equal:", "not equal: ", "not equal, a race"])
def test_a_reason_that_would_count_as_equal_by_mistake_is_an_error(
    reason: str, kernel: tuple[Kernel, Toy], tmp_path: Path
) -> None:
    mutants = task(*kernel).mutants
    path = tmp_path / "equal.json"
    path.write_text(json.dumps({mutants[0].change: reason}))
    with pytest.raises(InputError, match="expected 'not equal: ' and a reason"):
        mutation_task.read_arguments([path], mutants)
    path.write_text(json.dumps({mutants[0].change: "not equal: a race"}))
    assert mutation_task.read_arguments([path], mutants)


class Killed(BaseException):
    """The lab is gone, as after SIGKILL: nothing is tidied up."""


class ToyMutation:
    """A mutation whose kernels and guests are made up: the fate of a mutant follows from its name."""

    def __init__(self, directory: Path, made: mutation_task.MutationTask, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self.made = made
        self.tried: list[str] = []
        known = SimpleNamespace(sound={"expand.a"}, unsound=set(), covered=None)
        monkeypatch.setattr(mutate.Mutate, "_known", lambda _: known)
        monkeypatch.setattr(mutate.Mutate, "_selections", lambda _: ())
        monkeypatch.setattr(mutate.Mutate, "_planned", lambda *_: SimpleNamespace(cells=(None,)))
        monkeypatch.setattr(mutate.Mutate, "_built", lambda _, mutant, original: self.built(mutant))
        monkeypatch.setattr(mutate.Mutate, "_tried", lambda _, mutant, *more: self.fate(mutant))
        monkeypatch.setattr(build_kernel, "build", lambda *_, **more: None)

    def built(self, mutant: MutantSpec) -> MutantResult | tuple[None, float]:
        self.tried.append(mutant.name)
        if hash_of(mutant) % 4 == 0:
            return MutantResult(name=mutant.name, fate=Fate.EQUAL)
        return None, 1.0

    def fate(self, mutant: MutantSpec) -> MutantResult:
        if hash_of(mutant) % 2:
            return MutantResult(name=mutant.name, fate=Fate.KILLED, by=("expand.a (FAIL)",))
        return MutantResult(name=mutant.name, fate=Fate.SURVIVED)

    def run(self, *, killed_after: int | None = None) -> MutationReport:
        """Go on until everything is tried, or the lab is killed behind so many results."""
        told: list[str] = []

        def tell(text: str) -> None:
            told.append(text)
            if killed_after is not None and len(told) > killed_after:
                raise Killed

        unused = cast(
            Any, SimpleNamespace(cache=None, abort=lambda: None, at_once=lambda *_, idle=False: 4 if idle else 2)
        )
        return mutate.Mutate(
            directory=self.directory,
            task=self.made,
            library=unused,
            builder=unused,
            guests=unused,
            packing=unused,
            tell=tell,
        ).run()


def hash_of(mutant: MutantSpec) -> int:
    return zlib.crc32(mutant.name.encode())


@pytest.mark.parametrize("killed_after", range(1, 8, 2))
def test_a_mutation_that_was_killed_ends_as_one_that_was_not(
    killed_after: int, kernel: tuple[Kernel, Toy], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = task(*kernel)
    mutation_task.open_task(tmp_path / "whole", made)
    whole = ToyMutation(tmp_path / "whole", made, monkeypatch).run()
    mutation_task.open_task(tmp_path / "killed", made)
    killed = ToyMutation(tmp_path / "killed", made, monkeypatch)
    with pytest.raises(Killed):
        killed.run(killed_after=killed_after)
    decided = {result.name for result in mutation_task.read_results(tmp_path / "killed")}
    with (tmp_path / "killed" / mutation_task.RESULTS).open("a") as file:
        file.write('{"name": "m0')  # torn by the kill
        file.write("\n")
    killed.tried.clear()
    resumed = killed.run()
    assert decided
    assert not decided & set(killed.tried)
    assert list(report_text(resumed)) == list(report_text(whole))
    assert all(result.elapsed_s < 5 for result in resumed.results), "the time before the resumed part is no part of it"
    assert len(whole.results) == len(made.mutants)


def test_a_mutant_that_hangs_keeps_no_other_from_its_guest(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("lab.workflows.mutate.time.monotonic", lambda: now)
    end = threading.Event()

    def hang() -> MutantResult:
        end.wait()
        return MutantResult(name="m1", fate=Fate.KILLED)

    with ThreadPoolExecutor(3) as pool:
        guests = mutate._Guests(pool=pool, at_once=2, most=3, long_s=90.0)
        for _ in range(2):
            guests.start(hang)
        assert not guests.have_room()
        now = 91.0
        assert guests.have_room()
        guests.start(hang)
        now = 182.0
        assert not guests.have_room(), "memory is for three"
        end.set()
        while guests.running:
            guests.done()
    assert guests.have_room()


@pytest.mark.parametrize(("tests_s", "long_s"), [(None, 30.0), (0.5, 30.0), (24.0, 48.0)])
def test_a_boot_is_not_taken_for_a_hang_where_all_tests_are_short(
    tests_s: float | None, long_s: float, kernel: tuple[Kernel, Toy], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mutate, "_tests_s", lambda _: tests_s)
    unused = cast(Any, None)
    work = mutate.Mutate(
        directory=tmp_path,
        task=task(*kernel),
        library=unused,
        builder=unused,
        guests=unused,
        packing=unused,
        tell=unused,
    )
    assert work._long_s() == long_s


def test_what_builds_guests_has_suites_only_if_the_task_has(kernel: tuple[Kernel, Toy]) -> None:
    made, toy = kernel
    library = Library.shipped()
    builder = mutate.builder(task(made, toy), library, toy.cache, silent)
    assert builder.suites is None
    assert builder.sources == library.scenario_sources


def test_a_suite_is_built_once_and_its_tests_are_narrowed(
    kernel: tuple[Kernel, Toy], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, toy = kernel
    planned: list[Plan] = []
    tests = tuple(Case(scenario="kselftest-mm", name=name) for name in ("mremap_test", "other"))

    def prepare(plan: Plan, *_: object) -> object:
        planned.append(plan)
        return SimpleNamespace(cases={"kselftest-mm": tests})

    monkeypatch.setattr("lab.build.suites.prepare.prepare", prepare)
    library = Library.shipped()
    wanted = task(made, toy).model_copy(update={"suites": ("kselftest-mm",), "tests": ("kselftest-mm.mremap*",)})
    unused = cast(Any, None)
    work = mutate.Mutate(
        directory=tmp_path,
        task=wanted,
        library=library,
        builder=mutate.builder(wanted, library, toy.cache, silent),
        guests=unused,
        packing=unused,
        tell=print,
    )
    (plan,) = planned
    assert [(each.kernel.name, each.arch) for each in plan.builds] == [("patched", "x86_64")]
    (selection,) = work._planned(made, work._selections()).cells[0].scenarios
    assert (selection.scenario, selection.cases) == ("kselftest-mm", ("mremap_test",))
    some = cast(Any, SimpleNamespace(case_s={}))
    for label in ("kselftest-mm.mremap_test", "kselftest-mm.mremap_test/moves"):
        assert [each.cases for each in work._narrowed({label}, some)] == [("mremap_test",)]
    synthetic = {"kselftest-mm.console", "kselftest-mm.leak"}
    known = cast(Any, SimpleNamespace(sound=synthetic, unsound=set(), case_s={}, covering=lambda _: synthetic))
    result = work._tried(wanted.mutants[0], made, 1.0, known)
    assert (result.fate, result.why) == (Fate.NO_VERDICT, "no case was left to run")
