# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/report/_patch: coverage and mutants of a patch as text, mail, page and JSON."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from lab.core.errors import InputError
from lab.report import registry as reports
from lab.report._patch import coverage, mutation
from lab.verdicts.compare import conclude_directory
from lab.verdicts.coverage import DIRECTORY, Coverage, PatchedLine, UncompiledFile, file_of
from lab.verdicts.mutation import Fate, MutantResult, MutantSpec, MutationReport
from tests.unit.fixtures import evidence

DIFF = """--- a/mm/a.c
+++ b/mm/a.c
@@ -1,3 +1,4 @@
 int a;
-old();
+call(2);
+call(3);
 int b;
@@ -9 +10,2 @@
 int c;
+# define X <script>
"""


def line(number: int, *cases: str, text: str = "") -> PatchedLine:
    ran = {"pc": cases} if cases else {}
    text = text or f"\tcall({number});"
    return PatchedLine(file="mm/a.c", line=number, text=text, compiled=("pc",), ran=ran, times=7 * len(cases))


def covered(*lines: PatchedLine, machines: tuple[str, ...] = ("pc",)) -> Coverage:
    nowhere = (UncompiledFile(file="mm/b.c", symbol="NUMA"), UncompiledFile(file="mm/c.c"))
    return Coverage(kernel="patched", machines=machines, lines=lines, uncompiled=nowhere, diffs={"mm/a.c": DIFF})


NO_CODE = PatchedLine(file="mm/a.c", line=11, text="# define X <script>")
FOUND = covered(line(2, "expand.a01", "expand.a02"), line(3), NO_CODE)


def test_files_that_nothing_compiles_come_first() -> None:
    assert coverage.text(FOUND) == [
        "COVERAGE of patched on pc",
        "  mm/b.c: no machine's configuration compiles it, it needs CONFIG_NUMA",
        "  mm/c.c: no machine's configuration compiles it",
        "  coverage: 1 of 2 changed lines ran; not: mm/a.c:3",
        "    mm/a.c:3: call(3);",
    ]


def test_many_lines_are_counted() -> None:
    lines = tuple(line(2 * number) for number in range(coverage.MAX_LISTED + 3))
    shown = coverage.text(covered(*lines))
    assert shown[-1] == "    and 3 more"
    listed = [each for each in shown if each.startswith("    mm/a.c:")]
    assert len(listed) == coverage.MAX_LISTED


def test_several_machines_have_a_count_each() -> None:
    shown = coverage.text(covered(line(2, "expand.a01"), machines=("pc", "other")))
    assert shown[-2:] == ["    pc: 1 of 1", "    other: 0 of 0"]


def test_the_patch_with_counts_beside_its_lines() -> None:
    rows = [(row.number, row.count, row.tone, row.text) for row in coverage.diff_rows(FOUND, "mm/a.c")]
    assert rows == [
        ("", "", "head", "@@ -1,3 +1,4 @@"),
        ("1", "", "", " int a;"),
        ("", "", "", "-old();"),
        ("2", "14", "good", "+call(2);"),
        ("3", "0", "bad", "+call(3);"),
        ("4", "", "", " int b;"),
        ("", "", "head", "@@ -9 +10,2 @@"),
        ("10", "", "", " int c;"),
        ("11", "", "", "+# define X <script>"),
    ]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with --coverage."""
    directory = evidence.write(tmp_path, evidence.evidence()).path
    (directory / DIRECTORY).mkdir()
    (directory / DIRECTORY / file_of("patched")).write_text(FOUND.model_dump_json())
    return directory


def test_every_report_of_a_run_has_its_coverage(run: Path) -> None:
    summary = conclude_directory(run)
    assert "  coverage: 1 of 2 changed lines ran; not: mm/a.c:3" in reports.render(summary, "text").splitlines()
    assert "coverage: 1 of 2 changed lines ran; not: mm/a.c:3" in reports.render(summary, "mail").splitlines()
    (found,) = json.loads(reports.render(summary, "json"))["coverage"]
    assert found["missed"] == [{"file": "mm/a.c", "line": 3, "text": "\tcall(3);"}]
    assert (found["changed"], found["compiled"], found["ran"]) == (3, 2, 1)
    assert found["uncompiled"][0] == {"file": "mm/b.c", "symbol": "NUMA"}
    page = reports.render(summary, "html")
    assert '<tr class="bad" title="no case runs it; compiled on pc"><td>0</td><td>3</td><td>+call(3);</td></tr>' in page
    assert "# define X &lt;script&gt;" in page


def test_a_run_that_counted_nothing_says_nothing_of_coverage(tmp_path: Path) -> None:
    summary = conclude_directory(evidence.write(tmp_path, evidence.evidence()).path)
    for name in ("text", "mail", "json", "html"):
        assert "overage:" not in reports.render(summary, name)


def test_a_damaged_file_of_coverage_is_named(run: Path) -> None:
    (run / DIRECTORY / file_of("patched")).write_text('{"kernel": 3}')
    with pytest.raises(InputError, match=r"coverage-patched.json"):
        conclude_directory(run)


# Mutants.


def mutant(name: str, line: int, function: str = "f") -> MutantSpec:
    diff = "--- a/mm/a.c\n+++ b/mm/a.c\n@@ -1,3 +1,3 @@\n int a;\n-\tif (a < 1 && !b)\n+\tif (a <= 1 && !b)\n int b;\n"
    return MutantSpec(
        name=name, file="mm/a.c", line=line, function=function, operator="comparison", what="a < 1 -> a <= 1", diff=diff
    )


MUTANTS = (mutant("m1", 2), mutant("m2", 3), mutant("m3", 2, "g"), mutant("m4", 2, ""), mutant("m5", 9))
REPORT = MutationReport(
    kernel="patched",
    machine="toy",
    tests_s=61.2,
    counting_s=84.0,
    mutants=MUTANTS,
    results=(
        MutantResult(name="m1", fate=Fate.KILLED, by=("expand.a (FAIL)",), seconds=9.0),
        MutantResult(name="m2", fate=Fate.SURVIVED, seconds=12.0),
        MutantResult(name="m3", fate=Fate.EQUAL, seconds=20.0),
        MutantResult(name="m4", fate=Fate.SURVIVED, seconds=14.0, argument="both are rounded up"),
    ),
)


def test_the_report_has_survivors_with_their_lines() -> None:
    lines = list(mutation.text(REPORT, FOUND))
    assert lines[:6] == [
        "mutants of patched on toy: 5: 1 killed, 2 survived, 1 equal",
        "not tried yet: 1",
        "score: 50% of those that are killed or survive",
        "coverage: 1 of 2 changed lines ran; not: mm/a.c:3",
        "all tests: 61 s on the patched kernel, 84 s with gcov",
        "median 13 s for each mutant that was built",
    ]
    assert "    50%  mm/a.c: f: 1 killed, 1 survived" in lines
    place = lines.index("mm/a.c:3 in f: comparison (survived)")
    assert lines[place + 1 : place + 3] == ["    -       if (a < 1 && !b)", "    +       if (a <= 1 && !b)"]
    assert lines[lines.index("mm/a.c:2 in a macro: comparison (survived)") + 1] == "  equal: both are rounded up"


def test_the_cost_of_a_mutant_says_how_often_a_result_came() -> None:
    results = [result.model_copy(update={"elapsed_s": 5.0}) for result in REPORT.results]
    results.append(MutantResult(name="m5", fate=Fate.KILLED, seconds=90.0, elapsed_s=90.0, earlier="earlier"))
    lines = list(mutation.text(REPORT.model_copy(update={"results": tuple(results)})))
    wanted = "median 13 s for each mutant that was built; a result came every 5 s, since several ran at once"
    assert wanted in " ".join(line.strip() for line in lines)


def test_a_mail_has_a_subject_and_a_table() -> None:
    lines = list(mutation.mail(REPORT, None))
    assert lines[0] == "Subject: [pagelab] patched: 50% of 2 mutants killed"
    assert "  50%       1         1      0  mm/a.c: f" in lines
    assert "    -       0         0      1  mm/a.c: g" in lines
    assert max(map(len, lines)) <= mutation.MAIL_WIDTH


def test_every_format_is_written(tmp_path: Path) -> None:
    shown = mutation.write(tmp_path, REPORT, FOUND)
    assert {path.name for path in tmp_path.iterdir()} == {
        f"mutation.{each}" for each in ("json", "txt", "mail", "html")
    }
    assert (tmp_path / "mutation.txt").read_text() == shown
    assert MutationReport.model_validate_json((tmp_path / "mutation.json").read_text()) == REPORT


def test_the_page_shows_survivors_and_escapes_source() -> None:
    page = mutation.page(REPORT, FOUND)
    assert "+       if (a &lt;= 1 &amp;&amp; !b)" in page
    assert "<script" not in page
    assert "equal: both are rounded up" in page
    parser = Sections()
    parser.feed(page)
    assert parser.found == ["functions", "survivors", "killed", "others"]


class Sections(HTMLParser):
    """The ids of a page's sections."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "section":
            self.found.append(str(dict(attrs).get("id")))
