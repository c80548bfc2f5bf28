# SPDX-License-Identifier: GPL-2.0-or-later
"""What the programs printed, as it came: one KTAP document, in it one per cell, in it one per program.

The lab's verdicts are not in it: `ok` of a program is its exit status, `ok` of a cell that all of its programs said so.
What a guest said is two levels further in, and cannot get out of there; it is made printable, and of very much of it
the middle is left out. A program whose KTAP cannot be had any more is not ok.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lab.core.outcome import CellResult, End, Run
from lab.core.untrusted import one_line, printable
from lab.verdicts.compare import Summary

FILE = None


def render(summary: Summary) -> str:
    """The document, newline at its end."""
    parts = [_cell(cell) for cell in summary.evidence.cells]
    return (
        "\n".join(_document([(cell.name, *part) for cell, part in zip(summary.evidence.cells, parts, strict=True)]))
        + "\n"
    )


def _cell(cell: CellResult) -> tuple[list[str], bool, str]:
    """Its document, whether all of it was well, and what else there is to say."""
    papers = cell.papers()
    parts = [(_title(run), *_run(run, papers.get(_file(run), ""))) for run in cell.runs]
    return _document(parts), bool(parts) and all(ok for _, _, ok, _ in parts), cell.why


def _run(run: Run, said: str) -> tuple[list[str], bool, str]:
    ended = f"{run.end}" + (f" status {run.status}" if run.status is not None else "") + f" {run.signal or ''}"
    ok = run.end is End.EXITED and run.status == 0 and bool(said)
    return printable(said).rstrip("\n").split("\n"), ok, "" if ok else f"{ended.strip()} {run.note}"


def _title(run: Run) -> str:
    return run.scenario + (f" attempt {run.attempt}" if run.attempt > 1 else "")


def _file(run: Run) -> str:
    return f"{run.scenario}{'' if run.attempt == 1 else f'.{run.attempt}'}.ktap"


def _document(parts: Sequence[tuple[str, Iterable[str], bool, str]]) -> list[str]:
    """A plan, then per part its lines two columns further in, and a line on the whole of it."""
    lines = ["KTAP version 1", f"1..{len(parts)}"]
    for number, (name, inside, ok, words) in enumerate(parts, start=1):
        lines.append(f"  # Subtest: {one_line(name, 120)}")
        lines += [f"  {line}".rstrip() for line in inside]
        lines += [f"# {one_line(words)}"] if words.strip() else []
        lines.append(f"{'ok' if ok else 'not ok'} {number} {one_line(name, 120)}")
    return lines
