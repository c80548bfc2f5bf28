# SPDX-License-Identifier: GPL-2.0-or-later
"""Every example in the help of every verb: parsed by that verb, and run as it stands where that takes no guest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from lab.cli import main
from lab.core import proc
from tests.examples import ON_HOSTS, WITH_GUESTS, WITHOUT_GUESTS, Example, examples
from tests.unit.fixtures import evidence

ROOT = Path(__file__).parents[2]
CAPTURES = ROOT / "tests/golden/capture"
MAY_FAIL = {"doctor": {0, 2}, "compare": {0, 1}}
"""Verbs whose exit status depends on the host, or on what the example's files hold."""


def test_every_verb_is_known_here_and_has_an_example() -> None:
    assert not WITH_GUESTS & WITHOUT_GUESTS
    assert set(main.commands) == WITH_GUESTS | WITHOUT_GUESTS | ON_HOSTS
    assert {example.verb for example in examples(WITH_GUESTS | WITHOUT_GUESTS | ON_HOSTS)} == set(main.commands)


@pytest.mark.parametrize("example", examples(WITH_GUESTS | WITHOUT_GUESTS | ON_HOSTS), ids=str)
def test_an_example_is_what_its_verb_takes(example: Example) -> None:
    verb, *args = example.words
    assert verb == example.verb
    with click.Context(main, info_name="lab") as parent:
        main.commands[verb].make_context(verb, args, parent=parent)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with the files that examples name, a home, and `lab` among its programs."""
    run = evidence.write(tmp_path / "results", evidence.evidence())
    (tmp_path / "results/20260102T030405Z-quick").symlink_to(run.path.name)
    for name, golden in (
        ("machine.txt", "altra-64k.txt"),
        ("lscpu.json", "xeon-4node/lscpu.json"),
        ("numactl.txt", "xeon-4node/numactl.txt"),
        ("cmdline.txt", "xeon-4node/cmdline.txt"),
    ):
        (tmp_path / name).write_bytes((CAPTURES / golden).read_bytes())
    for name in (".local/share/bash-completion/completions", ".zfunc", ".config/fish/completions"):
        (tmp_path / "home" / name).mkdir(parents=True)
    (tmp_path / "home/.local/share/man/man1").mkdir(parents=True)
    program = tmp_path / "bin/lab"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m lab "$@"\n')
    program.chmod(0o755)
    return tmp_path


@pytest.fixture(scope="module")
def users_ccache() -> dict[str, str]:
    """The variable that lets an example with another home have the user's own ccache; nothing without ccache."""
    if not proc.which("ccache"):
        return {}
    return {"CCACHE_DIR": proc.run(["ccache", "--get-config", "cache_dir"]).output.strip()}


@pytest.mark.parametrize("example", examples(WITHOUT_GUESTS), ids=str)
def test_an_example_does_what_it_says(place: Path, users_ccache: dict[str, str], example: Example) -> None:
    environment = {
        **os.environ,
        **users_ccache,
        "HOME": str(place / "home"),
        "PATH": f"{place / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "MANPAGER": "cat",
    }
    done = subprocess.run(
        ["sh", "-c", example.line], cwd=place, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode in MAY_FAIL.get(example.verb, {0}), said
    assert "Traceback" not in said
