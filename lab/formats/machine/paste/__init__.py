# SPDX-License-Identifier: GPL-2.0-or-later
"""Text as people paste it -> the lines of a terminal, and the commands that were typed there."""
