# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything a guest boots and runs, made or found in the cache: sources, kernels, userland, test programs, suites."""
