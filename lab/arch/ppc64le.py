# SPDX-License-Identifier: GPL-2.0-or-later
"""ppc64le: little-endian POWER9 on QEMU pseries, with 4K or 64K pages and the radix or the hash MMU."""

from lab.arch.ppc64 import pseries
from lab.core.sizes import KIB

ARCH = pseries(
    "ppc64le",
    "little",
    ("powerpc64le", "ppc64el", "ppc64-le"),
    "ppc64el",
    (4 * KIB, 64 * KIB),
    processors=r"POWER(?:[89]|1\d).*",
    boot_mark=r"radix-mmu:|hash-mmu:|Using (?:pSeries|PowerNV) machine|\bLE PAGE_SIZE=",
)
