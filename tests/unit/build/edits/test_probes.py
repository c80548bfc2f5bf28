# SPDX-License-Identifier: GPL-2.0-or-later
"""lab.build.edits.probes: a compiler is asked while make walks, and its answers serve a make that does not."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lab.build.edits.probes import Probes

COMPILER = """\
#!/bin/sh
printf '%s\\n' "$*" >> "$ASKED"
case $* in *-Wno-such*) exit 1 ;; esac
[ "$*" = --version ] && echo 'gcc 12'
exit 0
"""


@pytest.fixture
def probes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Probes:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "mycc").write_text(COMPILER)
    (programs / "mycc").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return Probes(tmp_path / "probes")


def ask(probes: Probes, words: str, *, answered: bool) -> tuple[int, str, list[str]]:
    """Run the compiler as a makefile does; return its exit status, its output, and what the real one was asked."""
    return asked_with(probes.environment("mycc", answered=answered), probes, words)


def asked_with(variables: dict[str, str], probes: Probes, words: str) -> tuple[int, str, list[str]]:
    log = probes.place.parent / "asked"
    log.write_text("")
    environment = {**os.environ, **variables, "ASKED": str(log)}
    done = subprocess.run(
        ["sh", "-c", f"mycc {words}"], env=environment, capture_output=True, text=True, check=False, cwd=log.parent
    )
    return done.returncode, done.stdout, log.read_text().splitlines()


def probe(option: str, number: int = 1) -> str:
    return f"-Werror '-DX=a b' {option} -c -x c /dev/null -o .tmp_{number}/tmp"


def test_a_walk_asks_and_later_makes_know(probes: Probes) -> None:
    walk = probes.environment("mycc", answered=False)
    for number, option in enumerate(("-Wknown", "-Wno-such", "-Wknown")):
        status, _, asked = asked_with(walk, probes, probe(option, number))
        assert (status, len(asked)) == (int(option == "-Wno-such"), 1)
    probes.settle()
    assert ask(probes, probe("-Wknown", 99), answered=True) == (0, "", [])
    assert ask(probes, probe("-Wno-such", 98), answered=True) == (1, "", [])
    status, _, asked = ask(probes, probe("-Wnew"), answered=True)
    assert (status, len(asked)) == (0, 1), "what the walk did not ask is asked"
    assert len(ask(probes, probe("-Wnew"), answered=True)[2]) == 1, "nothing is noted where there are answers"


def test_a_make_without_answers_notes_them(probes: Probes) -> None:
    """As after a compiler of another version, whose answers have a place of their own."""
    assert len(ask(probes, probe("-Wknown"), answered=True)[2]) == 1
    probes.settle()
    assert ask(probes, probe("-Wknown"), answered=True) == (0, "", [])


def test_another_walk_asks_anew(probes: Probes) -> None:
    asked_with(probes.environment("mycc", answered=False), probes, probe("-Wknown"))
    probes.settle()
    assert len(ask(probes, probe("-Wknown"), answered=False)[2]) == 1
    assert len(ask(probes, probe("-Wknown"), answered=True)[2]) == 1, "a walk that did not end well leaves no answers"


@pytest.mark.parametrize("words", ["--version", "-c a.c -o a.o", "-c -x c /dev/null -o a.o", "-E -x c /dev/null"])
def test_all_else_goes_to_the_compiler(probes: Probes, words: str) -> None:
    walk = probes.environment("mycc", answered=False)
    assert asked_with(walk, probes, words)[2] == [words]
    probes.settle()
    status, output, asked = ask(probes, words, answered=True)
    assert (status, asked) == (0, [words])
    assert output == ("gcc 12\n" if words == "--version" else "")


def test_an_option_in_quotes_is_compared_whole(probes: Probes) -> None:
    walk = probes.environment("mycc", answered=False)
    asked_with(walk, probes, probe("\"-DY='; exit 7 #'\""))
    probes.settle()
    assert ask(probes, probe("\"-DY='; exit 7 #'\""), answered=True)[0::2] == (0, [])
    assert ask(probes, probe("-DY"), answered=True)[0] == 0


def test_settling_without_notes_keeps_the_answers(probes: Probes) -> None:
    asked_with(probes.environment("mycc", answered=False), probes, probe("-Wknown"))
    probes.settle()
    probes.settle()
    assert ask(probes, probe("-Wknown"), answered=True)[2] == []
