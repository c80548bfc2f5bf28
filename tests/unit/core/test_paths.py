# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/core/paths.py: paths as users write them, and the directories of the lab's own files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab.core import paths


def test_a_home_is_expanded_and_that_of_an_unknown_user_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/own")
    assert paths.user_path("~/linux") == Path("/own/linux")
    assert paths.user_path("~no-such-user-here/linux") == Path("~no-such-user-here/linux")
    assert paths.user_path("linux") == Path("linux")


def test_the_lab_s_files_lie_in_one_directory() -> None:
    root = paths.data_root()
    assert (paths.images(), paths.guest_tests(), paths.topologies()) == (
        root / "images",
        root / "guest_tests",
        root / "topologies",
    )
    assert (paths.images() / "rootfs/init").is_file()


def test_scenarios_of_the_user_come_behind_the_lab_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PAGELAB_SCENARIOS", os.pathsep.join(["~/mine", "", "relative"]))
    monkeypatch.chdir(tmp_path)
    assert paths.scenarios() == (paths.guest_tests(), tmp_path / "mine", tmp_path / "relative")
    monkeypatch.delenv("PAGELAB_SCENARIOS")
    assert paths.scenarios() == (paths.guest_tests(),)
