# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m tests.kernel_words TREE`: put all that a kernel tree can print to the console scan.

Every complaint has to be seen, and nothing that is none.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.formats import complaints, oops
from lab.formats.complaints import Kind
from tests.kernel_words import catalogue
from tests.kernel_words.catalogue import Complaint

ACCEPTED = Path(__file__).with_name("accepted.txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """Messages that may go unseen, or be of another kind, and why."""

    pattern: re.Pattern[str]
    reason: str


def read_accepted(text: str) -> list[Accepted]:
    """Read lines of a regular expression, ` # ` and a reason; ValueError for a line without a reason."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        pattern, mark, reason = line.rpartition(" # ")
        if not mark or not reason.strip():
            raise ValueError(f"line {number}: expected REGEX # REASON, got {line!r}")
        found.append(Accepted(pattern=re.compile(pattern.strip()), reason=reason.strip()))
    return found


@dataclass(slots=True, kw_only=True)
class Count:
    """What became of the complaints of one file or architecture."""

    all: int = 0
    seen: int = 0
    right: int = 0
    accepted: int = 0


def check(found: Iterable[Complaint], accepted: Sequence[Accepted]) -> tuple[dict[str, Count], list[str], set[str]]:
    """Return the counts by area, a line for every miss that nothing accepts, and the patterns that accepted one."""
    counts: dict[str, Count] = {}
    misses: list[str] = []
    used: set[str] = set()
    for complaint in found:
        count = counts.setdefault(complaint.area, Count())
        kinds = {finding.kind for finding in oops.scan(f"[    1.000000] {complaint.message}\n")}
        count.all += 1
        count.seen += bool(kinds)
        if kinds & complaint.kinds:
            count.right += 1
            continue
        reason = next((each for each in accepted if each.pattern.search(complaint.message)), None)
        if reason:
            count.accepted += 1
            used.add(reason.pattern.pattern)
        else:
            got = ", ".join(kinds) or "nothing"
            misses.append(f"{complaint.path}:{complaint.line}: {got}: {complaint.message}")
    return counts, misses, used


def alarms(found: Iterable[Complaint], accepted: Sequence[Accepted]) -> tuple[int, list[str], set[str]]:
    """Return how many messages are no complaints, those that the scan takes for one, and the patterns that allow it."""
    false: list[str] = []
    used: set[str] = set()
    count = 0
    for each in found:
        count += 1
        kind = complaints.classify(each.message) or (Kind.BUG if complaints.names_a_bug(each.message) else None)
        reason = kind and next((allowed for allowed in accepted if allowed.pattern.search(each.message)), None)
        if reason:
            used.add(reason.pattern.pattern)
        elif kind:
            false.append(f"{each.path}:{each.line}: {kind}: {each.message}")
    return count, false, used


def main(argv: Sequence[str]) -> int:
    """Print the table and the misses; 0 if nothing is missed, else 1; 2 for what is no kernel tree."""
    options = argparse.ArgumentParser(prog="python -m tests.kernel_words", description=__doc__)
    options.add_argument("tree", metavar="TREE", type=Path, help="an unpacked kernel tree")
    tree = options.parse_args(argv).tree
    if not (tree / "kernel").is_dir():
        print(f"{tree}: no kernel tree: it has no directory kernel/", file=sys.stderr)
        return 2
    accepted = read_accepted(ACCEPTED.read_text())
    counts, misses, used = check(catalogue.complaints(tree), accepted)
    print(f"{'':40} {'all':>6} {'seen':>6} {'right':>6} {'accepted':>9} {'missed':>7}")
    for area, count in sorted(counts.items()):
        missed = count.all - count.right - count.accepted
        print(f"{area:40} {count.all:>6} {count.seen:>6} {count.right:>6} {count.accepted:>9} {missed:>7}")
    total = Counter(all=sum(each.all for each in counts.values()), right=sum(each.right for each in counts.values()))
    harmless, false, allowed = alarms(catalogue.talk(tree), accepted)
    print(*misses, *false, sep="\n")
    print(f"{harmless} messages of lower levels, {len(false)} taken for complaints")
    patterns = len(used | allowed)
    print(f"{total['right']} of {total['all']} right, {len(misses)} missed, {patterns} patterns of accepted.txt used")
    return 1 if misses or false or not counts else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
