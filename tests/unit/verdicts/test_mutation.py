# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/verdicts/mutation.py: the score, the fair order, and what is a survivor."""

from __future__ import annotations

import pytest

from lab.verdicts.mutation import Fate, MutantResult, MutantSpec, MutationReport, counted, fair_order, score


def mutant(name: str, function: str = "f", line: int = 1) -> MutantSpec:
    return MutantSpec(
        name=name, file="mm/a.c", line=line, function=function, operator="constant", what="1 -> 2", diff="-1\n+2\n"
    )


def result(name: str, fate: Fate, argument: str = "") -> MutantResult:
    return MutantResult(name=name, fate=fate, argument=argument)


def test_the_score_counts_what_can_be_killed() -> None:
    results = [
        result("a", Fate.KILLED),
        result("b", Fate.SURVIVED),
        result("c", Fate.NOT_RUN),
        result("d", Fate.EQUAL),
        result("e", Fate.NOT_BUILT),
        result("f", Fate.NO_VERDICT),
        result("g", Fate.NOT_COMPILED),
    ]
    assert score(results) == pytest.approx(1 / 3)


def test_a_survivor_with_an_argument_is_left_out_of_the_score() -> None:
    assert score([result("a", Fate.KILLED), result("b", Fate.SURVIVED, "both free the page")]) == 1.0


def test_a_defect_that_no_test_can_hit_stays_in_the_score() -> None:
    survivor = result("b", Fate.SURVIVED, "not equal: a write would have to come between two instructions")
    assert score([result("a", Fate.KILLED), survivor]) == 0.5
    assert survivor.stated_argument == survivor.argument
    assert result("c", Fate.SURVIVED, "both free the page").stated_argument == "equal: both free the page"


def test_no_mutant_has_no_score() -> None:
    assert score([result("a", Fate.EQUAL)]) is None


def test_each_function_has_its_first_before_any_has_its_second() -> None:
    mutants = [mutant("a1", "a"), mutant("a2", "a"), mutant("a3", "a"), mutant("b1", "b"), mutant("c1", "c")]
    assert [each.name for each in fair_order(mutants)] == ["a1", "b1", "c1", "a2", "a3"]


def test_functions_have_scores_of_their_own() -> None:
    report = MutationReport(
        kernel="k",
        machine="t",
        mutants=(mutant("a", "f"), mutant("b", "f"), mutant("c", "g"), mutant("d", "g")),
        results=(result("a", Fate.KILLED), result("b", Fate.SURVIVED), result("c", Fate.KILLED)),
    )
    scores = {function: score(results) for function, results in report.by_function().items()}
    assert scores == {"mm/a.c: f": 0.5, "mm/a.c: g": 1.0}
    assert [spec.name for spec, _ in report.survivors()] == ["b"]
    assert counted(report.results) == "2 killed, 1 survived"
