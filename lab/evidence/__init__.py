# SPDX-License-Identifier: GPL-2.0-or-later
"""The files of a run: written as things happen, read back, checked for damage."""
