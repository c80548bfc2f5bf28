# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest against its topology: every fact by itself, and facts that are lies or noise."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.core.sizes import MIB
from lab.formats.elf import build_id
from lab.guests.domain import command_line
from lab.guests.verify import ExpectedMachine, Facts, memory_floor, parse_facts, shadow_of, verify
from lab.specs.model import Hmat, NumaCell, Topology
from tests.unit.fixtures.hmat import matrix, table

ID = "0123456789abcdef0123456789abcdef01234567"


def note(owner: bytes, kind: int, body: bytes, byteorder: str = "little") -> bytes:
    """An ELF note as the kernel has it."""

    def padded(raw: bytes) -> bytes:
        return raw + bytes(-len(raw) % 4)

    head = b"".join(value.to_bytes(4, byteorder) for value in (len(owner), len(body), kind))  # type: ignore[arg-type]
    return head + padded(owner) + padded(body)


NOTES = note(b"Xen\0", 6, b"linux\0") + note(b"GNU\0", 3, bytes.fromhex(ID)) + note(b"Linux\0", 0x100, b"\0\0\0\0")


def node(cpus: str) -> NumaCell:
    return NumaCell.model_validate({"cpus": cpus, "memory": "512M"})


TWO_NODES = Topology(
    name="arm64-64k-2node",
    arch="arm64",
    page_size=65536,
    vcpus=4,
    numa=(node("0-1"), node("2-3")),
    distances=((10, 20), (20, 10)),
    hugepages={2 * MIB: 16},
)
ONE_NODE = Topology(name="plain", arch="x86_64", page_size=4096, vcpus=2, memory=512 * MIB)

GOOD = {
    "machine": "aarch64",
    "release": "6.12.95",
    "notes": NOTES.hex(),
    "page_size": "65536",
    "cpus": "0-3",
    "mem_total": str(1000 * MIB),
    "node.0.cpus": "0-1",
    "node.0.mem_total": str(490 * MIB),
    "node.0.distance": "10 20",
    "node.0.hugepages.2097152": "8",
    "node.1.cpus": "2-3",
    "node.1.mem_total": str(510 * MIB),
    "node.1.distance": "20 10",
    "node.1.hugepages.2097152": "8",
    "hugepages.2097152": "16",
    "hugepages.536870912": "0",
    "cmdline": "console=ttyAMA0 extra panic=-1 hugepages=16",
    "byteorder": "little",
    "uptime": "0.91",
}
PLAIN = {
    **{key: value for key, value in GOOD.items() if not key.startswith(("node.", "hugepages."))},
    "machine": "x86_64",
    "page_size": "4096",
    "cpus": "0-1",
    "mem_total": str(480 * MIB),
    "cpuinfo.flags": "fpu pae nx",
}
ARGUMENTS = ("console=ttyAMA0", "panic=-1")


def text(values: dict[str, str]) -> str:
    return "".join(f"{key}={value}\n" for key, value in values.items())


def wrong(values: dict[str, str], topology: Topology = TWO_NODES, **asked: Any) -> dict[str, tuple[str, str]]:
    """fact -> (asked, got) of every mismatch."""
    wanted = ExpectedMachine(topology=topology, build_id=ID, release="6.12.95", cmdline=ARGUMENTS)
    if asked:
        wanted = ExpectedMachine(
            topology=topology, **{"build_id": ID, "release": "6.12.95", "cmdline": ARGUMENTS, **asked}
        )
    return {found.fact: (found.asked, found.got) for found in verify(wanted, parse_facts(text(values)))}


def test_a_guest_as_it_was_asked_for() -> None:
    assert wrong(GOOD) == {}
    assert wrong(PLAIN, ONE_NODE) == {}


@pytest.mark.parametrize(
    ("fact", "value", "mismatch"),
    [
        ("machine", "x86_64", {"arch": ("aarch64", "x86_64")}),
        ("byteorder", "big", {"byte order": ("little", "big")}),
        ("release", "6.1.0", {"kernel release": ("6.12.95", "6.1.0")}),
        ("page_size", "4096", {"page size": ("64K", "4K")}),
        ("cpus", "0-2", {"CPUs": ("0 1 2 3", "0 1 2")}),
        ("node.0.cpus", "0-2", {"CPUs of node 0": ("0 1", "0 1 2")}),
        ("node.1.cpus", "", {"CPUs of node 1": ("2 3", "none")}),
        ("node.1.distance", "30 10", {"distances of node 1": ("20 10", "30 10")}),
        ("hugepages.2097152", "15", {"hugepages of 2M": ("16", "15"), "hugepages of 2M, sum over nodes": ("15", "16")}),
        ("hugepages.536870912", "1", {"hugepages of 512M": ("0", "1")}),
        ("node.1.hugepages.2097152", "7", {"hugepages of 2M, sum over nodes": ("16", "15")}),
        ("notes", note(b"GNU\0", 3, b"\xaa" * 20).hex(), {"kernel build id": (ID, "aa" * 20)}),
        ("notes", "", {"kernel build id": (ID, "no GNU build id in 0 bytes of notes")}),
    ],
)
def test_one_fact_that_differs(fact: str, value: str, mismatch: dict[str, tuple[str, str]]) -> None:
    assert wrong({**GOOD, fact: value}) == mismatch


def test_cpus_of_nodes_are_the_machines_where_linux_numbers_them_itself() -> None:
    """riscv64 boots on whichever hart is first: here the machine's CPU 2."""
    booted_on_2 = {**GOOD, "harts": "2 0 1 3", "node.0.cpus": "1-2", "node.1.cpus": "0,3"}
    assert wrong(booted_on_2) == {}
    assert wrong({**booted_on_2, "harts": "0 1 2 3"}).keys() == {"CPUs of node 0", "CPUs of node 1"}
    assert wrong({**booted_on_2, "harts": "2 0 1 1"}) == {
        "harts": ("0 1 2 3", "0 1 1 2"),
        "CPUs of node 1": ("2 3", "1 2"),
    }
    assert wrong({**GOOD, "harts": "0 1"}) == {"harts": ("0 1 2 3", "0 1")}


@pytest.mark.parametrize("fact", [key for key in GOOD if key not in ("byteorder", "uptime", "hugepages.536870912")])
def test_a_fact_that_is_missing_is_no_agreement(fact: str) -> None:
    values = {key: value for key, value in GOOD.items() if key != fact}
    assert wrong(values), fact


def test_nothing_at_all() -> None:
    found = wrong({})
    assert found["page size"] == ("64K", "nothing")
    assert found["nodes"] == ("0 1", "none")


@pytest.mark.parametrize(
    ("arch", "mmu", "key", "value", "asked"),
    [
        ("x86_64", "4level", "flags", "fpu nx", None),
        ("x86_64", "4level", "flags", "fpu la57 nx", "no la57"),
        ("x86_64", "4level", "flags", None, "no la57"),
        ("x86_64", "la57", "flags", "fpu la57 nx", None),
        ("x86_64", "la57", "flags", "fpu la57x nx", "la57"),
        ("x86_64", "la57", "flags", None, "la57"),
        ("riscv64", "sv48", "mmu", "sv48", None),
        ("riscv64", "sv48", "mmu", "sv57", "sv48"),
        ("ppc64le", "hash", "MMU", "Hash", None),
        ("ppc64le", "hash", "MMU", "Radix", "Hash"),
        ("ppc64le", "hash", "mmu", "Hash", "Hash"),
        ("arm64", None, "MMU", None, None),
    ],
)
def test_the_mode_of_the_mmu(arch: str, mmu: str | None, key: str, value: str | None, asked: str | None) -> None:
    topology = Topology(name="x", arch=arch, page_size=4096, mmu=mmu, vcpus=2, memory=512 * MIB)
    values = {name: fact for name, fact in PLAIN.items() if not name.startswith("cpuinfo.")}
    values = {**values, "machine": topology.architecture.uname, **({f"cpuinfo.{key}": value} if value else {})}
    found = [words for fact, words in wrong(values, topology).items() if fact.startswith("MMU")]
    assert [words[0] for words in found] == ([asked] if asked else [])


@pytest.mark.parametrize(
    ("arch", "asked", "measured", "fits"),
    [
        ("x86_64", 48, "47", True),
        ("x86_64", 48, "56", False),
        ("x86_64", 57, "47", False),
        ("x86_64", 48, None, False),
        ("x86_64", None, None, True),
        ("arm64", 48, "48", True),
        ("arm64", 39, "48", False),
        ("arm64", 39, "39", True),
        ("riscv64", 39, "38", True),
        ("riscv64", 57, "47", False),
    ],
)
def test_the_bits_of_an_address_are_measured(arch: str, asked: int | None, measured: str | None, fits: bool) -> None:
    topology = Topology(name="x", arch=arch, page_size=4096, address_bits=asked, vcpus=2, memory=512 * MIB)
    values = {**PLAIN, "machine": topology.architecture.uname}
    if measured:
        values["user_bits"] = measured
    assert ("bits of a program's addresses" not in wrong(values, topology)) is fits


def test_memory_lacks_what_the_kernel_takes_and_never_more() -> None:
    asked = 512 * MIB
    for got, fits in ((asked + 1, False), (asked, True), (memory_floor(asked), True), (memory_floor(asked) - 1, False)):
        assert (wrong({**PLAIN, "mem_total": str(got)}, ONE_NODE) == {}) is fits, got
    assert wrong({**GOOD, "node.1.mem_total": str(256 * MIB)})["memory of node 1"] == (
        "512M (shown as 448 to 512 MiB)",
        "256 MiB",
    )


def test_a_node_too_many() -> None:
    assert wrong({**GOOD, "node.2.cpus": "", "node.2.distance": "20 20 10"})["nodes"] == ("0 1", "0 1 2")


def test_one_node_without_numa_is_node_0() -> None:
    shown = {"node.0.cpus": "0-1", "node.0.mem_total": str(480 * MIB), "node.0.distance": "10"}
    assert wrong({**PLAIN, **shown}, ONE_NODE) == {}
    assert wrong({**PLAIN, **shown, "node.1.cpus": ""}, ONE_NODE)["nodes"] == ("0", "0 1")
    assert "memory of node 0" in wrong({**PLAIN, **shown, "node.0.mem_total": "1"}, ONE_NODE)


@pytest.mark.parametrize(
    ("config", "eighths"),
    [
        (b"CONFIG_MMU=y\nCONFIG_KASAN=y\nCONFIG_KASAN_GENERIC=y\nCONFIG_NUMA=y\n", 1),
        (b"CONFIG_MMU=y\n# CONFIG_KASAN is not set\n", 0),
        (b"CONFIG_KASAN=y\nCONFIG_KASAN_HW_TAGS=y\n# CONFIG_KASAN_GENERIC is not set\n", 0),
    ],
)
def test_the_shadow_of_an_address_sanitizer(config: bytes, eighths: int) -> None:
    assert shadow_of(config, 1024 * MIB) == eighths * 128 * MIB


def test_memory_may_lack_the_shadow_on_any_node_and_no_more() -> None:
    shadow = 128 * MIB
    for number in (0, 1):
        for taken, fits in ((shadow, True), (shadow + 1, False)):
            values = {**GOOD, f"node.{number}.mem_total": str(memory_floor(512 * MIB) - taken)}
            assert (wrong(values, shadow=shadow) == {}) is fits


def test_a_node_of_memory_alone() -> None:
    cells = (node("0-3"), node(""))
    topology = TWO_NODES.model_copy(update={"numa": cells})
    assert wrong({**GOOD, "node.0.cpus": "0-3", "node.1.cpus": ""}, topology) == {}


def test_distances_that_nobody_stated_are_the_defaults() -> None:
    topology = TWO_NODES.model_copy(update={"distances": ()})
    assert wrong(GOOD, topology) == {}
    assert wrong({**GOOD, "node.0.distance": "10 21"}, topology) == {"distances of node 0": ("10 20", "10 21")}


@pytest.mark.parametrize(
    ("arguments", "lost"),
    [
        ((), None),
        (("console=ttyAMA0", "panic=-1", "hugepages=16"), None),
        (("panic=-1", "console=ttyAMA0"), "console=ttyAMA0"),
        (("panic=-", "hugepages=16"), "panic=-"),
        (("quiet",), "quiet"),
    ],
)
def test_command_line_in_order(arguments: tuple[str, ...], lost: str | None) -> None:
    found = wrong(GOOD, cmdline=arguments)
    assert found == ({"command line": (lost, GOOD["cmdline"])} if lost else {})


# HMAT, hugepages on nodes, transparent huge pages.


def attributes(*offsets: int) -> dict[str, tuple[tuple[int, ...], ...]]:
    """An Hmat of two nodes, numbers all different."""
    names = ("read_latency", "write_latency", "read_bandwidth", "write_bandwidth")
    return {
        name: ((200 + at, 100 + at), (101 + at, 201 + at))
        if "band" in name
        else ((10 + at, 20 + at), (21 + at, 11 + at))
        for name, at in zip(names, offsets, strict=True)
    }


X86 = Topology(
    name="x86_64-4k-hmat",
    arch="x86_64",
    page_size=4096,
    vcpus=4,
    numa=(node("0-1"), node("2-3")),
    hmat=Hmat.model_validate(attributes(0, 2, 4, 6)),
)


def hmat_table(**changed: int) -> str:
    """The table of X86 in hexadecimal; `read_latency=5` puts 5 ns between node 1 and node 0."""
    assert X86.hmat
    kinds = {"read_latency": 1, "write_latency": 2, "read_bandwidth": 4, "write_bandwidth": 5}
    structures = []
    for name, rows in X86.hmat.matrices.items():
        entries = [*rows[0], changed.get(name, rows[1][0]), rows[1][1]]
        structures.append(matrix(kinds[name], 1000 if "latency" in name else 1, [0, 1], [0, 1], entries))
    return table(*structures).hex()


def access(number: int) -> dict[str, str]:
    """What sysfs shows of a node of X86."""
    assert X86.hmat
    rows = {f"node.{number}.access0.{name}": str(rows[number][number]) for name, rows in X86.hmat.matrices.items()}
    return {**rows, f"node.{number}.access0.initiators": str(number)}


X86_GOOD = {
    **{key: value for key, value in GOOD.items() if "huge" not in key},
    "machine": "x86_64",
    "page_size": "4096",
    "cpuinfo.flags": "fpu pae nx",
    "hmat": hmat_table(),
    **access(0),
    **access(1),
}


def test_latencies_and_bandwidths_as_asked() -> None:
    assert wrong(X86_GOOD, X86) == {}


@pytest.mark.parametrize(
    ("fact", "value", "mismatch"),
    [
        ("node.1.access0.initiators", "0", {"nearest CPUs to node 1": ("1", "0")}),
        ("node.1.access0.initiators", "0,1", {"nearest CPUs to node 1": ("1", "0 1")}),
        ("node.0.access0.write_latency", "13", {"write_latency of node 0": ("12", "13")}),
        ("node.1.access0.read_bandwidth", "0", {"read_bandwidth of node 1": ("205", "0")}),
        ("hmat", hmat_table(read_latency=5), {"read_latency from node 1 to node 0": ("21", "5")}),
        ("hmat", hmat_table(write_bandwidth=0xFFFF), {"write_bandwidth from node 1 to node 0": ("107", "nothing")}),
        ("hmat", "00", {"HMAT": ("a table", "no HMAT in 1 bytes")}),
    ],
)
def test_one_link_that_differs(fact: str, value: str, mismatch: dict[str, tuple[str, str]]) -> None:
    assert wrong({**X86_GOOD, fact: value}, X86) == mismatch


@pytest.mark.parametrize("fact", sorted({*access(0), *access(1), "hmat"}))
def test_a_link_that_is_not_stated_is_no_agreement(fact: str) -> None:
    assert wrong({key: value for key, value in X86_GOOD.items() if key != fact}, X86)


def test_a_table_that_nobody_asked_for() -> None:
    assert "HMAT" in wrong(X86_GOOD, X86.model_copy(update={"hmat": None}))


def test_hugepages_on_the_node_that_was_named() -> None:
    cells = (
        TWO_NODES.numa[0].model_copy(update={"hugepages": {2 * MIB: 9}}),
        TWO_NODES.numa[1].model_copy(update={"hugepages": {2 * MIB: 7}}),
    )
    topology = TWO_NODES.model_copy(update={"numa": cells, "hugepages": {}})
    assert wrong(GOOD, topology) == {
        "hugepages of 2M on node 0": ("9", "8"),
        "hugepages of 2M on node 1": ("7", "8"),
    }
    assert wrong({**GOOD, "node.0.hugepages.2097152": "9", "node.1.hugepages.2097152": "7"}, topology) == {}


def test_a_node_of_cpus_alone_has_no_memory() -> None:
    cells = (TWO_NODES.numa[0], NumaCell.model_validate({"cpus": "2-3"}))
    topology = TWO_NODES.model_copy(update={"numa": cells})
    facts = {**GOOD, "mem_total": str(490 * MIB), "node.1.mem_total": "0"}
    assert wrong(facts, topology) == {}
    assert "memory of node 1" in wrong({**facts, "node.1.mem_total": "4096"}, topology)


def test_modes_of_transparent_huge_pages() -> None:
    topology = TWO_NODES.model_copy(update={"thp": "always", "shmem_thp": "deny"})
    assert wrong({**GOOD, "thp": "always", "shmem_thp": "deny"}, topology) == {}
    assert wrong({**GOOD, "thp": "madvise"}, topology) == {
        "thp": ("always", "madvise"),
        "shmem_thp": ("deny", "nothing"),
    }


# Clocks.

COUNTED = "1000000 1002048 1002064 1037112 1002048 1014000"


@pytest.mark.parametrize(
    "fact",
    [
        None,  # nothing was said
        "1000000 1002048 1002064",  # too little was
        "1000000 80123 79001 78990 90111 80001",  # an emulator that does not count, or a processor
        "1000000 2004096 2004128 2004096 2004096 2004096",  # two nanoseconds for each
        "1000000 999000 999000 999000 999000 999000",
        "1000000 1002048 1009000 1017112 1022048 1034000",  # so many at random
        "0 1002048 1002048 1002048 1002048 1002048",
        "1000000 fast",
    ],
)
def test_a_clock_that_does_not_count_instructions(fact: str | None) -> None:
    machine = ONE_NODE.model_copy(update={"clock": "instructions"})
    good = {**PLAIN, "counted": COUNTED}
    bad = {key: value for key, value in {**good, "counted": fact}.items() if value is not None}
    assert wrong(good, machine) == {}
    assert "clock" in wrong(bad, machine)
    assert "clock" not in wrong(bad, ONE_NODE)


# Every field of a topology.

OTHER: dict[str, tuple[dict[str, Any], str]] = {
    "arch": ({"arch": "arm64"}, "arch"),
    "page_size": ({"page_size": 65536}, "page size"),
    "mmu": ({"mmu": "la57"}, "MMU, by flags in /proc/cpuinfo"),
    "address_bits": ({"address_bits": 48}, "bits of a program's addresses"),
    "vcpus": ({"vcpus": 3}, "CPUs"),
    "memory": ({"numa": (), "hmat": None, "memory": 1200 * MIB}, "memory"),
    "numa": ({"numa": (node("0-2"), node("3"))}, "CPUs of node 1"),
    "numa.cpus": ({"numa": (node("2-3"), node("0-1"))}, "CPUs of node 0"),
    "numa.memory": (
        {"numa": (node("0-1"), NumaCell.model_validate({"cpus": "2-3", "memory": "640M"}))},
        "memory of node 1",
    ),
    "numa.hugepages": (
        {"numa": (node("0-1"), node("2-3").model_copy(update={"hugepages": {2 * MIB: 1}}))},
        "hugepages of 2M on node 1",
    ),
    "distances": ({"distances": ((10, 20), (21, 10))}, "distances of node 1"),
    "hmat": ({"hmat": None}, "HMAT"),
    "hmat.read_latency": ({"hmat": Hmat.model_validate(attributes(1, 2, 4, 6))}, "read_latency from node 0 to node 1"),
    "hmat.write_latency": ({"hmat": Hmat.model_validate(attributes(0, 3, 4, 6))}, "write_latency of node 0"),
    "hmat.read_bandwidth": (
        {"hmat": Hmat.model_validate(attributes(0, 2, 5, 6))},
        "read_bandwidth from node 1 to node 0",
    ),
    "hmat.write_bandwidth": ({"hmat": Hmat.model_validate(attributes(0, 2, 4, 7))}, "write_bandwidth of node 1"),
    "hugepages": ({"hugepages": {2 * MIB: 1}}, "hugepages of 2M"),
    "thp": ({"thp": "always"}, "thp"),
    "shmem_thp": ({"shmem_thp": "force"}, "shmem_thp"),
    "clock": ({"clock": "instructions"}, "clock"),
    "cmdline": ({"cmdline": ("quiet",)}, "command line"),
}
"""Field -> a change of X86, and the fact in which its guest must be seen to differ from it."""
NOT_VERIFIED = {
    "name": "a label",
    "description": "a label",
    "cpu": "no guest is told QEMU's name of its model; QEMU refuses a name that it does not know",
    "machine": "likewise",
    "qemu": "a condition on the host, asked before anything is built",
    "kernel_config": "lab/build/kernel.py looks for every symbol in the final .config, and the build id is verified",
    "qemu_args": "the escape hatch: anything at all",
    "scenarios": "what the lab runs in it",
    "sparse": "where the host takes memory from, which the guest cannot see",
}


def fields() -> set[str]:
    """Every field of a topology, those of its parts too."""
    parts = {f"numa.{name}" for name in NumaCell.model_fields} | {f"hmat.{name}" for name in Hmat.model_fields}
    return {*Topology.model_fields, *parts}


def test_every_field_is_verified_or_says_why_not() -> None:
    assert fields() == {*OTHER, *NOT_VERIFIED}
    assert not set(OTHER) & set(NOT_VERIFIED)


@pytest.mark.parametrize("field", OTHER)
def test_no_field_can_differ_unseen(field: str) -> None:
    change, fact = OTHER[field]
    other = X86.model_copy(update=change)
    facts = {**X86_GOOD, "hugepages.2097152": "0", "thp": "madvise", "shmem_thp": "never"}
    asked = ExpectedMachine(topology=X86, build_id=ID, cmdline=command_line(X86))
    facts["cmdline"] = " ".join(asked.cmdline)
    assert verify(asked, parse_facts(text(facts))) == ()
    found = verify(ExpectedMachine(topology=other, build_id=ID, cmdline=command_line(other)), parse_facts(text(facts)))
    assert fact in [each.fact for each in found]


# The build id.


@pytest.mark.parametrize("byteorder", ["little", "big"])
def test_build_id_among_other_notes(byteorder: Any) -> None:
    blob = note(b"Xen\0", 3, b"no", byteorder) + note(b"GNU\0", 1, b"abi!", byteorder)
    blob += note(b"GNU\0", 3, bytes.fromhex(ID), byteorder) + note(b"Linux\0", 257, b"", byteorder)
    assert build_id(blob, byteorder) == ID


@pytest.mark.parametrize("blob", [b"", b"\0" * 11, NOTES[:30], note(b"GNU\0", 3, b""), b"\xff" * 64])
def test_no_build_id_is_an_error(blob: bytes) -> None:
    with pytest.raises(ValueError, match="no GNU build id"):
        build_id(blob, "little")


@given(st.binary(max_size=200), st.sampled_from(["little", "big"]))
def test_any_notes(blob: bytes, byteorder: Any) -> None:
    with contextlib.suppress(ValueError):
        assert build_id(blob, byteorder)


# Reading.


def test_reading() -> None:
    facts = parse_facts(text(GOOD))
    assert facts.flaws == ()
    assert (facts.page_size, facts.cpus) == (65536, (0, 1, 2, 3))
    assert facts.nodes[1].distance == (20, 10)
    assert facts.nodes[0].hugepages == {2 * MIB: 8}
    assert facts.cmdline == GOOD["cmdline"], "a value may hold an equals sign"


@pytest.mark.parametrize(
    ("line", "flaw"),
    [
        ("page_size=4096", "stated twice: page_size"),
        ("colour=blue", "no fact: colour=blue"),
        ("\x1b[2Jno equals sign", "no fact: \\x1b[2Jno equals sign"),
        ("node.99999.cpus=0", "no fact: node.99999.cpus=0"),
        ("node.2.mem_total=much", "node.2.mem_total: no number: much"),
        ("node.2.cpus=3-1", "node.2.cpus: no list of CPUs: 3-1"),
        ("node.2.distance=near", "node.2.distance: no numbers: near"),
        ("harts=0,1", "harts: no numbers: 0,1"),
        ("cpuinfo.model=x", "no fact: cpuinfo.model=x"),
        ("hugepages.4096=-1", "hugepages.4096: no number: -1"),
        ("hmat=4", "hmat: no hexadecimal, or too long: 4"),
        ("node.1.access0.read_latency=fast", "node.1.access0.read_latency: no number: fast"),
        ("node.1.access1.read_latency=1", "no fact: node.1.access1.read_latency=1"),
    ],
)
def test_lines_that_make_no_sense_are_mismatches(line: str, flaw: str) -> None:
    assert parse_facts(f"{text(GOOD)}{line}\n").flaws == (flaw,)
    wanted = ExpectedMachine(topology=TWO_NODES, build_id=ID)
    assert flaw in [found.got for found in verify(wanted, parse_facts(f"{text(GOOD)}{line}\n"))]


def test_a_flood_of_facts_is_bounded() -> None:
    facts = parse_facts("node.1.cpus=0-4096\n" + "x=y\n" * 1_000_000)
    assert len(facts.flaws) <= 20
    many = parse_facts("".join(f"node.{number}.cpus=0\n" for number in range(5000)))
    assert len(many.nodes) <= 64


KEYS = st.one_of(st.sampled_from([*GOOD, "node.63.cpus", "node.1.hugepages.99"]), st.text(max_size=12))
LINES = st.tuples(KEYS, st.one_of(st.text(max_size=30), st.sampled_from(list(GOOD.values())))).map("=".join)


@given(st.lists(LINES, max_size=40).map("\n".join))
def test_never_raises_and_mismatches_are_printable(facts: str) -> None:
    parsed = parse_facts(facts)
    assert isinstance(parsed, Facts)
    for found in verify(ExpectedMachine(topology=TWO_NODES, build_id=ID, cmdline=ARGUMENTS), parsed):
        assert found.got.isprintable()
