# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines that people describe: read, shrunk, and what could not be kept is told."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.core.errors import LabError, UsageError
from lab.core.sizes import MIB
from lab.host.doctor import CAPTURE_SCRIPT, description
from lab.specs import load
from lab.specs.arches import ARCHES
from lab.specs.model import Topology
from lab.workflows.machine import capture
from lab.workflows.machine.capture import DescribedMachine, DescribedNode
from lab.workflows.machine.shrink import Room, shrink

GOLDEN = Path(__file__).parents[2] / "golden" / "capture"
PASTED = sorted(path for path in (GOLDEN / "pasted").iterdir() if path.suffix != ".golden")
MACHINES = {
    path.stem: sorted(path.iterdir()) if path.is_dir() else [path]
    for path in GOLDEN.glob("*[!l]")
    if path.name != "pasted"
}


def texts(name: str) -> list[str]:
    return [path.read_text() for path in MACHINES[name]]


@pytest.mark.parametrize("name", sorted(MACHINES))
def test_a_described_machine_gives_its_topology(name: str, tmp_path: Path) -> None:
    text = shrink(capture.machine(texts(name)), Room()).yaml()
    assert text == (GOLDEN / f"{name}.yaml").read_text()
    file = tmp_path / f"{name}.yaml"
    file.write_text(text)
    assert load.read(file).build(Topology).name == name


def pasted_result(path: Path) -> str:
    """What `lab capture` prints for a pasted text: the table, then the topology, or why there is none."""
    reading = capture.read([(path.name, path.read_text())])
    lines = list(reading.lines())
    try:
        made = shrink(reading.check(), Room())
    except UsageError as error:
        return "\n".join([*lines, f"refused: {error}"]) + "\n"
    topology = made.topology("pasted")
    assert len(topology.node_memory) <= 64
    return "\n".join(lines) + "\n" + made.yaml(reading.guesses())


@pytest.mark.parametrize("path", PASTED, ids=lambda path: path.stem)
def test_a_pasted_text_is_read_as_its_golden_file_says(path: Path) -> None:
    assert pasted_result(path) == path.with_suffix(".golden").read_text()


@pytest.mark.parametrize("line", ["memory " + " " * 60_000 + "x", "OS: " + "x86_64 " * 9000, "CPU: " + "(R)" * 20_000])
def test_a_long_line_is_read_in_a_moment(line: str) -> None:
    assert capture.read([("line", line)]).machine.nodes == {}


def test_the_documented_example_is_what_is_printed() -> None:
    readme = (GOLDEN.parents[2] / "topologies/README.md").read_text()
    printed = (GOLDEN / "pasted/cxl-memory-first.golden").read_text().splitlines()
    printed.remove("# SPDX-License-Identifier: GPL-2.0-or-later")
    assert "".join(f"    {line}\n" for line in printed) in readme


def test_four_nodes_of_x86_from_pasted_pieces() -> None:
    machine = capture.machine(texts("xeon-4node"))
    assert (machine.arch, machine.page_size, machine.cpus, machine.threads) == ("x86_64", 4096, 160, 2)
    assert machine.nodes[2].cpus == (*range(40, 60), *range(120, 140))
    assert machine.nodes[0].memory == 385575 * MIB
    assert machine.nodes[0].distance == (10, 21, 31, 21)
    assert machine.hugepages == {1 << 30: 64}
    assert "numa_balancing=disable" in machine.cmdline


def test_arm64_with_64k_pages_from_the_script() -> None:
    machine = capture.machine(texts("altra-64k"))
    assert (machine.arch, machine.page_size) == ("aarch64", 65536)
    assert machine.nodes[0].hugepages == {2 * MIB: 512, 512 * MIB: 16}
    assert (machine.thp, machine.shmem_thp) == ("always", "advise")


def test_power9_with_memory_of_gpus_from_a_mail() -> None:
    machine = capture.machine(texts("power9"))
    assert list(machine.nodes) == [0, 8, 252, 253, 254, 255]
    assert machine.nodes[252] == DescribedNode(memory=16128 * MIB, distance=(80, 80, 10, 80, 80, 80))
    assert machine.facts["MMU"] == "Radix"
    made = shrink(machine, Room())
    topology = made.topology("power9")
    assert [bool(cell.cpus) for cell in topology.numa] == [True, True, False, False, False, False]
    assert topology.distances[0] == (10, 40, 80, 80, 80, 80)
    assert any("0, 8, 252, 253, 254, 255 there, 0-5 here" in line for line in made.lost)


def test_this_host_describes_itself() -> None:
    made = shrink(capture.machine([description()]), Room(memory=1 << 30, cpus=2))
    assert made.topology("here").vcpus <= 2
    assert not [line for line in made.lost if "the description does not say" in line]


def test_the_script_needs_nothing_but_a_shell(tmp_path: Path) -> None:
    """Where neither lscpu nor numactl is, /proc and /sys tell enough."""
    for name in ("cat", "grep", "sort", "head", "uname", "getconf"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    done = subprocess.run(
        ["/bin/sh", CAPTURE_SCRIPT], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=True, timeout=60
    )
    assert not done.stderr
    assert capture.machine([done.stdout]).page_size


def test_memory_that_is_too_little_for_thp_is_told() -> None:
    machine = DescribedMachine(arch="x86_64", page_size=4096, cpus=1, memory=512 * MIB, thp="always")
    made = shrink(machine, Room(memory=512 * MIB))
    assert "thp" not in made.data
    assert any(line.startswith("thp: always there; off here") for line in made.lost)


def test_nodes_that_cannot_be_had_are_told() -> None:
    nodes = {
        0: DescribedNode(cpus=(0,), memory=1 << 30),
        1: DescribedNode(cpus=(1,), memory=1 << 30),
        2: DescribedNode(),
    }
    made = shrink(DescribedMachine(arch="riscv64", page_size=4096, cpus=2, nodes=nodes), Room())
    assert len(made.topology("x").numa) == 2
    assert "node 2: left out, it has neither CPUs nor memory" in made.lost
    one = shrink(DescribedMachine(arch="s390x", page_size=4096, cpus=2, nodes=nodes), Room())
    assert one.topology("x").numa == ()
    assert any(line.startswith("nodes: 2 there, one here: QEMU refuses") for line in one.lost)


def test_nodes_without_any_cpu_get_one() -> None:
    nodes = {0: DescribedNode(memory=1 << 30), 1: DescribedNode(memory=1 << 30)}
    made = shrink(DescribedMachine(arch="x86_64", page_size=4096, nodes=nodes), Room())
    assert made.topology("x").node_cpus == ((0,), ())
    assert any("does not say where they are" in line for line in made.lost)


def test_a_node_of_cpus_alone_stays_where_it_can() -> None:
    nodes = {
        0: DescribedNode(cpus=(0, 1), memory=1 << 30, distance=(10, 20)),
        1: DescribedNode(cpus=(2, 3), distance=(20, 10)),
    }
    machine = DescribedMachine(arch="x86_64", page_size=4096, cpus=4, nodes=nodes)
    assert shrink(machine, Room()).topology("x").cpu_only == (1,)


@pytest.mark.parametrize("text", ["", "hello\n", "node zero is large\n"])
def test_a_text_without_a_machine_is_none_although_the_architecture_is_stated(text: str) -> None:
    reading = capture.read([("pasted", text)], capture.Choices(arch="x86_64"))
    with pytest.raises(UsageError, match="nothing in the text describes a machine"):
        reading.check()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "does not say the architecture"),
        ('{"lscpu": [{"field": "Architecture:"', "cut off or damaged"),
        ("== uname -m\nvax\n", "unknown arch 'vax'"),
        ("== uname -m\nx86_64\nnode 0 cpus: 0-0-0\n", "is no CPU number"),
    ],
)
def test_a_description_that_says_nothing_is_one_line(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        shrink(capture.machine([text]), Room())
    assert "\n" not in str(caught.value)


@given(st.text(max_size=400))
def test_no_text_does_harm(text: str) -> None:
    with contextlib.suppress(LabError):
        capture.machine(["== uname -m\nx86_64\n", text])


nodes = st.builds(
    DescribedNode,
    cpus=st.integers(0, 80).map(lambda count: tuple(range(count))),
    memory=st.one_of(st.just(0), st.integers(1 << 20, 1 << 42)),
    hugepages=st.dictionaries(st.sampled_from([2 * MIB, 512 * MIB, 1 << 30, 1 << 34]), st.integers(0, 10_000)),
)


@given(
    arch=st.sampled_from(sorted({arch.uname for arch in ARCHES.values()})),
    page_size=st.sampled_from([None, 4096, 16384, 65536]),
    nodes=st.dictionaries(st.integers(0, 300), nodes, max_size=70),
    memory=st.integers(0, 1 << 44),
    room=st.builds(Room, memory=st.integers(512 * MIB, 1 << 34), cpus=st.integers(1, 64)),
    thp=st.sampled_from([None, "always", "madvise", "never"]),
)
def test_every_machine_gives_a_topology_that_can_be(
    arch: str, page_size: int | None, nodes: dict[int, DescribedNode], memory: int, room: Room, thp: str | None
) -> None:
    machine = DescribedMachine(
        arch=arch, page_size=page_size, cpus=4, memory=memory, nodes=dict(sorted(nodes.items())), thp=thp
    )
    topology = shrink(machine, room).topology("any")
    assert topology.vcpus <= (room.cpus or 64)


def test_a_stated_architecture_and_page_size_fill_what_is_missing() -> None:
    text = "available: 1 nodes (0)\nnode 0 cpus: 0 1\nnode 0 size: 4000 MB\n"
    choices = capture.Choices(arch="arm64", page_size=65536)
    machine = capture.read([("numactl.txt", text)], choices).check()
    assert (shrink(machine, Room()).topology("x").arch, machine.page_size) == ("arm64", 65536)


def test_one_of_two_machines_can_be_chosen() -> None:
    text = (GOLDEN / "pasted/host-and-guest.txt").read_text()
    second = capture.read([("mail", text)], capture.Choices(machine=2)).check()
    assert (second.cpus, list(second.nodes)) == (8, [0])
    with pytest.raises(UsageError, match="expected a number from 1 to 2, got 3"):
        capture.read([("mail", text)], capture.Choices(machine=3))


def test_a_part_can_be_taken_for_the_whole() -> None:
    text = (GOLDEN / "pasted/cut-json.txt").read_text()
    reading = capture.read([("mail", text)], capture.Choices(partial=True))
    assert list(reading.check().nodes) == [0]
    assert any("--partial" in note for note in reading.notes)


def test_files_that_contradict_each_other_are_two_machines() -> None:
    texts = [("a", "Architecture: x86_64\nNUMA node0 CPU(s): 0-3\n"), ("b", "node 0 cpus: 0 1\nnode 0 size: 100 MB\n")]
    with pytest.raises(UsageError, match="2 machines"):
        capture.read(texts).check()


def test_linux_on_x86_numbers_nodes_with_cpus_first() -> None:
    nodes = {
        0: DescribedNode(memory=1 << 30, distance=(10, 14)),
        1: DescribedNode(cpus=(0,), memory=1 << 30, distance=(17, 10)),
    }
    machine = DescribedMachine(arch="x86_64", page_size=4096, cpus=1, nodes=nodes)
    topology = shrink(machine, Room()).topology("x")
    assert [cell.cpus for cell in topology.numa] == [(0,), ()]
    assert topology.distances == ((10, 17), (14, 10))
    arm = shrink(DescribedMachine(arch="aarch64", page_size=4096, cpus=1, nodes=nodes), Room()).topology("x")
    assert [cell.cpus for cell in arm.numa] == [(), (0,)]


@pytest.mark.parametrize("count", [9, 16, 34, 64])
def test_many_nodes_fit(count: int) -> None:
    nodes = {number: DescribedNode(cpus=(number,), memory=8 << 30) for number in range(count)}
    topology = shrink(DescribedMachine(arch="x86_64", page_size=4096, cpus=count, nodes=nodes), Room()).topology("x")
    assert len(topology.numa) == count == topology.vcpus
    arm = shrink(DescribedMachine(arch="aarch64", page_size=65536, cpus=count, nodes=nodes), Room()).topology("x")
    assert arm.qemu_args == ("-machine", "gic-version=3")
    assert bool(arm.kernel_config) == (count > 16)
