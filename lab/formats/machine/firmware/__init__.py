# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines as firmware describes them to the kernel: tables of ACPI, device trees."""
