# SPDX-License-Identifier: GPL-2.0-or-later
"""Binary units of memory, in bytes."""

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
