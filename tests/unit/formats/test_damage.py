# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/formats/patches/damage.py: a patch that a mailer or an editor damaged is refused with what happened to it."""

from __future__ import annotations

import re

import pytest

from lab.core.errors import InputError
from lab.formats.patches import patch

WHOLE = """\
diff --git a/mm/f.c b/mm/f.c
--- a/mm/f.c
+++ b/mm/f.c
@@ -1,5 +1,5 @@ static unsigned long the_function_before_it(struct vm_area_struct *vma, unsigned long addr)
 static int function(struct vm_area_struct *vma, unsigned long addr, unsigned long len, int flags)
 {
-\tif (addr < vma->vm_start || addr + len > vma->vm_end || !(vma->vm_flags & VM_SHARED) || len == 0)
+\tif (addr < vma->vm_start || addr + len > vma->vm_end || !(vma->vm_flags & VM_SHARED) || len <= 0)
 \t\treturn -EINVAL;
 }
"""


def wrapped(text: str, width: int, end: str = "") -> str:
    """Wrap lines as mailers do: at the last blank before the width, whatever the line is."""
    lines = []
    for line in text.splitlines():
        rest = line
        while len(rest) > width and " " in rest[1:width]:
            place = rest.rindex(" ", 1, width)
            lines.append(rest[:place] + end)
            rest = rest[place + 1 :]
        lines.append(rest)
    return "\n".join(lines) + "\n"


def refused(text: str) -> str:
    with pytest.raises(InputError) as caught:
        patch.parse(text.encode(), "p")
    return str(caught.value)


@pytest.mark.parametrize("width", [60, 68, 72, 76, 80])
@pytest.mark.parametrize("end", ["", " "])
def test_a_wrapped_line_is_named(width: int, end: str) -> None:
    assert patch.parse(WHOLE.encode(), "p")
    damaged = wrapped(WHOLE, width, end)
    said = refused(damaged)
    found = re.search(r"line (\d+) seems to be wrapped, with its end in line (\d+)", said)
    assert found, said
    first, second = int(found[1]), int(found[2])
    lines = damaged.splitlines()
    assert second == first + 1
    assert f"{lines[first - 1].rstrip()} {lines[second - 1]}"[:width] in WHOLE


def test_an_end_of_a_line_that_looks_like_one_of_the_hunk_is_named_too() -> None:
    texts = [wrapped(WHOLE.replace("len == 0", "-len == 0"), width) for width in range(80, 110)]
    found = [text for text in texts if "\n-len" in text]
    assert found
    for text in found:
        assert re.search(r"line (\d+) seems to be wrapped, with its end in line (\d+)", refused(text))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("\n {\n", "\n{\n", "are blanks lost?"),
        ("\n {\n", "\n[...]\n", "were lines of the patch left out there?"),
        ("\n ", "\n\u00a0", "a no-break space"),
        (" long len, int", " long len,=\nint", "line 5 ends in `=`, as in quoted-printable"),
        ("\n--- ", "\n\u2014 ", "a long dash"),
        ("\n", "\n\n", "a blank line is behind every line"),
        ("--- a/", "---\na/", "line 2 seems to be wrapped"),
        (" b/mm/f.c\n--- a/mm/f.c\n", "\nb/mm/f.c\nrename from mm/f.c\n", "line 1 seems to be wrapped"),
        ("@@ -1,5 +1,5", "@@ -1,4 +1,4", "p:10: malformed patch: the hunk before this line holds more lines"),
    ],
)
def test_other_damage_is_named(old: str, new: str, words: str) -> None:
    text = WHOLE.replace(old, new)
    assert text != WHOLE
    if "-1,4" in new:
        text = text.replace(" }\n", "+}\n")
    assert words in refused(text)


def test_a_hunk_behind_text_is_refused_with_both_reasons() -> None:
    second = "@@ -9,2 +9,2 @@\n-a\n+b\n c\n"
    assert len(patch.parse((WHOLE + second).encode(), "p")[0].hunks) == 2
    for text in (WHOLE + "[...]\n" + second, WHOLE.replace(",5 +1,5", ",4 +1,4") + second):
        assert "hold more lines than it says, or is there text between them?" in refused(text)


def test_short_lines_are_not_taken_for_wrapped_ones() -> None:
    lines = "".join(f"+\tint a_{number} = {number}; /* a word */\n" for number in range(100, 130))
    said = refused(f"--- /dev/null\n+++ b/mm/x.c\n@@ -0,0 +1,25 @@\n{lines}")
    assert said == "p:29: malformed patch: the hunk before this line holds more lines than it says"


def test_what_only_talks_of_diff_git_is_prose() -> None:
    for prose in ("diff --git is what made this\n", "diff --git is what made this\n--- a/mm/f.c\n\n"):
        assert patch.parse((prose + WHOLE).encode(), "p") == tuple(
            change for change in patch.parse(("\n" * prose.count("\n") + WHOLE).encode(), "p")
        )
    assert "with the same FILE" in refused("diff --git is what made this\nindex 1..2\n" + WHOLE)
