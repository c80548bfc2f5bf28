# SPDX-License-Identifier: GPL-2.0-or-later
"""What cache keys are computed from beside the files of a checkout: compilers, and the versions of Debian's packages.

A host that takes these facts from another one (`lab cache pull`) computes the same keys, so that it finds what the
other has built, without a compiler for the architecture and without the source. What a host knows itself stays.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from lab.build import debian, source, toolchain
from lab.core.cache import Cache, digest, write_atomic
from lab.core.errors import InfraError
from lab.specs.arches import ARCHES

ENTRY = "key-facts"
FILE = "facts.json"
ANSWERS = re.compile(rf"({debian.MEMORY}/(deb|deb-src|image)-[a-zA-Z0-9_+.-]+|{source.MEMORY}/source-[0-9a-f]+)\.json")
"""Files that hold what a name was resolved to, by their path below the cache's root."""


class KeyFacts(BaseModel):
    """The file of a cache entry."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    compilers: Mapping[str, toolchain.Identity]
    """Architecture -> the compiler that a host has for it."""
    answers: Mapping[str, dict[str, Any]]
    """Path below the cache's root -> the JSON object there: what a package or a source of Debian was resolved to."""


def keep(cache: Cache, sources: Iterable[str]) -> str:
    """Put the facts of this host into its cache, those of some kernel sources among them; return the entry's key."""
    compilers = {}
    for arch in ARCHES.values():
        try:
            chain = toolchain.find(arch)
        except InfraError:
            continue
        if not chain.absent:
            compilers[arch.name] = chain.identity
    paths = [*(cache.root / debian.MEMORY).glob("*.json"), *source.answers(sources, cache)]
    names = {str(path.relative_to(cache.root)): path for path in paths if path.is_file()}
    answers = {name: json.loads(path.read_bytes()) for name, path in sorted(names.items()) if ANSWERS.fullmatch(name)}
    text = KeyFacts(compilers=compilers, answers=answers).model_dump_json(indent=1)
    key = digest(text)
    cache.entry(ENTRY, key, lambda entry: write_atomic(entry / FILE, text.encode()))
    return key


def adopt(cache: Cache, key: str) -> None:
    """Use the facts of a cache entry where this host has none of its own; InfraError for an entry without any."""
    path = cache.path(ENTRY, key) / FILE
    try:
        facts = KeyFacts.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        raise InfraError(f"{path}: expected compilers, and answers to names") from None
    for name, identity in facts.compilers.items():
        if name in ARCHES:
            toolchain.adopt(ARCHES[name], identity, cache)
    for name, answer in facts.answers.items():
        if ANSWERS.fullmatch(name) and not (cache.root / name).exists():
            write_atomic(cache.root / name, json.dumps(answer).encode())
