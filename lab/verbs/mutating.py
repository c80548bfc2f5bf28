# SPDX-License-Identifier: GPL-2.0-or-later
"""The verb that measures tests: `mutate` makes defects out of a patch and reports which of them the tests notice."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lab.core.errors import UsageError
from lab.core.paths import user_path
from lab.core.untrusted import printable
from lab.verbs import completing, options
from lab.verbs.common import progress_on_stderr
from lab.verbs.patches import PatchOptions, patch_options
from lab.verbs.places import open_cache, open_library
from lab.verbs.running import builds_end_with_us, run_places

if TYPE_CHECKING:
    from lab.cluster.session import ClusterChoice
    from lab.specs.library import Library
    from lab.specs.model import Kernel
    from lab.workflows.mutation_task import MutationTask

MACHINE = "x86_64-4k-2node"


@click.command()
@click.argument("patch", metavar="[PATCH|REV..REV]", type=click.Path(), required=False)
@patch_options
@click.option(
    *("--kernel", "-k"),
    metavar="K",
    shell_complete=completing.KERNELS,
    help="Mutate the series of this kernel instead of a patch: a name from `lab list kernels`, or a YAML file [none].",
)
@click.option(
    *("--topology", "-t"),
    metavar="T",
    default=MACHINE,
    shell_complete=completing.TOPOLOGIES,
    help=f"Boot the mutants on this machine: a name or a YAML file [{MACHINE}].",
)
@click.option(
    "--function",
    "functions",
    multiple=True,
    metavar="[FILE:]NAME",
    help="Mutate all lines of this function of the patched source instead of those that the patch adds; NAME may be a "
    "glob, FILE is one that the patch changes if it is omitted; repeats [the lines that the patch adds].",
)
@options.tests
@options.programs
@options.suites
@options.config
@options.provides
@click.option(
    "--minutes",
    type=options.NumberRange(min=0),
    metavar="N",
    help="Start no mutant after N minutes; every function of the patch gets its share first [no limit].",
)
@click.option(
    "--least",
    type=options.NumberRange(0, 100),
    metavar="PERCENT",
    help="Exit with status 1 if the score is less than PERCENT [0].",
)
@click.option(
    "--no-coverage", is_flag=True, help="Try mutants without counting first which lines the tests run [count]."
)
@click.option(
    "--equal",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.json",
    help="Read from FILE.json why some survivors cannot be noticed: what each changes, to the reason; may be repeated "
    "[none].",
)
@click.option(
    "--survivors",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Take what the mutation in DIR killed as killed, and try the others, its survivors first, with the tests and "
    "presets of now [try all].",
)
@options.resume
@click.option("--list", "only_list", is_flag=True, help="Print the mutants and try none of them [try them].")
@options.output("results/TIME-mutate")
@options.cold
@options.packed
@options.connect
@options.elsewhere
def mutate(
    patch: str | None,
    *,
    chosen: PatchOptions,
    minutes: float | None,
    least: float | None,
    no_coverage: bool,
    equal: Sequence[Path],
    survivors: Path | None,
    resume: Path | None,
    only_list: bool,
    output: Path | None,
    cold: bool,
    jobs: int | None,
    memory: int | None,
    connect: str | None,
    cluster: ClusterChoice | None,
    **words: Any,
) -> int:
    """Break a patch, or functions, and see what tests notice.

    Each defect (a condition negated, a lock removed, an error code replaced ...) is built and booted; the cases that
    run its line come first, then the others. A mutant that a case, the console or the boot notices is killed.

    Exit status: 0 the mutants were tried, 1 the score is less than --least, 2 the lab failed, 64 bad input.

    \b
    lab mutate my.patch --tree ~/linux --test 'expand.*' --minutes 30
    lab mutate -k expand-fault -t arm64-64k-2node
    lab mutate -k expand-fault --config kasan --config lockdep
    lab mutate my.patch --tree ~/linux --suite kselftest-mm --test 'kselftest-mm.mremap*'
    lab mutate -k expand-fault --config lockdep --survivors results/20260102T030405Z-mutate
    lab mutate -k expand-fault --function mm/mremap.c:move_vma --minutes 30
    lab mutate -k expand-fault --hosts hosts.yaml
    lab mutate --resume results/20260102T030405Z-mutate
    """
    from lab.report._patch import mutation as mutation_report
    from lab.workflows import mutate as mutation
    from lab.workflows import mutation_task

    if resume and (patch or output or survivors or any(words[name] for name in _OF_THE_TASK)):
        raise UsageError("--resume takes the patch, the tests and the directory from the mutation: omit them")
    task, library = _task_and_library(resume, patch, chosen, words)
    if only_list:
        return _list_mutants(task)
    directory = resume or output or Path("results", f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-mutate")
    arguments = mutation_task.read_arguments(equal, task.mutants)
    if not resume:
        carried = mutation_task.carry(survivors, task) if survivors else ()
        mutation_task.open_task(directory, task, carried)
    with builds_end_with_us():
        builder = mutation.builder(task, library, open_cache(), progress_on_stderr())
        with run_places(cluster, builder, jobs=jobs, memory=memory, connect=connect, cold=cold) as (guests, packing):
            work = mutation.Mutate(
                directory=directory.absolute(),
                task=task,
                library=library,
                builder=builder,
                guests=guests,
                packing=packing,
                tell=_print_line,
                minutes=minutes,
                arguments=arguments,
                with_coverage=not no_coverage,
                max_guests=mutation.MAX_CLUSTER_GUESTS if cluster else mutation.MAX_GUESTS,
            )
            report = work.run()
    print(printable(mutation_report.write(directory, report, mutation.coverage_of(directory, task))))
    print(f"results: {directory}")
    return int((report.score or 0.0) < (least or 0.0) / 100)


_OF_THE_TASK = ("kernel", "tests", "provides", "programs", "suites", "config", "functions")
"""Options whose values mutants.json has."""


def _task_and_library(
    resume: Path | None, patch: str | None, chosen: PatchOptions, words: dict[str, Any]
) -> tuple[MutationTask, Library]:
    """Return a new task, or the one that is resumed, and the library with its programs."""
    from lab.workflows import mutation_task

    if resume:
        task = mutation_task.read_task(resume)
        return task, open_library().with_programs(task.programs)
    library = open_library().with_programs(words["programs"])
    return _task(library, patch, chosen, words), library


def _list_mutants(task: MutationTask) -> int:
    for mutant in task.mutants:
        print(f"{mutant.name:28} {mutant.place} {mutant.function}: {mutant.what}")
    return 0


def _print_line(text: str) -> None:
    print(text, flush=True)


def _task(library: Library, patch: str | None, chosen: PatchOptions, words: dict[str, Any]) -> MutationTask:
    """The task of a new mutation: of a kernel's series, or of a patch upon a tree."""
    from lab.host import programs
    from lab.workflows import mutation_task

    if (patch is None) == (words["kernel"] is None):
        raise UsageError("expected a PATCH or --kernel K, one of the two")
    if words["suites"] and words["programs"]:
        raise UsageError("--suite replaces the scenarios, so --with would add nothing", hint="run them apart")
    programs.require_suites(words["suites"])
    kernel = library.kernel(words["kernel"]) if words["kernel"] else _patched(library, str(patch), chosen, words)
    functions = tuple(words["functions"])
    if kernel.series is None and not functions:
        raise UsageError(
            f"kernel {kernel.name} has no series whose lines could be mutated",
            hint="name functions of its source: --function mm/mremap.c:move_vma",
        )
    kernel = library.with_config(kernel, words["config"])
    return mutation_task.MutationTask(
        kernel=library.for_suites(kernel, words["suites"]),
        topology=library.topology(words["topology"]),
        tests=tuple(words["tests"]),
        suites=tuple(words["suites"]),
        programs=tuple(str(user_path(program).absolute()) for program in words["programs"]),
        functions=functions,
        mutants=mutation_task.generate(kernel, open_cache(), functions),
    )


def _patched(library: Library, patch: str, chosen: PatchOptions, target: dict[str, Any]) -> Kernel:
    """The kernel of a tree with a patch, as `lab try` makes it; its source is fetched or copied."""
    from lab.build import source
    from lab.workflows import try_patch

    wish = try_patch.Wish(topologies=(target["topology"],), scenarios=(), provides=tuple(target["provides"]))
    campaign = try_patch.prepare(chosen.change(patch), wish, open_cache())
    kernel = library.kernel(str(campaign.with_name(f"{try_patch.PATCHED}.yaml")))
    source.resolve(kernel.source, cache=open_cache())
    return kernel
