# SPDX-License-Identifier: GPL-2.0-or-later
"""What users bring to a guest: a program with its libraries, or a whole root, as archives that an initramfs takes."""
