# SPDX-License-Identifier: GPL-2.0-or-later
"""`make series-check [ARGS="KERNEL..."]`: check the patches of kernels' series one by one; exit 1 if one complains."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.build import series
from lab.build.series import Patch
from lab.core import proc
from lab.core.cache import Cache, default_root
from lab.core.errors import InfraError, LabError
from lab.core.paths import images
from lab.core.progress import silent
from lab.specs.library import Library
from lab.specs.model import Kernel
from tests.series_check import tree as trees
from tests.series_check.tree import CHECKERS, Checker, Tree

MACHINE = "x86_64-4k-2node"
CHECKPATCH_S = 300.0
UNKNOWN = "UNKNOWN_COMMIT_ID"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """What a checker makes of the tree without patches: its warnings, and the objects that compile."""

    checker: Checker
    warnings: set[tuple[str, str]]
    objects: frozenset[str]


def main(argv: Sequence[str]) -> int:
    """Print a line per patch and check; 0 if no check complains, else 1; 2 if nothing could be checked."""
    options = argparse.ArgumentParser(prog="make series-check", description=__doc__)
    options.add_argument("kernels", nargs="*", metavar="KERNEL", help="kernels with a series, or globs of them [all]")
    asked = options.parse_args(argv)
    library = Library.shipped()
    try:
        chosen = [each for each in library.select_kernels(asked.kernels or ["*"]) if not each.baseline]
        if not chosen:
            options.error("none of these kernels has a series")
        complaints = 0
        for kernel in chosen:
            complaints += check(kernel, library)
    except LabError as error:
        print(f"make series-check: {error}", file=sys.stderr)
        return 2
    print(f"{len(chosen)} kernels, {complaints} complaints")
    return 1 if complaints else 0


def check(kernel: Kernel, library: Library) -> int:
    """Check the patches of one kernel, each on top of those before it; return the number of complaints."""
    cache = Cache(default_root())
    with trees.opened(kernel, library.topology(MACHINE), cache=cache, progress=silent) as tree:
        version = _release((tree.pristine / "Makefile").read_text())
        patches = series.load(kernel.series, version, root=images() / "series").patches
        print(f"{kernel.name}: {len(patches)} patches")
        complaints = _check_all(tree, patches)
        tree.switch({})
    return complaints


def _check_all(tree: Tree, patches: Sequence[Patch]) -> int:
    """Apply the patches one by one, check each, and return the number of complaints."""
    plain = _plain(tree, patches)
    complaints = 0
    for number, patch in enumerate(patches, start=1):
        print(f"  {patch.name}")
        tree.switch(series.changed_files(patches[:number], tree.original))
        for name, lines in _checks(tree, patch, plain):
            complaints += len(lines)
            print(f"    {name}: {f'{len(lines)} complaints' if lines else 'clean'}")
            for line in lines:
                print(f"      {line}")
    return complaints


def _release(makefile: str) -> str:
    """Return VERSION.PATCHLEVEL of a kernel's Makefile."""
    values = dict(line.split(" = ", 1) for line in makefile.splitlines()[:6] if " = " in line)
    return f"{values['VERSION']}.{values['PATCHLEVEL']}"


def _plain(tree: Tree, patches: Sequence[Patch]) -> list[Plain]:
    """Return what each installed checker says about the files of all patches without any patch."""
    targets = sorted({target for patch in patches for target in _targets(patch)})
    tree.switch({})
    found = []
    for checker in CHECKERS:
        if checker.missing:
            print(f"  {checker.name}: not checked, for want of {', '.join(checker.missing)}")
            continue
        warnings = tree.warnings(checker, targets)
        objects = frozenset(target for target in targets if (tree.root / checker.build / target).exists())
        if targets and not objects:
            raise InfraError(f"{checker.name}: compiles no file of the series, even unpatched: {tree.said()}")
        found.append(Plain(checker=checker, warnings=warnings, objects=objects))
    return found


def _targets(patch: Patch) -> list[str]:
    """Return the objects of the C files that a patch changes in the kernel itself."""
    touched = sorted({change.new for change in patch.changes if change.new})
    return [f"{name[:-2]}.o" for name in touched if name.endswith(".c") and not name.startswith("tools/")]


def _checks(tree: Tree, patch: Patch, plain: Sequence[Plain]) -> Iterator[tuple[str, list[str]]]:
    """Yield the name of each check of a patch that the tree has, and what it complains about."""
    yield "checkpatch --strict", checkpatch(tree.src, patch.path)
    targets = _targets(patch)
    for each in plain:
        objects = [target for target in targets if target in each.objects]
        if not objects:
            continue
        left_out = len(targets) - len(objects)
        name = f"{each.checker.name}, {len(objects)} objects"
        if left_out:
            name += f" ({left_out} are not of this configuration)"
        yield name, _new_warnings(tree, each, objects)


def checkpatch(src: Path, patch: Path) -> list[str]:
    """Return the complaints of the tree's own checkpatch. It cannot look up commits: the source has no history."""
    words = ("perl", "scripts/checkpatch.pl", "--strict", "--terse", "--no-summary", "--ignore", UNKNOWN, str(patch))
    output = proc.run(words, cwd=src, timeout_s=CHECKPATCH_S, check=False, whole=True).output
    marks = (": ERROR: ", ": WARNING: ", ": CHECK: ")
    found = (line.removeprefix(f"{patch}:") for line in output.splitlines())
    return [f"line {line}" for line in found if any(mark in line for mark in marks)]


def _new_warnings(tree: Tree, plain: Plain, objects: Sequence[str]) -> list[str]:
    """Return what a checker says about the objects and does not say without any patch."""
    found = tree.warnings(plain.checker, objects)
    complaints = [f"{name}: {text}" for name, text in sorted(found - plain.warnings)]
    for target in objects:
        if not (tree.root / plain.checker.build / target).exists():
            complaints.append(f"{target}: does not compile: {tree.said()}")
    return complaints


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
