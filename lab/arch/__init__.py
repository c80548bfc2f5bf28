# SPDX-License-Identifier: GPL-2.0-or-later
"""The architectures: every module here but `record` holds one record named ARCH. The listing is the registry."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from types import MappingProxyType

from lab.arch.record import Arch, Mmu
from lab.errors import unknown

__all__ = ["ARCHES", "Arch", "Mmu", "find"]


def _load() -> Mapping[str, Arch]:
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name != "record")
    records = [importlib.import_module(f"{__name__}.{name}").ARCH for name in names]
    return MappingProxyType({record.name: record for record in records})


ARCHES: Mapping[str, Arch] = _load()


def find(word: str) -> Arch:
    """The architecture called `word` in any accepted spelling; UsageError with the choices otherwise.

    Both byte orders of MIPS call themselves `mips64` in uname: a name of the lab's comes before that.
    """
    spellings = [({arch.name, arch.libvirt_arch, *arch.aliases}, arch) for arch in ARCHES.values()] + [
        ({arch.uname}, arch) for arch in ARCHES.values()
    ]
    for words, arch in spellings:
        if word in words:
            return arch
    raise unknown("arch", word, ARCHES)
