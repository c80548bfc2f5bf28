# SPDX-License-Identifier: GPL-2.0-or-later
"""Which claims of a run no case of it could refute: features, suites and programs without a case that ran; pure.

A kernel's `provides` is a claim: every case that requires the feature passes on it. If all of those cases were skipped
there, or there is none, the run would be the same without the feature. Likewise a suite, or a program of the user's,
all of whose cases were skipped, says nothing about the kernel.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePath

from lab.core.columns import Tally
from lab.core.outcome import CaseVerdict, Outcome
from lab.evidence.metadata import Metadata

EVERYTHING = ["*"]
"""The `scenarios` of a campaign that runs all of them."""


class Claim(StrEnum):
    """What was claimed or run without a case that could fail."""

    FEATURE = "feature"  # of a kernel's `provides`
    SUITE = "suite"  # of --suite
    PROGRAM = "program"  # of --with


@dataclass(frozen=True, slots=True, kw_only=True)
class Unproven:
    """A claim about a kernel that no case of the run could refute."""

    kernel: str
    claim: Claim
    name: str
    reason: str
    cases: tuple[str, ...] = ()
    """The cases that were skipped, `scenario.case`; empty if there is none."""

    @property
    def subject(self) -> str:
        """What has no power, in words: `feature dontexpand-dup`."""
        return f"{self.claim} {self.name}"


def unproven(metadata: Metadata, by_kernel: Mapping[str, Tally]) -> tuple[Unproven, ...]:
    """Return the claims of a run that nothing could refute, kernel by kernel, from the verdicts of each kernel."""
    found: list[Unproven] = []
    for number, (kernel, tally) in enumerate(by_kernel.items()):
        found += _features(metadata, kernel, tally)
        if number or len(by_kernel) == 1:  # what the first kernel lacks, its cases may well skip
            found += _programs(metadata, kernel, tally)
    return tuple(found)


def _features(metadata: Metadata, kernel: str, records: Iterable[CaseVerdict]) -> list[Unproven]:
    found: list[Unproven] = []
    for feature in metadata.kernel(kernel).provides:
        requiring = _requiring(metadata, feature)
        mine = [record for record in records if (record.scenario, record.case) in requiring]
        if not mine and runs_everything(metadata, kernel):
            reason = "no case requires it"
            found.append(Unproven(kernel=kernel, claim=Claim.FEATURE, name=feature, reason=reason))
        elif _all_skipped(mine):
            found.append(_skipped(kernel, Claim.FEATURE, feature, mine))
    return found


def _requiring(metadata: Metadata, feature: str) -> frozenset[tuple[str, str]]:
    """Return the cases that require a feature, as scenario and case."""
    found: set[tuple[str, str]] = set()
    for scenario, cases in metadata.declared_cases().items():
        found.update((scenario, case.name) for case in cases if feature in case.requires)
    return frozenset(found)


def runs_everything(metadata: Metadata, kernel: str) -> bool:
    """Whether a run was to run all scenarios, so that a feature which no case requires was not left out by choice.

    The campaign, --test and --suite choose scenarios, and so does a machine that is for a few of them only.
    """
    if metadata.command and metadata.command.chooses_tests:
        return False
    if metadata.suites or metadata.reports or metadata.campaign.document().get("scenarios") != EVERYTHING:
        return False
    machines = {cell.topology for cell in metadata.cells if cell.kernel == kernel}
    return any(metadata.topology(machine).scenarios is None for machine in machines)


def _programs(metadata: Metadata, kernel: str, records: Iterable[CaseVerdict]) -> list[Unproven]:
    """Return the suites and the user's programs all of whose cases a kernel skipped."""
    claims = dict.fromkeys((PurePath(path).stem for path in metadata.programs), Claim.PROGRAM)
    claims |= dict.fromkeys(metadata.suites, Claim.SUITE)
    of_scenario: dict[str, list[CaseVerdict]] = {}
    for record in records:
        of_scenario.setdefault(record.scenario, []).append(record)
    found: list[Unproven] = []
    for name, claim in claims.items():
        mine = of_scenario.get(name, [])
        if _all_skipped(mine):
            found.append(_skipped(kernel, claim, name, mine))
    return found


def _all_skipped(records: Collection[CaseVerdict]) -> bool:
    """Whether there are records, and none of them says anything about the kernel."""
    return bool(records) and all(record.outcome is Outcome.SKIP for record in records)


def _skipped(kernel: str, claim: Claim, name: str, records: Sequence[CaseVerdict]) -> Unproven:
    cases = tuple(dict.fromkeys(record.label for record in records))
    which = "the one case" if len(cases) == 1 else f"all {len(cases)} cases"
    if claim is Claim.FEATURE:
        which += " that requires it" if len(cases) == 1 else " that require it"
    verb = "was" if len(cases) == 1 else "were"
    reason = f"{which} {verb} skipped on every machine; {cases[0]}: {records[0].reason}"
    return Unproven(kernel=kernel, claim=claim, name=name, reason=reason, cases=cases)
