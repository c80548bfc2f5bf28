# SPDX-License-Identifier: GPL-2.0-or-later
"""This computer: what it can build and emulate, what it has room for, how long things took on it."""
