# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/arch: every record is whole, and every spelling means one architecture."""

from __future__ import annotations

import dataclasses
import re

import pytest

from lab.arch.record import Arch, Limit
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


LIMIT = Limit(name="snapshots", reason="it dies", seen="7.2", mended="10.0", no_save=True, cpu_without=("vx",))


@pytest.mark.parametrize(
    ("version", "holds"),
    [
        ("7.2.22 (Debian 1:7.2+dfsg-7)", True),
        ("9.2.1", True),
        ("10.0.13 (Debian 1:10.0.13)", False),
        ("11.0.0", False),
        ("", True),
        ("of a strange kind", True),
    ],
)
def test_a_limit_ends_with_the_first_version_that_was_seen_without_it(version: str, holds: bool) -> None:
    assert LIMIT.holds(version) is holds
    assert dataclasses.replace(LIMIT, mended=None).holds(version)
    arch = dataclasses.replace(next(iter(ARCHES.values())), limits=(LIMIT,), qemu_args=("-x",))
    assert arch.no_save(version) == ("it dies (seen with QEMU 7.2)" if holds else "")
    assert arch.cpu_without(version) == (("vx",) if holds else ())
    assert arch.arguments(version) == ("-x",)
    avoiding = dataclasses.replace(arch, limits=(dataclasses.replace(LIMIT, qemu_args=("-y",)),))
    assert avoiding.arguments(version) == (("-x", "-y") if holds else ("-x",))


@pytest.mark.parametrize("arch", RECORDS)
def test_a_limit_says_what_it_is_and_with_which_version(arch: Arch) -> None:
    assert len({limit.name for limit in arch.limits}) == len(arch.limits)
    for limit in arch.limits:
        assert limit.name
        assert limit.reason
        assert not re.search(r"\d+\.\d+", limit.reason), "the version is a field"
        assert re.fullmatch(r"\d+\.\d+", limit.seen)
        assert limit.holds(limit.seen)
        assert limit.mended is None or re.fullmatch(r"\d+\.\d+", limit.mended)


@pytest.mark.parametrize("name", ["alpha", "ppc44x", "sparc64"])
def test_guests_that_no_version_was_seen_to_restore_are_not_saved(name: str) -> None:
    for version in ("7.2.22", "10.0.13", ""):
        assert ARCHES[name].no_save(version)
