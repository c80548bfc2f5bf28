# SPDX-License-Identifier: GPL-2.0-or-later
"""What all tests share: integration tests have their marker and run last; unit tests never see the user's cache."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Hosts are shared and slow at times: an example that takes long is no defect.
settings.register_profile("lab", deadline=None)
settings.load_profile("lab")

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of tests/integration, and run them last: a mistake costs seconds before a kernel is built."""
    for item in items:
        if is_integration(item):
            item.add_marker("integration")
    items.sort(key=is_integration)


def is_integration(item: pytest.Item) -> bool:
    return (HERE / "integration") in item.path.parents


@pytest.fixture(scope="session")
def unit_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def cache_of_their_own(request: pytest.FixtureRequest, unit_cache: Path) -> Iterator[None]:
    """Unit tests get an empty cache for their session, whatever PAGELAB_CACHE says. No test sees the user's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(unit_cache))
        for name in ("ARCH", "CROSS_COMPILE", "LLVM"):
            patch.delenv(name, raising=False)
        if not is_integration(request.node):
            patch.setenv("PAGELAB_CACHE", str(unit_cache))
        yield
