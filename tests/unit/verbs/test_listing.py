# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/verbs/text/listing.py: everything is listed, says its limits, fits a terminal, and is JSON for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.core import qemu_version
from lab.core.cache import Cache
from lab.specs.arches import ARCHES
from lab.specs.library import Library
from lab.verbs.text import listing

WITHOUT_COMPILER = ("topologies", "kernels", "campaigns", "arches")


@pytest.mark.parametrize("what", WITHOUT_COMPILER)
def test_text_fits_80_columns_and_data_is_json(what: str, tmp_path: Path) -> None:
    library, cache = Library.shipped(), Cache(tmp_path / "cache")
    found = listing.entries(what, library, cache)
    text = "\n".join(listing.lines(what, library, cache))
    assert max(map(len, text.splitlines())) <= listing.WIDTH
    assert json.loads(json.dumps(found)) == found
    assert all(each["name"] in text for each in found)
    assert not cache.root.exists()


def test_arches_say_what_they_can_and_cannot_do(tmp_path: Path) -> None:
    library, cache = Library.shipped(), Cache(tmp_path)
    text = " ".join(" ".join(listing.lines("arches", library, cache)).split())
    for arch in ARCHES.values():
        for words in (
            arch.no_numa,
            *arch.notes.values(),
            *(mmu.description for name, mmu in arch.mmus.items() if name),
        ):
            assert " ".join(words.split()) in text
    (alpha,) = (each for each in listing.entries("arches", library, cache) if each["name"] == "alpha")
    assert alpha["presets"] == ["debug-vm"]
    assert "no NUMA" in alpha["limits"]


@pytest.mark.parametrize(("version", "there"), [("7.2.22", True), ("10.0.13", False), ("", True)])
def test_a_limit_is_listed_unless_the_installed_emulator_has_it_mended(
    version: str, there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qemu_version, "installed", lambda _program: version)
    limits = {each["name"]: each["limits"] for each in listing.entries("arches", Library.shipped(), Cache(tmp_path))}
    assert ("no snapshots" in limits["alpha"]) is there
    assert ("vector facility" in limits["s390x"]) is there
    assert ("no snapshots" in limits["sparc64"]) is there
    assert limits["sparc64"]["no restored guests"].endswith("(seen with QEMU 10.0)")
    assert "huge pages" in limits["s390x"]


def test_a_table_wraps_its_last_column_below_itself() -> None:
    shown = listing.table([("a", "one two three four five six seven"), ("bcd", "x")], width=30)
    assert shown == ["a    one two three four five", "     six seven", "bcd  x"]
    assert listing.table([]) == []
