# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/verbs/programs/pages.py: what is refused before anything boots, and what `--check` writes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click
import pytest

from lab.cli import main
from lab.core import paths
from lab.core.errors import UsageError
from lab.verbs.places import open_library
from lab.verbs.programs import pages
from tests.unit.fixtures.linked import small_library


def lab(*words: str) -> object:
    return click.Group.main(main, list(words), standalone_mode=False)


@pytest.mark.parametrize(
    ("option", "name"),
    [
        (("-t", "arm64-4k"), "--topology"),
        (("-k", "baseline"), "--kernel"),
        (("--root", "debian:trixie"), "--root"),
        (("-v", "a:/b"), "--volume"),
        (("--numa",), "--numa"),
        (("--timeout", "5"), "--timeout"),
    ],
)
def test_a_check_takes_no_option_that_it_would_not_heed(option: Sequence[str], name: str) -> None:
    with pytest.raises(UsageError, match=f"--check boots nothing, so {name} has no effect"):
        lab("pages", "--check", *option, "/bin/true")


def test_a_check_is_written_in_the_format_and_to_the_directory_that_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library = small_library(tmp_path)
    assert lab("pages", "--check", "--format", "json", "-o", str(tmp_path / "new/out"), str(library)) == 0
    assert json.loads(capsys.readouterr().out)["files"][0]["name"] == str(library)
    names = sorted(path.name for path in (tmp_path / "new/out").iterdir())
    assert names == ["pages-junit.xml", "pages.html", "pages.json", "pages.txt"]


@pytest.mark.parametrize("verb", [("pages", "--check"), ("pages",), ("exec", "-t", "x86_64-4k")])
@pytest.mark.parametrize("word", ["", " "])
def test_an_empty_name_is_no_program(verb: Sequence[str], word: str) -> None:
    with pytest.raises(click.BadParameter, match="the name of a program is empty"):
        lab(*verb, "--", word)


def test_a_check_of_an_empty_name_is_no_check_of_the_current_directory() -> None:
    with pytest.raises(UsageError, match="the name of a file is empty"):
        lab("pages", "--check", "/bin/true", "")


@pytest.mark.parametrize("check", [("--check",), ()])
def test_a_place_that_takes_no_answer_is_refused_first(tmp_path: Path, check: Sequence[str]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"-o .*file/out: .*file is no directory"):
        lab("pages", *check, "-o", str(tmp_path / "file/out"), "--", "/bin/true")


def test_where_files_can_be_written(tmp_path: Path) -> None:
    assert paths.no_directory(tmp_path) == ""
    assert paths.no_directory(tmp_path / "new/deep") == ""
    assert paths.no_directory(tmp_path / ("x" * 300)) == "File name too long"


def test_the_machines_say_the_architecture_of_a_script(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    library = open_library()
    assert pages._architecture(str(script), library, ["arm64-*"], in_root=False).name == "arm64"
    for program, globs, says in (
        (str(script), [], "script is a script: what is loaded is the interpreter in its first line, so nothing says"),
        (str(script), ["*-4k"], "so nothing says its architecture"),
        ("redis-server", [], "redis-server: no such file, so nothing says its architecture"),
        ("x" * 300, [], "File name too long, so nothing says its architecture"),
    ):
        with pytest.raises(UsageError, match=says):
            pages._architecture(program, library, globs, in_root=False)
