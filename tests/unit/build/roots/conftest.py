# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of roots share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.fixtures.linked import small_library


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A library of one function."""
    return small_library(tmp_path)
