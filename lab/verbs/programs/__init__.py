# SPDX-License-Identifier: GPL-2.0-or-later
"""Verbs about somebody's program, and not about a kernel."""
