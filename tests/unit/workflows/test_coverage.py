# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/workflows/coverage.py: what is printed; the counting run itself is in tests/unit/run and in guests."""

from __future__ import annotations

from pathlib import Path

from lab.evidence.metadata import CommandRecord
from lab.evidence.write import RunDir
from lab.run.campaign import OpenRun, describe
from lab.verdicts.coverage import Coverage, PatchedLine, UncompiledFile
from lab.workflows import coverage
from tests.unit.fakes import CASES, a_plan


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


def test_a_counting_run_records_the_command_of_its_run(tmp_path: Path) -> None:
    tried = CommandRecord(verb="try", arguments=("my.patch",), options={"--on": ("pc",)}, program=("true",))
    runs = CommandRecord(verb="run", arguments=("/cache/try.yaml",))
    plan = a_plan(["patched"])
    metadata = describe(plan, CASES).changed(command=tried.changed(runs=runs))
    run_dir = RunDir.create(tmp_path, "test", metadata)
    opened = OpenRun(plan=plan, run_dir=run_dir, metadata=metadata, cases=CASES)
    command = coverage.counting_command(opened)
    assert (command.verb, command.arguments, command.program) == ("try", ("my.patch",), ("true",))
    assert command.options == {"--on": ("pc",), "--coverage": ()}
    assert command.runs is None, "the counting run is no campaign that --resume takes"
