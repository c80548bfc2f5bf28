# SPDX-License-Identifier: GPL-2.0-or-later
"""The verbs of the command `lab`, by theme: every click command that a module here makes is one.

Each verb imports what it needs when it runs, so that `lab exec` does not wait for reports and `lab list` not for
libvirt.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import click

__all__ = ["every"]


def every() -> Iterator[click.Command]:
    """Every verb."""
    for module in sorted(each.name for each in pkgutil.iter_modules(__path__)):
        found = vars(importlib.import_module(f"{__name__}.{module}")).values()
        yield from (each for each in found if isinstance(each, click.Command))
