# SPDX-License-Identifier: GPL-2.0-or-later
"""Patches as people send them: mails, threads, mailboxes, and diffs as git reads and applies them."""
