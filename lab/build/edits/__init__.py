# SPDX-License-Identifier: GPL-2.0-or-later
"""What makes a build after an edit short: which objects are stale, what the compiler answered, and an early start."""
