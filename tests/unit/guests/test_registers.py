# SPDX-License-Identifier: GPL-2.0-or-later
"""Where each CPU is, in the shape in which QEMU prints the registers of each architecture."""

from __future__ import annotations

import pytest

from lab.guests.registers import program_counters

X86 = """\

CPU#0
RAX=0000000000000001 RBX=ffffffff81a00000
R14=ffff888000000000 R15=0000000000000001
RIP=ffffffff81000123 RFL=00000202 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=0

CPU#1
RAX=0000000000000000 RBX=0000000000000000
RIP=00000000000fd09a RFL=00000046 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1
"""
OTHERS = {
    "i386": "EIP=c1000123 EFL=00000002 [-------] CPL=0",
    "arm64": " PC=ffff800080000123 X00=0000000000000005\nPSTATE=410000c5 -Z-- EL1h",
    "armhf": "R12=00000000 R13=c0701f90 R14=c0413599 R15=c0000123\nPSR=60000193 -ZC- A S svc32",
    "riscv64": " V      =   0\n pc       ffffffff80000123\n mepc     ffffffff80000456\n sepc     0000000000000789",
    "s390x": "PSW=mask 0706c00180000000 addr 0000030000000123 cc 00\nR14=0000030000000456 R15=0000030000000789",
    "ppc64": "NIP c000000000000123   LR c000000000000456 CTR c000000000000789 XER 0000000000000000 CPU#0",
    "ppc44x": "NIP c0000123   LR c0000456 CTR c0000789 XER 00000006 CPU#0",
    "sparc64": "pc: 0000000000400123  npc: 0000000000400127",
    "m68k": "D0 = 00000000   A0 = 00000000\nPC = 00000123   SR = 2000 T:0 I:0 SI -----",
    "alpha": "PC      fffffc0000000123 PS      07",
    "loongarch64": " PC=9000000000000123  FCSR0 0x00000000\n GPR00: r0 0000000000000000 r1 9000000000000456",
    "mips64": "pc=0xffffffff80000123 HI=0x0000000000000000\nCP0 Status  0x1400a4e1 EPC    0xffffffff80000456",
}


def test_each_cpu_has_its_own() -> None:
    assert program_counters(X86) == {0: 0xFFFFFFFF81000123, 1: 0xFD09A}


@pytest.mark.parametrize("name", OTHERS)
def test_of_every_architecture(name: str) -> None:
    assert {cpu: counter & 0xFFF for cpu, counter in program_counters(f"\nCPU#0\n{OTHERS[name]}\n").items()} == {
        0: 0x123
    }


def test_what_is_no_list_of_registers_has_none() -> None:
    assert program_counters("") == {}
    assert program_counters("CPU#0\nunknown command: 'info registers'\n\nCPU#1\n") == {}
