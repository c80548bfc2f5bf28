# SPDX-License-Identifier: GPL-2.0-or-later
"""Verbs that make machines: of this one, or of what somebody sent."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from lab.core.errors import UsageError
from lab.core.paths import user_path
from lab.verbs.common import size

MAX_FILE = 4 << 20


@click.command()
@click.option("--script", is_flag=True, help="Print the shell script that a reporter runs.")
@click.option(
    *("--from", "sources"),
    multiple=True,
    type=click.Path(),
    metavar="FILE",
    help="What a reporter sent, or pasted; - is stdin. Several are one machine.",
)
@click.option("--output", "-o", type=click.Path(path_type=Path), help="The topology's file, NAME.yaml [stdout].")
@click.option("--memory", callback=size, metavar="SIZE", help="For the guest [half of what is available, at most 4G].")
@click.option("--cpus", type=click.IntRange(1, 64), default=8, help="For the guest, over all nodes [8].")
def capture(*, script: bool, sources: Sequence[str], output: Path | None, memory: int | None, cpus: int) -> int:
    """This machine, or a reporter's, as a topology of the same shape that fits here.

    Architecture, page size, nodes and distances, nodes without CPUs or memory, huge pages and their settings stay;
    sizes shrink. What could not be kept is told on stderr and stands in the file.

    A reporter runs the script and sends its output: it is plain shell, needs no root and nothing installed. What they
    paste of lscpu -J, numactl -H, getconf PAGESIZE, /proc/cmdline and /proc/meminfo will do, too.

    \b
    lab capture
    lab capture -o here.yaml
    lab capture --script > capture.sh
    lab capture --from machine.txt -o reported.yaml
    lab capture --from lscpu.json --from numactl.txt --from cmdline.txt -o reported.yaml
    """
    from lab.core.untrusted import one_line
    from lab.host import doctor
    from lab.workflows import capture as reading
    from lab.workflows.shrink import Room, shrink

    if script:
        if sources or output:
            raise UsageError("--script prints a file to send: it goes with no other option")
        print(doctor.CAPTURE_SCRIPT.read_text("utf-8"), end="")
        return 0
    texts = [_read(source) for source in sources] or [doctor.description()]
    room = Room(memory=memory or min(4 << 30, doctor.available_memory() // 2), cpus=cpus)
    made = shrink(reading.machine(texts), room)
    names = ["stdin" if source == "-" else Path(source).name for source in sources]
    text = made.yaml([one_line(f"Made by lab capture from {', '.join(names) or 'the machine itself'}.")])
    _write(text, output)
    for line in made.lost:
        print(f"lab: not kept: {line}", file=sys.stderr)
    return 0


def _read(source: str) -> str:
    """A text that somebody sent; UsageError when it is none."""
    try:
        with user_path("/dev/stdin" if source == "-" else source).open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise UsageError(f"{source}: cannot be read: {error.strerror}") from None
    if len(data) > MAX_FILE:
        raise UsageError(f"{source}: expected at most {MAX_FILE >> 20} MiB of text")
    return data.decode("utf-8-sig", "replace")


def _write(text: str, output: Path | None) -> None:
    from lab.core.cache import write_atomic
    from lab.specs import load
    from lab.specs.model import Topology

    if output is None:
        print(text, end="")
        return
    if output.suffix != ".yaml" or not load.NAME.fullmatch(output.stem):
        raise UsageError(f"-o: expected a file NAME.yaml, whose name is the topology's, got {output}")
    if output.exists():
        raise UsageError(f"{output} is there already", hint="choose another name for -o")
    write_atomic(output, text.encode())
    load.read(output).build(Topology)
    there = output if output.parent != Path() else f"./{output}"
    print(f"{output}: try `lab exec -t {there} -k baseline -- cat /run/facts`", file=sys.stderr)
