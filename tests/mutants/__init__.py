# SPDX-License-Identifier: GPL-2.0-or-later
"""Deliberate defects of the lab's own series: each is built and run, and some case must fail on it (`make mutants`)."""
