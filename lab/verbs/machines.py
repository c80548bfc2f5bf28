# SPDX-License-Identifier: GPL-2.0-or-later
"""The verb that makes a topology from this machine, or from the description of another one."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from lab.core.errors import UsageError
from lab.core.paths import user_path
from lab.verbs.common import print_note
from lab.verbs.options import parse_memory_option, parse_size_option

MAX_FILE = 4 << 20


@click.command()
@click.argument("files", nargs=-1, type=click.Path(), metavar="[FILE]...")
@click.option("--script", is_flag=True, help="Print the shell script that a reporter runs, and do nothing else.")
@click.option(
    *("--from", "sources"),
    multiple=True,
    type=click.Path(),
    metavar="FILE",
    help="Read the description of a machine from FILE, - for stdin, as the argument FILE does [describe this host].",
)
@click.option("--arch", metavar="ARCH", help="State the architecture if the description lacks it [as described].")
@click.option(
    "--page-size",
    callback=parse_size_option,
    metavar="SIZE",
    help="State the size of a page, such as 64K, if the description lacks it [as described].",
)
@click.option(
    *("--machine", "number"),
    type=click.IntRange(1),
    metavar="N",
    help="Use the Nth of several machines that are described in one text [the only one].",
)
@click.option("--partial", is_flag=True, help="Take a description that is cut off for the whole machine.")
@click.option(
    *("--output", "-o"),
    type=click.Path(path_type=Path),
    metavar="NAME.yaml",
    help="Write the topology NAME to this file [stdout].",
)
@click.option(
    "--memory",
    callback=parse_memory_option,
    metavar="SIZE",
    help="Give the guest SIZE bytes over all nodes, such as 2G [half of the available memory, at most 4G].",
)
@click.option(
    "--cpus",
    type=click.IntRange(1, 64),
    metavar="N",
    help="Give the guest at most N CPUs over all nodes [8, or one for each node with CPUs].",
)
def capture(
    *,
    files: Sequence[str],
    script: bool,
    sources: Sequence[str],
    arch: str | None,
    page_size: int | None,
    number: int | None,
    partial: bool,
    output: Path | None,
    memory: int | None,
    cpus: int | None,
) -> int:
    """Make a topology in the shape of a real machine.

    The machine is this host, or the one that the FILEs describe. Keeps the architecture, the page size, the nodes with
    their distances, nodes without CPUs or without memory, and the huge pages with their settings. Memory and CPUs
    shrink to what fits on this host.

    What was read, with the lines that it was read from, is printed on stderr before the topology is written, and so is
    what the topology cannot reproduce. A description that is cut off, or that has two machines in it, is refused.

    A reporter runs the script of --script and sends its output: it is plain shell and needs neither root nor anything
    installed. Read too is what people paste of lscpu, numactl -H, getconf PAGESIZE, uname, dmesg, lstopo and of files
    in /proc and /sys, also from mails, web pages and logs.

    \b
    lab capture
    lab capture -o here.yaml
    lab capture --script > capture.sh
    lab capture machine.txt -o reported.yaml
    lab capture numactl.txt --arch arm64 --page-size 64K -o reported.yaml
    lab capture --from lscpu.json --from numactl.txt --from cmdline.txt -o reported.yaml
    """
    from lab.core.untrusted import one_line, printable
    from lab.host import doctor
    from lab.workflows.machine import capture as reading
    from lab.workflows.machine.shrink import Room, shrink

    sources = (*files, *sources)
    if script:
        if sources or output:
            raise UsageError("--script cannot be combined with FILE, --from or --output")
        print(doctor.CAPTURE_SCRIPT.read_text("utf-8"), end="")
        return 0
    names = ["stdin" if source == "-" else Path(source).name for source in sources]
    texts = [_read(source) for source in sources]
    if not texts:
        names, texts = ["the machine itself"], [doctor.description()]
    choices = reading.Choices(arch=arch or "", page_size=page_size, machine=number, partial=partial)
    read = reading.read(list(zip(names, texts, strict=True)), choices)
    print(one_line(f"Read from {', '.join(names)}:"), file=sys.stderr)
    for line in read.lines():
        print(printable(line[:400]), file=sys.stderr)
    room = Room(memory=memory or min(4 << 30, doctor.available_memory() // 2), cpus=cpus)
    made = shrink(read.check(), room)
    text = made.yaml([one_line(f"Made by lab capture from {', '.join(names)}."), *map(one_line, read.guesses())])
    _write(text, output)
    for line in made.lost:
        print_note(f"not reproduced: {line}")
    return 0


def _read(source: str) -> str:
    """Return the text of a file, compressed or not, or of stdin; UsageError if it cannot be read or is too large."""
    from lab.formats import file_kinds
    from lab.formats.patches import packed

    try:
        with user_path("/dev/stdin" if source == "-" else source).open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise UsageError(f"{source}: cannot be read: {error.strerror}") from None
    if len(data) > MAX_FILE:
        raise UsageError(f"{source}: expected at most {MAX_FILE >> 20} MiB of text")
    data = packed.decompressed(data, source)
    if b"\0" in data and (kind := packed.archive(data) or file_kinds.named(data)):
        raise UsageError(f"{source}: expected text, found {kind.partition(':')[0]}")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")  # as PowerShell redirects
    return data.decode("utf-8-sig", "replace")


def _write(text: str, output: Path | None) -> None:
    """Write a topology to its file, and check that it loads from there; print it if there is no file."""
    from lab.core.cache import write_atomic
    from lab.specs import load
    from lab.specs.model import Topology

    if output is None:
        print(text, end="")
        return
    if output.suffix != ".yaml" or not load.NAME.fullmatch(output.stem):
        raise UsageError(f"-o: expected a file NAME.yaml, named as the topology, got {output}")
    if output.exists():
        raise UsageError(f"{output} already exists", hint="choose another name for -o")
    write_atomic(output, text.encode())
    load.read(output).build(Topology)
    there = output if output.parent != Path() else f"./{output}"
    print(f"{output}: try `lab exec -t {there} -k baseline -- cat /run/facts`", file=sys.stderr)
