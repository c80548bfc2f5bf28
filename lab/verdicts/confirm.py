# SPDX-License-Identifier: GPL-2.0-or-later
"""Combine the first run of a case that seems fixed or regressed with its second one; pure.

metadata.json has under `confirming` the guests that ran some cases again: topology, kernel, repeat and cases. A case
whose runs do not agree is FLAKY; it is neither fixed nor regressed then.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from lab.core.outcome import Case, CaseRecord, CellKey
from lab.evidence.metadata import Metadata
from lab.verdicts.judge import SYNTHETIC, agree
from lab.verdicts.suites import test_of

Label = tuple[str, str]
"""Scenario and case."""
Confirming = Mapping[tuple[str, str, int], frozenset[Label]]
"""Topology, kernel and repeat of a guest -> the cases that it ran again."""


def confirming(metadata: Metadata) -> Confirming:
    """Return the guests of a run that ran cases again."""
    return {
        (confirmed.topology, confirmed.kernel, confirmed.repeat): frozenset(confirmed.cases)
        for confirmed in metadata.confirming
    }


def labels(guests: Confirming, place: CellKey) -> frozenset[Label]:
    """Return all cases that ran again in a cell."""
    found: frozenset[Label] = frozenset()
    for (topology, kernel, _), cases in guests.items():
        if (topology, kernel) == tuple(place):
            found |= cases
    return found


def only(declared: Mapping[str, tuple[Case, ...]], labels: Collection[Label]) -> dict[str, tuple[Case, ...]]:
    """Return the declared cases that a guest was to run again; all of a scenario if its console is in doubt."""
    wanted: dict[str, set[str]] = {}
    for scenario, case in labels:
        wanted.setdefault(scenario, set()).update((case, test_of(case)))
    found = {}
    for scenario, tests in wanted.items():
        cases = declared.get(scenario, ())
        if not tests & SYNTHETIC:
            cases = tuple(case for case in cases if case.name in tests)
        found[scenario] = cases
    return found


def applied(
    first: Sequence[CaseRecord],
    again: Sequence[Sequence[CaseRecord]],
    labels: Collection[Label],
    suites: Collection[str],
) -> tuple[CaseRecord, ...]:
    """Return a cell's records with those of the cases in doubt from all of its runs."""
    tests = {(scenario, test_of(case)) for scenario, case in labels if scenario in suites}
    known = {(record.scenario, record.case): record for record in first}
    found = dict(known)
    for record in agree([first, *again]):
        label = (record.scenario, record.case)
        of_a_test = label in known and (record.scenario, test_of(record.case)) in tests
        if label in labels or of_a_test:
            found[label] = record
    return tuple(found.values())
