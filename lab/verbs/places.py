# SPDX-License-Identifier: GPL-2.0-or-later
"""Open what verbs work on: the library of machines, kernels, scenarios and campaigns, and the cache."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lab.verbs.common import print_note

if TYPE_CHECKING:
    from lab.cluster.store import Store
    from lab.core.cache import Cache
    from lab.specs.library import Library


def open_library() -> Library:
    """Open the library: the lab's own files and those that the user's settings name."""
    from lab.specs import settings
    from lab.specs.library import Library

    return Library.shipped().with_own(settings.load())


def open_cache() -> Cache:
    """Open the cache in its default place, which the environment can change, with the store that is set."""
    from lab.core.cache import Cache, default_root

    url = store_url()
    if not url:
        return Cache(default_root())
    return Cache(default_root(), open_store(url))


def store_url() -> str:
    """Return the store of the environment (PAGELAB_STORE), else that of the settings; empty if neither names one."""
    from lab.specs import settings

    return os.environ.get("PAGELAB_STORE") or settings.load().settings.cache_remote


def open_store(url: str) -> Store:
    """Open a store that hosts share; what goes wrong with it is printed, each thing once."""
    from lab.cluster.store import Store
    from lab.core.cache import default_root

    printed: set[str] = set()

    def warn(line: str) -> None:
        if line not in printed:
            printed.add(line)
            print_note(f"note: {line}")

    return Store(url=url, scratch=default_root() / "tmp", warn=warn)
