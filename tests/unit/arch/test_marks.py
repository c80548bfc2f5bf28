# SPDX-License-Identifier: GPL-2.0-or-later
"""By what a pasted text tells an architecture: each mark is of one record, and the readers have none of their own."""

from __future__ import annotations

import re
from collections import Counter
from itertools import chain
from pathlib import Path

import pytest

from lab.arch.record import Arch
from lab.specs.arches import ARCHES
from lab.workflows.machine import capture

ROOT = Path(__file__).parents[3]


def test_srat_calls_no_two_architectures_cpus_the_same() -> None:
    names = Counter(chain.from_iterable(arch.srat_cpus for arch in ARCHES.values()))
    assert names
    assert set(names.values()) == {1}


@pytest.mark.parametrize("arch", [arch for arch in ARCHES.values() if arch.boot_mark], ids=lambda arch: arch.name)
def test_a_mark_is_a_regular_expression_that_an_empty_line_has_not(arch: Arch) -> None:
    mark = re.compile(arch.boot_mark)
    assert not mark.search("")


@pytest.mark.parametrize(
    ("line", "arch"),
    [
        ("[    0.000000] ACPI: SRAT: PXM 0 -> MPIDR 0x0 -> Node 0", "aarch64"),
        ("[    0.000000] SRAT: PXM 0 -> APIC 0x00 -> Node 0", "x86_64"),
        ("[    0.000000] SRAT: PXM 0 -> CPU 0x00 -> Node 0", "loongarch64"),
        ("[    0.000000] BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable", "x86_64"),
        ("[    0.000000] Linux version 6.12.0-686 (own@own) #1", "i686"),
        ("flags\t\t: fpu vme de pse tsc msr pae cx8 lm constant_tsc", "x86_64"),
        ("flags\t\t: fpu vme de pse tsc msr pae cx8 lahf_lm", "i686"),
        ("cpu\t\t: POWER9 (architected), altivec supported", "ppc64le"),
        ("isa\t\t: rv32imafdc", "riscv32"),
    ],
)
def test_a_line_tells_the_architecture(line: str, arch: str) -> None:
    reading = capture.read([("own", line + "\n")])
    assert arch in "\n".join((*map(str, reading.notes), *map(str, reading.problems), str(reading)))


@pytest.mark.parametrize("name", ["boot_log.py", "cpuinfo.py"])
def test_the_readers_name_no_architecture(name: str) -> None:
    text = (ROOT / "lab/formats/machine" / name).read_text()
    assert not re.search(rf'"(?:{"|".join(arch.uname for arch in ARCHES.values())})"', text)
