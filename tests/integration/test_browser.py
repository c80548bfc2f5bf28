# SPDX-License-Identifier: GPL-2.0-or-later
"""report.html in a real browser: evidence opens, filters filter, keys work, nothing is fetched, nobody complains."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab.core.outcome import CellResult, End, Run
from lab.evidence.metadata import Evidence
from lab.report import registry as report
from tests import browser
from tests.browser import Page
from tests.unit.fixtures.evidence import KERNELS, TOPOLOGIES, cell, evidence, good_runs, ktap, metadata, recorded
from tests.unit.fixtures.runs import everything_wrong, hostile, not_met

PROGRAM = browser.find()
MACHINES, SCENARIOS, CASES = 100, 10, 10
OPEN_S = 2.0
"""What the page may take of a CPU until 200 cells of 100 cases are there. CPU time: a busy host proves nothing."""

pytestmark = pytest.mark.skipif(not PROGRAM, reason="there is no Chromium: `make browser` installs it")


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browser.browser(PROGRAM or "") as shown:
        yield shown


def show(page: Page, tmp_path: Path, what: Evidence, place: str = "", *, dark: bool = False) -> None:
    """Render the evidence, open the page, and see that its script has run to its end."""
    file = tmp_path / "report.html"
    file.write_text(report.render(what, "html"), "utf-8")
    page.complaints.clear()
    page.open("about:blank")
    page.open(f"{file.as_uri()}{place}", dark=dark)
    assert page.run("Number(document.documentElement.dataset.ready)") > 0, page.complaints


def visible(page: Page, selector: str) -> list[str]:
    """The text of the elements that can be seen."""
    found = page.run(
        f"[...document.querySelectorAll({selector!r})].filter((e) => e.offsetParent).map((e) => e.textContent)"
    )
    return [str(text) for text in found]


def panel(page: Page) -> str:
    return str(page.run("document.getElementById('panel').hidden ? '' : document.getElementById('panel').innerText"))


def opened(page: Page, topology: str, what: str) -> None:
    """Wait until the panel shows it, and see that the page's address says so."""
    page.until(f"document.querySelector('#panel h2')?.textContent === '{what} {topology}'")
    assert page.run("location.hash") == f"#/{topology}/{what}"


CASES_SHOWN = "#map tbody tr:not(.head) th:first-child"


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("what", [not_met, everything_wrong, hostile])
def test_it_opens_without_a_complaint(page: Page, tmp_path: Path, what: object, dark: bool) -> None:
    assert callable(what)
    show(page, tmp_path, what(), dark=dark)
    colour = page.run("getComputedStyle(document.body).backgroundColor")
    assert (colour == "rgb(255, 255, 255)") is not dark
    assert page.run("document.scripts.length") == 3
    assert page.run("document.querySelectorAll('img, iframe, object, embed, link').length") == 0
    for place in range(page.run("document.querySelectorAll('.tile').length")):
        page.run(f"document.querySelectorAll('.tile')[{place}].click()")
        page.until("!document.getElementById('panel').hidden")
        assert page.run("document.querySelectorAll('script').length") == 3
        page.press("Escape")
    assert page.complaints == []


def test_a_tile_opens_its_cases_and_a_case_its_evidence(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, not_met())
    page.click(f".tile[aria-label^='guard on {TOPOLOGIES[0]}']")
    page.until("document.querySelector('#panel .list .case')")
    page.click("#panel .list .case")
    opened(page, TOPOLOGIES[0], "guard.memfd")
    said = panel(page)
    assert "guard.c:12: i_size: expected 65536, got 131072" in said
    assert f"lab run quick -t {TOPOLOGIES[0]} -k baseline -k expand-fault --test guard.memfd" in said
    assert f"lab replay {tmp_path} {TOPOLOGIES[0]}/expand-fault/guard.memfd" in said
    assert visible(page, ".paper .hit") == ["# guard.c:12: i_size: expected 65536, got 131072", "not ok 1 memfd"]
    page.run("[...document.querySelectorAll('.tabs button')].find((b) => b.textContent === 'config').click()")
    assert visible(page, ".paper div") == ["CONFIG_NUMA=y"]
    page.press("Escape")
    assert panel(page) == ""
    assert page.run("location.hash") == ""
    assert page.complaints == []


def test_what_the_kernel_said_is_marked(page: Page, tmp_path: Path) -> None:
    """A crash opens at its console; the other kernel, whose build failed, does not come before it."""
    show(page, tmp_path, everything_wrong(), f"#/{TOPOLOGIES[0]}/expand.grow_zero")
    assert any("Kernel panic - not syncing" in line for line in visible(page, ".paper .alarm"))
    assert not any("pagelab: ready" in line for line in visible(page, ".paper .alarm"))


def test_the_lines_of_a_case_are_marked_on_the_console(page: Page, tmp_path: Path) -> None:
    """From its beginning to that of the next; the case whose beginning is not there has none."""
    said = "[1.0] pagelab: run expand.grow_move\n[1.1] its own\n[1.2] pagelab: run expand.grow_zero\n[1.3] other\n"
    expand, guard = good_runs(KERNELS[1])
    what = evidence(cell(runs=(replace(expand, console=said), guard)))
    console = "[...document.querySelectorAll('.tabs button')].find((b) => b.textContent === 'console').click()"
    for case, lines in (("grow_move", said.splitlines()[:2]), ("keep_content", [])):
        show(page, tmp_path, what, f"#/{TOPOLOGIES[0]}/expand.{case}")
        page.run(console)
        assert visible(page, ".paper .hit") == lines
    assert page.complaints == []


def test_words_and_chips_filter(page: Page, tmp_path: Path) -> None:
    show(page, tmp_path, not_met())
    every = visible(page, CASES_SHOWN)
    page.press("/")
    page.call("Input.insertText", text="guard memfd")
    assert visible(page, CASES_SHOWN) == ["memfd"]
    assert page.run("document.querySelectorAll('.tile.faint').length") == 2, "the tiles of the other scenario"
    assert "4 of 24" in page.run("document.getElementById('shown').textContent")
    page.press("Escape")
    assert visible(page, CASES_SHOWN) == every
    page.click("[data-chip='not met']")
    assert visible(page, CASES_SHOWN) == ["grow_move", "memfd"]
    page.click("[data-chip='not met']")
    assert visible(page, CASES_SHOWN) == every
    assert page.complaints == []


def test_keys_are_enough(page: Page, tmp_path: Path) -> None:
    """From the first square of the map by arrows to another one, into its evidence, to the next case, and back."""
    show(page, tmp_path, not_met())
    page.run("document.querySelector('#map td[tabindex=\"0\"]').focus()")
    page.press("ArrowDown", "ArrowRight", "Enter")
    opened(page, TOPOLOGIES[1], "expand.grow_zero")
    assert page.run("document.activeElement.id") == "panel"
    page.press("j")
    opened(page, TOPOLOGIES[1], "expand.keep_content")
    page.press("Escape")
    assert "grow_zero" in page.run("document.activeElement.title"), "focus is back where it was"
    page.press("?")
    assert "Keys" in panel(page)
    page.press("Escape")
    page.run("document.querySelector('.tile').focus()")
    page.press("ArrowRight", "ArrowDown", "Enter")
    opened(page, TOPOLOGIES[1], "guard")
    assert page.complaints == []


def test_pages_on_nodes_are_drawn_as_a_case_saw_them(page: Page, tmp_path: Path) -> None:
    placed = ["# | placement of the new part: node0=8 node1=24", "# placement: nodeX=1", "ok memfd", "ok sysv"]
    run = Run(scenario="guard", end=End.EXITED, status=0, ktap=ktap(placed))
    show(page, tmp_path, evidence(cell(runs=(run,))), f"#/{TOPOLOGIES[0]}/guard.memfd")
    assert visible(page, ".place i") == ["0: 8", "1: 24"]
    widths = page.run("[...document.querySelectorAll('.place i')].map((e) => e.offsetWidth)")
    assert widths[1] > 2 * widths[0]


@pytest.mark.parametrize("place", ["#/nowhere", "#/%ff/%ff", "#//", "#", f"#/{TOPOLOGIES[0]}/no.such"])
def test_an_address_that_means_nothing_opens_nothing(page: Page, tmp_path: Path, place: str) -> None:
    show(page, tmp_path, not_met(), place)
    assert panel(page) == ""
    assert page.complaints == []


def many() -> Evidence:
    """200 cells of 100 cases each."""
    topologies = tuple(f"machine-{number}" for number in range(MACHINES))
    names = [f"c{number:02}_a_case_with_a_name" for number in range(CASES)]
    cases = {f"scenario{s}": [{"name": name, "requires": []} for name in names] for s in range(SCENARIOS)}
    numa = [{"cpus": "0-1", "memory": "256M"}, {"cpus": "2-3", "memory": "256M"}]
    machine = {"arch": "x86_64", "page_size": "4K", "vcpus": 4, "numa": numa, "distances": [[10, 20], [20, 10]]}
    meta = {**metadata(topologies), "cases": cases, "topologies": {t: {"name": t, **machine} for t in topologies}}
    return Evidence(
        metadata=recorded(meta), cells=tuple(_full(t, kernel, cases) for t in topologies for kernel in KERNELS)
    )


def _full(topology: str, kernel: str, scenarios: object) -> CellResult:
    """A cell with a console and a configuration as long as real ones."""
    assert isinstance(scenarios, dict)
    runs = tuple(
        Run(scenario=name, end=End.EXITED, status=1, duration_s=1.0, ktap=_said(name, cases))
        for name, cases in scenarios.items()
    )
    files = {f"{run.scenario}.ktap": run.ktap for run in runs}
    files["console.log"] = "".join(f"[    0.{n:06}] {topology}/{kernel} says something\n" for n in range(200))
    files["config"] = "".join(f"CONFIG_{topology}_{n}=y\n" for n in range(600))
    return cell(topology, kernel, runs=runs, papers=lambda: files)


def _said(scenario: str, cases: list[dict[str, object]]) -> str:
    words = f"# {scenario}.c:13: writing lab_at(p, 195): got SIGBUS code 2, expected no signal"
    return ktap(
        line
        for number, case in enumerate(cases)
        for line in (["# duration_ms=12", f"ok {case['name']}"] if number % 9 else [words, f"not ok {case['name']}"])
    )


def test_two_hundred_cells_of_a_hundred_cases_open_at_once(page: Page, tmp_path: Path) -> None:
    page.call("Performance.enable", timeDomain="threadTicks")
    show(page, tmp_path, many())
    page.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.run("document.querySelectorAll('#map td').length") == MACHINES * SCENARIOS * CASES
    metrics = {each["name"]: each["value"] for each in page.call("Performance.getMetrics")["metrics"]}
    assert metrics["TaskDuration"] < OPEN_S
    assert page.complaints == []
