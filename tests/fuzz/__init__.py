# SPDX-License-Identifier: GPL-2.0-or-later
"""Fuzzing of all that reads what others wrote. `make fuzz` runs it as long as it is told, unit tests for seconds."""
