# SPDX-License-Identifier: GPL-2.0-or-later
"""What became of the mutants of a patch, and the score of its tests. Pure; mutate.json is this model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Fate(StrEnum):
    """What became of a mutant."""

    KILLED = "killed"  # a case that passes on the patched kernel does not pass on this one, or it does not boot
    SURVIVED = "survived"  # every case that was run passed
    NOT_RUN = "survived: no case runs the line"  # coverage says so; no guest was started
    EQUAL = "equal"  # the compiler made the same kernel of it
    NOT_COMPILED = "not compiled here"  # the machine's configuration leaves its line out
    NOT_BUILT = "not built"  # it does not compile
    NO_VERDICT = "no verdict"  # the lab failed


SURVIVORS = (Fate.SURVIVED, Fate.NOT_RUN)


class _MutationModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MutantSpec(_MutationModel):
    """One mutant: a defect in one line of what a patch adds."""

    name: str
    """A word: m001-negate-condition."""
    file: str
    line: int
    """Of the patched tree, from 1."""
    function: str
    operator: str
    what: str
    """Before and after, in one line."""
    diff: str
    """The defect as a patch on top of the patched tree."""

    @property
    def changed_lines(self) -> tuple[str, ...]:
        """The removed and the added lines of its diff, each with its sign."""
        return tuple(line for line in self.diff.splitlines()[2:] if line.startswith(("-", "+")))

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"

    @property
    def change(self) -> str:
        """What it does to which function, `FILE FUNCTION: BEFORE -> AFTER`: how a file of arguments names it."""
        return f"{self.file} {self.function}: {self.what}"


class MutantResult(_MutationModel):
    """What became of one mutant."""

    name: str
    fate: Fate
    by: tuple[str, ...] = ()
    """What killed it: `scenario.case (OUTCOME)`, or `boot (NO_BOOT)`."""
    seconds: float = 0.0
    """Build and guests."""
    elapsed_s: float = 0.0
    """Seconds of the clock since the result before it, or since mutants are tried: mutants overlap."""
    cases: int = 0
    """How many cases were run on it."""
    why: str = ""
    """Of NOT_BUILT and NO_VERDICT: the reason."""
    argument: str = ""
    """Of a survivor: why no test tells it from the original, as a file of the user's says. It is taken for equal, and
    left out of the score, unless the text begins with NOT_EQUAL."""
    earlier: str = ""
    """The directory of the earlier mutation that this result is from; empty for a mutant that was tried now."""

    @property
    def counts_as_survivor(self) -> bool:
        """Whether it survived, and no argument says that it is equal."""
        return self.fate in SURVIVORS and not says_equal(self.argument)

    @property
    def stated_argument(self) -> str:
        """The argument and what it takes the mutant for, `equal: ...` or `not equal: ...`; empty without one."""
        return f"equal: {self.argument}" if says_equal(self.argument) else self.argument


class MutationReport(_MutationModel):
    """All mutants of a patch with what became of them; those without a result were not reached."""

    kernel: str
    machine: str
    mutants: tuple[MutantSpec, ...]
    results: tuple[MutantResult, ...]
    tests_s: float | None = None
    """How long all tests take on the patched kernel; None before they ran."""
    counting_s: float | None = None
    """How long they take on the same kernel with gcov; None if nobody counted."""

    @property
    def score(self) -> float | None:
        """Killed of those that are killed or count as survivors, from 0 to 1; None if there are none."""
        return score(self.results)

    def by_function(self) -> dict[str, tuple[MutantResult, ...]]:
        """Return the results of each function that the patch changes, in the order of the mutants."""
        results = {result.name: result for result in self.results}
        by_function: dict[str, list[MutantResult]] = {}
        for mutant in self.mutants:
            if mutant.name in results:
                where = f"{mutant.file}: {mutant.function or 'macro'}"
                by_function.setdefault(where, []).append(results[mutant.name])
        return {where: tuple(several) for where, several in by_function.items()}

    def survivors(self) -> tuple[tuple[MutantSpec, MutantResult], ...]:
        """Return the survivors, those with an argument too, in the order of their lines."""
        results = {result.name: result for result in self.results}
        found = []
        for mutant in self.mutants:
            result = results.get(mutant.name)
            if result and result.fate in SURVIVORS:
                found.append((mutant, result))
        return tuple(found)


NOT_EQUAL = "not equal: "


def says_equal(argument: str) -> bool:
    """Whether an argument takes a survivor for equal. Another one says why no test notices what is a defect."""
    return bool(argument) and not argument.startswith(NOT_EQUAL)


def counted(results: Iterable[MutantResult]) -> str:
    """Return how many mutants met each fate, in the order of the vocabulary: `9 killed, 2 survived`."""
    counts = Counter(result.fate for result in results)
    return ", ".join(f"{counts[fate]} {fate}" for fate in Fate if counts[fate])


def score(results: Iterable[MutantResult]) -> float | None:
    """Return killed / (killed + survived), from 0 to 1; None if no mutant is either.

    Survivors that an argument takes for equal are left out.
    """
    killed = survived = 0
    for result in results:
        killed += result.fate is Fate.KILLED
        survived += result.counts_as_survivor
    return killed / (killed + survived) if killed + survived else None


def carried(
    mutants: Iterable[MutantSpec],
    earlier: Iterable[MutantSpec],
    results: Iterable[MutantResult],
    directory: str,
    *,
    same_kernel: bool,
) -> tuple[MutantResult, ...]:
    """Return what `results` of the mutation in `directory`, of the mutants `earlier`, say of the mutants of another.

    A mutant is the same if it changes the same lines of the same function. What was killed stays killed. What the
    compiler decided holds where `same_kernel`: configuration, machine and source were the same. A survivor is one until
    it is tried again.
    """
    fates = [Fate.KILLED, *SURVIVORS]
    if same_kernel:
        fates += [Fate.EQUAL, Fate.NOT_COMPILED, Fate.NOT_BUILT]
    by_name = {result.name: result for result in results if result.fate in fates}
    decided: dict[tuple[str, tuple[str, ...]], list[MutantResult | None]] = {}
    for mutant in earlier:
        decided.setdefault(_defect(mutant), []).append(by_name.get(mutant.name))
    found = []
    for mutant in mutants:
        same = decided.get(_defect(mutant))
        if same and (result := same.pop(0)):
            origin = result.earlier or directory
            found.append(result.model_copy(update={"name": mutant.name, "earlier": origin}))
    return tuple(found)


def _defect(mutant: MutantSpec) -> tuple[str, tuple[str, ...]]:
    return mutant.change, mutant.changed_lines


def fair_order(mutants: Sequence[MutantSpec]) -> tuple[MutantSpec, ...]:
    """Return the mutants so that each function has its first before any has its second, and so on."""
    rounds: dict[tuple[str, str], int] = {}
    numbered = []
    for place, mutant in enumerate(mutants):
        function = (mutant.file, mutant.function)
        rounds[function] = rounds.get(function, -1) + 1
        numbered.append((rounds[function], place, mutant))
    numbered.sort(key=_round_and_place)
    return tuple(mutant for _, _, mutant in numbered)


def _round_and_place(numbered: tuple[int, int, MutantSpec]) -> tuple[int, int]:
    turn, place, _ = numbered
    return turn, place
