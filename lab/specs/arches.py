# SPDX-License-Identifier: GPL-2.0-or-later
"""Find architectures by name: every module of lab/arch/ but `record` holds one. The listing is the registry."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from lab import arch as room
from lab.arch.record import Arch
from lab.core.errors import UsageError, did_you_mean


def _load() -> Mapping[str, Arch]:
    records: dict[str, Arch] = {}
    for module in sorted(pkgutil.iter_modules(room.__path__), key=lambda module: module.name):
        if module.name != "record":
            record = importlib.import_module(f"{room.__name__}.{module.name}").ARCH
            records[record.name] = record
    return MappingProxyType(records)


def _presets(records: Iterable[Arch]) -> frozenset[str]:
    names: set[str] = set()
    for record in records:
        names.update(record.presets)
    return frozenset(names)


ARCHES: Mapping[str, Arch] = _load()
PRESETS = _presets(ARCHES.values())
"""The debug presets that some architecture has."""


def lacking_preset(arch: Arch, fragments: Iterable[str]) -> str:
    """Return which config fragments are presets that an architecture lacks, and which it has; empty if none is."""
    lacking = [name for name in fragments if name in PRESETS and name not in arch.presets]
    if not lacking:
        return ""
    return f"{arch.name} has {', '.join(arch.presets) or 'none'}, not {', '.join(lacking)}"


def find(word: str) -> Arch:
    """Return the architecture called `word` in any accepted spelling; UsageError with the choices if there is none.

    Both byte orders of MIPS call themselves `mips64` in uname: a name of the lab's comes before that.
    """
    for arch in ARCHES.values():
        if word in (arch.name, arch.libvirt_arch, *arch.aliases):
            return arch
    for arch in ARCHES.values():
        if word == arch.uname:
            return arch
    spellings = [*ARCHES, *(alias for arch in ARCHES.values() for alias in (*arch.aliases, arch.uname))]
    raise UsageError(f"unknown arch {word!r}{did_you_mean(word, spellings)}", hint=f"choices: {', '.join(ARCHES)}")


def of_program(header: tuple[int, int, int]) -> Arch | None:
    """Return the architecture whose programs have this ELF header (`Arch.elf_header`); None if no record has it."""
    for arch in ARCHES.values():
        if arch.elf_header == header:
            return arch
    return None
