# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables of memory policies and kinds of memory, from cases that are called ROW_KIND__POLICY. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lab.core.outcome import CaseRecord, Outcome
from lab.verdicts.compare import Summary, table_of

_NAME = re.compile(r"(?:[a-z]\d\d_)?(?P<kind>[a-z0-9]+(?:_[a-z0-9]+)*)__(?P<policy>[a-z0-9_]+)")
SKIPPED = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyTable:
    """Where pages of every kind of memory lie under every policy, on one machine."""

    topology: str
    scenario: str
    kinds: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    """Each policy, and a text for each kind: where the pages lie (`near`, `far`, `spread`), or the outcome.

    `must-fail` is a failure on a kernel that does not provide what the case requires, SKIPPED a case that was skipped.
    """


def policy_tables(summary: Summary) -> tuple[PolicyTable, ...]:
    """Return a table for each machine and scenario that has such cases, if one of them ran."""
    tables: list[PolicyTable] = []
    topologies = summary.topologies
    if not any(_NAME.fullmatch(verdict.case) for verdict in summary.tally):
        topologies = ()
    for topology in topologies:
        cells: dict[str, dict[tuple[str, str], str]] = {}
        for (scenario, case), records in table_of(summary, topology).items():
            if match := _NAME.fullmatch(case):
                cells.setdefault(scenario, {})[match["policy"], match["kind"]] = _text(records)
        tables += [_table(topology, scenario, texts) for scenario, texts in cells.items() if _says_something(texts)]
    return tuple(tables)


def _says_something(texts: Mapping[tuple[str, str], str]) -> bool:
    return not set(texts.values()) <= {SKIPPED, Outcome.BROKEN.value}


def _table(topology: str, scenario: str, texts: Mapping[tuple[str, str], str]) -> PolicyTable:
    policies = dict.fromkeys(policy for policy, _ in texts)
    kinds = tuple(dict.fromkeys(kind for _, kind in texts))
    rows = []
    for policy in policies:
        cells = tuple(texts.get((policy, kind), "") for kind in kinds)
        rows.append((policy, cells))
    return PolicyTable(topology=topology, scenario=scenario, kinds=kinds, rows=tuple(rows))


def _text(records: Mapping[str, CaseRecord]) -> str:
    """Return what a case did; on every kernel by its name if they differ."""
    by_kernel = {kernel: _word(record) for kernel, record in records.items()}
    words = list(dict.fromkeys(by_kernel.values()))
    if len(words) == 1:
        return words[0]
    return ", ".join(f"{kernel}: {word}" for kernel, word in by_kernel.items())


def _word(record: CaseRecord) -> str:
    if record.outcome is Outcome.SKIP:
        return SKIPPED
    if record.outcome is Outcome.PASS and record.saw:
        return "+".join(record.saw)
    if record.outcome is Outcome.FAIL and record.met:
        return "must-fail"
    return record.outcome.value
