# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/specs/model.py: sizes, CPU lists, and what makes a machine possible. Wrong files are in tests/golden/load."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lab.core.sizes import MIB
from lab.specs.arches import ARCHES
from lab.specs.model import Kernel, NumaCell, Topology, format_cpus, format_size, parse_cpus, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("64K", 65536), ("64k", 65536), ("64KiB", 65536), ("512 M", 512 * MIB), ("1G", 1 << 30), ("0", 0), (4096, 4096)],
)
def test_sizes(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "K", "1.5G", "-1M", "1Q", "1 0", None, True, [], 1.0, "9" * 5000])
def test_no_sizes(text: object) -> None:
    with pytest.raises(ValueError, match="expected a size") as caught:
        parse_size(text)
    assert len(str(caught.value)) < 150


@given(st.integers(min_value=0, max_value=1 << 44))
def test_sizes_survive_being_printed(size: int) -> None:
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("0", (0,)), (3, (3,)), ("0-2", (0, 1, 2)), ("4,0-1", (0, 1, 4)), ("", ()), ("1-1", (1,)), ([0, 2], (0, 2))],
)
def test_cpus(text: object, cpus: tuple[int, ...]) -> None:
    assert parse_cpus(text) == cpus


@pytest.mark.parametrize("text", ["a", "1-", "-1", "2-1", "0-99999", "1,1", "0-2,1", None, [0, "x"], [True], True, 1.5])
def test_no_cpus(text: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_cpus(text)


@given(st.sets(st.integers(min_value=0, max_value=200)))
def test_cpus_survive_being_printed(cpus: set[int]) -> None:
    text = format_cpus(cpus)
    assert text == "none" if not cpus else parse_cpus(text) == tuple(sorted(cpus))


def test_a_model_is_frozen_and_reads_its_own_dump() -> None:
    topology = Topology(
        name="x", arch="arm64", page_size=65536, numa=(NumaCell(cpus=(0,), memory=512 * MIB),), hugepages={2 * MIB: 4}
    )
    with pytest.raises(ValidationError, match="frozen"):
        topology.name = "y"
    assert Topology.model_validate(topology.model_dump(mode="python")) == topology
    assert Topology.model_validate(topology.model_dump(mode="json")) == topology


def test_a_memory_only_node() -> None:
    cells = ({"cpus": "0-1", "memory": "512M"}, {"memory": "512M"})
    topology = Topology.model_validate({"name": "x", "arch": "x86_64", "page_size": "4K", "vcpus": 2, "numa": cells})
    assert topology.numa[1].cpus == ()
    assert topology.total_memory == 1 << 30


def topology(**keys: object) -> Topology:
    return Topology.model_validate({"name": "x", "arch": "x86_64", "page_size": "4K", **keys})


def test_a_cpu_only_node() -> None:
    made = topology(vcpus=4, numa=[{"cpus": "0-1", "memory": "512M"}, {"cpus": "2-3"}])
    assert made.node_memory == (512 * MIB, 0)
    assert made.cpu_only == (1,)
    assert made.initiators == (0, 1)
    assert made.total_memory == 512 * MIB


def test_hugepages_of_nodes_add_up() -> None:
    cells = [{"cpus": "0", "memory": "256M", "hugepages": {"2M": 3}}, {"memory": "256M", "hugepages": {"2M": 4}}]
    assert topology(numa=cells).reserved_hugepages == {2 * MIB: 7}


@pytest.mark.parametrize("value", [8.2, 10, "8", "8.2.1", ">=8.2", "", "latest"])
def test_no_release_of_the_emulator(value: object) -> None:
    with pytest.raises(ValidationError, match=r'expected a release of QEMU in quotes, such as "8\.2", got'):
        Topology.model_validate({"name": "x", "arch": "x86_64", "page_size": "4K", "memory": "1G", "qemu": value})


@pytest.mark.parametrize(
    ("read", "write", "nearest"), [((20, 10), (20, 30), 1), ((20, 30), (9, 30), 0), ((20, 30), (19, 19), 0)]
)
def test_the_nearest_cpus_to_a_node_of_memory(read: tuple[int, int], write: tuple[int, int], nearest: int) -> None:
    """The least of all latencies, the first of equals: as libvirt picks a node's initiator."""

    def matrix(far: tuple[int, int]) -> list[list[int]]:
        return [[1, 5, far[0]], [5, 1, far[1]]]

    fast = [[9, 2, 1], [2, 9, 1]]
    made = topology(
        vcpus=2,
        numa=[{"cpus": "0", "memory": "256M"}, {"cpus": "1", "memory": "256M"}, {"memory": "256M"}],
        hmat={
            "read_latency": matrix(read),
            "write_latency": matrix(write),
            "read_bandwidth": fast,
            "write_bandwidth": fast,
        },
    )
    assert [made.nearest_initiator(node) for node in range(3)] == [0, 1, nearest]


def test_a_sparse_machine_needs_little_of_the_host() -> None:
    huge = Topology.model_validate({"name": "x", "arch": "arm64", "page_size": "64K", "memory": "1T", "sparse": True})
    assert huge.total_memory == 1 << 40
    assert 1 << 30 < huge.footprint < 4 << 30
    assert topology(memory="512M").footprint == 512 * MIB


@pytest.mark.parametrize("word", ["arm64", "aarch64"])
def test_an_architecture_has_many_names(word: str) -> None:
    topology = Topology.model_validate({"name": "x", "arch": word, "page_size": "4K", "memory": "512M"})
    assert topology.arch == "arm64"


@pytest.mark.parametrize("arch", ARCHES)
def test_every_page_size_of_every_architecture_makes_a_machine(arch: str) -> None:
    record = ARCHES[arch]
    for page_size in record.page_sizes:
        topology = Topology(name="x", arch=arch, page_size=page_size, memory=max(record.min_memory, 512 * MIB))
        assert topology.fragments[:2] == ("base", record.config_fragment)


def test_a_kernel_without_series_is_a_baseline() -> None:
    assert Kernel(name="x", source="path:/src/linux").baseline
    assert not Kernel(name="x", source="path:/src/linux", series="fix").baseline


def test_features_are_written_in_one_order() -> None:
    """Sets have another order in every process, and what a run recorded is compared when it is resumed."""
    words = ("shm-expand", "expand-enomem", "dontexpand-dup", "another")
    kernel = Kernel(name="k", source="path:/srv/linux", series="s", provides=frozenset(words))
    assert kernel.model_dump(mode="json")["provides"] == sorted(words)
    assert Kernel.model_validate(kernel.model_dump(mode="json")) == kernel


@pytest.mark.parametrize(
    ("arch", "page_size", "bits", "fragment", "arguments"),
    [
        ("x86_64", "4K", 48, "", ("no5lvl",)),
        ("x86_64", "4K", 57, "", ()),
        ("riscv64", "4K", 48, "", ("no5lvl",)),
        ("arm64", "4K", 39, "arm64-va39", ()),
        ("arm64", "64K", 42, "arm64-va42", ()),
        ("arm64", "64K", 52, "arm64-va52", ()),
        ("arm64", "16K", 48, "", ()),
    ],
)
def test_bits_of_an_address_choose_the_mode(
    arch: str, page_size: str, bits: int, fragment: str, arguments: tuple[str, ...]
) -> None:
    machine = Topology.model_validate(
        {"name": "x", "arch": arch, "page_size": page_size, "memory": "512M", "address_bits": bits}
    )
    assert (machine.mode.fragment, machine.mode.cmdline) == (fragment, arguments)
    assert not fragment or fragment in machine.fragments


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"arch": "arm64", "page_size": "64K", "address_bits": 39}, "arm64 with 64K pages has 42, 48, 52, not 39"),
        ({"arch": "s390x", "page_size": "4K", "address_bits": 53}, "s390x with 4K pages has no choice, not 53"),
        ({"arch": "x86_64", "page_size": "4K", "mmu": "4level", "address_bits": 57}, "mmu 4level has 48, not 57"),
        ({"arch": "arm64", "page_size": "64K", "mmu": "va39"}, "mmu: arm64 with 64K pages has no va39"),
        ({"arch": "x86_64", "page_size": "4K", "address_bits": "57"}, "Input should be a valid integer"),
    ],
)
def test_bits_of_an_address_that_cannot_be(keys: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Topology.model_validate({"name": "x", "memory": "512M", **keys})


@pytest.mark.parametrize(
    ("cells", "order"),
    [
        ([{"cpus": "2-3", "memory": "512M"}, {"cpus": "0-1", "memory": "512M"}], "1, 0"),
        ([{"memory": "512M"}, {"cpus": "0-3", "memory": "512M"}], "1, 0"),
        ([{"cpus": "0-1", "memory": "512M"}, {"memory": "512M"}, {"cpus": "2-3", "memory": "512M"}], "0, 2, 1"),
        ([{"cpus": "0,3", "memory": "512M"}, {"cpus": "1-2", "memory": "512M"}, {"memory": "512M"}], ""),
        ([{"cpus": "0-1"}, {"cpus": "2-3", "memory": "512M"}], ""),
    ],
)
def test_nodes_are_in_the_order_in_which_the_kernel_numbers_them(cells: list[dict[str, str]], order: str) -> None:
    Topology.model_validate({"name": "n", "arch": "arm64", "page_size": "4K", "vcpus": 4, "numa": cells})
    machine = {"name": "n", "arch": "x86_64", "page_size": "4K", "vcpus": 4, "numa": cells}
    if order:
        with pytest.raises(ValueError, match=rf"numbers nodes by their first CPU.* in the order {order}"):
            Topology.model_validate(machine)
    else:
        Topology.model_validate(machine)
