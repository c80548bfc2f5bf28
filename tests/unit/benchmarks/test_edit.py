# SPDX-License-Identifier: GPL-2.0-or-later
"""tests/benchmarks/edit.py: the edit that is timed, and how a run is split."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.benchmarks import edit
from tests.benchmarks.edit import Parts, add_edit, rows


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    made = tmp_path / "tree"
    (made / "mm").mkdir(parents=True)
    (made / edit.EDITED).write_text("int a;\nint b;\nint c;\nint d;\n")
    return made


def test_every_edit_is_another_and_applies(tree: Path, tmp_path: Path) -> None:
    patches = tmp_path / "series"
    patches.mkdir()
    texts = []
    for number in ("1", "2"):
        add_edit(tree, patches, number)
        [patch] = patches.iterdir()
        texts.append(patch.read_text())
        subprocess.run(["git", "apply", "--check", str(patch)], cwd=tree, check=True)
    assert texts[0] != texts[1]


def test_the_diff_of_a_mail() -> None:
    mail = "From: a\nSubject: [PATCH] b\n\ntext\n---\n a | 1 +\n\ndiff --git a/a b/a\n--- a/a\n+++ b/a\n-- \n2.39\n"
    assert edit.diff_of(mail) == "diff --git a/a b/a\n--- a/a\n+++ b/a\n"


def test_the_parts_of_a_run_are_shares_of_the_whole() -> None:
    spent = [Parts(whole=10, build=5, boot=2, cases=1), Parts(whole=12, build=6, boot=2, cases=1)]
    assert list(rows("m", spent)) == [
        ("m", "edit to verdict", "11.0 s", "10.0 s", "12.0 s", ""),
        ("m", "of it: build", "5.5 s", "5.0 s", "6.0 s", "0.50"),
        ("m", "of it: boot", "2.0 s", "2.0 s", "2.0 s", "0.18"),
        ("m", "of it: cases", "1.0 s", "1.0 s", "1.0 s", "0.09"),
        ("m", "of it: rest", "2.5 s", "2.0 s", "3.0 s", "0.23"),
    ]
