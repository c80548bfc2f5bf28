# SPDX-License-Identifier: GPL-2.0-or-later
"""What shells complete, and the manual page that the verbs make."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from lab.cli import main
from lab.verbs.text import manual
from tests.unit.fixtures import evidence


def completed(*words: str) -> set[str]:
    """What Tab offers behind the last word."""
    *args, last = words
    return {each.value for each in ShellComplete(main, {}, "lab", "_LAB_COMPLETE").get_completions(args, last)}


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("ru",), {"run"}),
        (("exec", "-t", "arm64-64k-2node-"), {"arm64-64k-2node-huge"}),
        (("run", "quick", "-k", "baseline-7"), {"baseline-7.2"}),
        (("run", "qui"), {"quick"}),
        (("plan", "quick", "--test", "thp"), {"thp"}),
        (("try", "x.patch", "--on", "s390x"), {"s390x-4k"}),
        (("bisect", "-t", "riscv64-4k-sv4"), {"riscv64-4k-sv48"}),
        (("build", "quick", "--config", "kas"), {"kasan"}),
        (("list", "topo"), {"topologies"}),
        (("exec", "-t", "none-such"), set()),
        (("exec", "-t", "./mine"), {"./mine"}),
    ],
)
def test_names_are_completed(words: tuple[str, ...], offered: set[str]) -> None:
    assert completed(*words) == offered


def test_cells_and_their_cases_are_completed(tmp_path: Path) -> None:
    run = str(evidence.write(tmp_path, evidence.evidence()).path)
    assert completed("replay", run, "x86_64-4k-2node/b") == {"x86_64-4k-2node/baseline"}
    assert completed("bundle", run, "x86_64-4k-2node/baseline/guard") == {
        "x86_64-4k-2node/baseline/guard.memfd",
        "x86_64-4k-2node/baseline/guard.sysv",
    }
    assert completed("replay", str(tmp_path / "nowhere"), "x") == set()


def test_bad_settings_are_no_noise_behind_tab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "pagelab").mkdir()
    (tmp_path / "pagelab/config.yaml").write_text("nonsense: 3\n")
    assert completed("run", "qui") == set()


def test_bash_takes_the_script(tmp_path: Path) -> None:
    script = subprocess.run(
        [sys.executable, "-m", "lab", "completion", "bash"], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    (tmp_path / "lab").write_text(f'#!/bin/sh\nexec {sys.executable} -c "{RUN}" "$@"\n')
    (tmp_path / "lab").chmod(0o755)
    asked = f'{script}\nCOMP_WORDS=(lab run qui); COMP_CWORD=2; _lab_completion lab; echo "${{COMPREPLY[@]}}"'
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", asked], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "quick"


RUN = "import sys; sys.argv[0] = 'lab'; from lab.cli import main; main()"


def test_the_manual_has_every_verb_option_and_example() -> None:
    page = manual.page(main, "lab", "1.2")
    plain = page.replace("\\-", "-").replace("\\`", "`").replace("\\e", "\\").replace("\\&", "")
    for name, verb in main.commands.items():
        assert f".SS lab {name} " in plain
        for option in verb.params:
            if isinstance(option, click.Option):
                assert option.opts[-1] in plain
        for line in (verb.help or "").splitlines():
            if line.strip().startswith("lab "):
                assert line.strip() in plain


@pytest.mark.skipif(not shutil.which("groff"), reason="no groff")
def test_groff_has_nothing_to_say_against_the_manual() -> None:
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", "-rLL=120n"],
        input=manual.page(main, "lab", "1.2"),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert not done.stderr
    assert "lab bisect" in done.stdout.replace("\b", "")
