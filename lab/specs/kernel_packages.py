# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of Debian's packages with kernels: which can exist, told before any list of packages is fetched. Pure.

linux-source-VERSION                          linux-source-6.12
linux-image-[cloud-|rt-]FLAVOUR               linux-image-arm64-16k
linux-image-VERSION-[ABI-][rt-]FLAVOUR        linux-image-6.1.0-41-amd64-unsigned, linux-image-6.12.57+deb13-amd64

Flavours are made of the words that those of the lab's architectures have, in any order: a name that is new to the lab
is let through if its words are known, and it is looked for in the lists.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from lab.arch.record import Arch
from lab.specs.arches import ARCHES

SOURCE, KERNEL_IMAGE = "linux-source-", "linux-image-"
_MODIFIERS = ("cloud", "rt", "unsigned", "dbg", "generic", "smp", "lpae", "pae", "bpo", "trunk")
_NUMBER = re.compile(r"\d[\w.+~]*|rc\d+")
MAX_NAME = 100
CLOSE = 0.85
"""How alike two names are of which one is meant."""
_OTHER_FLAVOURS = ("marvell", "rpi", "parisc", "parisc64", "itanium", "mckinley", "4kc-malta", "mips32r2el")
"""Of architectures that the lab does not have, or that no machine of it boots."""


def refusal(package: str) -> str:
    """Return why no package with a kernel can have this name, with the nearest that can; empty if one can."""
    if re.fullmatch(rf"{SOURCE}\d+\.\d+[a-z0-9+.-]*", package):
        return ""
    if package.startswith(KERNEL_IMAGE) and not _unknown_words(package.removeprefix(KERNEL_IMAGE)):
        return ""
    forms = f"expected {SOURCE}VERSION or {KERNEL_IMAGE}FLAVOUR"
    return f"no package with a kernel is called {package[:80]}{_meant(package) or f'; {forms}'}"


def other_machine(package: str, arch: Arch) -> str:
    """Return why a package with a kernel is none for an architecture, with the one that is; empty if it may be."""
    words = set(package.removeprefix(KERNEL_IMAGE).split("-"))
    theirs = [other for other in ARCHES.values() if _names(other, words)]
    if not theirs or not arch.kernel_flavours or _names(arch, words):
        return ""
    own = f"{KERNEL_IMAGE}{arch.kernel_flavours[0]}"
    return f"{package} is a kernel of {theirs[0].name}, and the machine is {arch.name}; did you mean {own!r}?"


def _names(arch: Arch, words: set[str]) -> bool:
    """Whether the words of a package's name have all those of some flavour of an architecture."""
    return any(words >= set(flavour.split("-")) for flavour in arch.kernel_flavours)


def _flavours() -> Iterable[str]:
    for arch in ARCHES.values():
        yield from arch.kernel_flavours
    yield from _OTHER_FLAVOURS


def _unknown_words(name: str) -> list[str]:
    """Return the words of a kernel's name that no flavour and no version has; all if nothing names a flavour."""
    words = name.split("-")
    known = {word for flavour in _flavours() for word in flavour.split("-")}
    if not known.intersection(words):
        return words
    return [word for word in words if word not in (*known, *_MODIFIERS) and not _NUMBER.match(word)]


def _meant(package: str) -> str:
    """Return the name that is probably meant, for the end of a message; empty if none is."""
    if package in (SOURCE, KERNEL_IMAGE) or len(package) > MAX_NAME:
        return ""
    version = re.search(r"\d+\.\d+[a-z0-9+.]*", package)
    names = [f"{KERNEL_IMAGE}{flavour}" for flavour in _flavours()]
    for kind in ("cloud", "rt"):
        names += [f"{KERNEL_IMAGE}{kind}-{arch.kernel_flavours[0]}" for arch in _with_flavours()]
    if version:
        start, end = version.span()
        names = [f"{SOURCE}{version[0]}"] if end == len(package) else []
        names += [f"{KERNEL_IMAGE}{package[start:end]}{tail}" for tail in _tails(package[end:])]
    swapped = [name for name in names if sorted(name) == sorted(package)]
    close = swapped or _aliased(package) or difflib.get_close_matches(package, names, n=1, cutoff=CLOSE)
    return f"; did you mean {close[0]!r}?" if close else ""


def _aliased(package: str) -> list[str]:
    """Return the name with the flavour of an architecture that it calls by another name, as `aarch64`."""
    before, _, word = package.rpartition("-")
    called = [arch for arch in _with_flavours() if word in (arch.name, arch.uname, *arch.aliases)]
    return [f"{before}-{arch.kernel_flavours[0]}" for arch in called if before.startswith(KERNEL_IMAGE[:-1])]


def _with_flavours() -> list[Arch]:
    return [arch for arch in ARCHES.values() if arch.kernel_flavours]


def _tails(behind: str) -> list[str]:
    """Return what can stand behind a version: the same ABI, with each flavour there is."""
    abi = re.match(r"(?:-\d[\w.+~]*(?=-))*-", behind)
    return [f"{abi[0]}{flavour}" for flavour in _flavours()] if abi else []
