# SPDX-License-Identifier: GPL-2.0-or-later
"""The report on the mutants of a patch: mutation.txt, .html, .mail and .json of its directory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from markupsafe import Markup

from lab.core.cache import write_atomic
from lab.core.untrusted import printable
from lab.report import html
from lab.report._layout import wrap
from lab.report._patch.coverage import DiffRow
from lab.verdicts.coverage import Coverage
from lab.verdicts.mutation import SURVIVORS, Fate, MutantResult, MutantSpec, MutationReport, counted, score

NAME = "mutation"
MAIL_WIDTH = 72
TEXT_WIDTH = 100
MAX_TEXT = 200


def write(directory: Path, report: MutationReport, covered: Coverage | None) -> str:
    """Write the report in every format, each in one step, and return the text."""
    shown = "\n".join(text(report, covered)) + "\n"
    contents = {
        "json": report.model_dump_json(indent=1) + "\n",
        "txt": shown,
        "mail": "\n".join(mail(report, covered)) + "\n",
        "html": page(report, covered),
    }
    for suffix, content in contents.items():
        write_atomic(directory / f"{NAME}.{suffix}", content.encode("utf-8", "replace"))
    return shown


def text(report: MutationReport, covered: Coverage | None = None) -> Iterator[str]:
    """Yield the report: the score, in all and for each function, the cost, then every survivor with its diff."""
    yield from head(report, covered, TEXT_WIDTH)
    yield ""
    yield "BY FUNCTION"
    for function, results in report.by_function().items():
        yield f"  {percent(score(results)):>5}  {function}: {counted(results)}"
    survivors = report.survivors()
    if survivors:
        yield ""
        yield f"SURVIVORS: {len(survivors)}"
    for mutant, result in survivors:
        yield ""
        yield from _survivor(mutant, result, TEXT_WIDTH)


def mail(report: MutationReport, covered: Coverage | None = None) -> Iterator[str]:
    """Yield the report as a mailing list takes it: a subject, then at most 72 columns but for diffs."""
    subject = f"Subject: [pagelab] {report.kernel}: {percent(report.score)} of {_total(report)} mutants killed"
    yield subject[:MAIL_WIDTH]
    yield ""
    yield from head(report, covered, MAIL_WIDTH)
    yield ""
    yield "score  killed  survived  equal  function"
    for function, results in report.by_function().items():
        fates = [result.fate for result in results]
        killed, equal = fates.count(Fate.KILLED), fates.count(Fate.EQUAL)
        survived = sum(fate in SURVIVORS for fate in fates)
        yield f"{percent(score(results)):>5} {killed:>7} {survived:>9} {equal:>6}  {function}"
    for mutant, result in report.survivors():
        yield ""
        yield from _survivor(mutant, result, MAIL_WIDTH)


def head(report: MutationReport, covered: Coverage | None, width: int) -> Iterator[str]:
    """Yield what matters most: how many mutants met which fate, the score, the coverage and the cost."""
    yield from wrap(
        f"mutants of {report.kernel} on {report.machine}: {len(report.mutants)}: {counted(report.results)}", width
    )
    if reached := len(report.mutants) - len(report.results):
        yield f"not tried yet: {reached}"
    for directory, count in Counter(result.earlier for result in report.results if result.earlier).items():
        yield f"of an earlier mutation, {printable(directory)}: {count}"
    yield f"score: {percent(report.score)} of those that are killed or survive"
    if covered:
        yield from wrap(covered.summary(), width)
    if report.tests_s is not None and report.counting_s is not None:
        yield f"all tests: {report.tests_s:.0f} s on the patched kernel, {report.counting_s:.0f} s with gcov"
    seconds = [result.seconds for result in report.results if result.seconds and not result.earlier]
    if seconds:
        yield from wrap(_cost(seconds, sum(result.elapsed_s for result in report.results if not result.earlier)), width)


def _cost(seconds: Sequence[float], elapsed_s: float) -> str:
    """Return what a mutant cost: from its build to its result, and of the clock, on which mutants overlap."""
    cost = f"median {median(seconds):.0f} s for each mutant that was built"
    if elapsed_s:
        cost += f"; a result came every {elapsed_s / len(seconds):.0f} s, since several ran at once"
    return cost


def _total(report: MutationReport) -> int:
    """How many mutants the score is about."""
    killed = sum(result.fate is Fate.KILLED for result in report.results)
    return killed + sum(result.counts_as_survivor for result in report.results)


def _survivor(mutant: MutantSpec, result: MutantResult, width: int) -> Iterator[str]:
    yield f"{mutant.place} in {mutant.function or 'a macro'}: {mutant.operator} ({result.fate})"
    if result.argument:
        yield from wrap(result.stated_argument, width, "  ")
    for line in mutant.changed_lines:
        yield f"    {printable(line)}"


def percent(share: float | None) -> str:
    """Return a share from 0 to 1 as a percentage; `-` for None."""
    return "-" if share is None else f"{share:.0%}"


# The page.


@dataclass(frozen=True, slots=True, kw_only=True)
class _Survivor:
    """A survivor as the page shows it."""

    mutant: MutantSpec
    result: MutantResult
    rows: Sequence[DiffRow]
    cases: int | None
    """How many cases run its line; None if it has no code of its own, or nobody counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Function:
    """A row of the table of functions."""

    name: str
    share: str
    tone: str
    counts: str


def page(report: MutationReport, covered: Coverage | None) -> str:
    """Return one page of HTML without outside references and without a script."""
    survivors = []
    for mutant, result in report.survivors():
        rows = list(_rows(mutant))
        survivors.append(_Survivor(mutant=mutant, result=result, rows=rows, cases=_cases(mutant, covered)))
    by_name = {mutant.name: mutant for mutant in report.mutants}
    others = [(by_name[tried.name], tried) for tried in report.results if tried.fate not in SURVIVORS]
    return html.template("mutation.html.j2").render(
        title=f"mutants of {report.kernel} on {report.machine}",
        report=report,
        share=percent(report.score),
        lines=list(head(report, covered, MAX_TEXT)),
        functions=_functions(report.by_function()),
        survivors=survivors,
        killed=[pair for pair in others if pair[1].fate is Fate.KILLED],
        others=[pair for pair in others if pair[1].fate is not Fate.KILLED],
        style=Markup(html.asset("page.css")),
    )


def _functions(results_by_function: Mapping[str, Sequence[MutantResult]]) -> list[_Function]:
    found = []
    for name, results in results_by_function.items():
        share = score(results)
        tone = "good"
        if share is None:
            tone = "dim"
        elif share < 1:
            tone = "bad"
        found.append(_Function(name=name, share=percent(share), tone=tone, counts=counted(results)))
    return found


def _rows(mutant: MutantSpec) -> Iterable[DiffRow]:
    for line in mutant.diff.splitlines()[2:]:
        tone = {"@": "head", "+": "bad", "-": "good"}.get(line[:1], "")
        yield DiffRow(number="", count="", tone=tone, about="", text=line)


def _cases(mutant: MutantSpec, covered: Coverage | None) -> int | None:
    for line in covered.code if covered else ():
        if (line.file, line.line) == (mutant.file, mutant.line):
            return sum(map(len, line.ran.values()))
    return None
