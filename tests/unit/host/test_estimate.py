# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/host/estimate.py: what guests need of this host, what does not fit, what builds and all of it will take."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from lab.build import kernel
from lab.build.kernel import Past
from lab.core import qemu_version
from lab.core.cache import Cache
from lab.core.errors import InfraError
from lab.core.sizes import MIB
from lab.host import doctor, emulator
from lab.host.estimate import GUEST_OVERHEAD, Packing, here, ordered, packing
from lab.host.history import History, Measured
from lab.host.schedule import Budget, Schedule
from lab.specs.model import CampaignSpec, Kernel, Topology
from lab.specs.plan import Plan, Selection, plan

SPEC = CampaignSpec(name="c", topologies=("*",), kernels=("*",))
BUDGET = Budget(memory=2048 * MIB, cpus=2.0, guests=8)
PACKING = Packing(budget=BUDGET, history=History())


def machine(name: str, memory: int, arch: str = "x86_64") -> Topology:
    return Topology(name=name, arch=arch, page_size=4096, memory=memory * MIB)


def planned(*machines: Topology, named: tuple[str, ...] = ()) -> Plan:
    kernels = [Kernel(name="plain", source="tarball:x"), Kernel(name="fixed", source="tarball:x", series="s")]
    return plan(SPEC, machines, kernels, [Selection(scenario="expand")], named=named)


@pytest.fixture(autouse=True)
def everything_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "lacking", lambda *_: "")


def known(**facts: float) -> Packing:
    return replace(PACKING, history=History(machines={"pc": Measured.model_validate(facts)}))


def test_a_guest_needs_its_memory_and_the_emulator_s() -> None:
    (cell, _) = planned(machine("pc", 512)).cells
    assert PACKING.demand(cell).memory == 512 * MIB + GUEST_OVERHEAD
    assert known(peak=300 * MIB).demand(cell).memory == 512 * MIB + GUEST_OVERHEAD, "it may touch all of it next time"
    assert known(peak=900 * MIB).demand(cell).memory == 900 * MIB


def test_a_guest_needs_the_cpu_that_it_was_seen_to_need_in_halves() -> None:
    (cell, _) = planned(machine("pc", 512)).cells
    assert PACKING.demand(cell).cpus == 1.0
    assert known(cpus=1.1).demand(cell).cpus == 1.0
    assert known(cpus=1.4).demand(cell).cpus == 1.5
    assert known(cpus=0.1).demand(cell).cpus == 0.5
    assert replace(known(cpus=1.4), counted=True).demand(cell).cpus == 0.0, "with -j guests are counted"


def test_what_the_user_says_overrides_what_there_is(tmp_path: Path) -> None:
    given = packing(Cache(tmp_path), jobs=3, memory=5 * MIB)
    assert (given.budget.guests, given.budget.memory, given.counted) == (3, 5 * MIB, True)
    own = packing(Cache(tmp_path))
    assert own.budget.memory > 0
    assert not own.counted


def test_guests_beside_a_build_share_one_budget() -> None:
    cell = planned(machine("m", 512)).cells[0]
    room = PACKING.demand(cell).memory
    build = PACKING.build("build", cell.build).demand.memory

    def at_once(memory: int, guests: int = 8) -> int:
        budget = replace(BUDGET, memory=memory, cpus=64.0, guests=guests)
        return replace(PACKING, budget=budget).at_once(cell, 8)

    assert at_once(build + 3 * room) == 3
    assert at_once(build + 3 * room, guests=2) == 2
    assert at_once(build + 100 * room) == 8
    assert at_once(room) == 1


def test_a_machine_that_never_fits_is_refused_beforehand() -> None:
    small, large = machine("pc", 512), machine("big", 4096)
    left = here(planned(small, large), PACKING)
    assert {cell.topology.name for cell in left.cells} == {"pc"}
    assert left.skipped[-1].what == "big"
    assert left.skipped[-1].reason == "needs 4352 MiB of memory, there are 2048 MiB (--memory)"
    with pytest.raises(InfraError, match=r"^big: needs 4352 MiB"):
        here(planned(small, large, named=("big",)), PACKING)


def test_a_missing_tool_chain_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    nothing = doctor.Host(which=lambda _name: None, machine="x86_64", uid=0)
    said = doctor.lacking(machine("arm", 512, "arm64").architecture, nothing)
    assert said.startswith("no aarch64-linux-gnu-gcc, no qemu-system-aarch64 (apt-get install")
    assert "gcc-aarch64-linux-gnu" in said
    assert (
        doctor.lacking(machine("arm", 512, "arm64").architecture, replace(nothing, which=lambda name: f"/bin/{name}"))
        == ""
    )


@pytest.mark.parametrize(
    ("needed", "installed", "why"),
    [
        ("8.2", "7.2.22 (Debian 1:7.2)", "it needs QEMU 8.2, qemu-system-x86_64 is 7.2.22 (Debian 1:7.2)"),
        ("10.0", "9.2.1", "it needs QEMU 10.0, qemu-system-x86_64 is 9.2.1"),
        ("8.2", "", "it needs QEMU 8.2, qemu-system-x86_64 is of an unknown release"),
        ("8.2", "8.2.0", ""),
        ("8.2", "10.0.13", ""),
        (None, "7.2.22", ""),
    ],
)
def test_a_machine_that_needs_a_later_emulator(
    needed: str | None, installed: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qemu_version, "installed", lambda _program: installed)
    wanted = machine("pc", 512).model_copy(update={"qemu": needed})
    assert doctor.lacking_for(wanted) == why
    if why:
        with pytest.raises(InfraError, match=f"^pc: {re.escape(why)}"):
            here(planned(wanted, named=("pc",)), PACKING)


def host(version: str, *, starts: str = "x86_64") -> emulator.HostOffers:
    return emulator.HostOffers(words=frozenset({f"start {starts}"}), emulators={starts: version})


OLD = "it needs QEMU 8.2; no host of the cluster has qemu-system-x86_64 of that release"


@pytest.mark.parametrize(
    ("hosts", "needed", "reason"),
    [
        ([], "8.2", "no host of the cluster has qemu-system-x86_64"),
        ([host("10.0.13", starts="arm64")], "8.2", "no host of the cluster has qemu-system-x86_64"),
        ([host("8.1.3")], "8.2", OLD),
        ([host("8.1.3"), host("10.0.13", starts="arm64")], "8.2", OLD),
        ([host("")], "8.2", OLD),
        ([host("8.2.0")], "8.2", ""),
        ([host("10.0.13")], "8.2", ""),
        ([host("7.2.22"), host("10.0.13")], "8.2", ""),
        ([host("10.0.13")], "8.9", ""),
        ([host("7.2.22")], "4.2", ""),
        ([host("30.1.0")], "10.10", ""),
    ],
)
def test_a_later_emulator_is_asked_of_the_hosts_of_a_cluster(
    hosts: list[emulator.HostOffers], needed: str, reason: str
) -> None:
    wanted = planned(machine("pc", 512).model_copy(update={"qemu": needed}))
    packed = replace(PACKING, hosts_offer=hosts)
    assert [skipped.reason for skipped in here(wanted, packed).skipped] == [reason] * bool(reason)
    schedule = Schedule()
    for number, offers in enumerate(hosts):
        schedule.join(f"host {number}", BUDGET, offers)
    for cell in wanted.cells:
        schedule.add(packed.task(cell))
    assert bool(schedule.homeless()) is bool(reason)


def test_what_is_built_comes_first_and_what_is_not_takes_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = planned(machine("pc", 512), machine("arm", 512, "arm64"))
    monkeypatch.setattr(kernel, "is_built", lambda _kernel, topology, *, cache: topology.arch == "arm64")
    past = (Past(arch="x86_64", full=True, seconds=100.0), Past(arch="arm64", full=False, seconds=20.0))
    monkeypatch.setattr(kernel, "past_builds", lambda _cache: past)
    best, seen = ordered(made, PACKING, Cache(tmp_path))
    assert [cell.topology.name for cell in best.cells] == ["arm", "arm", "pc", "pc"]
    assert {build.arch for build in seen.built} == {"arm64"}
    assert sorted(seen.build_s.values()) == [20.0, 100.0], "the other architecture's where there is no own"
    assert seen.total_s > 120
    assert seen.jobs == 2
    assert seen.guessed == 4


def test_past_builds_are_read_from_the_cache(tmp_path: Path) -> None:
    assert kernel.past_builds(Cache(tmp_path)) == ()
    entry = tmp_path / "kernel/0123"
    entry.mkdir(parents=True)
    (entry / "build.json").write_text('{"arch": "alpha", "full_build": true, "build_s": 50.0}')
    assert kernel.past_builds(Cache(tmp_path)) == (Past(arch="alpha", full=True, seconds=50.0),)


@pytest.mark.parametrize("torn", ['{"full_build": tr', "[]", "{}", '{"full_build": true, "build_s": "long"}'])
def test_a_past_build_whose_facts_are_damaged_is_left_out(tmp_path: Path, torn: str) -> None:
    entry = tmp_path / "kernel" / "torn"
    entry.mkdir(parents=True)
    (entry / "build.json").write_text(torn)
    assert kernel.past_builds(Cache(tmp_path)) == ()
