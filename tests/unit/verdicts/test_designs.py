# SPDX-License-Identifier: GPL-2.0-or-later
"""Designs side by side: in which cases they differ, and what each costs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from lab.core.outcome import CellResult, CellStatus, End, Run
from lab.evidence.metadata import Evidence
from lab.report import _designs as shown
from lab.report import json as results
from lab.report import text
from lab.verdicts import designs
from lab.verdicts.compare import Summary, conclude
from tests.unit.fixtures.evidence import cell, ktap, metadata, recorded

A, B = "x86_64-4k", "arm64-64k"
KERNELS = ("baseline", "fault", "mremap")
CASES = ("one", "two", "three")
Did = Mapping[tuple[str, str], Sequence[str]]
"""(machine, kernel) -> KTAP lines; a place that is not there passed all cases."""

PASSES = tuple(f"ok {name}" for name in CASES)


def summary(did: Did, *, kernels: Sequence[str] = KERNELS, clock: str | None = None) -> Summary:
    """A run of two machines on which every kernel did what `did` says."""
    meta = metadata((A, B), kernels)
    meta["cases"] = {"toy": [{"name": name, "requires": [], "description": name} for name in CASES]}
    for topology in meta["topologies"].values():
        topology["clock"] = clock
    places = [(topology, kernel) for topology in (A, B) for kernel in kernels]
    return conclude(
        Evidence(metadata=recorded(meta), cells=tuple(_cell(place, did.get(place, PASSES)) for place in places))
    )


def _cell(place: tuple[str, str], lines: Sequence[str]) -> CellResult:
    bad = any(line.startswith("not ok") for line in lines)
    run = Run(scenario="toy", end=End.EXITED, status=int(bad), duration_s=1.0, ktap=ktap(lines))
    return cell(*place, runs=(run,))


def on_all(kernel: str, *lines: str) -> Did:
    return {(topology, kernel): lines for topology in (A, B)}


def differ(did: Did, kernels: Sequence[str] = KERNELS) -> list[str]:
    return shown.differ(summary(did, kernels=kernels), 100)


# Where they differ.

TWO_FAILS = ("ok one", "# toy.c:7: write: got SIGBUS, expected 0", "not ok two", "ok three")
TWO_SAYS = ("ok one", "# saw ENOMEM commit+16", "ok two", "ok three")


def test_a_case_in_which_designs_differ_is_one_line_for_all_machines() -> None:
    assert differ(on_all("mremap", *TWO_FAILS)) == [
        "DESIGNS DIFFER in 1 case",
        "       baseline      fault         mremap",
        "toy",
        "  two  pass          pass          fail: SIGBUS",
        "alike in all designs: 2 cases",
    ]


def test_machines_that_do_not_do_the_same_are_named() -> None:
    assert differ({(A, "mremap"): TWO_FAILS, (B, "fault"): TWO_SAYS}) == [
        "DESIGNS DIFFER in 1 case",
        "       baseline                fault                   mremap",
        "toy",
        "  two  pass                    pass                    fail: SIGBUS",
        f"    on {A}",
        "  two  pass                    pass: ENOMEM commit+16  pass",
        f"    on {B}",
        "alike in all designs: 2 cases",
    ]


def test_what_a_case_saw_tells_designs_apart_that_both_pass() -> None:
    lines = differ({**on_all("fault", *TWO_SAYS), **on_all("mremap", "ok one", "# saw SIGBUS", "ok two", "ok three")})
    assert [line.split() for line in lines if line.startswith("  two")] == [
        ["two", "pass", "pass:", "ENOMEM", "commit+16", "pass:", "SIGBUS"]
    ]


def test_that_the_baseline_differs_is_no_difference_of_designs() -> None:
    assert differ(on_all("baseline", *TWO_FAILS)) == ["DESIGNS DIFFER in 0 cases", "alike in all designs: 3 cases"]


@pytest.mark.parametrize("kernels", [("baseline",), ("baseline", "fault")])
def test_there_is_nothing_to_say_without_two_designs(kernels: tuple[str, ...]) -> None:
    found = summary(on_all("fault", *TWO_FAILS), kernels=kernels)
    assert designs.differences(found) is None
    assert "DESIGNS DIFFER" not in text.render(found)


def test_the_second_kernel_without_a_series_is_no_design() -> None:
    found = summary(on_all("mremap", *TWO_FAILS))
    document = found.evidence.metadata.document()
    document["kernels"]["mremap"]["series"] = None
    found = conclude(replace(found.evidence, metadata=recorded(document)))
    assert designs.differences(found) is None


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("ok two # SKIP no room", "skip"),
        ("not ok two # TIMEOUT state=D after 5000 ms", "hang"),
        ("not ok two # CRASH signal=11 (SIGSEGV)", "crash: SIGSEGV"),
        ("not ok two", "fail"),
    ],
)
def test_how_a_case_ended_is_a_cell(line: str, word: str) -> None:
    (row,) = differ_rows(on_all("fault", "ok one", line, "ok three"))
    assert row.cells == ("pass", word, "pass")


def differ_rows(did: Did) -> Sequence[designs.Row]:
    found = designs.differences(summary(did))
    assert found
    return found.rows


def test_want_of_evidence_is_no_difference_and_not_alike() -> None:
    broken = on_all("fault", "ok one", "not ok two # ERROR mmap: ENOMEM", "ok three")
    assert differ(broken) == [
        "DESIGNS DIFFER in 0 cases",
        "alike in all designs: 2 cases; not told on any machine, for want of evidence: 1 case",
    ]


def test_a_machine_that_all_designs_skip_a_case_on_does_not_split_its_row() -> None:
    skipped = ("ok one", "ok two # SKIP one node", "ok three")
    nowhere: Did = {(B, kernel): skipped for kernel in KERNELS}
    (row,) = differ_rows({**nowhere, (A, "mremap"): TWO_FAILS})
    assert row.everywhere


# What they cost.


def measured(*costs: str) -> tuple[str, ...]:
    """KTAP of the cases, each with a line of what it costs; `-` for none, `SKIP` for a case that makes no sense."""
    lines: list[str] = []
    for name, cost in zip(CASES, costs, strict=True):
        lines += [f"# cost {name} {cost} ({cost.split()[0]}-{cost.split()[0]} in 51 rounds)"] if " " in cost else []
        lines.append(f"ok {name} # SKIP does not grow" if cost == "SKIP" else f"ok {name}")
    return tuple(lines)


def counted(number: int) -> str:
    return f"{number} instructions"


COSTS: Did = {
    (A, "baseline"): measured(counted(2000), counted(400), "SKIP"),
    (A, "fault"): measured(counted(2100), "-", counted(900)),
    (A, "mremap"): measured(counted(2000), counted(300), counted(800)),
}


def test_costs_are_ratios_to_the_baseline() -> None:
    assert shown.cost(summary(COSTS, clock="instructions"), 100) == [
        f"COSTS on {A}, in instructions, by the median of many rounds; the others as ratios to baseline,",
        "  where that has it",
        "           baseline         fault        mremap",
        "one            2000        x1.050        x1.000",
        "two             400  not measured        x0.750",
        "three             -           900           800",
        "half of the rounds of a measurement are 0.0% apart, at most",
    ]


def test_the_report_has_the_costs() -> None:
    assert f"COSTS on {A}, in instructions" in text.render(summary(COSTS, clock="instructions"))
    assert "COSTS" not in text.render(summary({}))


def test_a_cost_that_was_never_measured_is_said_beside_those_that_were() -> None:
    did = {(A, kernel): measured(counted(10), "-", "SKIP") for kernel in KERNELS}
    one, two = designs.prices(summary(did, clock="instructions"))[A]
    assert (one.ratio(1), two.ratio(1)) == (1.0, None)
    assert shown._prices(two) == ["not measured"] * 3


def test_without_a_baseline_there_is_no_ratio() -> None:
    did = {**COSTS, (A, "baseline"): measured("-", "-", "SKIP")}
    one, *_ = designs.prices(summary(did, clock="instructions"))[A]
    assert [one.ratio(number) for number in range(3)] == [None] * 3
    assert shown._prices(one) == ["not measured", "2100", "2000"]


def test_time_on_a_machine_that_counts_instructions_is_not_believed() -> None:
    assert designs.prices(summary(COSTS, clock=None)) == {}
    timed: Did = {(A, kernel): measured("20 ns", "30 ns", "SKIP") for kernel in KERNELS}
    assert designs.prices(summary(timed, clock="instructions")) == {}
    assert list(designs.prices(summary(timed))) == [A]


@pytest.mark.parametrize(
    "lines",
    [
        ["# cost two 5 instructions (5-5 in 51 rounds)", "ok one"],
        ["# cost one 5 instructions (6-7 in 51 rounds)", "ok one"],
        ["# cost one 0 instructions (0-0 in 51 rounds)", "ok one"],
        ["# cost one 5 instructions (5-5 in 0 rounds)", "ok one"],
        ["# cost one 5 instructions", "ok one"],
        ["# cost one -5 instructions (1-5 in 51 rounds)", "ok one"],
        ["# cost one 5 seconds (5-5 in 51 rounds)", "ok one"],
        ["# cost one 5 instructions (5-5 in 51 rounds)"] * 2 + ["ok one"],
        ["# | cost one 5 instructions (5-5 in 51 rounds)", "ok one"],
        ["# cost one 5 instructions (5-5 in 51 rounds)", "not ok one"],
    ],
)
def test_what_is_no_measurement(lines: list[str]) -> None:
    did = {(A, "baseline"): [*lines, "ok two", "ok three"]}
    assert designs.prices(summary(did, clock="instructions")) == {}


def test_results_have_the_numbers() -> None:
    records = json.loads(results.render(summary(COSTS, clock="instructions")))["records"]
    costs = {(each["kernel"], each["case"]): each["cost"] for each in records if "cost" in each}
    assert len(costs) == 7
    assert costs["fault", "one"] == {
        **{"median": 2100, "low": 2100, "high": 2100, "rounds": 51},
        "unit": "instructions",
    }


def test_repeats_give_the_measurement_in_the_middle() -> None:
    found = summary({}, clock="instructions")
    cells = [
        replace(_cell((A, "fault"), measured(counted(number), "-", "-")), repeat=repeat)
        for repeat, number in enumerate((900, 100, 500), start=1)
    ]
    one, *_ = designs.prices(conclude(Evidence(metadata=found.evidence.metadata, cells=tuple(cells))))[A]
    assert [cost.median for cost in one.costs if cost] == [500]
    lost = ("not ok one # ERROR mmap: ENOMEM", "ok two", "ok three")
    cells[0] = replace(_cell((A, "fault"), lost), repeat=1)
    assert designs.prices(conclude(Evidence(metadata=found.evidence.metadata, cells=tuple(cells)))) == {}


def test_a_machine_has_no_records_of_what_it_is_not_for() -> None:
    found = summary({})
    document = found.evidence.metadata.document()
    document["topologies"][B]["scenarios"] = ["costs"]
    cells = tuple(replace(one, runs=()) if one.topology == B else one for one in found.evidence.cells)
    records = conclude(Evidence(metadata=recorded(document), cells=cells)).records
    assert {record.topology for record in records} == {A}


def test_an_invalid_machine_has_no_costs() -> None:
    found = summary(COSTS, clock="instructions")
    cells = tuple(
        cell(A, one.kernel, status=CellStatus.INVALID, runs=()) if one.topology == A else one
        for one in found.evidence.cells
    )
    assert designs.prices(conclude(Evidence(metadata=found.evidence.metadata, cells=cells))) == {}
