# SPDX-License-Identifier: GPL-2.0-or-later
"""What the programs printed, as it came: one KTAP document, in it one per cell, in it one per program.

The lab's verdicts are not in it: a program is `ok` if it exited with status 0, a cell if all of its programs are. The
output of a guest is indented by two more levels, so that no line of it can pass for one of the lab's. It is made
printable, and the middle of a very long output is left out. A program whose KTAP is missing is not ok.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lab.core.outcome import CellResult, End, Run
from lab.core.untrusted import one_line, printable
from lab.verdicts.compare import Summary

FILE = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subtest:
    """A part of a KTAP document: the lines within it, and its result."""

    name: str
    lines: Sequence[str]
    ok: bool
    note: str = ""
    """Why it is not ok; empty if there is nothing to add."""


def render(summary: Summary) -> str:
    """Return the document, with a newline at its end."""
    cells = list(map(_cell, summary.evidence.cells))
    return "\n".join(_document(cells)) + "\n"


def _cell(cell: CellResult) -> Subtest:
    """Return a guest with the output of all its programs."""
    papers = cell.papers()
    programs: list[Subtest] = []
    for run in cell.runs:
        programs.append(_program(run, papers.get(_file(run), "")))
    ok = bool(programs) and all(program.ok for program in programs)
    return Subtest(name=cell.name, lines=_document(programs), ok=ok, note=cell.why)


def _program(run: Run, output: str) -> Subtest:
    """Return one execution of a program with its output."""
    name = run.scenario
    if run.attempt > 1:
        name += f" attempt {run.attempt}"
    lines = printable(output).rstrip("\n").split("\n")
    if run.end is End.EXITED and run.status == 0 and output:
        return Subtest(name=name, lines=lines, ok=True)
    ended = [str(run.end)]
    if run.status is not None:
        ended.append(f"status {run.status}")
    if run.signal:
        ended.append(run.signal)
    return Subtest(name=name, lines=lines, ok=False, note=f"{' '.join(ended)} {run.note}")


def _file(run: Run) -> str:
    """Return the name of the file with a program's output, in the directory of its cell."""
    if run.attempt == 1:
        return f"{run.scenario}.ktap"
    return f"{run.scenario}.{run.attempt}.ktap"


def _document(parts: Sequence[Subtest]) -> list[str]:
    """Return a plan, then for each part its lines, indented by two columns, and its result."""
    lines = ["KTAP version 1", f"1..{len(parts)}"]
    for number, part in enumerate(parts, start=1):
        name = one_line(part.name, 120)
        lines.append(f"  # Subtest: {name}")
        for line in part.lines:
            lines.append(f"  {line}".rstrip())
        if part.note.strip():
            lines.append(f"# {one_line(part.note)}")
        result = "not ok"
        if part.ok:
            result = "ok"
        lines.append(f"{result} {number} {name}")
    return lines
