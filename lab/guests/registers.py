# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's `info registers -a`: where each CPU of a guest is. Pure."""

from __future__ import annotations

import re

_CPU = re.compile(r"^CPU#(\d+)\s*$", re.MULTILINE)
_COUNTERS = (
    r"\b[RE]IP=",  # x86
    r"\bPSW=mask [0-9a-f]+ addr ",  # s390x
    r"\bNIP +",  # ppc
    r"\bpc: *",  # sparc, which has an npc beside it
    r"\b(?:PC|pc) *=? *(?:0x)?",  # alpha, arm64, loongarch, m68k, mips, riscv
    r"\bR15=",  # arm, where no other name is
)
"""What stands before a program counter, the first that a CPU's registers have."""
_PATTERNS = tuple(re.compile(f"(?:{before})([0-9a-f]{{8,16}})\\b") for before in _COUNTERS)


def program_counters(text: str) -> dict[int, int]:
    """Return the number of each CPU -> its program counter, as the monitors of QEMU 7.2 and 10 print them.

    A CPU without one that is understood is left out.
    """
    found: dict[int, int] = {}
    _, *parts = _CPU.split(text)
    for number, registers in zip(parts[::2], parts[1::2], strict=True):
        for pattern in _PATTERNS:
            if match := pattern.search(registers):
                found[int(number)] = int(match[1], 16)
                break
    return found
