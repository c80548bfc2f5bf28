# SPDX-License-Identifier: GPL-2.0-or-later
"""A feature, a suite or a program of which no case could fail is an expectation that is not met."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from lab.core.columns import CellRecords, Tally, count
from lab.core.outcome import CaseRecord, CellKey, Expected, Outcome
from lab.evidence.metadata import Evidence
from lab.report import registry as report
from lab.verdicts.compare import EXIT_NOT_MET, conclude
from lab.verdicts.power import Claim, Unproven, runs_everything, unproven
from tests.unit.fixtures.evidence import evidence, metadata, recorded
from tests.unit.fixtures.runs import powerless

PLACE = CellKey("m", "patched")


def record(case: str, outcome: Outcome, place: CellKey = PLACE) -> CaseRecord:
    return CaseRecord(
        topology=place.topology,
        kernel=place.kernel,
        scenario="mine",
        case=case,
        outcome=outcome,
        expected=Expected.PASS,
        met=None if outcome is Outcome.SKIP else True,
        excerpt="no device",
    )


def document(**changes: Any) -> dict[str, Any]:
    """A run of all scenarios on one machine: a kernel `patched` with one feature that one of two cases requires."""
    return {
        "schema": 1,
        "campaign": {"name": "all", "scenarios": ["*"]},
        "kernels": {"patched": {"provides": ["speed"]}},
        "cells": [{"topology": "m", "kernel": "patched"}],
        "cases": {"mine": [{"name": "fast", "requires": ["speed"]}, {"name": "slow"}]},
        **changes,
    }


def by_kernel(records: Mapping[CellKey, Sequence[CaseRecord]]) -> Mapping[str, Tally]:
    return count({place: CellRecords.of(place, each) for place, each in records.items()}).by_kernel


def claims(said: dict[str, Any], records: Sequence[CaseRecord]) -> list[str]:
    found = unproven(recorded(said), by_kernel({PLACE: records}))
    return [f"{claim.subject}: {claim.reason}" for claim in found]


@pytest.mark.parametrize("outcome", [Outcome.PASS, Outcome.FAIL, Outcome.CRASH, Outcome.BROKEN])
def test_a_feature_has_power_where_a_case_that_requires_it_ran(outcome: Outcome) -> None:
    assert claims(document(), [record("fast", outcome), record("slow", Outcome.SKIP)]) == []


def test_a_feature_has_none_where_all_cases_that_require_it_were_skipped() -> None:
    assert claims(document(), [record("fast", Outcome.SKIP), record("slow", Outcome.PASS)]) == [
        "feature speed: the one case that requires it was skipped on every machine; mine.fast: no device"
    ]


def test_one_machine_where_it_ran_is_enough() -> None:
    other = CellKey("n", "patched")
    records = {PLACE: (record("fast", Outcome.SKIP),), other: (record("fast", Outcome.PASS, other),)}
    assert unproven(recorded(document()), by_kernel(records)) == ()


def test_a_feature_that_no_case_requires() -> None:
    said = document(cases={"mine": [{"name": "slow"}]})
    assert claims(said, [record("slow", Outcome.PASS)]) == ["feature speed: no case requires it"]


@pytest.mark.parametrize(
    "choice",
    [
        {"command": {"verb": "run", "options": {"--test": ["mine.slow"]}}},
        {"command": {"verb": "try", "runs": {"verb": "run", "options": {"--test": ["mine.slow"]}}}},
        {"asked": {"tests": ["mine.slow"]}},
        {"typed": {"words": ["lab", "try", "my.patch"], "on": "--on", "tests": ["mine.slow"]}},
        {"campaign": {"name": "few", "scenarios": ["mine"]}},
        {"campaign": {"name": "old"}},
        {"suites": {"kselftest-mm": {"word": "kselftest-mm"}}},
        {"topologies": {"m": {"scenarios": ["costs"]}}},
    ],
)
def test_whoever_chooses_cases_need_not_choose_those_of_every_feature(choice: dict[str, Any]) -> None:
    said = document(cases={"mine": [{"name": "slow"}]}, **choice)
    assert not runs_everything(recorded(said), "patched")
    assert claims(said, [record("slow", Outcome.PASS)]) == []


@pytest.mark.parametrize(
    ("given", "subject"),
    [
        ({"programs": ["own/mine.c"]}, "program mine"),
        ({"suites": {"mine": {"word": "ltp:/x"}}}, "suite mine"),
    ],
)
def test_a_program_or_suite_that_only_skips(given: dict[str, Any], subject: str) -> None:
    said = document(kernels={}, **given)
    skipped = [record("fast", Outcome.SKIP), record("slow", Outcome.SKIP)]
    assert claims(said, skipped) == [f"{subject}: all 2 cases were skipped on every machine; mine.fast: no device"]
    assert claims(said, [*skipped, record("more", Outcome.PASS)]) == []


def test_a_program_may_skip_all_on_the_kernel_that_is_compared_with() -> None:
    first = CellKey("m", "baseline")
    records = {first: (record("fast", Outcome.SKIP, first),), PLACE: (record("fast", Outcome.PASS),)}
    assert unproven(recorded(document(programs=["mine.c"])), by_kernel(records)) == ()


def test_it_is_not_met_and_in_every_report() -> None:
    summary = conclude(powerless())
    assert [claim.subject for claim in summary.unproven] == [
        "feature shm-expand",
        "feature no-such-thing",
        "program guard",
    ]
    assert summary.exit_code == EXIT_NOT_MET
    assert summary.sentence == "3 of 27 expectations not met"
    for form in ("text", "mail", "html", "junit", "json"):
        said = report.render(powerless(), form)
        assert "no-such-thing" in said, form
    red = ElementTree.fromstring(report.render(powerless(), "junit")).findall(".//failure")
    assert [entry.get("type") for entry in red] == ["NO POWER"] * 3
    found = json.loads(report.render(powerless(), "json"))
    assert found["no_power"][0] == {
        "kernel": "expand-fault",
        "claim": "feature",
        "name": "shm-expand",
        "reason": "all 3 cases that require it were skipped on every machine; expand.grow_move: no perf events",
        "cases": ["expand.grow_move", "expand.grow_zero", "expand.pmd_thp"],
    }


def test_a_good_run_has_none() -> None:
    assert conclude(evidence()).unproven == ()
    good = evidence()
    everything = {**metadata(), "campaign": {"name": "quick", "scenarios": ["*"]}}
    assert conclude(Evidence(metadata=recorded(everything), cells=good.cells)).unproven == ()


def test_a_claim_names_its_subject() -> None:
    claim = Unproven(kernel="k", claim=Claim.FEATURE, name="f", reason="no case requires it")
    assert replace(claim, claim=Claim.SUITE).subject == "suite f"
