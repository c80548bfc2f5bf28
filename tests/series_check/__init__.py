# SPDX-License-Identifier: GPL-2.0-or-later
"""Check every patch of a series by checkpatch and by compilers that warn of more than the kernel's own make does."""
