# SPDX-License-Identifier: GPL-2.0-or-later
"""Totals of a machine in the words of programs that describe machines in a few lines."""
