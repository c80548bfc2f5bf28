# SPDX-License-Identifier: GPL-2.0-or-later
"""Readers of what people paste about their machines: each turns the lines of one tool into statements."""
