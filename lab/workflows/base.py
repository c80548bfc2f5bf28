# SPDX-License-Identifier: GPL-2.0-or-later
"""What a series is applied to: the commit that it names, a branch that its index lines fit, or the tree as it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from lab.build import series, source
from lab.core.errors import InputError, LabError, UsageError
from lab.formats.patches import patch
from lab.formats.patches.mail import MailedSeries

AS_IT_IS = "tree"
MAX_REFS = 500
"""Branches and tags that are looked at, those with the latest commits first."""
MAX_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A source as kernels' YAML has it, and why it is the base."""

    source: str
    why: str


def choose(mailed: MailedSeries, tree: Path, branches: Sequence[str] = (), wanted: str = "") -> Base:
    """Return the base of a series.

    `wanted` is a revision or AS_IT_IS, `branches` are globs of branches and tags; UsageError if a glob fits none.
    """
    if wanted and wanted != AS_IT_IS:
        return _commit(tree, source.commit_of(tree, wanted), f"--base is {wanted}")
    if wanted:
        return _as_it_is(tree, "as --base says")
    if commit := known(tree, mailed.base_commit):
        return _commit(tree, commit, "the base-commit that the series names")
    named = (
        f"the series names base-commit {mailed.base_commit[:12]}, which the tree lacks" if mailed.base_commit else ""
    )
    if branches:
        candidates = _matching(tree, branches)
        if fits := fitting(objects(mailed), tree, candidates):
            reason = f"every index line of the series fits {fits[0]}"
            return _commit(tree, source.commit_of(tree, fits[0]), "; ".join(filter(None, [named, reason])))
        named = "; ".join(filter(None, [named, f"its index lines fit none of {', '.join(branches)}"]))
    return _as_it_is(tree, named or "the series names no base-commit")


def _commit(tree: Path, commit: str, why: str) -> Base:
    return Base(source=f"git:{tree.absolute()}@{commit}", why=why)


def _as_it_is(tree: Path, why: str) -> Base:
    if not (tree / "Makefile").is_file() and _is_repository(tree):
        return _commit(tree, source.commit_of(tree, "HEAD"), f"{why}; HEAD of a repository without files")
    return Base(source=f"path:{tree.absolute()}", why=f"{why}; the tree as it is")


def _is_repository(tree: Path) -> bool:
    return (tree / ".git").exists() or (tree / "HEAD").is_file()


def known(tree: Path, name: str, kind: str = "commit") -> str:
    """Return the whole id of a commit (or another kind of object) of the tree; empty if it has none of that name."""
    if not name or not _is_repository(tree):
        return ""
    try:
        return source.git(tree, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{{kind}}}").strip()
    except LabError:
        return ""


def _refs(tree: Path) -> list[str]:
    """Return the branches and tags of a tree, the latest first."""
    words = ("--format=%(refname:short)", "--sort=-creatordate", f"--count={MAX_REFS}")
    return source.git(tree, "for-each-ref", *words, "refs/heads", "refs/remotes", "refs/tags").split()


def _matching(tree: Path, globs: Sequence[str]) -> list[str]:
    """Return the branches and tags that globs name, in the order of the globs."""
    if not _is_repository(tree):
        raise UsageError(f"--base-branches: {tree} is no git repository")
    refs = _refs(tree)
    found: list[str] = []
    for glob in globs:
        some = [ref for ref in refs if fnmatchcase(ref, glob)] or _revision(tree, glob)
        if not some:
            raise UsageError(f"--base-branches {glob}: {tree} has no such branch or tag")
        found += some
    return list(dict.fromkeys(found))


def _revision(tree: Path, word: str) -> list[str]:
    """Return a word that is a revision and no glob, such as HEAD~3."""
    return [word] if not set("*?[") & set(word) and known(tree, word) else []


def objects(mailed: MailedSeries) -> dict[str, str]:
    """Return file -> object id of its content before the series, as its index lines have it."""
    before: dict[str, str] = {}
    seen: set[str] = set()
    for item in mailed.patches:
        try:
            changes = series.from_text(item.name, item.data, item.name).changes
        except InputError:
            return {}
        for change in changes:
            if change.old and change.blob and change.old not in seen:
                before[change.old] = change.blob
            seen |= {name for name in (change.old, change.new) if name}
    return before


def fitting(before: Mapping[str, str], tree: Path, refs: Iterable[str] | None = None) -> list[str]:
    """Return the branches and tags in which every file has the content that a series starts from."""
    if not before or not _is_repository(tree):
        return []
    fits = []
    for ref in _refs(tree) if refs is None else refs:
        if _has(tree, ref, before):
            fits.append(ref)
    return fits


def _has(tree: Path, ref: str, before: Mapping[str, str]) -> bool:
    listed = source.git(tree, "ls-tree", "-z", "--full-tree", ref, "--", *before)
    there = {}
    for entry in filter(None, listed.split("\0")):
        facts, _, name = entry.partition("\t")
        there[name] = facts.split()[2]
    return all(there.get(name, "").startswith(blob) for name, blob in before.items())


def elsewhere(name: str, lookup: patch.Lookup, tree: Path) -> str:
    """Say where a file is that a patch names from another directory than the top of the tree; empty if nowhere."""
    parts = name.split("/")
    shorter = ["/".join(parts[first:]) for first in range(1, len(parts))]
    found = [candidate for candidate in shorter if lookup(candidate)]
    if not found and _is_repository(tree):
        found = source.git(tree, "ls-files", "--", f":(glob)**/{name}").splitlines()
    if not found:
        return ""
    return (
        f"the tree has {', '.join(found[:MAX_NAMED])}: names begin at its top, behind one directory, as in a/mm/file.c"
    )


def advice(mailed: MailedSeries, tree: Path) -> str:
    """Say which branches and tags a series that does not apply would apply to; empty if its index lines say nothing."""
    before = objects(mailed)
    if not before or not _is_repository(tree):
        return ""
    fits = fitting(before, tree)
    if not fits:
        return "its index lines fit no branch and no tag of the tree"
    more = ", ..." if len(fits) > MAX_NAMED else ""
    return f"its index lines fit {', '.join(fits[:MAX_NAMED])}{more}: try --base {fits[0]}"
