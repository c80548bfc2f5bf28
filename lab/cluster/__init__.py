# SPDX-License-Identifier: GPL-2.0-or-later
"""Other hosts: cells and builds on a team's computers, artefacts and evidence in a store that they share."""
