# SPDX-License-Identifier: GPL-2.0-or-later
"""The shape of lab/ stays within its bounds; `make shape` prints the numbers."""

from __future__ import annotations

from pathlib import Path

from tests.shape import measure


def test_no_folder_is_a_pile() -> None:
    folder, files = measure.largest_folder()
    assert files <= measure.FILES_IN_A_FOLDER, folder


def test_the_readme_is_a_first_screen() -> None:
    assert len((measure.ROOT / "README.md").read_text("utf-8").splitlines()) <= measure.README_LINES


def test_functions_can_be_seen_whole() -> None:
    every = measure.count("all", measure.sources())
    assert max(every.functions) <= measure.FUNCTION_LINES


def test_statements_are_plain() -> None:
    every = measure.count("all", measure.sources())
    comprehensions, conditionals = every.density
    table = measure.table([*measure.rooms(), every])
    assert comprehensions <= measure.COMPREHENSIONS, f"comprehensions in 100 lines of lab/:\n{table}"
    assert conditionals <= measure.CONDITIONALS, f"conditional expressions in 100 lines of lab/:\n{table}"


def test_the_table_has_a_line_for_each_room() -> None:
    rooms = measure.rooms()
    head, *lines = measure.table(rooms).splitlines()
    assert head.split()[-2:] == ["compr.", "cond."]
    assert [line.split()[0] for line in lines] == [room.name for room in rooms]


def test_a_class_name_means_one_thing() -> None:
    assert measure.shared_class_names() == {}


def test_metadata_is_read_through_its_model() -> None:
    assert measure.metadata_lookups() == ()


def test_what_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("def f(x):\n    y = [i for i in x if i]\n    return y if x else {k: 1 for k in y}\n")
    room = measure.count("a", [path])
    assert (room.lines, room.comprehensions, room.conditionals, room.functions) == (3, 2, 1, (3,))
