# SPDX-License-Identifier: GPL-2.0-or-later
"""Reports run in their own cells and nowhere else; those that ship with the lab, and the user's own from anywhere."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from lab.build.suites.reports import Reports
from lab.core import paths
from lab.core.cache import Cache
from lab.core.errors import UsageError
from lab.core.outcome import CellKey
from lab.specs.library import Library
from lab.specs.plan import Filters, Plan
from lab.specs.report import SIGNALS, Report, ReportPlan

GROWN = "cpython-mmap-resize"
OWN = """\
title: my report
links: [https://bugs.example.org/1]
needs_config: [CONFIG_SWAP]
timeout_s: 20
shows: {topologies: [./mine.yaml], exit: 1, arguments: -v all}
healthy: {topologies: [arm64-64k], signal: SIGBUS}
"""


@pytest.fixture
def library() -> Library:
    return Library.shipped()


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A report of a user's, with a machine of its own beside it."""
    (tmp_path / "mine.yaml").write_text("arch: x86_64\npage_size: 4K\nmemory: 512M\n")
    (tmp_path / "my-report.c").write_text("int main(void) { return 0; }\n")
    path = tmp_path / "my-report.yaml"
    path.write_text(OWN)
    return path


def sides(planned: Plan) -> dict[str, dict[str, str]]:
    """Report -> cell -> side."""
    found: dict[str, dict[str, str]] = {}
    for cell in planned.cells:
        for selection in cell.scenarios:
            [side] = selection.cases
            found.setdefault(selection.scenario, {})[str(cell.key)] = side
    return found


def test_a_report_runs_in_its_own_cells(library: Library) -> None:
    planned = library.plan("reports", Filters(reports=(GROWN,)))
    assert sides(planned) == {
        GROWN: {"x86_64-4k/baseline": "shows", "arm64-64k/baseline": "healthy", "x86_64-4k/expand-fault": "healthy"}
    }
    assert planned.sources == ()


def test_every_report_that_ships_has_both_sides(library: Library) -> None:
    found = sides(library.plan("reports"))
    assert found.keys() == library.reports().keys()
    assert len(found) >= 10
    for cells in found.values():
        assert set(cells.values()) == {"shows", "healthy"}


def test_no_other_campaign_runs_a_report(library: Library) -> None:
    assert not library.reports().keys() & library.scenarios().keys()
    for name in library.campaigns().keys() - {"reports"}:
        assert library.plan(name).reports == ()


def test_a_report_of_ones_own_needs_no_place_in_the_lab(
    library: Library, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(own.parent)
    planned = library.plan("reports", Filters(reports=("./my-report.yaml",)))
    assert sides(planned) == {"my-report": {"mine/baseline": "shows", "arm64-64k/baseline": "healthy"}}
    [report] = planned.reports
    assert report.program == (own.parent / "my-report.c").resolve()


@pytest.mark.parametrize(
    ("filters", "cells"),
    [
        (Filters(topologies=("arm64-*",)), ["arm64-64k/baseline"]),
        (Filters(kernels=("expand-fault",)), ["x86_64-4k/expand-fault"]),
        (Filters(tests=("cpython-*.shows",)), ["x86_64-4k/baseline"]),
        (Filters(arches=("arm64",)), ["arm64-64k/baseline"]),
        (Filters(kernels=("baseline-6.1",)), ["x86_64-4k/baseline-6.1", "arm64-64k/baseline-6.1"]),
    ],
)
def test_filters_narrow_it(library: Library, filters: Filters, cells: list[str]) -> None:
    """On a kernel that the report does not name the machine decides what is expected."""
    planned = library.plan("reports", replace(filters, reports=(GROWN,)))
    assert list(sides(planned)[GROWN]) == cells
    assert planned.skipped


@pytest.mark.parametrize(
    ("campaign", "filters", "words"),
    [
        ("reports", Filters(reports=("cpython-mmap-resise",)), "did you mean 'cpython-mmap-resize'"),
        ("reports", Filters(topologies=("riscv64-4k",)), "unknown topology 'riscv64-4k'"),
        ("reports", Filters(kernels=("nothing",)), "unknown kernel 'nothing'"),
        ("reports", Filters(tests=("nothing",)), "unknown report 'nothing'"),
        ("reports", Filters(tests=(f"{GROWN}.show",)), "did you mean 'shows'"),
        ("reports", Filters(suites=("kselftest-mm",)), "--suite: a campaign of reports runs their programs"),
        ("quick", Filters(reports=(GROWN,)), "--report: the campaign quick has no reports"),
    ],
)
def test_a_filter_that_matches_nothing_is_an_error(
    library: Library, campaign: str, filters: Filters, words: str
) -> None:
    with pytest.raises(UsageError) as caught:
        library.plan(campaign, filters)
    assert words in str(caught.value)


def test_two_reports_of_one_name_are_an_error(library: Library, own: Path) -> None:
    other = own.parent / "other" / own.name
    other.parent.mkdir()
    other.write_text(OWN.replace("./mine.yaml", "../mine.yaml"))
    (other.parent / "my-report.c").write_text("")
    with pytest.raises(UsageError, match="two different report files are called 'my-report'"):
        library.select_reports([str(own), str(other)])


def test_cases_are_the_sides_that_run(library: Library, tmp_path: Path) -> None:
    planned = library.plan("reports", Filters(reports=(GROWN,), kernels=("expand-fault",)))
    [case] = Reports.of(planned, Cache(tmp_path)).cases[GROWN]
    assert (case.name, case.places) == ("healthy", frozenset({"x86_64-4k/expand-fault"}))
    assert case.sides["shows"].exit == 1


def test_the_signals_of_a_report_are_those_that_a_guest_names() -> None:
    """Every other one is reported by its number."""
    source = (paths.images() / "suite/suite.c").read_text()
    table = source.partition("} signals[] = {")[2].partition("};")[0]
    assert set(re.findall(r'"([A-Z0-9]+)"', table)) == set(SIGNALS)


def test_words_of_a_report(library: Library, own: Path) -> None:
    plan: ReportPlan = library.report(str(own))
    report: Report = plan.report
    assert report.needs_config == ("SWAP",)
    assert report.healthy.signal == "BUS"
    assert report.shows.arguments == ("-v", "all")
    assert dict(plan.places()) == {
        CellKey("mine", "baseline"): "shows",
        CellKey("arm64-64k", "baseline"): "healthy",
    }
