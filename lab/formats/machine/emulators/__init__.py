# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests and hosts in the words of emulators and of the programs that start them."""
