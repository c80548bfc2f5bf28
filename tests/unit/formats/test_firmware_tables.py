# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables of ACPI as iasl disassembles them, and device trees as source: whole, flat, and cut off."""

from __future__ import annotations

import pytest

from lab.core.sizes import GIB
from tests.unit.fixtures.described import distances, nodes, reading

SLIT = """[000h 0000   4]                    Signature : "SLIT"    [System Locality Information Table]
[024h 0036   8]                   Localities : 0000000000000002
[02Ch 0044   2]                 Locality   0 : 0A 1F
[02Eh 0046   2]                 Locality   1 : 1F 0A
"""


def processor(domain: int, kind: str = "00 [Processor Local APIC/SAPIC Affinity]", enabled: int = 1) -> str:
    low = " Low(8)" if kind.startswith("00") else ""
    return (
        f"[030h 0048   1]                Subtable Type : {kind}\n"
        f"[032h 0050   1]      Proximity Domain{low} : {domain:02X}\n"
        f"                                     Enabled : {enabled}\n"
    )


def memory(domain: int, size: int, hot: int = 0) -> str:
    return (
        "[0B0h 0176   1]                Subtable Type : 01 [Memory Affinity]\n"
        f"[0B2h 0178   4]             Proximity Domain : {domain:08X}\n"
        f"[0C0h 0192   8]               Address Length : {size:016X}\n"
        "                                     Enabled : 1\n"
        f"                               Hot Pluggable : {hot}\n"
    )


SRAT = processor(0) * 2 + processor(1) + processor(1, enabled=0) + memory(0, GIB) * 2 + memory(1, GIB)


@pytest.mark.parametrize("text", [SRAT + SLIT, SLIT + SRAT, (SRAT + SLIT).replace("  1]", "001h]")])
def test_affinities_and_localities(text: str) -> None:
    assert (nodes(text, ""), distances(text, "")) == ({0: ("0-1", 2048), 1: ("2", 1024)}, [(10, 31), (31, 10)])
    assert any("their numbers are a guess" in guess for guess in reading(text, "").guesses())


def test_memory_that_may_be_plugged_in_is_left_out() -> None:
    text = SRAT + memory(1, 64 * GIB, hot=1)
    assert nodes(text, "")[1] == ("2", 1024)
    assert any("may be plugged in" in note for note in reading(text, "").notes)


@pytest.mark.parametrize(
    ("kind", "arch"),
    [("02 [Processor Local x2APIC Affinity]", "x86_64"), ("03 [GICC Affinity]", "aarch64"), ("07 [RINTC]", "riscv64")],
)
def test_the_type_of_a_cpu_tells_the_architecture(kind: str, arch: str) -> None:
    assert reading(processor(0, kind) + memory(0, GIB), "").machine.arch == arch


def test_localities_alone_name_the_nodes() -> None:
    assert distances(SLIT) == [(10, 31), (31, 10)]
    cut = SLIT.replace(" 0A\n", "\n")
    assert any("distances: the row of node 1 has 1 of 2 numbers" in note for note in reading(cut).notes)


def test_a_row_of_localities_may_go_on() -> None:
    text = SLIT.replace(" : 0A 1F\n", " : 0A\n                                          1F\n")
    assert distances(text) == [(10, 31), (31, 10)]


TREE = """/ {
    #address-cells = <2>;
    #size-cells = <2>;
    cpus {
        #address-cells = <1>;
        #size-cells = <0>;
        cpu@0 { device_type = "cpu"; compatible = "arm,cortex-a57"; reg = <0x0>; numa-node-id = <0>; };
        cpu@1 {
            compatible = "arm,cortex-a57"; /* the second */
            numa-node-id = <0x01>;
        };
    };
    memory@40000000 { reg = <0x0 0x40000000 0x0 0x80000000>; numa-node-id = <0>; };
    memory@c0000000 { reg = <0x0 0xc0000000 0x1 0x0>; numa-node-id = <1>; };   // the larger one
    distance-map {
        compatible = "numa-distance-map-v1";
        distance-matrix = <0 0 10>, <0 1 0x1f>, <1 1 10>;
    };
};
"""


@pytest.mark.parametrize(
    "text",
    [
        TREE,
        " ".join(TREE.replace("// the larger one", "").split()),
        TREE[TREE.index("    cpus") : TREE.rindex("};")],
        TREE.replace("<2>", "<0x02>"),
    ],
)
def test_a_device_tree_has_cpus_memory_and_distances(text: str) -> None:
    assert (nodes(text, ""), distances(text, "")) == ({0: ("0", 2048), 1: ("1", 4096)}, [(10, 31), (31, 10)])
    assert reading(text, "").machine.arch == "aarch64"


def test_a_whole_tree_has_no_end_without_a_beginning() -> None:
    told = "ends that does not begin"
    assert not any(told in note for note in reading(TREE, "").notes)
    assert any(told in note for note in reading(TREE.replace("/ {", ""), "").notes)


def test_the_root_says_how_wide_addresses_are() -> None:
    text = "/ { #address-cells = <1>; #size-cells = <1>;\nsoc { #address-cells = <2>; #size-cells = <2>; };\n"
    text += 'memory@0 { device_type = "memory"; reg = <0x0 0x40000000 0x80000000 0x40000000>; };\n};\n'
    assert reading(text, "arm64").check().memory == 2 * GIB


def test_what_is_disabled_is_not_there() -> None:
    text = TREE.replace("reg = <0x0>;", 'reg = <0x0>; status = "disabled";')
    assert nodes(text, "")[0] == ("", 2048)


def test_a_device_tree_that_is_cut_off_is_refused() -> None:
    text = TREE[: TREE.index("// the larger")].rpartition("numa-node-id")[0]
    assert any("memory@c0000000 of the device tree is cut off" in problem for problem in reading(text, "").problems)


def test_the_mode_of_the_mmu_is_read() -> None:
    text = 'cpu@0 { device_type = "cpu"; riscv,isa = "rv64imafdc"; mmu-type = "riscv,sv57"; };\n'
    made = reading(text, "").check()
    assert (made.arch, made.facts["mmu"], made.cpus) == ("riscv64", "sv57", 1)
