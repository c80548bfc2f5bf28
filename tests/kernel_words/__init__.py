# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether the console scan knows what a kernel tree prints when it complains."""
