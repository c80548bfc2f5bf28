# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest in which an expectation was not met first stays; the others go as ever."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from lab.core.outcome import End, Ended
from lab.evidence.read import load
from lab.evidence.write import RunDir
from lab.run.cell import CellWork
from lab.run.keep_failed import GuestKeeper
from tests.unit.fakes import BASE, BUILD, CASES, GOOD, Behaviour, FakeCell, NoScreen, a_plan, ended
from tests.unit.fixtures.evidence import recorded


def work(place: Path, kernel: str, said: Ended, *, keeper: GuestKeeper, gone: End | None = None) -> FakeCell:
    """A cell with one guest, which says this."""
    (cell,) = a_plan([kernel]).cells
    cells = [{"topology": "machine", "kernel": kernel}]
    run = RunDir.create(place, "test", recorded({"cells": cells}), output=place / kernel)
    built = FakeCell([Behaviour(runs=[said], gone=gone)], provenance=BUILD)
    CellWork(
        cell=cell,
        fresh=True,
        built=built,
        evidence=run.cell("machine", kernel),
        cases=CASES,
        screen=NoScreen(),
        stopping=threading.Event(),
        keeper=keeper,
    ).run()
    assert load(run.path).cells[0].usage is not None
    return built


def test_a_guest_in_which_all_is_well_is_not_kept(tmp_path: Path) -> None:
    keeper = GuestKeeper()
    assert work(tmp_path, "patched", ended(GOOD), keeper=keeper).guests[0].closed
    assert work(tmp_path, "baseline", ended(BASE, status=1), keeper=keeper).guests[0].closed
    assert keeper.kept is None


def test_the_first_that_is_not_as_expected_is_kept_and_no_second(tmp_path: Path) -> None:
    keeper = GuestKeeper()
    first = work(tmp_path, "patched", ended(BASE, status=1), keeper=keeper)
    assert not first.guests[0].closed
    assert keeper.kept is not None
    assert keeper.kept.guest is first.guests[0]
    assert keeper.kept.why.startswith("machine/patched: demo.grow FAIL: touch: SIGBUS")
    second = work(tmp_path, "baseline", ended(GOOD), keeper=keeper)
    assert second.guests[0].closed
    assert keeper.kept.guest is first.guests[0]


@pytest.mark.parametrize("gone", [End.PANIC, End.QEMU_DEAD])
def test_a_guest_that_is_dead_is_not_kept(tmp_path: Path, gone: End) -> None:
    keeper = GuestKeeper()
    assert work(tmp_path, "patched", ended(BASE, status=1), keeper=keeper, gone=gone).guests[0].closed
    assert keeper.kept is None
