# SPDX-License-Identifier: GPL-2.0-or-later
"""The benchmarks, printed by `make bench`."""
