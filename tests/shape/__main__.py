# SPDX-License-Identifier: GPL-2.0-or-later
"""Print the shape of lab/, each number beside its bound: `make shape`. Exit status 1 if a bound is exceeded."""

from __future__ import annotations

import sys

from tests.shape import measure


def main() -> int:
    """Print one row a room, then the numbers that have a bound."""
    every = measure.count("all", measure.sources())
    print(measure.table([*measure.rooms(), every]))
    print("\ncompr., cond.: comprehensions and conditional expressions in 100 lines\n")
    compr, cond = every.density
    folder, files = measure.largest_folder()
    readme = len((measure.ROOT / "README.md").read_text("utf-8").splitlines())
    shared = measure.shared_class_names()
    lookups = measure.metadata_lookups()
    rows = [
        (f"files in the largest folder (lab/{folder})", files, measure.FILES_IN_A_FOLDER),
        ("lines of README.md", readme, measure.README_LINES),
        ("lines of the longest function", max(every.functions), measure.FUNCTION_LINES),
        (f"class names in two modules {' '.join(shared)}", len(shared), 0),
        ("look-ups of metadata by a text", len(lookups), 0),
        ("comprehensions in 100 lines", compr, measure.COMPREHENSIONS),
        ("conditional expressions in 100 lines", cond, measure.CONDITIONALS),
    ]
    exceeded = 0
    for what, got, most in rows:
        mark = "" if got <= most else "  EXCEEDED"
        exceeded += got > most
        print(f"{got:>6} of {most:>4}  {what}{mark}")
    return 1 if exceeded else 0


if __name__ == "__main__":
    sys.exit(main())
