# SPDX-License-Identifier: GPL-2.0-or-later
"""The verb `lab pages`: one program on every page size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click
from click.core import ParameterSource

from lab.core.errors import InfraError, UsageError
from lab.core.untrusted import printable
from lab.verbs.common import print_note, progress_on_stderr
from lab.verbs.options import (
    TimeRange,
    config,
    connect,
    environment,
    kernels_or_baseline,
    refuse_unknown_option,
    root,
    sysroot,
    topologies,
    volumes,
)
from lab.verbs.places import open_cache, open_library
from lab.verbs.running import builds_end_with_us, load_of, print_factory_notes

if TYPE_CHECKING:
    from lab.arch.record import Arch
    from lab.specs.library import Library
    from lab.specs.model import Kernel
    from lab.workflows.one_guest import Workload
    from lab.workflows.pages.outcomes import MachineRun, PagesAnswer

Answer = TypeVar("Answer")
FILES = {"text": "pages.txt", "json": "pages.json", "junit": "pages-junit.xml", "html": "pages.html"}
"""Format -> the file of it in the directory of the answer."""


@click.command("pages", context_settings={"ignore_unknown_options": True})
@topologies
@kernels_or_baseline
@config
@connect
@sysroot
@environment
@root
@volumes
@click.option("--numa", is_flag=True, help="Try every layout of NUMA nodes too [one machine per page size].")
@click.option("--check", "check_only", is_flag=True, help="Look at the FILEs alone and boot nothing [boot].")
@click.option("--build", is_flag=True, help="Build the kernels that are not in the cache [report them as not tried].")
@click.option("--no-trace", is_flag=True, help="Do not run the program under ptrace when it ends otherwise [trace].")
@click.option("--status-only", is_flag=True, help="Compare how the program ends, and not its output [compare both].")
@click.option(
    "--timeout",
    type=TimeRange(),
    default=60.0,
    metavar="SECONDS",
    help="End the program after this many seconds, scaled up where the machine is emulated [60].",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "junit", "html"]),
    default="text",
    help="Print the answer in this format: text, json, junit or html [text].",
)
@click.option(
    *("--output", "-o"),
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write the answer in every format to files in this directory, too [none].",
)
@click.argument(
    "words",
    nargs=-1,
    required=True,
    type=click.UNPROCESSED,
    metavar="PROGRAM [ARGS]...",
    callback=refuse_unknown_option,
)
def pages(words: Sequence[str], check_only: bool, form: str, output: Path | None, **options: object) -> int:
    """Run a program on every page size of its architecture.

    The architecture is read from the program's header. The smallest page size is the control: there the program runs
    twice, so that output which changes from run to run does not count. On every other page size its exit status, its
    signal and its output are compared with the control's. Where it ends otherwise it runs once more under ptrace,
    which reports the signal, the address with the mappings beside it, and system calls that failed with EINVAL because
    of a number that is no multiple of the page. Before anything boots, the segments of the program and of its libraries
    are checked for their alignment.

    With --check the words are programs, libraries, directories, Debian packages, tars, APKs and wheels, which are
    only looked at. Of the options it takes --format and -o.

    Exit status: 0 no difference, 1 it depends on the page size, 2 the lab failed or a page size was not tried, 64 bad
    input.

    \b
    lab pages -- ./prog --version
    lab pages -t 'arm64-64k*' --status-only -- ./prog
    lab pages -k baseline -k debian:linux-image-arm64-16k -- ./prog
    lab pages --check ./libfoo.so ./package.deb ./app.apk
    """
    if check_only:
        return _check(words, form, output)
    _check_directory(output)
    outcome = _answer(words, **options)  # type: ignore[arg-type]
    _show(outcome, form, output)
    return outcome.exit_status


TAKEN_BY_CHECK = frozenset({"check_only", "form", "output", "words"})


def _check(words: Sequence[str], form: str, output: Path | None) -> int:
    """Look at files and print what was found; UsageError for an option that only matters where something boots."""
    from lab.workflows.pages import check_report, look

    context = click.get_current_context()
    for parameter in context.command.params:
        name = parameter.name or ""
        if name not in TAKEN_BY_CHECK and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise UsageError(f"--check boots nothing, so {max(parameter.opts, key=len)} has no effect")
    if not all(words):
        raise UsageError("--check: the name of a file is empty")
    _check_directory(output)
    checked = look.check([Path(word) for word in words])
    _write(check_report.FORMATS, checked, form, output)
    return checked.exit_status


def _check_directory(output: Path | None) -> None:
    """Raise UsageError, before anything runs, if the answer cannot be written to a directory."""
    from lab.core.paths import no_directory

    if output is not None and (why := no_directory(output)):
        raise UsageError(f"-o {output}: {why}")


def _answer(
    words: Sequence[str],
    *,
    topologies: Sequence[str],
    kernels: Sequence[str],
    config: Sequence[str],
    connect: str | None,
    sysroot: Path | None,
    root_: str | None,
    volumes: Sequence[str],
    environment: Sequence[str],
    numa: bool,
    build: bool,
    no_trace: bool,
    status_only: bool,
    timeout: float,
) -> PagesAnswer:
    """Choose the machines, look at the program, and run it on them."""
    from lab.build.builder import Builder
    from lab.guests.factory import open_factory
    from lab.host import doctor, programs
    from lab.workflows.pages import machines, trying

    library = open_library()
    arch = _architecture(words[0], library, topologies, in_root=root_ is not None)
    load = load_of(words, arch, root_, volumes, sysroot=sysroot, environment=environment)
    chosen = machines.choose(library, arch, topologies, numa=numa)
    specs: list[Kernel] = []
    for word in kernels:
        specs.append(library.with_config(library.kernel(word), config))
    looked = _looked_at(load, arch)
    programs.require("kernels")
    for topology in (chosen.control, *chosen.others):
        if why := doctor.lacking_for(topology):
            raise InfraError(f"{topology.name} cannot be booted on this host: {why}")
    builder = Builder(cache=open_cache(), sources=library.scenario_sources)
    wanted = trying.Wanted(
        load=load, kernels=tuple(specs), timeout_s=timeout, trace=not no_trace, build=build, output=not status_only
    )
    with builds_end_with_us(), open_factory(builder, uri=connect) as factory:
        try:
            return trying.answer(
                factory, chosen, wanted, looked=looked, report=_print_run, progress=progress_on_stderr()
            )
        finally:
            print_factory_notes(factory.notes)


def _architecture(program: str, library: Library, globs: Sequence[str], *, in_root: bool) -> Arch:
    """Return the architecture of a program of this host, or of the machines that were chosen for another.

    UsageError if neither says one.
    """
    from lab.build.roots.needed import read_head
    from lab.core.paths import is_file, no_file
    from lab.formats import elf, file_kinds
    from lab.specs import arches as arch

    path = Path(program)
    header, what = None, f": {no_file(path)}"
    if is_file(path):
        head = read_head(path)
        what = f" is {file_kinds.named(head) or 'no ELF file'}"
        if not (in_root and globs):
            header = elf.machine(head)
    if header is None:
        arches = {topology.arch for topology in library.select_topologies(globs)} if globs else set()
        if len(arches) == 1:
            return arch.find(arches.pop())
        raise UsageError(f"{program}{what}, so nothing says its architecture", hint="-t 'arm64*' says it")
    if known := arch.of_program(header):
        return known
    hint = f"{elf.described(header)}; lab list arches"
    raise UsageError(f"{program} is a program of an architecture that the lab does not have", hint=hint)


def _looked_at(load: Workload, arch: Arch) -> tuple[str, ...]:
    """Return what the static look finds in a program and in all that it loads; empty if it finds nothing."""
    from lab.build.roots import contents
    from lab.build.roots.needed import read_regular
    from lab.formats import elf_program
    from lab.workflows.pages import look

    programs = {}
    needs, lines = load.needs, []
    if load.root is not None:
        needs = contents.needs(load.words[0], load.program, load.root, arch)
        for library in needs.missing if needs else ():
            lines.append(
                f"{library.wanted_by} needs {library.name}, which is in no directory of the root for libraries"
            )
    if needs is not None:
        programs = dict(needs.programs)
    elif load.program is not None:
        try:
            programs = {load.program.name: elf_program.parse(read_regular(load.program))}
        except ValueError as error:
            raise UsageError(f"{load.program} cannot be run: {error}") from None
    looked = tuple(look.look_at(name, program, arch) for name, program in programs.items())
    return (*lines, *look.render(looked))


def _print_run(run: MachineRun) -> None:
    """Print a machine's result to stderr as it comes: the answer on stdout comes last."""
    ended = run.not_tried
    if run.attempts:
        ended = run.attempts[0].ended
    print_note(printable(f"{run.topology}: {ended}"))


def _show(outcome: PagesAnswer, form: str, output: Path | None) -> None:
    """Print the answer, and write it in every format if a directory is named."""
    from lab.workflows.pages import render

    _write(render.FORMATS, outcome, form, output)


def _write(formats: Mapping[str, Callable[[Answer], str]], answer: Answer, form: str, output: Path | None) -> None:
    """Print an answer in one of the formats; write it in all of them to a directory, if one is named."""
    from lab.core.cache import write_atomic

    print(formats[form](answer), end="")
    if output is not None:
        for name, file in FILES.items():
            write_atomic(output / file, formats[name](answer).encode())
