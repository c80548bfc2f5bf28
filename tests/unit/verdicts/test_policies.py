# SPDX-License-Identifier: GPL-2.0-or-later
"""lab.verdicts.policies: a table per machine from cases called ROW_KIND__POLICY, and how the reports show it."""

from __future__ import annotations

from lab.core.outcome import End, Run
from lab.evidence.metadata import CaseSpec, Evidence
from lab.report import html, text
from lab.verdicts.compare import Summary, conclude
from lab.verdicts.policies import PolicyTable, policy_tables
from tests.unit.fixtures.evidence import TOPOLOGIES, cell, ktap, metadata, recorded

NAMES = ("n01_private__task_bind", "n02_shared__task_bind", "n02_shared__then_grown", "plain")
FAR = ("# saw far", "ok n01_private__task_bind", "# saw far", "ok n02_shared__task_bind")
GROWN = ("# saw far near", "ok n02_shared__then_grown", "ok plain")
REFUSED = ("# numa.c:1: touch: SIGBUS", "not ok n02_shared__then_grown", "ok plain")
SKIPPED = tuple(f"ok {name} # SKIP needs 2 nodes, has 1" for name in NAMES)


def summary(baseline: tuple[str, ...], patched: tuple[str, ...]) -> Summary:
    document = metadata(TOPOLOGIES[:1])
    spec = [CaseSpec.model_validate({"name": name}) for name in NAMES]
    spec[2] = CaseSpec.model_validate({"name": NAMES[2], "requires": ["shm-expand"]})
    cells = []
    for kernel, lines in {"baseline": baseline, "expand-fault": patched}.items():
        run = Run(scenario="table", end=End.EXITED, status=int("not ok" in " ".join(lines)), ktap=ktap([*lines]))
        cells.append(cell(TOPOLOGIES[0], kernel=kernel, runs=(run,)))
    cases = {"table": [each.document() for each in spec]}
    return conclude(Evidence(metadata=recorded({**document, "cases": cases}), cells=tuple(cells)))


def test_a_row_per_policy_and_a_column_per_kind() -> None:
    (found,) = policy_tables(summary((*FAR, *REFUSED), (*FAR, *GROWN)))
    assert found == PolicyTable(
        topology=TOPOLOGIES[0],
        scenario="table",
        kinds=("private", "shared"),
        rows=(
            ("task_bind", ("far", "far")),
            ("then_grown", ("", "baseline: must-fail, expand-fault: far+near")),
        ),
    )


def test_a_failure_that_must_not_be_is_one() -> None:
    (found,) = policy_tables(summary((*FAR, *REFUSED), (*FAR, *REFUSED)))
    assert dict(found.rows)["then_grown"] == ("", "baseline: must-fail, expand-fault: FAIL")


def test_a_machine_that_skips_everything_has_no_table() -> None:
    assert policy_tables(summary(SKIPPED, SKIPPED)) == ()


def test_a_machine_whose_guests_did_not_boot_has_no_table() -> None:
    assert policy_tables(summary((), ())) == ()
    (found,) = policy_tables(summary((), FAR))
    assert dict(found.rows)["task_bind"] == ("baseline: BROKEN, expand-fault: far",) * 2


def test_reports_show_it() -> None:
    found = summary((*FAR, *REFUSED), (*FAR, *GROWN))
    lines = text.render(found, width=120).splitlines()
    start = lines.index(f"MEMORY POLICIES on {TOPOLOGIES[0]} (table): where pages lie")
    assert lines[start + 1].split() == ["private", "shared"]
    assert lines[start + 2].split() == ["task_bind", "far", "far"]
    assert "<h2>Memory policies</h2>" in html.render(found)
    nothing = summary(SKIPPED, SKIPPED)
    assert "MEMORY POLICIES" not in text.render(nothing)
    assert "<h2>Memory policies</h2>" not in html.render(nothing)
