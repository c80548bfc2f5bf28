# SPDX-License-Identifier: GPL-2.0-or-later
"""Read and write the formats that others define: KTAP, oopses, Kconfig, diffs, mail, ELF, cpio, HMAT, make output."""
