# SPDX-License-Identifier: GPL-2.0-or-later
"""The texts that verbs print: lists, plans and the manual page."""
