# SPDX-License-Identifier: GPL-2.0-or-later
"""`make bench ARGS=edit`: from a saved file to the verdict of both kernels, split into its parts.

A series is tried on a tree that was built before (`lab try`), each time with one line more in mm/mremap.c. What the lab
itself reports of a run gives the parts: seconds of the longest build (those of several machines are made side by side),
and of the guest that took longest its boot and its programs. The rest is all else, as far as it is not done beside
these: reading and applying the series, what runs again to confirm, saving and ending guests, verdicts and reports.
"""

from __future__ import annotations

import difflib
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.build import series, source
from lab.core import paths
from lab.core.cache import Cache, default_root
from lab.core.outcome import CellResult
from lab.core.progress import silent
from lab.specs.library import Library
from lab.verdicts.compare import conclude_directory
from tests.benchmarks.timing import LAB, ROOT, Row

KERNEL = "expand-fault"
MACHINES = ("x86_64-4k-2node", "arm64-64k-2node")
TESTS = ("expand", "guards")
EDITED = "mm/mremap.c"
ROUNDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Seconds of one edit, from the command's start to its end, and of them those of its parts."""

    whole: float
    build: float
    boot: float
    cases: float

    @property
    def rest(self) -> float:
        return self.whole - self.build - self.boot - self.cases


def edit() -> Iterator[Row]:
    """Rows for one machine, and for two machines of two architectures."""
    kernel, cache = Library.shipped().kernel(KERNEL), Cache(default_root())
    found = source.resolve(kernel.source, cache=cache, progress=silent)
    tree = source.tree(found.key, cache)
    shipped = series.load(KERNEL, found.version, root=paths.images() / "series").patches
    with tempfile.TemporaryDirectory(prefix="pagelab-bench-") as place:
        patches = Path(place, "series")
        patches.mkdir()
        for patch in shipped:
            (patches / f"{patch.path.stem}.diff").write_text(diff_of(patch.path.read_text("utf-8")), "utf-8")
        for machines in (MACHINES[:1], MACHINES):
            spent = []
            for number in range(ROUNDS + 1):
                add_edit(tree, patches, f"{time.time_ns()}")
                measured = tried(tree, patches, machines, Path(place, f"{len(machines)}-{number}"))
                if number:  # the first builds whole kernels
                    spent.append(measured)
            yield from rows(" and ".join(machines), spent)


def diff_of(mail: str) -> str:
    """Return the diff of a mail: a mail that does not belong to the series would be left out of it."""
    return mail[mail.index("diff --git") :].partition("\n-- \n")[0] + "\n"


def edited_line(number: str) -> str:
    """Return the line of C that is added at the end of EDITED."""
    return f"const unsigned long pagelab_edit = {number}UL;\n"


def add_edit(tree: Path, patches: Path, number: str) -> None:
    """Write the last patch of the series anew: one line more at the end of a file, another each time."""
    before = (tree / EDITED).read_text("utf-8").splitlines(keepends=True)
    after = [*before, edited_line(number)]
    diff = difflib.unified_diff(before, after, f"a/{EDITED}", f"b/{EDITED}")
    (patches / "9999-edit.diff").write_text("".join(diff), "utf-8")


def tried(tree: Path, patches: Path, machines: Sequence[str], output: Path) -> Parts:
    """Try the series as it is now; SystemExit unless both kernels of every machine have a verdict."""
    words = [*LAB, "try", str(patches), "--tree", str(tree), "--provides", "shm-expand", "-o", str(output)]
    for machine in machines:
        words += ["--on", machine]
    for test in TESTS:
        words += ["--test", test]
    started = time.monotonic()
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    whole = time.monotonic() - started
    if done.returncode:
        raise SystemExit(f"lab try ended with status {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    evidence = conclude_directory(output).evidence
    own = [cell for cell in evidence.cells if cell.origin is None]
    builds = {
        build.key: build.build_s or 0.0
        for cell in own
        if evidence.metadata.kernel(cell.kernel).series  # the other kernel was built by an earlier run
        and (build := evidence.metadata.build(cell.topology, cell.kernel)) is not None
    }
    slowest = max(own, key=lambda cell: boot_s(cell) + cases_s(cell))
    return Parts(whole=whole, build=max(builds.values()), boot=boot_s(slowest), cases=cases_s(slowest))


def boot_s(cell: CellResult) -> float:
    return cell.boot_s or sum(cell.restores_s[:1])


def cases_s(cell: CellResult) -> float:
    return sum(run.duration_s for run in cell.runs)


def rows(machines: str, spent: Sequence[Parts]) -> Iterator[Row]:
    """A row for the whole, and one for each part with its share of the whole."""
    whole = statistics.median(each.whole for each in spent)
    for what in ("whole", "build", "boot", "cases", "rest"):
        values = [getattr(each, what) for each in spent]
        median = statistics.median(values)
        shown = (f"{value:.1f} s" for value in (median, min(values), max(values)))
        if what == "whole":
            yield machines, "edit to verdict", *shown, ""
        else:
            yield machines, f"of it: {what}", *shown, f"{median / whole:.2f}"
