# SPDX-License-Identifier: GPL-2.0-or-later
"""lab.verbs.patches: what is typed, as it is recorded for reports, and what cannot be combined."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.core.errors import UsageError
from lab.specs.library import Library
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
