# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/workflows/coverage.py: what is printed; the counting run itself is in tests/unit/run and in guests."""

from __future__ import annotations

from lab.verdicts.coverage import Coverage, PatchedLine, UncompiledFile
from lab.workflows import coverage


def line(number: int, *cases: str) -> PatchedLine:
    ran = {"pc": cases} if cases else {}
    return PatchedLine(file="mm/a.c", line=number, text=f"\tcall({number});", compiled=("pc",), ran=ran)


def test_files_that_nothing_compiles_come_first() -> None:
    found = Coverage(
        kernel="patched",
        machines=("pc",),
        lines=(line(1, "expand.a01"), line(2)),
        uncompiled=(UncompiledFile(file="mm/b.c", symbol="NUMA"), UncompiledFile(file="mm/c.c")),
    )
    assert list(coverage.render(found)) == [
        "COVERAGE of patched on pc",
        "  mm/b.c: no machine's configuration compiles it, it needs CONFIG_NUMA",
        "  mm/c.c: no machine's configuration compiles it",
        "  coverage: 1 of 2 changed lines ran; not: mm/a.c:2",
        "    mm/a.c:2: call(2);",
    ]


def test_many_lines_are_counted() -> None:
    lines = tuple(line(2 * number) for number in range(coverage.MAX_LISTED + 3))
    shown = list(coverage.render(Coverage(kernel="patched", machines=("pc",), lines=lines)))
    assert shown[-1] == "    and 3 more"
    assert len(shown) == 2 + coverage.MAX_LISTED + 1
