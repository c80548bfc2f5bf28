# SPDX-License-Identifier: GPL-2.0-or-later
"""Measure the shape of lab/: sizes of rooms, density of statements, class names, look-ups of metadata."""
