# SPDX-License-Identifier: GPL-2.0-or-later
"""The quick ones of the injected faults; `make faults` has them all."""

from __future__ import annotations

import pytest

from tests.faults import fault
from tests.faults.__main__ import everything
from tests.faults.fault import Fault

QUICK = {f"{side}/{each.name}": each for side, each in everything() if each.quick}


@pytest.mark.parametrize("wanted", QUICK.values(), ids=QUICK)
def test_fault(built: None, wanted: Fault) -> None:
    result = fault.run(wanted)
    assert result.good, f"{result.wrong} {result.lost} {result.orphans}"


def test_the_table_is_large_and_names_are_unique() -> None:
    names = [each.name for _, each in everything()]
    assert len(names) >= 30
    assert {side for side, _ in everything()} == {"input", "host", "qemu", "boot", "program", "cluster"}
    assert len({(side, each.name) for side, each in everything()}) == len(names)
