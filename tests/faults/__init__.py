# SPDX-License-Identifier: GPL-2.0-or-later
"""Injected faults, each with the outcome it must have. `make faults` runs them all, CI the quick ones."""
