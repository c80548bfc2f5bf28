# SPDX-License-Identifier: GPL-2.0-or-later
"""What users write (topology, kernel, campaign, settings, environment) and the plan that it comes to."""
