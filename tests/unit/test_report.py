# SPDX-License-Identifier: GPL-2.0-or-later
"""Reports: golden documents of a good and of a bad run, and guests that try to write in them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab import report
from lab.compare import conclude
from lab.errors import UsageError
from lab.outcome import CellStatus, End, Evidence, Mismatch, Run
from lab.report import mail, text
from tests.unit.fixtures.evidence import TOPOLOGIES, cell, evidence, good_runs, ktap, metadata

GOLDEN = Path(__file__).parents[1] / "golden" / "report"
CONSOLES = Path(__file__).parents[1] / "golden" / "console"
SUFFIX = {"text": "txt", "mail": "mail", "json": "json", "junit": "xml", "html": "html"}
HOSTILE = "\x1b]0;owned\x07\x1b[2J<script>alert(1)</script>]]>&amp;\x00\x85\u202e\u2028\ud800{{ 7*7 }}"


def not_met() -> Evidence:
    """On both machines a case fails that must pass, one is fixed on one machine alone, and one has no power."""
    baseline_expand, baseline_guard = good_runs("baseline")
    expand, _ = good_runs("expand-fault")
    failed = ktap(["# guard.c:12: i_size: expected 65536, got 131072", "not ok memfd", "ok sysv"])
    guard = Run(scenario="guard", end=End.EXITED, status=1, ktap=failed)
    passed = ktap(["ok grow_move", "not ok grow_zero", "ok keep_content", "ok pmd_thp # SKIP no huge pages"])
    weak = Run(scenario="expand", end=End.EXITED, status=1, ktap=passed)
    return evidence(
        *(cell(topology, runs=(expand, guard)) for topology in TOPOLOGIES),
        cell(kernel="baseline", runs=(weak, baseline_guard)),
        cell(TOPOLOGIES[1], kernel="baseline", runs=(baseline_expand, baseline_guard)),
    )


def everything_wrong() -> Evidence:
    """A panic in the middle, a guest that is another machine, a kernel that does not boot, a lab that failed."""
    console = (CONSOLES / "x86_64-oops-panic.log").read_text()
    died = Run(
        scenario="expand",
        end=End.PANIC,
        duration_s=2.0,
        ktap="KTAP version 1\n1..4\nok 1 grow_move\n# grow_zero: touching page 3\n",
        console=console,
    )
    again = Run(
        scenario="expand", attempt=2, end=End.EXITED, status=0, ktap=ktap(["ok keep_content"]), cases=("keep_content",)
    )
    lost = Run(scenario="guard", end=End.LOST, ktap="KTAP version 1\n1..2\n", note="the guest answers no longer")
    wrong = (
        Mismatch(fact="page size", asked="64K", got="4K"),
        Mismatch(fact="nodes", asked="0 1", got="0"),
    )
    boot = (CONSOLES / "arm64-init-killed.log").read_text()
    changed = metadata()
    changed["builds"]["arm64-64k-2node/expand-fault"]["config_sha256"] = "another"
    return evidence(
        cell(runs=(died, again, lost)),
        cell(
            kernel="baseline", status=CellStatus.BROKEN, runs=(), reason="gcc: exit status 1\nmm/shmem.c:1:1: error: oh"
        ),
        cell(TOPOLOGIES[1], kernel="baseline", status=CellStatus.INVALID, runs=(), mismatches=wrong),
        cell(TOPOLOGIES[1], status=CellStatus.NO_BOOT, runs=(), reason="no ready line", console=boot, boot_s=None),
        builds=changed["builds"],
    )


def unsteady() -> Evidence:
    """Every cell three times: a case that fails in one of them, a leak, a kernel that came up in two of three."""
    expand, _ = good_runs("expand-fault")
    once = Run(
        scenario="guard", end=End.EXITED, status=1, ktap=ktap(["# guard.c:12: got 1", "not ok memfd", "ok sysv"])
    )
    held = dict.fromkeys(("Committed_AS", "Shmem"), 4000) | {"page_kB": 4, "cpus": 4}
    leaky = replace(good_runs("baseline")[1], before=held, after=held | {"Shmem": 8000})
    dead = (CONSOLES / "arm64-init-killed.log").read_text()
    cells = []
    for repeat in (1, 2, 3):
        cells += [replace(each, repeat=repeat) for each in evidence().cells]
    cells[5] = cell(repeat=2, runs=(expand, once))
    cells[2] = cell(TOPOLOGIES[1], kernel="baseline", runs=(good_runs("baseline")[0], leaky))
    cells[6] = replace(cells[2], repeat=2)
    cells[10] = replace(cells[2], repeat=3)
    cells[11] = cell(
        TOPOLOGIES[1], repeat=3, status=CellStatus.NO_BOOT, runs=(), boot_s=None, reason="it panicked", console=dead
    )
    return Evidence(metadata={**metadata(), "repeat": 3}, cells=tuple(cells))


RUNS = {"good": evidence, "not-met": not_met, "everything-wrong": everything_wrong, "unsteady": unsteady}


@pytest.mark.parametrize("form", SUFFIX)
@pytest.mark.parametrize("name", RUNS)
def test_golden(name: str, form: str) -> None:
    """PAGELAB_UPDATE_GOLDEN=1 rewrites the documents; read the difference before you commit it."""
    got = report.render(RUNS[name](), form)
    golden = GOLDEN / f"{name}.{SUFFIX[form]}"
    if os.environ.get("PAGELAB_UPDATE_GOLDEN"):
        golden.write_text(got)
    assert got == golden.read_text()


def test_the_listing_is_the_registry() -> None:
    assert report.formats() == ("html", "json", "junit", "mail", "text")
    with pytest.raises(UsageError, match="unknown report format 'jsno'; did you mean 'json'"):
        report.render(evidence(), "jsno")


def test_every_report_but_the_mail_has_a_file() -> None:
    assert sorted(report.files(evidence())) == ["junit.xml", "report.html", "report.txt", "results.json"]


def test_what_matters_comes_in_its_order() -> None:
    said = report.render(not_met(), "text") + report.render(everything_wrong(), "text")
    headings = re.findall(r"^([A-Z]{2}[A-Z ]+[A-Z])\b", said, flags=re.MULTILINE)
    assert headings == [
        *("NOT MET", "REGRESSED", "NO POWER", "FIXED", "FIXED", "SKIPPED"),
        *("NOT MET", "BROKEN", "INVALID", "NO BOOT", "BROKEN"),
    ]


# results.json


def test_results_are_schema_1() -> None:
    document = json.loads(report.render(not_met(), "json"))
    assert document["schema"] == 1
    assert document["campaign"]["name"] == "quick"
    assert set(document) >= {"records", "cells", "deltas", "counts", "exit_code", "proofs"}
    assert set(document["records"][0]) == {
        *("topology", "kernel", "scenario", "case", "outcome", "expected"),
        *("met", "duration_s", "attempt", "excerpt", "cause", "counts"),
    }
    assert {record["met"] for record in document["records"]} == {True, False, None}
    assert document["counts"]["records"] == len(document["records"])


# Guests that write in reports.


def hostile() -> Evidence:
    """A guest that puts HOSTILE wherever a guest has a say."""
    one_line = HOSTILE.replace("\u2028", "")
    said = f"KTAP version 1\n1..1\n# {one_line}\nnot ok 1 memfd\nok 2 {one_line}\nok 3 sysv # SKIP {one_line}\n"
    loud = Run(
        scenario="guard",
        end=End.SIGNALLED,
        signal=HOSTILE,
        ktap=said,
        stderr=HOSTILE,
        console=f"[    1.000000] WARNING: {HOSTILE}\n",
        note=HOSTILE,
    )
    wrong = (Mismatch(fact=HOSTILE, asked=HOSTILE, got=HOSTILE),)
    return evidence(
        cell(runs=(loud,), accelerator=HOSTILE),
        cell(kernel="baseline", status=CellStatus.NO_BOOT, reason=HOSTILE, console=HOSTILE, runs=()),
        cell(TOPOLOGIES[1], status=CellStatus.INVALID, reason=HOSTILE, mismatches=wrong, runs=()),
        host={"machine": HOSTILE},
        pagelab=HOSTILE,
        started=HOSTILE,
    )


@pytest.mark.parametrize("form", ["text", "mail", "html", "junit"])
def test_no_character_reaches_a_reader_that_does_something(form: str) -> None:
    said = report.render(hostile(), form)
    assert said.replace("\n", "").isprintable()
    assert "owned" in said, "what the guest said is shown all the same"


def test_json_is_plain_ascii() -> None:
    said = report.render(hostile(), "json")
    assert said.isascii()
    assert said.replace("\n", "").isprintable()
    assert json.loads(said)["schema"] == 1


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.references += [str(value) for name, value in attrs if name in ("href", "src")]


def test_the_page_is_self_contained_and_has_no_tags_of_a_guests() -> None:
    page = _Tags()
    said = report.render(hostile(), "html")
    page.feed(said)
    assert "script" not in page.seen
    assert all(reference.startswith("#") for reference in page.references)
    assert "{{ 7*7 }}" in said, "a guest's words are no template"


def test_junit_is_xml_and_counts() -> None:
    document = ElementTree.fromstring(report.render(hostile(), "junit"))
    assert len(document.findall("testsuite")) == 4
    good = ElementTree.fromstring(report.render(evidence(), "junit"))
    assert (good.get("failures"), good.get("errors"), good.get("skipped")) == ("0", "0", "4")
    summary = conclude(everything_wrong())
    bad = ElementTree.fromstring(report.render(summary, "junit"))
    assert int(bad.get("failures", "0")) == len(summary.not_met) + 1, "one kernel did not boot"
    assert int(bad.get("errors", "0")) == len(summary.broken) + 2, "one cell broke, one was another machine"


# Widths.


@pytest.mark.parametrize(("form", "width"), [("text", text.WIDTH), ("mail", mail.WIDTH)])
@pytest.mark.parametrize("name", [*RUNS, "hostile", "many"])
def test_lines_are_not_too_long(name: str, form: str, width: int) -> None:
    built: Mapping[str, Any] = {**RUNS, "hostile": hostile, "many": many_kernels}
    assert max(map(len, report.render(built[name](), form).split("\n"))) <= width


def many_kernels() -> Evidence:
    """More kernels than columns, with long names: the matrix becomes a list."""
    kernels = [f"expand-fault-without-{part}-{'x' * 20}" for part in ("accounting", "check", "policy", "lock", "all")]
    cells = tuple(cell(topology, kernel) for topology in TOPOLOGIES for kernel in kernels)
    return Evidence(metadata=metadata(kernels=kernels), cells=cells)


def test_a_matrix_that_is_too_wide_is_a_list() -> None:
    assert f"{TOPOLOGIES[0]} / expand-fault-without-lock-" in report.render(many_kernels(), "text")


def test_many_findings_are_cut_short() -> None:
    names = [f"case{number}" for number in range(200)]
    run = Run(scenario="many", end=End.EXITED, status=1, ktap=ktap(f"not ok {name}" for name in names))
    what = evidence(cell(runs=(run,)), cases={"many": [{"name": name} for name in names]})
    said = report.render(what, "text")
    assert "and 160 more in results.json" in said
    assert said.count("FAIL, expected PASS") == text.MAX_ENTRIES


@given(st.text(max_size=60), st.text(max_size=60), st.sampled_from(End))
def test_whatever_a_guest_says_every_report_is_made(said: str, note: str, end: End) -> None:
    loud = Run(scenario="guard", end=end, ktap=f"1..2\n# {said}\nnot ok 1 memfd\n{said}", note=note, console=said)
    summary = conclude(
        evidence(cell(runs=(loud,)), cell(kernel="baseline", status=CellStatus.BROKEN, reason=note, runs=()))
    )
    for form in report.formats():
        assert report.render(summary, form).replace("\n", "").isprintable()
    ElementTree.fromstring(report.render(summary, "junit"))


@pytest.mark.parametrize("form", ["text", "html"])
def test_guests_that_were_restored_are_told(form: str) -> None:
    first, *others = evidence().cells
    swift = replace(evidence(), cells=(replace(first, restores_s=(0.4, 0.6, 0.5)), *others))
    assert "3 guests restored in 0.5 s each" in " ".join(report.render(swift, form).split())
    assert "restored" not in report.render(evidence(), form)
