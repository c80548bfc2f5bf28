# SPDX-License-Identifier: GPL-2.0-or-later
"""Test suites of other projects, built and made into scenario programs: kselftest and LTP."""
