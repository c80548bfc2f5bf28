# SPDX-License-Identifier: GPL-2.0-or-later
"""pagelab: an emulated-hardware kernel lab."""

__version__ = "0.1.0"
