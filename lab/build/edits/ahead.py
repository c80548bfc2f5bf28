# SPDX-License-Identifier: GPL-2.0-or-later
"""Begin to build a kernel before the run that needs it is open: an edit compiles while the run is prepared.

To write the run's first files, to look up what the cache has and to open libvirt takes one CPU some tenths of a second.
After an edit make has work for one CPU most of the time, so there is a second one for this.
"""

from __future__ import annotations

import threading
from contextlib import suppress

from lab.build import kernel, worktree
from lab.core.cache import Cache
from lab.core.errors import LabError
from lab.core.progress import Progress
from lab.specs.plan import Plan

PATIENCE_S = 1.0


def begin(planned: Plan, cache: Cache) -> None:
    """Begin to build the first kernel of a plan that the cache lacks, if little of it has to be compiled.

    Return when make runs, or after PATIENCE_S: until then both threads would compete for the interpreter. The next
    thread that asks for the kernel follows this build, and gets its errors.
    """
    runs = threading.Event()

    def progress(detail: str, *, done: float | None = None) -> None:  # noqa: ARG001 (as a Progress is called)
        runs.set()

    def build() -> None:
        try:
            with suppress(LabError):
                _build_first(planned, cache, progress)
        finally:
            runs.set()

    threading.Thread(target=build, name="ahead", daemon=True).start()
    runs.wait(PATIENCE_S)


def _build_first(planned: Plan, cache: Cache, progress: Progress) -> None:
    for cell in planned.cells:
        recipe = kernel.recipe_of(cell.kernel, cell.topology, cache=cache)
        if recipe is None:
            return
        if not cache.has(kernel.ENTRY, recipe.key):
            if worktree.has_kernel(recipe.source, recipe.build_name, cache):
                kernel.build(cell.kernel, cell.topology, cache=cache, progress=progress)
            return
