# SPDX-License-Identifier: GPL-2.0-or-later
"""lab.workflows.base: what a series is applied to, why, and to what it would apply."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.core.errors import UsageError
from lab.formats.patches.patch import AlreadyApplied, DoesNotApply
from lab.workflows.change import Asked, check, read
from tests.unit.toy import Toy, git


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    """The toy tree with a history of mm/count, in which `old` and `new` are branches, and a patch for each step."""
    toy = Toy.make(tmp_path)
    git(toy.tree, "init", "--quiet", "--initial-branch=new")
    for number in range(1, 5):
        (toy.tree / "mm/count").write_text(f"a\nb\n{number}\nc\n")
        git(toy.tree, "add", "--all")
        git(toy.tree, "commit", "--quiet", "--message", f"step {number}")
        git(toy.tree, "tag", f"s{number}")
    git(toy.tree, "branch", "old", "s2")
    return toy


def made(toy: Toy, before: str, after: str, *, base: str = "", index: bool = True) -> str:
    text = git(toy.tree, "diff", *([] if index else ["--no-prefix"]), before, after) + "\n"
    lines = [line for line in text.splitlines(keepends=True) if index or not line.startswith("index ")]
    path = toy.root / "my.patch"
    path.write_text(f"Subject: [PATCH] x\nFrom: a@b\n\n---\n{''.join(lines)}-- \n2.39\n\n{base}")
    return str(path)


def commit(toy: Toy, name: str) -> str:
    return f"git:{toy.tree}@{git(toy.tree, 'rev-parse', name)}"


def test_the_commit_that_a_series_names(toy: Toy) -> None:
    word = made(toy, "s2", "s3", base=f"base-commit: {git(toy.tree, 'rev-parse', 's2')}\n")
    found = read(word, toy.tree)
    assert (found.base, found.why) == (commit(toy, "s2"), "the base-commit that the series names")
    check(found, toy.tree)


def test_a_branch_that_the_index_lines_fit(toy: Toy) -> None:
    found = read(made(toy, "s2", "s3"), toy.tree, Asked(branches=["new", "o*"]))
    assert (found.base, found.why) == (commit(toy, "s2"), "every index line of the series fits old")
    unknown = read(made(toy, "s2", "s3", base=f"base-commit: {'1' * 40}\n"), toy.tree, Asked(branches=["old"]))
    assert unknown.why == "the series names base-commit 111111111111, which the tree lacks; " + found.why


def test_else_the_tree_as_it_is(toy: Toy) -> None:
    plain = read(made(toy, "s4", "s3"), toy.tree)
    assert (plain.base, plain.why) == (f"path:{toy.tree}", "the series names no base-commit; the tree as it is")
    unfit = read(made(toy, "s3", "s2"), toy.tree, Asked(branches=["old", "new"]))
    assert unfit.why == "its index lines fit none of old, new; the tree as it is"
    assert read(made(toy, "s4", "s3"), toy.tree).base == f"path:{toy.tree}"


def test_the_user_decides(toy: Toy) -> None:
    word = made(toy, "s2", "s3", base=f"base-commit: {git(toy.tree, 'rev-parse', 's2')}\n")
    assert read(word, toy.tree, Asked(base="s1")).base == commit(toy, "s1")
    assert read(word, toy.tree, Asked(base="tree")).base == f"path:{toy.tree}"
    for asked, said in ((Asked(base="nope"), "no such revision"), (Asked(branches=["nope*"]), "no such branch or tag")):
        with pytest.raises(UsageError, match=said):
            read(made(toy, "s2", "s3"), toy.tree, asked)


def test_a_series_that_does_not_apply_says_to_what_it_would(toy: Toy) -> None:
    found = read(made(toy, "s2", "s3"), toy.tree)
    with pytest.raises(DoesNotApply) as caught:
        check(found, toy.tree)
    assert "expected '2', found '4'" in str(caught.value)
    assert f"tried on path:{toy.tree}: the series names no base-commit; the tree as it is" in str(caught.value)
    assert "its index lines fit old, s2: try --base old" in str(caught.value)


def test_what_fits_nothing_is_said_to(toy: Toy) -> None:
    word = Path(made(toy, "s2", "s3"))
    word.write_text(word.read_text().replace("index ", "index 0badc0de"))
    with pytest.raises(DoesNotApply, match="its index lines fit no branch and no tag of the tree"):
        check(read(str(word), toy.tree), toy.tree)
    without = read(made(toy, "s2", "s3", index=False), toy.tree)
    with pytest.raises(DoesNotApply) as caught:
        check(without, toy.tree)
    assert "index lines" not in str(caught.value)


def test_a_patch_that_the_tree_has(toy: Toy) -> None:
    with pytest.raises(AlreadyApplied, match=r"x\.patch: already applied"):
        check(read(made(toy, "s3", "s4"), toy.tree), toy.tree)


def test_a_patch_never_reads_out_of_the_tree(toy: Toy) -> None:
    (toy.tree / "mm/link").symlink_to("/etc")
    word = toy.root / "evil.patch"
    word.write_text("--- a/mm/link/passwd\n+++ b/mm/link/passwd\n@@ -1 +1 @@\n-x\n+y\n")
    with pytest.raises(UsageError, match="symbolic link"):
        check(read(str(word), toy.tree), toy.tree)


def test_the_last_commit_of_a_rebase(toy: Toy) -> None:
    found = read("HEAD^..HEAD", toy.tree)
    assert (found.base, len(found.patches)) == (commit(toy, "s3"), 1)
    assert found.why == "the commit before HEAD^..HEAD"
    check(found, toy.tree)
