# SPDX-License-Identifier: GPL-2.0-or-later
"""`make bench ARGS=virtme`: the lab beside virtme-ng, on the same tree, machine and cores, both without KVM.

`vng` must be in PATH, from a virtual environment of its own. Each builds the tree with its own configuration, as its
users do. The machine has the lab's nodes, CPUs and memory; vng's guest has the host's files as its root, the lab's its
own small one. What is edited is one line at the end of a file of mm/, another each time.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from lab.build import source
from lab.core.cache import Cache, default_root
from lab.core.progress import silent
from lab.core.sizes import MIB
from lab.specs.library import Library
from lab.specs.model import Topology
from tests.benchmarks.edit import EDITED, add_edit, edited_line
from tests.benchmarks.timing import LAB, Row, Times, build_seconds, nothing_kept, wall

KERNEL = "baseline"
ROUNDS = 3
VNG = "vng"
NEEDED = {
    VNG: "`python3 -m venv vng; vng/bin/pip install virtme-ng` makes one in vng/bin",
    "depmod": "`apt install kmod` installs it; vng calls it",
    "udevadm": "`apt install udev` installs it; the guest of vng runs udev",
}
"""Program -> how to get it."""


def virtme(name: str) -> Iterator[Row]:
    """Rows of a machine: the first build, a build after an edit, a command, and from an edit to a command's status."""
    for program, how in NEEDED.items():
        if not shutil.which(program):
            raise SystemExit(f"no {program} in PATH: {how}")
    library, cache = Library.shipped(), Cache(default_root())
    topology = library.topology(name)
    tree = source.tree(source.resolve(library.kernel(KERNEL).source, cache=cache, progress=silent).key, cache)
    run = [VNG, *machine(topology), "--run", ".", "--", "true"]
    with tempfile.TemporaryDirectory(prefix="pagelab-bench-") as place:
        theirs, patches = Path(place, "tree"), Path(place, "series")
        subprocess.run(["cp", "-a", tree, theirs], check=True)
        patches.mkdir()
        with nothing_kept() as fresh:
            first = wall([VNG, "--build"], cwd=theirs)
            yield Times([first]).row(name, "vng --build, the first, no ccache")
            ours = build_seconds(KERNEL, name, fresh)
            yield Times([ours]).row(name, "the lab's first kernel, no ccache", f"{ours / first:.2f}")
        ours_try = [*LAB, "try", str(patches), "--tree", str(tree), "--on", name, "--", "true"]
        ours_exec = [*LAB, "exec", "-t", name, "-k", KERNEL]
        seconds: dict[str, Times] = {}
        for number in range(ROUNDS + 1):
            stamp = f"{time.time_ns()}"
            (theirs / EDITED).write_text((tree / EDITED).read_text("utf-8") + edited_line(stamp), "utf-8")
            add_edit(tree, patches, stamp)
            built = wall([VNG, "--build"], cwd=theirs)
            ran = wall(run, cwd=theirs)
            measured = {
                "vng --build after an edit": built,
                "vng -- true": ran,
                "lab exec --cold -- true": wall([*ours_exec, "--cold", "--", "true"]),
                "lab exec -- true, from a saved guest": wall([*ours_exec, "--", "true"]),
                "vng: from an edit to the status of true": built + ran,
                "lab try -- true: from an edit to a verdict": wall(ours_try),
            }
            for what, value in measured.items() if number else ():  # the first round builds whole kernels
                seconds.setdefault(what, Times([])).values.append(value)
        yield from rows(name, seconds)


def machine(topology: Topology) -> list[str]:
    """The options of vng for the lab's machine."""
    words = ["--disable-kvm", "--cpus", str(topology.vcpus), "--memory", f"{topology.total_memory // MIB}M"]
    for memory, cpus in zip(topology.node_memory, topology.node_cpus, strict=True):
        words += ["--numa", f"{memory // MIB}M,cpus={min(cpus)}-{max(cpus)}"]
    return words


def rows(name: str, seconds: dict[str, Times]) -> Iterator[Row]:
    """A row for each; those of the lab with their ratio to the row of vng before them."""
    theirs = None
    for what, times in seconds.items():
        if what.startswith(VNG):
            theirs = times
            yield times.row(name, what)
        elif theirs:
            yield times.row(name, what, f"{times.over(theirs):.2f}")
