# SPDX-License-Identifier: GPL-2.0-or-later
"""tests/mutants: a table that fits the series and the scenarios, and verdicts that follow from results alone."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from lab.core.errors import UsageError
from lab.verdicts.mutation import Fate, MutantResult, MutantSpec, MutationReport
from tests.mutants import generated
from tests.mutants.__main__ import main, share, summary, total
from tests.mutants.mutant import PROVIDES, Edit, Mutant, as_patch
from tests.mutants.table import MUTANTS
from tests.mutants.trial import MutantDirectory, Seen, Verdict, seen

GUEST_TESTS = Path(__file__).parents[2] / "guest_tests"
CASES = {
    f"{path.stem}.{name}"
    for path in GUEST_TESTS.glob("*.c")
    for name in re.findall(r"LAB_CASE\((\w+)\)", path.read_text())
} | {  # numa_table has its cases from a table of policies, one for each kind of memory
    f"numa_table.p02_shared__{policy}"
    for policy in re.findall(r"DO\(row, kind, (\w+),", (GUEST_TESTS / "numa_table.c").read_text())
}
ONE = Mutant(name="one", breaks="it", edits=(Edit(file="mm/x.c", old="b\n", new="c\n"),), kills=("a.b",))


def test_the_table_is_large_enough_and_its_names_are_names() -> None:
    names = [each.name for each in MUTANTS]
    assert len(names) == len(set(names)) >= 25
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in names)
    assert all(each.breaks and each.series in PROVIDES for each in MUTANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda each: each.name)
def test_the_cases_that_should_see_it_exist(mutant: Mutant) -> None:
    assert mutant.kills
    assert [glob for glob in mutant.kills if not any(fnmatchcase(case, glob) for case in CASES)] == []


def test_a_mutant_becomes_a_patch() -> None:
    text = as_patch(ONE, {"mm/x.c": "a\nb\nd\n"}.__getitem__)
    assert text == "it\n\n--- a/mm/x.c\n+++ b/mm/x.c\n@@ -1,3 +1,3 @@\n a\n-b\n+c\n d\n"


@pytest.mark.parametrize(("content", "times"), [("a\n", 0), ("b\nb\n", 2)])
def test_an_edit_must_fit_once(content: str, times: int) -> None:
    with pytest.raises(UsageError, match=f"one: mm/x.c has {times} times 'b'"):
        as_patch(ONE, {"mm/x.c": content}.__getitem__)


def record(case: str, outcome: str, met: bool | None) -> dict[str, Any]:
    return {"scenario": "s", "case": case, "outcome": outcome, "met": met}


def cell(status: str, reason: str = "") -> dict[str, str]:
    return {"status": status, "reason": reason}


def test_what_results_say_of_a_mutant() -> None:
    records = [record("a", "FAIL", False), record("b", "PASS", True), record("c", "SKIP", None)]
    found = seen({"cells": [cell("OK")], "records": records})
    assert found == Seen(wrong={"s.a": "FAIL"}, right=frozenset({"s.b"}))


def test_a_kernel_that_does_not_boot_is_seen_and_one_that_is_not_built_is_trouble() -> None:
    broken = [record("a", "BROKEN", False)]
    assert seen({"cells": [cell("NO_BOOT")], "records": broken}).wrong == {"boot": "NO_BOOT"}
    failed = seen({"cells": [cell("BROKEN", "did not compile\nerror: ...")], "records": broken})
    assert failed == Seen(wrong={}, right=frozenset(), trouble="did not compile")


def verdict(equal: str = "", killers: tuple[str, ...] = (), trouble: str = "") -> Verdict:
    mutant = Mutant(name="m", breaks="it", edits=(), kills=("a.b",), equal=equal)
    return Verdict(mutant=mutant, killers=killers, asked_all=False, seconds=1.0, trouble=trouble)


def test_words_of_verdicts() -> None:
    killed, survived = verdict(killers=("s.a (FAIL)",)), verdict()
    equal, not_equal, invalid = verdict("why"), verdict("why", ("s.a (FAIL)",)), verdict(trouble="did not compile")
    assert [each.word for each in (killed, survived, equal, not_equal, invalid)] == [
        "killed",
        "SURVIVED",
        "equal",
        "NOT EQUAL",
        "INVALID",
    ]
    assert share([killed, survived, equal]) == 0.5
    assert summary([killed, equal], 20.0) == (
        "2 mutants: 1 killed, 1 equal; 100% of those that differ killed; 10 s each\nnot killed: none"
    )


@pytest.mark.parametrize(("asked", "meant"), [("no-polcy", "no-policy"), ("expand-mremp", "expand-mremap")])
def test_a_name_that_no_mutant_has_is_refused(asked: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["inode-lock", asked, "--list"])
    assert refused.value.code == 2
    said = capsys.readouterr()
    assert f"did you mean {meant!r}?" in said.err
    assert not said.out


def report(*fates: Fate, argued: int = 0) -> MutationReport:
    """A report on as many generated mutants, the last of them not tried; `argued` survivors have an argument."""
    names = [f"m{number}" for number in range(len(fates) + 1)]
    results = []
    for name, fate in zip(names, fates, strict=False):
        argument = ""
        if fate is Fate.SURVIVED and argued:
            argument, argued = "it is the same", argued - 1
        results.append(MutantResult(name=name, fate=fate, argument=argument))
    mutants = tuple(
        MutantSpec(name=name, file="mm/x.c", line=1, function="f", operator="o", what="a -> b", diff="")
        for name in names
    )
    return MutationReport(kernel="expand-fault", machine="pc", mutants=mutants, results=tuple(results))


def test_one_score_for_the_table_and_the_generated_ones() -> None:
    verdicts = [Verdict(mutant=ONE, killers=("a.b (FAIL)",), asked_all=False, seconds=1.0)]
    generated_ones = [report(Fate.KILLED, Fate.SURVIVED, Fate.SURVIVED, Fate.EQUAL, Fate.NOT_RUN, argued=1)]
    assert share(verdicts, generated_ones) == 0.5
    assert total(verdicts, generated_ones).splitlines() == [
        "generated from expand-fault: 6 mutants: 1 killed, 2 survived, 1 survived: no case runs the line, 1 equal",
        "50% of 4 mutants that differ killed, by hand and generated",
        "not tried: 1",
    ]


def test_the_generated_mutants_of_a_series_are_tried_once(tmp_path: Path) -> None:
    place = MutantDirectory(tmp_path, ("lockdep",))
    first = generated.command("expand-fault", place, 10)
    assert first[3:8] == ["mutate", "-k", "expand-fault", "-t", "x86_64-4k-2node"]
    assert first[-6:-2] == ["--config", "lockdep", "--equal", str(generated.EQUAL / "expand-fault.json")]
    assert first[-2:] == ["--minutes", "10"]
    (tmp_path / "generated-expand-fault").mkdir()
    (tmp_path / "generated-expand-fault" / "mutants.json").touch()
    again = generated.command("expand-fault", place, None)
    assert again[3:6] == ["mutate", "--resume", str(tmp_path / "generated-expand-fault")]
    assert "--config" not in again


def moves_a_lock(change: str) -> bool:
    """Whether the change names a lock and the statement that it is exchanged with, in either order."""
    return change.endswith(" -> the lock one statement later or earlier")


@pytest.mark.parametrize("path", sorted(generated.EQUAL.glob("*.json")), ids=lambda each: each.stem)
def test_an_argument_is_about_a_line_of_its_series(path: Path) -> None:
    series = path.stem.removesuffix("-64k")
    assert series in generated.SERIES
    patches = (Path("images") / "series" / series / "6.12").glob("*.patch")
    lines = [line.lstrip("+") for patch in patches for line in patch.read_text().splitlines()]
    added = " ".join(" ".join(lines).split())
    arguments = json.loads(path.read_text())
    assert arguments
    for change, argument in arguments.items():
        before = change.partition(": ")[2].partition(" -> ")[0].removesuffix("...")
        statements = before.split("; " if moves_a_lock(change) else " ... ")
        assert all(statement in added for statement in statements), change
        assert len(argument) > 40
