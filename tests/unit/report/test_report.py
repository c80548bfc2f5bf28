# SPDX-License-Identifier: GPL-2.0-or-later
"""Reports: golden documents of a good and of a bad run, and guests that try to write in them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shlex
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from html.parser import HTMLParser
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from kcidb_io import schema as kcidb
from rich.console import Console

from lab.core.errors import UsageError
from lab.core.outcome import Cause, CellStatus, End, Outcome, Run
from lab.formats import ktap as ktap_parser
from lab.report import _data, mail, text
from lab.report import json as report_json
from lab.report import registry as report
from lab.verdicts.compare import conclude
from tests.unit.fixtures.evidence import KERNELS, TOPOLOGIES, cell, evidence, good_runs, ktap, metadata
from tests.unit.fixtures.runs import (
    everything_wrong,
    hostile,
    many_kernels,
    not_met,
    powerless,
    reproduced,
    unsteady,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "report"
SUFFIX = {
    "kcidb": "kcidb",
    "ktap": "ktap",
    "text": "txt",
    "mail": "mail",
    "json": "json",
    "junit": "xml",
    "html": "html",
}


RUNS = {
    "good": evidence,
    "not-met": not_met,
    "no-power": powerless,
    "everything-wrong": everything_wrong,
    "unsteady": unsteady,
    "reports": reproduced,
}


def without_assets(page: str) -> str:
    """A page without what is the same in every one: its style, its script and the script's hash."""
    page = re.sub(r"(?s)(<style>|<script>).*?(?=</style>|</script>)", r"\1", page)
    return re.sub(r"'sha256-[^']*'", "'sha256-'", page)


@pytest.mark.parametrize("form", SUFFIX)
@pytest.mark.parametrize("name", RUNS)
def test_golden(name: str, form: str) -> None:
    """PAGELAB_UPDATE_GOLDEN=1 rewrites the documents; read the difference before you commit it."""
    got = without_assets(report.render(RUNS[name](), form))
    golden = GOLDEN / f"{name}.{SUFFIX[form]}"
    if os.environ.get("PAGELAB_UPDATE_GOLDEN"):
        golden.write_text(got)
    assert got == golden.read_text()


@pytest.mark.parametrize("form", ["text", "mail", "json", "junit", "html"])
def test_every_format_has_the_links_of_the_reports(form: str) -> None:
    said = report.render(reproduced(), form)
    assert "https://bugs.example.org/1" in said
    assert "https://bugs.example.org/2" in said
    assert "bugs.example.org" not in report.render(evidence(), form)


def test_a_link_that_is_no_address_of_the_web_is_none_in_the_page() -> None:
    """metadata.json may come from anybody."""
    bent = reproduced()
    reports = bent.metadata.document()["reports"]
    reports["my-report"]["links"] = ["javascript:alert(1)"]
    page = report.render(replace(bent, metadata=bent.metadata.changed(reports=reports)), "html")
    assert 'href="https://bugs.example.org/1"' in page
    assert 'href="javascript' not in page


@pytest.mark.parametrize("form", SUFFIX)
def test_a_run_of_no_cell_has_a_report(form: str) -> None:
    """metadata.json may be cut, or come from anybody."""
    assert report.render(evidence(without=product(TOPOLOGIES, KERNELS), cells=[]), form)


def test_the_listing_is_the_registry() -> None:
    assert report.formats() == ("html", "json", "junit", "kcidb", "ktap", "mail", "text")
    with pytest.raises(UsageError, match="unknown report format 'jsno'; did you mean 'json'"):
        report.render(evidence(), "jsno")


def test_a_long_report_comes_in_pieces_and_none_of_them_grows_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = report.render(not_met(), "json")
    monkeypatch.setattr(report_json, "ROWS", 1)
    pieces = list(report.pieces(not_met(), "json"))
    assert "".join(pieces) == whole
    of_cells = Counter((record["topology"], record["kernel"]) for record in json.loads(whole)["records"])
    assert len(pieces) > len(of_cells) > 1
    most = max(of_cells.values())
    assert all(piece.count('"outcome"') <= most for piece in pieces), "the records of one cell in a piece"


def test_a_format_without_pieces_is_one() -> None:
    assert list(report.pieces(not_met(), "text")) == [report.render(not_met(), "text")]


def test_what_is_wanted_of_every_run_has_a_file() -> None:
    assert sorted(report.files()) == ["junit.xml", "report.html", "report.txt", "results.json"]


def test_what_matters_comes_in_its_order() -> None:
    said = report.render(not_met(), "text") + report.render(everything_wrong(), "text")
    headings = re.findall(r"^([A-Z]{2}[A-Z ]+[A-Z])\b", said, flags=re.MULTILINE)
    assert headings == [
        *("REGRESSED", "FIXED", "FIXED", "NOT MET", "NO POWER", "BY SCENARIO", "SKIPPED"),
        *("NOT MET", "BROKEN", "INVALID", "NO BOOT", "BROKEN", "BY SCENARIO"),
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


SCHEMA = json.loads(files("lab.report").joinpath("results.schema.json").read_text())


@pytest.mark.parametrize("name", [*RUNS, "hostile"])
def test_results_are_what_their_schema_says(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMA)
    document = json.loads(report.render({**RUNS, "hostile": hostile}[name](), "json"))
    assert [error.message for error in Draft202012Validator(SCHEMA).iter_errors(document)] == []


@pytest.mark.parametrize(
    ("what", "words"), [("outcome", Outcome), ("cause", Cause), ("run.end", End), ("cell.status", CellStatus)]
)
def test_the_schema_knows_every_word(what: str, words: type[StrEnum]) -> None:
    name, _, key = what.partition(".")
    found = SCHEMA["$defs"][name]["properties"][key] if key else SCHEMA["$defs"][name]
    assert found["enum"] == [word.value for word in words]


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"exit_code": 3},
        {"more": 1},
        {"records": [{"topology": "a"}]},
        {"cells": [{"topology": "a", "kernel": "b", "status": "FINE"}]},
        {"counts": {}},
    ],
)
def test_the_schema_refuses_what_is_none(change: dict[str, Any]) -> None:
    document = json.loads(report.render(evidence(), "json"))
    assert not Draft202012Validator(SCHEMA).is_valid({**document, **change})


# KCIDB.


@pytest.mark.parametrize("name", [*RUNS, "hostile"])
def test_kcidb_takes_it(name: str) -> None:
    document = json.loads(report.render({**RUNS, "hostile": hostile}[name](), "kcidb"))
    kcidb.V5_0.validate(document)
    kcidb.LATEST.validate(kcidb.LATEST.upgrade(document))
    checkouts, builds, tests = (document[kind] for kind in ("checkouts", "builds", "tests"))
    for objects in (checkouts, builds, tests):
        assert len({each["id"] for each in objects}) == len(objects)
    assert {each["checkout_id"] for each in builds} <= {each["id"] for each in checkouts}
    assert {each["build_id"] for each in tests} <= {each["id"] for each in builds}


def test_kcidb_says_what_the_kernel_did() -> None:
    document = json.loads(report.render(everything_wrong(), "kcidb"))
    statuses = {each["id"].split("/", 1)[1]: each["status"] for each in document["tests"]}
    place = f"expand-fault/{TOPOLOGIES[0]}"
    assert statuses[f"{place}/expand/grow_move"] == "PASS"
    assert statuses[f"{place}/expand/grow_zero"] == "FAIL", "a panic"
    assert statuses[f"{place}/expand/pmd_thp"] == "MISS", "not reached"
    assert statuses[f"expand-fault/{TOPOLOGIES[1]}/boot/1"] == "FAIL"
    assert statuses[f"baseline/{TOPOLOGIES[1]}/boot/1"] == "MISS", "another machine"
    must_fail = json.loads(report.render(evidence(), "kcidb"))["tests"]
    told = next(each for each in must_fail if each["id"].endswith(f"baseline/{TOPOLOGIES[0]}/expand/grow_move"))
    assert (told["status"], told["misc"]["expected"], told["misc"]["met"]) == ("FAIL", "FAIL", True)


# KTAP as it came.


def test_ktap_has_every_program_as_it_came() -> None:
    said = report.render(evidence(), "ktap").split("\n")
    for run in (run for kernel in KERNELS for run in good_runs(kernel)):
        lines = [f"    {line}" for line in run.ktap.rstrip("\n").split("\n")]
        assert any(said[place : place + len(lines)] == lines for place in range(len(said)))
    whole = ktap_parser.parse("\n".join(said))
    assert [result.ok for result in whole.results] == [False, True, False, True], "a baseline's programs exit with 1"
    assert whole.plan
    assert whole.plan.count == 4


def test_no_guest_says_a_cells_result() -> None:
    forged = Run(scenario="guard", end=End.EXITED, status=1, ktap="ok 1 x\n\rok 1 y\n\x0bok 1 z\n\u2028ok 1 w\nok 1")
    said = report.render(evidence(cell(runs=(forged,))), "ktap")
    mine = [line for line in said.split("\n") if line.startswith(("ok", "not ok"))]
    assert len(mine) == 4
    assert mine[1].startswith("not ok 2 ")


# The mail.


def test_the_mail_says_how_to_run_it_again_and_can_be_pasted() -> None:
    tests = [f"expand.a{number:02}*" for number in range(9)]
    asked = {"campaign": "./my campaign.yaml", "topologies": ["arm64-*"], "kernels": ["./a.yaml"], "tests": tests}
    said = report.render(evidence(asked=asked), "mail")
    pasted = said.partition("To reproduce:\n")[2].partition("\n\n")[0].replace("\\\n", "")
    words = ["-t", "arm64-*", "-k", "./a.yaml", *(word for test in tests for word in ("--test", test))]
    assert shlex.split(pasted) == ["lab", "run", "./my campaign.yaml", *words]


def test_the_mail_sets_arch_where_the_run_was_restricted_by_it() -> None:
    command = {"verb": "run", "arguments": ["quick"], "options": {"--repeat": ["2"]}, "arches": ["arm64"]}
    pasted = report.render(evidence(command=command), "mail").partition("To reproduce:\n")[2].partition("\n\n")[0]
    assert shlex.split(pasted) == ["ARCH=arm64", "lab", "run", "quick", "--repeat", "2"]


def test_the_mail_of_a_bisection_has_its_command_and_no_option_that_it_lacks() -> None:
    options = {"--fixed": [], "--good": ["v6.13"], "--bad": ["v6.12"], "--topology": ["pc"], "--test": ["a.b"]}
    command = {"verb": "bisect", "options": options, "program": ["true"]}
    pasted = report.render(evidence(command=command, repeat=2), "mail").partition("To reproduce:\n")[2]
    words = "lab bisect --fixed --good v6.13 --bad v6.12 --topology pc --test a.b -- true"
    assert shlex.split(pasted.partition("\n\n")[0].replace("\\\n", "")) == words.split()


def test_the_mail_of_a_patch_that_was_tried_names_patch_and_tree_and_not_the_cache() -> None:
    typed: dict[str, Any] = {
        "words": ["lab", "try", "my.patch", "--each", "--tree", "/srv/me/linux", "--with", "./my test.c"],
        "on": "--on",
        "machines": ["arm64-64k*"],
        "tests": ["guard.*"],
        "rest": ["--", "sh", "-c", "exit 0"],
    }
    kernels = {
        "baseline": {"source": "path:/srv/me/linux"},
        "expand-fault": {"source": "path:/srv/me/linux", "series": "/srv/me/.cache/pagelab/try/0123/patched"},
    }
    builds = metadata()["builds"]
    for build in builds.values():
        build["patches"] = [{"name": "0001-my.patch", "sha256": "0"}]
    said = report.render(
        evidence(asked={"campaign": "/srv/me/.cache/x.yaml"}, typed=typed, kernels=kernels, builds=builds), "mail"
    )
    pasted = said.partition("To reproduce:\n")[2].partition("\n\n")[0].replace("\\\n", "")
    narrowed = ["--on", "arm64-64k*", "--test", "guard.*", "--", "sh", "-c", "exit 0"]
    assert shlex.split(pasted) == [*typed["words"], *narrowed]
    assert "expand-fault: path:/srv/me/linux + 0001-my.patch" in said
    assert "baseline and expand-fault differ in 0001-my.patch and in nothing" in said
    assert ".cache" not in said
    assert max(map(len, said.split("\n"))) <= 72


def test_the_mail_has_a_line_per_machine_with_its_pages_and_nodes() -> None:
    numa = [{"cpus": "0-1", "memory": "256M"}, {"cpus": "2-3", "memory": "256M"}]
    machine = {"name": TOPOLOGIES[1], "arch": "arm64", "page_size": "64K", "vcpus": 4, "numa": numa}
    machine["distances"] = [[10, 20], [20, 10]]
    lines = report.render(evidence(topologies={TOPOLOGIES[1]: machine}), "mail").split("\n")
    assert [line.split() for line in lines if line.startswith(TOPOLOGIES[1])] == [
        [TOPOLOGIES[1], "64K", "2", "3/5", "5/5", "2", "0"]
    ]


# Guests that write in reports.


@pytest.mark.parametrize("form", ["text", "mail", "html", "junit", "ktap", "kcidb"])
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
    """Elements of a page, what they refer to, and the text in its scripts by their type."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.references: list[str] = []
        self.handlers: list[str] = []
        self.scripts: list[tuple[str, str]] = []
        self._script: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.references += [str(value) for name, value in attrs if name in ("href", "src", "action", "srcset", "data")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        if tag == "script":
            self._script = dict(attrs).get("type") or ""
            self.scripts.append((self._script, ""))

    def handle_endtag(self, tag: str) -> None:
        self._script = None if tag == "script" else self._script

    def handle_data(self, data: str) -> None:
        if self._script is not None:
            self.scripts[-1] = (self._script, self.scripts[-1][1] + data)


def tags(page: str) -> _Tags:
    found = _Tags()
    found.feed(page)
    return found


def test_the_page_is_self_contained_and_has_no_tags_of_a_guests() -> None:
    said = report.render(hostile(), "html")
    page = tags(said)
    assert page.references == []
    assert page.handlers == []
    assert not {"a", "img", "iframe", "object", "embed", "link", "base"} & set(page.seen)
    assert [kind for kind, _ in page.scripts] == ["application/json", "application/json", ""]
    assert "{{ 7*7 }}" in said, "a guest's words are no template"
    assert "url(" not in said


def test_the_page_runs_its_own_script_and_no_other() -> None:
    said = report.render(hostile(), "html")
    script = tags(said).scripts[-1][1]
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', said)
    assert policy
    rules = dict(rule.strip().split(" ", 1) for rule in policy[1].split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == f"'sha256-{digest}'"


def test_a_guests_words_in_the_pages_data_are_printable_and_end_no_script() -> None:
    data, papers = (json.loads(text) for kind, text in tags(report.render(hostile(), "html")).scripts if kind)
    texts = [*data["words"], *papers, *(word for case in data["cases"] for word in case[:3])]
    assert any("owned" in text for text in papers)
    assert any("owned" in text for text in data["words"])
    assert all(text.replace("\n", "").isprintable() for text in texts)


def test_the_page_carries_the_evidence_of_every_guest() -> None:
    data, papers = (json.loads(text) for kind, text in tags(report.render(everything_wrong(), "html")).scripts if kind)
    died = next(guest for guest in data["guests"] if (guest["t"], guest["k"]) == (0, 1))
    assert "ok 1 grow_move" in papers[died["papers"]["expand.ktap"]]
    console = papers[died["papers"]["expand.console"]].split("\n")
    line, count, kind = died["marks"]["expand.console"][-1]
    assert kind == "panic"
    assert "Kernel panic" in "".join(console[line - 1 : line - 1 + count])


def test_there_is_only_so_much_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guests in which something is wrong have their evidence in the page before others."""
    whole = json.loads(tags(report.render(not_met(), "html")).scripts[1][1])
    monkeypatch.setattr(_data, "MAX_PAPERS", sum(map(len, whole[1:])) - 1)
    data, papers = (json.loads(text) for kind, text in tags(report.render(not_met(), "html")).scripts if kind)
    left_out = [(guest["t"], guest["k"]) for guest in data["guests"] if 0 in guest["papers"].values()]
    assert left_out == [(1, 0)], "the only guest in which all is well"
    assert papers[0] == _data.LEFT_OUT


def test_words_of_many_records_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_data, "MAX_RECORDS", 3)
    data = json.loads(tags(report.render(not_met(), "html")).scripts[0][1])
    summary = conclude(not_met())
    assert len(data["records"]) == sum(record.met is not True for record in summary.records)
    assert data["all"] == len(summary.records)


def test_machines_are_drawn() -> None:
    """A node per cell, a square per CPU, a number per distance; what makes no sense is not drawn."""
    numa = [{"cpus": "0-1", "memory": "256M"}, {"cpus": "2", "memory": "256M"}, {"memory": "128M"}]
    good = {"name": TOPOLOGIES[0], "arch": "x86_64", "page_size": "4K", "vcpus": 3, "numa": numa}
    good["distances"] = [[10, 20, 30], [20, 10, 40], [30, 40, 10]]
    page = report.render(evidence(topologies={TOPOLOGIES[0]: good, TOPOLOGIES[1]: {"name": "<b>", "numa": 7}}), "html")
    assert page.count('class="cpu"') == 3
    assert page.count('class="heat"') == 9
    assert "from node 1 to node 2: 40" in page
    assert "no CPUs" in page
    assert page.count("<figure") == 1


def test_junit_is_xml_and_counts() -> None:
    document = ElementTree.fromstring(report.render(hostile(), "junit"))
    assert len(document.findall("testsuite")) == 4
    good = ElementTree.fromstring(report.render(evidence(), "junit"))
    assert (good.get("failures"), good.get("errors")) == ("0", "0")
    assert [suite.get("skipped") for suite in good] == ["1", "1", "1", "1"]
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


@pytest.mark.parametrize("width", [20, 80, 1000])
@pytest.mark.parametrize("name", [*RUNS, "hostile", "many"])
def test_a_terminals_report_is_as_wide_as_the_terminal(name: str, width: int) -> None:
    built: Mapping[str, Any] = {**RUNS, "hostile": hostile, "many": many_kernels}
    widest = max(map(len, report.for_terminal(conclude(built[name]()), width).plain.split("\n")))
    assert widest <= max(report.NARROWEST, min(width, text.WIDTH))


def test_a_matrix_that_is_too_wide_is_a_list() -> None:
    assert f"{TOPOLOGIES[0]} / expand-fault-without-lock-" in report.render(many_kernels(), "text")


def test_many_findings_are_cut_short() -> None:
    names = [f"case{number}" for number in range(200)]
    run = Run(scenario="many", end=End.EXITED, status=1, ktap=ktap(f"not ok {name}" for name in names))
    what = evidence(cell(runs=(run,)), cases={"many": [{"name": name} for name in names]})
    said = report.render(what, "text")
    assert "and 160 more in results.json" in said
    assert said.count("FAIL, expected PASS") == text.MAX_ENTRIES


def test_a_scenario_whose_cases_are_all_skipped_is_named_once() -> None:
    skipped = [f"case{number} # SKIP one node" for number in range(100)]
    many = Run(scenario="many", end=End.EXITED, status=0, ktap=ktap(f"ok {line}" for line in skipped))
    few = Run(scenario="few", end=End.EXITED, status=0, ktap=ktap(["ok one # SKIP one node", "ok two"]))
    cases = {"many": [{"name": f"case{number}"} for number in range(100)], "few": [{"name": "one"}, {"name": "two"}]}
    cells = [cell(topology, kernel, runs=(many, few)) for topology in TOPOLOGIES for kernel in KERNELS]
    said = report.render(evidence(*cells, cases=cases), "text")
    assert "\n  404x one node: many.* few.one\n" in said
    assert "\n  skipped everywhere, so not tested at all: many.* few.one\n" in said


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


COLOURED = {
    "good": ["FIXED green", "exit green"],
    "not-met": ["REGRESSED red", "FIXED green", "FIXED green", "NOT MET red", "NO POWER red", "exit red"],
    "everything-wrong": [
        *("NOT MET red", "BROKEN yellow", "INVALID yellow", "NO BOOT red", "BROKEN yellow", "exit red"),
    ],
}


@pytest.mark.parametrize("colours", [False, True])
@pytest.mark.parametrize("name", COLOURED)
def test_a_terminals_report_is_the_same_words_with_and_without_colour(name: str, colours: bool) -> None:
    summary, out = conclude(RUNS[name]()), io.StringIO()
    where = Console(file=out, force_terminal=colours, color_system="truecolor", no_color=not colours, width=80)
    where.print(report.for_terminal(summary, 80), end="")
    assert re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()) == text.render(summary, 80, brief=True)
    assert ("\x1b[1;3" in out.getvalue()) is colours


@pytest.mark.parametrize("name", COLOURED)
def test_headings_of_what_matters_have_a_colour(name: str) -> None:
    painted = report.for_terminal(conclude(RUNS[name]()), 100)
    found = []
    for span in painted.spans:
        line = painted.plain[span.start : span.end]
        (words,) = re.findall(r"^(?:[A-Z]{2,}(?: [A-Z]{2,})*|exit)", line)
        found.append(f"{words} {str(span.style).removeprefix('bold ')}")
    assert found == COLOURED[name]


# JUnit.


SUITE_COUNTS = ("tests", "failures", "errors", "skipped")
TIME = re.compile(r"[0-9]+(\.[0-9]{1,3})?")
JENKINS = {"testsuites": {"name", "time", "tests", "failures", "disabled", "errors"}}
"""Attributes that Jenkins' schema allows for the root."""
INSIDE = {"skipped": {"message"}, "failure": {"message", "type"}, "error": {"message", "type"}, "system-out": set()}


@pytest.mark.parametrize("name", [*RUNS, "hostile"])
def test_junit_keeps_the_rules_of_jenkins_and_surefire(name: str) -> None:
    """Jenkins: no `skipped` at the root. Surefire: counts of every suite, times of at most three decimals."""
    root = ElementTree.fromstring(report.render({**RUNS, "hostile": hostile}[name](), "junit"))
    assert set(root.attrib) <= JENKINS["testsuites"]
    assert TIME.fullmatch(root.attrib["time"])
    for suite in root:
        assert suite.tag == "testsuite"
        assert set(suite.attrib) == {"name", "time", *SUITE_COUNTS}
        assert all(suite.attrib[key].isdecimal() for key in SUITE_COUNTS)
        assert TIME.fullmatch(suite.attrib["time"])
        assert [each.tag for each in suite if each.tag != "testcase"] == ["properties"]
        assert suite[0].tag == "properties"
        for case in suite.findall("testcase"):
            assert set(case.attrib) == {"name", "classname", "time"}
            assert TIME.fullmatch(case.attrib["time"])
            assert len(case) <= 1
            for inside in case:
                assert set(inside.attrib) == INSIDE[inside.tag]
                assert not len(inside)
        assert suite.attrib["tests"] == str(len(suite.findall("testcase")))
        assert suite.attrib["skipped"] == str(len(suite.findall("testcase/skipped")))


def test_the_page_reads_records_by_the_names_that_they_have() -> None:
    script = files("lab.report").joinpath("page.js").read_text()
    used = set(re.findall(r"\brecord\.([a-z_]+)", script))
    assert used
    assert used <= set(_data.COLUMNS)
    assert not re.search(r"\brecord\[", script), "by position"
    data, _ = _data.document(conclude(not_met()))
    assert {len(values) for values in data["records"]} == {len(data["columns"])}
