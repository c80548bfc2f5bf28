# SPDX-License-Identifier: GPL-2.0-or-later
"""Open what verbs work on: the library of machines, kernels, scenarios and campaigns, and the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.core.cache import Cache
    from lab.specs.library import Library


def open_library() -> Library:
    """Open the library: the lab's own files and those that the user's settings name."""
    from lab.specs import settings
    from lab.specs.library import Library

    return Library.shipped().with_own(settings.load())


def open_cache() -> Cache:
    """Open the cache in its default place, which the environment can change."""
    from lab.core.cache import Cache, default_root

    return Cache(default_root())
