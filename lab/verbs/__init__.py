# SPDX-License-Identifier: GPL-2.0-or-later
"""The verbs of the command `lab`, by theme; lab/cli.py lists them, and each imports what it needs when it runs."""
