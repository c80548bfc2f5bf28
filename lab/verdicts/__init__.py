# SPDX-License-Identifier: GPL-2.0-or-later
"""From evidence to what it means: a verdict per case, deltas between kernels, proofs, the exit status."""
