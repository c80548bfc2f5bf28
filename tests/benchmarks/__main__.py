# SPDX-License-Identifier: GPL-2.0-or-later
"""`make bench`: the lab against raw QEMU, ratios within one run. Prints a table; asserts nothing.

Everything is measured in turn (A B A B ...), since hosts are noisy, and medians are compared.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from lab.build.builder import Builder
from lab.core import paths
from lab.core.cache import Cache, default_root
from lab.core.deadline import Deadline
from lab.core.progress import silent
from lab.guests import qemu_command
from lab.guests.factory import BootableCell, GuestFactory, open_factory
from lab.specs.library import Library
from tests.benchmarks import campaigns
from tests.benchmarks.edit import edit
from tests.benchmarks.matrix import TABLES
from tests.benchmarks.readme import readme
from tests.benchmarks.synthetic import many_cells
from tests.benchmarks.timing import LAB, ROOT, Row, Times, build_seconds, nothing_kept, wall
from tests.benchmarks.virtme import virtme

MACHINES = ("x86_64-4k-2node", "arm64-64k-2node")
KERNEL = "baseline"
ROUNDS = 5
PREPARED_S = 2.0
"""Long enough for a guest to be restored in the background, as it is while a scenario runs."""
READY = b"pagelab: ready"
REPEATS = "repeats"
"""By itself only: it takes hours, and a number."""
VIRTME = "virtme"
"""By itself only: it needs a program of others, and builds two whole kernels."""
PRINTERS = {**TABLES, "readme": readme}
"""Name -> what takes the words behind it and prints by itself."""
HEADINGS = ("machine", "what", "median", "min", "max", "ratio")


def main(wanted: Sequence[str]) -> None:
    """Measure what is asked for (all without a word) and print it as it comes."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or every lab would compile itself first, which a user's does not
    if wanted and wanted[0] in PRINTERS:
        PRINTERS[wanted[0]](wanted[1:])
        return
    if wanted and wanted[0] == REPEATS:
        print_table([HEADINGS, *campaigns.repeats(wanted[1:])])
        return
    if list(wanted) == [VIRTME]:
        print_table([HEADINGS, *virtme(MACHINES[0])])
        return
    sections: dict[str, Callable[[], Iterable[Row]]] = {
        "edit": edit,
        "cold": cold_cells,
        "restore": restored_guests,
        "memory": memory_of_four_guests,
        "pair": incremental_build,
        "efficiency": campaigns.efficiency,
        "case": campaigns.case,
        "campaign": campaigns.campaign,
        "report": many_cells,
    }
    if alone := {REPEATS, VIRTME, *PRINTERS}.intersection(wanted):
        raise SystemExit(f"{', '.join(sorted(alone))}: expected to be the only benchmark of the command")
    if unknown := set(wanted) - sections.keys():
        raise SystemExit(
            f"unknown benchmark {', '.join(unknown)}; there are {', '.join((*sections, REPEATS, VIRTME, *PRINTERS))}"
        )
    chosen = {name: measure for name, measure in sections.items() if not wanted or name in wanted}
    if chosen.keys() != {"report"}:  # which is all that needs no guest
        subprocess.run([*LAB, "build", "quick"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    if len(chosen) == 1:
        print_table([HEADINGS, *next(iter(chosen.values()))()])
        return
    for name in chosen:  # a process has one embedded libvirt, and some of them open it here
        subprocess.run([sys.executable, "-m", "tests.benchmarks", name], cwd=ROOT, check=True)


def cold_cells() -> list[Row]:
    """Both machines of the campaign quick."""
    with open_factory(Builder(cache=Cache(default_root()), sources=paths.scenarios())) as factory:
        return [row for machine in MACHINES for row in cold_cell(factory, machine)]


# A cold cell against raw QEMU.


def cold_cell(factory: GuestFactory, machine: str) -> list[Row]:
    """`lab exec ... true` from a cold guest and from one that was saved, over QEMU by itself to the ready line."""
    library = Library.shipped()
    ready = factory.ready(library.topology(machine), library.kernel(KERNEL), silent)
    command = [*LAB, "exec", "-t", machine, "-k", KERNEL]
    raw, cold, saved, handshake = Times([]), Times([]), Times([]), Times([])
    for number in range(ROUNDS + 1):
        measured = (
            raw_boot(factory, ready),
            wall([*command, "--cold", "--", "true"]),
            wall([*command, "--", "true"]),
            ssh_handshake(factory, ready),
        )
        if number:  # the first round warms the page cache, and saves the guest
            for times, value in zip((raw, cold, saved, handshake), measured, strict=True):
                times.values.append(value)
    return [
        raw.row(machine, "raw QEMU to the ready line"),
        cold.row(machine, "lab exec --cold -- true, whole process", f"{cold.over(raw):.2f}"),
        saved.row(machine, "lab exec -- true, from a saved guest", f"{saved.over(raw):.2f}"),
        handshake.row(machine, "of the cold one: SSH handshake and login", f"{handshake.over(raw):.2f}"),
    ]


def raw_boot(factory: GuestFactory, ready: BootableCell) -> float:
    """Seconds from exec of QEMU to the ready line on its console."""
    wanted = factory.boot_of(ready, factory.scratch / "bench.log")
    started = time.monotonic()
    process = subprocess.Popen(
        qemu_command.qemu_command(wanted.machine),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        assert process.stdout
        if not any(READY in line for line in process.stdout):
            raise SystemExit("raw QEMU ended without a ready line")
        return time.monotonic() - started
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def ssh_handshake(factory: GuestFactory, ready: BootableCell) -> float:
    """Seconds from the ready line to an authenticated connection."""
    from lab.guests import guest, ssh

    wanted = factory.boot_of(ready, factory.scratch / "bench-ssh.log")
    running = guest.power_on(factory.hypervisor, wanted, Deadline.after(120, "boot"))
    try:
        started = time.monotonic()
        connection = ssh.connect(
            running.ssh_port(), host_key=wanted.host_key, key=wanted.key, deadline=Deadline.after(60, "SSH")
        )
        spent = time.monotonic() - started
        connection.close()
        return spent
    finally:
        running.destroy()


# A restored guest against a cold one.


def restored_guests() -> list[Row]:
    """Both machines of the campaign quick."""
    with open_factory(Builder(cache=Cache(default_root()), sources=paths.scenarios())) as factory:
        return [row for machine in MACHINES for row in restored_guest(factory, machine)]


def restored_guest(factory: GuestFactory, machine: str) -> list[Row]:
    """From nothing to the answer to the first command: a boot, over a restore of what that boot left."""
    library = Library.shipped()
    ready = factory.ready(library.topology(machine), library.kernel(KERNEL), silent)
    rounds = [boot_and_restore(ready, factory.scratch / "bench-restore.log") for _ in range(ROUNDS + 1)]
    cold, save, restored, prepared, login, cold_cpu, cpu = (  # the first round warms the page cache
        Times(list(column)) for column in zip(*rounds[1:], strict=True)
    )
    return [
        cold.row(machine, "cold boot to the first command"),
        restored.row(machine, "restore to the first command", f"{restored.over(cold):.3f}"),
        prepared.row(machine, "the same, begun while another guest worked", f"{prepared.over(cold):.3f}"),
        login.row(machine, "of both: SSH and the command, in new code caches"),
        save.row(machine, "save, while the guest stands still", f"{save.over(cold):.3f}"),
        cold_cpu.row(machine, "cold boot, CPU time of QEMU"),
        cpu.row(machine, "restore, CPU time of QEMU", f"{cpu.over(cold_cpu):.3f}"),
    ]


def boot_and_restore(ready: BootableCell, console: Path) -> tuple[float, ...]:
    """Seconds of one round: cold, save, restored, prepared, login of the latter two, CPU of cold and of restored."""
    first = ready.boot(console)
    cold_cpu = cpu_seconds(first.domain.pid)
    first.push(ready.programs)
    snapshot = first.save()
    first.close()
    second = snapshot.restore()
    restored_cpu = cpu_seconds(second.domain.pid)
    snapshot.prepare()
    time.sleep(PREPARED_S)
    second.close()
    third = snapshot.restore()
    third.close()
    snapshot.discard()
    cold, restored, prepared = (guest.boot_s + guest.login_s for guest in (first, second, third))
    login = (second.login_s + third.login_s) / 2
    return cold, snapshot.save_s, restored, prepared, login, cold_cpu, restored_cpu


def cpu_seconds(pid: int | None) -> float:
    """CPU time that a process has used, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# Builds and memory.


def incremental_build() -> list[Row]:
    """The second kernel of a pair over the first, both built now, without ccache, in a cache of their own."""
    name = MACHINES[0]
    with nothing_kept() as cache:
        first = build_seconds("baseline", name, cache)
        second = build_seconds("expand-fault", name, cache)
    return [
        (name, "first kernel of a pair, no ccache", f"{first:.0f} s", "", "", ""),
        (name, "second kernel of the pair", f"{second:.0f} s", "", "", f"{second / first:.3f}"),
    ]


def memory_of_four_guests() -> list[Row]:
    """Peak resident memory of `lab run quick -j 4` itself; its emulators are not its children."""
    with tempfile.TemporaryDirectory() as place:
        command = [*LAB, "run", "quick", "-j", "4", "-o", f"{place}/run", "--test", "guards"]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"lab run failed with status {process.returncode}")
    return [("four guests", "lab's own peak memory", f"{usage.ru_maxrss / 1024:.0f} MB", "", "", "")]


def print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(map(str.ljust, row, widths)).rstrip(), flush=True)
    print(flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
