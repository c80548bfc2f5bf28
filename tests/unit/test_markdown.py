# SPDX-License-Identifier: GPL-2.0-or-later
"""tests/markdown.py reads what the README files use."""

from __future__ import annotations

import pytest

from tests import markdown

TEXT = """\
# Top

A sentence. Another one: it goes
on `here.c`.

## First part

| a | b |
| --- | --- |
| `x \\| y` | 1 |
| z | 2 |

    # no heading
    [no](link)

    | no | table |

- one. [two](other.md#there)
- three

### report.html

## Second part

| a | c |
| --- | --- |
| w | 3 |
"""


def test_a_section_ends_at_the_next_heading_of_its_level() -> None:
    assert "Second part" not in markdown.section(TEXT, "First part")
    assert "### report.html" in markdown.section(TEXT, "First part")


@pytest.mark.parametrize("title", ["no heading", "No such", "first part"])
def test_a_section_that_is_not_there_is_an_error(title: str) -> None:
    with pytest.raises(KeyError):
        markdown.section(TEXT, title)


def test_two_sections_of_one_title_are_an_error() -> None:
    with pytest.raises(KeyError):
        markdown.section(TEXT + "\n## First part\n", "First part")


def test_a_column_has_the_cells_of_its_section_alone() -> None:
    assert markdown.column(TEXT, "First part", "a") == ("`x \\| y`", "z")
    assert markdown.column(TEXT, "Top", "a") == ("`x \\| y`", "z", "w")
    with pytest.raises(KeyError):
        markdown.column(TEXT, "First part", "c")


def test_rows_are_removed() -> None:
    assert markdown.column(markdown.without_rows(TEXT, {"z"}), "Top", "a") == ("`x \\| y`", "w")


def test_code_is_neither_links_nor_tables() -> None:
    assert markdown.code_blocks(TEXT) == ("# no heading\n[no](link)\n\n| no | table |\n",)
    assert markdown.links(TEXT) == ("other.md#there",)
    assert len(markdown.tables(TEXT)) == 2


def test_anchors() -> None:
    assert markdown.anchors(TEXT) == {"top", "first-part", "reporthtml", "second-part"}


def test_sentences() -> None:
    found = list(markdown.sentences(TEXT))
    assert found[:2] == ["A sentence.", "Another one: it goes on `here.c`."]
    assert found[-2:] == ["w", "3"]
    assert {"one.", "two", "three"} <= set(found)
