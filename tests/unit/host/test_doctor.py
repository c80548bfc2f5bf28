# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/host/doctor.py: every problem of a host is named with the command that fixes it; asked of a made-up host."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType

import pytest

from lab.core.errors import UsageError
from lab.core.sizes import GIB
from lab.host import doctor
from lab.host.doctor import Check, Host, Status
from lab.specs.arches import ARCHES

ALL_PACKAGES = frozenset(package for arch in ARCHES.values() for package in (*arch.packages, *arch.native_packages))
DRIVER = "usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so"


def all_installed(packages: Sequence[str]) -> frozenset[str]:
    return frozenset(packages)


@pytest.fixture
def healthy(tmp_path: Path) -> Host:
    """A Debian host on which nothing is missing."""
    for name in (DRIVER, "dev/kvm", "tmp/x", *(f"usr/include/{header}" for header in doctor.HEADERS)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name, text in (
        ("proc/meminfo", f"MemTotal:  {8 * GIB // 1024} kB\nMemFree: 1 kB\n"),
        ("etc/apt/sources.list.d/debian.sources", "# comment\nTypes: deb\nURIs: http://mirror.example/debian\n"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return Host(
        root=tmp_path,
        machine="x86_64",
        uid=1000,
        python=(3, 11, 2),
        which=lambda name: f"/usr/bin/{name}",
        qemu_version=lambda _: "7.2.22 (Debian 1:7.2)",
        installed=all_installed,
        has_user=lambda _: True,
        has_module=lambda _: True,
        free=lambda _: 100 * GIB,
        accessible=lambda _path, _mode: True,
    )


def look(asked: Host, arches: Sequence[str] = tuple(ARCHES)) -> MappingProxyType[str, Check]:
    found = doctor.checks(arches, cache_root=Path("/cache"), host=asked)
    return MappingProxyType({check.name: check for check in found})


def without(asked: Host, *missing: str) -> Host:
    """The same host without some packages and programs."""
    return dataclasses.replace(
        asked,
        installed=lambda packages: frozenset(packages) - frozenset(missing),
        which=lambda name: None if name in missing else f"/usr/bin/{name}",
    )


def test_a_healthy_host_has_no_problem(healthy: Host) -> None:
    checks = look(healthy)
    assert {check.status for check in checks.values()} == {Status.OK}
    assert not [check for check in checks.values() if check.fix]


def test_a_missing_package_comes_with_the_command_that_installs_it(healthy: Host) -> None:
    check = look(without(healthy, "flex"))["packages"]
    assert not check.ok
    assert check.fix == "sudo apt-get install --no-install-recommends flex"
    assert check.line() == f"fail packages: missing: flex\n     fix: {check.fix}"


def test_root_needs_no_sudo(healthy: Host) -> None:
    asked = dataclasses.replace(without(healthy, "flex"), uid=0)
    assert look(asked)["packages"].fix.startswith("apt-get ")


def test_a_missing_emulator_or_compiler_names_its_package(healthy: Host) -> None:
    for name, arch in ARCHES.items():
        checks = look(without(healthy, arch.qemu, f"{arch.cross}gcc"))
        for what in ("compiler", "emulator"):
            check = checks[f"{name} {what}"]
            assert check.status is Status.FAIL
            assert set(healthy.packages_of(arch)) < set(check.fix.split())


@pytest.mark.parametrize(
    ("release", "fix"),
    [
        ('ID=debian\nVERSION_ID="12"\n', "none on Debian 12: Debian 13 is the first with packages for it"),
        ('ID=debian\nVERSION_ID="13"\n', "gcc-loongarch64-linux-gnu"),
        ("ID=debian\nVERSION_CODENAME=sid\n", "gcc-loongarch64-linux-gnu"),
        ('ID=other\nVERSION_ID="12"\n', "gcc-loongarch64-linux-gnu"),
    ],
)
def test_an_architecture_that_came_with_a_later_debian(healthy: Host, release: str, fix: str) -> None:
    (healthy.root / "etc/os-release").write_text(release)
    arch = ARCHES["loongarch64"]
    without_it = without(healthy, arch.qemu)
    assert fix in look(without_it)["loongarch64 emulator"].fix
    assert fix in doctor.lacking(arch, without_it)


@pytest.mark.parametrize(
    ("version", "said", "old"),
    [("7.2.22", ", QEMU 7.2.22; no snapshots: ", True), ("10.0.13", ", QEMU 10.0.13; no restored guests: ", False),
     ("", "; no snapshots: ", True)],
)  # fmt: skip
def test_an_emulator_s_limits_are_those_of_its_version(healthy: Host, version: str, said: str, old: bool) -> None:
    check = look(dataclasses.replace(healthy, qemu_version=lambda _: version))["alpha emulator"]
    assert check.status is Status.OK
    assert check.detail.startswith(f"/usr/bin/qemu-system-alpha{said}")
    assert ("dies while it is being saved (seen with QEMU 7.2)" in check.detail) is old


def test_the_host_s_own_architecture_needs_no_cross_compiler(healthy: Host) -> None:
    native, foreign = ARCHES["x86_64"], ARCHES["arm64"]
    assert healthy.packages_of(native) == native.native_packages
    assert healthy.packages_of(foreign) == foreign.packages
    other = dataclasses.replace(healthy, machine="riscv64")
    assert other.packages_of(native) == native.packages


def test_only_the_architectures_that_are_wanted_are_looked_at(healthy: Host) -> None:
    assert "arm64 emulator" not in look(healthy, ["x86_64"])


def test_no_debian(healthy: Host) -> None:
    checks = look(dataclasses.replace(healthy, installed=lambda _: None))
    assert checks["packages"].status is Status.WARN
    assert "no dpkg" in checks["packages"].detail


@pytest.mark.parametrize(
    ("change", "name", "status", "words"),
    [
        ({"python": (3, 9, 2)}, "python", Status.FAIL, "3.9.2 is older than 3.11"),
        ({"has_module": lambda name: name != "paramiko"}, "libraries", Status.FAIL, "missing: paramiko"),
        ({"free": lambda _: 5 * GIB}, "disk", Status.WARN, "5 GiB free"),
        ({"free": lambda _: 1 * GIB}, "disk", Status.FAIL, "need 8G"),
        ({"free": lambda _: 0}, "/tmp", Status.FAIL, "not writable"),
        ({"uid": 0, "has_user": lambda _: False}, "libvirt user", Status.FAIL, "no user libvirt-qemu"),
        ({"accessible": lambda path, _: path.name != "kvm"}, "kvm", Status.WARN, "no permission"),
        ({"which": lambda name: None if name == "ccache" else name}, "ccache", Status.WARN, "compiled again"),
        ({"which": lambda name: None if name == "bc" else name}, "programs", Status.FAIL, "missing: bc"),
    ],
)
def test_a_problem(healthy: Host, change: dict[str, object], name: str, status: Status, words: str) -> None:
    check = look(dataclasses.replace(healthy, **change))[name]  # type: ignore[arg-type]
    assert check.status is status
    assert words in check.detail
    assert check.fix


@pytest.mark.parametrize(
    ("path", "name", "status"),
    [
        (DRIVER, "libvirt", Status.FAIL),
        ("usr/include/gelf.h", "headers", Status.FAIL),
        ("dev/kvm", "kvm", Status.WARN),
        ("etc/apt/sources.list.d/debian.sources", "apt sources", Status.FAIL),
        ("proc/meminfo", "memory", Status.FAIL),
    ],
)
def test_a_missing_file(healthy: Host, path: str, name: str, status: Status) -> None:
    (healthy.root / path).unlink()
    assert look(healthy)[name].status is status


def test_little_memory(healthy: Host) -> None:
    (healthy.root / "proc/meminfo").write_text(f"MemTotal: {3 * GIB // 1024} kB\n")
    assert look(healthy)["memory"].status is Status.WARN


def test_sources_that_are_commented_out_are_none(healthy: Host) -> None:
    (healthy.root / "etc/apt/sources.list.d/debian.sources").write_text("#Types: deb\n")
    assert not look(healthy)["apt sources"].ok
    (healthy.root / "etc/apt/sources.list").write_text("deb http://mirror.example/debian bookworm main\n")
    assert look(healthy)["apt sources"].ok


def test_the_missing_packages_of_architectures(healthy: Host) -> None:
    arm = ARCHES["arm64"]
    assert doctor.missing_packages(["arm64"], healthy) == []
    assert doctor.missing_packages(["arm64"], without(healthy, arm.packages[0], "bc")) == ["bc", arm.packages[0]]


def test_a_campaign_s_packages_are_those_of_its_architectures(healthy: Host) -> None:
    wanted = doctor.arch_packages(["quick"], healthy)
    assert set(wanted) <= ALL_PACKAGES
    assert set(ARCHES["arm64"].packages) <= set(wanted)
    with pytest.raises(UsageError, match="unknown campaign"):
        doctor.arch_packages(["nonsense"], healthy)


def test_installing_nothing_runs_nothing(healthy: Host) -> None:
    assert doctor.install(["arm64"], healthy) == 0


def test_installing_without_root_or_sudo_says_what_to_type(healthy: Host) -> None:
    with pytest.raises(UsageError, match=r"run: sudo apt-get install --no-install-recommends bc"):
        doctor.install([], without(healthy, "bc", "sudo"))


def test_the_list_of_packages_is_a_list_of_packages() -> None:
    assert all(name.replace("-", "").replace("+", "").isalnum() for name in doctor.base_packages())
    assert len(set(doctor.base_packages())) == len(doctor.base_packages()) > 10
