# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/workflows/coverage.py: what a counting run records; what it counts is in tests/unit/build, and in guests."""

from __future__ import annotations

from pathlib import Path

from lab.evidence.metadata import CommandRecord
from lab.evidence.write import RunDir
from lab.run.campaign import OpenRun, describe
from lab.workflows import coverage
from tests.unit.fakes import CASES, a_plan


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
