# SPDX-License-Identifier: GPL-2.0-or-later
"""Where verbs find things: the library of what there is to choose from, and the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.core.cache import Cache
    from lab.specs.library import Library


def open_library() -> Library:
    """What there is to choose from: the lab's own and the user's."""
    from lab.specs import settings
    from lab.specs.library import Library

    return Library.shipped().with_own(settings.load())


def open_cache() -> Cache:
    from lab.core.cache import Cache, default_root

    return Cache(default_root())
