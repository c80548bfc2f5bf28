# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab check`: what a mail of b4's is a part of, and what b4 gets to read. Runs are stood in for."""

from __future__ import annotations

import json
import mailbox
from email.message import EmailMessage
from pathlib import Path

import pytest
from click.testing import CliRunner

from lab.core.errors import InfraError, InputError, UsageError
from lab.core.outcome import Cause, CellResult, CellStatus
from lab.verbs.check import check as verb
from lab.verbs.patches import TryOptions
from lab.verdicts.compare import Summary, conclude
from lab.workflows import check
from lab.workflows.change import Asked, Change
from lab.workflows.check import Tracking
from tests.unit.fixtures import evidence
from tests.unit.toy import Toy, diff, git


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    """The toy tree as a repository of one commit."""
    toy = Toy.make(tmp_path)
    (toy.tree / "mm/count").write_text("0\n")
    git(toy.tree, "init", "--quiet", "--initial-branch=main")
    git(toy.tree, "add", "--all")
    git(toy.tree, "commit", "--quiet", "--message", "all")
    return toy


def letter(subject: str, number: int, body: str) -> EmailMessage:
    made = EmailMessage()
    made["From"], made["Subject"], made["Message-ID"] = "a@b", subject, f"<{number}@example.org>"
    if number:
        made["In-Reply-To"] = "<0@example.org>"
    made.set_content(body)
    return made


def series() -> list[EmailMessage]:
    patches = [letter(f"[PATCH {n}/2] mm: step {n}", n, diff("mm/count", f"{n - 1}\n", f"{n}\n")) for n in (1, 2)]
    return [letter("[PATCH 0/2] mm: all", 0, "Why.\n"), *patches]


def mirror(toy: Toy) -> Asked:
    box = mailbox.mbox(toy.root / "mbox")
    for each in series():
        box.add(each)
    box.flush()
    return Asked(mirror=str(toy.root / "mbox"))


def commits(toy: Toy) -> None:
    for number in (1, 2):
        (toy.tree / "mm/count").write_text(f"{number}\n")
        git(toy.tree, "commit", "--quiet", "--all", "--message", f"mm: step {number}")


def names(found: Change) -> list[str]:
    return [each.name for each in found.patches]


def test_the_series_of_a_cover_letter_or_of_a_patch(toy: Toy) -> None:
    asked, mails = mirror(toy), series()
    found = [check.read(each.as_bytes(), Tracking(), toy.tree, asked) for each in mails]
    assert [names(each) for each in found] == [["mm-step-1", "mm-step-2"], ["mm-step-1"], ["mm-step-1", "mm-step-2"]]


def test_the_thread_that_b4_keeps_comes_first(toy: Toy) -> None:
    mirror(toy)
    blob = git(toy.tree, "hash-object", "-w", str(toy.root / "mbox"))
    (toy.root / "t.json").write_text(json.dumps({"series": {"thread-blob": blob, "base-commit": "HEAD"}}))
    tracking = Tracking.load(str(toy.root / "t.json"))
    found = check.read(series()[0].as_bytes(), tracking, toy.tree, Asked(mirror="/no/such"))
    assert names(found) == ["mm-step-1", "mm-step-2"]
    assert found.why == "the base-commit that the series names"


def test_the_branch_that_b4_keeps(toy: Toy) -> None:
    """Its last commit has the tracking data and is no patch."""
    git(toy.tree, "checkout", "--quiet", "-b", "b4/review/20261128-x")
    commits(toy)
    git(toy.tree, "commit", "--quiet", "--allow-empty", "--message", "tracking")
    first = git(toy.tree, "rev-parse", "HEAD~2")
    git(toy.tree, "checkout", "--quiet", "main")
    tracking = Tracking(first_commit=first, change_id="20261128-x", base_commit=f"{first}^")
    found = check.read(series()[0].as_bytes(), tracking, toy.tree, Asked(mirror="/no/such"))
    assert names(found) == ["mm-step-1", "mm-step-2"]
    assert found.base == f"git:{toy.tree}@{git(toy.tree, 'rev-parse', 'main')}"


def test_a_patch_that_is_a_commit_is_tried_on_its_parent(toy: Toy) -> None:
    commits(toy)
    found = check.read(series()[1].as_bytes(), Tracking(), toy.tree, Asked(mirror="/no/such"))
    assert names(found) == ["mm-step-1"]
    assert found.base == f"git:{toy.tree}@{git(toy.tree, 'rev-parse', 'HEAD~2')}"


def test_a_patch_alone(toy: Toy) -> None:
    mail = letter("[PATCH] mm: x", 0, diff("mm/count", "0\n", "9\n"))
    assert names(check.read(mail.as_bytes(), Tracking(), toy.tree, Asked())) == ["mm-x"]


def test_a_cover_letter_without_an_id_is_refused(toy: Toy) -> None:
    with pytest.raises(UsageError, match="expected a patch or a mail with a message id"):
        check.read(b"Subject: [PATCH 0/2] x\n\nWhy.\n", Tracking(), toy.tree, Asked())


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"series": 1}', "{"])
def test_damaged_tracking_data_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(InputError, match="expected b4's tracking data"):
        Tracking.load(str(tmp_path / "t.json"))


def test_tracking_data_gives_git_no_options(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(json.dumps({"series": {"thread-blob": "--output=x", "change-id": 7}}))
    assert Tracking.load(str(tmp_path / "t.json")) == Tracking()
    assert Tracking.load("") == Tracking()


# The verb.


def a_summary(*changed: CellResult) -> Summary:
    """A run of two kernels whose expectations are met, but for the cells that are changed."""
    cells = tuple(
        evidence.cell(topology, kernel, runs=evidence.good_runs(kernel))
        for topology in evidence.TOPOLOGIES
        for kernel in evidence.KERNELS
    )
    return conclude(evidence.evidence(*cells, *changed))


def checked(monkeypatch: pytest.MonkeyPatch, toy: Toy, mail: EmailMessage, *words: str) -> tuple[int, str]:
    def run(self: TryOptions, change: Change) -> Summary:
        print("the report")
        return a_summary()

    monkeypatch.setattr(TryOptions, "run", run)
    argv = ["--tree", str(toy.tree), *words]
    done = CliRunner().invoke(verb, argv, input=mail.as_bytes(), standalone_mode=False, catch_exceptions=False)
    assert bool(done.stderr) == ("--b4" in words), "b4 prep takes every line on stderr for a failure"
    return done.return_value, done.stdout


def test_what_b4_review_reads(monkeypatch: pytest.MonkeyPatch, toy: Toy) -> None:
    mail = letter("[PATCH] mm: x", 0, diff("mm/count", "0\n", "9\n"))
    status, said = checked(monkeypatch, toy, mail, "--b4")
    (answer,) = json.loads(said)
    assert (status, answer["tool"], answer["status"]) == (0, "pagelab", "pass")
    assert "expectations met" in answer["summary"]
    assert "results: " in answer["details"]


def test_what_b4_prep_reads(monkeypatch: pytest.MonkeyPatch, toy: Toy) -> None:
    mail = letter("[PATCH] mm: x", 0, diff("mm/count", "0\n", "9\n"))
    assert checked(monkeypatch, toy, mail) == (0, "")
    mail = letter("[PATCH] mm: x", 0, diff("mm/count", "7\n", "9\n"))
    status, said = checked(monkeypatch, toy, mail)
    assert status == 1
    assert said.startswith("ERROR: mm-x.patch: mm/count: hunk 1 does not apply")
    status, said = checked(monkeypatch, toy, mail, "--b4")
    assert (status, json.loads(said)[0]["status"]) == (0, "fail")


def test_an_answer_for_every_end_of_a_run() -> None:
    summary = a_summary()
    assert check.answer(summary).status == "pass"
    assert check.failed(InfraError("no libvirt")).status == "warn"
    assert check.failed(UsageError("no such patch")).as_lines() == ["ERROR: no such patch"]
    worse = a_summary(evidence.cell(status=CellStatus.NO_BOOT, runs=()))
    assert check.answer(worse).status == "fail"
    lost = a_summary(evidence.cell(status=CellStatus.BROKEN, cause=Cause.DISK_FULL, runs=()))
    assert check.answer(lost).status == "warn"
    assert check.answer(lost).as_lines()[0].startswith("WARNING: incomplete")
