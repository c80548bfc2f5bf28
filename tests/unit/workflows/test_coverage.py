# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/workflows/coverage.py: what a counting run records; what it counts is in tests/unit/build, and in guests."""

from __future__ import annotations

from pathlib import Path

from lab.core.outcome import CellResult, CellStatus, End, Run
from lab.evidence.metadata import CommandRecord
from lab.evidence.write import RunDir
from lab.run.campaign import OpenRun, describe
from lab.specs.library import Library
from lab.specs.plan import Filters
from lab.workflows import coverage
from tests.unit.fakes import CASES, a_plan


def cell(*texts: str) -> CellResult:
    runs = tuple(Run(scenario="s", end=End.EXITED, status=0, ktap=f"KTAP version 1\n{text}") for text in texts)
    return CellResult(topology="pc", kernel="patched", status=CellStatus.OK, runs=runs)


def test_a_run_whose_tests_were_all_skipped_counts_nothing() -> None:
    quiet = cell("1..1\n  # SKIP not again\nok 1 list-toy # SKIP\n", "1..1\nok 1 a # SKIP none here\n")
    assert coverage.nothing_ran([quiet, quiet]) == "not again"
    assert coverage.nothing_ran([cell("1..1\nok 1 a # SKIP\n")]) == "no reason given"
    assert not coverage.nothing_ran([quiet, cell("1..2\nok 1 a # SKIP\nok 2 b\n")])
    assert not coverage.nothing_ran([quiet, cell("1..1\nnot ok 1 b\n")])


def test_a_counting_run_boots_with_the_suites_of_its_run(tmp_path: Path) -> None:
    """The kernels keep KUnit's symbols, and the machines the glob that covers all words; only gcov is added."""
    filters = Filters(topologies=("x86_64-4k-2node",), kernels=("expand-fault",), suites=("kunit:hash*", "kunit:list*"))
    plan = Library.shipped().plan("quick", filters)
    metadata = describe(plan, {})
    opened = OpenRun(plan=plan, run_dir=RunDir.create(tmp_path, "test", metadata), metadata=metadata, cases={})
    counting = coverage.counting_run(opened)
    assert counting is not None
    (cell_of_run,) = counting.plan.cells
    (before,) = plan.cells
    assert "kunit.filter_glob=[hl][ai]s[ht]*" in cell_of_run.topology.cmdline
    assert cell_of_run.kernel.coverage
    assert cell_of_run.kernel == before.kernel.model_copy(update={"coverage": True})
    assert {"kunit", "wish:kunit-suites"} <= set(cell_of_run.kernel.config)
    assert cell_of_run.build != before.build


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
