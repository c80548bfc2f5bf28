# SPDX-License-Identifier: GPL-2.0-or-later
"""How good the tests of a patch are: which of its lines ran, and what became of its mutants."""
