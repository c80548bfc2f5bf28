# SPDX-License-Identifier: GPL-2.0-or-later
"""A mail on standard input, as b4 hands it to a check command -> the change to try, and the answer in b4's terms.

b4 runs a check in the top directory of the tree. Its commands differ in what they read:

    review-series-check-cmd, review-perpatch-check-cmd    JSON: [{tool, status, summary, details}], pass, warn or fail
    prep-perpatch-check-cmd, am-perpatch-check-cmd        lines, of which those with `ERROR:` fail; none passes

The mail is a patch, or the cover letter of a series. $B4_TRACKING_FILE has, for a series under review, the object id of
its thread and its commits.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lab.build import series, source
from lab.core.errors import InfraError, InputError, LabError, UsageError
from lab.core.outcome import Delta
from lab.core.untrusted import one_line
from lab.formats.patches import mail, message, thread
from lab.formats.patches.mail import MailedSeries
from lab.formats.patches.message import MailMessage
from lab.verdicts.compare import EXIT_MET, EXIT_NOT_MET, Summary
from lab.workflows import base, change, lore
from lab.workflows.change import Asked, Change

TOOL = "pagelab"
TRACKING = "B4_TRACKING_FILE"
MAX_TRACKING = 64 << 20
MAX_COMMITS = 1000
"""How far back a commit is looked for that a mail was made from."""
MAX_LINES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """What b4 knows of a series under review; empty where it does not say."""

    thread_blob: str = ""
    base_commit: str = ""
    first_commit: str = ""
    change_id: str = ""

    @classmethod
    def load(cls, path: str) -> Tracking:
        """Read the file that b4 names; InputError if it is damaged."""
        if not path:
            return cls()
        try:
            with Path(path).open("rb") as file:
                raw = json.loads(file.read(MAX_TRACKING))
        except (OSError, ValueError) as error:
            raise InputError(path, None, None, f"expected b4's tracking data: {one_line(str(error))}") from None
        known = raw.get("series") if isinstance(raw, dict) else None
        if not isinstance(known, dict):
            raise InputError(path, None, "series", "expected b4's tracking data")
        return cls(
            thread_blob=_word(known, "thread-blob"),
            base_commit=_word(known, "base-commit"),
            first_commit=_word(known, "first-patch-commit"),
            change_id=_word(known, "change-id"),
        )


def _word(known: Mapping[str, Any], key: str) -> str:
    """Return a word of the tracking data that git may be given; empty if it is none."""
    value = known.get(key)
    return value if isinstance(value, str) and value and not value.startswith("-") and " " not in value else ""


def read(data: bytes, tracking: Tracking, tree: Path, asked: Asked) -> Change:
    """Return the change that a mail is part of: of a patch that is m/n the patches 1 to m, of a cover letter all.

    A patch that was made from a commit of the tree is that commit. UsageError if the series cannot be found.
    """
    letter = next(message.read(data.lstrip(b"\r\n"), "standard input"))
    if letter.diffs and (commit := _commit_of(letter, tree)):
        return change.read(f"{commit}^..{commit}", tree)
    told = thread.subject(letter.subject)
    if letter.diffs and told.total < 2:
        return _based(mail.read([(data, "standard input")]), tracking, tree, asked)
    whole = _series(letter, tracking, tree, asked)
    if told.number:
        whole = replace(whole, patches=whole.patches[: told.number])
    return _based(whole, tracking, tree, asked)


def _based(mailed: MailedSeries, tracking: Tracking, tree: Path, asked: Asked) -> Change:
    named = replace(mailed, base_commit=mailed.base_commit or tracking.base_commit)
    chosen = base.choose(named, tree, asked.branches, asked.base)
    name = mail.slug(named.title) or named.patches[0].name
    return Change(name=name, base=chosen.source, why=chosen.why, series=named)


def _commit_of(letter: MailMessage, tree: Path) -> str:
    """Return the commit of the checked-out branch that has a mail's title and files; empty if there is none."""
    title = thread.subject(letter.subject).title
    if not (tree / ".git").exists():
        return ""
    listed = source.git(tree, "log", f"--max-count={MAX_COMMITS}", "--no-merges", "--format=%H %s")
    for line in listed.splitlines():
        commit, _, subject = line.partition(" ")
        if subject.strip() == title and _files(tree, commit) == _names(letter):
            return commit
    return ""


def _files(tree: Path, commit: str) -> set[str]:
    return set(source.git(tree, "show", "-z", "--format=", "--name-only", "--no-renames", commit).split("\0")) - {""}


def _names(letter: MailMessage) -> set[str]:
    names: set[str] = set()
    for diff in letter.diffs:
        for changed in series.from_text("mail", diff.data, "standard input").changes:
            names |= {name for name in (changed.old, changed.new) if name}
    return names


def _series(letter: MailMessage, tracking: Tracking, tree: Path, asked: Asked) -> MailedSeries:
    """Return the whole series of a mail: from the thread that b4 keeps, its review branch, or an archive."""
    if tracking.thread_blob and base.known(tree, tracking.thread_blob, "blob"):
        box = source.git(tree, "cat-file", "blob", tracking.thread_blob).encode()
        return mail.read([(box, "b4's thread")], alone=False)
    if tracking.first_commit and tracking.change_id:
        branch = f"b4/review/{tracking.change_id}"
        if base.known(tree, branch):
            return change.read(f"{tracking.first_commit}^..{branch}^", tree).series
    if not letter.id:
        raise UsageError("standard input: expected a patch or a mail with a message id, to find its series by")
    return mail.read(lore.thread(letter.id, asked.mirror), where=letter.id, alone=False)


# The answer.


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a check found. `status` is pass, warn (nothing was found out) or fail."""

    status: str
    summary: str
    details: tuple[str, ...] = ()

    def as_json(self) -> str:
        """Return the answer as b4's review reads it."""
        found = {"tool": TOOL, "status": self.status, "summary": self.summary, "details": "\n".join(self.details)}
        return json.dumps([found], indent=2)

    def as_lines(self) -> list[str]:
        """Return the answer as b4's prep reads it, which is how checkpatch prints; nothing if all is well."""
        if self.status == "pass":
            return []
        mark = {"fail": "ERROR", "warn": "WARNING"}[self.status]
        return [f"{mark}: {line}" for line in (self.summary, *self.details)]


def answer(summary: Summary) -> Answer:
    """Return what a run means for a patch."""
    status = {EXIT_MET: "pass", EXIT_NOT_MET: "fail"}.get(summary.exit_code, "warn")
    lines = list(_lines(summary))
    if len(lines) > MAX_LINES:
        lines = [*lines[:MAX_LINES], f"and {len(lines) - MAX_LINES} more"]
    return Answer(
        status=status,
        summary=summary.sentence,
        details=(*lines, f"results: {Path(summary.evidence.source).absolute()}"),
    )


def _lines(summary: Summary) -> Iterator[str]:
    for delta in (Delta.REGRESSED, Delta.FIXED):
        for changed in summary.changed:
            if changed.delta is delta:
                where = f"{changed.label} on {changed.topology}"
                yield f"{delta.value}: {where}: {changed.before}, {changed.after} with {changed.kernel}"
    for record in (*summary.not_met, *summary.flaky):
        yield one_line(f"{record.label} on {record.topology}/{record.kernel}: {record.verdict}: {record.reason}", 300)


def failed(error: LabError) -> Answer:
    """Return what an error means: the lab's own says nothing about the patch, the others are the patch's."""
    status = "warn" if isinstance(error, InfraError) else "fail"
    return Answer(status=status, summary=one_line(str(error), 400))
