# SPDX-License-Identifier: GPL-2.0-or-later
"""What people do with campaigns and guests: try a patch, bisect, mutate, replay, bundle, debug, capture."""
