# SPDX-License-Identifier: GPL-2.0-or-later
"""tests/benchmarks/readme.py: the numbers of README files against what their commands print."""

from __future__ import annotations

import pytest

from tests.benchmarks import readme
from tests.benchmarks.readme import Line, commands_of, differences, is_off, line_of

PAGE = """\
# A page

    lab run quick \\
        -t small                # a comment
    exit 0: all 1,550 expectations met, 162 skipped
      ...
    wall 12.5 s for 3 cells

`make bench ARGS=table` prints this table; 7 is a number of prose:

| machine | s |
| --- | --- |
| x86_64-4k | 2.5 s |
| arm64-64k | |

## Another section

    4 numbers without a command
"""


def test_a_line_is_words_and_numbers() -> None:
    assert line_of("| x86_64-4k-2node | 2.5 s | 12,345 MB | 64% |") == Line(
        place="", words="x86_64-4k-2node # s # MB #%", numbers=(2.5, 12345, 64)
    )
    assert line_of("arm64-64k of 6.12.117 took 13s") == Line(
        place="", words="arm64-64k of 6.12.117 took #s", numbers=(13,)
    )
    assert line_of("no number in x86_64-4k") is None


def test_a_number_belongs_to_the_command_above_it() -> None:
    found = commands_of(PAGE, "a.md")
    assert {command: [line.numbers for line in lines] for command, lines in found.items()} == {
        "lab run quick -t small": [(0, 1550, 162), (12.5, 3)],
        "make bench ARGS=table": [(2.5,)],
    }
    assert [line.place for line in found["lab run quick -t small"]] == ["a.md:5", "a.md:7"]


@pytest.mark.parametrize(
    ("was", "now", "off"), [(3, 4, False), (3, 4.1, True), (3, 1.9, True), (0, 0, False), (0, 1, True)]
)
def test_a_third_is_the_bound(was: float, now: float, off: bool) -> None:
    assert is_off(was, now) is off


CLAIMS = commands_of(PAGE, "a.md")["lab run quick -t small"]


def shown(output: str) -> list[str]:
    return [str(each) for each in differences(CLAIMS, output)]


def test_what_is_printed_as_before_differs_in_nothing() -> None:
    assert not shown("noise 3\nexit 0: all 1600 expectations met, 170 skipped\nwall   13.0 s for 3 cells\n")


def test_lines_that_are_wrapped_in_one_of_the_two_are_found() -> None:
    assert not shown("exit 0: all 1550\n  expectations met, 162 skipped (then more); wall 12.5 s for\n3 cells")


def test_a_number_that_is_off_and_a_line_that_is_gone_are_named() -> None:
    assert shown("exit 0: all 1550 expectations met, 10 skipped") == [
        "a.md:5: 162 is 10 now: exit #: all # expectations met, # skipped",
        "a.md:7: not printed now: wall # s for # cells",
    ]
    assert len(shown("")) == len(CLAIMS)


def test_lines_of_the_same_words_are_taken_in_their_order() -> None:
    claims = [Line(place="p:1", words="took # s", numbers=(1,)), Line(place="p:2", words="took # s", numbers=(10,))]
    assert not list(differences(claims, "took 1 s\ntook 10 s\n"))
    assert not list(differences(claims, "it took 1 s, and it took 10 s\n"))
    assert len(list(differences(claims, "took 10 s\ntook 1 s\n"))) == len(claims)


def test_commands_are_run_and_compared(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(readme, "all_commands", lambda: commands_of(PAGE, "a.md"))
    monkeypatch.setattr(readme, "output_of", lambda command: "x86_64-4k 2.4 s" if "table" in command else "")
    readme.readme([])
    assert capsys.readouterr().out == "$ make bench ARGS=table\n1 commands, 1 numbers; 0 lines differ\n"
    with pytest.raises(SystemExit) as ended:
        readme.readme(["lab run *"])
    assert ended.value.code == 1
    assert "a.md:5: not printed now" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="no README has numbers of a command like lab fly"):
        readme.readme(["lab fly"])
    readme.readme(["--list"])
    assert "5 numbers  lab run quick -t small" in capsys.readouterr().out


def test_the_readme_files_have_numbers_of_every_kind_of_command() -> None:
    verbs = {tuple(command.split()[:2]) for command in readme.all_commands()}
    assert {("make", "run"), ("make", "bench"), ("lab", "run"), ("lab", "exec"), ("lab", "pages")} <= verbs


def test_a_command_s_output_is_taken_however_it_ends() -> None:
    assert readme.output_of("echo 5 cells; echo 6 >&2; exit 3") == "5 cells\n6\n"
