# SPDX-License-Identifier: GPL-2.0-or-later
"""Gates over the whole tree: ruff, mypy, shell syntax, licence lines, and nothing of one machine in a file."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LICENCE = "SPDX-License-Identifier: GPL-2.0-or-later"
LICENCE_OF_SERIES = "SPDX-License-Identifier: GPL-2.0-only"
SOURCES = {".py", ".c", ".h", ".sh", ".yaml", ".yml", ".toml", ".config", ".txt", ".j2"}
LEFT_OUT = {".git", ".venv", "results", "build", "dist", "__pycache__", ".hypothesis"}
SAMPLES = ("tests/golden/", "tests/unit/fixtures/")
"""Below these lies what programs said, or what users might write: as it is."""


def run(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


@cache
def tracked() -> tuple[Path, ...]:
    """The files of the tree, relative: what git knows, or everything when this is no checkout."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 0 and listed.stdout:
        names = [Path(name) for name in listed.stdout.split("\0") if name]
    else:
        names = [path.relative_to(ROOT) for path in ROOT.rglob("*") if not LEFT_OUT & set(path.parts)]
    return tuple(sorted(name for name in names if (ROOT / name).is_file() and not (ROOT / name).is_symlink()))


def text_of(name: Path) -> str:
    return (ROOT / name).read_text("utf-8", "replace")


def is_sample(name: Path) -> bool:
    return name.as_posix().startswith(SAMPLES)


def test_ruff_check() -> None:
    run(sys.executable, "-m", "ruff", "check", "lab", "tests")


def test_ruff_format() -> None:
    run(sys.executable, "-m", "ruff", "format", "--check", "lab", "tests")


def test_mypy() -> None:
    run(sys.executable, "-m", "mypy")


def shell_scripts() -> list[Path]:
    return [name for name in tracked() if re.match(r"#!/bin/(ba)?sh\b", text_of(name))]


@pytest.mark.parametrize("name", shell_scripts(), ids=str)
def test_shell_syntax(name: Path) -> None:
    run("bash" if text_of(name).startswith("#!/bin/bash") else "sh", "-n", str(name))


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("name", shell_scripts(), ids=str)
def test_shellcheck(name: Path) -> None:
    run("shellcheck", "--severity=warning", str(name))


def test_every_source_file_names_its_licence_at_the_top() -> None:
    wanted = [
        name
        for name in tracked()
        if (name.suffix in SOURCES or name.name in {"Makefile", "run", "init"}) and not is_sample(name)
    ]
    without = []
    for name in wanted:
        licence = LICENCE_OF_SERIES if "series" in name.parts else LICENCE
        if licence not in "".join(text_of(name).splitlines(keepends=True)[:3]):
            without.append(str(name))
    assert wanted
    assert not without


def test_every_module_says_what_it_is_for() -> None:
    silent = []
    for name in tracked():
        if name.suffix == ".py" and not is_sample(name):
            lines = text_of(name).splitlines()
            if not any(line.startswith(('"""', 'r"""')) for line in lines[:3]):
                silent.append(str(name))
    assert not silent


# Put together from parts, so that this file does not contain what it looks for.
FORBIDDEN = {
    "a mirror's host": re.compile(r"\b(?:deb|ftp|security|snapshot|archive|cdn-fastly)[.\w-]*\." + r"debian\.org"),
    "a path of one machine": re.compile(r"(?<![\w.~$}])/(?:work|home/[a-z]+)" + r"/(?!\*)"),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_nothing_of_one_machine_is_in_the_tree(what: str) -> None:
    found = [
        f"{name}:{number}: {line.strip()[:100]}"
        for name in tracked()
        for number, line in enumerate(text_of(name).splitlines(), 1)
        if FORBIDDEN[what].search(line)
    ]
    assert not found, f"{what}: {found}"
