# SPDX-License-Identifier: GPL-2.0-or-later
"""The answer of `lab pages` as text, JSON, JUnit and HTML. Text from guests is made printable first."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from jinja2 import Environment
from junitparser import Error, Failure, JUnitXml, TestCase, TestSuite

from lab.core.sizes import KIB
from lab.core.untrusted import one_line, printable
from lab.workflows.pages.outcomes import Compared, MachineRun, PagesAnswer, Verdict

MAX_LINE = 200


def text(outcome: PagesAnswer) -> str:
    """Return the table, what differs, and the verdict."""
    lines = [f"{shlex.join(outcome.command)}   ({outcome.arch}, kernel {outcome.kernel})", ""]
    lines += _table(_rows(outcome))
    for compared in outcome.compared:
        if details := _details(compared):
            lines += ["", f"{compared.run.topology}:", *(f"  {line}" for line in details)]
    if outcome.looked:
        lines += ["", "before booting:", *(f"  {line}" for line in outcome.looked)]
    lines += ["", f"exit {outcome.exit_status}: {outcome.sentence}"]
    return "".join(f"{printable(line).rstrip()}\n" for line in lines)


def _rows(outcome: PagesAnswer) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("machine", "pages", "ended", "seconds", "against the control")]
    rows.append((*_cells(outcome.control), "control"))
    for compared in outcome.compared:
        rows.append((*_cells(compared.run), _against(compared)))
    return rows


def _cells(run: MachineRun) -> tuple[str, str, str, str]:
    size = f"{run.page_size // KIB}K"
    if not run.attempts:
        return run.topology, size, "not tried", "-"
    return run.topology, size, run.attempts[0].ended, f"{run.attempts[0].seconds:.1f}"


def _against(compared: Compared) -> str:
    if compared.verdict is Verdict.SAME:
        return "same"
    if compared.verdict is Verdict.DEPENDS:
        return "DIFFERS"
    return compared.verdict.upper()


def _details(compared: Compared) -> list[str]:
    """Return what is to be said of a machine beside its row."""
    if compared.verdict is Verdict.SAME:
        return []
    lines = [one_line(compared.differs)]
    for control, machine in compared.lines:
        lines += [f"{sign} {_cut(line)}" for sign, line in (("-", control), ("+", machine)) if line]
    if compared.run.death:
        lines += compared.run.death.lines(compared.run.page_size)
    return lines


def _cut(line: str) -> str:
    return one_line(line)[:MAX_LINE]


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
    return lines


# ---- For programs ---------------------------------------------------------------------------------------------------


def as_json(outcome: PagesAnswer) -> str:
    """Return the document; its keys are stable."""
    document = {
        "command": list(outcome.command),
        "arch": outcome.arch,
        "kernel": outcome.kernel,
        "verdict": outcome.sentence,
        "exit_status": outcome.exit_status,
        "looked": list(outcome.looked),
        "machines": [
            _machine(outcome.control, None),
            *(_machine(compared.run, compared) for compared in outcome.compared),
        ],
    }
    return json.dumps(document, indent=1) + "\n"


def _machine(run: MachineRun, against: Compared | None) -> dict[str, object]:
    death = None
    if run.death:
        death = {
            "signal": run.death.signal,
            "address": run.death.address,
            "mappings": list(run.death.mappings),
            "refused": [call.text(run.page_size) for call in run.death.refused],
            "note": run.death.note,
        }
    attempts = []
    for attempt in run.attempts:
        stdout, stderr = (printable(data.decode("utf-8", "replace")) for data in (attempt.stdout, attempt.stderr))
        attempts.append(
            {
                "status": attempt.status,
                "ended": attempt.ended,
                "seconds": attempt.seconds,
                "stdout": stdout,
                "stderr": stderr,
            }
        )
    facts: dict[str, object] = {"topology": run.topology, "page_size": run.page_size, "nodes": run.nodes}
    facts |= {"verdict": "control", "differs": "", "lines": []}
    if against is not None:
        facts |= {"verdict": str(against.verdict), "differs": against.differs, "lines": against.lines}
    return facts | {"not_tried": run.not_tried, "attempts": attempts, "death": death}


def junit(outcome: PagesAnswer) -> str:
    """Return a test case per machine: a failure where it differs, an error where nothing is known."""
    suite = TestSuite(f"lab pages: {printable(shlex.join(outcome.command))}")
    control = TestCase(outcome.control.topology, classname=f"pages.{outcome.arch}")
    if outcome.control.not_tried:
        control.result = [Error(printable(outcome.control.not_tried))]
    suite.add_testcase(control)
    for compared in outcome.compared:
        suite.add_testcase(_case(outcome, compared))
    document: Any = JUnitXml("lab pages")
    document.add_testsuite(suite)
    document.update_statistics()
    return str(document.tostring().decode("utf-8")) + "\n"


def _case(outcome: PagesAnswer, compared: Compared) -> TestCase:
    case = TestCase(compared.run.topology, classname=f"pages.{outcome.arch}")
    if compared.run.attempts:
        case.time = compared.run.attempts[0].seconds
    message = printable(compared.differs)
    if compared.verdict is Verdict.SAME:
        return case
    result: Failure | Error = Error(message)
    if compared.verdict is Verdict.DEPENDS:
        result = Failure(message)
    result.text = printable("\n".join(_details(compared)))
    case.result = [result]
    return case


# ---- HTML -----------------------------------------------------------------------------------------------------------

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{{ title }}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { text-align: left; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid #ccc; }
pre { background: #f4f4f4; padding: .6rem; overflow-x: auto; }
.depends { color: #9b1c1c; font-weight: 600; }
@media (prefers-color-scheme: dark) {
body { background: #161616; color: #e8e8e8; } pre { background: #262626; } .depends { color: #ff9a9a; } }
</style>
</head>
<body>
<h1><code>{{ heading }}</code></h1>
<p{% if status == 1 %} class="depends"{% endif %}>{{ sentence }} (exit {{ status }})</p>
<table>
<tr>{% for cell in rows[0] %}<th>{{ cell }}</th>{% endfor %}</tr>
{% for row in rows[1:] %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table>
{% for name, lines in details %}<h2>{{ name }}</h2>
<pre>{{ lines }}</pre>
{% endfor %}
{% if more[1] %}<h2>{{ more[0] }}</h2>
<pre>{{ more[1] }}</pre>
{% endif %}
</body>
</html>
"""


def html(outcome: PagesAnswer) -> str:
    """Return a page without a script that fetches nothing."""
    details = []
    for compared in outcome.compared:
        if lines := _details(compared):
            details.append((compared.run.topology, printable("\n".join(lines))))
    command = printable(shlex.join(outcome.command))
    return page(
        f"lab pages: {command}",
        heading=command,
        status=outcome.exit_status,
        sentence=outcome.sentence,
        rows=_rows(outcome),
        details=details,
        more=("Before booting", printable("\n".join(outcome.looked))),
    )


def page(
    title: str,
    *,
    status: int,
    sentence: str,
    rows: Sequence[Sequence[str]],
    details: Sequence[tuple[str, str]],
    more: tuple[str, str],
    heading: str = "",
) -> str:
    """Return a page with a table, text below a heading each, and a last text, left out if it is empty."""
    template = Environment(autoescape=True).from_string(PAGE)
    shown = [[printable(cell) for cell in row] for row in rows]
    made = template.render(
        title=title,
        heading=heading or title,
        status=status,
        sentence=printable(sentence),
        rows=shown,
        details=details,
        more=more,
    )
    return f"{made}\n"


FORMATS: Mapping[str, Callable[[PagesAnswer], str]] = MappingProxyType(
    {"text": text, "json": as_json, "junit": junit, "html": html}
)
