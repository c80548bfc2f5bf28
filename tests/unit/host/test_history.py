# SPDX-License-Identifier: GPL-2.0-or-later
"""history.py: what runs took is kept in the cache, mixed with what they take now, bounded, and never trusted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lab.core.cache import Cache
from lab.core.outcome import CellResult, CellStatus, End, Run, Usage
from lab.evidence.metadata import Evidence
from lab.guests.vm import usage_of
from lab.host import history
from lab.host.history import DEFAULT_BOOT_S, DEFAULT_CASE_S, DEFAULT_CASES, FILE
from lab.specs.model import CampaignSpec, Kernel, Topology
from lab.specs.plan import Cell, Selection, plan
from tests.unit.fixtures.evidence import recorded

MACHINE = Topology(name="pc", arch="x86_64", page_size=4096, memory=256 << 20)
KTAP = "KTAP version 1\n1..4\nok 1 a1\nok 2 a2\nok 3 b1\nnot ok 4 b2\n"
RUN = Run(scenario="expand", attempt=1, end=End.EXITED, status=0, duration_s=2.0, ktap=KTAP)
RESULT = CellResult(
    topology="pc",
    kernel="plain",
    status=CellStatus.OK,
    boot_s=3.0,
    runs=(RUN,),
    usage=Usage(peak=200 << 20, cpu_s=6.0, wait_s=3.0, life_s=10.0),
)
METADATA = recorded(
    {"kernels": {"debug": {"config": ["kasan"]}}, "cases": {"expand": [{"name": n} for n in ("a1", "a2", "b1")]}}
)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def evidence(*cells: CellResult) -> Evidence:
    return Evidence(metadata=METADATA, cells=cells, source="here")


def cell(*cases: str, config: tuple[str, ...] = ()) -> Cell:
    kernel = Kernel(name="plain", source="tarball:x", config=config)
    spec = CampaignSpec(name="c", topologies=("pc",), kernels=("plain",))
    return plan(spec, [MACHINE], [kernel], [Selection(scenario="expand", cases=cases)]).cells[0]


def test_what_was_never_run_is_guessed(cache: Cache) -> None:
    known = history.load(cache)
    assert known.machine(cell()) is None
    assert known.seconds(cell()) == pytest.approx(DEFAULT_BOOT_S + DEFAULT_CASES * DEFAULT_CASE_S)
    assert not cache.root.exists(), "asking leaves nothing behind"


def test_what_was_run_is_known(cache: Cache) -> None:
    history.record(cache, evidence(RESULT))
    known = history.load(cache)
    assert known.seconds(cell()) == pytest.approx(3.0 + 3 * 0.5)
    assert known.seconds(cell("a*")) == pytest.approx(3.0 + 2 * 0.5), "globs are counted among the names that were seen"
    machine = known.machine(cell())
    assert machine
    assert (machine.peak, machine.cpus) == (200 << 20, 0.9)


def test_a_debug_kernel_is_another_machine(cache: Cache) -> None:
    history.record(cache, evidence(replace(RESULT, kernel="debug", boot_s=30.0)))
    known = history.load(cache)
    assert known.machine(cell()) is None
    assert known.seconds(cell(config=("kasan",))) > 30


def test_times_are_mixed_and_memory_is_the_most_there_was(cache: Cache) -> None:
    history.record(cache, evidence(RESULT))
    less = Usage(peak=100 << 20, cpu_s=7.0, wait_s=0.0, life_s=10.0)
    history.record(cache, evidence(replace(RESULT, boot_s=5.0, usage=less)))
    machine = history.load(cache).machine(cell())
    assert machine
    assert (machine.boot_s, machine.peak, machine.cpus) == (4.0, 200 << 20, 0.8)


def test_what_an_overloaded_host_gave_says_nothing_about_cpus(cache: Cache) -> None:
    starved = Usage(peak=300 << 20, cpu_s=1.0, wait_s=19.0, life_s=10.0)
    history.record(cache, evidence(replace(RESULT, usage=starved)))
    machine = history.load(cache).machine(cell())
    assert machine
    assert (machine.peak, machine.cpus) == (300 << 20, 0.0)
    history.record(cache, evidence(RESULT))
    history.record(cache, evidence(replace(RESULT, usage=starved)))
    machine = history.load(cache).machine(cell())
    assert machine
    assert machine.cpus == 0.9


def test_what_went_wrong_is_no_measurement(cache: Cache) -> None:
    history.record(cache, evidence(replace(RESULT, status=CellStatus.BROKEN), replace(RESULT, boot_s=None)))
    assert not (cache.root / FILE).exists()
    hung = replace(RUN, end=End.DEADLINE, duration_s=600.0)
    history.record(cache, evidence(replace(RESULT, runs=(hung,))))
    assert history.load(cache).seconds(cell()) == pytest.approx(3.0 + 3 * DEFAULT_CASE_S)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 2}', '{"machines": {"pc": {"boot_s": -1}}}'])
def test_a_file_that_is_none_counts_as_none(cache: Cache, text: str) -> None:
    cache.root.mkdir()
    (cache.root / FILE).write_text(text)
    assert history.load(cache).machine(cell()) is None
    history.record(cache, evidence(RESULT))
    assert history.load(cache).machine(cell()) is not None


def test_it_is_bounded(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_MACHINES", 3)
    for number in range(5):
        history.record(cache, evidence(replace(RESULT, topology=f"pc-{number}")))
    assert set(history.load(cache).machines) == {"pc-2", "pc-3", "pc-4"}


def test_what_a_process_took() -> None:
    own = usage_of(Path("/proc/self"))
    assert own
    assert own.peak > 1 << 20
    assert own.life_s >= 0
    assert own.cpus >= 0
    assert usage_of(Path("/proc/0")) is None
