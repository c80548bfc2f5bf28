# SPDX-License-Identifier: GPL-2.0-or-later
"""Words that several reports share: names of sets of machines, counts, groups of cases, titles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from statistics import median

from lab.core.outcome import CaseRecord, CellKey, CellResult, CellStatus, Delta, Outcome
from lab.core.untrusted import one_line
from lab.evidence.metadata import Recorded
from lab.verdicts.compare import CaseDelta, Summary
from lab.verdicts.suites import fails_as_before

CELL_WORDS = {
    CellStatus.OK: "OK",
    CellStatus.INVALID: "INVALID",
    CellStatus.NO_BOOT: "NO BOOT",
    CellStatus.BROKEN: "BROKEN",
}
MAX_TIMES = 4


def count(number: int, word: str) -> str:
    """`1 case`, `2 cases`."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def places(some: Iterable[str], every: Sequence[str]) -> str:
    """`on both topologies`, `on all 5 topologies`, or the names."""
    wanted = set(some)
    names = [name for name in every if name in wanted]
    if len(every) > 1 and names == list(every):
        return "on both topologies" if len(every) == 2 else f"on all {len(every)} topologies"
    return f"on {', '.join(names)}"


def tally(records: Sequence[CaseRecord], suites: Collection[str] = ()) -> list[str]:
    """A cell's counts, most usual first: `40 pass`, `31 must-fail` (failed as it must), `2 skip`, `1 NOT MET`, ...

    What fails in a suite as on the kernel that is compared with (or on that kernel itself) is `known-fail`.
    """
    odd = [record for record in records if record.met is not True]
    passed = sum(record.outcome is Outcome.PASS for record in records)
    passed -= sum(record.outcome is Outcome.PASS for record in odd)
    failed = len(records) - len(odd) - passed
    skipped = sum(record.outcome is Outcome.SKIP for record in odd)
    named = {
        outcome.value: sum(record.outcome is outcome for record in odd)
        for outcome in (Outcome.LEAK, Outcome.FLAKY, Outcome.BROKEN)
    }
    unmet = sum(record.met is False and record.outcome.value not in named for record in odd)
    unknown = len(odd) - skipped - unmet - sum(named.values())
    known = sum(fails_as_before(record, suites) for record in (records if suites else ()))
    parts = {
        "pass": passed,
        "must-fail": failed - known,
        "known-fail": known,
        "skip": skipped,
        "NOT MET": unmet,
        "no verdict": unknown,
        **named,
    }
    return [f"{number} {word}" for word, number in parts.items() if number] or ["nothing"]


def cell_text(summary: Summary, place: CellKey) -> list[str]:
    """What the matrix says of a cell and its repeats, as short parts."""
    guests = summary.repeats[place]
    bad = Counter(guest.status for guest in guests if guest.status is not CellStatus.OK)
    if len(guests) == 1:
        states = [CELL_WORDS[status] for status in bad]
    else:
        states = [f"{number} of {len(guests)} {CELL_WORDS[status]}" for status, number in bad.items()]
    if any(guest.runs and guest.status in (CellStatus.OK, CellStatus.BROKEN) for guest in guests):
        return [*states, *tally(summary.of_cell(*place), summary.suites)]
    return states or ["nothing ran"]


def by_topology(summary: Summary) -> dict[str, list[CellResult]]:
    """topology -> all of its guests."""
    grouped: dict[str, list[CellResult]] = {}
    for cell in summary.evidence.cells:
        grouped.setdefault(cell.topology, []).append(cell)
    return grouped


def repeats(summary: Summary) -> int:
    """How often every cell was run."""
    return max(map(len, summary.repeats.values()), default=1)


def seconds(values: Sequence[float]) -> str:
    """`1.9/2.3` of a few times, `1.9-4.0` of many."""
    if len(values) > MAX_TIMES:
        return f"{min(values):.1f}-{max(values):.1f}"
    return "/".join(f"{value:.1f}" for value in values)


def started(guests: Iterable[CellResult]) -> list[str]:
    """How guests came to life: `tcg`, `booted in 1.9/2.3 s`, `6 guests restored in 0.4 s each`."""
    every = list(guests)
    accelerators = dict.fromkeys(guest.accelerator or "never started" for guest in every)
    boots = [guest.boot_s for guest in every if guest.boot_s is not None]
    restores = [spent for guest in every for spent in guest.restores_s]
    parts = [", ".join(accelerators)]
    parts += [f"booted in {seconds(boots)} s"] if boots else []
    parts += [f"{count(len(restores), 'guest')} restored in {median(restores):.1f} s each"] if restores else []
    return parts


def by_places(deltas: Iterable[CaseDelta], every: Sequence[str]) -> dict[tuple[str, str], list[CaseDelta]]:
    """(kernel, where) -> deltas of the cases that are so on exactly those topologies, one delta per case."""
    seen: dict[tuple[str, str], list[CaseDelta]] = {}
    for delta in deltas:
        seen.setdefault((delta.kernel, delta.label), []).append(delta)
    grouped: dict[tuple[str, str], list[CaseDelta]] = {}
    for (kernel, _), same in seen.items():
        grouped.setdefault((kernel, places((delta.topology for delta in same), every)), []).append(same[0])
    return grouped


def by_scenario(labels: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """scenario -> its cases, of (scenario, case) pairs."""
    grouped: dict[str, list[str]] = {}
    for scenario, case in labels:
        cases = grouped.setdefault(scenario, [])
        if case not in cases:
            cases.append(case)
    return grouped


def campaign(summary: Summary) -> str:
    return one_line(summary.evidence.metadata.campaign.name, 80)


def headline(summary: Summary) -> str:
    """The whole verdict on one line."""
    unmet = len(summary.not_met) + len(summary.no_power) + len(summary.unproven)
    parts = [f"{_distinct(summary, Delta.FIXED)} fixed", f"{_distinct(summary, Delta.REGRESSED)} regressed"]
    parts = parts if len(summary.kernels) > 1 else []
    parts += [f"{unmet} not met"]
    parts += [f"{len(summary.flaky)} flaky"] if summary.flaky else []
    parts += [count(len(summary.leaks), "leak")] if summary.leaks else []
    bad = [cell for cell in summary.evidence.cells if cell.status is not CellStatus.OK]
    what = "cell" if repeats(summary) == 1 else "guest"
    parts += [f"{len(bad)} of {count(len(summary.evidence.cells), what)} without a verdict"] if bad else []
    parts += [f"{len(summary.broken)} broken"] if summary.broken and not bad else []
    return f"{campaign(summary)}: {', '.join(parts)}"


def _distinct(summary: Summary, kind: Delta) -> int:
    """How many cases have a delta, on however many topologies."""
    return len({(delta.kernel, delta.label) for delta in summary.delta(kind)})


def flat(record: Recorded) -> str:
    """The scalars of a record of metadata.json on one line: `qemu 7.2.0, cores 2`."""
    facts = record.document().items()
    pairs = [(key, value) for key, value in facts if isinstance(value, str | int | float) and value != ""]
    return ", ".join(f"{one_line(str(key), 40)} {one_line(str(value), 120)}" for key, value in pairs)


def builds_of(summary: Summary, topology: str, kernels: Iterable[str]) -> list[str]:
    """`6.12.95`, `gcc ...`: what the kernels built for a topology are, and their compilers; each once."""
    every = (summary.evidence.metadata.build(topology, kernel) for kernel in kernels)
    builds = [build for build in every if build]
    releases = dict.fromkeys(build.release or "?" for build in builds)
    compilers = dict.fromkeys(build.compiler or "?" for build in builds)
    return [one_line(", ".join(words), 160) for words in (releases, compilers) if words]
