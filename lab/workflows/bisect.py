# SPDX-License-Identifier: GPL-2.0-or-later
"""Find the commit that made a case fail: `git bisect` over kernels that are built, booted and tested.

The user's repository is only read: the bisection's state is in a clone that shares its objects. Kernels of one
repository share a work tree, so a step recompiles only what its commits changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from lab.build import source
from lab.build.builder import Builder
from lab.core import proc
from lab.core.cache import Cache
from lab.core.errors import InfraError, UsageError
from lab.core.outcome import Case, CaseRecord, Cause, CellStatus, Outcome
from lab.specs.library import Library
from lab.specs.model import CampaignSpec, Kernel, Topology
from lab.specs.plan import Plan, plan, resolve_cases
from lab.verdicts.compare import Summary
from lab.verdicts.judge import BOOT
from lab.workflows.try_patch import Wish

_FOUND = re.compile(r"^([0-9a-f]{40}) is the first (?:bad|fixed) commit$", re.MULTILINE)
_ANY = re.compile(r"first '?(?:bad|fixed)'? commit could be any of")
_LEFT = re.compile(r"^[0-9a-f]{40}$", re.MULTILINE)
GIT_S = 1800.0


class CommitVerdict(StrEnum):
    """The verdict on a commit that `git bisect` gets."""

    GOOD = "good"
    BAD = "bad"
    SKIP = "skip"


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedCommit:
    """A commit, its verdict, and the reason for it."""

    commit: str
    word: CommitVerdict
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstBad:
    """The first bad commit; several candidates if some commits could not be judged."""

    commits: tuple[str, ...]
    log: str
    """The output of `git bisect log`."""

    @property
    def exactly(self) -> bool:
        return len(self.commits) == 1


CommitJudge = Callable[[str], JudgedCommit]


def kernel_at(tree: Path, commit: str) -> Kernel:
    """Return the kernel of a commit, named after it."""
    return Kernel(name=f"g{commit[:12]}", source=f"git:{tree.absolute()}@{commit}")


def bisect(tree: Path, good: str, bad: str, scratch: Path, judge: CommitJudge, *, fixed: bool = False) -> FirstBad:
    """Return the first bad commit between `good` and `bad`; with `fixed`, the first good one.

    Both ends are tested first. UsageError if either has another verdict than the user stated: no further step would
    prove anything.
    """
    names = {CommitVerdict.BAD: bad, CommitVerdict.GOOD: good}
    ends = {word: source.commit_of(tree, name) for word, name in names.items()}
    early, late = CommitVerdict.GOOD, CommitVerdict.BAD
    if fixed:
        early, late = late, early
    _check_order(tree, early, late, names, ends)
    for word, commit in ends.items():
        step = judge(commit)
        if step.word is CommitVerdict.SKIP:
            raise UsageError(f"--{word} {names[word]} cannot be judged: {step.why}", hint="name a commit beside it")
        if step.word is not word:
            alike = f", as --{early if word is late else late} is said to be"
            raise UsageError(f"--{word} {names[word]} is {step.word}{alike}: {step.why}")
    return _search(_Clone.of(tree, scratch), ends[early], ends[late], judge, fixed=fixed)


def _check_order(
    tree: Path,
    early: CommitVerdict,
    late: CommitVerdict,
    names: Mapping[CommitVerdict, str],
    ends: Mapping[CommitVerdict, str],
) -> None:
    """Raise UsageError unless the early end is before the late one, and is another commit."""
    what = f"--{early} {names[early]}", f"--{late} {names[late]}"
    if ends[early] == ends[late]:
        raise UsageError(f"{what[0]} and {what[1]} are the same commit in {tree}")
    base = source.merge_base(tree, ends[early], ends[late])
    if base == ends[early]:
        return
    hint = "with --fixed --bad is the earlier end" if early is CommitVerdict.BAD else "to find what mended it: --fixed"
    if base != ends[late]:
        hint = f"they parted at {base[:12]}: --{early} {base[:12]}" if base else "they have no commit in common"
    raise UsageError(f"{what[0]} is not before {what[1]} in {tree}", hint=hint)


_TERMS = {CommitVerdict.BAD: "broken", CommitVerdict.GOOD: "fixed"}
"""What the two states are called in the log of a search for what mended a case: git's `bad` is the later one."""


def _search(clone: _Clone, early: str, late: str, judge: CommitJudge, *, fixed: bool) -> FirstBad:
    terms = [f"--term-old={_TERMS[CommitVerdict.BAD]}", f"--term-new={_TERMS[CommitVerdict.GOOD]}"] if fixed else []
    output = clone.git("bisect", "start", "--no-checkout", *terms, late, early)
    while (found := _result(output, clone)) is None:
        word = judge(clone.git("rev-parse", "BISECT_HEAD").strip()).word
        output = clone.git("bisect", _TERMS.get(word, word.value) if fixed else word.value, check=False)
    return found


def _result(output: str, clone: _Clone) -> FirstBad | None:
    """Return the result: the commit, or all candidates if the others were skipped; None if the bisection goes on."""
    if match := _FOUND.search(output):
        return FirstBad(commits=(match[1],), log=clone.git("bisect", "log"))
    if _ANY.search(output):
        return FirstBad(commits=tuple(_LEFT.findall(output)), log=clone.git("bisect", "log"))
    if "Bisecting:" not in output:
        raise InfraError(f"git bisect: {' '.join(output.split())[:300]}")
    return None


@dataclass(frozen=True, slots=True)
class _Clone:
    """A bare repository of the lab that shares the objects of the user's repository."""

    path: Path

    @classmethod
    def of(cls, tree: Path, scratch: Path) -> _Clone:
        clone = cls(scratch / "bisect.git")
        words = ["git", "-c", "safe.directory=*", "clone", "--quiet", "--bare", "--shared", str(tree), str(clone.path)]
        proc.run(words, timeout_s=GIT_S)
        return clone

    def git(self, *words: str, check: bool = True) -> str:
        argv = ["git", "-c", "safe.directory=*", "-C", str(self.path), *words]
        return proc.run(argv, timeout_s=GIT_S, whole=True, check=check).output


def plan_of(
    library: Library, topology: Topology, kernel: Kernel, wish: Wish, cache: Cache
) -> tuple[Plan, dict[str, tuple[Case, ...]]]:
    """Return the plan of one kernel on one machine, and the cases of each scenario; UsageError for an unknown case."""
    spec = CampaignSpec(
        name="bisect",
        topologies=(topology.name,),
        kernels=(kernel.name,),
        scenarios=wish.tests,
        isolation="shared",
        reuse_baseline=not wish.fresh,
    )
    planned = plan(spec, [topology], [kernel], library.select_scenarios(wish.tests), named=[topology.name])
    sources = library.scenario_sources
    declared = Builder(cache=cache, sources=sources).cases()
    names = {name: [case.name for case in cases] for name, cases in declared.items()}
    resolved = replace(resolve_cases(planned, names), sources=sources)
    selections = resolved.cells[0].scenarios
    return resolved, {
        selection.scenario: tuple(selection.asked_cases(declared[selection.scenario])) for selection in selections
    }


def judged(commit: str, summary: Summary, *, boots_badly: CommitVerdict) -> JudgedCommit:
    """Return the verdict on a commit from a run of its kernel.

    A kernel that never boots gets the verdict `boots_badly`; one that does not build, or boots only sometimes, is
    skipped. Complaints at boot are not what is searched for. InfraError if the lab failed: nothing is concluded about
    the commit.
    """
    cells = summary.evidence.cells
    boots = sum(cell.status is not CellStatus.NO_BOOT for cell in cells)
    if not boots:
        return JudgedCommit(commit=commit, word=boots_badly, why="does not boot")
    if boots < len(cells):
        return JudgedCommit(commit=commit, word=CommitVerdict.SKIP, why=f"boots {boots} times of {len(cells)}")
    cell = next((cell for cell in cells if cell.status is not CellStatus.OK), cells[0])
    if cell.status is CellStatus.BROKEN and cell.cause is Cause.BUILD:
        return JudgedCommit(commit=commit, word=CommitVerdict.SKIP, why=f"does not build: {cell.why}")
    if cell.status is not CellStatus.OK:
        raise InfraError(f"{commit[:12]}: {cell.status}: {cell.why}")
    return _judged_records(commit, [record for record in summary.records if record.case != BOOT])


def _judged_records(commit: str, records: Sequence[CaseRecord]) -> JudgedCommit:
    """Return bad if a case is bad, good if all passed, else skip: a result proves nothing, or no case was run."""
    bad = [record for record in records if record.outcome in BAD]
    unclear = [record for record in records if record.outcome not in BAD and record.outcome is not Outcome.PASS]
    if bad:
        return JudgedCommit(commit=commit, word=CommitVerdict.BAD, why="; ".join(_verdict_lines(bad)))
    if unclear or not records:
        why = "; ".join(_verdict_lines(unclear)) or "no case was run"
        return JudgedCommit(commit=commit, word=CommitVerdict.SKIP, why=why)
    return JudgedCommit(commit=commit, word=CommitVerdict.GOOD, why=f"{len(records)} passed")


BAD = frozenset({Outcome.FAIL, Outcome.CRASH, Outcome.HANG, Outcome.LEAK})


def _verdict_lines(records: Iterable[CaseRecord]) -> Iterator[str]:
    for record in list(records)[:3]:
        yield f"{record.label} {record.verdict}" + (f": {record.reason}" if record.reason else "")


def title(tree: Path, commit: str) -> str:
    """Return a commit's hash and subject: `1234567890ab mm: fix x`."""
    return source.git(tree, "show", "--no-patch", "--format=%h %s", "--abbrev=12", commit).strip()
