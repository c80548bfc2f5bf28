# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/verbs/common.py: how a verb prints the progress of a build."""

from __future__ import annotations

import pytest

from lab.verbs import common


def test_in_a_pipe_a_long_build_prints_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now_s = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now_s)
    progress = common.progress_on_stderr()
    for second in range(75):
        now_s = 1000.0 + second
        progress(f"mm/{second}", done=second / 100)
    now_s = 1100.0
    progress("linking")
    assert capsys.readouterr().err.splitlines() == [
        "lab: building 10% mm/10",
        "lab: building 40% mm/40",
        "lab: building 70% mm/70",
        "lab: building linking",
    ]


def test_a_short_build_prints_nothing_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    progress = common.progress_on_stderr()
    progress("mm", done=0.1)
    progress("linking")
    assert capsys.readouterr() == ("", "")
