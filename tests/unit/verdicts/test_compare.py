# SPDX-License-Identifier: GPL-2.0-or-later
"""Deltas, the exit code and the proof of the pair."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from lab.core.outcome import (
    CaseRecord,
    CellResult,
    CellStatus,
    Delta,
    End,
    Expected,
    Mismatch,
    Outcome,
    Run,
    met,
)
from lab.evidence.metadata import Evidence
from lab.report import html, mail, text
from lab.report import json as report_json
from lab.verdicts.compare import (
    EXIT_INCOMPLETE,
    EXIT_MET,
    EXIT_NOT_MET,
    conclude,
    delta_of,
    deltas,
    prove,
    series_words,
)
from tests.unit.fixtures.evidence import TOPOLOGIES, cell, evidence, good_runs, ktap, metadata, recorded

P, F, S, C, H, L, Y, B = (
    Outcome.PASS,
    Outcome.FAIL,
    Outcome.SKIP,
    Outcome.CRASH,
    Outcome.HANG,
    Outcome.LEAK,
    Outcome.FLAKY,
    Outcome.BROKEN,
)


@pytest.mark.parametrize(
    ("before", "after", "delta"),
    [
        *((bad, P, Delta.FIXED) for bad in (F, C, H, L)),
        *((P, bad, Delta.REGRESSED) for bad in (F, C, H, L)),
        (F, L, Delta.REGRESSED),
        (F, H, Delta.REGRESSED),
        (F, C, Delta.REGRESSED),
        (H, C, Delta.REGRESSED),
        (C, F, Delta.SAME),
        *((same, same, Delta.SAME) for same in (P, F, C, H, L)),
        *((nothing, P, Delta.NO_VERDICT) for nothing in (S, B, Y, None)),
        *((P, nothing, Delta.NO_VERDICT) for nothing in (S, B, Y, None)),
        (B, B, Delta.NO_VERDICT),
    ],
)
def test_delta(before: Outcome | None, after: Outcome | None, delta: Delta) -> None:
    assert delta_of(before, after) is delta


def record(kernel: str, outcome: Outcome, case: str = "a") -> CaseRecord:
    return CaseRecord(
        topology="t",
        kernel=kernel,
        scenario="s",
        case=case,
        outcome=outcome,
        expected=Expected.PASS,
        met=met(outcome, Expected.PASS),
    )


def test_every_kernel_is_compared_with_the_first_and_with_no_other() -> None:
    found = list(deltas([record("base", F), record("one", P), record("two", H)], ["base", "one", "two"]))
    assert [(delta.baseline, delta.kernel, delta.delta) for delta in found] == [
        ("base", "one", Delta.FIXED),
        ("base", "two", Delta.REGRESSED),
    ]


def test_a_missing_record_is_no_verdict() -> None:
    (found,) = deltas([record("one", P)], ["base", "one"])
    assert (found.before, found.after, found.delta) == (None, P, Delta.NO_VERDICT)


def test_a_kernel_report_on_one_kernel_alone_is_a_change() -> None:
    """`console` has a record only when something was wrong; the other kernel ran the scenario and said nothing."""
    records = [record("base", P), record("one", P), record("one", C, "console")]
    assert [delta.delta for delta in deltas(records, ["base", "one"])] == [Delta.SAME, Delta.REGRESSED]
    silent = [record("base", B), record("one", P), record("one", C, "console")]
    assert [delta.delta for delta in deltas(silent, ["base", "one"])] == [Delta.NO_VERDICT, Delta.NO_VERDICT]


# The exit code.


def test_all_is_well() -> None:
    summary = conclude(evidence())
    assert summary.exit_code == EXIT_MET
    assert summary.sentence == "all 20 expectations met, 4 skipped"
    assert len(summary.delta(Delta.FIXED)) == 4
    assert [record.label for record in summary.skipped_everywhere] == ["expand.pmd_thp"]
    assert summary.not_met == summary.no_power == summary.broken == ()
    assert summary.counts()["fixed"] == 4


def exit_of(what: Evidence) -> tuple[int, str]:
    summary = conclude(what)
    return summary.exit_code, summary.sentence


def bent(kernel: str, **lines: str) -> CellResult:
    """A cell of the first topology whose scenario `guard` says something else."""
    expand, _ = good_runs(kernel)
    said = ktap([lines.get("memfd", "ok memfd"), lines.get("sysv", "ok sysv")])
    status = 1 if "not ok" in said else 0
    return cell(kernel=kernel, runs=(expand, Run(scenario="guard", end=End.EXITED, status=status, ktap=said)))


@pytest.mark.parametrize("line", ["not ok memfd", "not ok memfd # CRASH signal=11", "not ok memfd # TIMEOUT state=D"])
def test_what_is_not_met_is_1(line: str) -> None:
    code, sentence = exit_of(evidence(bent("expand-fault", memfd=line)))
    assert code == EXIT_NOT_MET
    assert sentence == "1 of 24 expectations not met"


@pytest.mark.parametrize(
    "line", ["ok grow_move", "not ok grow_move # CRASH signal=7", "not ok grow_move # TIMEOUT 5 s"]
)
def test_a_baseline_that_does_not_plainly_fail_is_1(line: str) -> None:
    _, guard = good_runs("baseline")
    said = ktap([line, "not ok grow_zero", "ok keep_content", "ok pmd_thp # SKIP"])
    run = Run(scenario="expand", end=End.EXITED, status=1, ktap=said)
    summary = conclude(evidence(cell(kernel="baseline", runs=(run, guard))))
    assert summary.exit_code == EXIT_NOT_MET
    assert [one.label for one in summary.no_power] == (["expand.grow_move"] if line.startswith("ok") else [])
    assert [one.label for one in summary.not_met] == ([] if line.startswith("ok") else ["expand.grow_move"])


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (bent("expand-fault", memfd="not ok memfd # ERROR no memfd"), "1 case without evidence"),
        (cell(status=CellStatus.BROKEN, runs=(), reason="libvirt is gone"), "1 cell failed in the lab"),
        (
            cell(status=CellStatus.INVALID, runs=(), mismatches=(Mismatch(fact="page size", asked="64K", got="4K"),)),
            "1 guest not the machine asked for",
        ),
    ],
)
def test_what_is_missing_is_2(broken: CellResult, words: str) -> None:
    code, sentence = exit_of(evidence(broken))
    assert code == EXIT_INCOMPLETE
    assert words in sentence


def test_a_finding_weighs_more_than_what_is_missing() -> None:
    broken = cell("arm64-64k-2node", status=CellStatus.BROKEN, runs=(), reason="disk full")
    code, sentence = exit_of(evidence(bent("expand-fault", memfd="not ok memfd"), broken))
    assert code == EXIT_NOT_MET
    assert "disk full" not in sentence
    assert "1 cell failed in the lab" in sentence


def test_a_kernel_that_does_not_boot_is_a_finding() -> None:
    code, sentence = exit_of(evidence(cell(status=CellStatus.NO_BOOT, runs=(), reason="panic")))
    assert code == EXIT_NOT_MET
    assert sentence.startswith("1 kernel did not boot")


def test_nothing_at_all_is_incomplete() -> None:
    assert exit_of(Evidence(metadata=recorded(metadata()), cells=())) == (
        EXIT_INCOMPLETE,
        "incomplete: there is no record at all",
    )


def test_a_campaign_that_skipped_everything_tested_nothing() -> None:
    skipped = ktap(f"ok {name} # SKIP no" for name in ("grow_move", "grow_zero", "keep_content", "pmd_thp"))
    guard = ktap(["ok memfd # SKIP no", "ok sysv # SKIP no"])
    runs = tuple(
        Run(scenario=name, end=End.EXITED, status=0, ktap=said)
        for name, said in (("expand", skipped), ("guard", guard))
    )
    cells = tuple(cell(one.topology, one.kernel, runs=runs) for one in evidence().cells)
    claimed = "1 of 25 expectations not met; every case was skipped"  # that the kernel has the feature
    assert exit_of(evidence(*cells)) == (EXIT_NOT_MET, claimed)
    document = metadata()
    document["kernels"]["expand-fault"]["provides"] = []
    nothing = Evidence(metadata=recorded(document), cells=cells)
    assert exit_of(nothing) == (EXIT_INCOMPLETE, "incomplete: every case was skipped")


# The proof.


def test_the_proof() -> None:
    (proof,) = prove(recorded(metadata()))
    assert proof.sound
    assert proof.sentence == (
        "baseline and expand-fault differ in the series expand-fault and in nothing else: "
        "same source, configuration and compiler on both topologies."
    )


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("config_sha256", "other", "arm64-64k-2node: configuration: config-arm64-64k-2node and other"),
        ("compiler", "gcc 13", "compiler: gcc 12.2.0 and gcc 13"),
        ("source", "elsewhere", "source: debian:linux-source-6.12 6.12.95-1 and elsewhere"),
        ("config_sha256", None, "configuration: config-arm64-64k-2node and unknown"),
        ("build_id", "id-arm64-64k-2node-baseline", "both are the same kernel"),
    ],
)
def test_a_pair_that_differs_in_more_is_not_proven(key: str, value: str | None, words: str) -> None:
    changed = metadata()
    changed["builds"]["arm64-64k-2node/expand-fault"][key] = value
    (proof,) = prove(recorded(changed))
    assert not proof.sound
    assert len(proof.differences) == 1
    assert words in proof.sentence
    code, sentence = exit_of(evidence(builds=changed["builds"]))
    assert code == EXIT_INCOMPLETE
    assert "1 pair of kernels not proven" in sentence


def test_a_patch_that_changes_nothing_somewhere_says_so_and_is_no_fault() -> None:
    """A mistake about pages of other sizes leaves the kernel of 4K pages as it is."""
    changed = metadata()
    changed["kernels"]["expand-fault"] = {"name": "x", "source": "path:~/linux", "series": "/cache/patched"}
    changed["kernels"]["baseline"]["source"] = "path:~/linux"
    changed["builds"][f"{TOPOLOGIES[0]}/expand-fault"]["patches"] = [{"name": "0001-mm-fix.patch", "sha256": "0"}]
    same, other = (changed["builds"][f"{TOPOLOGIES[1]}/{kernel}"] for kernel in ("baseline", "expand-fault"))
    other["build_id"] = same["build_id"]
    (proof,) = prove(recorded(changed))
    assert proof.sound
    assert "differ in 0001-mm-fix.patch and in nothing else" in proof.sentence
    assert proof.sentence.endswith(f"On {TOPOLOGIES[1]} it changes nothing: both are the same kernel there (build id).")


@pytest.mark.parametrize("patches", [3, "x", [1], [{"sha256": "0"}], None])
def test_patches_of_a_damaged_record_are_none(patches: object) -> None:
    changed = metadata()
    changed["kernels"]["expand-fault"]["series"] = "/some/where"
    for build in changed["builds"].values():
        build["patches"] = patches
    assert series_words(recorded(changed), "expand-fault") == "the series where"


def test_a_build_without_a_record_is_not_proven() -> None:
    changed = metadata()
    del changed["builds"]["x86_64-4k-2node/expand-fault"]
    (proof,) = prove(recorded(changed))
    assert proof.differences == ("x86_64-4k-2node: there is no record of the second build",)


def test_kernels_that_were_asked_to_differ_are_no_pair() -> None:
    changed = metadata()
    changed["kernels"]["expand-fault"]["source"] = "debian:linux-source-6.1"
    assert prove(recorded(changed)) == ()


def test_kernels_that_were_not_built_here_prove_nothing_about_a_patch() -> None:
    changed = metadata()
    changed["kernels"]["baseline"]["source"] = "debian:linux-image-arm64"
    changed["kernels"]["expand-fault"] = {"source": "image:/boot/vmlinuz-fix", "provides": ["shm-expand"]}
    for topology in TOPOLOGIES:
        build = changed["builds"][f"{topology}/expand-fault"]
        build |= {"compiler": "gcc 13", "release": "6.12.1"}
        changed["builds"][f"{topology}/baseline"]["release"] = "6.12.0"
    summary = conclude(evidence(kernels=changed["kernels"], builds=changed["builds"]))
    assert summary.proofs == ()
    assert summary.exit_code == EXIT_MET
    assert summary.no_pairs == (
        "baseline and expand-fault were not built here. They differ in release, compiler. What baseline and "
        "expand-fault do differently is no proof about a patch.",
    )
    for render in (text.render, mail.render, html.render):
        assert "is no proof about a patch" in " ".join(render(summary).split())
    assert json.loads(report_json.render(summary))["no_pairs"] == list(summary.no_pairs)


def test_the_same_kernel_under_two_names_shows_no_patch() -> None:
    changed = metadata()
    changed["kernels"]["expand-fault"] = {"source": "image:/boot/vmlinuz-same"}
    for topology in TOPOLOGIES:
        build = changed["builds"][f"{topology}/expand-fault"]
        build["build_id"] = changed["builds"][f"{topology}/baseline"]["build_id"]
    (sentence,) = conclude(evidence(kernels=changed["kernels"], builds=changed["builds"])).no_pairs
    assert sentence.startswith(f"baseline and expand-fault are the same kernel on {TOPOLOGIES[0]} (build id)")


def test_one_kernel_has_nothing_to_prove() -> None:
    assert prove(recorded(metadata(kernels=("baseline",)))) == ()


@pytest.mark.parametrize(
    ("status", "words"),
    [(CellStatus.NO_BOOT, "1 kernel did not boot"), (CellStatus.BROKEN, "1 cell failed in the lab")],
)
def test_a_repeat_that_ran_nothing_costs_no_verdict_but_the_exit_code(status: CellStatus, words: str) -> None:
    """Two of three guests agree, so what they fixed is fixed; that one did not come up is still told."""
    guests = [replace(each, repeat=number) for number in (1, 2, 3) for each in evidence().cells]
    guests[0] = cell(guests[0].topology, guests[0].kernel, repeat=1, status=status, runs=())
    summary = conclude(Evidence(metadata=recorded({**metadata(), "repeat": 3}), cells=tuple(guests)))
    assert not summary.broken
    assert len(summary.delta(Delta.FIXED)) == 4
    assert summary.exit_code in (EXIT_NOT_MET, EXIT_INCOMPLETE)
    assert words in summary.sentence
    mine = summary.of_cell(guests[0].topology, guests[0].kernel)
    assert {sum(number for _, number in each.counts) for each in mine} == {2}
