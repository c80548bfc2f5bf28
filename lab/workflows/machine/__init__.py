# SPDX-License-Identifier: GPL-2.0-or-later
"""Describe a machine from pasted command output, and shrink it to a topology that fits this host."""
