# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of packages with kernels: a misspelt one is refused before any list is fetched, one that may exist is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.build import kernel
from lab.build.roots import apt
from lab.core.cache import Cache
from lab.core.errors import InputError, UsageError
from lab.specs import load
from lab.specs.arches import ARCHES
from lab.specs.kernel_packages import other_machine, refusal
from lab.specs.model import Kernel, Topology

POSSIBLE = [
    "linux-image-cloud-amd64",
    "linux-image-rt-arm64",
    "linux-image-arm64-16k",
    "linux-image-6.12.118+deb13-arm64",
    "linux-image-6.1.0-41-amd64",
    "linux-image-6.1.0-41-cloud-amd64-unsigned",
    "linux-image-6.10.11+bpo-amd64",
    "linux-image-5.10.0-0.deb10.16-amd64",
    "linux-image-6.17-rc7-amd64",
    "linux-image-6.1.0-41-686",
    "linux-image-powerpc64le-16k",
    "linux-image-loongson-3",
    "linux-source-6.12",
    "linux-source-6.12-rt",
]


@pytest.mark.parametrize(
    "package", [*POSSIBLE, *(f"linux-image-{f}" for a in ARCHES.values() for f in a.kernel_flavours)]
)
def test_a_name_that_may_exist_is_looked_for(package: str) -> None:
    assert not refusal(package)


@pytest.mark.parametrize(
    ("package", "meant"),
    [
        ("linux-image-amd46", "linux-image-amd64"),
        ("linux-image-cloud-adm64", "linux-image-cloud-amd64"),
        ("linux-imgae-amd64", "linux-image-amd64"),
        ("linux-image-aarch64", "linux-image-arm64"),
        ("linux-image-x86_64", "linux-image-amd64"),
        ("linux-image-6.12.57+deb13-amd46", "linux-image-6.12.57+deb13-amd64"),
        ("linux-headers-6.1.0-41-amd64", "linux-image-6.1.0-41-amd64"),
        ("linux-sorce-6.12", "linux-source-6.12"),
        ("linux-source6.12", "linux-source-6.12"),
    ],
)
def test_a_misspelt_name_is_answered_with_the_one_that_is_meant(package: str, meant: str) -> None:
    assert refusal(package) == f"no package with a kernel is called {package}; did you mean {meant!r}?"


@pytest.mark.parametrize("package", ["linux-source", "linux-image-", "linux-image-6.12", "bash", f"linux-{'x' * 5000}"])
def test_a_name_that_is_like_none_gets_the_forms_that_are_known(package: str) -> None:
    assert refusal(package).endswith("; expected linux-source-VERSION or linux-image-FLAVOUR")
    assert len(refusal(package)) < 200


def test_a_file_with_a_misspelt_source_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("description: own\nsource: debian:linux-sorce-6.12\n")
    with pytest.raises(InputError, match=r"own.yaml:2: source: .*; did you mean 'linux-source-6.12'\?"):
        load.read(file).build(Kernel)


@pytest.mark.parametrize(
    ("package", "arch", "own"),
    [
        ("linux-image-amd64", "arm64", "linux-image-arm64"),
        ("linux-image-6.1.0-41-cloud-amd64", "riscv64", "linux-image-riscv64"),
        ("linux-image-686-pae", "x86_64", "linux-image-amd64"),
    ],
)
def test_a_kernel_of_another_machine_is_told_before_any_list_is_fetched(
    package: str, arch: str, own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never() -> tuple[str, ...]:
        raise AssertionError("asked for the releases")

    monkeypatch.setattr(apt, "releases_from", never)
    record = ARCHES[arch]
    machine = Topology(name="toy", arch=arch, page_size=min(record.page_sizes), vcpus=1, memory=512 << 20)
    with pytest.raises(UsageError, match=f"the machine is {arch}; did you mean '{own}'"):
        kernel.build(Kernel(name="own", source=f"debian:{package}"), machine, cache=Cache(tmp_path / "cache"))


def test_a_kernel_that_may_be_the_machines_own_is_looked_for() -> None:
    assert not other_machine("linux-image-arm64-16k", ARCHES["arm64"])
    assert not other_machine("linux-image-6.12-own", ARCHES["arm64"])
    assert not other_machine("linux-image-amd64", ARCHES["mips64"])
