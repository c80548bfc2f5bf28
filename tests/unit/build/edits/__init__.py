# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of lab/build/edits."""
