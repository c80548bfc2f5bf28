# SPDX-License-Identifier: GPL-2.0-or-later
"""What a verb loads: a guest's first command waits for it, so what only other verbs need stays away."""

from __future__ import annotations

import subprocess
import sys

import pytest

GUESTS = "lab.cli, lab.workflows.one_guest, lab.guests.factory, lab.guests.ssh, lab.host.doctor"
"""What `lab exec` loads."""
TRIES = "lab.cli, lab.workflows.try_patch, lab.workflows.change, lab.run.campaign"
"""What `lab try` loads before it builds."""
NO_GUEST_NEEDS = ("invoke", "asyncio", "unittest", "urllib.request", "debian", "jinja2", "rich.table", "tree_sitter")
ROOMS = ("lab.build.suites", "lab.build.roots.root", "lab.report", "lab.cluster")


@pytest.mark.parametrize(("modules", "unwanted"), [(GUESTS, (*NO_GUEST_NEEDS, *ROOMS)), (TRIES, ("debian", *ROOMS))])
def test_what_is_not_needed_is_not_loaded(modules: str, unwanted: tuple[str, ...]) -> None:
    code = f"import sys, {modules}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "lab.guests.factory" in loaded
    assert [name for name in unwanted if name in loaded] == []
