# SPDX-License-Identifier: GPL-2.0-or-later
"""A campaign on its way: what starts when, what happens in one cell, what is left to do after a crash, the screen."""
