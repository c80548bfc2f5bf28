# SPDX-License-Identifier: GPL-2.0-or-later
"""The report formats: every module here but `registry`, and those with a leading underscore, is one."""
