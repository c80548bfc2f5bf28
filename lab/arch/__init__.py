# SPDX-License-Identifier: GPL-2.0-or-later
"""The architectures: every module here but `record` holds one record named ARCH. The listing is the registry."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from lab.arch.record import Arch, Mmu
from lab.core.errors import unknown

__all__ = ["ARCHES", "PRESETS", "Arch", "Mmu", "find", "lacking_preset"]


def _load() -> Mapping[str, Arch]:
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name != "record")
    records = [importlib.import_module(f"{__name__}.{name}").ARCH for name in names]
    return MappingProxyType({record.name: record for record in records})


ARCHES: Mapping[str, Arch] = _load()
PRESETS = frozenset(name for arch in ARCHES.values() for name in arch.presets)
"""The debug presets that some architecture has."""


def lacking_preset(arch: Arch, fragments: Iterable[str]) -> str:
    """Which of the config fragments are presets that the architecture lacks, and which it has; empty when none is."""
    lacking = [name for name in fragments if name in PRESETS and name not in arch.presets]
    return f"{arch.name} has {', '.join(arch.presets) or 'none'}, not {', '.join(lacking)}" if lacking else ""


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
