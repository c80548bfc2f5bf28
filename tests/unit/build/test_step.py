# SPDX-License-Identifier: GPL-2.0-or-later
"""step.py: what one step of a build reports, and what its error shows."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lab.build import step
from lab.core.errors import BuildError


def python(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_the_lines_of_the_output_come_back_and_files_are_reported(tmp_path: Path) -> None:
    reported: list[str] = []
    argv = python("print('  CC      a/b.o'); print('   '); print('done')")
    lines = step.run(
        argv,
        cwd=tmp_path,
        failure="no",
        timeout_s=30,
        label="toy",
        progress=lambda detail, **_: reported.append(detail),
    )
    assert lines == ["  CC      a/b.o", "   ", "done"]
    assert reported == [f"toy: {sys.executable}", "toy: a/b.o"]


def test_a_failure_that_no_line_explains_shows_the_end_of_the_output(tmp_path: Path) -> None:
    argv = python("import sys\nfor number in range(40): print('line', number)\nsys.exit(3)")
    with pytest.raises(BuildError) as caught:
        step.run(argv, cwd=tmp_path, failure="toy did not build", timeout_s=30)
    assert caught.value.message == "toy did not build"
    assert caught.value.hint is None
    assert "line 39" in caught.value.excerpt


def test_a_step_that_can_be_repeated_says_how(tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        step.run(["no-such-program-here"], cwd=tmp_path, failure="toy", timeout_s=30, repeatable=True)
    assert caught.value.hint == f"run: cd {tmp_path} && no-such-program-here"
    assert "no such program" in caught.value.excerpt


def test_the_callers_that_look_at_the_output_themselves_get_it_from_a_failed_command(tmp_path: Path) -> None:
    assert step.run(python("print('a'); raise SystemExit(1)"), cwd=tmp_path, failure="", timeout_s=30, check=False) == [
        "a"
    ]


def test_the_command_speaks_english_and_its_ccache_is_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CCACHE_REMOTE_STORAGE", "http://cache.example/lab")
    monkeypatch.setenv("CCACHE_NAMESPACE", "mine")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    show = "import os\nfor name in ('LC_ALL', 'CCACHE_REMOTE_STORAGE', 'CCACHE_NAMESPACE', 'CCACHE_BASEDIR'):\n"
    lines = step.run(
        python(f"{show}    print(os.environ[name])"), cwd=tmp_path, failure="the environment lacks one", timeout_s=30
    )
    assert lines == ["C", "http://cache.example/lab", "mine", str(tmp_path)]
