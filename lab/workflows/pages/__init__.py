# SPDX-License-Identifier: GPL-2.0-or-later
"""One program on every page size of its architecture (`lab pages`): machines, runs, what differs, and reports."""
