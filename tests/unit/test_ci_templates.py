# SPDX-License-Identifier: GPL-2.0-or-later
"""The GitHub Action and the GitLab template: their steps are taken out of the YAML and run in a clean clone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
ACTION, TEMPLATE = Path(".github/actions/pages/action.yml"), Path(".gitlab/pages.yml")
INPUT = re.compile(r"\$\{\{ inputs\.([a-z]+) \}\}")


def loaded(path: Path) -> Any:
    return yaml.safe_load((REPOSITORY / path).read_text())


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of the repository as it is committed and changed here, with this checkout's virtual environment."""
    place = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", "--shared", REPOSITORY, place], check=True)
    for path in (ACTION.parent / "run.sh", ACTION, TEMPLATE):
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / path, place / path)
    (place / ".venv").symlink_to((REPOSITORY / ".venv").resolve())
    return place


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """The directory of a job, with a library whose segments are aligned to 4 KiB."""
    place = tmp_path / "job"
    place.mkdir()
    (place / "old.c").write_text("int one(void) { return 1; }\nint two = 2;\n")
    options = ["-shared", "-nostdlib", "-Wl,-z,max-page-size=4096", "-o", "libold.so", "old.c"]
    compiler = shutil.which("aarch64-linux-gnu-gcc")
    if compiler is None:
        pytest.skip("no compiler for arm64")
    subprocess.run([compiler, *options], cwd=place, check=True)
    return place


def run(script: str, cwd: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a step as a runner does: bash, and the first failure ends it."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(
        command, cwd=cwd, env={**inherited, **environment}, capture_output=True, text=True, check=False
    )


def steps(inputs: Mapping[str, str]) -> list[tuple[str, dict[str, str]]]:
    """Return the script and the environment of each step of the action, its inputs filled in."""
    action = loaded(ACTION)
    assert inputs.keys() <= action["inputs"].keys()
    values = {}
    for name, declared in action["inputs"].items():
        values[name] = inputs.get(name, declared.get("default"))
    found = []
    for step in action["runs"]["steps"]:
        environment = {}
        for name, value in step.get("env", {}).items():
            environment[name] = INPUT.sub(lambda match: values[match[1]], value)
        found.append((step["run"], environment))
    return found


def test_the_steps_of_the_action_report_what_a_check_finds(clone: Path, job: Path) -> None:
    facts = {
        "GITHUB_ACTION_PATH": str(clone / ACTION.parent),
        "GITHUB_STEP_SUMMARY": str(job / "summary"),
        "GITHUB_OUTPUT": str(job / "output"),
    }
    setup, look = steps({"command": "./libold.so", "check": "true", "output": "answer"})
    assert "bootstrap.sh" in setup[0]
    ended = run(look[0], job, {**facts, **look[1]})
    assert ended.returncode == 1, ended.stderr
    assert "libold.so (arm64): cannot be loaded with pages of 16K, 64K" in ended.stdout
    assert (job / "answer/pages.txt").read_text() in ended.stdout
    assert "-Wl,-z,max-page-size=65536" in (job / "summary").read_text()
    assert (job / "output").read_text() == "status=1\n"


def test_the_script_of_the_template_does_the_same(clone: Path, job: Path) -> None:
    template = loaded(TEMPLATE)[".pagelab-pages"]
    (job / ".pagelab-lab").symlink_to(clone)
    environment = {"CI_PROJECT_DIR": str(job), "PAGELAB_CHECK": "true", "PAGELAB_COMMAND": "./libold.so"}
    environment["PAGELAB_OUT"] = template["variables"]["PAGELAB_OUT"]
    (script,) = template["script"]
    ended = run(script, job, environment)
    assert ended.returncode == 1, ended.stderr
    assert template["artifacts"]["paths"] == ["pages"]
    assert "cannot be loaded" in (job / "pages/pages.txt").read_text()
    assert template["artifacts"]["reports"]["junit"] == "pages/pages-junit.xml"
    assert "<failure" in (job / "pages/pages-junit.xml").read_text()


def test_a_word_that_is_neither_true_nor_false_boots_nothing(clone: Path, job: Path) -> None:
    script, environment = steps({"command": "./libold.so", "check": "yes"})[1]
    ended = run(script, job, {"GITHUB_ACTION_PATH": str(clone / ACTION.parent), **environment})
    assert (ended.returncode, ended.stderr) == (64, "check: expected true or false, got yes\n")


def test_words_reach_the_lab_in_their_order(clone: Path, job: Path, tmp_path: Path) -> None:
    """Programs that print their arguments show how the step calls them; this Python has no fsspec."""
    shim = tmp_path / "venv/bin/lab"
    shim.parent.mkdir(parents=True)
    shim.write_text('#!/bin/sh\nfor word; do printf "<%s>" "$word"; done\necho\n')
    shim.chmod(0o755)
    python = shim.with_name("python")
    python.write_text(f'#!/bin/sh\n[ "$1" != -c ] || exit 1\nexec {shim} "$@"\n')
    python.chmod(0o755)
    (clone / ".venv").unlink()
    (clone / ".venv").symlink_to(tmp_path / "venv")
    inputs = {
        "command": "./prog --name 'two words' \"$UNSET\"'*'",
        "pages": "arm64-4k arm64-*",
        "kernels": "first second",
        "root": "debian:trixie+redis-server",
        "volumes": "./prog:/prog",
        "store": "/srv/store",
        "entries": "kernel/abc rootfs",
    }
    script, environment = steps(inputs)[1]
    ended = run(script, job, {"GITHUB_ACTION_PATH": str(clone / ACTION.parent), "UNSET": "", **environment})
    assert ended.stdout.splitlines() == [
        f"<-m><pip><install><--quiet><--editable><{clone}[store]>",
        "<cache><pull><key-facts><kernel/abc><rootfs><--remote></srv/store>",
        "<pages><-o><pages><-t><arm64-*><-t><arm64-4k><-k><first><-k><second><--root><debian:trixie+redis-server>"
        "<-v><./prog:/prog><--><./prog><--name><two words><*>",
    ]


def test_no_input_is_pasted_into_a_script() -> None:
    """What somebody writes in a pull request would run there; the environment only holds it."""
    for step in loaded(ACTION)["runs"]["steps"]:
        assert "${{" not in step["run"]
