# SPDX-License-Identifier: GPL-2.0-or-later
"""The README keeps up: every verb, every key of the YAML files, every outcome and exit status is in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from lab.build import programs as guestbuild
from lab.cli import main
from lab.core.cache import Cache
from lab.core.outcome import CellStatus, Delta, Outcome
from lab.specs.model import CampaignSpec, Kernel, NumaCell, Topology

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("verb", sorted(main.commands))
def test_every_verb_is_documented(verb: str) -> None:
    assert re.search(rf"\blab {verb}\b", README)


@pytest.mark.parametrize("verb", sorted(main.commands))
def test_every_verb_has_help_with_an_example(verb: str) -> None:
    text = main.commands[verb].help or ""
    assert text.splitlines()[0].endswith((".", ":")) or "." in text
    assert f"lab {verb}" in text


@pytest.mark.parametrize("model", [Topology, NumaCell, Kernel, CampaignSpec])
def test_every_key_is_documented(model: type[BaseModel]) -> None:
    missing = [key for key in model.model_fields if key != "name" and not re.search(rf"\b{key}\b(`|:)", README)]
    assert not missing


@pytest.mark.parametrize("word", [*Outcome, *CellStatus, *Delta])
def test_every_verdict_is_documented(word: str) -> None:
    assert word in README


@pytest.mark.parametrize("status", [0, 1, 2, 64, 125, 130])
def test_every_exit_status_is_documented(status: int) -> None:
    assert re.search(rf"\b{status}\b", README)


def test_every_file_that_is_named_is_there() -> None:
    named = re.findall(r"`((?:lab|images|topologies|guest_tests|tests)/[\w./-]+)`", README)
    placeholders = {name for name in named if re.search(r"NAME|VERSION", name)}
    assert named
    assert not [name for name in set(named) - placeholders if not (ROOT / name).exists()]


def test_every_make_target_is_explained() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = re.findall(r"^([a-z]+):", makefile, re.MULTILINE)
    assert [target for target in targets if f"make {target}" not in makefile and target != "help"] == []


def programs() -> dict[str, str]:
    """The C files that are written out in it, by the names that they have there."""
    found = re.findall(
        r"^    /\* (\w+)\.c \*/\n((?:(?:    .*)?\n)+?)    LAB_CASES\(\n((?:    .*\n)+?)    \)\n", README, re.M
    )
    return {
        name: "\n".join(line[4:] for line in f"{text}    LAB_CASES(\n{cases}    )\n".split("\n"))
        for name, text, cases in found
    }


@pytest.mark.parametrize("name", programs())
def test_the_programs_in_it_are_scenarios(name: str, tmp_path: Path) -> None:
    source = tmp_path / f"{name}.c"
    source.write_text(programs()[name])
    ((case,),) = guestbuild.cases([source], Cache(tmp_path / "cache")).values()
    assert case.description


def test_there_are_such_programs() -> None:
    assert set(programs()) == {"grown", "placed"}
