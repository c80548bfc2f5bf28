# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/arch: every record is whole, and every spelling means one architecture."""

from __future__ import annotations

import dataclasses
import re

import pytest

from lab.arch.record import Arch
from lab.core import paths
from lab.core.errors import UsageError
from lab.formats import kconfig
from lab.specs.arches import ARCHES, find

RECORDS = [pytest.param(record, id=name) for name, record in ARCHES.items()]


@pytest.mark.parametrize("arch", RECORDS)
def test_every_spelling_finds_it(arch: Arch) -> None:
    for word in (arch.name, arch.libvirt_arch, *arch.aliases):
        assert find(word) is arch
    assert find(arch.uname).uname == arch.uname


@pytest.mark.parametrize("arch", RECORDS)
def test_a_record_is_whole(arch: Arch) -> None:
    assert arch.packages
    assert arch.qemu.startswith("qemu-system-")
    assert arch.cross.endswith("-")
    assert set(arch.hugepages) == set(arch.page_sizes), "say which hugepages go with every page size, if none then ()"
    for base, sizes in arch.hugepages.items():
        assert all(size > base and not size & (size - 1) for size in sizes)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", package) for package in (*arch.packages, *arch.native_packages))


@pytest.mark.parametrize("arch", RECORDS)
def test_its_config_fragments_can_be_read_and_belong_to_it_alone(arch: Arch) -> None:
    for name, text in arch.fragments.items():
        assert kconfig.parse_fragment(text, name), f"{name} asks for nothing"
        assert arch.name in name
        assert not (paths.images() / "config" / f"{name}.config").exists(), "a file of that name would win"


@pytest.mark.parametrize("arch", RECORDS)
def test_its_presets_are_there(arch: Arch) -> None:
    have = {path.stem for path in (paths.images() / "config").glob("*.config")}
    assert set(arch.presets) <= have - {"base"}


def test_fragments_and_their_names_must_agree() -> None:
    arch = next(iter(ARCHES.values()))
    with pytest.raises(ValueError, match="fragments without text"):
        dataclasses.replace(arch, fragments={})
    with pytest.raises(ValueError, match="text that nothing names"):
        dataclasses.replace(arch, fragments={**arch.fragments, "stray": ""})


def test_an_unknown_one_says_the_choices() -> None:
    with pytest.raises(UsageError, match=r"unknown arch 'arm46'; did you mean 'arm64'\?") as caught:
        find("arm46")
    assert all(name in str(caught.value) for name in ARCHES)


def test_nonsense_records_are_refused() -> None:
    arch = next(iter(ARCHES.values()))
    with pytest.raises(ValueError, match="powers of two"):
        dataclasses.replace(arch, page_sizes={3000: ""}, hugepages={})
    with pytest.raises(ValueError, match="page size it does not have"):
        dataclasses.replace(arch, hugepages={1: ()})
