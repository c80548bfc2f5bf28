# SPDX-License-Identifier: GPL-2.0-or-later
"""What pydantic found wrong with a document, in the words of one error message."""

from __future__ import annotations

from pydantic import ValidationError

from lab.core.untrusted import one_line


def first_invalid(error: ValidationError) -> tuple[str, str]:
    """Return the key of the first wrong value (`cells.0.topology`; empty for the document itself) and what is wrong."""
    first = error.errors(include_url=False)[0]
    return ".".join(map(str, first["loc"])), one_line(first["msg"])
