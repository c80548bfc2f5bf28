# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel tree with a series in it, for a suite: hard links to the pristine tree, but for what changes."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from lab.core import proc
from lab.core.cache import digest
from lab.formats.patches.patch import Content

COPY_S = 3600.0


def link_tree(tree: Path, into: Path, *, own: Iterable[str], changed: Mapping[str, Content | None]) -> None:
    """Make the tree `into`, with `changed` files in place. Makefiles may write in the directories `own`: copies."""
    proc.run(["cp", "--archive", "--link", str(tree), str(into)], timeout_s=COPY_S)
    for name in own:
        if (tree / name).is_dir():
            shutil.rmtree(into / name)
            proc.run(["cp", "--archive", str(tree / name), str(into / name)], timeout_s=COPY_S)
    for name, content in changed.items():
        path = into / name
        path.unlink(missing_ok=True)
        if content is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.data)
            path.chmod(0o755 if content.executable else 0o644)


def state(changed: Mapping[str, Content | None]) -> list[str]:
    """Return a line for each changed file with the hash of its content, for a key; `gone` for one that is deleted."""
    lines = []
    for name, content in sorted(changed.items()):
        lines.append(f"{name} {'gone' if content is None else digest(content.data)}")
    return lines
