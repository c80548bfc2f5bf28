# SPDX-License-Identifier: GPL-2.0-or-later
"""Errors, the words of verdicts, deadlines, processes, the cache, paths and text from guests: what every room uses."""
