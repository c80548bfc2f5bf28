# SPDX-License-Identifier: GPL-2.0-or-later
"""lab.verbs.patches: what is typed, as it is recorded for reports, and what cannot be combined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest

from lab.cli import main
from lab.core.errors import UsageError
from lab.specs.library import Library
from lab.verbs import patches
from lab.verbs.patches import BisectOptions, PatchOptions, TryOptions

CHOSEN = PatchOptions(tree=Path("linux"), base="v6.12", branches=["next-*"], mirror="~/mail")


def test_a_try_is_recorded_as_it_was_typed() -> None:
    asked = TryOptions(
        patch="1@example.org",
        chosen=CHOSEN,
        machines=["x86_64-4k"],
        tests=["kselftest-mm.cow"],
        suites=["kselftest-mm"],
        provides=["thing"],
        config=["kasan"],
        each=True,
        repeat=3,
    )
    command = asked.recorded()
    assert (command.verb, command.arguments) == ("try", ("1@example.org",))
    assert list(command.options.items()) == [
        ("--each", ()),
        ("--tree", ("linux",)),
        ("--base", ("v6.12",)),
        ("--base-branches", ("next-*",)),
        ("--mirror", ("~/mail",)),
        ("--provides", ("thing",)),
        ("--config", ("kasan",)),
        ("--suite", ("kselftest-mm",)),
        ("--repeat", ("3",)),
        ("--on", ("x86_64-4k",)),
        ("--test", ("kselftest-mm.cow",)),
    ]


@pytest.mark.parametrize(("inside", "seen"), [(["Makefile"], True), (["Makefile", ".git"], False), (["HEAD"], False)])
def test_a_tree_is_looked_at_early_if_it_is_the_base_whatever_the_patch_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: Sequence[str], *, seen: bool
) -> None:
    """In a repository the patch may name a commit as its base."""
    looks: list[str] = []
    monkeypatch.setattr("lab.build.source.look_ahead", lambda spec, _: looks.append(spec))
    for name in inside:
        (tmp_path / name).touch()
    PatchOptions(tree=tmp_path, base="", branches=(), mirror="").look_ahead()
    assert looks == [f"path:{tmp_path}"] * seen


def test_what_has_its_default_is_left_away() -> None:
    chosen = PatchOptions(tree=Path(), base="", branches=(), mirror="")
    command = TryOptions(patch="x.patch", chosen=chosen).recorded()
    assert (command.arguments, command.options, command.program) == (("x.patch",), {}, ())


def test_a_suite_and_a_command_exclude_each_other() -> None:
    asked = TryOptions(patch="x", chosen=CHOSEN, suites=["kselftest-mm"], command=["true"], machines=["x86_64-4k"])
    with pytest.raises(UsageError, match="--suite is run in place of scenarios"):
        asked.wish(Library.shipped())


def test_a_bisection_is_recorded_as_it_was_typed() -> None:
    asked = BisectOptions(
        tree=Path("linux"), good="HEAD", bad="v6.12", topology="x86_64-4k", command=["true"], fixed=True, no_boot="bad"
    )
    command = asked.recorded()
    assert list(command.options.items()) == [
        ("--fixed", ()),
        ("--tree", ("linux",)),
        ("--good", ("HEAD",)),
        ("--bad", ("v6.12",)),
        ("--topology", ("x86_64-4k",)),
        ("--no-boot", ("bad",)),
    ]
    assert (command.verb, command.program) == ("bisect", ("true",))


def test_booting_is_asked_where_no_test_is() -> None:
    plain = BisectOptions(tree=Path(), good="a", bad="b", topology="x86_64-4k")
    assert not plain.asks
    assert plain.wish().command == ["true"]


@dataclass(frozen=True)
class _Opened:
    """What `patches` changes of an opened run."""

    path: Path
    cold: bool = False


@pytest.mark.parametrize("cluster", [None, object()])
def test_a_step_of_a_bisection_runs_where_the_command_line_says(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another host saw is no evidence for later runs on this one."""
    ran: list[object] = []
    kept: list[object] = []
    monkeypatch.setattr("lab.run.campaign.execute", lambda *_, elsewhere, **__: ran.append(elsewhere))
    monkeypatch.setattr("lab.verdicts.compare.conclude_directory", lambda path: path)
    monkeypatch.setattr("lab.report.registry.write", lambda *_: None)
    monkeypatch.setattr(patches, "keep_evidence", lambda *_: kept.append(1))
    opened: Any = _Opened(path=tmp_path)
    packing: Any = None
    patches._carried_out(opened, packing, None, cluster)
    assert ran == [cluster]
    assert len(kept) == (cluster is None)


@pytest.mark.parametrize(
    "words", [("bisect", "--good", "a", "--bad", "b", "-t", "x86_64-4k"), ("mutate", "-k", "expand-fault")]
)
def test_options_for_this_computer_are_refused_with_a_cluster(
    words: Sequence[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.core.proc.abort", lambda: None)  # it would hold for the tests that follow
    monkeypatch.setattr("lab.verbs.mutating._task", lambda *_: SimpleNamespace(mutants=(), suites=()))
    monkeypatch.setattr("lab.workflows.mutation_task.open_task", lambda *_: None)
    monkeypatch.setattr("lab.workflows.mutate.builder", lambda *_: None)
    with pytest.raises(UsageError, match="--jobs is for guests on this computer, not for those of a cluster"):
        click.Group.main(main, [*words, "--cluster", "tls://10.0.0.1:8786", "-j", "2"], standalone_mode=False)
