# SPDX-License-Identifier: GPL-2.0-or-later
"""lab.build.edits.ahead on the toy tree: what is begun before a run is built once; who asks for it gets its errors."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.build import kernel
from lab.build.edits import ahead
from lab.core.errors import BuildError, InfraError
from lab.specs.model import CampaignSpec, Kernel
from lab.specs.plan import Plan, Selection, plan
from tests.unit.toy import GROW, Toy, topology

BAD = {"mm/shmem.c": ("return -1;", "return nothing;")}
Make = Callable[..., Any]


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    made = Toy.make(tmp_path)
    made.series("grow", GROW)
    made.series("bad", BAD)
    monkeypatch.setattr("lab.core.paths.images", lambda: made.images)
    return made


@pytest.fixture
def makes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The targets of all makes."""
    run: list[str] = []
    make = kernel._Build._make

    def counted(*given: Any, **options: Any) -> int:
        run.append(given[2])
        return make(*given, **options)

    monkeypatch.setattr(kernel._Build, "_make", counted)
    return run


def planned(*kernels: Kernel) -> Plan:
    names = [one.name for one in kernels]
    spec = CampaignSpec(name="toy", topologies=("toy",), kernels=tuple(names), scenarios=("expand",))
    return plan(spec, [topology()], kernels, [Selection(scenario="expand")])


def joined() -> None:
    """Wait for the build ahead."""
    for thread in threading.enumerate():
        if thread.name == "ahead":
            thread.join(60)


def test_the_kernel_that_is_missing_is_built_once(toy: Toy, makes: list[str]) -> None:
    pair = (toy.kernel(), toy.kernel("grow"))
    kernel.build(pair[0], topology(), cache=toy.cache)
    makes.clear()
    ahead.begin(planned(*pair), toy.cache)
    built = kernel.build(pair[1], topology(), cache=toy.cache)
    joined()
    assert makes == ["vmlinux"]
    assert built.provenance.series == "grow"
    ahead.begin(planned(*pair), toy.cache)
    joined()
    assert makes == ["vmlinux"], "all are built"


def test_whole_kernels_are_left_to_the_run(toy: Toy, makes: list[str]) -> None:
    """They take all CPUs for minutes, so they need a place in the run's budget."""
    ahead.begin(planned(toy.kernel(), toy.kernel("grow")), toy.cache)
    joined()
    assert makes == []


def test_who_asks_for_the_kernel_gets_its_error(toy: Toy) -> None:
    kernel.build(toy.kernel(), topology(), cache=toy.cache)
    ahead.begin(planned(toy.kernel(), toy.kernel("bad")), toy.cache)
    with pytest.raises(BuildError, match="vmlinux failed"):
        kernel.build(toy.kernel("bad"), topology(), cache=toy.cache)
    joined()


def test_nobody_waits_for_a_tree_that_is_slow_to_look_at(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()

    def slow(*_: object, **_others: object) -> None:
        assert go_on.wait(60)
        raise InfraError("nothing is known of it")

    monkeypatch.setattr(ahead, "PATIENCE_S", 0.01)
    monkeypatch.setattr(kernel, "recipe_of", slow)
    ahead.begin(planned(toy.kernel()), toy.cache)
    assert [thread.name for thread in threading.enumerate()].count("ahead") == 1
    go_on.set()
    joined()
