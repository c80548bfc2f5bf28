# SPDX-License-Identifier: GPL-2.0-or-later
"""Somebody else's machine from what they pasted: read it, describe it, shrink it to what fits this host."""
