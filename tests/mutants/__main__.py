# SPDX-License-Identifier: GPL-2.0-or-later
"""`make mutants [ARGS="NAME|GLOB..."]`: break the series in every way of the table, and say which case saw it.

Without names the mutants that `lab mutate` generates from the same series follow, and one score is printed for all.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

from lab.core.cache import Cache, default_root
from lab.core.errors import LabError, nearest
from lab.verdicts.mutation import MutationReport, counted
from tests.mutants import generated, mutant, trial
from tests.mutants.mutant import Mutant, Original
from tests.mutants.table import MUTANTS
from tests.mutants.trial import MutantDirectory, Verdict

AIM = 0.95


def main(argv: Sequence[str]) -> int:
    """Try what is asked for; 0 when at least AIM of the mutants were killed, and none could not be tried."""
    asked = _arguments(argv)
    chosen = [each for each in MUTANTS if not asked.names or any(_named(each, name) for name in asked.names)]
    if asked.list:
        for each in chosen:
            print(f"{each.name:30} {each.breaks}")
        return 0
    try:
        with _directory(asked.output, again=asked.generated) as directory:
            place = MutantDirectory(directory, asked.config)
            verdicts = [] if asked.generated else _try_all(chosen, place, asked.jobs)
            reports = (
                [] if asked.names else [generated.attempt(each, place, asked.minutes) for each in generated.SERIES]
            )
    except LabError as error:
        print(f"make mutants: {error}", file=sys.stderr)
        return 2
    if reports:
        print(total(verdicts, reports))
    invalid = any(each.word == "INVALID" for each in verdicts)
    return int(invalid or share(verdicts, reports) < AIM)


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    options = argparse.ArgumentParser(prog="make mutants")
    options.add_argument("names", nargs="*", metavar="NAME", help="mutants or globs of them; a series")
    options.add_argument("--jobs", "-j", type=int, default=2, help="mutants at a time: one is built, one runs [2]")
    options.add_argument(
        "--config", action="append", default=[], metavar="PRESET", help="into every kernel: lockdep, ..."
    )
    options.add_argument("--generated", action="store_true", help="try the generated ones only; goes on in --output")
    options.add_argument("--minutes", type=float, help="start no generated mutant of a series after so many minutes")
    options.add_argument("--output", "-o", type=Path, help="keep the runs in this directory")
    options.add_argument("--list", action="store_true", help="say what there is, and build nothing")
    asked = options.parse_args(argv)
    for name in asked.names:
        if not any(_named(each, name) for each in MUTANTS):
            near = nearest(name, [*(each.name for each in MUTANTS), *{each.series for each in MUTANTS}])
            options.error(
                f"no mutant {name!r}; " + (f"did you mean {near!r}?" if near else "--list says what there is")
            )
    return asked


def _named(each: Mutant, name: str) -> bool:
    return fnmatchcase(each.name, name) or each.series == name


@contextmanager
def _directory(kept: Path | None, *, again: bool) -> Iterator[Path]:
    if kept:
        kept.mkdir(parents=True, exist_ok=again)
        yield kept.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        yield Path(name)


def _try_all(chosen: Sequence[Mutant], place: MutantDirectory, jobs: int) -> list[Verdict]:
    cache = Cache(default_root())
    bases = {name: mutant.original(name, cache) for name in dict.fromkeys(each.series for each in chosen)}
    unsound = _originals(chosen, place)
    started = time.monotonic()
    with ThreadPoolExecutor(jobs) as pool:
        verdicts = list(pool.map(lambda each: _told(each, bases, unsound, place), chosen))
    print(summary(verdicts, time.monotonic() - started))
    return verdicts


def _originals(chosen: Sequence[Mutant], place: MutantDirectory) -> Mapping[tuple[str, str], Collection[str]]:
    """For each series and machine, the cases that fail without any defect: they prove nothing."""
    found = {}
    for series, machine in dict.fromkeys((each.series, each.machine) for each in chosen):
        seen = trial.run(series, machine, trial.EVERYTHING, f"{series}-on-{machine}", place)
        if seen.trouble:
            raise LabError(f"{series} itself on {machine}: {seen.trouble}")
        print(f"{series} on {machine}: {len(seen.right)} cases as expected, {len(seen.wrong)} not {[*seen.wrong]}")
        found[series, machine] = seen.wrong.keys()
    return found


def _told(
    each: Mutant,
    bases: Mapping[str, Original],
    unsound: Mapping[tuple[str, str], Collection[str]],
    place: MutantDirectory,
) -> Verdict:
    """Try one mutant and print its row."""
    verdict = trial.attempt(each, bases[each.series], unsound[each.series, each.machine], place)
    by = ", ".join(verdict.killers[:3]) + (f" and {len(verdict.killers) - 3} more" if len(verdict.killers) > 3 else "")
    every = " (of all cases)" if verdict.asked_all else ""
    why = verdict.trouble or (by and f"by {by}{every}") or each.equal or "no case failed"
    print(f"{verdict.word:9} {each.name}: {each.breaks} [{verdict.seconds:.0f} s]\n          {why}", flush=True)
    return verdict


def share(verdicts: Sequence[Verdict], reports: Sequence[MutationReport] = ()) -> float:
    """How many of the mutants that can be killed were, of the table and of the generated ones."""
    mortal = [each for each in verdicts if not each.mutant.equal]
    killed, survived = generated.killed_and_survived(reports)
    differ = len(mortal) + killed + survived
    if not differ:
        return 1.0
    return (sum(each.word == "killed" for each in mortal) + killed) / differ


def total(verdicts: Sequence[Verdict], reports: Sequence[MutationReport]) -> str:
    """The one score, below a line for each series whose mutants were generated."""
    lines = [f"generated from {each.kernel}: {len(each.mutants)} mutants: {counted(each.results)}" for each in reports]
    mortal = sum(not each.mutant.equal for each in verdicts)
    differ = mortal + sum(generated.killed_and_survived(reports))
    lines.append(f"{share(verdicts, reports):.0%} of {differ} mutants that differ killed, by hand and generated")
    if missing := generated.not_tried(reports):
        lines.append(f"not tried: {missing}")
    return "\n".join(lines)


def summary(verdicts: Sequence[Verdict], seconds: float) -> str:
    """The last lines."""
    counts = {word: sum(each.word == word for each in verdicts) for word in dict.fromkeys(v.word for v in verdicts)}
    left = [each.mutant.name for each in verdicts if not each.good]
    said = ", ".join(f"{count} {word}" for word, count in counts.items())
    per = seconds / len(verdicts)
    ended = f"{len(verdicts)} mutants: {said}; {share(verdicts):.0%} of those that differ killed; {per:.0f} s each"
    return f"{ended}\nnot killed: {', '.join(left) or 'none'}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
