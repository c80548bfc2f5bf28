# SPDX-License-Identifier: GPL-2.0-or-later
"""What benchmarks share: seconds of whole commands, rows of a table, and builds that nothing was kept for."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.build import kernel
from lab.core.cache import Cache, default_root
from lab.core.progress import silent
from lab.specs.library import Library

ROOT = Path(__file__).parents[2]
LAB = [sys.executable, "-m", "lab"]
Row = tuple[str, ...]


@dataclass(slots=True)
class Times:
    """Seconds of one thing, measured several times."""

    values: list[float]

    def over(self, other: Times) -> float:
        """Ratio of the medians."""
        return statistics.median(self.values) / statistics.median(other.values)

    def row(self, machine: str, what: str, ratio: str = "") -> Row:
        shown = (statistics.median(self.values), min(self.values), max(self.values))
        return (machine, what, *(f"{value:.2f} s" for value in shown), ratio)


def wall(command: Sequence[str], *, cwd: Path = ROOT) -> float:
    """Seconds that a command takes as a whole process; SystemExit with the end of its output if it fails."""
    started = time.monotonic()
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    spent = time.monotonic() - started
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: status {done.returncode}:\n{done.stdout[-2000:]}")
    return spent


@contextmanager
def nothing_kept() -> Iterator[Cache]:
    """A cache of its own that has the sources alone, while ccache is off."""
    with tempfile.TemporaryDirectory(prefix="pagelab-bench-", dir=default_root()) as place:
        cache = Cache(Path(place))
        for kind in ("source", "sources", "debian", "memo"):
            if (default_root() / kind).exists():
                (cache.root / kind).symlink_to(default_root() / kind)
        os.environ["CCACHE_DISABLE"] = "1"
        try:
            yield cache
        finally:
            del os.environ["CCACHE_DISABLE"]


def build_seconds(kernel_name: str, topology_name: str, cache: Cache) -> float:
    """Seconds that the build of a kernel of the lab's takes."""
    library = Library.shipped()
    started = time.monotonic()
    kernel.build(library.kernel(kernel_name), library.topology(topology_name), cache=cache, progress=silent)
    return time.monotonic() - started
