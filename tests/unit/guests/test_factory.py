# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/guests/factory.py: no two guests of a process have one name, whichever factory starts them; no libvirt needed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("libvirt")

from lab.guests.factory import GuestFactory


def test_two_factories_give_different_names(tmp_path: Path) -> None:
    nothing: Any = None
    ready: Any = SimpleNamespace(name="pc-baseline")
    first = GuestFactory(workshop=nothing, hypervisor=nothing, scratch=tmp_path)
    second = GuestFactory(workshop=nothing, hypervisor=nothing, scratch=tmp_path)
    names = [factory._name(ready) for factory in (first, second, first, second)]
    assert len(set(names)) == len(names)
    assert len({len(name) for name in names}) == 1, "a saved guest is restored under a name of the same length"
