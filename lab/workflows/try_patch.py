# SPDX-License-Identifier: GPL-2.0-or-later
"""Make a campaign of a patch and a tree: the kernels without and with the patch, the machines, the tests.

The campaign is an entry `try/<key>` of the cache: plain files, as users write them, that `lab run` accepts:

    <campaign>.yaml  baseline.yaml  patched.yaml  patched/0001-mm-fix-x.patch

A command becomes a scenario of one case, in a separate entry.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from lab.core.cache import Cache, digest
from lab.formats.patches.mail import MailedPatch
from lab.specs.library import Library
from lab.specs.model import Topology
from lab.specs.plan import node_count
from lab.workflows.change import Change

if TYPE_CHECKING:
    from lab.verdicts.compare import Summary

ENTRY = "try"
BASELINE = "baseline"
PATCHED = "patched"
COMMAND = "command"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """The machines and tests to run with a change."""

    topologies: Sequence[str]
    scenarios: Sequence[str]
    """Words as in --test; all scenarios if empty and there is no command."""
    provides: Sequence[str] = ()
    each: bool = False
    fresh: bool = False
    """Run the unpatched tree again, even if an earlier run has its evidence."""
    command: Sequence[str] = ()
    timeout_s: float = 60.0

    @property
    def tests(self) -> tuple[str, ...]:
        """Return the words of --test for all scenarios of the request, the command included."""
        if not self.command:
            return tuple(self.scenarios)
        return (*self.scenarios, COMMAND)


def prepare(change: Change, wish: Wish, cache: Cache) -> Path:
    """Write the campaign's file and the files that it names, and return its path."""
    files = files_of(change, wish)

    def make(into: Path) -> None:
        for name, content in files.items():
            (into / name).parent.mkdir(exist_ok=True)
            (into / name).write_bytes(content)

    parts: list[str | bytes] = []
    for name, content in sorted(files.items()):
        parts += [name, content]
    return cache.entry(ENTRY, digest(*parts), make) / f"try-{change.name}.yaml"


def command_file(wish: Wish, cache: Cache) -> tuple[Path, ...]:
    """Return the C file of the scenario that runs the command, stored in the cache; empty if there is no command."""
    if not wish.command:
        return ()
    text = command_program(wish.command, wish.provides, wish.timeout_s)

    def make(into: Path) -> None:
        (into / f"{COMMAND}.c").write_text(text)

    return (cache.entry(ENTRY, digest(text), make) / f"{COMMAND}.c",)


def files_of(change: Change, wish: Wish) -> dict[str, bytes]:
    """Return name -> content of every file of the campaign for a change."""
    kernels = _kernels(change, wish)
    because = f" ({change.why})" if change.why else ""
    campaign = {
        "description": f"{change.name}, {len(change.patches)} patches on {change.base}{because}",
        "topologies": list(wish.topologies),
        "kernels": [f"./{name}.yaml" for name in kernels],
        "scenarios": ["*"],
        "isolation": "shared",
        "reuse_baseline": not wish.fresh,
    }
    files = {f"try-{change.name}.yaml": _yaml(campaign)}
    for name, patches in kernels.items():
        files[f"{name}.yaml"] = _yaml(_kernel(change, wish, name, last=len(patches) == len(change.patches)))
        for number, patch in enumerate(patches, start=1):
            files[f"{name}/{number:04}-{patch.name}.patch"] = patch.data
    return files


def _kernels(change: Change, wish: Wish) -> dict[str, tuple[MailedPatch, ...]]:
    """Return kernel name -> its patches: none, then all; with --each, one more for every kernel."""
    if not wish.each or len(change.patches) == 1:
        return {BASELINE: (), PATCHED: change.patches}
    kernels: dict[str, tuple[MailedPatch, ...]] = {BASELINE: ()}
    for step, patch in enumerate(change.patches, start=1):
        kernels[f"{step:02}-{patch.name}"] = change.patches[:step]
    return kernels


def _kernel(change: Change, wish: Wish, name: str, *, last: bool) -> dict[str, object]:
    if name == BASELINE:
        return {"description": "the tree without the patches", "source": change.base}
    kernel: dict[str, object] = {"description": "the tree with them", "source": change.base, "series": f"./{name}"}
    if not wish.provides or not last:
        return kernel
    return {**kernel, "provides": list(wish.provides)}


def _yaml(data: object) -> bytes:
    """Return data as YAML: JSON, which YAML includes, with one key per line."""
    return (json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode()


def command_program(words: Sequence[str], provides: Sequence[str], timeout_s: float) -> str:
    """Return the C text of a scenario with one case that runs a command in the guest.

    The exit status decides: 0 passes, 125 skips, any other fails, as does a signal.
    """
    listed = ", ".join(map(json.dumps, words))
    requires = f", .requires = {json.dumps(' '.join(provides))}" if provides else ""
    return f"""/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lab.h"

static const char *const command_words[] = {{ {listed}, NULL }};

static void command(void)
{{
	int status;
	pid_t pid = LAB_SETUP(fork());

	if (!pid) {{
		execvp(command_words[0], (char *const *)command_words);
		dprintf(2, "%s: %s\\n", command_words[0], strerror(errno));
		_exit(127);
	}}
	LAB_SETUP(waitpid(pid, &status, 0));
	if (WIFSIGNALED(status))
		LAB_FAIL("killed by signal %d", WTERMSIG(status));
	if (WEXITSTATUS(status) == 125)
		LAB_SKIP("exit status 125");
	if (WEXITSTATUS(status))
		LAB_FAIL("exit status %d", WEXITSTATUS(status));
}}

LAB_CASES(
	{{ LAB_CASE(command), .about = "a command of the user's", .timeout_s = {max(1, round(timeout_s))}{requires},
		.leaves = "whatever the command left" }},
)
"""


def unprovided(summary: Summary) -> list[str]:
    """Return the features that the patches appear to provide although --provides does not name them.

    A case that requires such a feature had to fail but passed on a patched kernel, and did so on no baseline.
    """
    requires = {
        f"{scenario}.{case.name}": case.requires
        for scenario, cases in summary.evidence.metadata.cases.items()
        for case in cases
    }
    found: dict[str, set[str]] = {}
    for record in summary.no_power:
        for feature in requires.get(record.label, ()):
            found.setdefault(feature, set()).add(record.kernel)
    return sorted(feature for feature, kernels in found.items() if BASELINE not in kernels)


def scenarios(tests: Sequence[str], programs: Sequence[str]) -> list[str]:
    """Return the words of --test, then the names of the user's own programs that no word matches: all their cases."""
    words = [*tests]
    for program in programs:
        name = Path(program).stem
        if not any(fnmatchcase(name, test.partition(".")[0]) for test in tests):
            words.append(name)
    return words


def suite_machines(
    library: Library, arches: Sequence[str], lacking: Callable[[Topology], str]
) -> tuple[list[str], list[str]]:
    """Return the names of the machines with the memory that suites ask for, and a line for each that was left out."""
    chosen: list[str] = []
    left: list[str] = []
    for topology in library.campaign("suites").topologies:
        if arches and topology.arch not in arches:
            continue
        if why := lacking(topology):
            left.append(f"{topology.name}: {why}")
        else:
            chosen.append(topology.name)
    return chosen, left


def default_machines(
    library: Library, arches: Sequence[str], lacking: Callable[[Topology], str]
) -> tuple[list[str], list[str]]:
    """Return the names of one machine per page size and one with two nodes, and a line for each that was left out."""
    first = [*library.campaign("quick").topologies, *library.campaign("pagesizes").topologies]
    every = [*first, *library.select_topologies(["*"])]
    wanted = [machine for machine in every if not arches or machine.arch in arches]
    chosen: dict[object, Topology] = {}
    left: dict[str, str] = {}
    for topology in wanted:
        kind = {1: topology.page_size, 2: "nodes"}.get(node_count(topology))
        if kind is None or kind in chosen:
            continue
        if why := lacking(topology):
            left[topology.name] = why
        else:
            chosen[kind] = topology
    return [machine.name for machine in chosen.values()], [f"{name}: {why}" for name, why in left.items()]
