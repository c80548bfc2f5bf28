# SPDX-License-Identifier: GPL-2.0-or-later
"""mips64el: little-endian MIPS64 release 2 on QEMU malta, with 4K, 16K or 64K pages."""

from lab.arch.mips64 import malta

ARCH = malta("mips64el", "little", ("mips64le", "mips64-le"), ("mips64r2el", "5kc-malta", "loongson-3", "octeon"))
