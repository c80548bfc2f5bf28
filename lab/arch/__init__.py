# SPDX-License-Identifier: GPL-2.0-or-later
"""The architectures: every module here but `record` holds one record named ARCH. The listing is the registry."""
