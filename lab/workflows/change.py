# SPDX-License-Identifier: GPL-2.0-or-later
"""What a user calls a patch (a file, a directory, a message, commits) -> the series and what it is applied to."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.build import series, source, worktree
from lab.core.errors import InputError, UsageError
from lab.core.paths import exists, is_directory, is_file, user_path
from lab.formats.patches import mail, packed, patch
from lab.formats.patches.mail import MailedPatch, MailedSeries
from lab.workflows import base, lore

STDIN = "-"
UNCOMMITTED = "uncommitted"
SUFFIXES = (".patch", ".diff", ".mbox", ".mbx", ".eml", *packed.SUFFIXES)
MAX_INPUT = series.MAX_PATCH
_COMMIT = re.compile(rb"^commit [0-9a-f]{40,64}\b", re.MULTILINE)
_RANGE = re.compile(r"(?P<base>[^\s.][^\s]*?)\.\.\.?(?P<tip>[^\s.][^\s]*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change to a tree: where it starts from and why there, and its patches in order."""

    name: str
    base: str
    """Source of the kernel without it, as kernels' YAML has it."""
    series: MailedSeries
    why: str = ""

    @property
    def patches(self) -> tuple[MailedPatch, ...]:
        return self.series.patches


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How a patch is to be found and applied, besides its name."""

    mirror: str = ""
    """Where messages come from; see lab/workflows/lore.py."""
    base: str = ""
    branches: Sequence[str] = ()
    stdin: bytes = b""


def read(word: str, tree: Path, asked: Asked | None = None) -> Change:
    """Return the change that a word of the command line means; UsageError if it means none.

    An existing file comes first, then a message id or URL, then REV..REV of the tree. `uncommitted` means what the
    tree has beyond its last commit.
    """
    asked = asked or Asked()
    if not is_file(tree / "Makefile") and not is_file(tree / "HEAD") and not exists(tree / ".git"):
        got = "none" if exists(tree) else "nothing there"
        raise UsageError(f"--tree: expected a kernel tree, got {got}: {tree}")
    path = user_path(word)
    if "\n" in word and not exists(path):
        raise UsageError("expected the name of a patch, got several lines: a patch itself is read from `-`")
    _check_url(word)
    if word == STDIN:
        return _based(mail.read([(asked.stdin, "standard input")]), "", tree, asked)
    if not exists(path) and word == UNCOMMITTED:
        return _uncommitted(tree)
    if not exists(path) and (wanted := lore.message_id(word)):
        mails = lore.thread(wanted, asked.mirror or lore.archive(word))
        return _based(mail.read(mails, where=wanted, alone=False), "", tree, asked)
    if not exists(path) and (match := _RANGE.fullmatch(word)):
        return _of_range(match["base"], match["tip"] or "HEAD", tree)
    if not exists(path) and base.known(tree, word):
        raise UsageError(f"{word} is a commit of the tree: {word}^..{word} means what it changes")
    return _based(of_path(path), mail.slug(path.stem), tree, asked)


def _check_url(word: str) -> None:
    """Raise UsageError for a URL that is no message's."""
    if (lore.is_url(word) or word.startswith(("ftp://", "git://"))) and not lore.message_id(word):
        hint = f"curl -L {shlex.quote(word)} | lab try - ..."
        raise UsageError(f"{word}: expected the URL of a message in an archive of mails", hint=hint)


def _based(mailed: MailedSeries, name: str, tree: Path, asked: Asked) -> Change:
    chosen = base.choose(mailed, tree, asked.branches, asked.base)
    return Change(
        name=name or mail.slug(mailed.title) or mailed.patches[0].name,
        base=chosen.source,
        why=chosen.why,
        series=mailed,
    )


def of_path(path: Path) -> MailedSeries:
    """Return the series in a file or a directory."""
    if not is_directory(path):
        return mail.read([(_content(path), str(path))])
    files = series.listed(path) or _sorted_files(path)
    if not files:
        raise UsageError(f"{path}: expected patches (*.patch, *.diff, *.mbox) in this directory, found none")
    return mail.read([(_content(file), str(file)) for file in files], where=str(path), whole=False)


def _sorted_files(path: Path) -> list[Path]:
    """Return the files of a directory with patches in the order of their names, `2.patch` before `10.patch`."""
    maildir = (path / "cur").is_dir() and (path / "new").is_dir()
    folders = [path / "cur", path / "new"] if maildir else [path]
    files = []
    for file in (file for folder in folders for file in folder.iterdir()):
        if (maildir or file.suffix.lower() in SUFFIXES) and not file.name.startswith("."):
            files.append(file)
    return sorted(files, key=series.by_number)


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_INPUT + 1)
    except OSError as error:
        hint = f"a patch, a directory of patches, a mailbox, a message id, REV..REV of the tree, or `{UNCOMMITTED}`"
        raise InputError(path, None, None, f"cannot be read: {error.strerror}; expected {hint}") from None
    if len(data) > MAX_INPUT:
        raise InputError(path, None, None, f"expected a patch of at most {MAX_INPUT >> 20} MiB")
    return data


def check(change: Change, tree: Path) -> None:
    """Check that every patch is one and applies to the base, before anything is built.

    DoesNotApply says to which branch or tag of the tree the series would apply, where its index lines say so.
    """
    parsed = []
    for mailed in change.patches:
        name = f"{mailed.name}.patch"
        parsed.append(series.from_text(name, mailed.data, name))
    try:
        series.changed_files(parsed, _lookup(change.base))
    except patch.AlreadyApplied:
        raise
    except patch.DoesNotApply as error:
        hints = [error.hint, f"tried on {change.base}: {change.why}", base.advice(change.series, tree)]
        if isinstance(error, patch.NoSuchFile):
            hints.append(base.elsewhere(error.name, _lookup(change.base), tree))
        hints += map(_of_log, change.patches)
        raise patch.DoesNotApply(error.message, hint="; ".join(filter(None, hints)) or None) from None


def _of_log(mailed: MailedPatch) -> str:
    """Return a hint for a patch that is the output of `git log -p`; empty for others."""
    commits = len(_COMMIT.findall(mailed.data))
    if commits < 2:
        return ""
    return f"it has {commits} commits as `git log -p` prints them, the newest first: `git format-patch` has their order"


def _lookup(spec: str) -> patch.Lookup:
    """Return the files of a base; a link out of a user's directory is refused before it is followed."""
    if not spec.startswith("path:"):
        return source.peek(spec)
    top = user_path(spec.removeprefix("path:")).absolute()
    return lambda name: worktree.read_file(top, name)


def _of_range(base: str, tip: str, tree: Path) -> Change:
    """Commits of the tree, oldest first; with a merge among them one patch that is all of them."""
    first, last = (source.commit_of(tree, word) for word in (base, tip))
    forked = source.merge_base(tree, first, last)
    if not forked:
        raise UsageError(f"{base}..{tip}: the two have no commit in common in {tree}")
    revisions = f"{forked}..{last}"
    commits = source.git(tree, "rev-list", "--reverse", revisions).split()
    if not commits:
        raise UsageError(f"{base}..{tip}: no commits between them in {tree}")
    name, why = mail.slug(f"{base}-{tip}"), f"the commit before {base}..{tip}"
    if source.git(tree, "rev-list", "--merges", "--max-count=1", revisions).strip():
        whole = MailedPatch(name=name, data=source.diff(tree, forked, last))
        return Change(name=name, base=f"git:{tree.absolute()}@{forked}", why=why, series=MailedSeries(patches=(whole,)))
    patches = tuple(_commit(tree, commit) for commit in commits)
    return Change(name=name, base=f"git:{tree.absolute()}@{forked}", why=why, series=MailedSeries(patches=patches))


def _uncommitted(tree: Path) -> Change:
    """Return what `git diff HEAD` prints as one patch; UsageError if it prints nothing."""
    head = source.commit_of(tree, "HEAD")
    data = source.diff(tree, head)
    if not data:
        hint = "`git add -N FILE` makes a new file part of it"
        raise UsageError(f"{tree} has no uncommitted changes", hint=hint)
    series = MailedSeries(patches=(MailedPatch(name=UNCOMMITTED, data=data),), notes=_untracked(tree))
    return Change(
        name=UNCOMMITTED, base=f"git:{tree.absolute()}@{head}", why="the last commit of the tree", series=series
    )


def _untracked(tree: Path) -> tuple[str, ...]:
    """Return a note about the new files that git does not know, since they are no part of the change."""
    names = source.git(tree, "ls-files", "--others", "--exclude-standard").splitlines()
    if not names:
        return ()
    listed = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return (f"untracked files are not part of the change: {listed}; `git add -N FILE` adds one",)


def _commit(tree: Path, commit: str) -> MailedPatch:
    subject = source.git(tree, "show", "--no-patch", "--format=%s", commit).strip()
    text = f"commit {commit}\n\n    {subject}\n\n".encode() + source.diff(tree, f"{commit}^", commit)
    return MailedPatch(name=mail.slug(subject) or commit[:12], data=text)
