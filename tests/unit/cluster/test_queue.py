# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/cluster/queue.py: jobs in the order of their priority, each run once, results beside them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lab.cluster.queue import MAX_STARTS, FinishedJob, Queue
from lab.core.errors import InputError, UsageError


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "queue.yaml").write_text(
        'tree: /linux\ntry_options: ["--on", "arm64-64k"]\nrun_options: ["--confirm", "1"]\n'
    )
    return tmp_path


def drop(directory: Path, name: str, text: str = "x", age: int = 0) -> Path:
    path = directory / name
    path.write_text(text)
    os.utime(path, (1_000_000 - age, 1_000_000 - age))
    return path


def test_the_order(directory: Path) -> None:
    drop(directory, "late.patch", age=1)
    drop(directory, "early.patch", age=9)
    drop(directory, "10-urgent.mbox")
    drop(directory, "90_nightly.yaml", age=99)
    for name in (".hidden.patch", "half.patch.part", "half.tmp", "notes.txt"):
        drop(directory, name)
    names = [job.path.name for job in Queue(directory).waiting()]
    assert names == ["10-urgent.mbox", "early.patch", "late.patch", "90_nightly.yaml"]


def test_commands(directory: Path) -> None:
    queue, out = Queue(directory), directory / "out"

    def words(job: Path) -> list[str]:
        return queue.command(job, out)[3:]

    patch = drop(directory, "a.patch")
    tail = ["--tree", "/linux", "--on", "arm64-64k", "-o", str(out)]
    assert words(patch) == ["try", str(patch), *tail]
    assert words(drop(directory, "a.msgid", "<20261128.1-x@y.org>\n")) == ["try", "20261128.1-x@y.org", *tail]
    assert words(drop(directory, "a.campaign", "quick\n")) == ["run", "quick", "--confirm", "1", "-o", str(out)]


@pytest.mark.parametrize("text", ["--output=/etc", "two words", "", "a\nb", "x" * 5000])
def test_what_is_no_word_never_reaches_a_command_line(directory: Path, text: str) -> None:
    with pytest.raises(InputError, match="expected one word"):
        Queue(directory).command(drop(directory, "a.msgid", text), directory / "out")


def test_a_wrong_setting_is_named(directory: Path) -> None:
    (directory / "queue.yaml").write_text("tre: /linux\n")
    with pytest.raises(InputError, match=r"queue.yaml:1: tre: unknown key.*did you mean 'tree'"):
        Queue(directory).command(drop(directory, "a.patch"), directory / "out")


def test_jobs_are_run_and_their_results_are_beside_them(directory: Path) -> None:
    drop(directory, "20-none.campaign", "no-such-campaign")
    drop(directory, "10-bad.msgid", "two words")
    finished: list[FinishedJob] = []
    Queue(directory).run(once=True, done=finished.append)
    assert [(job.name, job.status) for job in finished] == [("10-bad.msgid", 64), ("20-none.campaign", 64)]
    output = (directory / "done/20-none.campaign.0/output.txt").read_text()
    assert "unknown campaign 'no-such-campaign'" in output
    status = json.loads((directory / "done/10-bad.msgid.0/status.json").read_text())
    assert "expected one word" in status["reason"]
    assert Queue(directory).waiting() == []


def test_a_job_that_was_under_way_is_run_again_and_not_for_ever(directory: Path) -> None:
    (directory / "running").mkdir()
    drop(directory / "running", "a.msgid", "two words")
    finished: list[FinishedJob] = []
    Queue(directory).run(once=True, done=finished.append)
    assert [job.name for job in finished] == ["a.msgid"]
    for number in range(MAX_STARTS):
        (directory / "done" / f"b.msgid.{number}").mkdir()
    drop(directory / "running", "b.msgid", "two words")
    Queue(directory).run(once=True, done=finished.append)
    status = json.loads((directory / f"done/b.msgid.{MAX_STARTS}/status.json").read_text())
    assert "given up" in status["reason"]


def test_one_process_at_a_time(directory: Path) -> None:
    drop(directory, "a.msgid", "two words")

    def second(_: FinishedJob) -> None:
        with pytest.raises(UsageError, match="another lab watches"):
            Queue(directory).run(once=True, done=lambda _: None)

    Queue(directory).run(once=True, done=second)
