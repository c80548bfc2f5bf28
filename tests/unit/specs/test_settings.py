# SPDX-License-Identifier: GPL-2.0-or-later
"""The user's settings: directories beside the lab's own, defaults of options, one line for each mistake."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from lab.cli import main
from lab.core.errors import InputError
from lab.specs import settings
from lab.specs.library import Library
from lab.verbs import defaults

MACHINE = "arch: arm64\npage_size: 64K\nmemory: 1G\n"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's config.yaml, in a directory of its own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = tmp_path / "pagelab" / "config.yaml"
    path.parent.mkdir()
    return path


def test_there_need_be_none(config: Path) -> None:
    assert settings.load().directories("topologies", {}) == ()
    assert set(map(len, defaults.read(main).values())) == {0}


@pytest.mark.parametrize("text", ["", "\n\n", "# topologies: [~/lab]\n\n  # defaults:\n"])
def test_a_file_of_comments_alone_sets_nothing(config: Path, text: str) -> None:
    config.write_text(text)
    assert settings.load().directories("topologies", {}) == ()


def test_the_file_is_where_xdg_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert settings.settings_path() == tmp_path / ".config/pagelab/config.yaml"


def test_own_directories_stand_beside_the_labs(config: Path) -> None:
    config.write_text("topologies: [../mine]\nscenarios: [../tests]\nkernels: [../mine/kernels]\n")
    for place in ("mine/kernels", "tests"):
        (config.parents[1] / place).mkdir(parents=True)
    (config.parents[1] / "mine/box.yaml").write_text(MACHINE)
    (config.parents[1] / "mine/kernels/stable.yaml").write_text("source: debian:linux-source-6.12\n")
    (config.parents[1] / "tests/probe.c").write_text("")
    library = Library.shipped().with_own(settings.load())
    assert library.topology("box").page_size == 65536
    assert library.kernel("stable").baseline
    assert {"probe", "expand"} <= set(library.scenarios())
    assert {"baseline", "stable"} <= set(library.kernels())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("topologies: [nowhere]\n", "config.yaml:1: topologies[0]: expected a directory, got nothing there: "),
        ("topologis: [nowhere]\n", "config.yaml:1: topologis: unknown key"),
        ("kernels: [.]\n", "baseline.yaml: rename it"),
        ("kernels: mine\n", "config.yaml:1: kernels: expected a list, got 'mine'"),
    ],
)
def test_wrong_directories_are_one_line(config: Path, text: str, said: str) -> None:
    config.write_text(text)
    (config.parent / "baseline.yaml").write_text("source: debian:linux-source-6.12\n")
    with pytest.raises(InputError) as caught:
        Library.shipped().with_own(settings.load())
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_defaults_reach_the_verbs(config: Path) -> None:
    config.write_text("defaults:\n  every: {jobs: 2, kernel: baseline}\n  run: {jobs: 3, test: [expand, thp]}\n")
    found = defaults.read(main)
    assert found["plan"]["jobs"] == 2
    assert found["run"] == {"jobs": 3, "kernels": ["baseline"], "tests": ("expand", "thp")}
    assert found["exec"] == {"kernel": "baseline"}
    command = main.commands["exec"]
    with click.Context(main, info_name="lab", default_map={"exec": {**found["exec"], "topology": "box"}}) as parent:
        context = command.make_context("exec", ["true"], parent=parent)
    assert (context.params["kernel"], context.params["topology"]) == ("baseline", "box")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("runn: {jobs: 2}", "defaults.runn: no such verb"),
        ("runn: {jobs: 2}", "did you mean 'run'?"),
        (
            "run: {job: 2}",
            "defaults.run.job: not of `lab run`, expected one of certs, cluster, cold, config, confirm, ",
        ),
        ("every: {jbs: 2}", "did you mean 'jobs'?"),
        ("run: {jobs: many}", "defaults.run.jobs: expected a whole number, at least 1, at most 64, got 'many'"),
        ("run: {jobs: 0}", "defaults.run.jobs: expected a whole number, at least 1, at most 64, got 0"),
        (
            "exec: {timeout: 1e9}",
            "defaults.exec.timeout: expected seconds, at least 0.1, at most 8640000 (100 days), got '1000000000.0'",
        ),
        ("exec: {timeout: x}", "at least 0.1, at most 8640000 (100 days), got 'x'"),
        ("run: {jobs: {a: 1}}", "defaults.run.jobs: expected text, a number, true, false, or a list of them, got `key"),
        ("run: {jobs:}", "defaults.run.jobs: expected text, a number, true, false, or a list of them, got nothing"),
        ("run: {test: [a, [b]]}", "defaults.run.test: expected text, a number, true, false, or a list of them"),
        ("run: {jobs: [1, 2]}", "defaults.run.jobs: expected one value"),
        ("run: {memory: lots}", "defaults.run.memory: expected a size such as 64K"),
        ("clean: {all: 3}", "defaults.clean.all: expected true or false"),
        ("run: 3", "expected `key: value` pairs, got 3"),
    ],
)
def test_wrong_defaults_name_the_line(config: Path, text: str, said: str) -> None:
    config.write_text(f"defaults:\n  {text}\n")
    with pytest.raises(InputError) as caught:
        defaults.read(main)
    assert said in str(caught.value)
    assert f"{config}:2: " in str(caught.value)
