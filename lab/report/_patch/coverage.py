# SPDX-License-Identifier: GPL-2.0-or-later
"""The coverage of a patch as lines of text, as part of results.json, and as rows of the patch with counts beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lab.core.untrusted import one_line
from lab.report._layout import WIDTH, Role, clip, heading, wrap
from lab.verdicts.coverage import Coverage, PatchedLine

MAX_TEXT = 80
MAX_LISTED = 40
"""Lines that ran nowhere that are printed; coverage-KERNEL.json has all."""
_HUNK = re.compile(r"^@@ -\d+(?:,\d+)? \+(\d+)")


def text(coverage: Coverage, width: int = WIDTH) -> list[str]:
    """Return the lines of the report: files that nothing compiles first, then the counts, then what ran nowhere."""
    role = Role.GOOD
    if coverage.missed or coverage.uncompiled:
        role = Role.BAD
    lines = heading(f"COVERAGE of {coverage.kernel} on {', '.join(coverage.machines)}", width, role)
    lines += head(coverage, width)
    for line in coverage.missed[:MAX_LISTED]:
        lines.append(clip(f"    {line.place}: {one_line(line.text.strip(), MAX_TEXT)}", width))
    if len(coverage.missed) > MAX_LISTED:
        lines.append(f"    and {len(coverage.missed) - MAX_LISTED} more")
    return lines


def head(coverage: Coverage, width: int, indent: str = "  ") -> list[str]:
    """Return what matters most: the files that nothing compiles, then how many lines ran, and on which machine."""
    lines: list[str] = []
    for file in coverage.uncompiled:
        symbol = f", it needs CONFIG_{file.symbol}" if file.symbol else ""
        lines += wrap(f"{file.file}: no machine's configuration compiles it{symbol}", width, indent)
    lines += wrap(coverage.summary(), width, indent)
    if len(coverage.machines) < 2:
        return lines
    for machine in coverage.machines:
        code = [line for line in coverage.code if machine in line.compiled]
        ran = sum(machine in line.ran for line in code)
        lines.append(f"{indent}  {machine}: {ran} of {len(code)}")
    return lines


def document(coverage: Coverage) -> dict[str, Any]:
    """Return what results.json has of it."""
    return {
        "kernel": coverage.kernel,
        "machines": list(coverage.machines),
        "uncompiled": [file.model_dump() for file in coverage.uncompiled],
        "changed": len(coverage.lines),
        "compiled": len(coverage.code),
        "ran": len(coverage.code) - len(coverage.missed),
        "missed": [{"file": line.file, "line": line.line, "text": line.text} for line in coverage.missed],
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffRow:
    """A line of a patch with its count."""

    number: str
    """Of the patched file; empty for a removed line and the head of a hunk."""
    count: str
    """How often it ran on all machines; empty without code."""
    tone: str
    """`good` for a line that ran, `bad` for one that did not, `head` for the head of a hunk; or empty."""
    about: str
    """Where it ran, and by how many cases."""
    text: str


def diff_rows(coverage: Coverage, file: str) -> Iterator[DiffRow]:
    """Yield the patch of one file, line by line."""
    by_number = {line.line: line for line in coverage.lines if line.file == file}
    number = 0
    for text in coverage.diffs.get(file, "").splitlines()[2:]:
        if hunk := _HUNK.match(text):
            number = int(hunk[1])
            yield DiffRow(number="", count="", tone="head", about="", text=text)
        elif text.startswith("-"):
            yield DiffRow(number="", count="", tone="", about="", text=text)
        else:
            added = by_number.get(number) if text.startswith("+") else None
            yield _counted(number, text, added)
            number += 1


def _counted(number: int, text: str, added: PatchedLine | None) -> DiffRow:
    if added is None or not added.compiled:
        return DiffRow(number=str(number), count="", tone="", about="", text=text)
    if not added.ran:
        about = f"no case runs it; compiled on {', '.join(added.compiled)}"
        return DiffRow(number=str(number), count="0", tone="bad", about=about, text=text)
    places = [f"{machine}: {len(cases)} cases" for machine, cases in added.ran.items()]
    return DiffRow(number=str(number), count=str(added.times), tone="good", about="; ".join(places), text=text)
