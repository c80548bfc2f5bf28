# SPDX-License-Identifier: GPL-2.0-or-later
"""One emulated machine: its XML, boot, SSH and snapshots, and whether it is the machine that was asked for."""
