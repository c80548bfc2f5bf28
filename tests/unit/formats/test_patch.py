# SPDX-License-Identifier: GPL-2.0-or-later
"""lab.patch: strict parsing, and application with every context line checked, compared with `git apply`."""

from __future__ import annotations

import difflib
import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lab.core import proc
from lab.core.errors import InputError
from lab.formats.patches import patch
from lab.formats.patches.patch import Content

OLD = "".join(f"line {number}\n" for number in range(1, 31))

PATCH = """\
From 1234 Mon Sep 17 00:00:00 2001
Subject: [PATCH] one line

--- is not a header here
---
 f.c | 2 +-

diff --git a/f.c b/f.c
index 111..222 100644
--- a/f.c
+++ b/f.c
@@ -9,7 +9,7 @@ int f(void)
 line 9
 line 10
 line 11
-line 12
+LINE 12
 line 13
 line 14
 line 15
-- \n2.39.2
"""


def applied(text: str, files: dict[str, str], name: str = "0001-x.patch") -> dict[str, str | None]:
    tree = patch.Tree(lambda path: Content(files[path].encode()) if path in files else None)
    for change in patch.parse(text.encode(), name):
        tree.apply(change, name)
    return {path: content.data.decode() if content else None for path, content in tree.changed.items()}


def test_applies_amid_mail() -> None:
    assert applied(PATCH, {"f.c": OLD}) == {"f.c": OLD.replace("line 12", "LINE 12")}


def test_hunk_found_at_an_offset_but_never_with_other_context() -> None:
    moved = "new\n" * 7 + OLD
    assert applied(PATCH, {"f.c": moved}) == {"f.c": moved.replace("line 12", "LINE 12")}
    with pytest.raises(patch.DoesNotApply) as caught:
        applied(PATCH, {"f.c": OLD.replace("line 15", "line fifteen")})
    assert str(caught.value) == (
        "0001-x.patch: f.c: hunk 1 does not apply: @@ -9,7 +9,7 @@ int f(void) "
        "(line 15: expected 'line 15', found 'line fifteen')"
    )


def test_file_that_is_not_there() -> None:
    with pytest.raises(patch.DoesNotApply, match=r"0001-x\.patch: f\.c: no such file in the tree"):
        applied(PATCH, {})


NEW_FILE = "--- /dev/null\n+++ b/mm/new.c\n@@ -0,0 +1,2 @@\n+one\n+two\n\\ No newline at end of file\n"
GONE = "diff --git a/x b/x\ndeleted file mode 100644\n--- a/x\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-one\n-two\n"
RENAMED = """\
diff --git a/old.c b/new.c
similarity index 90%
rename from old.c
rename to new.c
--- a/old.c
+++ b/new.c
@@ -1,2 +1,2 @@
 one
-two
+TWO
"""
MODE = "diff --git a/s.sh b/s.sh\nold mode 100644\nnew mode 100755\n"


def test_new_removed_and_renamed_files() -> None:
    assert applied(NEW_FILE, {}) == {"mm/new.c": "one\ntwo"}
    assert applied(GONE, {"x": "one\ntwo\n"}) == {"x": None}
    assert applied(RENAMED, {"old.c": "one\ntwo\n"}) == {"old.c": None, "new.c": "one\nTWO\n"}
    with pytest.raises(patch.DoesNotApply, match="is there already"):
        applied(NEW_FILE, {"mm/new.c": ""})
    with pytest.raises(patch.DoesNotApply, match="hunk 1 does not apply"):
        applied(GONE, {"x": "one\ntwo\nthree\n"})


def test_change_of_mode() -> None:
    (change,) = patch.parse(MODE.encode(), "p")
    tree = patch.Tree(lambda _: Content(b"echo\n"))
    tree.apply(change, "p")
    assert tree.changed == {"s.sh": Content(b"echo\n", executable=True)}


@pytest.mark.parametrize("old", ["mm/f.c.orig", "mm/f.c~", "mm/f.c", "linux-6.12/mm/f.c"])
def test_the_kernels_own_directory_is_no_prefix(old: str) -> None:
    new = old.replace(".orig", "").replace("~", "")
    (change,) = patch.parse(f"--- {old}\t2026-01-01\n+++ {new}\t2026-01-02\n@@ -1 +1 @@\n-a\n+b\n".encode(), "p")
    assert change.name == "mm/f.c"


def test_patches_made_without_git_may_name_the_old_file_differently() -> None:
    text = "--- linux/f.c.orig\t2026-01-01\n+++ linux/f.c\t2026-01-02\n@@ -1 +1 @@\n-a\n+b\n"
    assert applied(text, {"f.c": "a\n"}) == {"f.c": "b\n"}


HEAD = "--- a/f.c\n+++ b/f.c\n"


@pytest.mark.parametrize(
    ("text", "place", "why"),
    [
        ("just prose\n", "p", "found no diff"),
        (HEAD, "p:3", "expected a hunk"),
        (HEAD + "@@ -1,2 +1,2 @@\n a\n-b\n", "p:6", "ends in the middle"),
        (HEAD + "@@ -1,2 +1,2 @@\n a\n-b\n-c\n+d\n", "p:7", "more lines than it says"),
        (HEAD + "@@ -1,1 +1,1 @@\n-a\n+b\n+c\n", "p:6", "more lines than it says"),
        (HEAD + "@@ -1,2 +1,2 @@\n a\n?b\n", "p:5", "expected a line of a hunk"),
        (HEAD + "@@ -1,2 +1,2 @@\n a\nwrapped\n", "p:5", "was the line before it wrapped, or are blanks lost?"),
        (HEAD + "@@ -1,2 +1,2 @@\n-a\n+b\ndiff --git a/x b/x\n", "p:6", "fewer lines than it says"),
        ("diff --cc f.c\nindex 1,2..3\n--- a/f.c\n+++ b/f.c\n@@@ -1 -1 +1 @@@\n--a\n++b\n", "p:1", "combined diff"),
        (HEAD + "@@ -1,2 +1,2 @@\n a\n b\n", "p:6", "changes nothing"),
        ("@@ -1 +1 @@\n-a\n+b\n", "p:1", "without the names"),
        ("--- a/../etc/passwd\n+++ b/../etc/passwd\n@@ -1 +1 @@\n-a\n+b\n", "p:1", "outside the tree: ../etc/passwd"),
        ("--- a/f\n+++ b/x/../../f\n@@ -1 +1 @@\n-a\n+b\n", "p:1", "outside the tree"),
        ("--- /etc/passwd\n+++ /etc/passwd\n@@ -1 +1 @@\n-a\n+b\n", "p:1", "outside the tree: /etc/passwd"),
        ("--- a/.git/config\n+++ b/.git/config\n@@ -1 +1 @@\n-a\n+b\n", "p:1", "outside the tree"),
        ("--- f.c.orig\n+++ f.c\n@@ -1 +1 @@\n-a\n+b\n", "p:1", "expected a name like a/mm/file.c"),
        ("--- a/.GIT/config\n+++ b/.GIT/config\n@@ -1 +1 @@\n-a\n+b\n", "p:1", "outside the tree"),
        ('--- "a/\\056\\056/f"\n+++ "b/\\056./f"\n@@ -1 +1 @@\n-a\n+b\n', "p:1", "outside the tree: ../f"),
        ("diff --git a/x b/y\nindex 1..2\n--- a/x\n+++ b/y\n@@ -1 +1 @@\n-a\n+b\n", "p:3", "with the same FILE"),
        ("diff --git a/x b/x\nnew file mode 120000\n", "p:3", "a symbolic link (mode 120000) is not"),
        ("diff --git a/x b/x\nnew file mode 100600\n", "p:3", "expected mode 100644 or 100755"),
        ("diff --git a/x b/x\nindex 1..2\nGIT binary patch\n", "p:3", "binary"),
        ("diff --git a/x b/x\nindex 1..2 100644\n", "p:3", "neither a hunk nor"),
        ("diff --git a/f.c b/f.c\n--- a/g.c\n+++ b/f.c\n@@ -1 +1 @@\n-a\n+b\n", "p:2", "name of diff --git, 'f.c'"),
    ],
)
def test_malformed_patches_are_refused_with_their_line(text: str, place: str, why: str) -> None:
    with pytest.raises(InputError) as caught:
        patch.parse(text.encode(), "p")
    assert str(caught.value).startswith(f"{place}: ")
    assert why in str(caught.value)


CHANGE = "@@ -1 +1 @@\n-a\n+b\n"
NAMES = {
    "mnemonic": ("mm/f.c", "diff --git i/mm/f.c w/mm/f.c\n--- i/mm/f.c\n+++ w/mm/f.c\n", 1),
    "commits": ("mm/f.c", "diff --git c/mm/f.c o/mm/f.c\nindex 11111..22222 100644\n--- c/mm/f.c\n+++ o/mm/f.c\n", 1),
    "other prefixes": ("f.c", "diff --git old/f.c new/f.c\n--- old/f.c\n+++ new/f.c\n", 1),
    "no prefix": ("mm/f.c", "diff --git mm/f.c mm/f.c\n--- mm/f.c\n+++ mm/f.c\n", 0),
    "no prefix, not git's": ("mm/f.c", "--- mm/f.c\t(revision 1)\n+++ mm/f.c\t(working copy)\n", 0),
    "at the top": ("Makefile", "diff --git Makefile Makefile\n--- Makefile\n+++ Makefile\n", 0),
    "blanks": ("a file.c", "diff --git a/a file.c b/a file.c\n--- a/a file.c\t\n+++ b/a file.c\t\n", 1),
    "quoted": (
        '\u00e9 "x.c',
        'diff --git "a/\\303\\251 \\"x.c" "b/\\303\\251 \\"x.c"\n'
        '--- "a/\\303\\251 \\"x.c"\n+++ "b/\\303\\251 \\"x.c"\n',
        1,
    ),
    "time after a tab": ("f.c", "--- a/f.c\t2026-01-01 10:00:00.000000000 +0100\n+++ b/f.c\t2026-01-02\n", 1),
    "time after blanks": (
        "f.c",
        "--- a/f.c 2026-01-01 10:00:00.000000000 +0100\n+++ b/f.c  2026-01-01 10:00:01 +0100\n",
        1,
    ),
    "time with a name and blanks": (
        "a f.c",
        "--- a/a f.c\t2026-01-01 10:00:00 +0100\n+++ b/a f.c\t2026-01-01 10:00:01 +0100\n",
        1,
    ),
}


@pytest.mark.parametrize("kind", NAMES)
def test_names_in_every_spelling_as_git_has_them(kind: str, tmp_path: Path) -> None:
    name, head, strip = NAMES[kind]
    assert applied(head + CHANGE, {name: "a\n"}) == {name: "b\n"}
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("a\n")
    words = ["git", "apply", f"-p{strip}", "-"]
    proc.run(words, cwd=tmp_path, env={"GIT_CEILING_DIRECTORIES": str(tmp_path)}, input=(head + CHANGE).encode())
    assert (tmp_path / name).read_text() == "b\n"


def test_renames_have_their_names_in_lines_of_their_own() -> None:
    for old, new in (("a/old f.c", "b/new f.c"), ("old f.c", "new f.c"), ("i/old f.c", "w/new f.c")):
        moved = RENAMED.replace("a/old.c", old).replace("b/new.c", new)
        moved = moved.replace("from old.c", "from old f.c").replace("to new.c", "to new f.c")
        assert applied(moved, {"old f.c": "one\ntwo\n"}) == {"old f.c": None, "new f.c": "one\nTWO\n"}


def test_the_time_of_a_missing_file() -> None:
    gone = "--- a/x\t2026-01-01 10:00:00 +0100\n+++ b/x\t1970-01-01 01:00:00.000000000 +0100\n@@ -1 +0,0 @@\n-one\n"
    assert applied(gone, {"x": "one\n"}) == {"x": None}
    made = "--- a/x\t1970-01-01 01:00:00 +0100\n+++ b/x\t2026-01-01 10:00:00 +0100\n@@ -0,0 +1 @@\n+one\n"
    assert applied(made, {}) == {"x": "one\n"}


def test_the_last_newline_of_a_patch_may_be_missing() -> None:
    whole = HEAD + "@@ -1,2 +1,2 @@\n-a\n+b\n c"
    assert applied(whole, {"f.c": "a\nc\n"}) == {"f.c": "b\nc\n"}
    with pytest.raises(patch.DoesNotApply, match="the patch has a newline at the end of this last line"):
        applied(whole, {"f.c": "a\nc"})


def test_blanks_that_differ_are_reported_as_such() -> None:
    with pytest.raises(
        patch.DoesNotApply, match=r"expected '\\ta\\n', found '    a\\n': they differ in blank characters"
    ):
        applied(HEAD + "@@ -1 +1 @@\n-\ta\n+b\n", {"f.c": "    a\n"})


@pytest.mark.parametrize(
    "hunk", ["@@ -2 +2 @@\n-b\n+B\n", "@@ -1,0 +2 @@\n+B\n", "@@ -0,0 +1 @@\n+B\n", "@@ -7,0 +8 @@\n+B\n"]
)
def test_a_hunk_without_context_is_refused_and_reported_as_such(hunk: str) -> None:
    """Git puts lines that are only added to the end of the file; that is silently another patch."""
    with pytest.raises(patch.DoesNotApply, match="no context, as of `diff -U0`"):
        applied(HEAD + hunk, {"f.c": "a\nb\nc\n"})


def test_lines_without_context_that_belong_at_the_end_of_the_file_are_added() -> None:
    assert applied(HEAD + "@@ -2,0 +3 @@\n+c\n", {"f.c": "a\nb\n"}) == {"f.c": "a\nb\nc\n"}
    assert applied(HEAD + "@@ -0,0 +1 @@\n+a\n", {"f.c": ""}) == {"f.c": "a\n"}


def test_prose_that_looks_like_names_of_files_is_no_diff() -> None:
    text = "Before:\n--- foo\n+++ bar\nbaz\n\n" + HEAD + "@@ -1 +1 @@\n-a\n+b\n"
    assert applied(text, {"f.c": "a\n"}) == {"f.c": "b\n"}


def test_a_hunk_that_the_file_has_already_is_reported_as_such() -> None:
    text = HEAD + "@@ -1,2 +1,2 @@\n a\n-b\n+B\n@@ -5,2 +5,2 @@\n e\n-f\n+F\n"
    with pytest.raises(patch.DoesNotApply, match="is a part of the patch applied"):
        applied(text, {"f.c": "a\nB\nc\nd\ne\nf\n"})


@pytest.mark.parametrize("text", [PATCH, NEW_FILE, GONE, RENAMED, MODE])
def test_a_patch_that_the_tree_has_already_is_recognised(text: str) -> None:
    files = {"f.c": OLD, "x": "one\ntwo\n", "old.c": "one\ntwo\n", "s.sh": ""}
    changes = patch.parse(text.encode(), "p")
    before = {name: Content(data.encode()) for name, data in files.items()}
    tree = patch.Tree(before.get)
    if text is not MODE:
        assert not patch.is_applied(changes, tree.get)
    for change in changes:
        tree.apply(change, "p")
    assert patch.is_applied(changes, tree.get)


def test_the_object_before_a_change_is_kept() -> None:
    assert [each.blob for each in patch.parse(PATCH.replace("111..222", "111aa..222bb").encode(), "p")] == ["111aa"]
    assert [each.blob for each in patch.parse(NEW_FILE.encode(), "p")] == [""]


def test_hunks_never_match_the_same_line_twice() -> None:
    overlapping = HEAD + "@@ -1,2 +1,2 @@\n-a\n+b\n }\n@@ -2,2 +2,2 @@\n }\n-c\n+d\n"
    with pytest.raises(patch.DoesNotApply, match="hunk 2 does not apply"):
        applied(overlapping, {"f.c": "a\n}\nc\n"})
    assert gits(overlapping, "a\n}\nc\n") is None


LINES = st.lists(st.sampled_from(["a", "b", "c", "", "x y", "\tz"]), max_size=25)


@settings(deadline=None, max_examples=60)
@given(LINES, LINES, st.booleans(), st.integers(0, 4))
def test_what_difflib_makes_of_two_files_brings_one_to_the_other(
    old: list[str], new: list[str], ended: bool, context: int
) -> None:
    before, after = "\n".join(old) + "\n", "\n".join(new) + "\n" * ended
    assume(before != after and context > 0)
    assert applied(git_diff(before, after, context), {"f.c": before}) == {"f.c": after}


@settings(deadline=None, max_examples=40)
@given(LINES, LINES, LINES)
def test_git_agrees_on_whether_and_how_a_patch_applies(old: list[str], new: list[str], other: list[str]) -> None:
    before, after, there = ("\n".join(each) + "\n" for each in (old, new, other + old))
    assume(before != after)
    text = git_diff(before, after, 3)
    assert ours(text, there) == gits(text, there)


def git_diff(before: str, after: str, context: int) -> str:
    """difflib's hunks, with the mark for a missing last newline that it does not know."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), "a/f.c", "b/f.c", n=context
    )
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def ours(text: str, there: str) -> str | None:
    try:
        return applied(text, {"f.c": there})["f.c"]
    except patch.DoesNotApply:
        return None


def gits(text: str, there: str) -> str | None:
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "f.c").write_text(there)
        argv = ["git", "apply", "--whitespace=nowarn", "-"]
        done = proc.run(argv, cwd=Path(name), env={"GIT_CEILING_DIRECTORIES": name}, input=text.encode(), check=False)
        return (Path(name) / "f.c").read_text() if done.status == 0 else None
